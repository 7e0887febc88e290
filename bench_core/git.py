"""Runs git in a repository. No other module starts git. git writes no locks or caches of its own and runs no hooks."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench_core import watchdog
from bench_core.errors import BenchCoreError

OF_ANOTHER_REPOSITORY = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX"),
)
"""Environment variables that git sets for its hooks. Inside a hook they would redirect every call to its repository."""

SETTINGS = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}", "core.splitIndex=false")
"""git's configuration for every call, so that it starts no other program and writes no second index."""


class GitError(BenchCoreError):
    """git failed."""


class RefusedError(GitError):
    """git refuses a repository because another user owns it."""


class MissingError(BenchCoreError):
    """git cannot be started: most likely it is not installed."""


def output(root: Path, *arguments: str, given: str = "", variables: Mapping[str, str] | None = None) -> str:
    """The output of git.

    Args:
        root: a folder of the repository.
        given: git's standard input.
        variables: additions to git's environment.

    Returns:
        Text in which bytes that are not UTF-8 are surrogates, since git's paths are bytes.

    Raises:
        GitError: if git fails. The text contains git's message.
        RefusedError: if git refuses the repository because another user owns it.
        MissingError: if git cannot be started. All functions of this module may raise it.
    """
    options = [option for setting in SETTINGS for option in ("-c", setting)]
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *options, *arguments],
            env=watchdog.variables({**without_hook(os.environ), "GIT_OPTIONAL_LOCKS": "0", **(variables or {})}),
            input=given,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
    except OSError as error:
        raise MissingError(f"git cannot be started: {error.strerror}. Install git.") from error
    if done.returncode and (refused := _REFUSED.search(done.stderr)):
        raise RefusedError(f"git refuses {root}, since another user owns it; `{refused[0]}` allows it")
    if done.returncode:
        raise GitError(f"`git {shlex.join(arguments)}` failed in {root}: {done.stderr.strip()}")
    return done.stdout


_REFUSED = re.compile(r"git config --global --add safe\.directory .*")
"""What git advises for a repository that another user owns. It is not translated."""


def without_hook(variables: Mapping[str, str]) -> dict[str, str]:
    """An environment without the variables that lead git to another repository."""
    return {name: value for name, value in variables.items() if name not in OF_ANOTHER_REPOSITORY}


def top(folder: Path) -> Path:
    """The top folder of the repository that contains `folder`.

    Raises:
        GitError: if no repository contains it.
    """
    return Path(output(folder, "rev-parse", "--show-toplevel").rstrip("\n")).resolve()


def commit(root: Path, name: str) -> str:
    """The full hash of the commit with a name, e.g. a branch or a tag.

    Raises:
        GitError: if git knows no such commit.
    """
    # The suffix keeps a name from being read as an option.
    return output(root, "rev-parse", "--verify", f"{name}^{{commit}}").strip()


def default_branch(root: Path) -> str:
    """The branch that others are merged into: the one that a clone checks out, or else main or master, or else the
    present one."""
    try:
        return output(root, "symbolic-ref", "--short", "refs/remotes/origin/HEAD").strip().removeprefix("origin/")
    except GitError:
        pass  # not cloned
    known = output(root, "for-each-ref", "--format=%(refname:short)", "refs/heads/main", "refs/heads/master").split()
    try:
        return known[0] if known else output(root, "symbolic-ref", "--short", "HEAD").strip()
    except GitError:
        return "main"  # no branch at all: a commit by its hash


def ignores(root: Path, path: Path) -> bool:
    """Whether git ignores a path in the repository, which need not exist."""
    try:
        return bool(output(root, "check-ignore", "--no-index", "--", str(path)))
    except GitError:  # so git answers that it does not
        return False


def author_date(root: Path, commit: str) -> int:
    """The author's date of a commit in seconds since 1970.

    Raises:
        GitError: if the repository does not have the commit.
    """
    return int(output(root, "show", "-s", "--format=%at", f"{commit}^{{commit}}"))


def uncommitted(root: Path, excluded: Iterable[str] = (), *options: str) -> tuple[str, ...]:
    """The files of the working tree that differ from its commit, new ones included. Ignored files and what commands
    leave (see `_is_left`) do not count.

    Args:
        excluded: git's pathspecs of files to leave out, e.g. ``:(exclude,top)docs``.
        options: more options of `git status`.

    Returns:
        Paths from the top of the repository.

    Raises:
        GitError: if git cannot tell.
    """
    listed = output(
        root,
        *("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", *options),
        *("--", ":/", *excluded),
    )
    return tuple(line[3:] for line in listed.split("\0") if line and not _is_left(line))


REPORTS = (".csv", ".html", ".json", ".jsonl", ".md", ".xml")
"""The suffixes of the files that our commands write."""


def _is_left(status: str) -> bool:
    """Whether a line of `git status --porcelain -z` is about a new file that a command has left: a compiled module of
    Python; or at the top of the repository a file with the suffix of a report, from which no package is built."""
    path = status[3:]
    return status.startswith("?? ") and ("__pycache__/" in path or ("/" not in path and path.endswith(REPORTS)))
