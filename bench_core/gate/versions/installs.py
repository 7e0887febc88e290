"""`--versus`: two installs of one requirement, or two interpreters. The code that is timed is the same on both sides.

An install is a layer and not a whole environment: what pip puts into a folder of its own, dependencies included, which
a worker has in front of everything else. The rest of the environment is shared.
"""

from __future__ import annotations

import hashlib
import json
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
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion

from bench_core.errors import BenchCoreError
from bench_core.gate.versions.store import BuildError, Store, hash16, keep_newest, packages_in, pip, tail
from bench_core.gate.workers import child
from bench_core.records.version import Version

KEPT_INSTALLS = 4
"""What the cache holds at most; one with torch takes about a GB, or several with CUDA."""

NEEDED = ("asv_runner", "cattrs", "psutil")
"""What an interpreter must have for our own part of a worker."""

OLDEST_PYTHON = (3, 11)
"""That our own part of a worker runs under."""

INTERPRETER_TIMEOUT = 60.0
"""Seconds that an interpreter may take to say what it is."""

LEADING_ELSEWHERE = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER")
"""Variables that would have pip install into another folder. Those that say where packages come from are kept."""


@dataclass(frozen=True)
class Environments:
    """The two sides of a comparison.

    Attributes:
        pythons: the interpreter of each side; "" for ours.
        besides: packages that differ, too, though they were not asked for.
        compared: what the package of which two installs are compared is imported as; empty for two interpreters.
    """

    base: Version
    head: Version
    pythons: tuple[str, str]
    besides: tuple[str, ...]
    compared: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Pin:
    """A requirement that means one version.

    Attributes:
        asked: as it was given.
        package: the name of what it requires.
        version: of that.
        wheel: the file, where it is one.
    """

    asked: str
    package: str
    version: str
    wheel: Path | None = None

    def is_met_by(self, version: str) -> bool:
        """Whether that is the version that is meant, as pip sees it: 1.21.0 for 1.21, and 2.11.0+cpu for 2.11.0."""
        try:
            return SpecifierSet(f"=={self.version}").contains(version, prereleases=True)
        except InvalidVersion:
            return False


def environments(store: Store, asked: tuple[str, str], say: Callable[[str], None]) -> Environments:
    """Make both sides, or find them made.

    Raises:
        BenchCoreError: if one is not what can be compared, or cannot be made.
    """
    are_paths = [_is_path(name) for name in asked]
    if all(are_paths):
        return _interpreters(asked)
    pins = [pin_of(name) for name, is_path in zip(asked, are_paths, strict=True) if not is_path]
    if any(are_paths):
        raise BenchCoreError(
            f"--versus compares two installs or two interpreters, and of {asked[0]} and {asked[1]} only one is an "
            "interpreter: name two of a kind."
        )
    base, head = pins
    if base.package != head.package:
        raise BenchCoreError(
            f"--versus compares two installs of one package, and these are of {base.package} and {head.package}. What "
            "each of them brings along may differ, and is named."
        )
    made = [_installed(store, pin, say) for pin in pins]
    packages = [_distributions(version.path) for version in made]
    besides = _differing(*({name: one[name] for name in one if name != base.package} for one in packages))
    compared = frozenset[str]().union(*(_imported_as(base.package, version) for version in made))
    return Environments(made[0], made[1], ("", ""), besides, compared)


def _is_path(name: str) -> bool:
    """Whether it names an interpreter."""
    return (os.sep in name or Path(name).is_file()) and not name.endswith(".whl")


def pin_of(asked: str) -> Pin:
    """What a person asks for.

    Raises:
        BenchCoreError: if it does not name one version.
    """
    if asked.endswith(".whl"):
        path = Path(asked).absolute()
        try:
            package, found, _, _ = parse_wheel_filename(path.name)
        except InvalidWheelFilename as error:
            raise BenchCoreError(f"{asked} is not named as a wheel is: {error}.") from error
        if not path.is_file():
            raise BenchCoreError(f"{asked}: there is no such file. Name a wheel's, or a version as in 'torch==2.11.0'.")
        return Pin(asked, package, str(found), path)
    try:
        requirement = Requirement(asked)
        ((operator, version),) = ((one.operator, one.version) for one in requirement.specifier)
    except (InvalidRequirement, ValueError):
        requirement, operator, version = None, "", ""
    if requirement is None or operator != "==" or version.endswith("*"):
        raise BenchCoreError(
            f"--versus cannot tell which version {asked!r} is: name an exact one, as in 'torch==2.11.0', the file of a "
            "wheel (.whl), or an interpreter by its path, as in ./env/bin/python."
        )
    if requirement.marker is not None:
        raise BenchCoreError(
            f"--versus installs what is named, and {asked!r} has a condition: leave out `; {requirement.marker}`."
        )
    return Pin(asked, canonicalize_name(requirement.name), version)


# Installs.


def _installed(store: Store, pin: Pin, say: Callable[[str], None]) -> Version:
    folder = store.folder / "installs"
    try:
        key = _key(pin)
        home = folder / key
        if not home.is_dir():
            say(f"installing {pin.asked}")
            folder.mkdir(exist_ok=True)
            with store.making(home) as made:
                _install(store, pin, made, home)
        os.utime(home)
        keep_newest(folder, KEPT_INSTALLS)
    except OSError as error:
        raise BenchCoreError(
            f"{pin.asked} cannot be installed in {folder}: {error.strerror}. Make room, or set env_dir in "
            f"{store.project.config} to a folder that has some."
        ) from error
    site = home / "site"
    return Version(pin.asked, None, (), key, "", str(site), packages_in(site))


def _key(pin: Pin) -> str:
    """The name of an install's folder: all that decides what is in it."""
    variables = {name: value for name, value in _variables(os.environ).items() if name.startswith("PIP_")}
    content = pin.asked if pin.wheel is None else hashlib.sha256(pin.wheel.read_bytes()).hexdigest()
    return hash16([content, sys.version, sysconfig.get_platform(), _settings(tuple(sorted(variables.items())))])


@cache
def _settings(variables: tuple[tuple[str, str], ...]) -> str:
    """All that pip is told, by files and by these variables: where packages come from, and how they are chosen."""
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
        raise BenchCoreError(f"pip cannot say how it is configured (`pip config list`): {_last(done.stderr)}.")
    return done.stdout


def _last(said: str) -> str:
    """The last line."""
    return (said.strip().splitlines() or ["nothing"])[-1]


def _variables(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in LEADING_ELSEWHERE}


def _install(store: Store, pin: Pin, made: Path, home: Path) -> None:
    work, site = made.parent, made / "site"  # `work` vanishes whatever happens
    log = work / "log"
    # Only what was released: what pip builds here, with this compiler and this BLAS, is another build.
    options = ("--only-binary", ":all:", "--no-compile", "--target", str(site))
    step = pip(work, "install", *options, str(pin.wheel or pin.asked))
    # pip unpacks into a temporary folder first: there it needs the room, too, and must leave nothing behind.
    step = replace(step, variables={**_variables(step.variables), "PIP_USER": "0", "TMPDIR": str(work)})
    try:
        store.run(step, log)
    except BuildError as error:
        raise BenchCoreError(
            f"{pin.asked} cannot be installed: {_why(pin, log, home) or error}\n{tail(log)}{_keep(log, home)}"
        ) from error
    found = _distributions(str(site)).get(pin.package, "nothing")
    if not pin.is_met_by(found):
        raise BenchCoreError(
            f"{pin.asked} was not installed, though pip found no fault: of {pin.package} there is {found}. Does pip's "
            f"configuration (`pip config list`) tell it to do something else?\n{tail(log)}"
        )
    store.compile(site, home / "site")


def _why(pin: Pin, log: Path, home: Path) -> str:
    """The usual causes in a sentence; "" for others."""
    said = log.read_text(errors="replace")
    if "No space left on device" in said:
        return f"the disk that {home.parent} is on is full. Make room, or set env_dir to a folder that has some."
    here = f"Python {platform.python_version()}"
    for_another = any(pin.is_met_by(version) for version in re.findall(r"(\S+) Requires-Python", said))
    if for_another or "requires a different Python" in said:
        return f"it needs another Python than this one, {here}. Name another version, or two interpreters by path."
    if conflict := re.search(r"The user requested \(constraint\) (.*)", said):
        return (
            f"pip is told to keep to {conflict[1].strip()} (a constraint in its configuration, or PIP_CONSTRAINT). "
            "Name a version that keeps to it, or have PIP_CONSTRAINT name a file without it."
        )
    if "No matching distribution found for" in said or "is not a supported wheel on this platform" in said:
        return (
            f"there is no such version, or none of its wheels, or of what it requires, fits {here} on "
            f"{sysconfig.get_platform()}. Name another version, a wheel of your own, or two interpreters by path."
        )
    return ""


def _keep(log: Path, home: Path) -> str:
    """Keep the whole log, where there is room for it; a line that says where."""
    kept = home.with_suffix(".log")
    try:
        shutil.copyfile(log, kept)
    except OSError:
        kept.unlink(missing_ok=True)
        return ""
    keep_newest(kept.parent, KEPT_INSTALLS, ".log")
    return f"\nThe whole log: {kept}"


def _distributions(site: str) -> dict[str, str]:
    return {canonicalize_name(found.metadata["Name"]): found.version for found in distributions(path=[site])}


def _imported_as(package: str, version: Version) -> set[str]:
    """The top-level names of one of the packages in an install."""
    files = [file for found in distributions(path=[version.path], name=package) for file in found.files or ()]
    return {file.parts[0].partition(".")[0] for file in files} & set(version.packages)


def _differing(base: Mapping[str, str], head: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        f"{name} {base.get(name, 'none')} → {head.get(name, 'none')}"
        for name in sorted({*base, *head})
        if base.get(name) != head.get(name)
    )


# Interpreters.


def _interpreters(asked: tuple[str, str]) -> Environments:
    versions, packages = [], []
    for name in asked:
        said = _interpreter(name)
        packages.append(said["packages"])
        # Two venvs of one Python are the same file, and may be alike in all but what nobody has recorded.
        digest = hash16([os.path.realpath(name), said["prefix"], said["version"], said["packages"]])
        versions.append(Version(name, None, (), digest, "", "", ()))
    # Not its real path: the name by which it is called is what tells an interpreter that it belongs to a venv.
    base, head = (str(Path(name).absolute()) for name in asked)
    besides = _differing(*({one: version for one, (version, _) in found.items()} for found in packages))
    return Environments(versions[0], versions[1], (base, head), (*besides, *_rebuilt(*packages)))


def _rebuilt(base: Mapping[str, list[str]], head: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The packages of one version whose files differ; name to version and digest of the files, each."""
    return tuple(
        f"{name} {base[name][0]}, another build of it"
        for name in sorted(base.keys() & head.keys())
        if base[name][0] == head[name][0] and base[name][1] != head[name][1]
    )


def _interpreter(name: str) -> dict[str, Any]:
    """What an interpreter says of itself: ``version``, ``prefix``, and ``packages``: name to version and digest.

    Raises:
        BenchCoreError: if it is none, or workers cannot run under it.
    """
    path = Path(name).absolute()
    if not path.is_file() or not os.access(path, os.X_OK):
        inside = next((one for one in (path / "bin/python", path / "Scripts/python.exe") if one.is_file()), None)
        hint = f" Did you mean {inside}?" if inside else ""
        raise BenchCoreError(f"{name} is no interpreter: no file that can be executed.{hint}")
    try:
        done = subprocess.run(
            [str(path), "-c", _SAY, *NEEDED],
            cwd=path.parent,
            env=child.variables(str(path), 0),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=INTERPRETER_TIMEOUT,
            check=False,
        )
        said: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchCoreError(f"{name} cannot be started as an interpreter: {error}.") from error
    except ValueError as error:
        raise BenchCoreError(
            f"{name} is no Python interpreter: asked for its version, it said {_last(done.stderr)!r}."
        ) from error
    if tuple(said["info"]) < OLDEST_PYTHON:
        raise BenchCoreError(
            f"{name} is Python {'.'.join(map(str, said['info']))}, and workers need "
            f"{'.'.join(map(str, OLDEST_PYTHON))} or newer."
        )
    if said["missing"]:
        raise BenchCoreError(
            f"{name} lacks what workers need. Install it there: {name} -m pip install {' '.join(said['missing'])}"
        )
    return said


_SAY = """
import hashlib, json, os, sys
from importlib.metadata import distributions
from importlib.util import find_spec

def digest(one):
    lines = (one.read_text("RECORD") or "").splitlines()
    own = [line for line in lines if ".dist-info/" not in line and "__pycache__" not in line and line[:3] != "../"]
    return hashlib.sha256("\\n".join(sorted(own)).encode()).hexdigest()

print(json.dumps({
    "version": sys.version,
    "info": sys.version_info[:2],
    "prefix": os.path.realpath(sys.prefix),
    "missing": [name for name in sys.argv[1:] if find_spec(name) is None],
    "packages": {
        one.metadata["Name"].lower().replace("_", "-"): (one.version, digest(one))
        for one in reversed(list(distributions()))
    },
}))
"""
"""Runs under the interpreter, which may be too old for anything newer. A RECORD lists the files of a package with their
hashes; scripts and what pip notes down hold the folder that they lie in, and differ where nothing else does. Of two
packages of one name, the first is imported."""
