"""A second statistic, which shares neither code nor method with the gate: the exact signed-rank test on the effects of
pairs, a permutation test over all flips of their signs. docs/statistics.md argues for it.

It looks once, at all pairs of a cell. The gate may look after each of them.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from bench_core.gate.judge.parents import by_parent
from bench_core.records.gate import GateSettings
from trials.looks import Recorded

SETTINGS = GateSettings()


def upper_tail(values: Sequence[float]) -> float:
    """The probability that the values' signed-rank sum is at least as large if each sign is as likely as the other.

    It is exact, from all 2^n flips of the signs (Wilcoxon, Biometrics Bulletin 1, 1945). Equal sizes share their mean
    rank. Zeros have no sign, and are left out.

    Returns:
        The p-value; 1 without a value other than zero.
    """
    signed = sorted((value for value in values if value), key=abs)
    doubled, found = [], 0
    place = 0
    while place < len(signed):
        alike = sum(abs(value) == abs(signed[place]) for value in signed[place:])
        rank = 2 * place + alike + 1  # twice the mean of the ranks place + 1 to place + alike
        doubled += [rank] * alike
        found += rank * sum(value > 0 for value in signed[place : place + alike])
        place += alike
    return float(_tails(tuple(doubled))[found])


@functools.lru_cache(1000)
def _tails(ranks: tuple[int, ...]) -> np.ndarray:
    """The probability of each sum of ranks, or a larger one, if each rank counts with an even chance."""
    chances = np.zeros(sum(ranks) + 1)
    chances[0] = 1.0
    for rank in ranks:
        more = np.zeros_like(chances)
        more[rank:] = chances[:-rank]
        chances = (chances + more) / 2
    return np.cumsum(chances[::-1])[::-1]


def verdict(cell: Recorded) -> str:
    """The verdict on a cell, for the questions that the gate asks, at the same error rates."""
    floor, limit = math.log1p(SETTINGS.noise_floor), math.log1p(SETTINGS.limit)
    values = [log for _, log in cell.drawn]
    shared = SETTINGS.error_rate / cell.family
    if upper_tail([value - floor for value in values]) <= shared:
        return "regression"
    if upper_tail([-value - floor for value in values]) <= shared:
        return "improvement"
    is_below = upper_tail([limit - value for value in values]) <= SETTINGS.pass_error
    return "pass" if is_below and statistics.median(values) <= floor else "inconclusive"


def told(what: str, cells: Sequence[Recorded]) -> str:
    """The verdicts of the test, in a line."""
    verdicts = Counter(map(verdict, cells))
    counts = ", ".join(f"{verdicts[name]} {name}" for name in sorted(verdicts))
    return f"  {what}, signed ranks of pairs: {counts}"


def pooled(cells: Iterable[Recorded]) -> Iterator[str]:
    """The same test over all gates, with parents as blocks: each parent gives the median of its pairs. So it holds even
    if pairs of one parent are alike. It is for cells without a change, and tells a bias that no single gate could."""
    found: dict[str, list[float]] = defaultdict(list)
    for cell in cells:
        found[cell.name] += map(statistics.median, by_parent(cell.drawn))
    medians = {name: statistics.median(values) for name, values in found.items()}
    chances = {
        name: min(1.0, 2 * min(upper_tail(values), upper_tail([-value for value in values])))
        for name, values in found.items()
    }
    least = min(chances, key=lambda name: chances[name])
    rejected = sum(chance <= 0.05 / len(found) for chance in chances.values())
    size = statistics.median(map(len, found.values()))
    apart = max(abs(math.expm1(value)) for value in medians.values())
    yield (
        f"  over all gates, signed ranks of parents ({size:.0f} a cell): {rejected} of {len(found)} cells differ from "
        f"1 (5 % for all together); the least p is {chances[least]:.2g} ({least}, {math.expm1(medians[least]):+.2%}); "
        f"the largest median differs by {apart:.2%}"
    )
