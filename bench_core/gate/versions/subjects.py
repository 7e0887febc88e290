"""What a gate compares, as workers need it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench_core.gate.workers.messages import Source
from bench_core.records.gate import SIDES
from bench_core.records.version import Version, VersionName


@dataclass(frozen=True)
class Subjects:
    """What is compared, as workers need it.

    Attributes:
        suite: the folder of the benchmarks, head's for both.
        code: what both sides have besides, behind their own: the project, where two installs are compared.
        pythons: the interpreter of each side; "" for ours.
        past: a third version, which head is compared with, too.
    """

    base: Version
    head: Version
    suite: Path
    code: Version | None = None
    pythons: tuple[str, str] = ("", "")
    past: Version | None = None

    @property
    def named(self) -> dict[VersionName, Version]:
        """What workers load."""
        both: dict[VersionName, Version] = {"base": self.base, "head": self.head}
        return both if self.past is None else {**both, "past": self.past}

    @property
    def packages(self) -> tuple[str, ...]:
        """What is compared, and what is compared with its help."""
        versions = (*self.named.values(), *([self.code] if self.code else []))
        return tuple(sorted({name for version in versions for name in version.packages}))


def source(subjects: Subjects, name: VersionName, caches: Path) -> Source:
    """What a worker of one version loads.

    Args:
        caches: the folder for what `setup_cache` returns.
    """
    version = subjects.named[name]
    code = subjects.code
    if code is None:
        # What only one side has must not come from elsewhere on the other.
        folders, packages = [version], subjects.packages
    else:
        # A dependency that only one side's install has brought along, the other takes from what is installed here.
        folders, packages = [version, code], tuple(sorted({*version.packages, *code.packages}))
    return Source(
        paths=tuple(one.path for one in folders if one.path),
        packages=packages,
        caches=str(caches / name),
        python="" if name == "past" else subjects.pythons[SIDES.index(name)],
    )
