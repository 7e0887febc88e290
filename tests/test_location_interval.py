"""Intervals of locations whose scatter is known better from other cells: on numbers drawn with a fixed seed."""

import math
import random
import statistics

import pytest
from scipy import stats

from bench_core.statistics import (
    EFFICIENCY,
    MOST_FREEDOM,
    TINY,
    UNKNOWN,
    Prior,
    hodges_lehmann,
    location_interval,
    variance_prior,
)


def drawn(order, deviations, rounds):
    """A mean of 0, read in some rounds, for each deviation."""
    return [[order.gauss(0, deviation) for _ in range(rounds)] for deviation in deviations]


def prior_of(everything):
    return variance_prior([(statistics.variance(values), len(values) - 1) for values in everything])


def unlike(order, count):
    """Deviations as different as those of cells: half of them within a factor of about two."""
    return [0.01 * math.exp(order.gauss(0, 0.5)) for _ in range(count)]


def test_the_estimate_is_the_median_of_the_means_of_all_pairs():
    assert hodges_lehmann([1.0, 2.0, 9.0]) == 3.5  # of 1, 1.5, 2, 5, 5.5, 9
    assert hodges_lehmann([3.0]) == 3.0
    assert hodges_lehmann([1.0, 2.0]) == 1.5


def test_one_wild_value_hardly_moves_the_estimate():
    calm = [1.0, 1.01, 0.99, 1.02, 0.98, 1.0]
    assert hodges_lehmann([*calm, 50.0]) == pytest.approx(1.0, abs=0.02)


def test_without_a_prior_it_is_the_usual_interval_but_for_the_efficiency_of_the_estimate():
    values = [1.0, 2.0, 4.0, 7.0]
    found = location_interval(values, UNKNOWN, 0.95)
    low, high = stats.t.interval(0.95, 3, loc=3.5, scale=stats.sem(values) / math.sqrt(EFFICIENCY))
    assert (found.low, found.middle, found.high) == pytest.approx((low, 3.5, high))


def test_an_interval_for_another_run_is_wider_by_the_root_of_two():
    once, again = (location_interval([1.0, 2.0, 4.0], UNKNOWN, 0.95, again=again) for again in (False, True))
    assert (again.high - again.middle) == pytest.approx(math.sqrt(2) * (once.high - once.middle))


def test_a_prior_counts_as_much_as_its_degrees_of_freedom():
    found = location_interval([1.0, 3.0], Prior(variance=5.0, freedom=3.0), 0.95)
    variance = (1 * 2.0 + 3 * 5.0) / 4
    assert found.high - found.middle == pytest.approx(stats.t.ppf(0.975, 4) * math.sqrt(variance / 2))


@pytest.mark.parametrize(("values", "middle"), [([], math.nan), ([2.0], 2.0)])
def test_too_few_values_without_a_prior_have_no_interval(values, middle):
    found = location_interval(values, UNKNOWN, 0.95)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.middle == pytest.approx(middle, nan_ok=True)


def test_with_a_prior_a_single_value_has_an_interval():
    found = location_interval([2.0], Prior(0.04, 4.0), 0.95)
    assert found.high - 2 == pytest.approx(stats.t.ppf(0.975, 4) * 0.2)


def test_nothing_is_known_from_fewer_than_three_variances():
    assert math.isnan(variance_prior([(1.0, 3), (2.0, 3)]).variance)


def test_equal_values_have_a_narrow_interval_and_no_error():
    assert variance_prior([(0.0, 3)] * 5).variance == pytest.approx(TINY, rel=1)
    found = location_interval([1.0, 1.0, 1.0], variance_prior([(0.0, 3)] * 5), 0.95)
    assert 0 < found.high - found.low < 1e-4


def test_the_prior_of_like_cells_is_their_variance_and_counts_no_more_than_the_most():
    found = prior_of(drawn(random.Random(1), [0.02] * 2000, 5))
    assert found.freedom == MOST_FREEDOM
    assert 0.7 < found.variance / 0.02**2 < 1.05


def test_the_prior_of_unlike_cells_counts_less():
    order = random.Random(2)
    wild = [math.exp(order.gauss(0, 2)) for _ in range(2000)]
    assert prior_of(drawn(order, wild, 5)).freedom < 2


@pytest.mark.parametrize("rounds", [2, 4, 8, 16])
@pytest.mark.parametrize("alike", [True, False])
def test_the_intervals_of_all_cells_cover_as_often_as_they_say(rounds, alike):
    order = random.Random(3)
    missed = cells = 0
    for _ in range(20):
        everything = drawn(order, [0.02] * 100 if alike else unlike(order, 100), rounds)
        prior = prior_of(everything)
        found = [location_interval(values, prior, 0.95) for values in everything]
        missed += sum(not one.low <= 0 <= one.high for one in found)
        cells += len(found)
    assert 0.01 < missed / cells < 0.062  # 2,000 cells: two standard errors are 1 %


@pytest.mark.parametrize("rounds", [2, 4, 8, 16])
@pytest.mark.parametrize("alike", [True, False])
def test_the_intervals_for_another_run_cover_what_it_reads(rounds, alike):
    order = random.Random(4)
    missed = cells = 0
    for _ in range(20):
        deviations = [0.02] * 100 if alike else unlike(order, 100)
        first, second = drawn(order, deviations, rounds), drawn(order, deviations, rounds)
        prior = prior_of(first)
        for one, other in zip(first, second, strict=True):
            found = location_interval(one, prior, 0.95, again=True)
            missed += not found.low <= hodges_lehmann(other) <= found.high
            cells += 1
    assert 0.01 < missed / cells < 0.062


def test_claims_at_high_confidence_hold_too():
    """As for the pairs of ways of all jobs, which hold together."""
    order = random.Random(5)
    false = 0
    for _ in range(20):
        everything = drawn(order, unlike(order, 100), 6)
        prior = prior_of(everything)
        found = [location_interval(values, prior, 0.9995) for values in everything]
        false += sum(not one.low <= 0 <= one.high for one in found)
    assert false <= 5  # 1 is expected of 2,000
