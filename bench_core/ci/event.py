"""The event that a workflow runs for. Needs the standard library alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_core.errors import BenchCoreError

LARGEST = 16 * 2**20
"""The most bytes of an event. GitHub's own limit is 25 MB; those of pull requests have some 30 kB."""


@dataclass(frozen=True)
class Pull:
    """A pull request, as an event or GitHub's API describes it.

    Attributes:
        number: its number in the repository of the workflow.
        head, base: full hashes: its last commit, and the last commit of the branch that it is for.
        branch: the name of its branch in the repository `repository`.
        repository: the id of the repository that its head is in; 0 if that was deleted.
        is_fork: whether that is another repository than the workflow's.
    """

    number: int
    head: str
    base: str
    branch: str
    repository: int
    is_fork: bool


def read(path: Path) -> dict[str, Any]:
    """The event in the file that ``GITHUB_EVENT_PATH`` names.

    Raises:
        BenchCoreError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        found = json.loads(content) if len(content) <= LARGEST else None
    except (OSError, ValueError, RecursionError) as error:
        raise BenchCoreError(f"the event in {path} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise BenchCoreError(f"the event in {path} is no JSON object of at most {LARGEST:,} bytes.")
    return found


def pull_of(event: Mapping[str, Any]) -> Pull | None:
    """The pull request of an event; None if it has none."""
    found = event.get("pull_request")
    return None if found is None else pull(found)


def pull(found: Any) -> Pull:
    """A pull request from GitHub's description of it.

    Raises:
        BenchCoreError: if it is none.
    """
    try:
        head, base = found["head"], found["base"]
        source = head.get("repo") or {}
        return Pull(
            number=number(found["number"]),
            head=sha(head["sha"]),
            base=sha(base["sha"]),
            branch=str(head["ref"]),
            repository=number(source.get("id", 0)),
            is_fork=source.get("id") != base["repo"]["id"],
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BenchCoreError(f"GitHub describes a pull request in an unknown way: {error!r}.") from error


def number(found: Any) -> int:
    """A number of GitHub. Raises ValueError if it is none."""
    if type(found) is not int or found < 0:
        raise ValueError(f"{str(found)[:40]!r} is not a number")
    return found


def sha(found: Any) -> str:
    """The full hash of a commit. Raises ValueError if it is none."""
    if not isinstance(found, str) or not re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", found):
        raise ValueError(f"{str(found)[:80]!r} is not the hash of a commit")
    return found
