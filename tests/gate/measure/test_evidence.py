import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from bench_core.errors import BenchCoreError
from bench_core.gate.judge.rule import fewest
from bench_core.gate.measure import evidence
from bench_core.gate.measure.discover import Found
from bench_core.gate.measure.evidence import COMPARED, CONTROL, PAST, Dossier, Journal, Known, sentinels
from bench_core.records.gate import CellEvidence, Effect, GateSettings
from bench_core.workers.messages import Sampling, SamplingPlan

CELL = CellEvidence("fills.time_fill(1)", "fills.time_fill", {"size": "1"}, "time", "seconds")
PLAN = SamplingPlan(alternations=4, blocks=1, places=(Sampling(3, warm=True), Sampling(2, warm=False)))


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
    with pytest.raises(
        BenchCoreError, match="x.jsonl, line 1, cannot be used: .* Delete the line, or start anew with --fresh."
    ):
        journal.load([Dossier(CELL)])


def test_lines_of_earlier_versions_are_read_and_those_of_newer_ones_refused(journal):
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert {line.pop("schema") for line in lines} == {1}
    journal.path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert journal.load([Dossier(CELL)]).effects == 3
    journal.path.write_text(json.dumps({**lines[0], "schema": 2}) + "\n")
    with pytest.raises(BenchCoreError, match="line 1, cannot be used: a newer bench_core wrote it .schema 2"):
        journal.load([Dossier(CELL)])


def test_the_evidence_of_the_newest_versions_is_kept_and_that_of_this_gate(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "KEPT_JOURNALS", 2)
    for age, name in enumerate(("own", "new", "older", "old")):
        for suffix in (".jsonl", ".lock"):
            (tmp_path / f"{name}{suffix}").touch()
        os.utime(tmp_path / f"{name}.jsonl", (1000 - age, 1000 - age))
    os.utime(tmp_path / "own.jsonl", (1, 1))
    evidence.keep_newest_evidence(tmp_path, besides="own")
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == ["new.jsonl", "older.jsonl", "own.jsonl"]
    assert not (tmp_path / "old.lock").exists()


def test_what_is_forgotten_is_gone(journal):
    journal.forget({CELL.name})
    assert journal.load([Dossier(CELL)]).effects == 0
    journal.forget({CELL.name})


def test_every_effect_is_a_line_at_once(journal):
    assert [json.loads(line)["effect"]["pair"] for line in journal.path.read_text().splitlines()] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("effect", "samples", 0),
        ("effect", "within", 1e200),
        ("effect", "setups", 1e200),
        ("effect", "lasted", 1e308),
        ("effect", "log_ratio", 1e300),
        ("plan", "alternations", 0),
        ("plan", "blocks", -1),
        ("plan", "places", []),
        ("plan", "setup", -0.002),
        (None, "spent", -5),
        (None, "spent", 1e308),
    ],
)
def test_numbers_that_no_pair_can_have_are_refused_by_name(journal, part, name, value):
    lines = journal.path.read_text().splitlines()
    first = json.loads(lines[0])
    (first[part] if part else first)[name] = value
    journal.path.write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    with pytest.raises(BenchCoreError, match=f"line 1.*{'plan' if part == 'plan' else name}.* cannot be"):
        journal.load([Dossier(CELL)])


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


def test_a_journal_that_was_written_without_the_codec_is_read(journal):
    """NaN is written as such."""
    places = '[{"number": 3, "warm": true}, {"number": 2, "warm": false}]'
    plan = f'{{"alternations": 4, "blocks": 1, "places": {places}}}'
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


def test_numbers_continue_after_those_of_cells_that_are_not_selected(journal):
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


def test_one_timed_cell_of_each_family_is_a_sentinel():
    cells = [
        CellEvidence(f"{family}.{kind}_{letter}", f"{family}.{kind}_{letter}", {}, kind, "seconds")
        for family in ("copy", "fill", "sizes")
        for kind in (("track",) if family == "sizes" else ("time", "track"))
        for letter in "abcdef"
    ]
    chosen = [sentinels(cells, seed) for seed in range(20)]
    assert all([(cell.family, cell.kind) for cell in found] == [("copy", "time"), ("fill", "time")] for found in chosen)
    assert len({found[0].name for found in chosen}) > 1


OTHER = CellEvidence("fills.time_other", "fills.time_other", {}, "time", "seconds")
TRACKED = CellEvidence("sizes.track_it", "sizes.track_it", {}, "track", "unit")


@pytest.fixture
def known(tmp_path):
    """Makes what a gate knows of these cells."""

    def made(*cells, past=None, **settings):
        found = Found(cells, {}, (), (), [], on_accelerator=False)
        if past is not None:
            found = replace(found, past=replace(found, cells=past))
        return Known(found, GateSettings(**settings), Journal(tmp_path / "main"), Journal(tmp_path / "past"))

    return made


def add(evidence, dossier, pairs, log_ratio=0.0, family=1):
    for pair in pairs:
        evidence.journal.add(dossier, Effect(pair, pair, log_ratio, 1.0, 1.0, 4), 0.5, family)


def test_controls_are_the_sentinels_of_today_and_those_of_earlier_gates_which_are_measured_no_further(known):
    by_seed = {known(CELL, OTHER, seed=seed).controls[0].cell.name: seed for seed in range(20)}
    first = known(CELL, OTHER, seed=by_seed[CELL.name])
    add(first.main, first.controls[0], range(2))
    again = known(CELL, OTHER, seed=by_seed[OTHER.name])
    assert [(one.cell.name, one.closed, len(one.effects)) for one in again.controls] == [
        (OTHER.name, False, 0),
        (CELL.name, True, 2),
    ]
    same = known(CELL, OTHER, seed=by_seed[CELL.name])
    assert [(one.cell.name, one.closed, len(one.effects)) for one in same.controls] == [(CELL.name, False, 2)]
    assert again.effects == same.effects == again.main.earlier.effects == 2


def test_a_cell_that_earlier_gates_have_decided_is_closed_from_the_start(known):
    enough = fewest(GateSettings.pass_error)
    one = known(CELL)
    add(one.main, one.dossiers[0], range(enough - 1))
    assert [(dossier.closed, dossier.judgement.decided) for dossier in known(CELL).dossiers] == [(False, False)]
    add(one.main, one.dossiers[0], [enough])
    assert [(dossier.closed, dossier.judgement.decided) for dossier in known(CELL).dossiers] == [(True, True)]


@pytest.mark.parametrize(("asked", "earlier", "family"), [(0, 1, 2), (7, 1, 7), (0, 9, 9), (7, 9, 9)])
def test_the_family_is_that_which_is_asked_for_or_the_timed_cells_or_that_of_earlier_gates_if_larger(
    known, asked, earlier, family
):
    one = known(CELL, OTHER, TRACKED)
    add(one.main, one.dossiers[0], [0], family=earlier)
    assert known(CELL, OTHER, TRACKED, family=asked).main.settings.family == family


def test_the_past_version_has_evidence_and_a_family_of_its_own(known):
    found = known(CELL, past=(CELL, OTHER), family=40)
    assert found.compared == [found.main, found.past]
    assert (found.main.settings.family, found.past.settings.family) == (40, 2)
    assert [(one.cell.name, one.versions) for one in found.dossiers] == [
        (CELL.name, COMPARED),
        (CELL.name, PAST),
        (OTHER.name, PAST),
    ]
    add(found.past, found.dossiers[1], range(3))
    add(found.main, found.controls[0], [0])
    again = known(CELL, past=(CELL, OTHER))
    assert again.effects == 4
    assert {name: len(one.effects) for name, one in again.of(PAST).items()} == {CELL.name: 3, OTHER.name: 0}
    assert {name: len(one.effects) for name, one in again.of(CONTROL).items()} == {CELL.name: 1}
    assert {name: len(one.effects) for name, one in again.of(COMPARED).items()} == {CELL.name: 0}
    assert again.evidence_of(again.dossiers[1]) is again.past
    assert again.evidence_of(again.dossiers[0]) is again.evidence_of(again.controls[0]) is again.main


def test_without_a_past_version_there_is_one_evidence(known):
    found = known(CELL)
    assert (found.past, found.compared) == (None, [found.main])


def test_a_past_version_without_a_journal_is_not_measured(tmp_path):
    found = Found((CELL,), {}, (), (), [], on_accelerator=False)
    found = replace(found, past=found)
    assert Known(found, GateSettings(), Journal(tmp_path / "main"), None).past is None


def test_cells_that_skip_themselves_are_no_evidence(known):
    found = known(CELL, OTHER)
    found.main.skipped[CELL.name] = "no device"
    assert [cell.name for cell in found.main.cells] == [OTHER.name]


def test_a_control_fails_on_neither_side():
    dossier = Dossier(CELL, versions=CONTROL)
    dossier.fail("gone", "head")
    assert (dossier.error, dossier.error_side, dossier.closed) == ("gone", None, True)


def test_what_is_known_of_a_cell_goes_into_its_record():
    dossier = Dossier(CELL, effects=[Effect(0, 0, 0.1, 1.0, 1.0, 4)], spent=2.5)
    assert (dossier.evidence.effects, dossier.evidence.spent, dossier.evidence.error) == (
        tuple(dossier.effects),
        2.5,
        None,
    )


def test_a_damaged_line_is_named_by_its_number(journal):
    lines = journal.path.read_text().splitlines(keepends=True)
    journal.path.write_text("".join([lines[0], lines[1], "damaged\n", lines[2]]))
    with pytest.raises(BenchCoreError, match="line 3, cannot be used"):
        journal.load([Dossier(CELL)])
