"""Statistics: pure functions of numbers."""

from __future__ import annotations

import bisect
import functools
import itertools
import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench_core.records.run import Interval
from bench_core.special import digamma, student_t, trigamma, trigamma_inverse

DEVIATION = 1.4826
"""The standard deviation of normal noise, divided by its median absolute deviation."""


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The median with its distribution-free confidence interval, between two order statistics.

    The number of values below the median is Binomial(n, 1/2), so [x_(k), x_(n+1-k)] covers the median with probability
    1 - 2 P(B <= k - 1) for any distribution (David & Nagaraja, Order Statistics, 3rd ed., section 7.1; the inversion of
    the sign test). k is the largest one that keeps the confidence.

    Args:
        values: independent draws, at least 6 for 95 % confidence. Ties are allowed.
        confidence: the wanted coverage.

    Returns:
        The interval. With too few values its ends are infinite, and with none its middle is NaN. A NaN among the values
        makes all three NaN, since it is a failed measurement.
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
    """The median of paired ratios with its interval, computed from their logarithms.

    Args:
        numerators, denominators: positive and of equal length. The i-th values of both were measured next to each
            other.

    Raises:
        ValueError: if the lengths differ, or if a value is not positive. A time of zero is below the resolution of the
            clock, and has no ratio.
    """
    if any(value <= 0 for value in (*numerators, *denominators)):
        raise ValueError("a time that is not positive has no ratio: the sample is shorter than the clock can tell")
    logs = [math.log(a / b) for a, b in zip(numerators, denominators, strict=True)]
    found = median_interval(logs, confidence)
    return Interval(math.exp(found.low), math.exp(found.middle), math.exp(found.high), confidence)


def sign_evidence(successes: int, n: int) -> float:
    """The evidence that successes are more likely than failures, after `n` signs: an e-value, valid at any time.

    It is the likelihood ratio against p = 1/2, averaged over p uniform on (1/2, 1):
    2^n * 2 * integral of p^k (1 - p)^(n - k) from 1/2 to 1, which is sum_{j <= k} C(n + 1, j) / ((n + 1) C(n, k)).
    As long as each success has at most an even chance given the past, it is a supermartingale that starts at 1, so
    the probability that it ever reaches 1 / alpha is at most alpha (Ville 1939; Robbins, Ann. Math. Stat. 41, 1970;
    Howard, Ramdas, McAuliffe & Sekhon, Ann. Stat. 49, 2021).

    Returns:
        The e-value, rounded once from integers; inf if it exceeds the largest float (for n above 1,000).

    Raises:
        ValueError: if `successes` is not between 0 and `n`.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} signs")
    term = total = 1
    for j in range(successes):
        term = term * (n + 1 - j) // (j + 1)
        total += term
    try:
        return total / ((n + 1) * math.comb(n, successes))
    except OverflowError:  # Python divides integers exactly, and raises if the quotient is too large for a float
        return math.inf


@functools.cache
def least_successes(n: int, threshold: float) -> int | None:
    """The fewest successes in `n` signs whose `sign_evidence` reaches the threshold; None if `n` do not reach it."""
    # At p > 1/2, every likelihood ratio grows with the number of successes. So does the evidence.
    found = bisect.bisect_left(range(n + 1), threshold, key=lambda successes: sign_evidence(successes, n))
    return found if found <= n else None


def confidence_sequence(values: Sequence[float], error: float) -> Interval:
    """The median with an interval that holds at all looks together, however the looks were chosen.

    After each value, the lower end is the largest x such that the claim "the median is above y" has a `sign_evidence`
    of 1 / error for every y below x. This is the k-th largest value so far, where k is the fewest successes that reach
    this evidence. A claim stays valid, so the ends are the tightest ones of all prefixes. The upper end is the mirror
    image. The distributions may differ from value to value. The only assumption is that, given the earlier values, each
    value is above the median with a probability of at most 1/2, and below it likewise. A tie with x is no success.

    Args:
        values: in the order in which they were measured.
        error: the probability that the interval ever misses the median, for each of its two ends.

    Returns:
        The interval, of confidence 1 - 2 error. An end is infinite if no prefix reaches the evidence. ``low`` is above
        ``high`` if the claims of different prefixes exclude each other: no single median fits these values, for example
        because it moved while they were measured. A NaN among the values makes all three NaN, as in `median_interval`.
    """
    confidence = 1 - 2 * error
    if any(math.isnan(value) for value in values):
        return Interval(math.nan, math.nan, math.nan, confidence)
    low, high = -math.inf, math.inf
    ordered: list[float] = []
    for n, value in enumerate(values, start=1):
        bisect.insort(ordered, value)
        successes = least_successes(n, 1 / error)
        if successes is not None:
            low = max(low, ordered[n - successes])
            high = min(high, ordered[successes - 1])
    return Interval(low, statistics.median(ordered) if ordered else math.nan, high, confidence)


def intraclass_correlation(groups: Sequence[Sequence[float]]) -> float:
    """The intraclass correlation: the share of the variance of the values' ranks that is between groups.

    The one-way ANOVA estimator for groups of unequal size (Donner, Int. Stat. Rev. 54, 1986), applied to ranks, because
    a few outliers would dominate it otherwise. It is negative if groups differ less than by chance.

    Returns:
        At most 1. NaN with fewer than two groups, without two values in any group, if all values are equal, or if one
        is NaN.
    """
    ranked = _ranked(groups)
    size, count = sum(map(len, ranked)), len(ranked)
    if count < 2 or size == count or any(math.isnan(value) for group in groups for value in group):
        return math.nan
    mean = (size + 1) / 2
    between = sum((sum(group) - mean * len(group)) ** 2 / len(group) for group in ranked)
    everything = sum((rank - mean) ** 2 for group in ranked for rank in group)
    if everything == 0:
        return math.nan
    across, inside = between / (count - 1), max(0.0, everything - between) / (size - count)
    usual = (size - sum(len(group) ** 2 for group in ranked) / size) / (count - 1)
    return (across - inside) / (across + (usual - 1) * inside)


def likeness_p(groups: Sequence[Sequence[float]], seed: int, draws: int = 1000) -> float:
    """The probability of an `intraclass_correlation` at least this large if the groups have no influence.

    A permutation test. The observed grouping counts as one of the draws, so the probability is never 0 (Phipson &
    Smyth, Stat. Appl. Genet. Mol. Biol. 9, 2010).

    Args:
        seed: the seed of the permutations.
        draws: the number of permutations.

    Returns:
        The p-value; 1 if the correlation is NaN.
    """
    if math.isnan(intraclass_correlation(groups)):
        return 1.0
    ranked = _ranked(groups)
    ends = list(itertools.accumulate(map(len, ranked)))
    bounds = list(itertools.pairwise([0, *ends]))
    ranks = [rank for group in ranked for rank in group]

    def between() -> float:  # the total variance is constant, so the correlation grows with this alone
        return sum(sum(ranks[start:end]) ** 2 / (end - start) for start, end in bounds)

    found = between() * (1 - 1e-12)  # the same sums in another order may round differently
    shuffle = random.Random(seed).shuffle
    as_large = 0
    for _ in range(draws):
        shuffle(ranks)
        as_large += between() >= found
    return (as_large + 1) / (draws + 1)


def _ranked(groups: Sequence[Sequence[float]]) -> list[list[float]]:
    """The groups with each value replaced by its rank, equal values by their mean rank, and without empty groups."""
    ordered = sorted(value for group in groups for value in group)
    rank = {  # the mean of the first and the last rank of the value
        value: (bisect.bisect_left(ordered, value) + 1 + bisect.bisect_right(ordered, value)) / 2
        for value in set(ordered)
    }
    return [[rank[value] for value in group] for group in groups if group]


def clopper_pearson(failures: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided bounds on the probability of a failure (Clopper & Pearson, Biometrika 26, 1934).

    Returns:
        The lower and the upper bound, accurate to 1e-9; 0 and 1 without trials.

    Raises:
        ValueError: if `failures` is not between 0 and `trials`.
    """
    if not 0 <= failures <= trials:
        raise ValueError(f"{failures} failures in {trials} trials")
    tail = (1 - confidence) / 2
    return 1 - _largest_p(trials - failures, trials, tail), _largest_p(failures, trials, tail)


def _largest_p(count: int, trials: int, tail: float) -> float:
    """The p at which at most `count` successes have the probability `tail`."""
    if count == trials:
        return 1.0
    ways = [
        math.lgamma(trials + 1) - math.lgamma(j + 1) - math.lgamma(trials - j + 1) for j in range(count + 1)
    ]  # logarithms, since the numbers themselves are too large for a float from about 1,000 trials on

    def likely(p: float) -> float:
        hit, missed = math.log(p), math.log1p(-p)
        return math.fsum(math.exp(way + j * hit + (trials - j) * missed) for j, way in enumerate(ways))

    low, high = count / trials, 1.0
    for _ in range(50):  # each step halves the interval: 2^-50 is 1e-15
        middle = (low + high) / 2
        low, high = (middle, high) if likely(middle) > tail else (low, middle)
    return (low + high) / 2


@dataclass(frozen=True)
class Prior:
    """What is known about the variance of one cell from that of the others: it is as good as `freedom` more degrees of
    freedom with this variance. Both are NaN if nothing is known."""

    variance: float
    freedom: float


UNKNOWN = Prior(math.nan, math.nan)
MOST_FREEDOM = 4.0
"""A prior counts no more degrees of freedom than this, whatever the variances seem to say. A few rounds cannot show how
much cells differ: some are bound by memory, others by the interpreter, and their scatter is not the same."""

TINY = 1e-12
"""A variance of logarithms below this one is rounding: a scatter of one in a million."""


def variance_prior(variances: Sequence[tuple[float, int]]) -> Prior:
    """The prior that fits the sample variances of many cells, which need not be alike: their logarithms scatter by
    trigamma(d / 2) if the cells are alike, and the more the less they are. It counts at most `MOST_FREEDOM`.

    The moment estimator of Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004), section 6.2, for true variances that are
    drawn from a scaled inverse chi-squared distribution.

    Args:
        variances: of each cell, with its degrees of freedom d >= 1.
    """
    if len(variances) < 3:
        return UNKNOWN
    logs = [math.log(max(variance, TINY)) - digamma(d / 2) + math.log(d / 2) for variance, d in variances]
    middle = statistics.fmean(logs)
    scatter = statistics.variance(logs) - statistics.fmean(trigamma(d / 2) for _, d in variances)
    half = MOST_FREEDOM / 2 if scatter <= 0 else min(MOST_FREEDOM / 2, trigamma_inverse(scatter))
    return Prior(math.exp(middle + digamma(half) - math.log(half)), 2 * half)


EFFICIENCY = 3 / math.pi
"""The variance of a mean of many normal values, divided by that of their `hodges_lehmann` estimate."""


def hodges_lehmann(values: Sequence[float]) -> float:
    """The Hodges-Lehmann estimate of the location: the median of the means of all pairs of values, each value with
    itself included. Up to 29 % of the values may be wild (Hodges & Lehmann, Ann. Math. Stat. 34, 1963).

    Raises:
        statistics.StatisticsError: without values.
    """
    return statistics.median((one + other) / 2 for one, other in itertools.combinations_with_replacement(values, 2))


def location_interval(
    values: Sequence[float], prior: Prior, confidence: float, *, again: bool = False, shared: float = 0.0
) -> Interval:
    """The `hodges_lehmann` estimate with its interval from a moderated t-statistic (Smyth 2004): the variance of the
    values is averaged with that of the prior, each weighted by its degrees of freedom. Wild values make the interval
    wider, and hardly move its middle.

    Args:
        values: independent draws of about normal scatter.
        again: whether the interval is to cover the estimate from as many further draws instead of the true location.
        shared: the variance that all draws of one run have in common, as a share of the variance of a draw.

    Returns:
        The interval. Its ends are infinite without a prior if there are fewer than two values, and the middle is NaN
        without values.
    """
    if not values:
        return Interval(-math.inf, math.nan, math.inf, confidence)
    middle, own = hodges_lehmann(values), len(values) - 1
    variance = max(TINY, statistics.variance(values)) if own else 0.0
    if math.isnan(prior.variance):
        freedom: float = own
    else:
        freedom = own + prior.freedom
        variance = (own * variance + prior.freedom * prior.variance) / freedom
    if freedom <= 0:
        return Interval(-math.inf, middle, math.inf, confidence)
    own_share = 1 / len(values) if len(values) < 3 else 1 / (EFFICIENCY * len(values))  # of two, it is the mean
    half = student_t((1 + confidence) / 2, freedom) * math.sqrt(variance * (1 + again) * (own_share + shared))
    return Interval(middle - half, middle, middle + half, confidence)
