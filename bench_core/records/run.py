"""Times, estimates with their intervals, and measurements of reported slowdowns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Samples:
    """Raw times of one operation.

    Attributes:
        number: the number of calls in each sample.
        seconds: the length of each sample, in the order in which they were taken.
    """

    number: int
    seconds: tuple[float, ...]

    @property
    def per_call(self) -> tuple[float, ...]:
        """Seconds per call, one value for each sample."""
        return tuple(span / self.number for span in self.seconds)


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval, ends included.

    Attributes:
        low: the lower end; -inf if the data do not determine it.
        middle: the estimate; NaN without data.
        high: the upper end; inf if the data do not determine it.
        confidence: the method covers the true value with at least this probability.
    """

    low: float
    middle: float
    high: float
    confidence: float

    @property
    def known(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class Slowdown:
    """A reported slowdown, as measured here.

    Attributes:
        source, what, instead, where: see `bench_core.suite.Report`.
        slow, fast: the names of the two cells.
        slow_seconds, fast_seconds: the times of one call.
        ratio: slow over fast, from rounds that have sampled both in turn. All of them hold together with 95 %.
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
    """Something that could not be used, and why: a reported slowdown, a file, or a part of one."""

    source: str
    reason: str


@dataclass(frozen=True)
class Agreement:
    """Our time of a cell compared with that of another timer.

    Attributes:
        seconds: our time of one call.
        ratio: our time over theirs, taken in turn.
    """

    cell: str
    seconds: float
    ratio: Interval

    @property
    def verdict(self) -> Literal["agrees", "differs", "cannot be told"]:
        """``agrees`` if the ratio is within 1 % of 1, ``differs`` if its whole interval is not, and ``cannot be told``
        otherwise."""
        if abs(self.ratio.middle - 1) <= 0.01:
            return "agrees"
        return "differs" if self.ratio.low > 1.01 or self.ratio.high < 0.99 else "cannot be told"


MEMOIZED = 1000.0
"""A cache answers later calls if the first call takes at least this many times as long. A first call that only finds
the processor's caches cold takes up to 100 times as long as one of 1 us."""

SHORTEST_FIRST = 1e-4
"""Ignore first calls of fewer seconds: the loading of code and data is as long."""


def is_memoized(first: float, later: float) -> bool:
    """Whether the first call of an operation does work that the later ones look up. Both are in seconds."""
    return first >= SHORTEST_FIRST and first >= MEMOIZED * later > 0
