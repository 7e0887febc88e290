"""What builds the projects that pip is told to install from folders. pip installs it for its own build alone, but an
isolated gate builds without a network."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from bench_core.compat import tomllib

DEFAULT = ("setuptools",)
"""What pip takes if a project declares nothing (PEP 518)."""


def build_requirements(words: Iterable[str]) -> list[str]:
    """The build requirements of the folders among the words of pip's command line, such as ``.`` or ``./lib[extra]``. A
    project that cannot be read has none: pip says why."""
    found: list[str] = []
    for folder in (Path(word.partition("[")[0]) for word in words if not word.startswith("-")):
        if not any((folder / name).is_file() for name in ("pyproject.toml", "setup.py", "setup.cfg")):
            continue
        try:
            text = (folder / "pyproject.toml").read_text(encoding="utf-8")
            requires = tomllib.loads(text).get("build-system", {}).get("requires", DEFAULT)
        except FileNotFoundError:
            requires = DEFAULT
        except (OSError, ValueError):
            continue
        found += [one for one in requires if isinstance(one, str)]
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    print(*build_requirements(sys.argv[1:]), sep="\n")  # noqa: T201 - the lines of a requirements file
