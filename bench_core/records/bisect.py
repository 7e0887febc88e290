"""A search for the commit that made a cell slower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench_core.records.commit import LoggedCommit
from bench_core.records.gate import GateSettings
from bench_core.records.run import Interval

BisectVerdict = Literal["good", "bad", "skipped"]
"""The side of the change that a commit is on: ``good``, it is as fast as the good end; ``bad``, as slow as the bad end;
``skipped``, its side is not known."""


@dataclass(frozen=True)
class BisectStep:
    """What a search found out about one commit.

    Attributes:
        commit: the commit.
        verdict: its side of the change.
        reason: the reason for the verdict, in words.
        ratio: its time over that of the good end; None if it was not measured.
        pairs: the number of pairs that the ratio rests on, those of earlier searches included.
        seconds: the time that the step took, building included.
    """

    commit: LoggedCommit
    verdict: BisectVerdict
    reason: str
    ratio: Interval | None
    pairs: int
    seconds: float


@dataclass(frozen=True)
class Bisection:
    """A finished search for the commit that made a cell slower.

    Attributes:
        cell: the name of the cell.
        good: the end that is fast.
        ends: the bad end, compared with the good end.
        steps: the commits that were tested, in the order of the tests.
        culprits: the first bad commit, last. Before it, oldest first, commits that could not be tested and may be the
            first bad one.
        seconds: the time that the search took, everything included.
        settings: those by which the commits between the ends were told apart.
    """

    cell: str
    good: LoggedCommit
    ends: BisectStep
    steps: tuple[BisectStep, ...]
    culprits: tuple[LoggedCommit, ...]
    seconds: float
    settings: GateSettings
