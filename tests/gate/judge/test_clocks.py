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
    assert found.reason.startswith("clocks: +0.0 % by its own timer or in processor time, +350.0 % by the wall clock")


def test_nor_is_it_an_improvement():
    assert judged(-0.1, 0.1).verdict == "inconclusive"


@pytest.mark.parametrize("wall", [math.nan, 0.0, math.log(1.049), -1.0])
def test_clocks_that_agree_within_the_limit_pass(wall):
    assert judged(0.0, wall).verdict == "pass"


def test_an_improvement_that_is_none_by_the_wall_clock_but_no_slowdown_either_stands():
    assert judged(-0.5, -0.1).verdict == "improvement"
    assert judged(-0.5, 0.009).verdict == "improvement"
    assert judged(-0.5, 0.011).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("slower", "faster", "verdict", "decided"),
    [
        (14, 12, "inconclusive", False),  # one pair fewer than it is measured for
        (14, 13, "pass", True),
        (18, 9, "pass", True),
        (19, 8, "inconclusive", True),
    ],
)
def test_a_wall_clock_that_scatters_is_believed_if_seven_of_ten_pairs_agree(slower, faster, verdict, decided):
    walls = [0.1] * slower + [-0.1] * faster
    effects = [Effect(pair, pair // 4, 0.0, 1.0, 1.0, 32, wall=wall) for pair, wall in enumerate(walls)]
    found = judge_cell(effects, GateSettings(), 1, "time")
    assert (found.verdict, found.decided) == (verdict, decided)


def test_a_regression_by_its_own_timer_stands():
    assert judged(0.1, 1.0).verdict == "regression"
    assert judged(0.1, 0.0).verdict == "regression"


def counted(hidden):
    """Args:
    hidden: for each pair, the processor time that head does not report, as a log ratio.
    """
    effects = [Effect(pair, pair // 4, 0.0, 1.0, 1.0, 32, unreported=one) for pair, one in enumerate(hidden)]
    return judge_cell(effects, GateSettings(), 1, "time")


def test_work_that_head_does_not_report_in_any_pair_is_no_pass_and_needs_no_more_pairs():
    found = counted([0.05] * 9)
    assert (found.verdict, found.decided) == ("inconclusive", True)
    assert found.reason.startswith("clocks: the kernel counted +5.1 % processor time")


def test_a_count_that_scatters_gets_more_pairs_before_it_is_believed():
    scattered = [0.03, 0.03, 0.03, 0.03, 0.03, -0.03, -0.03, -0.03, -0.03]
    assert (counted(scattered).verdict, counted(scattered).decided) == ("inconclusive", False)
    assert counted([*scattered, -0.03, -0.03]).verdict == "pass"
    assert (counted(scattered * 3).verdict, counted(scattered * 3).decided) == ("inconclusive", True)
