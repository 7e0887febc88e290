"""asv's own runner, really run on a small suite."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from asv.util import UserError

from bench_core import git
from bench_core.asv_config import asv_config
from bench_core.errors import BenchCoreError
from bench_core.records.results import Circumstances
from bench_core.results import asv_run
from bench_core.results.read import read
from bench_core.results.store import read_store
from bench_core.timing.cells import SuiteDirectory

FAST = {"rounds": 1, "warmup_time": 0, "sample_time": 0.0005}


def head(project):
    return git.commit(project, "HEAD")


def timed(project, pattern=None, **options):
    suite = SuiteDirectory(asv_config(project / "asv.conf.json").suite)
    cells = [cell for cell in suite.select(pattern) if cell.why_not is None]
    options = {"commit": head(project), "machine": "tester", "attributes": FAST, **options}
    return suite, asv_run.run(project / "asv.conf.json", suite, cells, **options)


def test_results_are_stored_under_the_commit_and_named_by_versions_and_not_by_paths(project):
    _, outcome = timed(project)
    assert outcome.timed == 5
    assert outcome.path.parent == project / "results" / "tester"
    assert re.fullmatch(rf"{head(project)[:8]}-installed-py3\.\d+-numpy[\w.]+-torch[\w.+]+\.json", outcome.path.name)
    assert str(project) not in outcome.path.read_text()
    assert read(outcome.path).machine["machine"] == "tester"


def test_a_warm_cell_holds_many_calls_in_a_sample_although_it_has_a_setup(project):
    _, outcome = timed(project, "as_is")
    assert [cell.number > 1 for cell in read(outcome.path).cells] == [True, True]


def test_every_timed_cell_is_read_back_with_its_samples_and_declarations(project):
    _, outcome = timed(project)
    cells = {cell.name: cell for cell in read(outcome.path).cells}
    cell = cells["fills.Fill.time_fill(cpu, as_is, 64x64)"]
    assert (cell.reads, cell.writes, cell.rivals, cell.moved_bytes) == (0, 1, "idiom", 64 * 64 * 4)
    assert cell.value.low <= cell.value.middle <= cell.value.high
    assert cell.bandwidth == pytest.approx(64 * 64 * 4 / cell.value.middle)
    assert set(cells) == {
        "fills.Later.time_sum",
        *(f"fills.Fill.time_fill(cpu, {idiom}, {size})" for idiom in ("as_is", "twice") for size in ("8x4", "64x64")),
    }


def test_a_second_run_adds_to_the_first(project):
    timed(project, "8x4")
    _, outcome = timed(project, "Later")
    assert {cell.benchmark for cell in read(outcome.path).cells} == {"fills.Fill.time_fill", "fills.Later.time_sum"}


def test_the_machines_circumstances_are_kept_beside_its_results_a_line_a_run(project):
    here = Circumstances("2026-01-02T03:04:05+00:00", head(project), {"L2": 1 << 20}, (("minor", "So.", "Do."),))
    timed(project, "Later", circumstances=here)
    timed(project, "Later")
    timed(project, "Later", circumstances=here)
    assert read_store(project / "results").circumstances == {"tester": (here, here)}


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), UserError("Interrupted.")], ids=["python", "asv"])
def test_what_was_timed_before_ctrl_c_is_stored(project, interruption):
    def interrupt_after_the_first(name, share):
        raise interruption

    _, outcome = timed(project, progress=interrupt_after_the_first)
    assert outcome.interrupted
    assert outcome.timed == 4
    assert {cell.benchmark for cell in read(outcome.path).cells} == {"fills.Fill.time_fill"}


def test_progress_reaches_the_whole_over_all_rounds(project):
    shares = []
    timed(project, attributes={**FAST, "rounds": 2}, progress=lambda name, share: shares.append(share))
    assert len(shares) == 4
    assert sum(shares) == pytest.approx(1)


def test_without_a_commit_results_stay_out_of_the_history(project):
    suite, outcome = timed(project, "8x4", commit=None)
    assert outcome.path == project / ".asv" / asv_run.WITHOUT_COMMIT
    assert not (project / "results").exists()
    assert len(read(outcome.path, suite.declared).cells) == len(read(outcome.path).cells) == 2


def test_a_benchmark_that_fails_is_reported_with_what_it_printed_and_the_others_are_timed(project):
    cases = asv_config(project / "asv.conf.json").suite / "fills.py"
    cases.write_text(cases.read_text() + "\n\ndef time_broken():\n    raise ValueError('planted')\n")
    _, outcome = timed(project, "8x4|broken")
    assert set(outcome.failed) == {"fills.time_broken"}
    assert read(outcome.path).failed == ("fills.time_broken",)
    assert "ValueError: planted" in outcome.failed["fills.time_broken"]
    assert outcome.timed == 2


def test_a_cell_that_fails_is_named_and_the_others_of_its_benchmark_count(project):
    cases = asv_config(project / "asv.conf.json").suite / "fills.py"
    cases.write_text(cases.read_text().replace("[0] * 32", "[0] * {'as_is': 32}[idiom]"))
    _, outcome = timed(project, "8x4", commit=None)
    assert outcome.timed == 1
    assert list(outcome.failed) == ["fills.Fill.time_fill"]


def test_a_module_that_does_not_import_leaves_the_others_timed(project):
    (asv_config(project / "asv.conf.json").suite / "broken.py").write_text("import no_such_module\n")
    suite, outcome = timed(project, "8x4")
    assert len(suite.broken) == 1
    assert outcome.timed == 2


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_an_unwritable_results_folder_is_one_clear_error(project, monkeypatch):
    (project / "results").mkdir()
    (project / "results").chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.geteuid() == 0:  # root may write anywhere: let the system call answer as it does for others
        monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(BenchCoreError, match="results cannot be stored in results: Permission denied"):
        timed(project, "8x4")


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
    _, outcome = timed(project, "8x4", commit=commit)
    stored = json.loads(outcome.path.read_text())
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


def test_a_suite_below_the_root_of_its_repository_is_pinned_to_its_commit(project):
    (project / "suite").mkdir()
    config = json.loads((project / "asv.conf.json").read_text())
    (project / "suite" / "asv.conf.json").write_text(json.dumps({**config, "repo": ".."}))
    commit, reason = asv_run.commit_to_pin(project / "suite" / "asv.conf.json")
    assert (commit, reason) == (None, "there are uncommitted changes (suite/asv.conf.json)")


def test_plain_asv_shows_what_we_stored(project):
    timed(project, "8x4")
    timed_by_asv = subprocess.run(
        [sys.executable, "-m", "asv", "show", "HEAD", "--machine", "tester"],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert timed_by_asv.returncode == 0, timed_by_asv.stderr
    assert "fills.Fill.time_fill" in timed_by_asv.stdout


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
