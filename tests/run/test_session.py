"""Runs that are stored: what lies beside asv's results after each round, and what asv reads."""

import json
import os
import signal
import sys
from dataclasses import replace

import pytest
from asv.results import Results

from bench_core import git
from bench_core.asv_config import asv_config
from bench_core.errors import BenchCoreError
from bench_core.report import table
from bench_core.results.read import read
from bench_core.results.rounds import beside, read_rounds
from bench_core.run.session import RunRequest, run
from bench_core.timing.cells import SuiteDirectory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")

CASES = """
class Sum:
    rivals = "way"
    param_names = ["size", "way"]
    params = [["10", "300"], ["list", "generator", "fails"]]

    def setup(self, size, way):
        self.data = list(range(int(size)))

    def time_sum(self, size, way):
        if way == "fails":
            raise ValueError("planted")
        sum(self.data) if way == "list" else sum(x for x in self.data)


def time_skipped():
    sum(range(10))


def skip():
    raise NotImplementedError("not today")


time_skipped.setup = skip


def track_three():
    return 3
"""


def name(size, way):
    return f"f.Sum.time_sum('{size}', '{way}')"


@pytest.fixture(scope="module")
def repository(tmp_path_factory, repositories):
    root = tmp_path_factory.mktemp("project")
    package = f"cases_session_{root.parent.name.replace('-', '_')}_{root.name}"
    made = repositories(root)
    made.configure(project="p", dvcs="git", branches=["main"], benchmark_dir=package)
    return repositories.new(root, {f"{package}/__init__.py": "", f"{package}/f.py": CASES})


@pytest.fixture(scope="module")
def request_for(repository, two_rounds):
    suite = SuiteDirectory(asv_config(repository.config).suite)

    def made(pattern=None, *, commit=True, budget=60.0, **options):
        cells = suite.select(pattern)
        known = git.commit(repository.root, "HEAD") if commit else None
        return RunRequest(repository.config, suite, cells, known, "tester", budget, seed=1, **options)

    return made


def nothing(progress):
    pass


@pytest.fixture(scope="module")
def first(request_for):
    """A run of everything, and the result file as it was then."""
    found = run(request_for(), nothing)
    return found, read(found.path)


def test_what_a_run_has_found_out_lies_beside_asvs_results(first, repository):
    found, _ = first
    assert read_rounds(found.path).runs[0] == found.rounds
    stored = found.rounds
    assert (stored.machine, stored.commit) == ("tester", git.commit(repository.root, "HEAD"))
    assert stored.readings == {"f.track_three": 3}
    assert set(stored.failed) == {name(size, "fails") for size in ("10", "300")}
    assert stored.skipped == {"f.time_skipped": "not today"}
    assert (stored.unreached, stored.interrupted) == ((), False)
    assert stored.rounds == 2
    assert 0 < stored.seconds < 60


def test_runs_of_one_commit_at_once_keep_each_others_results(request_for):
    others = []

    def beside_it(progress):
        if not others:
            others.append(None)
            others[0] = run(replace(request_for("track_three"), machine="both"), nothing)

    found = run(replace(request_for("time_sum"), machine="both"), beside_it)
    assert read_rounds(found.path).runs == (others[0].rounds, found.rounds)
    assert {"f.track_three", "f.Sum.time_sum"} <= set(Results.load(str(found.path)).get_all_result_keys())


def test_asv_reads_the_value_of_each_cell_and_one_sample_for_each_round(first):
    found, _ = first
    loaded = Results.load(str(found.path))
    params = loaded.get_result_params("f.Sum.time_sum")
    samples = [one for one in loaded.get_result_samples("f.Sum.time_sum", params) if one]
    assert len(samples) == 4
    values = {value for value in loaded.get_result_value("f.Sum.time_sum", params) if value and value == value}
    assert len(values) == 4
    assert min(values) > 1e-8


def test_every_cell_that_is_read_back_knows_its_run_and_the_ways_are_ranked(first):
    found, file = first
    assert {cell.name: cell.rounds == found.rounds for cell in file.cells} == {
        **{name(size, way): True for size in ("10", "300") for way in ("list", "generator")},
        "f.track_three": False,
    }
    assert set(file.failed) == set(found.rounds.failed)
    ranked = {row.cell.name: row for row in table.results(file)}
    assert ranked[name("300", "generator")].ratio.middle > 1.3
    assert ranked[name("300", "list")].ratio.middle == 1


def test_a_later_run_of_some_cells_leaves_the_others_with_their_run(first, request_for):
    earlier, _ = first
    later = run(request_for("'10', '(list|generator)'"), nothing)
    assert later.path == earlier.path
    assert read_rounds(later.path).runs[-1] == later.rounds
    runs = {cell.name: cell.rounds for cell in read(later.path).cells}
    assert runs[name("10", "list")] == runs[name("10", "generator")] == later.rounds
    assert runs[name("300", "list")] == earlier.rounds


def test_without_a_commit_only_the_last_run_is_kept(request_for, repository):
    for _ in range(2):
        found = run(request_for("'10', 'list'", commit=False), nothing)
    assert found.path.is_relative_to(repository.root / ".asv")
    assert read_rounds(found.path).runs == (found.rounds,)
    assert found.rounds.commit is None


def test_each_round_is_stored_before_the_next_begins(request_for, repository, monkeypatch):
    monkeypatch.setattr("bench_core.run.schedule.FEW", 99)
    seen = []

    def interrupt_after_the_second(progress):
        if progress.round >= 3 and not seen:
            (file,) = (repository.root / ".asv").glob("*.rounds.jsonl")
            content = json.loads(file.read_text())
            visits = [len(group["visits"]) for group in content["groups"]]
            seen.append((content["rounds"] - progress.round, [count - progress.round for count in visits]))
            os.kill(os.getpid(), signal.SIGINT)

    found = run(request_for("'10', 'list'", commit=False), interrupt_after_the_second)
    assert seen == [(-1, [-1])]
    assert found.rounds.interrupted
    assert read_rounds(found.path).runs == (found.rounds,)
    assert len(found.rounds.groups[0].visits) >= 2


def interrupt(*_):
    raise KeyboardInterrupt


def test_an_interruption_before_anything_was_timed_says_so(request_for, monkeypatch):
    monkeypatch.setattr("bench_core.run.measure.Measurement._take_round", interrupt)
    with pytest.raises(BenchCoreError, match="interrupted before anything was timed; nothing is stored"):
        run(request_for(), nothing)


def test_a_run_keeps_a_damaged_line_of_an_earlier_one(first, request_for):
    found, _ = first
    text = beside(found.path).read_text()
    beside(found.path).write_text("damaged\n" + text)
    try:
        later = run(request_for("track_three"), nothing)
        assert beside(found.path).read_text().startswith("damaged\n" + text)
        assert read_rounds(found.path).runs[-1] == later.rounds
    finally:
        beside(found.path).write_text(text)


def test_what_cannot_be_written_is_refused_before_anything_is_measured(first, request_for):
    found, _ = first
    text = beside(found.path).read_text()
    beside(found.path).unlink()
    beside(found.path).mkdir()
    try:
        with pytest.raises(BenchCoreError, match="cannot be read and written: Is a directory"):
            run(request_for(budget=600.0), nothing)
    finally:
        beside(found.path).rmdir()
        beside(found.path).write_text(text)


def test_without_a_value_nothing_is_stored(request_for, repository):
    found = run(replace(request_for("fails"), machine="empty"), nothing)
    assert found.path is None
    assert set(found.rounds.failed) == {name(size, "fails") for size in ("10", "300")}
    assert not (repository.root / "results" / "empty").exists()


def test_the_default_budget_grows_with_the_cells(request_for):
    assert request_for("track", budget=None).seconds == pytest.approx(17.2)
    assert RunRequest(None, None, [None] * 1000, None).seconds == 217


def test_without_a_budget_every_cell_is_timed_in_two_rounds_however_long_it_takes(request_for, monkeypatch):
    monkeypatch.setattr("bench_core.run.session.SECONDS", 0.01)
    monkeypatch.setattr("bench_core.run.session.SECONDS_A_CELL", 0.0)
    found = run(request_for("'10', 'list'", budget=None, commit=False), nothing)
    assert found.rounds.unreached == ()
    assert all(len(group.visits) == 2 for group in found.rounds.groups)
