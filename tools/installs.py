"""Installs the wheel and the sdist of the last commit into empty environments, and tries them there.

An environment gets nothing but what the package declares. A suite that needs no package is listed, run, and gated: once
without a change, which must pass, and once with a slowdown, which must be found. Then what needs an extra must say so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from bench_core.cli.terminal import say
from tools import build

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
"""The supported versions."""

LARGEST = 60
"""The most megabytes that a plain installation may take, without pip and setuptools."""

MOST = 25
"""The most packages that a plain installation may bring, beside bench_core itself."""

FILES: Mapping[str, str] = {
    "asv.conf.json": '{"version": 1, "project": "thing", "repo": ".", "benchmark_dir": "cells"}',
    "cells/__init__.py": "",
    "cells/sums.py": "import thing\n\n\ndef time_total():\n    thing.total(2000)\n",
    "thing.py": "def total(n):\n    return sum(range(n))\n",
}
"""A project with a suite, whose functions need no package."""

SLOWER = {"thing.py": "def total(n):\n    return sum(range(n)) + sum(range(n // 2))\n"}
"""A change by which the suite's only cell takes 1.5 times as long."""

GATE = ("gate", "HEAD~1", "HEAD", "--budget", "15s")


@dataclass(frozen=True)
class Try:
    """A package in an environment of one Python."""

    python: Path
    version: str
    package: Path

    def __str__(self) -> str:
        return f"Python {self.version}, {'wheel' if self.package.suffix == '.whl' else 'sdist'}"


@click.command()
@click.option("--two", is_flag=True, help="The oldest and the newest Python alone: one the wheel, the other the sdist.")
@click.option("--versions", default=",".join(PYTHONS), show_default=True, help="The Pythons to try.")
def main(two: bool, versions: str) -> None:
    """Build the package, and try it on every supported Python that is here."""
    here = {version: path for version in versions.split(",") if (path := interpreter(version)) is not None}
    if absent := [version for version in versions.split(",") if version not in here]:
        say(f"Not here, so not tried: Python {', '.join(absent)}.")
    with TemporaryDirectory(prefix="bench-core-installs-") as folder:
        (Path(folder) / "built").mkdir()
        sdist, wheel = build.built(Path(folder) / "built", build.UMASKS[0])[::-1]
        chosen = list(here.items())
        if two:
            chosen = [chosen[0], chosen[-1]] if len(chosen) > 1 else chosen * 2
            tries = [Try(path, version, one) for (version, path), one in zip(chosen, (wheel, sdist), strict=True)]
        else:
            tries = [Try(path, version, one) for version, path in chosen for one in (wheel, sdist)]
        with ThreadPoolExecutor(2) as threads:
            faults = list(threads.map(lambda pair: tried(pair[1], Path(folder, str(pair[0]))), enumerate(tries)))
    for one, fault in zip(tries, faults, strict=True):
        say(f"{one}: {fault or 'works'}")
    if any(faults):
        raise click.ClickException("an installation does not work.")
    say(f"{len(tries)} passed, 0 failed")


def interpreter(version: str) -> Path | None:
    """The interpreter of this version: the newest of pyenv, or the one in the path."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = sorted(
        root.glob(f"{version}.*/bin/python"), key=lambda path: [int(n) for n in re.findall(r"\d+", str(path))]
    )
    named = shutil.which(f"python{version}")
    for path in (*reversed(found), *([Path(named)] if named else [])):
        said = subprocess.run([path, "-V"], capture_output=True, text=True, check=False).stdout
        if said.startswith(f"Python {version}."):
            return path
    return None


class FaultError(Exception):
    """What does not work. The text is what a person needs to know."""


def tried(one: Try, folder: Path) -> str:
    """Try an installation. The fault, or "" without one."""
    try:
        place = Place(folder, one)
        for line in place.steps():
            say(f"{one}: {line}")
    except FaultError as fault:
        return str(fault)
    return ""


class Place:
    """An empty environment, and a project beside it."""

    def __init__(self, folder: Path, one: Try) -> None:
        self._one = one
        self._env, self._project = folder / "env", folder / "project"
        self._bin = self._env / "bin"
        # Nothing of our own environment, so that no package of it is found.
        kept = {"PATH", "HOME", "LANG", "SSL_CERT_FILE", "TMPDIR"} | {name for name in os.environ if "PIP_" in name}
        self._variables = {name: os.environ[name] for name in kept if name in os.environ}
        self._variables["PYTHONPATH"] = str(self._project)  # the project is not installed

    def steps(self) -> Iterator[str]:
        self._call([self._one.python, "-m", "venv", self._env])
        self._call([self._bin / "python", "-m", "pip", "install", "--quiet", self._one.package])
        self._call([self._bin / "python", "-m", "pip", "check"])
        packages, size = self._packages(), self._megabytes()
        yield f"{len(packages)} packages, {size:.0f} MB"
        if len(packages) > MOST or size > LARGEST:
            raise FaultError(f"{len(packages)} packages take {size:.0f} MB, over {MOST} or {LARGEST}: {packages}")
        self._commit(FILES)
        self._commit({"thing.py": FILES["thing.py"] + "\n\ndef other():\n    pass\n"})
        self._says(("--version",), re.escape(f"bench-core {self._version()}"))
        self._says(("list",), "sums.time_total")
        self._says(("run", "--budget", "2s"), "1 cell kept|1 cell stored")
        self._says(("show",), "sums.time_total|time_total")
        yield "lists, runs and shows a suite"
        self._says(GATE, "pass|unaffected|not reach")
        self._commit(SLOWER)
        self._says(GATE, "slower", code=1)
        yield "passes the same, and finds a slowdown"
        for arguments, extra in ((("report",), "report"), (("agree",), "torch"), (("gpu",), "torch")):
            self._says(arguments, rf"pip install 'bench_core\[{extra}\] @ file:[^']+'", code=2)
        yield "names the extra that a command needs"

    def _version(self) -> str:
        return self._one.package.name.split("-")[1].removesuffix(".tar.gz")

    def _packages(self) -> list[str]:
        listed = self._call([self._bin / "python", "-m", "pip", "list", "--format", "freeze"]).splitlines()
        names = [line.partition("==")[0] for line in listed if "==" in line]
        return sorted(name for name in names if name not in ("pip", "setuptools", "bench_core"))

    def _megabytes(self) -> float:
        """The size of all files but those of pip and setuptools, with what is compiled."""
        (site,) = self._env.glob("lib/*/site-packages")
        folders = (
            path for path in site.iterdir() if not re.match(r"pip|setuptools|pkg_resources|_distutils", path.name)
        )
        files = (path for folder in folders for path in (folder.rglob("*") if folder.is_dir() else [folder]))
        return sum(path.stat().st_size for path in files if path.is_file()) / 1e6

    def _commit(self, files: Mapping[str, str]) -> None:
        if not self._project.is_dir():
            self._project.mkdir()
            self._call(["git", "init", "--quiet", "--initial-branch", "main"])
        for name, text in files.items():
            path = self._project / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        self._call(["git", "add", "--all"])
        self._call(
            ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "A change"]
        )

    def _says(self, arguments: Sequence[str], expected: str, code: int = 0) -> None:
        said = self._call([self._bin / "bench-core", *arguments], code=code)
        if not re.search(expected, said):
            raise FaultError(f"bench-core {' '.join(arguments)} does not say {expected!r}, but:\n{said}")

    def _call(self, command: Sequence[str | Path], code: int = 0) -> str:
        where = self._project if self._project.is_dir() else self._one.package.parent
        done = subprocess.run(
            command,
            cwd=where,
            env=self._variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != code:
            said = " ".join(map(str, command))
            raise FaultError(f"{said} ended with {done.returncode}, not {code}:\n{done.stdout}")
        return done.stdout


if __name__ == "__main__":
    sys.exit(main())
