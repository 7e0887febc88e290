"""Builds the project's package from a revision, and installs it without its dependencies into a folder.

All versions share the environment that runs the gate, so torch and numpy are never installed twice.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bench_core.compat import tomllib
from bench_core.errors import BenchCoreError
from bench_core.gate.versions.project import Project
from bench_core.gate.versions.revisions import Entry, Revision, read_file
from bench_core.gate.versions.steps import Runner, Step, StepError, build_environment, pip

DEFAULT_REQUIRES = ("setuptools>=40.8.0", "wheel")
"""The build requirements of a project that names none (PEP 518)."""


@dataclass(frozen=True)
class Unbuilt:
    """A revision that will be built, with its build requirements and the folder of its files."""

    revision: Revision
    requires: tuple[str, ...]
    tree: Path


def build_requires(project: Project, revision: Revision, entries: Sequence[Entry]) -> tuple[str, ...] | None:
    """The build requirements of a revision; None if it has no build configuration.

    Args:
        entries: the files of the revision that matter.

    Raises:
        BenchCoreError: if the folder of the build configuration is missing, or the configuration cannot be read.
    """
    subdir = project.subdir
    if subdir.parts and not any(entry.path.is_relative_to(subdir) for entry in entries):
        raise BenchCoreError(f"{revision} has no folder {subdir}, which {project.config} names in repo_subdir.")
    files = {entry.path: entry for entry in entries}

    def read(name: str) -> str:
        return read_file(project, revision, files[subdir / name]) if subdir / name in files else ""

    try:
        pyproject = tomllib.loads(read("pyproject.toml"))
    except tomllib.TOMLDecodeError as error:
        raise BenchCoreError(f"{revision} does not build: its pyproject.toml cannot be read: {error}.") from error
    # pyproject.toml and setup.cfg may contain only the settings of a linter.
    built = subdir / "setup.py" in files or {"build-system", "project"} & pyproject.keys()
    if built or "[metadata]" in read("setup.cfg"):
        return tuple(pyproject.get("build-system", {}).get("requires", DEFAULT_REQUIRES))
    return () if project.build_command else None


def install(project: Project, source: Unbuilt, site: Path, log: Path, runner: Runner) -> None:
    """Build the wheel of a revision, and install it.

    Args:
        site: the folder to install into.
        log: the file that gets all output.

    Raises:
        StepError: if a step fails, or there is not exactly one wheel in the end.
        BenchCoreError: if asv's `build_command` names something that asv does not know.
    """
    work = source.tree.parent
    wheels = work / "wheels"
    wheels.mkdir()
    for step, hint in _steps(project, source, wheels):
        runner.run(step, log, hint, work)
    built = sorted(wheels.glob("*.whl"))
    if len(built) != 1:
        names = ", ".join(path.name for path in built) or "none"
        raise StepError(
            f"build_command must leave one wheel in {{build_cache_dir}}, but it left {names}. Let it write the wheel "
            "there, and give `pip wheel` the option --no-deps."
        )
    # --isolated, since `user` or `target` in pip's configuration would put the files elsewhere.
    options = ("--isolated", "--no-deps", "--no-index", "--no-compile", "--target", str(site))
    runner.run(pip(work, "install", *options, str(built[0])), log)


def _steps(project: Project, source: Unbuilt, wheels: Path) -> Iterator[tuple[Step, str]]:
    """The steps that make a wheel, each with a hint for its error."""
    package = source.tree / project.subdir
    if project.build_command:
        for step in _configured(project, source.revision, package, wheels):
            yield step, ""
        return
    command = ["wheel", "--no-deps", "--wheel-dir", str(wheels), str(package)]
    missing = [requirement for requirement in source.requires if not is_satisfied(requirement)]
    if missing:
        hint = f" pip had to fetch build requirements. To avoid this, install them first: {', '.join(missing)}."
        yield pip(source.tree.parent, *command), hint
    else:
        yield pip(source.tree.parent, *command, "--no-build-isolation"), ""


def _configured(project: Project, revision: Revision, package: Path, wheels: Path) -> Iterator[Step]:
    """asv's `build_command`, with the placeholders and the variables that asv documents for it."""
    from asv.util import UserError, interpolate_command

    offered = {
        "project": project.name,
        "conf_dir": str(project.config.parent),
        "env_name": "installed",
        "env_type": "installed",
        "env_dir": sys.prefix,
        "commit": revision.commit,
        "build_dir": str(package),
        "build_cache_dir": str(wheels),
    }
    variables = {"ASV": "true", **{f"ASV_{name.upper()}": value for name, value in offered.items()}}
    for line in project.build_command or ():
        try:
            command, extra, allowed, folder = interpolate_command(line, offered)
        except UserError as error:
            raise BenchCoreError(f"build_command in {project.config}: {error}") from error
        first = sys.executable if command[0] == "python" else command[0]
        environment = {**build_environment(), **variables, **extra}
        yield Step((first, *command[1:]), Path(folder or package), environment, allowed)


# Not `build.check_dependency` of pypa's build, which also checks transitive requirements: in the folder of a project
# with a build.py, `python -m bench_core` would import that file instead, and so run the project's build.
def is_satisfied(text: str) -> bool:
    """Whether a build requirement is installed. False for an address or a path: then pip decides."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return False
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    found = installed_version(text)
    return found is not None and not requirement.url and requirement.specifier.contains(found, prereleases=True)


def installed_version(text: str) -> str | None:
    """The installed version of the package that a build requirement names; None without one."""
    try:
        name = canonicalize_name(Requirement(text).name)
        return importlib.metadata.version(name)
    except InvalidRequirement:
        return None
    except importlib.metadata.PackageNotFoundError:
        # Since 70.1, setuptools includes what it needed from wheel.
        return installed_version("setuptools") if name == "wheel" and is_satisfied("setuptools>=70.1") else None
