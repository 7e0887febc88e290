"""Reads asv's configuration, which names the suite, the repository and the folders."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_core.errors import BenchCoreError

USUAL = Path("asv.conf.json")
"""The default path of the configuration."""

NAMES = (USUAL.name, "asv.conf.jsonc")
"""The names of a configuration that asv finds by itself."""

OWN = ".bench_core"
"""The folder for what is kept of a project without a configuration, such as a gate on one of its models."""

LAUNCH_METHODS = ("auto", "spawn", "forkserver")
"""asv's ways to start the process of a benchmark."""

WITHOUT_COMMIT = "no-commit.json"
"""The result file of a run that belongs to no commit."""


@dataclass(frozen=True)
class AsvConfig:
    """The settings of an ``asv.conf.json``. As in asv, paths are relative to the file's folder.

    Attributes:
        config: the file.
        project: asv's name of the project.
        suite, environments, results, html: folders.
        repo: the repository: an address, or a path relative to the file's folder.
        dvcs: the kind of the repository, or None.
        subdir: the folder with the build configuration, relative to the top of the repository.
        build_command, install_command: one command, or several (an empty list does nothing); None for asv's default.
        commit_url: the address of a commit's page without the hash, as configured or asv's default.
        variables: the environment variables of the matrix (`env` and `env_nobuild`), each with its values.
        requirements: the packages of the matrix (`req`), each with its versions; "" is the newest.
        launch_method: how asv starts the processes of benchmarks (``spawn``, ``forkserver``, ``auto``); None for asv's
            choice.
        timeout: seconds for a benchmark without a `timeout` of its own (`default_benchmark_timeout`).
    """

    config: Path
    project: str
    suite: Path
    environments: Path
    results: Path
    html: Path
    repo: str
    dvcs: str | None
    subdir: str
    build_command: str | list[str] | None
    install_command: str | list[str] | None
    commit_url: str
    variables: Mapping[str, tuple[str, ...]]
    requirements: Mapping[str, tuple[str, ...]]
    launch_method: str | None
    timeout: float

    @property
    def outside(self) -> Path:
        """The result file of the last run that belongs to no commit."""
        return self.environments.parent / WITHOUT_COMMIT

    def explain(self, error: str) -> str:
        """What to add to an error of the suite: the variable that it misses, if the matrix has it; how to install what
        it cannot import; or ""."""
        missing = re.fullmatch(r"KeyError: '(\w+)'", error)
        if missing and (values := self.variables.get(missing[1], ())):
            return f"{missing[1]} is in the matrix: set it to {_either(values)}"
        absent = re.search(r"ModuleNotFoundError: No module named '(\w+)'", error)
        return self._how_to_install(absent[1]) if absent else ""

    def _how_to_install(self, module: str) -> str:
        """How to install the package with this module: this project, or another one."""
        project = (self.config.parent / self.repo / self.subdir).resolve()
        own = any((project / folder / name).exists() for folder in ("", "src") for name in (module, f"{module}.py"))
        if not own:
            return f"{module} is not installed in this environment: `pip install {module}`, or the package that has it"
        folder = os.path.relpath(project)
        commands = [f"`{command}`" for command in (*_listed(self.build_command), *_listed(self.install_command))]
        configured = f"; {self.config.name} names {', '.join(commands)}" if commands else ""
        return f"{module} is this project, and not installed in this environment: `pip install -e {folder}`{configured}"


def unconfigured(folder: Path) -> AsvConfig:
    """Settings for the top folder of a project without a configuration: asv's defaults, and folders below `OWN`."""
    own = folder / OWN
    return AsvConfig(
        config=folder / USUAL,
        project=folder.name,
        suite=folder / "benchmarks",
        environments=own / "env",
        results=own,
        html=own / "html",
        repo=".",
        dvcs="git",
        subdir=".",
        build_command=None,
        install_command=None,
        commit_url="",
        variables={},
        requirements={},
        launch_method=None,
        timeout=60.0,
    )


def naming(config: Path) -> list[str]:
    """The options that name the configuration in a command; none for one that is found without them."""
    return [] if str(config) in NAMES else ["--suite", str(config)]


def found_in(folder: Path) -> Path | None:
    """The configuration in a folder, under one of the names that asv finds; None without one.

    Raises:
        BenchCoreError: if there are several.
    """
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    if len(found) > 1:
        raise BenchCoreError(
            f"multiple configurations are in {folder.resolve()}: {', '.join(NAMES)}. Remove one, or name one with "
            "--suite."
        )
    return found[0] if found else None


def enter(settings: AsvConfig) -> tuple[str, ...]:
    """Set the variables that the matrix sets to one value, in this process and those that it starts. A relative
    PYTHONPATH becomes absolute, since benchmarks run in other folders, and asv is told to keep it.

    Returns:
        How this environment differs from those of the matrix, a sentence each.
    """
    if path := os.environ.get("PYTHONPATH"):
        whole = os.pathsep.join(str(Path(part).absolute()) for part in path.split(os.pathsep) if part)
        os.environ["PYTHONPATH"] = whole
        os.environ.setdefault("ASV_PYTHONPATH", whole)
    notes = []
    for name, values in settings.variables.items():
        here = os.environ.get(name)
        if len(values) == 1:
            if here not in (None, values[0]):
                notes.append(
                    f"the matrix of asv.conf.json sets {name} to {values[0]!r}; its value here, {here!r}, is not used."
                )
            os.environ[name] = values[0]
        elif values and here not in values:
            now = "it is not set" if here is None else f"it is {here!r}"
            notes.append(
                f"the matrix of asv.conf.json gives {name} several values, and bench-core takes one at a time: set it "
                f"to {_either(values)} ({now} here)."
            )
    for name, versions in settings.requirements.items():
        if len(versions) > 1:
            notes.append(
                f"the matrix of asv.conf.json has several versions of {name.removeprefix('pip+')}: "
                f"{_either(versions)}. bench-core uses the one that is installed."
            )
    return tuple(notes)


def _either(values: Sequence[str]) -> str:
    *rest, last = (repr(value) for value in values)
    return f"{', '.join(rest)} or {last}" if rest else last


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
    except (UserError, OSError, ValueError, RecursionError) as error:
        cause = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).rstrip(".")
        raise BenchCoreError(
            f"{config} cannot be read as asv's configuration: {cause}. Run this from a folder with an "
            "asv.conf.json, or name one with --suite."
        ) from error
    return AsvConfig(
        config=config,
        project=str(loaded.project),
        suite=config.parent / loaded.benchmark_dir,
        environments=config.parent / loaded.env_dir,
        results=config.parent / loaded.results_dir,
        html=config.parent / loaded.html_dir,
        repo=str(loaded.repo),
        dvcs=loaded.dvcs,
        subdir=str(loaded.repo_subdir or "."),
        build_command=loaded.build_command,
        install_command=loaded.install_command,
        commit_url=str(loaded.show_commit_url or ""),
        launch_method=_launch_method(config, loaded.launch_method),
        timeout=_seconds(config, loaded.default_benchmark_timeout),
        **_matrix(config, loaded.matrix),
    )


def _seconds(config: Path, found: Any) -> float:
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not found > 0:
        raise BenchCoreError(f"{config}: default_benchmark_timeout is {found!r}, not a number of seconds.")
    return float(found)


def _launch_method(config: Path, found: Any) -> str | None:
    if found not in (None, *LAUNCH_METHODS):
        raise BenchCoreError(f"{config}: launch_method is {found!r}, not one of {', '.join(LAUNCH_METHODS)}.")
    return found if isinstance(found, str) else None


def _matrix(config: Path, found: Any) -> dict[str, dict[str, tuple[str, ...]]]:
    """The variables and the requirements of asv's `matrix`. In its old form, all of it is requirements."""
    kinds = ("req", "env", "env_nobuild")
    try:
        parts = {kind: dict(found.get(kind) or {}) for kind in kinds}
        if not any(kind in found for kind in kinds):
            parts["req"] = dict(found)
        elif unknown := [repr(name) for name in found if name not in kinds]:
            raise BenchCoreError(
                f"{config}: the matrix has {', '.join(unknown)} beside {', '.join(kinds)}. Move it into one of them."
            )
        return {
            "requirements": {name: _values(value) for name, value in parts["req"].items()},
            "variables": {
                name: _values(value) for kind in ("env", "env_nobuild") for name, value in parts[kind].items()
            },
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise BenchCoreError(
            f"{config}: the matrix is not an object of objects, as asv documents: {found!r}."
        ) from error


def _values(found: Any) -> tuple[str, ...]:
    """The values of one name in the matrix. asv leaves a name unset for null."""
    return tuple(str(value) for value in (found if isinstance(found, list) else [found]) if value is not None)


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
        if value is None and name.endswith("_dir"):
            raise ValueError(f"{name} is null, not the path of a folder. Leave it out for asv's default.")
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name} is {value!r}, not a text.")
    for name in ("build_command", "install_command"):
        command = getattr(loaded, name)
        if not all(isinstance(one, str) for one in _listed(command)):
            raise ValueError(f"{name} is {command!r}, not a command or a list of commands.")


def _listed(command: Any) -> list[Any]:
    """The commands of a setting that is one command, several, or None."""
    if command is None:
        return []
    return command if isinstance(command, list) else [command]
