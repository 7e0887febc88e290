import math

import pytest

from bench_core.statistics import median_interval, ratio_interval


def test_an_interval_of_the_median_lies_between_the_order_statistics_of_the_sign_test():
    # n = 10: P(B <= 1) = 11/1024 = 0.0107, P(B <= 2) = 56/1024 = 0.0547, so at 95 % the second and the ninth value.
    found = median_interval([5, 1, 9, 3, 7, 2, 8, 4, 6, 10], confidence=0.95)
    assert (found.low, found.middle, found.high) == (2, 5.5, 9)


def test_six_values_are_the_least_that_say_anything_at_95_percent():
    # 2 * (1/2)^5 = 0.0625 > 0.05 and 2 * (1/2)^6 = 0.03125 <= 0.05.
    assert not median_interval([1, 2, 3, 4, 5]).known
    six = median_interval([1, 2, 3, 4, 5, 6])
    assert (six.low, six.high) == (1, 6)


@pytest.mark.parametrize(("values", "middle"), [([], math.nan), ([4.0], 4.0), ([1.0, 2.0], 1.5)])
def test_too_few_values_leave_the_ends_open_instead_of_guessing(values, middle):
    found = median_interval(values)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.middle == middle or math.isnan(middle)


def test_ties_are_values_like_others():
    found = median_interval([3.0] * 8)
    assert (found.low, found.middle, found.high) == (3, 3, 3)


def test_a_nan_is_never_sorted_away():
    found = median_interval([1.0, math.nan, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert math.isnan(found.low)
    assert math.isnan(found.middle)
    assert math.isnan(found.high)


def test_a_ratio_interval_is_symmetric_under_exchange_of_the_sides():
    one, other = [1.0, 2, 3, 4, 5, 6, 7, 8], [2.0, 3, 3, 5, 4, 6, 8, 9]
    ratio, inverse = ratio_interval(one, other), ratio_interval(other, one)
    assert ratio.low == pytest.approx(1 / inverse.high)
    assert ratio.middle == pytest.approx(1 / inverse.middle)


def test_a_time_of_zero_has_no_ratio():
    with pytest.raises(ValueError, match="shorter than the clock can tell"):
        ratio_interval([0.0], [1.0])


def test_pairs_need_partners():
    with pytest.raises(ValueError, match="shorter"):
        ratio_interval([1.0, 2.0], [1.0])
