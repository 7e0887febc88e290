"""How long the cells that are not decided will take, at the pace of the pairs so far."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from bench_core.gate.judge.rule import MIN_READINGS, Rule
from bench_core.records.gate import TIMED

USUAL_COST = 0.1
"""Seconds of a lane that a pair takes for a cell, as long as none has been measured."""

SIDES_OF_A_PAIR = 2
"""A cell that was given up before its first pair takes at least what it was waited for, on each side."""

MORE_PAIRS = 3
"""A cell that the fewest pairs have not decided is expected to need so many more."""

BESIDES = 1.25
"""By how much starting parents and pairs makes a cell more expensive than its own turns."""


class Pace:
    """What a pair costs on this machine.

    Args:
        cells: for each cell, the number of its pairs and the seconds of a lane that they took.
        rule: by which the cells are judged.
    """

    def __init__(self, cells: Iterable[tuple[int, float]], rule: Rule) -> None:
        self._fewest = rule.fewest
        costs = [spent / pairs for pairs, spent in cells if pairs]
        self.is_known = bool(costs)
        self._usual = statistics.median(costs) if costs else USUAL_COST

    def need(self, kind: str, pairs: int, spent: float) -> float:
        """About how many more seconds of a lane decide a cell of this kind, whose `pairs` took `spent` seconds. A cell
        without a pair is taken for a usual one, unless it was waited for longer."""
        cost = spent / pairs if pairs else max(self._usual, SIDES_OF_A_PAIR * spent)
        fewest = self._fewest if kind in TIMED else MIN_READINGS
        return BESIDES * cost * max(MORE_PAIRS, fewest - pairs)
