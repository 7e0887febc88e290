import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench_core.errors import BenchCoreError
from bench_core.gate.judge.gate import judge
from bench_core.records.gate import (
    Asked,
    Cause,
    CellEvidence,
    Change,
    Effect,
    GateRecord,
    GateSettings,
    GateVerdict,
    Instructions,
    JudgedCell,
    Judgement,
    Noise,
)
from bench_core.records.run import Interval
from bench_core.records.version import Commit, WorkingTree
from bench_core.results import gate_file

LATER = ("causes", "instructions", "code", "unfair", "besides", "creep", "asked")
"""Keys that the first files do not have."""

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "gate-json.md"

FILL = CellEvidence(
    "fills.Fill.time_fill(cpu, 8x4)",
    "fills.Fill.time_fill",
    {"device": "cpu", "size": "8x4"},
    "time",
    "seconds",
    effects=(
        Effect(0, 0, math.log(1.05) / 3, 1e-6, 1.05e-6, 40, within=0.1 / 3, order=-1e-17),
        Effect(1, 0, 0.1 + 0.2, 3e-6, 3.15e-6, 20, within=0.01, order=0.002, forked_first="head"),
        Effect(2, 1, 0.05, 2e-6, 2.1e-6, 20),
    ),
    spent=1.25,
)
NORM = CellEvidence(
    "fills.track_norm", "fills.track_norm", {}, "track", "ratio", (Effect(0, 0, math.nan, math.inf, -math.inf, 1),)
)
TIE = replace(FILL, name="ties.time_tie", benchmark="ties.time_tie", params={}, effects=FILL.effects[1:])
BROKEN = CellEvidence("fills.time_x", "fills.time_x", {}, "time", "seconds", error="KeyError: 1", error_side="head")

BASE = Commit("main", "a" * 40, "d" * 64, "b" * 64, ("bench_core",))
HEAD = WorkingTree("a" * 40, ("x.py", "y.py"), "e" * 64, "b" * 64, ("bench_core",))
RECORD = GateRecord(
    base=BASE,
    head=HEAD,
    settings=GateSettings(seed=7, pattern="fill", budget=math.inf, family=40),
    machine={"machine": "tester", "os": "Linux", "python": "3.11", "torch": "2.13"},
    date="2026-01-02T03:04:05+00:00",
    seconds=58.25,
    cells=(FILL, NORM, BROKEN),
    controls=(FILL, TIE),
    left_out={"fills.time_gpu": "needs cuda"},
    interrupted=True,
    resumed=3,
    first_pair=1,
    causes=(
        Cause(FILL.name, "more of it", (1.0, 2.0), (Change("f", "instructions", 1.0, 2.0),), without="so"),
        Cause(NORM.name, "not explained"),
    ),
    instructions=(Instructions(NORM.name, math.nan, math.nan, "it cannot be counted"),),
    asked=Asked(isolated=True, handed_on=("PROXY",), timeout=90.0),
)


def judged(verdict="pass", ratio=(0.99, 1.0, 1.02), detectable=0.03, **named):
    return Judgement(Interval(*ratio, confidence=0.98), verdict, "", detectable, **named)


UNKNOWN = judged("inconclusive", (0.0, math.nan, math.inf), math.inf)
VERDICT = GateVerdict(
    "regression",
    "1 of 3 cells slower",
    cells=(
        JudgedCell(FILL, judged("regression", (1.04, 1.05, 1.06), unit="parent", likeness=0.5)),
        JudgedCell(NORM, UNKNOWN),
        JudgedCell(BROKEN, judged("error")),
    ),
    controls=(JudgedCell(FILL, judged()), JudgedCell(TIE, replace(UNKNOWN, verdict="error"))),
    suite=judged(),
    control_differs=False,
    noise=Noise(0.01, 0.02, math.nan, 0.001, 0.002, math.nan),
)


def stored(tmp_path, record=RECORD, verdict=VERDICT):
    path = tmp_path / "gate.json"
    gate_file.write(path, record, verdict, 1)
    return path


def changed(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def test_a_record_is_read_back_exactly(tmp_path):
    assert repr(gate_file.read(stored(tmp_path))) == repr(RECORD)  # NaN differs from itself, its text does not


def test_the_comparison_with_a_past_version_is_read_back_as_exactly(tmp_path):
    past = replace(RECORD, base=replace(BASE, name="v1.2"), controls=())
    kept = gate_file.read(
        stored(tmp_path, replace(RECORD, past=past), replace(VERDICT, past=replace(VERDICT, controls=())))
    )
    assert repr(kept.past) == repr(past)


def test_a_file_from_before_anything_was_looked_into_is_read_too(tmp_path):
    older = changed(stored(tmp_path), lambda content: [content.pop(name) for name in LATER])
    found = gate_file.read(older)
    assert (found.causes, found.instructions, found.code, found.unfair) == ((), (), None, ())


def test_a_gate_of_two_installs_is_read_back_with_its_code(tmp_path):
    record = replace(RECORD, code=HEAD, unfair=("torch's build: CPU on base, CUDA 13.0 on head",), besides=("x 1 → 2",))
    path = tmp_path / "versus.json"
    gate_file.write(path, record, VERDICT, 1)
    found = gate_file.read(path)
    assert (found.code, found.unfair, found.besides) == (HEAD, record.unfair, record.besides)


def test_the_verdict_in_the_file_can_be_read(tmp_path):
    assert gate_file.stored_verdict(stored(tmp_path)) == "regression"


def test_the_file_has_neither_nan_nor_infinity(tmp_path):
    def refuse(name):
        raise AssertionError(name)

    json.loads(stored(tmp_path).read_text(), parse_constant=refuse)


def test_the_judgement_of_a_cell_is_beside_its_evidence():
    content = gate_file.to_json(RECORD, VERDICT, 1)
    cell = content["cells"][0]
    assert (cell["ratio"], cell["interval"], cell["decided_by"]) == (1.05, [1.04, 1.06], "parent")
    assert (cell["pairs"], cell["samples"]) == (3, 80)
    assert cell["seconds"] == {"base": 2e-6, "head": 2.1e-6}
    assert cell["effects"][2]["ratio"] == pytest.approx(math.exp(0.05))


def test_an_end_that_is_not_bounded_is_null():
    cell = gate_file.to_json(RECORD, VERDICT, 1)["cells"][1]
    assert (cell["ratio"], cell["interval"], cell["detectable"], cell["at_most"]) == (None, [None, None], None, None)


def test_a_ratio_that_no_float_holds_is_null():
    huge = replace(NORM, effects=(Effect(0, 0, 1e4, 1.0, 2.0, 1),))
    content = gate_file.to_json(replace(RECORD, cells=(huge,)), replace(VERDICT, cells=(JudgedCell(huge, UNKNOWN),)), 0)
    assert content["cells"][0]["effects"][0]["ratio"] is None


def test_the_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    (tmp_path / "gate.json").write_text("older")
    stored(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["gate.json"]
    assert gate_file.read(tmp_path / "gate.json").resumed == 3


def test_a_failed_write_leaves_the_older_file(tmp_path, monkeypatch):
    path = stored(tmp_path)

    def half(self, data):
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    before = path.read_text()
    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(BenchCoreError, match="cannot be written to .*No space left on device"):
        stored(tmp_path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "gate.json").symlink_to(tmp_path / "target.json")
    assert stored(tmp_path).is_symlink()
    assert (tmp_path / "target.json").is_file()


@pytest.mark.skipif(os.name != "posix", reason="named pipes of POSIX")
def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "gate.json")
    reader = os.open(tmp_path / "gate.json", os.O_RDONLY | os.O_NONBLOCK)
    stored(tmp_path)
    assert (tmp_path / "gate.json").is_fifo()
    assert json.loads(os.read(reader, 1 << 16))["exit_code"] == 1
    os.close(reader)


def test_a_folder_in_the_place_of_the_file_is_one_clear_error(tmp_path):
    (tmp_path / "gate.json").mkdir()
    with pytest.raises(BenchCoreError, match="cannot be written to .*directory.*--json"):
        stored(tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot be read: No such file.*--json FILE"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "not a result of the gate"),
        ('{"schema": 1}', "its schema is 1, not"),
        ('{"schema": "bench-core/gate/3"}', r"newer bench_core \(schema 3\); this one reads up to 1: upgrade"),
        (f'{{"schema": "bench-core/gate/{"9" * 5000}"}}', "not a result of the gate"),
    ],
)
def test_another_file_is_one_clear_error(tmp_path, text, complaint):
    path = tmp_path / "gate.json"
    if text is not None:
        path.write_text(text)
    for read in (gate_file.read, gate_file.stored_verdict):
        with pytest.raises(BenchCoreError, match=complaint):
            read(path)


DAMAGES = {  # the place, what was found there, and what is wanted
    "gate.json is damaged: its top level: lacks left_out": lambda c: c.pop("left_out"),
    "is damaged: control is no object": lambda c: c.pop("control"),
    "is damaged: base: 3 is not of type": lambda c: c.update(base=3),
    r'cells\[0\].effects\[1\].log_ratio: "a" is not of type float': lambda c: c["cells"][0]["effects"][1].update(
        log_ratio="a"
    ),
    r"cells\[1\].effects\[0\].pair: true is not of type int": lambda c: c["cells"][1]["effects"][0].update(pair=True),
    r"settings: lacks limit": lambda c: c["settings"].pop("limit"),
    r'cells\[0\].error_side: "left" is not of type "base" or "head"': lambda c: c["cells"][0].update(error_side="left"),
    r"cells: \{\} is not of type": lambda c: c.update(cells={}),
    "settings: error_rate is nan, not between": lambda c: c["settings"].update(error_rate=None),
    "settings: error_rate is 1e\\+308, not": lambda c: c["settings"].update(error_rate=1e308),
    "settings: pass_error is 0.0, not": lambda c: c["settings"].update(pass_error=0),
    "settings: noise_floor is nan, not": lambda c: c["settings"].update(noise_floor=None),
    "settings: limit is -1.0, not": lambda c: c["settings"].update(limit=-1),
    "settings: lanes is -3, not": lambda c: c["settings"].update(lanes=-3),
    "settings.family: 1000000000.* is not of type int": lambda c: c["settings"].update(family=10**400),
    "settings: budget is nan, not": lambda c: c["settings"].update(budget=None),
    r"cells\[0\].spent: 1000000000.* is not of type float": lambda c: c["cells"][0].update(spent=10**400),
    r"cells\[0\].params\['size'\]: 8 is not of type str": lambda c: c["cells"][0]["params"].update(size=8),
}


@pytest.mark.parametrize("complaint", DAMAGES)
def test_a_damaged_part_is_named(tmp_path, complaint):
    with pytest.raises(BenchCoreError, match=complaint):
        gate_file.read(changed(stored(tmp_path), DAMAGES[complaint]))


def test_a_verdict_that_there_is_not_is_an_error(tmp_path):
    with pytest.raises(BenchCoreError, match='verdict: "fine" is not of type'):
        gate_file.stored_verdict(changed(stored(tmp_path), lambda content: content.update(verdict="fine")))


def test_keys_that_are_not_known_are_ignored(tmp_path):
    def add(content):
        content["new"] = content["settings"]["new"] = content["cells"][0]["effects"][0]["new"] = 1

    assert gate_file.read(changed(stored(tmp_path), add)).cells[0].effects == FILL.effects


def test_every_key_is_documented():
    def keys(content):
        for name, value in content.items():
            yield name
            if name not in ("machine", "params", "left_out"):  # of which the names are data
                for item in value if isinstance(value, list) else [value]:
                    if isinstance(item, dict):
                        yield from keys(item)

    written = set(keys(gate_file.to_json(RECORD, VERDICT, 1)))
    assert written - set(re.findall(r"`(\w+)`", DOCUMENTATION.read_text())) == set()


def test_every_documented_key_is_written():
    text = json.dumps(gate_file.to_json(RECORD, VERDICT, 1))
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", DOCUMENTATION.read_text(), re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(documented) > 40
    assert {name for name in documented if f'"{name}":' not in text} == set()


# The ledger.


def with_difference(first=FILL):
    """A verdict whose first control found a difference, and the second none."""
    controls = (JudgedCell(first, judged("regression", (1.1, 1.2, 1.3))), JudgedCell(TIE, judged()))
    return replace(VERDICT, controls=controls, control_differs=True)


def ledger(tmp_path):
    return tmp_path / "tester" / "gate-controls.jsonl"


def test_a_gate_adds_one_line_on_its_controls(tmp_path):
    gate_file.append_controls(tmp_path, RECORD, with_difference())
    (line,) = ledger(tmp_path).read_text().splitlines()
    assert json.loads(line) == {
        "schema": 1,
        "date": RECORD.date,
        "base": "d" * 12,
        "head": "e" * 12,
        "seed": 7,
        "controls": 2,
        "rejected": 1,
        "cells": [
            {"name": FILL.name, "verdict": "regression", "ratio": 1.2, "pairs": 3},
            {"name": TIE.name, "verdict": "pass", "ratio": 1.0, "pairs": 2},
        ],
    }


def test_a_gates_verdict_is_added_to_the_history_of_its_machine(tmp_path):
    gate_file.append_summary(tmp_path, RECORD, VERDICT)
    gate_file.append_summary(tmp_path, RECORD, with_difference())
    path = tmp_path / "tester" / "gates.jsonl"
    whole = tmp_path / "gate.json"
    gate_file.write(whole, RECORD, VERDICT, 1)
    first, second = gate_file.summaries(path)
    assert first == gate_file.summary(whole, json.loads(whole.read_text()))
    assert second.verdict == VERDICT.verdict


def test_half_a_line_of_the_history_is_distinguished_from_a_wrong_one(tmp_path):
    path = tmp_path / "tester" / "gates.jsonl"
    gate_file.append_summary(tmp_path, RECORD, VERDICT)
    path.write_bytes(path.read_bytes()[:50])
    gate_file.append_summary(tmp_path, RECORD, VERDICT)
    assert [found is None for found in gate_file.summaries(path)] == [True, False]
    path.write_text('{"schema": "bench-core/gate/1"}\n')
    with pytest.raises(BenchCoreError, match=r"gates\.jsonl"):
        list(gate_file.summaries(path))


def test_a_gate_without_controls_adds_nothing(tmp_path):
    gate_file.append_controls(tmp_path, replace(RECORD, controls=()), replace(VERDICT, controls=()))
    assert list(tmp_path.iterdir()) == []


def test_a_control_without_pairs_of_this_gate_is_not_counted_again(tmp_path):
    older = replace(FILL, effects=FILL.effects[:1])
    gate_file.append_controls(tmp_path, replace(RECORD, controls=(older, TIE)), with_difference(older))
    assert [cell["name"] for cell in json.loads(ledger(tmp_path).read_text())["cells"]] == [TIE.name]
    found = gate_file.tally(tmp_path)
    assert (found.controls, found.rejected) == (1, 0)


def test_a_gate_that_measures_nothing_adds_nothing(tmp_path):
    gate_file.append_controls(tmp_path, replace(RECORD, first_pair=3), with_difference())
    assert list(tmp_path.iterdir()) == []


def test_a_control_that_could_not_have_found_a_difference_is_not_counted(tmp_path):
    gate_file.append_controls(tmp_path, RECORD, VERDICT)  # one passes, one failed
    assert gate_file.tally(tmp_path).controls == 1


def test_the_tally_sums_gates_and_bounds_the_share_of_controls_that_found_a_difference(tmp_path):
    gate_file.append_controls(tmp_path, RECORD, with_difference())
    gate_file.append_controls(tmp_path, RECORD, VERDICT)
    found = gate_file.tally(tmp_path)
    assert (found.gates, found.controls, found.rejected, found.damaged) == (2, 3, 1, 0)
    assert found.low == pytest.approx(0.0084, abs=1e-4)  # Clopper & Pearson for 1 of 3
    assert found.high == pytest.approx(0.9057, abs=1e-4)


def test_the_tally_is_of_one_machine_or_of_all(tmp_path):
    gate_file.append_controls(tmp_path, RECORD, with_difference())
    gate_file.append_controls(tmp_path, replace(RECORD, machine={"machine": "other"}), VERDICT)
    assert gate_file.tally(tmp_path).controls == 3
    assert gate_file.tally(tmp_path, "other").controls == 1


def test_without_a_ledger_nothing_is_known(tmp_path):
    assert gate_file.tally(tmp_path) == gate_file.Tally(0, 0, 0, 0.0, 1.0)


def test_a_line_that_a_power_cut_has_halved_is_skipped_and_counted(tmp_path):
    gate_file.append_controls(tmp_path, RECORD, VERDICT)
    with ledger(tmp_path).open("a") as file:
        file.write('{"date": "20')
    found = gate_file.tally(tmp_path)
    assert (found.gates, found.damaged) == (1, 1)


def test_the_line_after_a_halved_one_is_whole(tmp_path):
    ledger(tmp_path).parent.mkdir()
    ledger(tmp_path).write_text('{"date": "20')
    gate_file.append_controls(tmp_path, RECORD, VERDICT)
    found = gate_file.tally(tmp_path)
    assert (found.gates, found.damaged) == (1, 1)


@pytest.mark.parametrize("line", ['{"controls": 1}', "[]", '{"controls": 1, "rejected": 2}'])
def test_a_line_of_something_else_is_named(tmp_path, line):
    gate_file.append_controls(tmp_path, RECORD, VERDICT)
    with ledger(tmp_path).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(BenchCoreError, match="gate-controls.jsonl, line 2, is not a line that the gate writes"):
        gate_file.tally(tmp_path)


def test_a_ledger_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "tester").touch()
    with pytest.raises(BenchCoreError, match="controls cannot be added to"):
        gate_file.append_controls(tmp_path, RECORD, VERDICT)


def test_a_gate_on_values_without_a_ratio_is_valid_json_and_judged_alike_when_read_back(tmp_path):
    effects = tuple(Effect(pair, pair, math.nan, 0.0, 5.0, 1) for pair in range(4))
    record = replace(RECORD, cells=(replace(NORM, effects=effects),), controls=(), interrupted=False)
    verdict = judge(record)
    path = stored(tmp_path, record, verdict)
    (cell,) = json.loads(path.read_text(), parse_constant=pytest.fail)["cells"]
    assert (cell["verdict"], cell["ratio"], cell["seconds"]) == ("regression", None, {"base": 0.0, "head": 5.0})
    assert repr(judge(gate_file.read(path))) == repr(verdict)
