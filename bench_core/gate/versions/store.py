"""Turns revisions into folders that a worker can import, and keeps these for the next gate."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.machinery import all_suffixes
from pathlib import Path, PurePosixPath

from bench_core import watchdog
from bench_core.asv_config import OWN
from bench_core.errors import BenchCoreError
from bench_core.gate.versions import wheels
from bench_core.gate.versions.cache import discard, keep_newest, key_of, making, use
from bench_core.gate.versions.contents import Seal, is_intact, sign
from bench_core.gate.versions.project import Project
from bench_core.gate.versions.revisions import (
    Entry,
    Revision,
    benchmarks_digest,
    digest_of,
    entries_of,
    export,
    package_entries,
)
from bench_core.gate.versions.steps import Runner, StepError, tail
from bench_core.gate.versions.subjects import Importable
from bench_core.records.version import WORKING_TREE, Commit, WorkingTree

KEPT_VERSIONS = 20
"""The most versions that the store holds."""

TREE = Path("tree")
"""The folder of a suite's whole tree in its folder of the store."""

KEPT_SUITES = 5
"""The most suites that the store holds. A suite takes more room than a version: it is a whole tree of the
repository."""

BUILDING = (
    *("CC", "CXX", "CPP", "FC", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "FFLAGS", "LDFLAGS", "RUSTFLAGS"),
    *("CUDA_HOME", "NVCC_FLAGS", "TORCH_CUDA_ARCH_LIST", "CMAKE_ARGS", "ARCHFLAGS", "SETUPTOOLS_SCM_PRETEND_VERSION"),
)
"""Environment variables that affect builds. They are part of a version's key, so that both sides are built alike."""


class VersionStore:
    """The versions and suites that have been built, by their content.

    Args:
        folder: the folder that keeps them; by default beside asv's environments.
        environment: the variables that builds get; None for all of ours.
        confined: whether builds are confined (`bench_core.workers.isolation`).

    Attributes:
        seal: notices changes in the folders that the store has handed out.

    Raises:
        BenchCoreError: if nothing can be stored there.
    """

    def __init__(
        self,
        project: Project,
        folder: Path | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        confined: bool = False,
    ) -> None:
        self.project = project
        self.runner = Runner(project.config, environment, confined=confined)
        self.seal = Seal()
        self.folder = (folder or project.env_dir / "bench-core").resolve()
        try:
            (self.folder / "suites").mkdir(parents=True, exist_ok=True)
            own = self.folder if project.env_dir.parent.name != OWN else project.env_dir.parent
            (own / ".gitignore").write_text("*\n")  # otherwise it may count as part of the working tree
        except OSError as error:
            raise BenchCoreError(
                f"versions cannot be stored in {self.folder}: {error.strerror}. Make the folder writable, or set "
                f"env_dir in {project.config} to one that is."
            ) from error

    def versions(self, revisions: Iterable[Revision]) -> list[Importable]:
        """Several revisions, built at the same time, since a wheel takes 4 s of one core. See `version`.

        Raises:
            BenchCoreError: if one does not build.
            KeyboardInterrupt: after Ctrl-C. No process and no folder of an unfinished build remains.
        """
        with ThreadPoolExecutor() as threads:
            try:
                return list(threads.map(self.version, revisions))
            except KeyboardInterrupt:  # only this thread gets it
                self.runner.stop()
                raise

    def version(self, revision: Revision) -> Importable:
        """A revision, built and installed unless the store has it.

        Raises:
            BenchCoreError: if it does not build.
        """
        entries = package_entries(self.project, revision)
        requires = wheels.build_requires(self.project, revision, entries)
        digest = digest_of(entries)
        # The paths of all versions have the same length. A longer path on one side would change that side's memory
        # layout, which alone changes times by some percent.
        home = self.folder / version_key(self.project, digest, requires)
        if not self._has(home):
            with making(home, self.folder) as made:
                self._make(revision, entries, requires, made / "site", home / "site")
                sign(made)
        self._hand_out(home, KEPT_VERSIONS)
        return self._importable(revision, digest, home / "site")

    def unbuilt(self, revision: Revision) -> Importable:
        """A revision that gives the benchmarks alone: releases of the project take the place of its package."""
        return self._importable(revision, digest_of(()), None)

    def _importable(self, revision: Revision, digest: str, site: Path | None) -> Importable:
        packages, benchmarks = packages_in(site) if site else (), benchmarks_digest(self.project, revision)
        version = (
            WorkingTree(revision.commit, revision.changed, digest, benchmarks, packages)
            if revision.name == WORKING_TREE
            else Commit(revision.name, revision.commit, digest, benchmarks, packages)
        )
        return Importable(version, path=str(site or ""))

    def suite(self, revision: Revision) -> Path:
        """The benchmark folder of a revision, inside the revision's whole tree, which benchmarks may read.

        Raises:
            BenchCoreError: if the revision has no such folder.
        """
        suite = self.project.suite
        assert suite is not None, "a gate without a suite brings its own benchmarks"
        if not any(entry.path.is_relative_to(suite) for entry in entries_of(self.project, revision)):
            raise BenchCoreError(
                f"{revision} has no folder {suite}, and the benchmarks are taken from there. Commit it, "
                f"or correct benchmark_dir in {self.project.config}."
            )
        return self._suite(revision.tree, suite, lambda tree: export(self.project, revision, tree))

    def packaged(self, folder: Path) -> Path:
        """A copy of a benchmark folder that is part of bench_core."""
        sources = sorted(folder.glob("*.py"))

        def copy(tree: Path) -> None:
            (tree / folder.name).mkdir()
            for source in sources:
                shutil.copyfile(source, tree / folder.name / source.name)

        digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()
        return self._suite(digest, PurePosixPath(folder.name), copy)

    def _suite(self, content: str, place: PurePosixPath, fill: Callable[[Path], None]) -> Path:
        """A benchmark folder.

        Args:
            content: a digest of the whole tree that holds it.
            place: where it is in that tree.
            fill: writes the tree into an empty folder.
        """
        home = self.folder / "suites" / key_of([content, sys.implementation.cache_tag])
        if not self._has(home):
            with making(home, self.folder) as made:
                (made / TREE).mkdir()
                fill(made / TREE)
                # Otherwise the side that imports the suite first would compile it, and the other load the result.
                self.runner.compile(made / TREE / place, home / TREE / place)
                sign(made)
        self._hand_out(home, KEPT_SUITES)
        return home / TREE / place

    def home(self, suite: Path) -> Path:
        """The folder of the store that holds a benchmark folder."""
        return next(folder for folder in suite.parents if folder.parent == self.folder / "suites")

    def _has(self, home: Path) -> bool:
        """Whether the store has this folder. One that was changed since it was made is dropped."""
        if home.is_dir() and not is_intact(home):
            with suppress(OSError):  # another gate drops it as well
                discard(home)
        return home.is_dir()

    def _hand_out(self, home: Path, kept: int) -> None:
        self.seal.add(home)
        use(home)
        keep_newest(home.parent, kept)

    def _make(
        self, revision: Revision, entries: Sequence[Entry], requires: tuple[str, ...] | None, site: Path, final: Path
    ) -> None:
        """Fill `site`, which will lie at `final`."""
        # Not in the store, which is inside the repository: hatchling and versioneer look for git's files in the parent
        # folders, and would build what is checked out there.
        with tempfile.TemporaryDirectory(dir=watchdog.room(), ignore_cleanup_errors=True) as work:
            tree, log = Path(work, "tree"), Path(work, "log")
            tree.mkdir()
            export(self.project, revision, tree)
            if requires is None:
                _copy(entries, tree, self.project.subdir, site)
            else:
                try:
                    wheels.install(self.project, wheels.Unbuilt(revision, requires, tree), site, log, self.runner)
                except StepError as error:
                    kept = final.parent.with_suffix(".log")
                    shutil.copyfile(log, kept)
                    keep_newest(self.folder, KEPT_VERSIONS, ".log")
                    raise BenchCoreError(
                        f"{revision} does not build: {error}\n{tail(log)}\nThe whole log: {kept}"
                    ) from error
            self.runner.compile(site, final)


def version_key(project: Project, digest: str, requires: tuple[str, ...] | None) -> str:
    """The name of a version's folder, from everything that determines its content.

    Args:
        digest: the digest of the files that the package depends on.
        requires: see `wheels.build_requires`.
    """
    return key_of(
        [
            digest,
            sys.version,
            sysconfig.get_platform(),
            {name: wheels.installed_version(name) for name in sorted({"torch", "numpy", *(requires or ())})},
            {name: os.environ.get(name) for name in BUILDING},
            project.subdir.as_posix(),
            project.build_command,
        ]
    )


def _copy(entries: Sequence[Entry], tree: Path, subdir: PurePosixPath, site: Path) -> None:
    """Copy the files of the digest, and no others, for a project that is not built."""
    site.mkdir()
    for entry in entries:
        if entry.path.is_relative_to(subdir):
            target = site / entry.path.relative_to(subdir)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / entry.path, target, follow_symlinks=False)


def packages_in(site: Path) -> tuple[str, ...]:
    """The top-level names that can be imported from a folder."""
    endings = tuple(all_suffixes())
    found = set()
    for path in site.iterdir():
        name = path.name.split(".")[0]
        if path.is_dir():
            importable = path.name == name != "__pycache__" and any(
                inner.name.endswith(endings) for inner in path.rglob("*")
            )
        else:
            importable = path.name.endswith(endings)
        if importable and name.isidentifier():
            found.add(name)
    return tuple(sorted(found))
