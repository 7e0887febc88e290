import itertools
import math
import random

import pytest

from trials import ranks
from trials.looks import Recorded


def recorded(logs, family=40, planted=0.0, name="a"):
    return Recorded(name, tuple((pair // 4, log) for pair, log in enumerate(logs)), family, planted)


def by_hand(values):
    """The share of all flips of the signs with at least this sum of ranks."""
    sizes = sorted(map(abs, values))
    rank = {size: (2 * sizes.index(size) + sizes.count(size) + 1) / 2 for size in sizes}
    sums = [
        sum(rank[abs(value)] for value, sign in zip(values, signs, strict=True) if sign > 0)
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    found = sum(rank[abs(value)] for value in values if value > 0)
    return sum(one >= found for one in sums) / len(sums)


@pytest.mark.parametrize("values", [[3.0, 1.0, 2.0], [1.0, -2.0, 3.0, 4.0, -5.0], [1.0, 1.0, -1.0, 2.0, -2.0, 3.0]])
def test_the_tail_counts_all_flips_of_the_signs(values):
    assert ranks.upper_tail(values) == pytest.approx(by_hand(values))


def test_zeros_have_no_sign_and_no_values_prove_nothing():
    assert ranks.upper_tail([0.0, 0.0, 1.0, 2.0]) == ranks.upper_tail([1.0, 2.0]) == 0.25
    assert ranks.upper_tail([]) == ranks.upper_tail([0.0]) == 1


def test_a_tail_is_at_most_as_likely_as_it_says():
    draw = random.Random(1)
    found = [ranks.upper_tail([draw.gauss(0, 1) ** 3 for _ in range(12)]) for _ in range(1000)]
    for chance in (0.01, 0.05, 0.5):
        assert sum(one <= chance for one in found) <= 1000 * chance + 3 * math.sqrt(1000 * chance * (1 - chance))


@pytest.mark.parametrize(
    ("middle", "pairs", "verdict"),
    [
        (0.04, 11, "regression"),  # 1/2^11 = 4.9e-4, against 2.5 % / 40 = 6.25e-4
        (0.04, 10, "inconclusive"),
        (-0.04, 11, "improvement"),
        (0.0, 7, "pass"),  # 1/2^7 = 0.8 %, against 1 % for the cell by itself
        (0.0, 6, "inconclusive"),
        (0.012, 7, "inconclusive"),  # it looks slower
    ],
)
def test_the_second_statistic_answers_the_questions_of_the_gate_at_its_error_rates(middle, pairs, verdict):
    assert ranks.verdict(recorded([middle + 1e-4 * pair for pair in range(pairs)])) == verdict


def test_over_all_gates_a_parent_counts_once():
    # Two parents of 4 pairs a gate, all of one sign: eight parents are 2/2^8 = 0.8 %, 32 pairs would be 5e-10.
    (line,) = ranks.pooled([recorded([0.01 + 1e-5 * pair for pair in range(8)]) for _ in range(4)])
    assert "signed ranks of parents (8 a cell): 1 of 1 cells differ" in line
    assert "; the least p is 0.0078 (a, +1.01%)" in line
