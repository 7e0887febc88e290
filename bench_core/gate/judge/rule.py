"""The rule that a timed cell is judged by: its share of the error rate, the noise floor and the limit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench_core.records.gate import CellEvidence, GateSettings
from bench_core.statistics import least_successes

TIMED = ("time", "timeraw")
"""The kinds of cells that are judged by statistics."""

CELLS_SHARE = 0.8
"""The share of the error rate for the intervals of the single cells. With 200 cells and an error rate of 2.5 %, what is
left for the others costs the cells no pair: they need 17 either way."""

SUITE_SHARE = 0.15
"""The share of the error rate for the judgement of all cells together. With an error rate of 2.5 %, it needs 11
pairs."""

SURE_SHARE = 0.025
"""The share of the error rate for effects that no noise explains, see `NOISE`."""

FIRST_SHARE = 0.025
"""The share of the error rate for the first calls of memoized cells, see `bench_core.gate.judge.first_calls`."""

NOISE = math.log(3)
"""The log ratio that noise is assumed to add to a pair only rarely: a factor of 3. Of 93,615 effects of the trials in
results/trials, one differs from the median of its cell by more."""

NOISE_PROBABILITY = 0.01
"""The largest probability, given the earlier pairs, that noise adds `NOISE` or more. It is a thousand times what the
trials show."""

MIN_PARENTS = 4
"""The fewest parent processes that a regression needs. The memory layout of a parent changes the times of all of its
pairs, so one parent alone proves nothing."""


@dataclass(frozen=True)
class Rule:
    """What a sequence of log ratios is judged by.

    Attributes:
        error: the probability that the interval misses the effect, for each of its two ends.
        floor, limit: the noise floor and the limit, as logarithms of ratios.
        confidence: the confidence of the whole gate.
        sure: the number of first values that prove an effect if it is so large in all of them that no noise explains it
            (`NOISE`); 0 if nothing is proven in this way.
    """

    error: float
    floor: float
    limit: float
    confidence: float
    sure: int = 0


def sharing(cells: Iterable[CellEvidence]) -> int:
    """The number of cells that share the error rate, at least 1: all timed cells, measured or not. When the first one
    is judged, it is not known which others will fail."""
    return max(1, sum(cell.kind in TIMED for cell in cells))


def cell_rule(settings: GateSettings, family: int) -> Rule:
    """The rule for a timed cell that shares the error rate with `family` - 1 others."""
    return Rule(
        error=CELLS_SHARE * settings.error_rate / family,
        floor=math.log1p(settings.noise_floor),
        limit=math.log1p(settings.limit),
        confidence=1 - 2 * settings.error_rate,
        sure=pairs_that_are_sure(SURE_SHARE * settings.error_rate / family),
    )


def pairs_that_are_sure(error: float) -> int:
    """The number of pairs that noise of at least `NOISE` hits, all of them, with a probability of at most `error`. At
    least 2: each side is then started first once."""
    return max(2, math.ceil(math.log(error) / math.log(NOISE_PROBABILITY)))


def pairs_needed(family: int, settings: GateSettings) -> int:
    """The fewest pairs that can decide a timed cell, if all of them agree."""
    return fewest(cell_rule(settings, family).error)


def fewest(error: float) -> int:
    """The fewest values for which an end of a `confidence_sequence` can be finite."""
    return next(n for n in itertools.count(1) if least_successes(n, 1 / error) is not None)
