"""Times, ratios and ranks from the rounds of a run.

Each round starts a new process and reads every cell of a group in turn. So it gives one time for each cell, and one
ratio for each pair of cells that is free of what happened to both. Rounds differ by what a new process draws anew: the
addresses of code and objects, and the seed of hashes; and by the state of the machine. They are the independent draws
of every interval here. Inside a round, samples are alike, and count once.

All statistics are of logarithms. The location is the Hodges-Lehmann estimate, since a round beside other work may be
far off (docs/decisions.md has the figures). The variances of all cells together improve that of each
(`variance_prior`), since a few rounds tell little about their own scatter.
"""

from __future__ import annotations

import functools
import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench_core.records.results import CellResult
from bench_core.records.rounds import Group, Rounds, Visit
from bench_core.records.run import Interval
from bench_core.statistics import Prior, location_interval, variance_prior

LOST = 0.05
"""A visit is disturbed if other processes had the core for more than this share of its time."""

SHARED = 0.3
"""The variance of a time that all rounds of a run have in common, as a share of that between its rounds: they are
neighbours in time, and see one state of the machine (docs/decisions.md)."""

RUN_TO_RUN = 0.015
"""By how much any time differs from run to run besides: the standard deviation of the logarithm."""

CONFIDENCE = 0.95
"""Of the interval of each time, and of all ratios of a run together."""


def good(visits: Sequence[Visit], least: int = 2) -> list[Visit]:
    """The visits without the disturbed ones, if at least `least` are left; otherwise all."""
    calm = [visit for visit in visits if visit.lost <= LOST]
    return calm if len(calm) >= least else list(visits)


@dataclass(frozen=True)
class Way:
    """A cell among the ways to do its job.

    Attributes:
        ratio: its time over that of the best way, the one with the lowest estimate; exactly 1 for that one.
        tied: whether it is the best way, or cannot be told from it.
    """

    cell: str
    ratio: Interval
    tied: bool


class Reading:
    """The times and ratios of a run."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self._home = {cell: group for group in groups for cell in group.cells}

    @functools.cached_property
    def comparisons(self) -> int:
        """The number of pairs of ways to do one job. They share the error rate."""
        return sum(math.comb(len(group.cells), 2) for group in self.groups)

    def group_of(self, cell: str) -> Group:
        return self._home[cell]

    def seconds(self, cell: str, group: Group | None = None) -> dict[int, float]:
        """The time of a call in each round, without disturbed ones."""
        visits = [visit for visit in (group or self._home[cell]).visits if cell in visit.seconds]
        return {visit.round: visit.seconds[cell] for visit in good(visits)}

    def time(self, cell: str, group: Group | None = None, confidence: float = CONFIDENCE) -> Interval:
        """The time of a call in seconds. Its interval covers what the cell reads in another run of as many rounds on
        this machine.

        Args:
            group: the group in which it was read; None for its own.
        """
        found = location_interval(self._times(cell, group), self._prior_of_times, confidence, again=True, shared=SHARED)
        between = math.sqrt(2) * RUN_TO_RUN * statistics.NormalDist().inv_cdf((1 + confidence) / 2)
        half = math.hypot(found.high - found.middle, between)
        return _exp(Interval(found.middle - half, found.middle, found.middle + half, confidence))

    def level(self, cell: str, group: Group | None = None) -> Interval:
        """The time of a call, with the interval for its rounds alone: how well this run knows it."""
        return _exp(location_interval(self._times(cell, group), self._prior_of_times, CONFIDENCE))

    def _times(self, cell: str, group: Group | None) -> list[float]:
        return [math.log(seconds) for seconds in self.seconds(cell, group).values()]

    def ratio(self, numerator: str, denominator: str, group: Group | None = None) -> Interval:
        """The ratio of two cells, from the rounds that have read both; NaN if none has. The intervals of all ways of
        all jobs hold together. Nothing is known about it if their group is in doubt (`Group.doubt`).

        Args:
            group: the group that has sampled both in turn; None if they are read in their own groups.
        """
        confidence = 1 - (1 - CONFIDENCE) / max(1, self.comparisons)
        found = self.product({numerator: 1.0, denominator: -1.0}, group, confidence)
        if group is not None and group.doubt:
            return Interval(-math.inf, found.middle, math.inf, confidence)
        return found

    def product(
        self, powers: Mapping[str, float], group: Group | None = None, confidence: float = CONFIDENCE
    ) -> Interval:
        """The product of the cells' times, each to its power, from the rounds that have read all of them; NaN if none
        has. The powers add up to 0, so that it is a ratio. A cell that is not in `group` is read in its own group."""
        return _exp(location_interval(self._logs(powers, group), self._prior_of_ratios, confidence))

    def _logs(self, powers: Mapping[str, float], group: Group | None) -> list[float]:
        found = []
        for cell in powers:
            inside = group is not None and cell in (*group.cells, *group.yardsticks)
            found.append(self.seconds(cell, group if inside else None))
        rounds = sorted(set.intersection(*(set(seconds) for seconds in found)))
        return [
            math.fsum(power * math.log(seconds[number]) for power, seconds in zip(powers.values(), found, strict=True))
            for number in rounds
        ]

    def ways(self, group: Group) -> tuple[Way, ...]:
        """The ways to do a job, the best first. Cells without a time are left out."""
        known = [cell for cell in group.cells if self.seconds(cell, group)]
        if not known:
            return ()
        ordered = sorted(known, key=lambda cell: self.time(cell, group).middle)
        best = ordered[0]
        one = Interval(1.0, 1.0, 1.0, CONFIDENCE)
        over = {cell: one if cell == best else self.ratio(cell, best, group) for cell in ordered}
        ordered.sort(key=lambda cell: over[cell].middle)
        return tuple(Way(cell, over[cell], tied=not over[cell].low > 1) for cell in ordered)

    @functools.cached_property
    def noise(self) -> float:
        """By how much the time of a cell scatters from round to round: the median standard deviation of the logarithm;
        NaN with a single round."""
        found = [math.sqrt(variance) for variance, _ in self._variances_of_times]
        return statistics.median(found) if found else math.nan

    @functools.cached_property
    def _variances_of_times(self) -> list[tuple[float, int]]:
        logs = ([math.log(seconds) for seconds in self.seconds(cell).values()] for cell in self._home)
        return _variances(logs)

    @functools.cached_property
    def _prior_of_times(self) -> Prior:
        return variance_prior(self._variances_of_times)

    @functools.cached_property
    def _prior_of_ratios(self) -> Prior:
        pairs = (
            self._logs({one: 1.0, other: -1.0}, group)
            for group in self.groups
            for one, other in itertools.pairwise((*group.cells, *group.yardsticks))
        )
        return variance_prior(_variances(pairs))


def _variances(everything: Iterable[list[float]]) -> list[tuple[float, int]]:
    return [(statistics.variance(logs), len(logs) - 1) for logs in everything if len(logs) > 1]


WIDEST = 100.0
"""An interval from low to more than this many times low says nothing, so its ends count as unknown."""


def _exp(found: Interval) -> Interval:
    """From logarithms. The ends are infinite if they are unknown."""
    if not found.high - found.low <= math.log(WIDEST):
        return Interval(-math.inf, math.exp(found.middle), math.inf, found.confidence)
    return Interval(math.exp(found.low), math.exp(found.middle), math.exp(found.high), found.confidence)


@functools.lru_cache(maxsize=64)
def reading_of(run: Rounds) -> Reading:
    return Reading(run.groups)


T = TypeVar("T")


def of_newest_run(ways: Mapping[T, CellResult]) -> dict[T, CellResult]:
    """The ways to do a job that can be ranked: those that the newest run in rounds has measured. Ways that were
    measured earlier, or by another protocol, were not sampled in turn with them. Without such a run, all are kept."""
    newest = max((way.rounds for way in ways.values() if way.rounds), key=lambda run: run.date, default=None)
    return {name: way for name, way in ways.items() if newest is None or way.rounds is newest}


def measured_ratio(numerator: CellResult, denominator: CellResult) -> Interval | None:
    """The ratio of two cells from the rounds of the run that has measured both; None if no round of a run has."""
    run = numerator.rounds
    if run is None or denominator.rounds is not run:
        return None
    reading = reading_of(run)
    found = reading.ratio(numerator.name, denominator.name, reading.group_of(numerator.name))
    return None if math.isnan(found.middle) else found
