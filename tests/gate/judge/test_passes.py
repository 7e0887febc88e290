"""A pass is judged for its cell, a difference for all cells together."""

import itertools
import math
import random
from dataclasses import replace

import pytest

from bench_core.gate.judge.cell import judge_cell
from bench_core.gate.judge.rule import cell_rule, pairs_needed
from bench_core.records.gate import Effect, GateSettings
from bench_core.statistics import confidence_sequence, least_successes

SETTINGS = GateSettings()


def judged(logs, family=1, settings=SETTINGS):
    """Four pairs of each parent."""
    effects = [Effect(pair, pair // 4, log, 1.0, math.exp(log), 32) for pair, log in enumerate(logs)]
    return judge_cell(effects, settings, family, "time")


@pytest.mark.parametrize("family", [1, 40, 10_000])
def test_nine_pairs_decide_a_pass_however_many_cells_there_are(family):
    # (2^10 - 1) / 10 = 102 reaches 1/1 %, and (2^9 - 1) / 9 = 57 does not.
    eight, nine = judged([0.0] * 8, family), judged([0.0] * 9, family)
    assert (eight.verdict, eight.decided) == ("inconclusive", False)
    assert (nine.verdict, nine.decided, nine.at_most.value) == ("pass", True, 1)


def test_a_pass_gives_its_own_bound_and_confidence():
    found = judged([0.01 * (-1) ** pair for pair in range(30)], family=40)
    assert found.reason == "at most +1.0 % (99 %)"
    assert found.at_most.confidence == pytest.approx(0.99)
    assert found.ratio.confidence == pytest.approx(0.95)


@pytest.mark.parametrize("size", [0.03, -0.03])
def test_a_difference_still_needs_the_pairs_of_all_cells(size):
    needed = pairs_needed(40, SETTINGS)
    assert needed == 14
    assert not judged([size] * (needed - 1), family=40).differs
    assert judged([size] * needed, family=40).differs


def test_a_cell_that_looks_faster_passes_and_gets_the_pairs_that_an_improvement_needs():
    found = judged([-0.03] * 9, family=40)
    assert (found.verdict, found.decided) == ("pass", False)


def test_a_slow_cell_is_told_how_many_pairs_prove_it():
    assert judged([0.03] * 9, family=40).reason == (
        "budget: slower by about 3.0 % in 9 pairs, at least 14 are needed to prove it"
    )


def test_a_bound_that_the_interval_excludes_makes_no_pass():
    # Two pairs that no noise explains prove a factor of 16. Forty that are equal say the opposite.
    found = judged([math.log(50)] * 2 + [0.0] * 40)
    assert found.verdict == "inconclusive"
    assert found.at_most.value > 16


def test_a_stricter_setting_needs_more_pairs():
    strict = replace(SETTINGS, pass_error=0.001)
    assert cell_rule(strict, 40).fewest == 13  # (2^14 - 1) / 14 = 1,170
    assert judged([0.0] * 12, 40, strict).verdict == "inconclusive"
    assert judged([0.0] * 13, 40, strict).reason == "at most +0.0 % (99.9 %)"


def passing(looks, error):
    """The probability that a cell whose median is the limit has a bound below it at any of its first looks. The signs
    of its pairs are fair, so it is that of a walk, which ends where the evidence is enough."""
    walks, passed = {0: 1.0}, 0.0
    for n in range(1, looks + 1):
        after = {}
        for below, chance in walks.items():
            for step in (0, 1):
                after[below + step] = after.get(below + step, 0.0) + chance / 2
        enough = least_successes(n, 1 / error)
        passed += sum(chance for below, chance in after.items() if enough is not None and below >= enough)
        walks = {below: chance for below, chance in after.items() if enough is None or below < enough}
    return passed


def test_a_cell_at_the_limit_passes_at_most_once_in_a_hundred_however_often_it_is_looked_at():
    chances = [passing(looks, SETTINGS.pass_error) for looks in (8, 9, 30, 300)]
    assert chances[:2] == [0, 1 / 2**9]
    assert all(one < other < 0.01 for one, other in itertools.pairwise(chances))


@pytest.mark.parametrize(
    "noise", [lambda draw: draw.gauss(0, 0.01), lambda draw: 0.001 * draw.gauss(0, 1) ** 3], ids=["normal", "heavy"]
)
def test_a_bound_is_below_the_effect_at_most_once_in_a_hundred(noise):
    # The bound is the tightest of all looks, so the last one tells whether any was wrong. 10 + 3 * 3.2 of 1,000.
    draw = random.Random(1)
    limit = math.log1p(SETTINGS.limit)
    wrong = sum(
        confidence_sequence([limit + noise(draw) for _ in range(60)], SETTINGS.pass_error).high < limit
        for _ in range(1000)
    )
    assert 0 < wrong <= 19
