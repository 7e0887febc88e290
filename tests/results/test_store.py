"""A results folder as a whole, and everything that can be wrong with it."""

import json
import math
from dataclasses import replace

import pytest

from bench_core.codec import to_json
from bench_core.errors import BenchCoreError
from bench_core.records.accepted import ACCEPTED_SCHEMA, AcceptedRegression
from bench_core.records.gate import (
    CellEvidence,
    Effect,
    GateRecord,
    GateSettings,
    GateVerdict,
    JudgedCell,
    Judgement,
    Noise,
)
from bench_core.records.results import Circumstances
from bench_core.records.run import Interval
from bench_core.records.version import Commit
from bench_core.results import gate_file
from bench_core.results.accepted import FILE as ACCEPTED
from bench_core.results.store import CIRCUMSTANCES, INFINITE, append_circumstances, newest, read_store

NAME = "fills.Fill.time_fill"
ANOTHER = "fills.Fill.time_empty"
DECLARED = {
    "version": 2,
    **{
        name: {"name": name, "param_names": ["size"], "type": "time", "version": "v", "unit": "seconds"}
        for name in (NAME, ANOTHER)
    },
}
COLUMNS = ["result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b"]
NOON = 1_767_355_200_000  # 2026-01-02T12:00:00 UTC in asv's milliseconds


class Folder:
    """A results folder in the making."""

    def __init__(self, path):
        self.path = path
        path.mkdir()
        (path / "benchmarks.json").write_text(json.dumps(DECLARED))

    def machine(self, name):
        home = self.path / name
        home.mkdir(exist_ok=True)
        (home / "machine.json").write_text(json.dumps({"machine": name, "version": 1}))
        return home

    def run(self, machine="box", commit="a" * 40, seconds=1e-6, torch="2.13.0", date=NOON, version="v", **changes):
        content = {
            "commit_hash": commit,
            "env_name": f"installed-torch{torch}",
            "date": date,
            "params": {"machine": machine, "torch": torch},
            "result_columns": COLUMNS,
            "results": {NAME: [[seconds, None], [["8x4", "64x64"]], version, date + 60_000, 1.0, None, None]},
            "version": 2,
            **changes,
        }
        path = self.machine(machine) / f"{commit[:8]}-installed-torch{torch}.json"
        path.write_text(json.dumps(content))
        return path

    def read(self, *machines):
        return read_store(self.path, machines)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "results")


def gate_content(date="2026-01-02T03:04:05+00:00", machine="box"):
    cell = CellEvidence(
        f"{NAME}(8x4)", NAME, {"size": "8x4"}, "time", "seconds", effects=(Effect(0, 0, 0.1, 1e-6, 1.1e-6, 9),)
    )
    base = Commit("main", "a" * 40, "d" * 64, "b" * 64, ("fills",))
    head = replace(base, name="faster", hash="c" * 40)
    record = GateRecord(base, head, GateSettings(), {"machine": machine}, date, 5.0, (cell,))
    judged = (JudgedCell(cell, Judgement(Interval(1.05, 1.1, 1.2, 0.95), "regression", "", 0.02)),)
    noise = Noise(*[math.nan] * 6)
    return gate_file.to_json(record, GateVerdict("regression", "it is slower", judged, (), None, False, noise), 1)


def test_a_run_is_read_with_its_machine_commit_dates_environment_and_cells(folder):
    folder.run()
    (run,) = folder.read().runs
    assert (run.machine, run.commit, run.torch, run.environment) == ("box", "a" * 40, "2.13.0", "installed-torch2.13.0")
    assert (run.committed, run.measured) == ("2026-01-02T12:00:00+00:00", "2026-01-02T12:01:00+00:00")
    assert [cell.name for cell in run.cells] == [f"{NAME}(8x4)"]
    assert run.failed == (f"{NAME}(64x64)",)


@pytest.mark.parametrize("starts", [(60_000, 120_000), (120_000, 60_000)], ids=["rising", "falling"])
def test_a_run_was_measured_when_the_last_of_its_cells_was_begun(folder, starts):
    rows = {
        name: [[1e-6, None], [["8x4", "64x64"]], "v", NOON + start, 1.0, None, None]
        for name, start in zip((NAME, ANOTHER), starts, strict=True)
    }
    folder.run(results=rows)
    assert folder.read().runs[0].measured == "2026-01-02T12:02:00+00:00"


def test_runs_are_in_the_order_of_machines_and_commits(folder):
    folder.run("later", "1" * 40)
    folder.run("box", "3" * 40, date=NOON + 1000)
    folder.run("box", "4" * 40)
    assert [run.commit[0] for run in folder.read().runs] == ["4", "3", "1"]
    assert folder.read().machines == ("box", "later")


def test_the_times_that_a_gate_stored_for_asvs_pages_are_no_run(folder):
    path = folder.run()
    path.rename(path.with_name("aaaaaaaa-gate-py3.11.json"))
    folder.run(commit="b" * 40)
    store = folder.read()
    assert [run.commit for run in store.runs] == ["b" * 40]
    assert store.left_out == ()


def test_a_run_outside_the_history_has_neither_commit_nor_its_date(folder):
    folder.run(commit_hash="", date=0)
    (run,) = folder.read().runs
    assert (run.commit, run.committed) == (None, "")


def test_only_the_machines_that_were_asked_for_are_read(folder):
    folder.run("one")
    folder.run("two")
    (folder.path / "two" / "half.json").write_text("{")
    store = folder.read("one")
    assert (store.machines, store.left_out) == (("one",), ())


def test_a_result_outside_a_machines_folder_belongs_to_the_machine_that_it_names(folder):
    folder.run("box")
    (folder.run("other").parent / "machine.json").unlink()
    assert folder.read().machines == ("box", "other")
    assert folder.read("box").machines == ("box",)


def test_a_machine_that_there_is_not_is_an_error_that_names_those_that_there_are(folder):
    folder.run("one")
    folder.run("two")
    with pytest.raises(BenchCoreError, match=r"unknown machine 'tow'. Did you mean 'two'\? Known: one, two."):
        folder.read("tow")


def test_a_result_outside_the_history_is_read_beside_the_folder_or_without_it(folder, tmp_path):
    outside = Folder(tmp_path / "kept").run(commit_hash="", date=0)
    (run,) = read_store(folder.path, outside=outside).runs
    assert (run.machine, run.commit) == ("box", None)
    folder.run()
    assert len(read_store(folder.path, outside=outside).runs) == 2
    assert len(read_store(folder.path, outside=tmp_path / "kept" / "none.json").runs) == 1


def test_a_damaged_result_outside_the_history_is_named_by_its_folder(folder, tmp_path):
    folder.run()
    outside = Folder(tmp_path / "kept").path / "no-commit.json"
    outside.write_text("{")
    (left_out,) = read_store(folder.path, outside=outside).left_out
    assert left_out.source == "kept/no-commit.json"
    assert str(tmp_path) not in left_out.reason


def test_records_of_make_gpu_are_named_with_the_command_that_makes_results_of_the_same_cells(folder):
    folder.run()
    (folder.path / "gpu").mkdir()
    (folder.path / "gpu" / "gpu-nvidia-h100-2026-01-31T1405.jsonl").write_text("{}\n")
    (left_out,) = folder.read().left_out
    assert left_out.source == "gpu/gpu-nvidia-h100-2026-01-31T1405.jsonl"
    assert "docs/gpu.md" in left_out.reason
    assert "`bench-core run --param device=cuda`" in left_out.reason


@pytest.mark.parametrize("there", [True, False])
def test_an_empty_folder_says_how_to_get_results(tmp_path, there):
    if there:
        (tmp_path / "results").mkdir()
    with pytest.raises(BenchCoreError, match="there are no results in .*results. `bench-core run` writes some."):
        read_store(tmp_path / "results")


def test_a_folder_of_nothing_but_damaged_files_says_what_is_wrong_with_the_first(folder):
    folder.run().write_text("{")
    with pytest.raises(
        BenchCoreError, match=r"that can be read: box/aaaaaaaa-installed-torch2.13.0.json is left out \("
    ):
        folder.read()


def changed(**changes):
    return lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_text(path.read_text()[:-200]), "is not JSON"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is not JSON"),
        (lambda path: path.write_text("[]"), "its top level is no object"),
        (lambda path: path.write_text("{}"), "not a result file that asv 0.6 writes"),
        (lambda path: path.write_text(path.read_text().replace('[["8x4"', '[["8x4", "9x9"')), "not a result file"),
        (lambda path: path.write_text("[" * 100_000), "is not JSON"),
        (changed(params=None), "not a result file"),
        (changed(params=["box"]), "not a result file"),
        (changed(date="yesterday"), "'yesterday' is no date in milliseconds"),
        (changed(date=1e30), "1e+30 is no date in milliseconds"),
        (changed(commit_hash=7), "7 is no text"),
        (changed(results={NAME: [["fast", None], [["8x4", "64x64"]], "v"]}), "result has 'fast', which is no number"),
        (changed(results={NAME: [[10**400, None], [["8x4", "64x64"]], "v"]}), "not a result file"),
        (changed(results={NAME: [[1, None], [["8x4", "64x64"]], "v", "noon"]}), "'noon' is no date in milliseconds"),
        (lambda path: path.write_text(path.read_text().replace('"version": 2', '"version": 3')), "upgrade bench_core"),
        (lambda path: path.write_text(path.read_text().replace('"version": 2', '"version": 1')), "`asv update` brings"),
    ],
    ids=[
        *("half", "bytes", "list", "object", "columns", "deep", "no machine", "machine", "date", "year", "commit"),
        *("text", "huge", "started", "newer asv", "older asv"),
    ],
)
def test_a_file_that_cannot_be_read_is_left_out_by_name_and_the_others_are_there(folder, damage, reason):
    folder.run(commit="b" * 40)
    damage(folder.run())
    store = folder.read()
    assert [run.commit for run in store.runs] == ["b" * 40]
    (left_out,) = store.left_out
    assert left_out.source == "box/aaaaaaaa-installed-torch2.13.0.json"
    assert reason in left_out.reason


def test_what_is_left_out_is_named_without_the_folders_of_this_machine(folder):
    folder.run(commit="b" * 40)
    folder.run().write_text("{")
    assert str(folder.path) not in folder.read().left_out[0].reason


def test_a_machine_without_declarations_of_its_benchmarks_is_left_out(folder, tmp_path):
    folder.run()
    other = Folder(folder.path / "copied")
    other.run("stranger")
    (other.path / "benchmarks.json").unlink()
    store = folder.read()
    assert store.machines == ("box",)
    assert "copied/benchmarks.json cannot be read: No such file" in store.left_out[0].reason


def test_a_benchmark_that_has_changed_since_is_left_out_once_however_many_files_hold_it(folder):
    folder.run(commit="b" * 40)
    for commit in "cd":
        folder.run(commit=commit * 40, version="older")
    (left_out,) = folder.read().left_out
    assert left_out.source == NAME
    assert left_out.reason.endswith("in 2 result file(s)")


def test_an_infinite_value_is_none_and_is_named(folder):
    folder.run(seconds=math.inf)
    store = folder.read()
    assert store.runs[0].cells == ()
    assert f"{NAME}(8x4)" in store.runs[0].failed  # so no older value stands in its place
    assert [(left_out.source, left_out.reason) for left_out in store.left_out] == [
        (f"{NAME}(8x4)", f"{INFINITE}: in 1 result file(s)")
    ]


def test_json_that_is_no_result_and_in_no_machines_folder_is_ignored(folder):
    folder.run()
    (folder.path / "trials").mkdir()
    (folder.path / "trials" / "summary.json").write_text('{"cells": 3}')
    assert folder.read().left_out == ()


def test_trials_are_read_and_a_damaged_summary_is_left_out(folder):
    folder.run()
    for name, text in (
        ("box", '{"schema": 1, "machine": {"name": "box"}, "trials": {}, "figures": []}'),
        ("broken", '{"schema": 1}'),
    ):
        (folder.path / "trials" / name).mkdir(parents=True)
        (folder.path / "trials" / name / "summary.jsonl").write_text(text)
    store = folder.read()
    assert [tried.machine for tried in store.tried] == ["box"]
    assert [left_out.source for left_out in store.left_out] == ["trials/broken/summary.jsonl"]


def test_a_gates_file_is_found_in_any_folder_and_read_without_its_effects(folder):
    folder.run()
    (folder.path / "deep" / "down").mkdir(parents=True)
    (folder.path / "deep" / "down" / "my-gate-1.json").write_text(json.dumps(gate_content()))
    (gate,) = folder.read().gates
    assert (gate.machine, gate.summary.verdict, gate.summary.reason) == ("box", "regression", "it is slower")
    assert (gate.summary.base.name, gate.summary.head.commit) == ("main", "c" * 40)
    assert [(cell.name, cell.verdict) for cell in gate.summary.cells] == [(f"{NAME}(8x4)", "regression")]


def test_the_newest_run_is_the_one_measured_last_and_no_file_of_a_trial(folder):
    later = folder.run(commit="a" * 40, date=NOON + 1000)
    folder.run(commit="b" * 40, date=NOON)  # written last
    (folder.path / "trials").mkdir()
    (folder.path / "trials" / "upgrade.json").write_text(json.dumps(gate_content()))
    assert newest(folder.path) == later


def test_a_gate_in_the_history_and_in_its_own_file_is_read_once(folder):
    folder.run()
    first, second = (gate_content(date, "box") for date in ("2026-01", "2026-02"))
    lines = (folder.path / "box" / "gates.jsonl").open("w")
    with lines:
        lines.write("".join(json.dumps(each) + "\n" for each in (first, second)) + '{"schema": "ben')
    (folder.path / "mine.json").write_text(json.dumps(second))
    store = folder.read()
    assert [gate.summary.date for gate in store.gates] == ["2026-01", "2026-02"]
    assert [(each.source, each.reason) for each in store.left_out] == [
        ("box/gates.jsonl", "1 of its lines were cut off, as by a power cut")
    ]


def test_gates_of_one_date_and_base_with_different_heads_are_both_kept(folder):
    folder.run()
    first, second = gate_content(machine="box"), gate_content(machine="box")
    second["head"]["name"] = "slower"
    (folder.path / "box" / "gates.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (first, second)))
    assert {gate.summary.head.name for gate in folder.read().gates} == {"faster", "slower"}


def test_gates_are_in_the_order_of_their_dates_and_of_the_machines_that_were_asked_for(folder):
    folder.run()
    for number, (date, machine) in enumerate([("2026-03", "box"), ("2026-02", "box"), ("2026-01", "other")]):
        (folder.path / f"{number}.json").write_text(json.dumps(gate_content(date, machine)))
    assert [gate.summary.date for gate in folder.read("box").gates] == ["2026-02", "2026-03"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": "bench-core/gate/99"}, "written by a newer bench_core (schema 99)"),
        ({"verdict": "fine"}, "is damaged"),
    ],
)
def test_a_gate_of_a_newer_schema_or_a_damaged_one_is_left_out(folder, change, reason):
    folder.run()
    (folder.path / "gate.json").write_text(json.dumps({**gate_content(), **change}))
    store = folder.read()
    assert store.gates == ()
    assert store.left_out[0].source == "gate.json"
    assert reason in store.left_out[0].reason


LINE = {"date": "d", "base": "a", "head": "b", "seed": 1, "controls": 8, "rejected": 1, "cells": []}


def test_the_ledger_of_controls_is_tallied_for_each_machine(folder):
    folder.run()
    (folder.path / "box" / gate_file.LEDGER).write_text(f"{json.dumps(LINE)}\n" * 2)
    tally = folder.read().ledgers["box"]
    assert (tally.gates, tally.controls, tally.rejected) == (2, 16, 2)


def test_lines_of_the_ledger_that_were_cut_off_are_named(folder):
    folder.run()
    (folder.path / "box" / gate_file.LEDGER).write_text(f'{json.dumps(LINE)}\n{{"date": "d",\n')
    store = folder.read()
    assert store.ledgers["box"].gates == 1
    assert store.left_out[0].source == f"box/{gate_file.LEDGER}"


def test_a_ledger_that_cannot_be_read_is_left_out(folder):
    folder.run()
    (folder.path / "box" / gate_file.LEDGER).write_text('{"controls": "many"}\n')
    store = folder.read()
    assert store.ledgers == {}
    assert store.left_out[0].source == f"box/{gate_file.LEDGER}"


HERE = Circumstances(
    "2026-01-02T03:04:05+00:00", "a" * 40, {"L1d": 32768}, (("minor", "It is hot.", "Open a window."),)
)


def test_circumstances_are_read_back_as_they_were_appended(folder):
    folder.run()
    later = replace(HERE, date="2026-01-03T00:00:00+00:00", findings=())
    for each in (HERE, later):
        append_circumstances(folder.path / "box", each)
    assert folder.read().circumstances == {"box": (HERE, later)}


def test_a_line_goes_after_what_a_power_cut_has_left(folder):
    folder.run()
    append_circumstances(folder.path / "box", HERE)
    path = folder.path / "box" / CIRCUMSTANCES
    path.write_text(path.read_text()[:-20])
    append_circumstances(folder.path / "box", HERE)
    store = folder.read()
    assert store.circumstances["box"] == (HERE,)
    assert store.left_out[0].reason.startswith("line 1 cannot be read")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": 2}, "a newer bench_core wrote it (schema 2, this one reads 1): upgrade"),
        ({"schema": None}, "its schema is null"),
        ({"caches": None}, "caches: null is not of type"),
        ({"caches": {"L1d": math.inf}}, "caches['L1d']: Infinity is not of type int"),
        ({"findings": [["minor", "It is hot."]]}, "findings[0]: 2 items, not 3"),
    ],
)
def test_a_line_of_circumstances_that_is_newer_or_damaged_is_left_out(folder, change, reason):
    folder.run()
    append_circumstances(folder.path / "box", HERE)
    path = folder.path / "box" / CIRCUMSTANCES
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    store = folder.read()
    assert store.circumstances == {}
    assert reason in store.left_out[0].reason


def test_circumstances_that_cannot_be_written_are_one_clear_error(tmp_path):
    (tmp_path / CIRCUMSTANCES).mkdir()
    with pytest.raises(BenchCoreError, match="cannot be added to .*doctor.jsonl: Is a directory"):
        append_circumstances(tmp_path, HERE)


def test_asv_does_not_see_the_circumstances(folder, caplog):
    from asv.results import iter_results

    folder.run(requirements={}, env_vars={}, python="3.11", durations={})
    append_circumstances(folder.path / "box", HERE)
    assert len(list(iter_results(str(folder.path)))) == 1
    assert caplog.records == []


def test_each_file_is_parsed_once_and_the_declarations_once_a_machine(folder, monkeypatch):
    for number in range(5):
        folder.run(commit=f"{number}" * 40)
    parsed = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text, **options: parsed.append(text) or loads(text, **options))
    assert len(folder.read().runs) == 5
    assert len(parsed) == 5 + len(["benchmarks.json", "machine.json"])


def test_accepted_regressions_are_read_and_a_damaged_file_of_them_is_left_out(folder):
    folder.machine("box")
    folder.run()
    assert read_store(folder.path).accepted == ()
    accepted = AcceptedRegression(12, "a" * 40, "b" * 40, "maintainer", "2026-01-02T03:04:05Z", "ok", ("a.A.time_a",))
    line = json.dumps({"schema": ACCEPTED_SCHEMA, **to_json(accepted)})
    (folder.path / ACCEPTED).write_text(line + "\n")
    assert read_store(folder.path).accepted == (accepted,)
    (folder.path / ACCEPTED).write_text(line + "\n" + line[:-9] + "\n")
    (one,) = read_store(folder.path).left_out
    assert (one.source, "line 2" in one.reason) == (ACCEPTED, True)
