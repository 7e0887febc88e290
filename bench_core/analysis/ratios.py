"""Ratios of stored values with their intervals, and words for them that claim no more."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench_core import units
from bench_core.analysis.rounds import measured_ratio
from bench_core.analysis.series import quantity
from bench_core.records.report import Measured
from bench_core.records.run import Interval


def ratio(numerator: Interval, denominator: Interval) -> Interval:
    """The ratio of two positive values. Its interval reaches from low over high to high over low.

    It holds if both intervals hold, which has a confidence of at least the sum of the confidences less 1 (Bonferroni),
    whatever their dependence: 98 % for two of 99 %. For independent normal values of about equal width it covers
    99.97 %, so a reader may look at a hundred of them in one report.

    Returns:
        The interval. Its ends are infinite if an end of the two is unknown or not positive. The middle is NaN if one of
        the middles is not positive.
    """
    known = numerator.low > 0 and 0 < denominator.high < math.inf
    bounded = denominator.low > 0 and math.isfinite(numerator.high)
    positive = numerator.middle > 0 and denominator.middle > 0
    return Interval(
        low=numerator.low / denominator.high if known else -math.inf,
        middle=numerator.middle / denominator.middle if positive else math.nan,
        high=numerator.high / denominator.low if bounded else math.inf,
        confidence=max(0.0, numerator.confidence + denominator.confidence - 1),
    )


def within_run(numerator: Measured, denominator: Measured) -> Interval:
    """The ratio of two cells. Its ends are unknown unless both were measured in one run.

    It follows from the rounds of the run (`bench_core.analysis.rounds`), which read both cells in turn. asv reads one
    after the other. Its intervals do not contain the difference between runs: two runs of one commit, an hour apart,
    differed by over 10 % in 7 of 168 times, and by a factor of 1.6 in one.
    """
    if (measured := measured_ratio(numerator.cell, denominator.cell)) is not None:
        return measured
    found = ratio(numerator.cell.value, denominator.cell.value)
    by_asv = numerator.cell.rounds is None and denominator.cell.rounds is None
    return found if by_asv and numerator.run == denominator.run else unsure(found)


def unsure(found: Interval) -> Interval:
    """The estimate without its ends."""
    return Interval(-math.inf, found.middle, math.inf, found.confidence)


def excludes_one(found: Interval) -> bool:
    return found.low > 1 or found.high < 1


LEAST_LEAD = 0.05
"""A smaller lead is not given as a number. Intervals contain only the noise of their samples. Memory addresses, and the
minutes between two cells on a shared machine, change times by a few percent more."""


def by_at_least(lead: float) -> str:
    """``, by at least 17 %`` for a lead of 0.1745. The number is rounded down, so that it never claims too much."""
    if lead < LEAST_LEAD:
        return ", with a lead that may be noise of the machine"
    if lead >= 1:
        times = 1 + lead
        return f", by a factor of at least {math.floor(times * 10) / 10 if times < 10 else math.floor(times):g}"
    return f", by at least {math.floor(lead * 1000) / 10 if lead < 0.1 else math.floor(lead * 100):g} %"


def where(labels: Sequence[str], everything: Sequence[str], axis: str) -> str:
    """Values of an axis in words: `` at every size``, `` up to 64x64``, `` at 10 and 100 modules``.

    Args:
        labels: values of the parameter `axis`, in its order; at least one.
        everything: all values, in order; empty to list `labels` in any case.
        axis: "" if there is only one value, which needs no words.
    """
    if not axis:
        return ""
    number = quantity(labels[0]) is not None
    if len(everything) > 1 and len(labels) == len(everything):
        counted = number and axis.endswith("s")
        return f" {'at' if number else 'with'} every {f'number of {axis}' if counted else axis}"
    if not number:
        return f" with {units.listed(labels)}"
    before = "" if axis == "size" or axis.endswith("s") else f"{axis} "
    after = f" {axis}" if axis.endswith("s") else ""
    first, last = labels[0], labels[-1]
    start = list(everything).index(first) if first in everything else 0
    neighbours = first != last and list(labels) == list(everything[start : start + len(labels)])
    if neighbours and first == everything[0]:
        return f" up to {before}{last}{after}"
    if neighbours and last == everything[-1]:
        return f" from {before}{first}{after} on"
    return f" from {before}{first} to {last}{after}" if neighbours else f" at {before}{units.listed(labels)}{after}"
