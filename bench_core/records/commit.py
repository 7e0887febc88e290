"""A commit, as a person knows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Commit:
    """A commit, as a person knows it.

    Attributes:
        hash: in full.
        subject, author: of its message.
        date: of its author, ISO 8601.
    """

    hash: str
    subject: str
    author: str
    date: str
