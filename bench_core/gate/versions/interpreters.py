"""Interpreters that a gate compares: their descriptions, and checks that workers can run under them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_core import codec
from bench_core.errors import BenchCoreError
from bench_core.gate.versions.cache import key_of
from bench_core.gate.versions.steps import last_line
from bench_core.gate.versions.subjects import Importable
from bench_core.records.version import Interpreter
from bench_core.workers import child

NEEDED = ("asv_runner", "psutil")
"""Packages that our part of a worker needs."""

OLDEST_PYTHON = (3, 10)
"""The oldest Python that runs our part of a worker."""

INTERPRETER_TIMEOUT = 60.0
"""The most seconds that an interpreter may take to describe itself."""


@dataclass(frozen=True)
class Description:
    """An interpreter's description of itself.

    Attributes:
        version: ``sys.version``.
        info: major and minor version.
        prefix: the folder of its environment.
        missing: packages that workers need and that it lacks.
        packages: the version and the digest of the files of each package in its environment, by name.
    """

    version: str
    info: tuple[int, ...]
    prefix: str
    missing: tuple[str, ...]
    packages: Mapping[str, tuple[str, ...]]


def interpreter(name: str, also: Sequence[str] = ()) -> tuple[Importable, Description]:
    """The interpreter at the path `name`.

    Args:
        also: packages that it must have besides those that every worker needs.

    Raises:
        BenchCoreError: if it is no interpreter, or workers cannot run under it.
    """
    said = _described(name, (*NEEDED, *also))
    # The prefix distinguishes virtual environments of one Python, whose interpreters are the same file.
    digest = key_of([os.path.realpath(name), said.prefix, said.version, codec.to_json(said.packages)])
    # The path as it was given, since an interpreter finds its virtual environment by it.
    return Importable(Interpreter(name, digest), python=str(Path(name).absolute())), said


def rebuilt(base: Description, head: Description) -> tuple[str, ...]:
    """The packages that have the same version in both, but different files."""
    return tuple(
        f"{name} {base.packages[name][0]}, another build of it"
        for name in sorted(base.packages.keys() & head.packages.keys())
        if base.packages[name][0] == head.packages[name][0] and base.packages[name] != head.packages[name]
    )


def _described(name: str, needed: Sequence[str]) -> Description:
    path = Path(name).absolute()
    if not path.is_file() or not os.access(path, os.X_OK):
        inside = next((one for one in (path / "bin/python", path / "Scripts/python.exe") if one.is_file()), None)
        hint = f" Did you mean {inside}?" if inside else ""
        raise BenchCoreError(f"{name} is no interpreter: it is not an executable file.{hint}")
    try:
        done = subprocess.run(
            [str(path), "-c", DESCRIBE, *needed],
            cwd=path.parent,
            env=child.variables(str(path), 0),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=INTERPRETER_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchCoreError(f"{name} cannot be started as an interpreter: {error}.") from error
    try:
        said = codec.from_json(Description, json.loads(done.stdout))
    except ValueError as error:
        raise BenchCoreError(
            f"{name} is no Python interpreter: asked for its version, it said {last_line(done.stderr) or 'nothing'!r}."
        ) from error
    if said.info < OLDEST_PYTHON:
        found, needed = (".".join(map(str, info)) for info in (said.info, OLDEST_PYTHON))
        raise BenchCoreError(f"{name} is Python {found}, and workers need {needed} or newer.")
    if said.missing:
        raise BenchCoreError(
            f"{name} lacks what workers need. Install it there: {name} -m pip install {' '.join(said.missing)}"
        )
    return said


DESCRIBE = """
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
"""A program that prints a `Description`. It runs under the interpreter, so it avoids features that an old Python lacks.

The digest of a package is made from its RECORD, which lists its files with their hashes. Scripts and pip's own files
are left out: they contain the path of their folder, so they differ between equal packages. Of two packages with one
name, the first in the import path counts."""
