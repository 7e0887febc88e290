"""Where a cache answers all calls but the first, the first ones are compared."""

import math

import pytest

from bench_core.gate.judge.cell import judge_cell
from bench_core.records.gate import Effect, GateSettings

SETTINGS = GateSettings()
LOOK_UP = 50e-9


def judged(firsts, pairs=20, later=LOOK_UP, log_ratio=0.0):
    """Args:
    firsts: seconds of the first call of base and of head.
    """
    effects = [
        Effect(pair, pair // 4, log_ratio, later, later, 32, first_base=firsts[0], first_head=firsts[1])
        for pair in range(pairs)
    ]
    return judge_cell(effects, SETTINGS, 1, "time")


def test_twice_the_work_in_the_first_call_is_a_regression_though_all_others_look_it_up():
    found = judged((1e-3, 2e-3))
    assert (found.verdict, found.of) == ("regression", "first call")
    assert found.ratio.middle == pytest.approx(2)
    assert found.memoized == pytest.approx(40_000)
    assert "40,000 times as long" in found.reason


def test_first_calls_that_look_slower_are_no_pass_and_get_more_pairs():
    found = judged((1e-3, 2e-3), pairs=10)
    assert (found.verdict, found.decided, found.of) == ("inconclusive", False, "first call")


def test_a_memoized_cell_that_passes_says_so():
    found = judged((1e-3, 1e-3))
    assert (found.verdict, found.decided, found.of) == ("pass", True, "calls")
    assert "20,000 times as long" in found.reason


@pytest.mark.parametrize("firsts", [(math.nan, math.nan), (9e-5, 18e-5 / 2), (40e-6, 49e-6)])
def test_a_first_call_that_only_finds_cold_caches_says_nothing(firsts):
    found = judged(firsts)
    assert (found.verdict, found.memoized, found.reason) == ("pass", 0, "at most +0.0 % (99 %)")


def test_one_first_call_makes_no_cell_memoized():
    assert judged((1e-3, 1e-3), pairs=1).memoized == 0


def test_a_regression_of_all_calls_stays_one():
    found = judged((1e-3, 1e-3), log_ratio=0.1)
    assert (found.verdict, found.of) == ("regression", "calls")
    assert found.memoized
