"""A search for the commit that made a cell slower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench_core.records.commit import LoggedCommit
from bench_core.records.gate import GateSettings
from bench_core.records.run import Interval

BisectVerdict = Literal["good", "bad", "skipped"]
"""The side of the change: ``good``, as fast as the good end; ``bad``, as slow as the bad end; ``skipped``, unknown."""


@dataclass(frozen=True)
class BisectStep:
    """The result for one commit.

    Attributes:
        reason: the reason for the verdict, in words.
        ratio: its time over that of the good end; None if it was not measured.
        pairs: the number of pairs behind the ratio, those of earlier searches included.
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
        good: the good end.
        ends: the bad end, compared with the good end.
        steps: the commits that were tested, in this order.
        culprits: commits that could not be tested and may be the first bad one, oldest first; then the first commit
            that is known to be bad.
        seconds: the time that the whole search took.
        settings: the settings with which the commits between the ends were judged.
    """

    cell: str
    good: LoggedCommit
    ends: BisectStep
    steps: tuple[BisectStep, ...]
    culprits: tuple[LoggedCommit, ...]
    seconds: float
    settings: GateSettings
