"""asv's configuration, which names the suite, the repository and the folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench_core.errors import BenchCoreError

USUAL = Path("asv.conf.json")

WITHOUT_COMMIT = "no-commit.json"
"""The file of a run whose results are of no commit."""


@dataclass(frozen=True)
class AsvConfig:
    """What an ``asv.conf.json`` names. As for asv, its paths are relative to the folder that it lies in.

    Attributes:
        project: asv's name of the project.
        suite, environments, results, html: folders.
        repo: the repository: an address, or a path seen from the file's folder.
        dvcs: its kind, where one is named.
        subdir: the folder with the build configuration, seen from the top of the repository.
        build_command: one command, several, none to build nothing, or None where asv's own are meant.
        commit_url: the address of a commit's page without the hash, as configured or asv's default.
    """

    project: str
    suite: Path
    environments: Path
    results: Path
    html: Path
    repo: str
    dvcs: str | None
    subdir: str
    build_command: str | list[str] | None
    commit_url: str

    @property
    def outside(self) -> Path:
        """Where the last run is that is kept out of the history."""
        return self.environments.parent / WITHOUT_COMMIT


def naming(config: Path) -> list[str]:
    """What names the configuration in a command, where it is not the usual one."""
    return [] if config == USUAL else ["--suite", str(config)]


def asv_config(config: Path) -> AsvConfig:
    """Read an ``asv.conf.json``.

    Raises:
        BenchCoreError: if the file cannot be read as asv's configuration.
    """
    from asv.config import Config  # here: asv is slow to import, and the folders are seldom asked for
    from asv.util import UserError

    try:
        loaded = Config.load(str(config))
    except (UserError, OSError) as error:
        raise BenchCoreError(
            f"{config} cannot be read as asv's configuration: {error} Run this from a folder with an asv.conf.json, or "
            "name one with --suite."
        ) from error
    return AsvConfig(
        project=str(loaded.project),
        suite=config.parent / loaded.benchmark_dir,
        environments=config.parent / loaded.env_dir,
        results=config.parent / loaded.results_dir,
        html=config.parent / loaded.html_dir,
        repo=str(loaded.repo),
        dvcs=loaded.dvcs,
        subdir=str(loaded.repo_subdir or "."),
        build_command=loaded.build_command,
        commit_url=str(loaded.show_commit_url or ""),
    )
