import math
import random

import pytest

from bench_core.statistics import (
    clopper_pearson,
    confidence_sequence,
    intraclass_correlation,
    least_successes,
    likeness_p,
    median_interval,
    ratio_interval,
    sign_evidence,
)


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


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (3, 5), (9, 10), (20, 40), (38, 50)])
def test_sign_evidence_is_the_mean_likelihood_ratio_over_p_above_one_half(successes, n):
    # Midpoint rule on (1/2, 1): the mean over p of p^k (1 - p)^(n - k) / (1/2)^n.
    steps = 20_000
    points = ((i + 0.5) / (2 * steps) + 0.5 for i in range(steps))
    mean = math.fsum((2 * p) ** successes * (2 - 2 * p) ** (n - successes) for p in points) / steps
    assert sign_evidence(successes, n) == pytest.approx(mean, rel=1e-6)


def test_sign_evidence_of_unanimous_signs_is_known_in_closed_form():
    # 2 * integral of (2p)^n over (1/2, 1) = (2^(n+1) - 1) / (n + 1): 1, 3/2, 7/3, 15/4.
    assert [sign_evidence(n, n) for n in range(4)] == pytest.approx([1, 3 / 2, 7 / 3, 15 / 4])


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (2, 2), (3, 9), (30, 41)])
def test_sign_evidence_is_on_average_what_it_was_if_the_next_sign_is_even(successes, n):
    # Under p = 1/2 it is a martingale: the mean of its two next values is its value.
    following = (sign_evidence(successes, n + 1) + sign_evidence(successes + 1, n + 1)) / 2
    assert following == pytest.approx(sign_evidence(successes, n))


def test_sign_evidence_grows_with_the_successes():
    found = [sign_evidence(successes, 30) for successes in range(31)]
    assert found == sorted(set(found))


def test_sign_evidence_of_thousands_of_signs_is_a_number_or_inf():
    # At even signs the likelihood ratio is at most 1 for every p.
    assert 0 < sign_evidence(2500, 5000) < 1
    assert sign_evidence(5000, 5000) == math.inf


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3)])
def test_there_are_no_more_successes_than_signs(successes, n):
    with pytest.raises(ValueError, match=f"{successes} successes in {n} signs"):
        sign_evidence(successes, n)


def test_the_least_successes_are_the_first_to_reach_the_evidence():
    # (2^10 - 1) / 10 = 102.3 is the first of the unanimous ones to reach 100.
    assert least_successes(8, 100) is None
    assert least_successes(9, 100) == 9
    for n in range(10, 80):
        least = least_successes(n, 100)
        assert sign_evidence(least, n) >= 100 > sign_evidence(least - 1, n)


def test_even_signs_seldom_reach_the_evidence_at_any_of_many_looks():
    # Ville: P(ever) <= alpha; of 2,000 sequences at most alpha + 3 sqrt(alpha (1 - alpha) / 2000).
    draw, alpha, sequences = random.Random(1), 0.05, 2000
    crossed = 0
    for _ in range(sequences):
        successes = 0
        for n in range(1, 61):
            successes += draw.random() < 0.5
            least = least_successes(n, 1 / alpha)
            if least is not None and successes >= least:
                crossed += 1
                break
    assert crossed / sequences <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / sequences)
    assert crossed / sequences > alpha / 10  # it is not vacuous either


def test_a_confidence_sequence_ends_at_order_statistics():
    # error 1/100: of 9 values all 9 must lie above, so the ends are the least and the greatest.
    found = confidence_sequence([5, 1, 9, 3, 7, 2, 8, 4, 6], error=0.01)
    assert (found.low, found.middle, found.high) == (1, 5, 9)
    assert found.confidence == pytest.approx(0.98)


def test_a_confidence_sequence_keeps_what_any_prefix_proved():
    # After nine values of 1 the median is 1; the two far ones alone would open the interval again.
    ones = confidence_sequence([1.0] * 9 + [-50.0, 50.0], error=0.01)
    assert (ones.low, ones.high) == (1, 1)
    assert least_successes(11, 100) == 11


def test_a_confidence_sequence_only_narrows():
    draw = random.Random(2)
    values = [draw.gauss(0, 1) for _ in range(60)]
    found = [confidence_sequence(values[:n], error=0.01) for n in range(61)]
    assert [one.low for one in found] == sorted(one.low for one in found)
    assert [one.high for one in found] == sorted((one.high for one in found), reverse=True)
    assert found[60].high - found[60].low < 1.5


def test_a_confidence_sequence_is_the_negative_of_that_of_the_negatives():
    draw = random.Random(3)
    values = [draw.expovariate(1) for _ in range(40)]
    one, other = confidence_sequence(values, 0.01), confidence_sequence([-value for value in values], 0.01)
    assert (one.low, one.middle, one.high) == (-other.high, -other.middle, -other.low)


def test_ties_close_the_interval_upon_themselves():
    # Every x below 0 has 30 values above it and every x above 0 has none; at 0 itself nothing lies to either side.
    found = confidence_sequence([0.0] * 30, error=0.01)
    assert (found.low, found.high) == (0, 0)


@pytest.mark.parametrize(("values", "middle"), [([], math.nan), ([4.0], 4.0), ([1.0] * 8, 1.0)])
def test_too_few_values_leave_a_confidence_sequence_open(values, middle):
    found = confidence_sequence(values, error=0.01)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.middle == middle or math.isnan(middle)


def test_a_nan_makes_a_confidence_sequence_nan():
    found = confidence_sequence([1.0] * 20 + [math.nan], error=0.01)
    assert all(math.isnan(value) for value in (found.low, found.middle, found.high))


def test_a_median_that_moved_leaves_no_interval():
    found = confidence_sequence([0.0] * 9 + [1.0] * 60, error=0.01)
    assert (found.low, found.high) == (1, 0)


def _skewed(draw):
    # Median 0; to the right a tail without a mean, to the left a short one.
    u = draw.random()
    return 1 / (1 - u) - 2 if u > 0.5 else u - 0.5


@pytest.mark.parametrize("value", [_skewed, lambda draw: math.tan(math.pi * (draw.random() - 0.5))])
def test_a_confidence_sequence_covers_the_median_of_heavy_and_skewed_noise_at_every_look(value):
    # Each side is ever missed with at most 5 %; of 600 sequences of 60, three sigma are 2.7 %.
    draw, error, sequences = random.Random(4), 0.05, 600
    found = [confidence_sequence([value(draw) for _ in range(60)], error) for _ in range(sequences)]
    allowed = error + 3 * math.sqrt(error * (1 - error) / sequences)
    assert sum(one.low > 0 for one in found) / sequences <= allowed
    assert sum(one.high < 0 for one in found) / sequences <= allowed


def test_the_intraclass_correlation_is_that_of_the_analysis_of_variance_of_ranks():
    # Ranks (1, 2), (3, 4), (6, 5): means 1.5, 3.5, 5.5 around 3.5. Between 2 * (4 + 0 + 4) / 2 = 8, within 3 * 0.5 / 3
    # = 0.5, two a group: (8 - 0.5) / (8 + 0.5).
    assert intraclass_correlation([[10, 20], [30, 40], [1e9, 50]]) == pytest.approx(7.5 / 8.5)


def test_the_intraclass_correlation_minds_the_sizes_of_the_groups():
    # Ranks (1, 2, 3), (4): means 2 and 4 around 2.5. Between 3 * 0.25 + 2.25 = 3, within 2 / 2 = 1,
    # n0 = 4 - (9 + 1) / 4 = 1.5: (3 - 1) / (3 + 0.5).
    assert intraclass_correlation([[1, 2, 3], [4]]) == pytest.approx(2 / 3.5)


def test_equal_values_share_their_rank():
    # Ranks (2, 2), (2, 4), (5.5, 5.5): means 2, 3, 5.5 around 3.5. Between 2 * (2.25 + 0.25 + 4) / 2 = 6.5, within
    # 2 / 3, two a group.
    assert intraclass_correlation([[7, 7], [7, 8], [9, 9]]) == pytest.approx((6.5 - 2 / 3) / (6.5 + 2 / 3))


@pytest.mark.parametrize(
    "groups", [[], [[1, 2, 3]], [[1, 2, 3], []], [[1], [2], [3]], [[4, 4], [4, 4]], [[1, 2], [math.nan, 4]]]
)
def test_an_undefined_likeness_is_nan_with_probability_one(groups):
    assert math.isnan(intraclass_correlation(groups))
    assert likeness_p(groups, seed=0) == 1


def test_likeness_is_distinguished_from_chance():
    draw = random.Random(5)
    alike = [[offset + draw.gauss(0, 1) for _ in range(4)] for offset in (0, 3, -3, 6, -6, 9)]
    plain = [[draw.gauss(0, 1) for _ in range(4)] for _ in range(6)]
    assert likeness_p(alike, seed=0) == pytest.approx(1 / 1001)
    assert likeness_p(plain, seed=0) > 0.05


def test_likeness_counts_the_permutations_that_are_as_large():
    # Of the 6 ways to put ranks 1 to 4 into two pairs, 2 separate low from high as this one does.
    assert likeness_p([[1, 2], [3, 4]], seed=0, draws=3000) == pytest.approx(1 / 3, abs=0.03)


def test_likeness_depends_on_its_seed_alone():
    groups = [[1.0, 5.0, 2.0], [4.0, 3.0, 9.0], [7.0, 8.0, 6.0]]
    assert likeness_p(groups, seed=1) == likeness_p(groups, seed=1) != likeness_p(groups, seed=2)


def test_clopper_pearson_is_known_in_closed_form_at_the_ends():
    # No failure in n: (1 - p)^n = 0.025.
    assert clopper_pearson(0, 20) == pytest.approx((0, 1 - 0.025 ** (1 / 20)), abs=1e-9)
    assert clopper_pearson(20, 20) == pytest.approx((0.025 ** (1 / 20), 1), abs=1e-9)


def test_clopper_pearson_solves_for_the_binomial_tails():
    low, high = clopper_pearson(3, 40, confidence=0.9)

    def at_most(count, p):
        return sum(math.comb(40, j) * p**j * (1 - p) ** (40 - j) for j in range(count + 1))

    assert 1 - at_most(2, low) == pytest.approx(0.05, abs=1e-8)
    assert at_most(3, high) == pytest.approx(0.05, abs=1e-8)


def test_clopper_pearson_of_many_trials_stays_within_the_floats():
    low, high = clopper_pearson(50, 20_000)
    assert 0 < low < 50 / 20_000 < high < 0.0035


def test_without_trials_any_probability_is_possible():
    assert clopper_pearson(0, 0) == (0, 1)


def test_there_are_no_more_failures_than_trials():
    with pytest.raises(ValueError, match="3 failures in 2 trials"):
        clopper_pearson(3, 2)
    with pytest.raises(ValueError, match="-1 failures"):
        clopper_pearson(-1, 2)
