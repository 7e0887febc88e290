"""The verdict on the timed cells as a whole."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from bench_core.gate.judge.cell import judge_sequence
from bench_core.gate.judge.noise import median
from bench_core.gate.judge.rule import CELLS_SHARE, TIMED, cell_rule
from bench_core.records.gate import CellEvidence, GateSettings, Judgement

MIN_CELLS = 5
"""Timed cells below which there is no suite to speak of."""

SAMPLED = 0.75
"""Of the timed cells, what a pair must have sampled to count for the suite as a whole: the median over other cells
is another median."""

SUITE_FLOOR = 0.5
"""Of the noise floor, for the suite as a whole: the noise of many cells averages out, so less of it is resolved, and
is worth knowing: a small slowdown of everything is one that no cell alone can prove."""


def suite_shift(cells: Sequence[CellEvidence], settings: GateSettings) -> Judgement | None:
    """The verdict on the timed cells as a whole: on the median over the cells, one for each pair of workers.

    It is judged as a cell is, with its own share of the error rate and half the noise floor, which is its limit too.

    Returns:
        The judgement; None with fewer than 5 timed cells without error.
    """
    timed = [cell for cell in cells if cell.kind in TIMED and cell.error is None]
    if len(timed) < MIN_CELLS:
        return None
    sampled: dict[tuple[int, int], list[float]] = defaultdict(list)
    for cell in timed:
        for effect in cell.effects:
            sampled[effect.pair, effect.parent].append(effect.log_ratio)
    shifts = [
        (parent, median(found)) for (_, parent), found in sorted(sampled.items()) if len(found) >= SAMPLED * len(timed)
    ]
    floor = math.log1p(SUITE_FLOOR * settings.noise_floor)
    error = (1 - CELLS_SHARE) * settings.error_rate
    return judge_sequence(shifts, replace(cell_rule(settings, 1), error=error, floor=floor, limit=floor))
