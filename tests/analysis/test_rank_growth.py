"""The growth of a call with the number of ranks, and what is projected from it."""

from __future__ import annotations

import math

import pytest

from bench_core.analysis.rank_growth import FARTHEST, rank_growths
from bench_core.records.model import RankTimes


def calls(seconds, counts=(1, 2, 4), name="dcp_save"):
    """Nine calls for each number of ranks, of which rank 0 is the slowest."""
    return [
        RankTimes(
            "checkpoint",
            name,
            count,
            tuple((seconds(count) * (1 + 0.002 * (k - 4)), *[1e-6] * (count - 1)) for k in range(9)),
        )
        for count in counts
    ]


def test_a_law_is_fitted_to_the_slowest_rank():
    (found,) = rank_growths(calls(lambda n: 0.010 + 0.002 * n))
    assert (found.law.fixed, found.law.each) == pytest.approx((0.010, 0.002), rel=0.02)
    assert found.sentence.startswith("10 ms plus 2.0 ms per rank.")


def test_a_projection_is_twice_the_most_that_was_measured_and_says_that_it_is_one():
    (found,) = rank_growths(calls(lambda n: 0.010 + 0.002 * n))
    assert found.ranks == 8
    assert found.projected == pytest.approx(0.026, rel=0.02)
    assert found.sentence.endswith(" Projected by this law and not measured: 26 ms with 8 ranks.")


def test_a_projection_ends_at_a_few_times_what_was_measured():
    (found,) = rank_growths(calls(lambda n: 0.010 + 0.002 * n), ranks=1000)
    assert found.ranks == 4 * FARTHEST


def test_without_a_law_nothing_is_projected():
    (found,) = rank_growths(calls(lambda n: {1: 0.010, 2: 0.003, 4: 0.030}[n]))
    assert math.isnan(found.projected)
    assert "Projected" not in found.sentence


def test_two_numbers_of_ranks_are_no_law():
    assert rank_growths(calls(lambda n: n, counts=(1, 2))) == ()


def test_each_call_has_a_law_and_what_was_not_measured_has_none():
    missing = [RankTimes("clip", "foreach", count, why_not="no") for count in (1, 2, 4)]
    found = rank_growths([*calls(lambda n: n), *missing, *calls(lambda n: n, name="dcp_load")])
    assert [each.name for each in found] == ["dcp_save", "dcp_load"]
