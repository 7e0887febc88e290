"""The record of a regression that somebody has accepted."""

from __future__ import annotations

from dataclasses import dataclass

ACCEPTED_SCHEMA = 1
"""The newest readable schema of a stored record."""


@dataclass(frozen=True)
class AcceptedRegression:
    """A regression that was accepted with a label of a pull request, which then was merged.

    Attributes:
        pull_request: its number.
        merged: the full hash of the commit that the merge made.
        commit: the full hash of the last commit of the pull request, which was measured.
        by: who accepted it.
        date: when, ISO 8601, UTC.
        label: the name of the label.
        cells: the cells that are slower, each with its change.
    """

    pull_request: int
    merged: str
    commit: str
    by: str
    date: str
    label: str
    cells: tuple[str, ...]
