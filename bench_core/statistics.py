"""The statistics of single figures. A leaf: pure functions of numbers, without torch and without a clock."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from bench_core.records import Interval


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The median with its distribution-free confidence interval, between two order statistics.

    The number of values below the median is Binomial(n, 1/2), so [x_(k), x_(n+1-k)] covers it with probability
    1 - 2 P(B <= k - 1) whatever the distribution (David & Nagaraja, Order Statistics, 3rd ed., section 7.1; the
    inversion of the sign test). The largest k that keeps the confidence is taken.

    Args:
        values: independent draws, at least 6 for 95 % confidence; ties are fine.
        confidence: the wanted coverage.

    Returns:
        The interval. With too few values its ends are infinite, never guessed; with none its middle is NaN. A NaN
        among the values makes all three NaN: it is a failed measurement, not a number to sort.
    """
    n = len(values)
    if n == 0:
        return Interval(-math.inf, math.nan, math.inf, confidence)
    if any(math.isnan(value) for value in values):
        return Interval(math.nan, math.nan, math.nan, confidence)
    ordered = sorted(values)
    below = 0.0  # P(B <= k - 1), k as it grows
    k = 0
    while k < n // 2:
        below += math.comb(n, k) / 2**n
        if 2 * below > 1 - confidence:
            break
        k += 1
    if k == 0:
        return Interval(-math.inf, statistics.median(ordered), math.inf, confidence)
    return Interval(ordered[k - 1], statistics.median(ordered), ordered[n - k], confidence)


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float], confidence: float = 0.95) -> Interval:
    """The median of paired ratios with its interval, by way of their logarithms.

    Args:
        numerators, denominators: positive, of equal length; the i-th of both were measured next to each other.

    Raises:
        ValueError: if the lengths differ or a value is not positive: a clock that read zero has run out of
            resolution, and there is no ratio.
    """
    if any(value <= 0 for value in (*numerators, *denominators)):
        raise ValueError("a time that is not positive has no ratio: the sample is shorter than the clock can tell")
    logs = [math.log(a / b) for a, b in zip(numerators, denominators, strict=True)]
    found = median_interval(logs, confidence)
    return Interval(math.exp(found.low), math.exp(found.middle), math.exp(found.high), confidence)
