"""A project with three cells and without torch, on which a gate takes some seconds."""

from __future__ import annotations

import json
from pathlib import Path

from trials import repositories

PACKAGE = '''"""Functions of a few microseconds."""

NOTE = "{note}"
LENGTH = {length}


def summed():
    return sum(range(LENGTH))


def joined():
    return ",".join(map(str, range(200)))


def ordered():
    return sorted(range(1000), key=lambda number: -number)
'''

SUITE = """import small


class Calls:
    rivals = "way"
    param_names = ["way"]
    params = [["summed", "joined", "ordered"]]

    def setup(self, way):
        self.call = getattr(small, way)

    def time_call(self, way):
        self.call()
"""

BUILT = """[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "small"
version = "1"

[tool.setuptools]
py-modules = ["small"]
"""

LENGTH = 500
"""The length of the sum in base."""

SLOWER = 1000
"""Its length in a head that is slower: about twice the time."""

OPTIONS = ("--noise-floor", "20%", "--limit", "40%", "--all")
"""The options of a gate that tells only large effects apart, since nothing else is tried here."""


def project(root: Path, *, built: bool) -> repositories.Repository:
    """The repository, without a commit. If the package is `built`, a version takes pip some seconds."""
    made = repositories.made(root)
    config = {"version": 1, "project": "small", "repo": ".", "benchmark_dir": "cells", "env_dir": ".asv/env"}
    files = {
        "asv.conf.json": json.dumps(config),
        ".gitignore": ".asv/\nresults/\n*.html\ngate.json\n",
        "cells/__init__.py": "",
        "cells/calls.py": SUITE,
    }
    for name, text in {**files, **({"pyproject.toml": BUILT} if built else {})}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return made


def version(repository: repositories.Repository, note: str, length: int = LENGTH) -> str:
    """Commit a version, and return its hash."""
    return repository.commit({"small.py": PACKAGE.format(note=note, length=length)}, note)
