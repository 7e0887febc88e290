"""How calls of ranks grow with the number of ranks, and what that law gives for more of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench_core import units
from bench_core.analysis.growth import FEWEST, growth
from bench_core.records.model import RankTimes
from bench_core.records.report import Growth, Point, Series
from bench_core.statistics import median_interval

FARTHEST = 4
"""A law is projected to at most so many times the largest number of ranks that was measured."""


@dataclass(frozen=True)
class RankGrowth:
    """The law of one call.

    Attributes:
        law: fitted to the medians of the slowest rank's times.
        projected: the time for `ranks` ranks by the law, in seconds; NaN if the calls follow none.
        sentence: the law, and the projection, which is labelled as such.
    """

    job: str
    name: str
    law: Growth
    ranks: int
    projected: float
    sentence: str


def rank_growths(times: Iterable[RankTimes], ranks: int = 0) -> tuple[RankGrowth, ...]:
    """The law of each call that was measured with at least `FEWEST` numbers of ranks.

    Args:
        ranks: the number of ranks to project to; 0 for twice the largest that was measured.
    """
    calls: dict[tuple[str, str], list[RankTimes]] = {}
    for each in times:
        if each.seconds:
            calls.setdefault((each.job, each.name), []).append(each)
    return tuple(_grown(of, ranks) for of in calls.values() if len({each.ranks for each in of}) >= FEWEST)


def _grown(times: list[RankTimes], ranks: int) -> RankGrowth:
    ordered = sorted(times, key=lambda each: each.ranks)
    first, most = ordered[0], ordered[-1].ranks
    name = f"{first.job}.{first.name}"
    points = tuple(
        Point(name, each.ranks, str(each.ranks), median_interval([max(call) for call in each.seconds]))
        for each in ordered
    )
    law = growth(Series("", name, "seconds", {}, "ranks", "ranks", None, points), {})
    to = min(ranks or 2 * most, FARTHEST * most)
    projected = law.fixed + law.each * to if law.follows and law.bend is None else math.nan
    sentence = law.sentence
    if to > most and not math.isnan(projected):
        sentence += f" Projected by this law and not measured: {units.time(projected, 2)} with {to} ranks."
    return RankGrowth(first.job, first.name, law, to, projected, sentence)
