"""The gate's times as asv's results, in a real repository."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
from asv.results import Results

from bench_core.asv_config import asv_config
from bench_core.errors import BenchCoreError
from bench_core.records.gate import CellEvidence, Effect, GateRecord, GateSettings
from bench_core.records.run import Interval
from bench_core.records.version import Commit, WorkingTree
from bench_core.results import asv_gate, asv_run
from bench_core.results.read import read
from bench_core.timing.cells import SuiteDirectory

MACHINE = {
    **{"machine": "tester", "os": "Linux", "arch": "", "cpu": "", "num_cpu": "2", "ram": "1"},
    **{"python": "3.11", "torch": "2.13", "numpy": "2"},
}


@pytest.fixture
def commits(project, repositories):
    repository = repositories(project)
    return repository.git("rev-parse", "HEAD"), repository.commit()


def cell(idiom, size, times, **named):
    effects = tuple(Effect(i, i, math.log(head / base), base, head, 10) for i, (base, head) in enumerate(times))
    params = {"device": "'cpu'", "idiom": f"'{idiom}'", "size": f"'{size}'"}
    name = f"fills.Fill.time_fill({', '.join(params.values())})"
    return CellEvidence(name, "fills.Fill.time_fill", params, "time", "seconds", effects, 1.5, **named)


def of_suite(suite, *cells):
    """The parameters as this suite prints them."""
    params = {tuple(v.strip("'") for v in known.params.values()): known for known in suite.cells if known.params}
    known = [params[tuple(v.strip("'") for v in cell.params.values())] for cell in cells]
    return tuple(replace(c, name=k.name, params=k.params) for c, k in zip(cells, known, strict=True))


def gate(project, commits, *cells, **changes):
    suite = SuiteDirectory(asv_config(project / "asv.conf.json").suite)
    base, head = (Commit(name, commit, "d", "b") for name, commit in zip("xy", commits, strict=True))
    record = GateRecord(
        base, head, GateSettings(), MACHINE, "2026-01-02T03:04:05+00:00", 9.0, of_suite(suite, *cells), **changes
    )
    return suite, record


def store(project, suite, record):
    return asv_gate.store(record, project / "results", project / "asv.conf.json", suite.declared)


TIMES = [(1e-6, 2e-6), (3e-6, 6e-6), (2e-6, 5e-6)]


def test_each_side_is_stored_under_its_commit_in_a_separate_environment(project, commits):
    paths = store(project, *gate(project, commits, cell("as_is", "8x4", TIMES)))
    assert [path.name for path in paths] == [f"{commit[:8]}-gate-py3.11-numpy2-torch2.13.json" for commit in commits]
    assert [path.parent for path in paths] == [project / "results" / "tester"] * 2


def test_inside_a_hook_of_another_repository_each_side_is_stored_under_its_own_commit(
    project, commits, repositories, tmp_path_factory, monkeypatch
):
    other = repositories.new(tmp_path_factory.mktemp("other"), {"a": ""})
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    paths = store(project, *gate(project, commits, cell("as_is", "8x4", TIMES)))
    assert [json.loads(path.read_text())["commit_hash"] for path in paths] == list(commits)


def test_what_asv_draws_as_html_is_stored_as_text(project, commits):
    suite, record = gate(project, commits, cell("as_is", "8x4", TIMES))
    suite.declared[:] = [{**one, "code": "a <b", "unit": "<i>s", "pretty_name": "</p>"} for one in suite.declared]
    store(project, suite, record)
    stored = json.loads((project / "results/benchmarks.json").read_text())["fills.Fill.time_fill"]
    assert [stored[key] for key in ("code", "unit", "pretty_name")] == ["a <\u200bb", "<\u200bi>s", "<\u200b/p>"]
    assert stored["param_names"] == ["device", "idiom", "size"]


def test_the_value_is_the_median_over_the_pairs_of_that_side(project, commits):
    suite, record = gate(project, commits, cell("as_is", "8x4", TIMES))
    base, head = (read(path, suite.declared).cells for path in store(project, suite, record))
    assert [found.value.middle for found in (*base, *head)] == [2e-6, 5e-6]
    assert base[0].name == record.cells[0].name


def test_combinations_that_were_not_measured_are_not_a_number(project, commits):
    path, _ = store(project, *gate(project, commits, cell("twice", "8x4", TIMES)))
    (row,) = json.loads(path.read_text())["results"].values()
    assert sum(math.isnan(value) for value in row[0]) == 7
    assert None not in row[0]


def test_a_later_gate_adds_to_an_earlier_one(project, commits):
    store(project, *gate(project, commits, cell("as_is", "8x4", TIMES)))
    suite, record = gate(project, commits, cell("twice", "8x4", TIMES))
    path, _ = store(project, suite, record)
    assert len(read(path, suite.declared).cells) == 2


def test_what_failed_on_one_side_is_a_failure_of_that_side_and_leaves_the_other_as_it_was(project, commits):
    store(project, *gate(project, commits, cell("as_is", "8x4", TIMES)))
    suite, record = gate(project, commits, cell("as_is", "8x4", [], error="KeyError", error_side="head"))
    base, head = (read(path, suite.declared) for path in store(project, suite, record))
    assert [found.value.middle for found in base.cells] == [2e-6]
    assert (head.cells, head.failed) == ((), (record.cells[0].name,))


def test_a_cell_without_pairs_is_not_stored(project, commits):
    path, _ = store(project, *gate(project, commits, cell("as_is", "8x4", [])))
    assert json.loads(path.read_text())["results"] == {}


def test_a_value_that_is_no_time_is_stored_as_it_is(project, commits):
    cases = asv_config(project / "asv.conf.json").suite / "fills.py"
    cases.write_text(cases.read_text() + "\n\ndef track_norm():\n    return 1\n")
    suite, record = gate(project, commits)
    norm = CellEvidence("fills.track_norm", "fills.track_norm", {}, "track", "unit", (Effect(0, 0, 0.0, 3.5, 4.5, 1),))
    _, path = store(project, suite, replace(record, cells=(norm,)))
    assert [(found.name, found.value.middle) for found in read(path, suite.declared).cells] == [(norm.name, 4.5)]


def test_a_working_tree_has_no_place_in_the_history(project, commits):
    suite, record = gate(project, commits, cell("as_is", "8x4", TIMES))
    paths = store(project, suite, replace(record, head=WorkingTree(record.head.hash, ("x.py",), "d", "b")))
    assert [path.name[:8] for path in paths] == [commits[0][:8]]


def test_a_gate_on_itself_stores_one_file(project, commits):
    paths = store(project, *gate(project, (commits[0], commits[0]), cell("as_is", "8x4", TIMES)))
    assert len(paths) == 1


def test_identical_versions_store_nothing(project, commits):
    assert store(project, *gate(project, commits, identical="same code")) == []
    assert not (project / "results").exists()


def test_a_commit_that_the_repository_does_not_know_is_one_clear_error(project):
    with pytest.raises(BenchCoreError, match="times of ffffffff cannot be stored.*no such commit"):
        store(project, *gate(project, ("f" * 40, "f" * 40), cell("as_is", "8x4", TIMES)))


def test_the_machine_is_described_unless_it_is_already(project, commits):
    suite, record = gate(project, commits, cell("as_is", "8x4", TIMES))
    store(project, suite, record)
    path = project / "results" / "tester" / "machine.json"
    assert json.loads(path.read_text())["num_cpu"] == "2"
    path.write_text("as it was")
    store(project, suite, record)
    assert path.read_text() == "as it was"


def test_asv_shows_the_results_apart_from_those_of_a_run(project, commits):
    suite, record = gate(project, commits, cell("as_is", "8x4", TIMES))
    cells = [known for known in suite.select("as_is.*8x4") if known.why_not is None]
    options = {"commit": commits[1], "machine": "tester"}
    run = asv_run.ResultsOfRun(project / "asv.conf.json", suite.declared, cells, **options)
    time = asv_run.StoredTime(Interval(1e-6, 2e-6, 3e-6, 0.99), (2e-6,), 100)
    run.put(asv_run.StoredValues({cell.name: time for cell in cells}, {}, {}, {}))
    _, path = store(project, suite, record)
    assert run.path != path
    assert Results.load(str(path)).params["sampling"] == "gate"
    assert "sampling" not in Results.load(str(run.path)).params
    command = [sys.executable, "-m", "asv", "show", commits[1], "--machine", "tester"]
    shown = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout
    assert "fills.Fill.time_fill [tester/gate-py3.11-numpy2-torch2.13]" in shown
    assert "fills.Fill.time_fill [tester/installed-" in shown
