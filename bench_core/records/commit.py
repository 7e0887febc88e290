"""A commit in git's log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LoggedCommit:
    """A commit in git's log, with the full hash, the first line of the message, the author's name, and the author's
    date in ISO 8601."""

    hash: str
    subject: str
    author: str
    date: str
