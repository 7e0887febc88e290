"""A search for the commit that made a cell slower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench_core.records.commit import Commit
from bench_core.records.gate import GateSettings
from bench_core.records.run import Interval

BisectVerdict = Literal["good", "bad", "skipped"]


@dataclass(frozen=True)
class BisectStep:
    """What a search found out of one commit.

    Attributes:
        verdict: ``good``: as quick as the good end; ``bad``: as slow as the bad one; ``skipped``: it cannot be told.
        reason: in words.
        ratio: its time over that of the good end; None where it was not measured.
        pairs: behind the ratio, those of earlier searches included.
        seconds: that it took, building included.
    """

    commit: Commit
    verdict: BisectVerdict
    reason: str
    ratio: Interval | None
    pairs: int
    seconds: float


@dataclass(frozen=True)
class Bisection:
    """A finished search for the commit that made a cell slower.

    Attributes:
        good: the end that is quick.
        ends: the bad end, against the good one.
        steps: the commits that were tested, in that order.
        culprits: the first bad commit, last; before it, oldest first, commits that could not be tested and may be it.
        seconds: everything included.
        settings: by which the commits were told apart.
    """

    cell: str
    good: Commit
    ends: BisectStep
    steps: tuple[BisectStep, ...]
    culprits: tuple[Commit, ...]
    seconds: float
    settings: GateSettings
