"""What a past version changes in the verdict of a gate."""

import math
from dataclasses import replace

import pytest

from bench_core.gate.judge.exit_code import exit_code
from bench_core.gate.judge.gate import judge
from bench_core.records.gate import CellEvidence, Effect, GateRecord, GateSettings
from bench_core.records.version import Commit


def cell(percent, name="a.time_a", **others):
    effects = tuple(
        Effect(pair, pair, math.log1p(percent / 100) + 1e-5 * (pair % 7), 1.0, 1.0, 40) for pair in range(30)
    )
    return CellEvidence(name, name, {}, "time", "seconds", effects, **others)


def broken(side):
    return CellEvidence("b.time_b", "b.time_b", {}, "time", "seconds", error="KeyError", error_side=side)


def record(*cells, past=(), controls=()):
    version = Commit("main", "0" * 40, "", "")
    one = GateRecord(version, version, GateSettings(), {}, "", 1.0, cells, controls=controls)
    return replace(one, past=replace(one, base=replace(version, name="v1.2"), cells=tuple(past), controls=()))


SLOW, SAME, FAST = cell(10, "slow"), cell(0, "same"), cell(-10, "fast")
UNSURE = replace(cell(0, "unsure"), effects=SAME.effects[:3])
HEAD, BASE, BOTH = broken("head"), broken("base"), broken(None)


@pytest.mark.parametrize(
    ("past", "own", "verdict"),
    [
        *((SLOW, own, "regression") for own in (SAME, FAST, UNSURE, HEAD, SLOW)),
        *((UNSURE, own, "inconclusive") for own in (SAME, FAST, UNSURE)),
        (UNSURE, HEAD, "error"),
        (UNSURE, SLOW, "regression"),
        *((past, SAME, "pass") for past in (SAME, FAST, HEAD, BASE, BOTH)),
        *((past, FAST, "improvement") for past in (SAME, FAST, HEAD, BASE, BOTH)),
    ],
)
def test_only_a_regression_or_an_unsure_cell_since_the_past_version_makes_a_verdict_worse(past, own, verdict):
    # Another cell passes: else nothing would be measured where one fails.
    found = judge(record(own, past=[SAME, past]))
    alone = judge(replace(record(own), past=None))
    assert found.verdict == verdict
    expected = alone.reason if alone.verdict == verdict else found.past.reason
    assert found.reason == (f"{expected}; {alone.reason}" if (past, own) == (SLOW, HEAD) else expected)


def test_many_small_steps_are_the_red_of_the_gate():
    found = record(cell(0.9), past=[cell(10)])
    verdict = judge(found)
    assert verdict.cells[0].verdict != "regression"
    assert (verdict.verdict, exit_code(verdict, found, strict=False)) == ("regression", 1)
    assert verdict.reason.startswith("since v1.2, 1 of 1 cell slower")


def test_a_cell_that_fails_with_head_against_both_is_named_once():
    verdict = judge(record(SAME, HEAD, past=[SLOW, HEAD]))
    assert verdict.reason == verdict.past.reason
    assert verdict.reason.count(HEAD.name) == 1


@pytest.mark.parametrize("side", ["base", None])
def test_a_strict_gate_does_not_fail_over_what_the_past_version_fails_at(side):
    found = record(SAME, past=[SAME, broken(side)])
    assert exit_code(judge(found), found, strict=True) == 0


def test_a_control_that_finds_a_difference_takes_back_what_crept_in():
    verdict = judge(record(SAME, past=[SLOW], controls=[cell(8)]))
    assert verdict.past.cells[0].verdict == "inconclusive"
    assert verdict.verdict == "inconclusive"
    assert verdict.past.controls == ()
