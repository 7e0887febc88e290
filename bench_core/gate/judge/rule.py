"""What a timed cell is held against: the error rate that it has, the noise floor and the limit."""

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
"""Of the error rate, what the cells have together; the suite as a whole has the rest, so that both sum to it. With 200
cells at 2.5 % it costs them no pair (17 either way), and the suite is told from 11 on."""

MIN_PARENTS = 4
"""Parent processes that a red rests on, at least: what one process does to a time, by where its memory lies, it does
to all of its pairs, so a cell is never red on one parent process alone."""


@dataclass(frozen=True)
class Rule:
    """What a sequence of log ratios is held against.

    Attributes:
        error: the probability of missing the effect, on each side.
        floor, limit: of a slowdown, as logarithms.
        confidence: of the whole gate.
    """

    error: float
    floor: float
    limit: float
    confidence: float


def sharing(cells: Iterable[CellEvidence]) -> int:
    """The number of cells that share the error rate: the timed ones, measured or not, since which ones fail is not
    known when the first is judged; at least 1."""
    return max(1, sum(cell.kind in TIMED for cell in cells))


def cell_rule(settings: GateSettings, family: int) -> Rule:
    """What a timed cell is held against, as one of `family` that share the error rate."""
    return Rule(
        error=CELLS_SHARE * settings.error_rate / family,
        floor=math.log1p(settings.noise_floor),
        limit=math.log1p(settings.limit),
        confidence=1 - 2 * settings.error_rate,
    )


def pairs_needed(family: int, settings: GateSettings) -> int:
    """The fewest pairs after which a timed cell can be decided: when they all say the same."""
    return fewest(cell_rule(settings, family).error)


def fewest(error: float) -> int:
    return next(n for n in itertools.count(1) if least_successes(n, 1 / error) is not None)
