"""One side of a comparison: something that a worker can import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VersionName = Literal["base", "head", "past"]
"""Which of the versions of a gate: the two that are compared, and the older one that head is compared with, too."""


@dataclass(frozen=True)
class Version:
    """One side of a comparison: something that a worker can import.

    Attributes:
        name: as it was asked for, e.g. ``main``, or ``torch==2.11.0``; ``working tree`` for what is not committed.
        commit: the full hash that it was made from; for a working tree, the one that it stands on.
        changed: files that differ from that commit; () for a commit.
        digest: of the content that matters: package and build configuration.
        benchmarks: of the benchmark folder's content.
        path: the folder to put in front of the import path; "" where an interpreter is all that differs.
        packages: the top-level names that it provides.
    """

    name: str
    commit: str | None
    changed: tuple[str, ...]
    digest: str
    benchmarks: str
    path: str
    packages: tuple[str, ...]
