"""Figures that may be published."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench_core import units
from bench_core.statistics import clopper_pearson


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        trial: the name of its trial.
        what: its description.
        value: the printed value; for a count, ``k of n``.
        count, of: k and n; None if it is no count.
        low, high: the Clopper-Pearson 95 % bounds of the share; None if it is no count.
    """

    trial: str
    what: str
    value: str
    count: int | None = None
    of: int | None = None
    low: float | None = None
    high: float | None = None


def share(trial: str, what: str, count: int, of: int) -> Figure:
    """A count with the bounds of its share."""
    low, high = clopper_pearson(count, of)
    value = f"{count:,} of {of:,}" + (f" ({units.percent(count / of)})" if of else "")
    return Figure(trial, what, value, count, of, low, high)


def spread(trial: str, what: str, values: Sequence[float], unit: str) -> Figure:
    """The median of some values, and their range."""
    middle = statistics.median(values)
    return Figure(trial, what, f"{middle:.3g} {unit} (median of {len(values)}; {min(values):.3g} to {max(values):.3g})")
