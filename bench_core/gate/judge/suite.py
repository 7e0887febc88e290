"""The verdict on all timed cells together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from bench_core.gate.judge.noise import median
from bench_core.gate.judge.rule import SUITE_SHARE, cell_rule
from bench_core.gate.judge.sequence import judge_sequence
from bench_core.records.gate import CellEvidence, GateSettings, Judgement

MIN_CELLS = 5
"""The fewest timed cells that are judged together."""

SAMPLED = 0.75
"""A pair counts if it has sampled at least this share of the timed cells. The median over very different cells would be
another quantity."""

SUITE_FLOOR = 0.5
"""The noise floor of all cells together, as a share of the noise floor of one cell. The noise of many cells averages
out, so smaller effects can be detected. They matter: no single cell can prove a small slowdown of everything."""


def suite_shift(cells: Sequence[CellEvidence], settings: GateSettings) -> Judgement | None:
    """The verdict on all timed cells together.

    Each pair of workers gives one value: the median log ratio over the cells that it sampled. These values are judged
    like those of a cell, with their own share of the error rate (`SUITE_SHARE`), and with `SUITE_FLOOR` of the cells'
    noise floor as both noise floor and limit. Their pass has the error of a cell's.

    Returns:
        The judgement; None if fewer than `MIN_CELLS` timed cells have no error.
    """
    timed = [cell for cell in cells if cell.is_timed and cell.error is None]
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
    error = SUITE_SHARE * settings.error_rate
    return judge_sequence(shifts, replace(cell_rule(settings, 1), error=error, floor=floor, limit=floor, sure=()))
