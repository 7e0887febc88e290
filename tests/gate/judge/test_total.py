"""What happens in few samples is no pass."""

import math

import pytest

from bench_core.gate.judge.cell import judge_cell
from bench_core.records.gate import Effect, GateSettings


def judged(totals, log_ratio=0.0):
    effects = [Effect(pair, pair // 4, log_ratio, 1.0, 1.0, 32, total=one) for pair, one in enumerate(totals)]
    return judge_cell(effects, GateSettings(), 1, "time")


def test_a_cell_of_which_every_third_call_takes_four_times_as_long_does_not_pass():
    found = judged([math.log(2)] * 9)
    assert (found.verdict, found.decided) == ("inconclusive", True)
    assert found.reason.startswith("rare: +0.0 % in the median of its samples, +100.0 % in all of them together")


def test_nor_is_it_an_improvement():
    assert judged([math.log(2)] * 20, -0.1).verdict == "inconclusive"


def test_an_improvement_with_a_first_sample_that_takes_as_long_as_before_stands():
    assert judged([-0.5] * 20, -3.0).verdict == "improvement"


@pytest.mark.parametrize("total", [math.nan, -1.0, 0.0, math.log(1.049)])
def test_samples_that_take_no_longer_than_the_limit_in_total_pass(total):
    assert judged([total] * 9).verdict == "pass"


def test_a_total_that_scatters_gets_more_pairs_before_it_is_believed():
    scattered = [0.3, 0.3, 0.3, 0.3, 0.3, -0.1, -0.1, -0.1, -0.1]
    assert (judged(scattered).verdict, judged(scattered).decided) == ("inconclusive", False)
    assert judged([*scattered, -0.1, -0.1]).verdict == "pass"
    assert (judged(scattered * 3).verdict, judged(scattered * 3).decided) == ("inconclusive", True)


def test_two_pairs_are_too_few_to_believe_a_total():
    assert judged([1.0, 1.0, *[math.nan] * 7]).verdict == "pass"
