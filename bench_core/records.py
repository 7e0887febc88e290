"""The records that travel between the parts. A leaf: frozen, typed, and free of behaviour that needs the others."""

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
