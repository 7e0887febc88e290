"""One stored figure over another, and what follows in words that are no stronger."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench_core import units
from bench_core.analysis.series import quantity
from bench_core.records.report import Measured
from bench_core.records.run import Interval


def ratio(numerator: Interval, denominator: Interval) -> Interval:
    """The ratio of two positive figures, as far as their intervals allow: from low over high to high over low.

    Both intervals hold at once with the confidences' sum less 1 at least (Bonferroni), 98 % for two of 99 %, whatever
    the two have to do with each other, and where they hold, so does this one. It is far more careful than that where
    the two are independent and about equally wide: of normal figures it then covers 99.97 %. That is what makes it
    fair to read some hundred of them in one report.

    Returns:
        The interval; its ends are infinite where an end of the two is not known, or not positive. The middle is NaN
        where one of the middles is not positive.
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
    """The ratio of two cells that were measured in one run; of two runs nothing is told, be they of one commit.

    What two runs an hour apart differ by is in neither interval: on our machine 7 of 168 times by over 10 %, and one
    that was not changed by 1.6.
    """
    found = ratio(numerator.cell.value, denominator.cell.value)
    return found if numerator.run == denominator.run else unsure(found)


def unsure(found: Interval) -> Interval:
    """The same without its ends."""
    return Interval(-math.inf, found.middle, math.inf, found.confidence)


def excludes_one(found: Interval) -> bool:
    return found.low > 1 or found.high < 1


LEAST_LEAD = 0.05
"""No smaller lead is told. An interval knows the noise of its own samples alone: what a cell's place in memory makes,
and what a shared machine does in the minutes between two cells, comes to some per cent."""


def by_at_least(lead: float) -> str:
    """``, by at least 17 %`` for a lead of 0.1745: rounded down, so never more than was found."""
    if lead < LEAST_LEAD:
        return ", by a margin that may be the machine's own"
    if lead >= 1:
        times = 1 + lead
        return f", by a factor of at least {math.floor(times * 10) / 10 if times < 10 else math.floor(times):g}"
    return f", by at least {math.floor(lead * 1000) / 10 if lead < 0.1 else math.floor(lead * 100):g} %"


def where(labels: Sequence[str], everything: Sequence[str], axis: str) -> str:
    """Places on an axis in words: `` at every size``, `` up to 64x64``, `` at 10 and 100 modules``.

    Args:
        labels: values of the parameter `axis`, in its order; at least one.
        everything: all values that there are, in order; empty to list `labels` in any case.
        axis: "" where there is one place, which needs no words.
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
