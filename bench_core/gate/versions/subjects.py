"""The versions of a gate as workers import them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench_core.records.version import Version, VersionName
from bench_core.workers.messages import Confinement, Source


@dataclass(frozen=True)
class Importable:
    """A version, and how a worker imports it.

    Attributes:
        path: the folder that comes first in the worker's import path; "" for an interpreter, which needs none.
        python: the interpreter that runs the worker; "" for ours.
    """

    version: Version
    path: str = ""
    python: str = ""

    @property
    def name(self) -> str:
        return self.version.name

    @property
    def packages(self) -> tuple[str, ...]:
        return self.version.packages


@dataclass(frozen=True)
class Subjects:
    """The versions of a gate, and the benchmarks that run on them.

    Attributes:
        base, head: the two sides.
        suite: the folder of the benchmarks, the same for both sides.
        code: if two installs or interpreters are compared, the project, whose folder comes after each side's own; else
            None.
        past: an older version that head is also compared with, or None.
        environment: the variables that processes get which import a version; None for all of ours.
        readable: if these processes are confined, the folders that they may read besides the versions; else None.
    """

    base: Importable
    head: Importable
    suite: Path
    code: Importable | None = None
    past: Importable | None = None
    environment: Mapping[str, str] | None = None
    readable: tuple[Path, ...] | None = None

    @property
    def named(self) -> dict[VersionName, Importable]:
        """The versions that workers load."""
        both: dict[VersionName, Importable] = {"base": self.base, "head": self.head}
        return both if self.past is None else {**both, "past": self.past}

    @property
    def packages(self) -> tuple[str, ...]:
        """The top-level names of all versions, `code` included."""
        versions = (*self.named.values(), *([self.code] if self.code else []))
        return tuple(sorted({name for version in versions for name in version.packages}))


def source(subjects: Subjects, name: VersionName, caches: Path) -> Source:
    """How a worker imports one version. `caches` is the folder for the values of `setup_cache`."""
    version = subjects.named[name]
    code = subjects.code
    if code is None:
        # A package that only one side has must not be imported from elsewhere on the other side.
        folders, packages = [version], subjects.packages
    else:
        # A dependency that only one install contains comes from our environment on the other side.
        folders, packages = [version, code], tuple(sorted({*version.packages, *code.packages}))
    paths, own = tuple(one.path for one in folders if one.path), str(caches / name)
    confined = None
    if subjects.readable is not None:
        confined = Confinement(writable=(own,), readable=(*paths, *map(str, subjects.readable)))
    return Source(paths, packages, own, version.python, confined)
