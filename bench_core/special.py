"""Special functions that the standard library does not have, for statistics."""

from __future__ import annotations

import functools
import math
import statistics


@functools.lru_cache(maxsize=1024)
def student_t(probability: float, freedom: float) -> float:
    """The quantile of Student's t distribution.

    Args:
        probability: between 0.5 and 1.
        freedom: positive; infinity gives the normal distribution.
    """
    if math.isinf(freedom):
        return statistics.NormalDist().inv_cdf(probability)

    def above(t: float) -> float:
        return _incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2

    low, high = 0.0, 1.0
    while above(high) > 1 - probability and high < 1e12:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) > 1 - probability else (low, middle)
    return (low + high) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function, by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 300):  # the modified Lentz method (Thompson & Barnett, J. Comput. Phys. 64, 1986)
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d)
            c = 1 + term / c
            fraction *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * fraction / a


def digamma(x: float) -> float:
    """The derivative of log gamma for x > 0: recurrence and asymptotic series (DLMF 5.5.2, 5.11.2)."""
    shift = 0.0
    while x < 10:
        shift, x = shift - 1 / x, x + 1
    y = 1 / (x * x)
    return shift + math.log(x) - 0.5 / x - y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y / 132))))


def trigamma(x: float) -> float:
    """The derivative of `digamma` for x > 0."""
    shift = 0.0
    while x < 10:
        shift, x = shift + 1 / (x * x), x + 1
    y = 1 / (x * x)
    return shift + 1 / x + y / 2 + (y / x) * (1 / 6 - y * (1 / 30 - y * (1 / 42 - y * (1 / 30 - y * 5 / 66))))


def trigamma_inverse(value: float) -> float:
    """x with trigamma(x) = value > 0. `trigamma` falls from infinity to 0."""
    low, high = 1e-8, 1e8
    for _ in range(120):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if trigamma(middle) > value else (low, middle)
    return math.sqrt(low * high)
