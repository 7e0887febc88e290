"""A commit as git's log shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LoggedCommit:
    """A commit as git's log shows it.

    Attributes:
        hash: the full hash.
        subject: the first line of the message.
        author: the name of the author.
        date: the author's date, ISO 8601.
    """

    hash: str
    subject: str
    author: str
    date: str
