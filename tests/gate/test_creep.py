"""A past version in the same gate: it shows what small steps add up to."""

import math
from dataclasses import replace

import pytest

from bench_core.gate.judge.exit_code import exit_code
from bench_core.gate.judge.gate import judge
from bench_core.gate.measure.evidence import COMPARED, CONTROL, PAST
from bench_core.records.gate import CellEvidence, Effect, GateRecord, GateSettings
from bench_core.records.version import Commit

VALUE = """
import thing


class Call:
    def time_value(self):
        thing.value()


class New:
    def setup(self):
        thing.new

    def time_new(self):
        pass
"""
LOOP = "def value():\n    for _ in range(LENGTH):\n        pass\n"
SHORT, LONG = (LOOP.replace("LENGTH", str(length)) for length in (2000, 6000))


@pytest.fixture(scope="module")
def crept(module_sides):
    """Base and head are alike, and three times as slow as the past, which lacks what one cell needs."""
    made = module_sides(VALUE, f"new = 1\n{LONG}", past=SHORT)
    return made, made.measure()


def of(dossiers, name):
    return next(one for one in dossiers if name in one.cell.name)


def test_what_no_step_shows_the_past_version_does(crept):
    _, gate = crept
    assert of(gate.main.dossiers, "value").judgement.verdict == "pass"
    found = of(gate.past.dossiers, "value").judgement
    assert (found.verdict, round(found.ratio.middle)) == ("regression", 3)


def test_what_the_past_version_fails_at_is_measured_between_the_others(crept):
    _, gate = crept
    assert of(gate.past.dossiers, "new").error_side == "base"
    new = of(gate.main.dossiers, "new")
    assert (new.error, new.judgement.verdict) == (None, "pass")


def test_each_pair_of_the_past_version_takes_part_of_the_samples(crept):
    _, gate = crept
    compared, past = (of(one.dossiers, "value").effects[1].samples for one in (gate.main, gate.past))
    assert past == compared // 2


def test_no_two_pairs_of_a_gate_have_one_number(crept):
    _, gate = crept
    jobs = {(effect.pair, one.versions) for one in (*gate.dossiers, *gate.controls) for effect in one.effects}
    assert {versions for _, versions in jobs} == {COMPARED, CONTROL, PAST}
    assert len({pair for pair, _ in jobs}) == len(jobs)


def test_a_later_gate_continues_from_the_evidence_on_both_pairs_of_versions(crept):
    made, gate = crept
    again = made.gate()
    assert again.past.earlier.effects == sum(len(one.effects) for one in gate.past.dossiers)
    assert again.main.earlier.effects == sum(len(one.effects) for one in (*gate.main.dossiers, *gate.controls))
    assert again.first_pair > max(effect.pair for one in gate.dossiers for effect in one.effects)


def test_nothing_is_left_behind(crept):
    made, _ = crept
    assert made.left_behind() == []


# The verdict.


def cell(percent, name="a.time_a", **others):
    effects = tuple(
        Effect(pair, pair, math.log1p(percent / 100) + 1e-5 * (pair % 7), 1.0, 1.0, 40) for pair in range(30)
    )
    return CellEvidence(name, name, {}, "time", "seconds", effects, **others)


def record(*cells, past=(), controls=()):
    version = Commit("main", "0" * 40, "", "")
    one = GateRecord(version, version, GateSettings(), {}, "", 1.0, cells, controls=controls)
    return replace(one, past=replace(one, base=replace(version, name="v1.2"), cells=tuple(past), controls=()))


def test_many_small_steps_are_the_red_of_the_gate():
    found = record(cell(0.9), past=[cell(10)])
    verdict = judge(found)
    assert verdict.cells[0].verdict != "regression"
    assert (verdict.verdict, exit_code(verdict, found, strict=False)) == ("regression", 1)
    assert verdict.reason.startswith("since v1.2, 1 of 1 cell slower")


def test_a_red_step_is_named_before_what_crept_in():
    assert judge(record(cell(10), past=[cell(20)])).reason.startswith("1 of 1 cell slower")


def test_an_inconclusive_comparison_with_the_past_version_makes_the_gate_inconclusive():
    unsure = replace(cell(0), effects=cell(0).effects[:3])
    assert judge(record(cell(0), past=[unsure])).verdict == "inconclusive"


@pytest.mark.parametrize("side", ["base", None])
def test_what_the_past_version_fails_at_changes_no_verdict(side):
    broken = CellEvidence("b.time_b", "b.time_b", {}, "time", "seconds", error="KeyError", error_side=side)
    found = record(cell(0), past=[cell(0), broken])
    assert (judge(found).verdict, exit_code(judge(found), found, strict=True)) == ("pass", 0)


def test_a_past_version_that_was_slower_is_no_news():
    assert judge(record(cell(0), past=[cell(-20)])).verdict == "pass"


def test_a_control_that_finds_a_difference_takes_back_what_crept_in():
    verdict = judge(record(cell(0), past=[cell(10)], controls=[cell(8)]))
    assert verdict.past.cells[0].verdict == "inconclusive"
    assert verdict.verdict == "inconclusive"
