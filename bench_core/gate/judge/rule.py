"""The rule that a timed cell is judged by: its share of the error rate, the noise floor and the limit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench_core.records.gate import CellEvidence, GateSettings
from bench_core.statistics import least_successes

CELLS_SHARE = 0.8
"""The share of the error rate for the intervals of the single cells. With 200 cells and an error rate of 2.5 %, what is
left for the others costs the cells no pair: they need 17 either way."""

SUITE_SHARE = 0.125
"""The share of the error rate for the judgement of all cells together. With an error rate of 2.5 %, it needs 11
pairs."""

FIRST_SHARE = 0.025
"""The share of the error rate for the first calls of memoized cells, see `bench_core.gate.judge.first_calls`."""

MIN_PARENTS = 4
"""The fewest parent processes that a regression needs. The memory layout of a parent changes the times of all of its
pairs, so one parent alone proves nothing."""


@dataclass(frozen=True)
class Tail:
    """An assumption on the noise of a pair: its ratio is rarely wrong by such a factor. See docs/statistics.md.

    Attributes:
        factor: the factor, as a logarithm.
        probability: the largest probability of so much noise in one direction, given the earlier pairs.
        parents: the fewest parent processes that a regression needs which rests on this assumption.
        share: its share of the error rate.
    """

    factor: float
    probability: float
    parents: int
    share: float

    def pairs(self, error: float) -> int:
        """The number of pairs that such noise hits, all of them, with a probability of at most `error`. At least 2:
        each side is then started first once."""
        return max(2, math.ceil(math.log(error) / math.log(self.probability)))


TAILS = (
    Tail(math.log(3), probability=0.01, parents=1, share=0.025),
    Tail(math.log(1.5), probability=0.25, parents=2, share=0.025),
)
"""What is assumed on noise to decide large effects by few pairs. Of 93,585 effects of the trials in results/trials,
one differs from the median of its cell by a factor of more than 3, and 124 by more than 1.5. In the worst cell those
are 30 of 1,299. After a pair that is too slow by more than 1.5, the next one is so in 12 of 69 cases, and the one after
that in none of 12. No parent of 21,862 is off by more than 9 % in all of its pairs."""


@dataclass(frozen=True)
class Rule:
    """What a sequence of log ratios is judged by.

    Attributes:
        error: the probability that the interval misses the effect, for each of its two ends.
        pass_error: the probability that the bound of a pass is below the effect.
        floor, limit: the noise floor and the limit, as logarithms of ratios.
        confidence: the confidence of the whole gate.
        sure: the numbers of first values that prove an effect if all of them are beyond a tail of the noise, each with
            that tail.
    """

    error: float
    pass_error: float
    floor: float
    limit: float
    confidence: float
    sure: tuple[tuple[int, Tail], ...] = ()

    @property
    def fewest(self) -> int:
        """The fewest values that decide anything by their signs."""
        return min(fewest(self.error), fewest(self.pass_error))


def sharing(cells: Iterable[CellEvidence]) -> int:
    """The number of cells that share the error rate, at least 1: all timed cells, measured or not. When the first one
    is judged, it is not known which others will fail."""
    return max(1, sum(cell.is_timed for cell in cells))


def cell_rule(settings: GateSettings, family: int) -> Rule:
    """The rule for a timed cell that shares the error rate with `family` - 1 others."""
    return Rule(
        error=CELLS_SHARE * settings.error_rate / family,
        pass_error=settings.pass_error,
        floor=math.log1p(settings.noise_floor),
        limit=math.log1p(settings.limit),
        confidence=1 - 2 * settings.error_rate,
        sure=tuple((tail.pairs(tail.share * settings.error_rate / family), tail) for tail in TAILS),
    )


def pairs_needed(family: int, settings: GateSettings) -> int:
    """The fewest pairs that can show a small difference of a timed cell, if all of them agree. A pass may need fewer,
    see `Rule.fewest`."""
    return fewest(cell_rule(settings, family).error)


MIN_READINGS = 3
"""The fewest pairs that suffice for a verdict on memory or a tracked value."""


def fewest(error: float) -> int:
    """The fewest values for which an end of a `confidence_sequence` can be finite."""
    return next(n for n in itertools.count(1) if least_successes(n, 1 / error) is not None)
