import json
import math
import subprocess
import sys

import pytest

from bench_core.errors import BenchCoreError
from bench_core.gate.measure.evidence import CONTROL, Dossier, Journal
from bench_core.gate.workers.messages import SamplingPlan
from bench_core.records.gate import CellEvidence, Effect

CELL = CellEvidence("fills.time_fill(1)", "fills.time_fill", {"size": "1"}, "time", "seconds")
PLAN = SamplingPlan(number=3, alternations=4, blocks=1, warm=True)


@pytest.fixture
def journal(tmp_path):
    """With three pairs of one cell in it, and one of its control."""
    made = Journal(tmp_path / "evidence" / "x.jsonl")
    dossier = Dossier(CELL, plan=PLAN)
    for pair in range(3):
        made.add(dossier, Effect(pair, 0, 0.1 + 0.2, 1e-6, 2e-6, 4), 0.5, 40)
    made.add(Dossier(CELL, versions=CONTROL, plan=PLAN), Effect(3, 0, 0.0, 1e-6, 1e-6, 4), 0.5, 40)
    return made


def test_what_was_added_is_found_again(journal):
    dossier, control, other = (
        Dossier(CELL),
        Dossier(CELL, versions=CONTROL),
        Dossier(CellEvidence("x", "x", {}, "time", "")),
    )
    assert journal.load([dossier, control, other]).effects == 4
    assert [effect.pair for effect in dossier.effects] == [0, 1, 2]
    assert dossier.effects[0].log_ratio == 0.1 + 0.2
    assert (dossier.plan, dossier.spent) == (PLAN, 1.5)
    assert [effect.pair for effect in control.effects] == [3]
    assert other.effects == []


def test_cells_that_are_not_asked_for_stay_in_the_file(journal):
    assert journal.load([]).effects == 0
    assert journal.load([Dossier(CELL)]).effects == 3


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_last_line_that_was_cut_off_is_dropped_and_the_next_one_starts_anew(journal, cut):
    journal.path.write_bytes(journal.path.read_bytes()[:-cut])
    assert journal.load([Dossier(CELL), Dossier(CELL, versions=CONTROL)]).effects == 3
    journal.add(Dossier(CELL, plan=PLAN), Effect(9, 1, 0.0, 1.0, 1.0, 4), 0.1, 40)
    again = Dossier(CELL)
    journal.load([again])
    assert [effect.pair for effect in again.effects] == [0, 1, 2, 9]


@pytest.mark.parametrize(
    "line", ["{", "[]", "{}", '{"cell": "fills.time_fill(1)", "control": false, "effect": {"x": 1}}']
)
def test_a_damaged_line_is_named_with_the_way_out(journal, line):
    journal.path.write_text(line + "\n" + journal.path.read_text())
    with pytest.raises(BenchCoreError, match="x.jsonl, line 1, is damaged: .* Start anew with --fresh."):
        journal.load([Dossier(CELL)])


def test_what_is_forgotten_is_gone(journal):
    journal.forget({CELL.name})
    assert journal.load([Dossier(CELL)]).effects == 0
    journal.forget({CELL.name})


def test_every_effect_is_a_line_at_once(journal):
    assert [json.loads(line)["effect"]["pair"] for line in journal.path.read_text().splitlines()] == [0, 1, 2, 3]


def test_a_failed_cell_is_closed_and_says_so():
    dossier = Dossier(CELL)
    dossier.fail("gone", "head")
    assert dossier.closed
    assert (dossier.evidence.error, dossier.evidence.error_side) == ("gone", "head")


def test_two_gates_on_the_same_versions_do_not_write_at_once(journal):
    with (
        journal.alone(),
        pytest.raises(BenchCoreError, match="another gate on the same two versions is running here"),
        Journal(journal.path).alone(),
    ):
        pass


def test_evidence_that_cannot_be_locked_is_one_clear_error(journal):
    journal.path.with_suffix(".lock").mkdir()
    with pytest.raises(BenchCoreError, match="cannot be locked"), journal.alone():
        pass


def test_a_gate_that_has_ended_keeps_nobody_out(journal):
    with journal.alone():
        pass
    with Journal(journal.path).alone():
        assert journal.load([Dossier(CELL)]).effects == 3


def test_a_gate_that_was_killed_keeps_nobody_out(journal):
    code = f"import os; from {Journal.__module__} import Journal, Path\n"
    code += f"with Journal(Path({str(journal.path)!r})).alone():\n    os._exit(9)\n"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    with journal.alone():
        pass


def test_the_journal_of_an_earlier_release_is_read(journal):
    """It was written without the codec, NaN as such."""
    plan = '{"number": 3, "alternations": 4, "blocks": 1, "warm": true}'
    effect = '{"pair": 0, "parent": 0, "log_ratio": 0.3, "base": 1e-06, "head": 2, "samples": 4, "within": NaN, '
    effect += '"order": NaN, "forked_first": "head"}'
    line = (
        f'{{"cell": "{CELL.name}", "control": false, "plan": {plan}, "spent": 0.5, "family": 40, "effect": {effect}}}'
    )
    journal.path.write_text(line + "\n")
    dossier = Dossier(CELL)
    assert journal.load([dossier]).family == 40
    (found,) = dossier.effects
    assert (dossier.plan, found.head, found.forked_first, math.isnan(found.within)) == (PLAN, 2.0, "head", True)


def test_numbers_go_on_behind_those_of_cells_that_are_not_asked_for(journal):
    earlier = journal.load([])
    assert (earlier.effects, earlier.pair, earlier.parent) == (0, 4, 1)


def test_evidence_keeps_the_largest_family_that_it_was_seen_in(journal):
    assert journal.load([Dossier(CELL)]).family == 40
    assert journal.load([]).family == 0


def test_controls_of_earlier_gates_are_known_by_name(journal):
    assert journal.controls() == {CELL.name}


def test_what_is_forgotten_are_the_cells_that_are_measured_anew_and_damaged_lines(journal):
    other = CellEvidence("x", "x", {}, "time", "")
    journal.add(Dossier(other, plan=PLAN), Effect(4, 1, 0.0, 1.0, 1.0, 4), 0.1, 40)
    with journal.path.open("a") as file:
        file.write('damaged\n{"cell": 1}\n[]\n')
    journal.forget({CELL.name})
    assert journal.load([Dossier(CELL), Dossier(other)]).effects == 1
