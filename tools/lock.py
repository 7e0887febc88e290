"""Locks the packages of development, with hashes: `python -m tools.lock` writes requirements-dev.txt.

torch is left out. asv.conf.json names its version, and its build (CPU or CUDA) is chosen where it is installed, so no
hash is right everywhere. safetensors and numpy do not depend on it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from packaging.requirements import Requirement

from bench_core.compat import tomllib

ROOT = Path(__file__).resolve().parent.parent

LOCKED = ROOT / "requirements-dev.txt"

LEFT_OUT = frozenset({"torch"})


def requirements(extra: str) -> Iterator[str]:
    """The requirements of the project with an extra, without those of `LEFT_OUT`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras, waiting = set[str](), [extra]
    yield from project["dependencies"]
    while waiting:
        name = waiting.pop()
        if name in extras:
            continue
        extras.add(name)
        for text in project["optional-dependencies"][name]:
            one = Requirement(text)
            if one.name == project["name"]:
                waiting += one.extras
            elif one.name not in LEFT_OUT:
                yield text


@click.command()
def main() -> None:
    """Lock the packages of the extra `dev` for this Python. pip-tools must be installed."""
    with TemporaryDirectory() as folder:
        wanted = Path(folder, "dev.in")
        wanted.write_text("\n".join(sorted(set(requirements("dev")))) + "\n")
        options = ["--quiet", "--generate-hashes", "--allow-unsafe", "--strip-extras", "--no-annotate", "--no-header"]
        options += ["--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host"]
        command = [sys.executable, "-m", "piptools", "compile", *options, "--output-file", str(LOCKED), str(wanted)]
        subprocess.run(command, check=True)
    heading = "# Made by `make lock` on Python 3.11. Without torch, see tools/lock.py.\n"
    LOCKED.write_text(heading + LOCKED.read_text())


if __name__ == "__main__":
    main()
