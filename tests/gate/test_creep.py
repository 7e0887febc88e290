"""A past version in the same gate: it shows what small steps add up to."""

import pytest

from bench_core.gate.measure.evidence import COMPARED, CONTROL, PAST

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
