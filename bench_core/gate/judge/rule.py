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
"""The share of the error rate for the single cells. The rest is for the judgement of all cells together. With 200 cells
and an error rate of 2.5 %, this costs the cells no pair (they need 17 either way), and the judgement of all cells
together needs 11."""

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
    """

    error: float
    floor: float
    limit: float
    confidence: float


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
    )


def pairs_needed(family: int, settings: GateSettings) -> int:
    """The fewest pairs that can decide a timed cell, if all of them agree."""
    return fewest(cell_rule(settings, family).error)


def fewest(error: float) -> int:
    """The fewest values for which an end of a `confidence_sequence` can be finite."""
    return next(n for n in itertools.count(1) if least_successes(n, 1 / error) is not None)
