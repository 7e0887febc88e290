"""The versions that a gate compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench_core import codec

VersionName = Literal["base", "head", "past"]
"""The role of a version in a gate. Base and head are compared. Head may also be compared with past."""

WORKING_TREE = "working tree"
"""The name of the working tree. It contains a space, so no revision has this name."""


@dataclass(frozen=True)
class Commit:
    """The project as it is in a commit.

    Attributes:
        name: the name given on the command line, e.g. ``main``.
        hash: the full hash.
        digest: the digest of the files that the package depends on.
        benchmarks: the digest of the benchmark folder.
        packages: the top-level names that can be imported.
    """

    name: str
    hash: str
    digest: str
    benchmarks: str
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class WorkingTree:
    """The project as it is in the working tree.

    Attributes:
        below: the full hash of the commit that is checked out.
        changed: the files that differ from that commit.
        digest, benchmarks, packages: see `Commit`.
    """

    below: str
    changed: tuple[str, ...]
    digest: str
    benchmarks: str
    packages: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return WORKING_TREE


@dataclass(frozen=True)
class Install:
    """A release of a package, installed with its dependencies into a separate folder.

    Attributes:
        name: the requirement or the wheel given on the command line, e.g. ``torch==2.11.0``.
        digest: the digest of everything that determines what is installed.
        packages: the top-level names that can be imported.
    """

    name: str
    digest: str
    packages: tuple[str, ...]


@dataclass(frozen=True)
class Interpreter:
    """A Python interpreter with the packages of its environment.

    Attributes:
        name: the path given on the command line.
        digest: the digest of the interpreter and of its packages.
    """

    name: str
    digest: str

    @property
    def packages(self) -> tuple[str, ...]:
        """Empty, since no package must be kept from being imported from elsewhere."""
        return ()


Version = Commit | WorkingTree | Install | Interpreter


def commit_of(version: Version) -> str | None:
    """The hash of a version's commit; for a working tree, of the commit that is checked out."""
    match version:
        case Commit(hash=found) | WorkingTree(below=found):
            return found
        case Install() | Interpreter():
            return None


@dataclass(frozen=True)
class FlatVersion:
    """A version of any kind in JSON (docs/gate-json.md). Fields that a kind lacks are None or empty."""

    name: str
    commit: str | None
    changed: tuple[str, ...]
    digest: str
    benchmarks: str
    packages: tuple[str, ...]


def flattened(version: Version) -> FlatVersion:
    changed = version.changed if isinstance(version, WorkingTree) else ()
    benchmarks = version.benchmarks if isinstance(version, Commit | WorkingTree) else ""
    return FlatVersion(version.name, commit_of(version), changed, version.digest, benchmarks, version.packages)


def unflattened(flat: FlatVersion) -> Version:
    """The inverse of `flattened`. An install has packages, and an interpreter has none."""
    if flat.commit is None:
        return Install(flat.name, flat.digest, flat.packages) if flat.packages else Interpreter(flat.name, flat.digest)
    if flat.name == WORKING_TREE:
        return WorkingTree(flat.commit, flat.changed, flat.digest, flat.benchmarks, flat.packages)
    return Commit(flat.name, flat.commit, flat.digest, flat.benchmarks, flat.packages)


codec.stored_as(Version, FlatVersion, flattened, unflattened)
