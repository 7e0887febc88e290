"""Times, estimates with their intervals, and what is said of reported slowdowns."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Samples:
    """Raw times of one operation.

    Attributes:
        number: calls in each sample.
        seconds: the length of each sample, in the order in which they were taken.
    """

    number: int
    seconds: tuple[float, ...]

    @property
    def per_call(self) -> tuple[float, ...]:
        """Seconds a call, one value a sample."""
        return tuple(span / self.number for span in self.seconds)


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval, ends included.

    Attributes:
        low: lower end; -inf where the data cannot say.
        middle: the estimate; NaN where there are no data.
        high: upper end; inf where the data cannot say.
        confidence: the probability that the method covers the truth, at least.
    """

    low: float
    middle: float
    high: float
    confidence: float

    @property
    def known(self) -> bool:
        """Both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class Slowdown:
    """A reported slowdown, as measured here.

    Attributes:
        source, what, instead, where: as reported (see `bench_core.suite.Report`).
        slow, fast: names of the two cells.
        slow_seconds, fast_seconds: the median time of a call of each.
        ratio: slow over fast: one ratio for each time that both were set up, in one process.
    """

    source: str
    what: str
    instead: str
    where: str
    slow: str
    fast: str
    slow_seconds: float
    fast_seconds: float
    ratio: Interval


@dataclass(frozen=True)
class LeftOut:
    """A reported slowdown that cannot be measured here, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Agreement:
    """Our time of a cell over that of another timer.

    Attributes:
        seconds: our median time of a call.
        ratio: ours over theirs, from pairs taken in turn.
    """

    cell: str
    seconds: float
    ratio: Interval

    @property
    def agrees(self) -> bool:
        """The middle lies within 1 % of 1."""
        return abs(self.ratio.middle - 1) <= 0.01
