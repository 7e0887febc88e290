"""Two clocks that tell different stories are no pass."""

import math

import pytest

from bench_core.gate.judge.cell import judge_cell
from bench_core.records.gate import Effect, GateSettings


def judged(own, wall, pairs=20):
    """Args:
    own, wall: log ratios by the cell's own timer and by the wall clock.
    """
    return judge_cell(
        [Effect(pair, pair // 4, own, 1.0, 1.0, 32, wall=wall) for pair in range(pairs)], GateSettings(), 1, "time"
    )


def test_work_that_only_the_wall_clock_sees_does_not_pass():
    found = judged(0.0, math.log(4.5))
    assert (found.verdict, found.decided) == ("inconclusive", True)
    assert found.reason.startswith("clocks: +0.0 % by the cell's own timer, +350.0 % by the wall clock")


def test_nor_is_it_an_improvement():
    assert judged(-0.1, 0.1).verdict == "inconclusive"


@pytest.mark.parametrize("wall", [math.nan, 0.0, math.log(1.049), -1.0])
def test_clocks_that_agree_within_the_limit_pass(wall):
    assert judged(0.0, wall).verdict == "pass"


def test_a_regression_by_its_own_timer_stands():
    assert judged(0.1, 1.0).verdict == "regression"
    assert judged(0.1, 0.0).verdict == "regression"
