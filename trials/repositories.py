"""Makes the repositories that trials compare revisions of."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench_core import git
from trials.gates import TOOL

AUTHOR = ("-c", "user.name=Trials", "-c", "user.email=trials@example.org", "-c", "commit.gpgsign=false")


@dataclass(frozen=True)
class Repository:
    """A git repository with the top folder `root`."""

    root: Path

    def commit(self, files: Mapping[str, str], message: str) -> str:
        """Write files, commit them, and return the hash."""
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        _git(self.root, "add", "-A")
        _git(self.root, "commit", "-q", "--allow-empty", "-m", message)
        return _git(self.root, "rev-parse", "HEAD")


def made(root: Path, files: Path | None = None) -> Repository:
    """A new repository, with an uncommitted copy of these files."""
    if files is None:
        root.mkdir(parents=True)
    else:
        shutil.copytree(files, root, ignore=shutil.ignore_patterns("__pycache__", ".asv", ".benchmarks"))
    _git(root, "init", "-q", "-b", "main")
    return Repository(root)


def clone_of_tool(root: Path) -> Repository:
    """A clone of the last commit of the tried project."""
    git.output(TOOL, "clone", "-q", str(TOOL), str(root))
    return Repository(root)


def _git(root: Path, *arguments: str) -> str:
    return git.output(root, *AUTHOR, *arguments).strip()
