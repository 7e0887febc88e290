"""Installs of a package that a gate compares.

An install is not a whole environment, but a folder into which pip puts a package with its dependencies. It comes first
in a worker's import path. The rest of the environment is shared.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion

from bench_core.errors import BenchCoreError
from bench_core.gate.versions.cache import keep_newest, key_of, making, use
from bench_core.gate.versions.steps import StepError, last_line, pip, tail
from bench_core.gate.versions.store import VersionStore, packages_in
from bench_core.gate.versions.subjects import Importable
from bench_core.records.version import Install

KEPT_INSTALLS = 4
"""The most installs that the store holds. One with torch takes about a GB, with CUDA several."""

LEADING_ELSEWHERE = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER")
"""Environment variables under which pip would install into another folder. Those that name indexes are kept."""


@dataclass(frozen=True)
class Pin:
    """A requirement that means exactly one version.

    Attributes:
        asked: the requirement or the wheel, as it was given.
        package: the normalized name of the package.
        wheel: the wheel, or None for a requirement.
    """

    asked: str
    package: str
    version: str
    wheel: Path | None = None

    def is_met_by(self, version: str) -> bool:
        """Whether an installed version is this one, by pip's rules: 1.21.0 meets 1.21, and 2.11.0+cpu meets 2.11.0."""
        try:
            return SpecifierSet(f"=={self.version}").contains(version, prereleases=True)
        except InvalidVersion:
            return False


def pin_of(asked: str) -> Pin:
    """Read a requirement, or the name of a wheel.

    Raises:
        BenchCoreError: if it does not name exactly one version.
    """
    if asked.endswith(".whl"):
        path = Path(asked).absolute()
        try:
            package, found, _, _ = parse_wheel_filename(path.name)
        except InvalidWheelFilename as error:
            raise BenchCoreError(f"{asked} is no valid name of a wheel: {error}.") from error
        if not path.is_file():
            raise BenchCoreError(f"{asked}: no such file. Give the path of a wheel, or a version: 'torch==2.11.0'.")
        return Pin(asked, package, str(found), path)
    try:
        requirement = Requirement(asked)
        ((operator, version),) = ((one.operator, one.version) for one in requirement.specifier)
    except (InvalidRequirement, ValueError):
        requirement, operator, version = None, "", ""
    if requirement is None or operator != "==" or version.endswith("*"):
        raise BenchCoreError(
            f"--versus cannot tell which version {asked!r} is. Give an exact version, as in 'torch==2.11.0', the path "
            "of a wheel (.whl), or the path of an interpreter, as in ./env/bin/python."
        )
    if requirement.marker is not None:
        raise BenchCoreError(f"--versus takes no condition, and {asked!r} has one: leave out `; {requirement.marker}`.")
    return Pin(asked, canonicalize_name(requirement.name), version)


def installed(store: VersionStore, pin: Pin, say: Callable[[str], None]) -> Importable:
    """The install of a pin. It is made unless it exists.

    Raises:
        BenchCoreError: if it cannot be made.
    """
    folder = store.folder / "installs"
    try:
        key = _key(pin)
        home = folder / key
        if not home.is_dir():
            say(f"installing {pin.asked}")
            folder.mkdir(exist_ok=True)
            with making(home, store.folder) as made:
                _install(store, pin, made, home)
        use(home)
        keep_newest(folder, KEPT_INSTALLS)
    except OSError as error:
        raise BenchCoreError(
            f"{pin.asked} cannot be installed in {folder}: {error.strerror}. Make room, or set env_dir in "
            f"{store.project.config} to a folder that has some."
        ) from error
    site = home / "site"
    return Importable(Install(pin.asked, key, packages_in(site)), path=str(site))


def distributions_in(site: str) -> dict[str, str]:
    """The versions of the packages in a folder, by normalized name."""
    return {canonicalize_name(found.metadata["Name"]): found.version for found in distributions(path=[site])}


def imported_as(package: str, install: Importable) -> set[str]:
    """The top-level names of one package of an install."""
    files = [file for found in distributions(path=[install.path], name=package) for file in found.files or ()]
    return {file.parts[0].partition(".")[0] for file in files} & set(install.packages)


def _key(pin: Pin) -> str:
    """The name of an install's folder, from everything that determines its content."""
    variables = {name: value for name, value in _variables(os.environ).items() if name.startswith("PIP_")}
    content = pin.asked if pin.wheel is None else hashlib.sha256(pin.wheel.read_bytes()).hexdigest()
    return key_of([content, sys.version, sysconfig.get_platform(), _settings(tuple(sorted(variables.items())))])


@cache
def _settings(variables: tuple[tuple[str, str], ...]) -> str:
    """pip's settings, from its files and from these variables."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        env={**others, **dict(variables)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = last_line(done.stderr) or "nothing"
        raise BenchCoreError(f"`pip config list` failed: {said}.")
    return done.stdout


def _variables(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in LEADING_ELSEWHERE}


def _install(store: VersionStore, pin: Pin, made: Path, home: Path) -> None:
    work, site = made.parent, made / "site"  # `work` is removed in any case
    log = work / "log"
    # Only wheels, since a package that pip builds here, with this compiler and BLAS, is not the released one.
    options = ("--only-binary", ":all:", "--no-compile", "--target", str(site))
    step = pip(work, "install", *options, str(pin.wheel or pin.asked))
    # pip unpacks into a temporary folder first. It must be on a disk with room, and must be removed.
    step = replace(step, variables={**_variables(step.variables), "PIP_USER": "0", "TMPDIR": str(work)})
    try:
        store.runner.run(step, log)
    except StepError as error:
        raise BenchCoreError(
            f"{pin.asked} cannot be installed: {_why(pin, log, home) or error}\n{tail(log)}{_keep(log, home)}"
        ) from error
    found = distributions_in(str(site)).get(pin.package, "none")
    if not pin.is_met_by(found):
        raise BenchCoreError(
            f"pip reported no error, but did not install {pin.asked}: the installed version of {pin.package} is "
            f"{found}. Check pip's configuration (`pip config list`).\n{tail(log)}"
        )
    store.runner.compile(site, home / "site")


def _why(pin: Pin, log: Path, home: Path) -> str:
    """A sentence on the cause, if it is a usual one; else ""."""
    said = log.read_text(errors="replace")
    if "No space left on device" in said:
        return f"the disk that {home.parent} is on is full. Make room, or set env_dir to a folder that has some."
    here = f"Python {platform.python_version()}"
    for_another = any(pin.is_met_by(version) for version in re.findall(r"(\S+) Requires-Python", said))
    if for_another or "requires a different Python" in said:
        return f"it needs another Python than this one, {here}. Name another version, or two interpreters by path."
    if conflict := re.search(r"The user requested \(constraint\) (.*)", said):
        return (
            f"it conflicts with the constraint {conflict[1].strip()} (from pip's configuration, or PIP_CONSTRAINT). "
            "Name a version that meets it, or set PIP_CONSTRAINT to a file without it."
        )
    if "No matching distribution found for" in said or "is not a supported wheel on this platform" in said:
        return (
            f"there is no such version, or it or a dependency has no wheel for {here} on {sysconfig.get_platform()}. "
            "Name another version, a wheel of your own, or two interpreters by path."
        )
    return ""


def _keep(log: Path, home: Path) -> str:
    """Keep the whole log, and return a line that names the file; "" if there is no room for it."""
    kept = home.with_suffix(".log")
    try:
        shutil.copyfile(log, kept)
    except OSError:
        kept.unlink(missing_ok=True)
        return ""
    keep_newest(kept.parent, KEPT_INSTALLS, ".log")
    return f"\nThe whole log: {kept}"
