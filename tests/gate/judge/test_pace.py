"""How long the cells that are not decided will take."""

import pytest

from bench_core.gate.judge.pace import BESIDES, MORE_PAIRS, Pace
from bench_core.gate.judge.rule import MIN_READINGS, cell_rule
from bench_core.records.gate import GateSettings

RULE = cell_rule(GateSettings(), 1)
PACE = Pace([(2, 0.2), (1, 0.3), (1, 20.0), (0, 0.0)], RULE)


def test_a_cell_needs_what_its_own_pairs_cost():
    assert PACE.need("time", 1, 20.0) == pytest.approx(BESIDES * 20.0 * (RULE.fewest - 1))


def test_a_cell_without_a_pair_is_taken_for_the_median_one():
    assert PACE.need("time", 0, 0.0) == pytest.approx(BESIDES * 0.3 * RULE.fewest)


def test_a_cell_that_was_given_up_takes_at_least_as_long_on_both_sides():
    assert PACE.need("time", 0, 7.0) == pytest.approx(BESIDES * 14.0 * RULE.fewest)


def test_a_cell_that_enough_pairs_have_not_decided_needs_some_more():
    assert PACE.need("time", RULE.fewest, RULE.fewest * 1.0) == pytest.approx(BESIDES * MORE_PAIRS)


def test_a_tracked_value_needs_few_pairs():
    assert PACE.need("track", 0, 0.0) == pytest.approx(BESIDES * 0.3 * MIN_READINGS)


def test_the_pace_is_known_from_the_first_pair_on():
    assert PACE.is_known
    assert not Pace([(0, 0.0)], RULE).is_known
