"""What disturbed the effects of a gate."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence

from bench_core.gate.judge.parents import by_parent, in_order
from bench_core.records.gate import Effect, GateRecord, Noise
from bench_core.statistics import DEVIATION, intraclass_correlation


def noise(record: GateRecord) -> Noise:
    """What disturbed the effects of the timed cells, by cause; NaN if it cannot be computed. Scatter is computed from
    the differences between neighbouring values: the median of their sizes, divided by its value for normal noise.
    Outliers hardly change it. Unlike the scatter around a mean, it is not too small for small groups."""
    effects = [cell.effects for cell in record.cells if cell.is_timed and cell.error is None]
    cells = [by_parent(in_order(found)) for found in effects]
    return Noise(
        within=median(effect.within for found in effects for effect in found),
        between_pairs=median(_scatter(parents) for parents in cells),
        between_parents=median(_scatter_of_parents(parents) for parents in cells),
        order=median(abs(median(effect.order for effect in found)) for found in effects),
        forked_first=median(abs(_forked(found, "base") - _forked(found, "head")) / 2 for found in effects),
        likeness=median(intraclass_correlation(parents) for parents in cells),
    )


def _scatter(groups: Iterable[Sequence[float]]) -> float:
    """The standard deviation inside the groups. That of a difference of two values is sqrt(2) times as large."""
    steps = (abs(b - a) for group in groups for a, b in itertools.pairwise(group))
    return DEVIATION / math.sqrt(2) * median(steps)


def _scatter_of_parents(parents: Sequence[Sequence[float]]) -> float:
    """The standard deviation of the parents, beyond what the scatter of their pairs adds to the mean of each."""
    left = _scatter(parents) ** 2 * statistics.fmean(1 / len(values) for values in parents) if parents else math.nan
    beyond = _scatter([[statistics.fmean(values) for values in parents]]) ** 2 - left
    return math.nan if math.isnan(beyond) else math.sqrt(max(0.0, beyond))


def _forked(effects: Sequence[Effect], side: str) -> float:
    return median(effect.log_ratio for effect in effects if effect.forked_first == side)


def median(values: Iterable[float]) -> float:
    """The median of the values that are not NaN; NaN if there are none."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan
