"""A factor that no noise explains does not wait for the pairs that a change of 5 % needs."""

import math

import pytest

from bench_core.gate.judge.cell import judge_cell
from bench_core.gate.judge.gate import judge
from bench_core.gate.judge.rule import TAILS
from bench_core.records.gate import CellEvidence, Effect, GateRecord, GateSettings
from bench_core.records.version import Commit

SETTINGS = GateSettings()


def judged(ratios, family=1, pairs_of_a_parent=1000):
    """All pairs are of one parent, unless a parent has fewer."""
    effects = [
        Effect(pair, pair // pairs_of_a_parent, math.log(ratio), 1.0, ratio, 8) for pair, ratio in enumerate(ratios)
    ]
    return judge_cell(effects, SETTINGS, family, "time")


def test_a_slowdown_that_no_noise_explains_is_a_regression_after_two_pairs_of_one_parent():
    found = judged([45_136, 40_000])
    assert (found.verdict, found.decided) == ("regression", True)
    assert (found.ratio.low, found.ratio.high) == (pytest.approx(40_000 / 3), pytest.approx(3 * 45_136))


def test_one_pair_alone_proves_nothing():
    assert judged([45_136]).verdict == "inconclusive"


def test_more_cells_need_another_pair():
    # 1 %^2 = 1e-4 and 1 %^3 = 1e-6, against 2.5 % of 2.5 % for all cells: 6.25e-4, of which each of 40 gets 1.6e-5.
    assert (judged([50] * 2, family=40).verdict, judged([50] * 3, family=40).verdict) == ("inconclusive", "regression")
    assert [TAILS[0].pairs(error) for error in (0.5, 1e-4, 0.99e-4, 1e-6)] == [2, 2, 3, 3]


def test_a_slowdown_of_two_is_decided_by_fewer_pairs_than_one_of_a_few_per_cent():
    # 1/4^8 = 1.5e-5, and 1/4^7 = 6e-5, against 1.6e-5 for each of 40 cells. Signs alone need 14 pairs.
    seven, eight = (judged([2.0] * pairs, 40, pairs_of_a_parent=4) for pairs in (7, 8))
    assert (seven.verdict, seven.decided) == ("inconclusive", False)
    assert (eight.verdict, eight.decided) == ("regression", True)
    assert eight.ratio.low == pytest.approx(2 / 1.5)
    assert judged([0.5] * 8, 40, pairs_of_a_parent=4).verdict == "improvement"


def test_no_slowdown_that_a_memory_layout_may_cause_is_decided_by_one_parent():
    assert judged([2.0] * 12, 40).verdict == "inconclusive"
    assert judged([2.0] * 12, 40, pairs_of_a_parent=11).verdict == "regression"


@pytest.mark.parametrize("ratios", [[1.5] * 8, [2.0] * 7 + [1.5], [1.0] + [2.0] * 10])
def test_all_first_pairs_must_be_that_slow(ratios):
    assert judged(ratios, 40, pairs_of_a_parent=4).verdict == "inconclusive"


@pytest.mark.parametrize("ratios", [[3.02, 3.02], [50, 1.0], [1.0, 50, 50, 50]])
def test_what_noise_may_explain_waits_for_more_pairs(ratios):
    assert judged(ratios).verdict == "inconclusive"


def test_a_factor_that_large_the_other_way_is_an_improvement():
    found = judged([1 / 100, 1 / 50])
    assert (found.verdict, found.ratio.high) == ("improvement", pytest.approx(3 / 50))


def test_an_effect_that_does_not_last_is_not_decided_by_its_first_pairs():
    assert judged([50, 50, *[1.0] * 40]).verdict == "inconclusive"


def test_a_control_still_takes_it_away():
    def cell(name, ratios):
        effects = [Effect(pair, pair % 4, math.log(ratio), 1.0, ratio, 8) for pair, ratio in enumerate(ratios)]
        return CellEvidence(name, name, {}, "time", "seconds", tuple(effects))

    version = Commit("main", "0" * 40, "", "")
    record = GateRecord(version, version, SETTINGS, {}, "", 1.0, (cell("a", [50, 50]),), (cell("a", [1.2] * 20),))
    assert judge(record).verdict == "inconclusive"
