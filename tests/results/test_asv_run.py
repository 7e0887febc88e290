"""What a run stores, as asv reads it."""

import importlib.metadata
import itertools
import json
import math
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from asv.results import Results

from bench_core import git
from bench_core.asv_config import asv_config
from bench_core.errors import BenchCoreError
from bench_core.records.run import Interval
from bench_core.results import asv_run
from bench_core.results.read import read
from bench_core.timing.cells import SuiteDirectory

FAST = {"rounds": 1, "warmup_time": 0, "sample_time": 0.0005}


def head(project):
    return git.commit(project, "HEAD")


def storing(project, pattern=None, **options):
    """The suite, its cells by name, and where the results of a run of these cells are stored."""
    suite = SuiteDirectory(asv_config(project / "asv.conf.json").suite)
    cells = [cell for cell in suite.select(pattern) if cell.why_not is None]
    options = {"commit": head(project), "machine": "tester", **options}
    return cells, asv_run.ResultsOfRun(project / "asv.conf.json", suite.declared, cells, **options)


def time(seconds, *samples, number=1000):
    return asv_run.StoredTime(Interval(0.9 * seconds, seconds, 1.1 * seconds, 0.99), samples or (seconds,), number)


def put(project, pattern=None, *, times=None, values=None, failed=None, skipped=None, **options):
    """Store this; without `times`, a microsecond for every cell. Returns the result file."""
    cells, stored = storing(project, pattern, **options)
    every = {cell.name: time(1e-6) for cell in cells}
    stored.put(asv_run.StoredValues(every if times is None else times, values or {}, failed or {}, skipped or {}))
    return stored.path


def fill(idiom, size):
    return f"fills.Fill.time_fill(cpu, {idiom}, {size})"


def test_results_are_stored_under_the_commit_and_named_by_versions_and_not_by_paths(project):
    path = put(project)
    assert path.parent == project / "results" / "tester"
    assert re.fullmatch(rf"{head(project)[:8]}-installed-py3\.\d+-numpy[\w.]+-torch[\w.+]+\.json", path.name)
    assert str(project) not in path.read_text()
    assert read(path).machine["machine"] == "tester"


def test_a_time_is_read_back_with_its_interval_its_samples_and_its_declarations(project):
    found = time(2e-6, 1.9e-6, 2.2e-6, 2.4e-6)
    cells = {cell.name: cell for cell in read(put(project, "as_is", times={fill("as_is", "64x64"): found})).cells}
    assert list(cells) == [fill("as_is", "64x64")]
    cell = cells[fill("as_is", "64x64")]
    # ours, and not the median of the samples, which asv would store
    assert (cell.value.low, cell.value.middle, cell.value.high) == pytest.approx((1.8e-6, 2e-6, 2.2e-6))
    assert (cell.samples, cell.number) == (3, 1000)
    assert (cell.reads, cell.writes, cell.rivals, cell.moved_bytes) == (0, 1, "idiom", 64 * 64 * 4)


def test_a_second_run_of_other_cells_adds_to_the_first(project):
    put(project, "8x4")
    path = put(project, "as_is|Later")
    assert {cell.name for cell in read(path).cells} == {
        "fills.Later.time_sum",
        *(fill(idiom, "8x4") for idiom in ("as_is", "twice")),
        fill("as_is", "64x64"),
    }


def test_what_a_run_did_not_reach_keeps_its_earlier_value(project):
    put(project, "8x4")
    path = put(project, "8x4", times={fill("twice", "8x4"): time(5e-6)})
    values = {cell.name: cell.value.middle for cell in read(path).cells}
    assert values == {fill("as_is", "8x4"): 1e-6, fill("twice", "8x4"): 5e-6}


def test_what_skips_itself_now_has_no_value_any_more(project):
    put(project, "8x4")
    file = read(put(project, "8x4", times={}, skipped={fill("twice", "8x4"): "not today"}))
    assert ([cell.name for cell in file.cells], file.failed) == ([fill("as_is", "8x4")], ())


def test_what_failed_is_a_failure_for_asv_and_the_others_of_its_benchmark_keep_their_values(project):
    path = put(project, "8x4", times={fill("as_is", "8x4"): time(1e-6)}, failed={fill("twice", "8x4"): "call: planted"})
    assert [cell.name for cell in read(path).cells] == [fill("as_is", "8x4")]
    assert read(path).failed == (fill("twice", "8x4"),)


def test_each_round_replaces_what_the_round_before_has_stored(project):
    cells, stored = storing(project, "Later")
    for seconds in (1e-6, 2e-6):
        stored.put(asv_run.StoredValues({cells[0].name: time(seconds)}, {}, {}, {}))
    assert [cell.value.middle for cell in read(stored.path).cells] == [2e-6]


def test_a_time_with_unknown_ends_is_stored_and_read_as_such(project):
    unknown = asv_run.StoredTime(Interval(-math.inf, 1e-6, math.inf, 0.99), (1e-6,), 1)
    (cell,) = read(put(project, "Later", times={"fills.Later.time_sum": unknown})).cells
    assert (cell.value.middle, cell.value.known) == (1e-6, False)


def test_a_tracked_value_is_stored_as_it_is(project):
    cases = asv_config(project / "asv.conf.json").suite / "fills.py"
    cases.write_text(cases.read_text() + "\n\ndef track_norm():\n    return 1\n")
    (cell,) = read(put(project, "track", times={}, values={"fills.track_norm": -3.5})).cells
    assert (cell.kind, cell.value.middle) == ("track", -3.5)


def test_without_a_commit_results_stay_out_of_the_history(project):
    path = put(project, "8x4", commit=None)
    assert path == project / ".asv" / asv_run.WITHOUT_COMMIT
    assert not (project / "results").exists()
    assert len(read(path).cells) == 2


def test_asv_loads_what_we_stored(project):
    path = put(project, "8x4", times={fill("as_is", "8x4"): time(2e-6, 1e-6, 3e-6)})
    loaded = Results.load(str(path))
    (name,) = loaded.get_all_result_keys()
    params = loaded.get_result_params(name)
    at = list(itertools.product(*params)).index(("'cpu'", "'as_is'", "'8x4'")) if "'cpu'" in params[0] else None
    values = loaded.get_result_value(name, params)
    assert [value for value in values if value == value] == [2e-6]
    samples = loaded.get_result_samples(name, params)
    assert [found for found in samples if found is not None] == [[1e-6, 3e-6]]
    assert at is None or values[at] == 2e-6


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_an_unwritable_results_folder_is_one_clear_error(project, monkeypatch):
    (project / "results").mkdir()
    (project / "results").chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.geteuid() == 0:  # root may write anywhere: let the system call answer as it does for others
        monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(BenchCoreError, match="results cannot be stored in results: Permission denied"):
        put(project, "8x4")


def refuse(*_):
    raise PermissionError(13, "Permission denied")


def test_a_tree_with_edited_benchmarks_has_no_commit_to_pin_to_and_one_with_new_results_has(project):
    (project / "results").mkdir()
    (project / "results" / "new.json").write_text("{}")
    (project / "README.md").touch()
    (project / "bench-core-report.html").touch()
    assert asv_run.commit_to_pin(project / "asv.conf.json") == (head(project), "")
    (project / "library.py").touch()
    assert asv_run.commit_to_pin(project / "asv.conf.json") == (None, "there are uncommitted changes (library.py)")


def test_inside_a_hook_of_another_repository_results_are_stored_under_the_suites_own_commit(
    project, repositories, tmp_path_factory, monkeypatch
):
    own = head(project)
    other = repositories.new(tmp_path_factory.mktemp("other"), {"a": ""})
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.root))
    commit, reason = asv_run.commit_to_pin(project / "asv.conf.json")
    assert (commit, reason) == (own, "")
    stored = json.loads(put(project, "8x4", commit=commit).read_text())
    assert (stored["commit_hash"], stored["date"]) == (own, 1000 * git.author_date(project, own))


def test_an_edited_file_is_named_whole(project):
    cases = asv_config(project / "asv.conf.json").suite / "fills.py"
    cases.write_text(cases.read_text() + "\n")
    expected = f"there are uncommitted changes ({cases.relative_to(project)})"
    assert asv_run.commit_to_pin(project / "asv.conf.json") == (None, expected)


def test_a_results_folder_outside_the_repository_does_not_hide_its_commit(project, tmp_path_factory):
    config = json.loads((project / "asv.conf.json").read_text())
    elsewhere = str(tmp_path_factory.mktemp("results"))
    other = project / "other.md"  # documentation, so that the file itself is no change
    other.write_text(json.dumps({**config, "results_dir": elsewhere}))
    assert asv_run.commit_to_pin(other) == (head(project), "")


def test_a_folder_inside_another_repository_is_not_taken_for_its_checkout(project):
    (project / "unpacked").mkdir()
    config = shutil.copy(project / "asv.conf.json", project / "unpacked")
    assert asv_run.commit_to_pin(Path(config)) == (None, "this folder is not a git checkout")


def test_a_checkout_of_another_user_is_not_called_a_folder_without_one(project, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    commit, reason = asv_run.commit_to_pin(project / "asv.conf.json")
    assert commit is None
    assert "another user owns it" in reason


def test_a_suite_below_the_root_of_its_repository_is_pinned_to_its_commit(project):
    (project / "suite").mkdir()
    config = json.loads((project / "asv.conf.json").read_text())
    (project / "suite" / "asv.conf.json").write_text(json.dumps({**config, "repo": ".."}))
    commit, reason = asv_run.commit_to_pin(project / "suite" / "asv.conf.json")
    assert (commit, reason) == (None, "there are uncommitted changes (suite/asv.conf.json)")


def test_plain_asv_shows_what_we_stored(project):
    put(project, "8x4")
    shown = subprocess.run(
        [sys.executable, "-m", "asv", "show", "HEAD", "--machine", "tester"],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    assert "fills.Fill.time_fill" in shown.stdout
    assert re.search(r"as_is .*1\.00", shown.stdout)


@pytest.mark.thorough
def test_plain_asv_runs_the_suite_with_many_calls_in_a_sample(project):
    """The property that lets warm cells be batched is in force in asv's own worker too."""

    def asv(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "asv", *arguments],
            cwd=project,
            capture_output=True,
            text=True,
            env={**os.environ, "HOME": str(project)},  # asv keeps what it knows of machines there
        )
        assert done.returncode == 0, done.stdout + done.stderr

    asv("machine", "--yes", "--machine", "tester")
    fast = [f"--attribute={name}={value}" for name, value in {**FAST, "sample_time": 0.001}.items()]
    environment = ["--environment", f"existing:{sys.executable}", "--set-commit-hash", head(project)]
    asv("run", *environment, *fast, "--bench", "as_is, 8x4", "--launch-method", "forkserver", "--machine", "tester")
    (path,) = (project / "results" / "tester").glob(f"{head(project)[:8]}-*.json")
    content = json.loads(path.read_text())
    row = dict(zip(content["result_columns"], content["results"]["fills.Fill.time_fill"], strict=False))
    assert row["stats_number"][0] > 10


def test_results_of_an_environment_without_torch_are_named_without_it(monkeypatch):
    def version(package):
        if package == "torch":
            raise importlib.metadata.PackageNotFoundError(package)
        return "2.4.6"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert asv_run.versions() == {"numpy": "2.4.6"}
