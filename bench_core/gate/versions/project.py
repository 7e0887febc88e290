"""The project whose versions are compared, as asv's configuration describes it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bench_core import git
from bench_core.asv_config import NAMES, AsvConfig, asv_config, found_in, unconfigured
from bench_core.errors import BenchCoreError


@dataclass(frozen=True)
class Project:
    """A project in a git repository on this machine.

    Attributes:
        name: asv's `project`.
        root: the top folder of the git repository.
        config: the ``asv.conf.json``.
        suite: asv's `benchmark_dir`, relative to `root`; None if there is none in the repository.
        subdir: the folder with the build configuration (asv's `repo_subdir`), relative to `root`.
        env_dir, results_dir, html_dir: asv's own folders.
        build_command: asv's `build_command`; None if pip builds the wheel.
        timeout: seconds for a benchmark without a `timeout` of its own (asv's `default_benchmark_timeout`).
        written: files that the gate will write. They do not count as part of the working tree: otherwise the next gate
            would find another version and start anew.
    """

    name: str
    root: Path
    config: Path
    suite: PurePosixPath | None
    subdir: PurePosixPath
    env_dir: Path
    results_dir: Path
    html_dir: Path
    build_command: tuple[str, ...] | None
    timeout: float
    written: tuple[Path, ...] = ()

    def matters(self, path: PurePosixPath) -> bool:
        """Whether the built package can depend on a file of the repository. Documentation and tests are recognized at
        the top of the repository, and beside the build configuration. Deeper inside, a .rst file may be data that the
        package reads."""
        config = self._relative(self.config)
        apart = [*self.output_folders, *([] if self.suite is None else [self.suite])]
        if path == config or any(path.is_relative_to(folder) for folder in apart):
            return False
        for top in dict.fromkeys((self.subdir, PurePosixPath("."))):
            if not path.is_relative_to(top):
                continue
            first, *inside = path.relative_to(top).parts
            if not inside:
                if path.suffix in (".md", ".rst") or first.startswith(("LICENSE", "CHANGELOG")):
                    return False
            elif (first in ("docs", "doc", "tests", "test") or first[0] == ".") and not self._needed(top / first):
                return False
        return True

    @property
    def output_folders(self) -> list[PurePosixPath]:
        """asv's own folders and the gate's files, if they lie in the repository and hold neither suite nor package."""
        places = (self.env_dir, self.results_dir, self.html_dir, *self.written)
        found = [self._relative(place) for place in places]
        return [folder for folder in found if folder is not None and not self._needed(folder)]

    def _needed(self, folder: PurePosixPath) -> bool:
        """Whether the folder contains the suite or the build configuration."""
        return any(place.is_relative_to(folder) for place in (self.suite, self.subdir) if place is not None)

    def _relative(self, path: Path) -> PurePosixPath | None:
        return PurePosixPath(path.relative_to(self.root)) if path.is_relative_to(self.root) else None


def settings_of(config: Path, *, suite: bool = True) -> AsvConfig:
    """The settings in an ``asv.conf.json``. For `suite` see `read_project`.

    Raises:
        BenchCoreError: if it cannot be read.
    """
    if suite or config.exists() or str(config) not in NAMES:
        return asv_config(config)
    try:
        top = git.top(Path())
    except git.GitError as error:
        raise BenchCoreError(
            f"{Path().absolute()} is in no git repository, and the gate takes the versions of a model's code from one. "
            "Change into it. To compare two installs with --versus on a layout, make an empty one: `git init && git "
            f"commit --allow-empty --message Begin`. {error}"
        ) from error
    found = found_in(top)
    return unconfigured(top) if found is None else asv_config(found)


def read_project(
    config: Path, written: tuple[Path, ...] = (), *, releases: bool = False, suite: bool = True
) -> Project:
    """Read an ``asv.conf.json``. For `written` see `Project`.

    Args:
        releases: whether only releases of the project will be compared. They are not built from its repository, so the
            suite may be in another one.
        suite: whether the project must have a suite, and so a configuration. Otherwise asv's defaults take its place,
            for the repository of the current folder.

    Raises:
        BenchCoreError: if it cannot be read, or does not describe a suite in a git repository on this machine.
    """
    named = settings_of(config, suite=suite)
    config = named.config.absolute().parent.resolve() / named.config.name
    root = _top_of_suite(config) if releases else _top(config, named)
    place = named.suite.resolve()
    if suite and root not in place.parents:
        raise BenchCoreError(
            f"{config}: benchmark_dir is {os.path.relpath(named.suite, config.parent)!r}, but the gate takes the "
            f"benchmarks from the head revision, so it needs a folder inside the compared repository, {root}."
        )
    return Project(
        name=named.project,
        root=root,
        config=config,
        suite=PurePosixPath(place.relative_to(root)) if config.exists() and root in place.parents else None,
        subdir=PurePosixPath(named.subdir),
        env_dir=named.environments.resolve(),
        results_dir=named.results.resolve(),
        html_dir=named.html.resolve(),
        build_command=_commands(named.build_command),
        timeout=named.timeout,
        written=written,
    )


def _top(config: Path, named: AsvConfig) -> Path:
    """The top folder of the repository that the configuration names."""
    repo, folder = named.repo, config.parent
    place = (folder / repo).resolve()
    needed = (
        f"{config}: repo is {repo!r}, but the gate needs a git repository on this machine. Clone it, and set repo to "
        'the path of its top folder, relative to this file ("." if the file is in the top folder).'
    )
    if named.dvcs not in (None, "git") or not place.is_dir():
        raise BenchCoreError(needed)
    try:
        top = git.top(place)
    except git.GitError as error:
        raise BenchCoreError(f"{needed} {error}") from error
    if top != place:
        raise BenchCoreError(
            f"{config}: repo is {repo!r}, which is not the top of its git repository. Set it to "
            f"{os.path.relpath(top, folder)!r}. If the build configuration is in a subfolder, set repo_subdir to it."
        )
    return top


def _top_of_suite(config: Path) -> Path:
    """The top folder of the repository that contains the configuration."""
    try:
        return git.top(config.parent)
    except git.GitError as error:
        raise BenchCoreError(
            f"{config}: the gate takes the benchmarks from a git repository. Put the suite in one. {error}"
        ) from error


def _commands(found: str | list[str] | None) -> tuple[str, ...] | None:
    """asv's one command or list of commands as a tuple. With an empty list, asv builds nothing; here pip builds."""
    return ((found,) if isinstance(found, str) else tuple(found)) if found else None
