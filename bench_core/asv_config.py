"""Reads asv's configuration, which names the suite, the repository and the folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_core.errors import BenchCoreError

USUAL = Path("asv.conf.json")
"""The default path of the configuration."""

WITHOUT_COMMIT = "no-commit.json"
"""The result file of a run that belongs to no commit."""


@dataclass(frozen=True)
class AsvConfig:
    """The settings of an ``asv.conf.json``. As in asv, paths are relative to the file's folder.

    Attributes:
        project: asv's name of the project.
        suite, environments, results, html: folders.
        repo: the repository: an address, or a path relative to the file's folder.
        dvcs: the kind of the repository, or None.
        subdir: the folder with the build configuration, relative to the top of the repository.
        build_command: one command, or several (an empty list builds nothing); None for asv's default.
        commit_url: the address of a commit's page without the hash, as configured or asv's default.
        timeout: seconds for a benchmark without a `timeout` of its own (`default_benchmark_timeout`).
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
    timeout: float

    @property
    def outside(self) -> Path:
        """The result file of the last run that belongs to no commit."""
        return self.environments.parent / WITHOUT_COMMIT


def naming(config: Path) -> list[str]:
    """The options that name the configuration in a command; none for the default one."""
    return [] if config == USUAL else ["--suite", str(config)]


def asv_config(config: Path) -> AsvConfig:
    """Read an ``asv.conf.json``.

    Raises:
        BenchCoreError: if the file cannot be read as asv's configuration.
    """
    from asv.config import Config  # imported here, since asv is slow to import and rarely needed
    from asv.util import UserError

    try:
        if config.is_file():  # asv complains about a missing one
            _require_object(config)
        loaded = Config.load(str(config))
        _require_types(loaded)
    except (UserError, OSError, ValueError) as error:
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
        timeout=float(loaded.default_benchmark_timeout),
    )


def _require_object(config: Path) -> None:
    """Raises ValueError if the file holds something else, which asv would take apart until it fails."""
    from asv.util import load_json

    content = load_json(str(config), js_comments=True)
    if not isinstance(content, dict):
        kind = {list: "a list", str: "a text", type(None): "null"}.get(type(content), "a number")
        raise ValueError(f"it is {kind}, not an object.")
    version = content.get("version", 1)
    if not isinstance(version, int):
        raise ValueError(f"version is {version!r}, not a number.")


def _require_types(loaded: Any) -> None:
    """Raises ValueError if a setting that we read has another type than asv documents."""
    for name in ("project", "repo", "benchmark_dir", "env_dir", "results_dir", "html_dir", "repo_subdir", "dvcs"):
        value = getattr(loaded, name)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name} is {value!r}, not a text.")
    command = loaded.build_command
    listed = command if isinstance(command, list) else [command or ""]
    if not all(isinstance(one, str) for one in listed):
        raise ValueError(f"build_command is {command!r}, not a command or a list of commands.")
