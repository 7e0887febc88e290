"""The suite's own `timeout` holds: slower than it is slow, and a suite that allows more is not called a hang."""

import math

import pytest

from bench_core.gate.judge.exit_code import exit_code
from bench_core.gate.judge.gate import judge
from bench_core.gate.measure import schedule, supervise
from bench_core.gate.measure.discover import Found
from bench_core.gate.measure.evidence import Journal, Known
from bench_core.gate.measure.schedule import FIRST_PATIENCE, LEAST_PATIENCE, PATIENCE, Schedule
from bench_core.records.gate import CellEvidence, Effect, Exceeded, GateRecord, GateSettings
from bench_core.records.version import Commit
from bench_core.workers.messages import CellTask

NAPS = """
import select

import thing


class Nap:
    timeout, number = 0.3, 1

    def setup(self):
        pass

    def time_nap(self):
        select.select([], [], [], thing.NAP)
"""


@pytest.mark.parametrize(
    ("base", "head", "side", "verdict"), [(0.001, 9, "head", "regression"), (9, 0.001, "base", "improvement")]
)
def test_slower_than_the_suite_allows_on_one_side_is_slow(sides, base, head, side, verdict):
    gate = sides(NAPS, f"NAP = {base}\n", f"NAP = {head}\n").measure(timeout=None)
    found = gate.main.cells[0]
    assert (found.error, found.exceeded.side, found.exceeded.timeout) == (None, side, 0.3)
    assert found.exceeded.other == pytest.approx(0.001, rel=1)


def test_slower_than_the_suite_allows_on_both_sides_blames_neither(sides):
    (found,) = sides(NAPS, "NAP = 9\n", "NAP = 8\n").measure(timeout=None).main.cells
    assert (found.error, found.error_side, found.exceeded) == ("longer than the suite's timeout of 0.3 s", None, None)


@pytest.mark.thorough
def test_a_timeout_on_the_command_line_takes_the_place_of_the_suites(sides):
    (found,) = sides(NAPS.replace("0.3", "0.001"), "NAP = 0.01\n").measure(timeout=10.0).main.cells
    assert (found.error, found.exceeded) == (None, None)


def test_calls_that_are_shorter_than_the_timeout_each_are_no_reason_however_many_there_are(sides):
    (found,) = sides(NAPS, "NAP = 0.1\n").measure(timeout=None, until=lambda gate: gate.dossiers[0].effects).main.cells
    assert (found.error, found.exceeded, len(found.effects) > 0) == (None, None, True)


CELL = CellEvidence("a", "a", {}, "time", "seconds")


@pytest.mark.parametrize(
    ("asked", "own", "pair", "cell"), [(None, 300.0, 300.0, 300.0), (None, 2.0, 60.0, 2.0), (5.0, 300.0, 5.0, 0.0)]
)
def test_workers_are_given_the_time_that_the_suite_allows_unless_the_command_line_says_otherwise(
    tmp_path, asked, own, pair, cell
):
    found = Found((CELL,), {}, (), (), [], on_accelerator=False, asked={"a": CellTask("a", timeout=own)})
    known = Known(found, GateSettings(), Journal(tmp_path / "journal"), None)
    (task, *_) = Schedule(known, asked, 1, {}).pairs_of(0, "base")
    assert (task.timeout, task.groups[0].cells[0].timeout) == (pair, cell)


def patience(tmp_path, settings, *, own=60.0, asked=None, pairs=0, spent=0.0):
    found = Found((CELL,), {}, (), (), [], on_accelerator=False, asked={"a": CellTask("a", timeout=own)})
    known = Known(found, settings, Journal(tmp_path / "journal"), None)
    known.dossiers[0].effects = [Effect(pair, pair, 0.0, 1.0, 1.0, 4) for pair in range(pairs)]
    known.dossiers[0].spent = spent
    (task, *_) = Schedule(known, asked, 1, {}).pairs_of(0, "base")
    return task.groups[0].cells[0].patience


def test_a_cell_that_worked_before_is_taken_for_hung_after_a_multiple_of_what_its_pairs_took(tmp_path):
    settings = GateSettings(budget=50.0)
    assert patience(tmp_path, settings, pairs=2, spent=0.1) == LEAST_PATIENCE
    assert patience(tmp_path, settings, pairs=2, spent=20.0) == PATIENCE * 10
    assert patience(tmp_path, settings, pairs=2, spent=20.0, asked=3.0) == 0.0, "the command line decides"


def test_a_cell_that_hangs_in_its_first_pair_leaves_time_for_the_others_unless_the_suite_allows_for_it(tmp_path):
    settings = GateSettings(budget=100.0)
    assert patience(tmp_path, settings) == FIRST_PATIENCE * 100
    assert patience(tmp_path, settings, own=300.0) == 0.0


def judged(side):
    version = Commit("main", "0" * 40, "", "")
    slow = CellEvidence("a", "a", {}, "time", "seconds", exceeded=Exceeded(side, 2.0, 0.01))
    record = GateRecord(version, version, GateSettings(), {}, "", 1.0, (slow,))
    verdict = judge(record)
    return verdict, exit_code(verdict, record, strict=False)


def test_what_exceeds_the_timeout_is_slower_by_at_least_that_much():
    verdict, code = judged("head")
    assert (verdict.verdict, code) == ("regression", 1)
    assert verdict.reason.endswith("a, longer than the suite's timeout of 2 s")
    assert (verdict.cells[0].judgement.ratio.low, verdict.cells[0].judgement.ratio.high) == (200.0, math.inf)


def test_what_exceeded_it_before_is_an_improvement():
    verdict, code = judged("base")
    assert (verdict.verdict, code) == ("improvement", 0)
    assert verdict.cells[0].judgement.ratio.high == 1 / 200


@pytest.mark.thorough
def test_a_pair_that_is_still_running_long_after_the_budget_is_given_up_and_says_so(sides, monkeypatch):
    monkeypatch.setattr(supervise, "OVERRUN", 0.0)
    (found,) = sides(NAPS.replace("0.3", "300"), "NAP = 60\n").measure(timeout=None, budget=4.0).main.cells
    assert "needs a larger --budget" in found.error


HANGS = """
import select

import thing


class Calls:
    def time_hang(self):
        select.select([], [], [], thing.NAP)

    def time_sum(self):
        sum(range(100))
"""


def test_a_cell_that_hangs_on_head_is_an_error_there_and_the_others_are_measured(sides, monkeypatch):
    monkeypatch.setattr(schedule, "LEAST_PATIENCE", 1.0)
    monkeypatch.setattr(schedule, "FIRST_PATIENCE", 0.0)
    gate = sides(HANGS, "NAP = 0.001\n", "NAP = 30\n").measure(
        timeout=None, until=lambda gate: gate.dossiers[0].error_side and gate.dossiers[1].effects
    )
    hung, sound = gate.main.cells
    assert (hung.error, hung.error_side) == ("hangs: no answer within 1 s", "head")
    assert sound.effects


SLOW = """
import select


class Calls:
    def setup(self):
        select.select([], [], [], 0.2)

    def time_sum(self):
        sum(range(100))


def time_other():
    sum(range(100))
"""


@pytest.mark.thorough
def test_a_setup_that_takes_long_on_both_sides_is_waited_for_when_the_other_cells_are_done(sides, monkeypatch):
    monkeypatch.setattr(schedule, "LEAST_PATIENCE", 0.1)
    monkeypatch.setattr(supervise, "CLEARLY_LONGER", 50.0)
    monkeypatch.setattr(schedule, "LEAST_FIRST_PATIENCE", 0.1)
    monkeypatch.setattr(schedule, "FIRST_PATIENCE", 0.0)
    gate = sides(SLOW, "").measure(timeout=None, until=lambda gate: all(one.effects for one in gate.dossiers))
    (slow,) = [one for one in gate.dossiers if one.cell.name == "calls.Calls.time_sum"]
    assert slow.postponed > 0
    assert slow.error is None
