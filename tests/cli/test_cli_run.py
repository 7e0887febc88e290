"""`run`, `known` and `agree` as a person meets them, on small suites that are really measured."""

import csv
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench_core.cli import main
from bench_core.report.run_live import RunLive
from bench_core.results.rounds import beside

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")

CASES = """
from types import SimpleNamespace


class Sum:
    rivals = "way"
    param_names = ["way", "odd"]
    params = [["list", "generator"], ["[red]", 'a,"b" \\u00fc']]
    reports = [
        SimpleNamespace(
            source="a/b#1", what="it loops", instead="sum of a list", benchmark="time_sum", where="usage",
            slow={"way": "'generator'", "odd": "'[red]'"}, fast={"way": "'list'"},
        )
    ]

    def setup(self, way, odd):
        self.data = list(range(300))

    def time_sum(self, way, odd):
        sum(self.data) if way == "list" else sum(x for x in self.data)


class Other:
    def time_fails(self):
        raise ValueError("planted")

    def track_three(self):
        return 3
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory, repositories):
    root = tmp_path_factory.mktemp("project")
    package = f"cases_cli_run_{root.parent.name.replace('-', '_')}_{root.name}"
    made = repositories(root)
    made.configure(project="p", dvcs="git", branches=["main"], benchmark_dir=package)
    files = {f"{package}/__init__.py": "", f"{package}/f.py": CASES, ".gitignore": ".asv\n*.csv\n*.json.out\n"}
    return repositories.new(root, files)


@pytest.fixture
def invoke(repository, two_rounds, monkeypatch):
    monkeypatch.chdir(repository.root)

    def run(*arguments):
        return CliRunner().invoke(main, arguments)

    return run


@pytest.fixture
def ran(invoke, repository):
    """A run of everything, made once, with what it has written."""
    if not hasattr(repository, "ran"):
        options = ("--budget", "60", "--machine", "tester", "--json", "run.json.out", "--csv", "run.csv")
        repository.ran = invoke("run", *options)
        repository.files = [path.read_text() for path in map(repository.root.joinpath, ("run.json.out", "run.csv"))]
    return repository.ran


def results_of(repository):
    (path,) = (repository.root / "results" / "tester").glob("*-installed-*.json")
    return path


def test_a_run_shows_its_table_its_findings_and_what_failed(ran):
    assert ran.exit_code == 1  # a benchmark failed
    assert "Timing 6 cells for up to 60 s." in ran.stdout
    lines = [line for line in ran.stdout.splitlines() if "µs" in line]
    assert [line.split()[0] for line in lines] == ["'list',", "'list',", "'generator',", "'generator',"]
    assert "'[red]'" in lines[0]
    assert "The machine during the run: " in ran.stdout
    assert "bench-core: f.Other.time_fails failed: " in ran.stderr
    assert "ValueError: planted" in ran.stderr
    assert "5 cells stored in results/tester/" in ran.stdout


def test_its_json_and_csv_have_every_cell_that_has_a_value(ran, repository):
    content, table = json.loads(repository.files[0]), list(csv.DictReader(repository.files[1].splitlines()))
    assert len(content["cells"]) == len(table) == 5
    assert list(content["failed"]) == ["f.Other.time_fails"]
    listed = CliRunner().invoke(main, ["list", "--suite", str(repository.config)]).stdout.splitlines()
    assert {cell["name"] for cell in content["cells"]} | set(content["failed"]) == set(listed)
    assert {cell["kind"] for cell in content["cells"]} == {"time", "track"}
    jobs = {cell.get("job") for cell in content["cells"]}
    assert jobs == {"f.Sum.time_sum('[red]')", "f.Sum.time_sum('a,\"b\" ü')", None}


def test_show_prints_the_same_table_again(ran, invoke):
    shown = invoke("show")
    assert shown.exit_code == 0
    first = [line.rstrip() for line in ran.stdout.splitlines() if "µs" in line]
    assert [line.rstrip() for line in shown.stdout.splitlines() if "µs" in line] == first
    assert "failed: f.Other.time_fails" in shown.stdout


def test_a_way_that_is_timed_alone_later_is_not_ranked_with_the_others(ran, invoke, repository):
    path = results_of(repository)
    before = {file: file.read_bytes() for file in (path, beside(path))}
    try:
        later = invoke("run", "'list'.*red", "--budget", "60", "--machine", "tester")
        assert later.exit_code == 0, later.output
        assert "1 cell stored" in later.stdout
        lines = [line for line in invoke("show").stdout.splitlines() if "µs" in line]
        rows = {line.split("'")[1] + line.split("'")[3]: line for line in lines}
        assert "1st" not in rows["list[red]"] + rows["generator[red]"]
        assert "x" not in rows["generator[red]"].split("µs")[1]
    finally:
        for file, content in before.items():
            file.write_bytes(content)


def test_times_without_rounds_are_estimates_without_ranks(ran, invoke, repository):
    rounds = beside(results_of(repository))
    text = rounds.read_text()
    rounds.unlink()  # as if asv had measured them
    try:
        shown = invoke("show").stdout
    finally:
        rounds.write_text(text)
    assert not any("1st" in line for line in shown.splitlines() if "µs" in line)
    assert shown.count("~1.00x") == 2
    assert "nothing is known about their order" not in shown


def test_a_damaged_line_beside_the_results_is_one_warning_and_everything_else_is_shown(ran, invoke, repository):
    rounds = beside(results_of(repository))
    text = rounds.read_text()
    first = [line.rstrip() for line in ran.stdout.splitlines() if "µs" in line]
    rounds.write_text("damaged\n" + text)
    try:
        done, listed = invoke("show"), invoke("show", "--list")
        report = invoke("report", "--format", "csv")
    finally:
        rounds.write_text(text)
    assert [line.rstrip() for line in done.stdout.splitlines() if "µs" in line] == first
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"bench-core: left out: results/tester/{rounds.name}: line 1 cannot be used: not JSON: Expecting value"
    )
    assert line.endswith("Restore the line from a copy, or delete it.")
    assert (done.exit_code, listed.stderr, report.exit_code) == (0, done.stderr, 0)
    assert f"tester/{rounds.name}: line 1 cannot be used" in report.stderr
    assert "f.Sum.time_sum" in report.stdout


def test_show_lists_the_runs_and_prints_one(ran, invoke, repository, tmp_path):
    path = results_of(repository)
    before = {file: file.read_bytes() for file in (path, beside(path))}
    try:
        assert invoke("run", "Sum.*list", "--budget", "60", "--machine", "tester").exit_code == 0
        listed, newest = invoke("show", "--list"), invoke("show")
        files = [str(tmp_path / name) for name in ("run.json", "run.csv")]
        one = invoke("show", "--run", "1", "--json", files[0], "--csv", files[1])
        date = invoke("show", "--run", json.loads(repository.files[0])["date"])
        unknown = [invoke("show", "--run", which) for which in ("3", "0", "x", "2001-01-01")]
    finally:
        for file, content in before.items():
            file.write_bytes(content)
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:3]] == ["1", "2"]
    assert "2 runs are stored. The newest time of each cell is shown: 2 times of run 2 (" in newest.stdout
    first = [line.rstrip() for line in ran.stdout.splitlines() if "µs" in line]
    for shown in (one, date):
        assert [line.rstrip() for line in shown.stdout.splitlines() if "µs" in line] == first
        assert "of 2 that are stored." in shown.stdout
        assert "failed: f.Other.time_fails" in shown.stdout
    contents, expected = json.loads(Path(files[0]).read_text()), json.loads(repository.files[0])
    by_name = [sorted(each.pop("cells"), key=lambda cell: cell["name"]) for each in (contents, expected)]
    assert by_name[0] == by_name[1]
    assert contents == expected
    assert sorted(Path(files[1]).read_text()) == sorted(repository.files[1])
    for done in unknown:
        assert done.exit_code == 2
        assert "It has the runs 1 to 2; --list shows their dates." in done.stderr


def test_a_list_of_runs_is_no_table(invoke):
    done = invoke("show", "--list", "--run", "1")
    assert (done.exit_code, done.stderr) == (
        2,
        "bench-core: --list prints no table: leave out --run, --family, --json and --csv.\n",
    )


def test_a_table_that_cannot_be_written_at_the_end_is_shown_and_stored(ran, invoke, tmp_path, monkeypatch):
    other = tmp_path / "run.csv"

    def full(path, content):
        if path != other:
            raise OSError(28, "No space left on device")
        path.write_text(content)

    monkeypatch.setattr("bench_core.cli.terminal.write_whole", full)
    target = tmp_path / "run.json"
    options = ("--budget", "60", "--machine", "full", "--json", str(target), "--csv", str(other))
    done = invoke("run", "track", *options)
    assert done.exit_code == 2
    assert f"bench-core: {target} cannot be written: No space left on device." in done.stderr
    assert "track_three" in done.stdout
    assert "1 cell stored in results/full/" in done.stdout
    assert "track_three" in other.read_text()


def test_a_run_without_a_value_stores_nothing_and_says_so(invoke, repository, tmp_path):
    out = tmp_path / "run.json"
    done = invoke("run", "fails", "--budget", "60", "--machine", "empty", "--json", str(out))
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == "bench-core: no cell has a value, so nothing is stored."
    assert "stored in" not in done.stdout
    assert not (repository.root / "results" / "empty").exists()
    assert list(json.loads(out.read_text())["failed"]) == ["f.Other.time_fails"]


def test_a_budget_that_does_not_reach_every_cell_names_one_and_the_exit_code_is_1(ran, invoke, tmp_path):
    out = tmp_path / "run.json"
    done = invoke("run", "Sum|track", "--budget", "0.001", "--machine", "hurried", "--json", str(out))
    assert done.exit_code == 1
    assert "the time did not reach " in done.stderr
    content = json.loads(out.read_text())
    assert len(content["unreached"]) + len(content["cells"]) == 5
    assert not {cell["name"] for cell in content["cells"]} & set(content["unreached"])


def test_ctrl_c_shows_what_was_timed_and_the_exit_code_is_130(ran, invoke, monkeypatch):
    def update(live, state):
        if state.round > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunLive, "update", update)
    done = invoke("run", "Sum", "--budget", "60", "--machine", "interrupted")
    assert done.exit_code == 130
    assert "interrupted; 4 of 4 cells were timed and are stored." in done.stderr
    assert "generator" in done.stdout


def test_outside_a_commit_a_run_says_so_and_can_be_shown(ran, invoke, repository):
    extra = repository.root / "new [red] file.py"
    extra.touch()
    try:
        done = invoke("run", "track", "--budget", "60")
        shown = invoke("show", str(repository.root / ".asv" / "no-commit.json"))
    finally:
        extra.unlink()
    assert "The results belong to no commit: there are uncommitted changes (new [red] file.py)." in done.stdout
    assert "kept, outside the history" in done.stdout
    assert (done.exit_code, shown.exit_code) == (0, 0)
    assert "track_three" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--family", "g"], "unknown family 'g'."),
        (["--budget", "soon"], "'soon' is not a time such as 90s, 2m or 1h."),
        (["--budget", "0"], "'0' is not a time between 0 and 1,000,000 s."),
        (["--json", "/dev/null/run.json"], "/dev/null/run.json cannot be written: Not a directory."),
        (["--json", "/dev/full"], "/dev/full cannot be written: No space left on device."),
        (["--csv", "no/such/x"], "no/such/x cannot be written: there is no folder no/such."),
        (["--csv", "."], "File '.' is a directory."),
        (["--seed", "x"], "'x' is not a valid integer."),
        (["--machine", "../x"], "'../x' is not a name, but a path."),
        (["nothing_like_it"], "`bench-core list` prints them all."),
        (["nothing_like_it"], "no cell matches 'nothing_like_it'."),
    ],
)
def test_bad_input_is_an_error_before_anything_is_measured(invoke, arguments, complaint, monkeypatch):
    monkeypatch.setattr("bench_core.run.session.run", None)
    done = invoke("run", *arguments)
    assert done.exit_code == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.output


def test_known_measures_each_report_and_writes_its_page(invoke, tmp_path):
    done = invoke("known", "--budget", "60", "--markdown", str(tmp_path / "known.md"))
    assert done.exit_code == 0, done.output
    assert "it loops" in done.stdout
    assert "sum of a list" in (tmp_path / "known.md").read_text()


def test_ctrl_c_leaves_a_page_as_it_was(invoke, tmp_path, monkeypatch):
    def update(live, state):
        raise KeyboardInterrupt

    monkeypatch.setattr(RunLive, "update", update)
    page = tmp_path / "page.md"
    page.write_text("as it was")
    done = invoke("known", "--markdown", str(page))
    assert (done.exit_code, page.read_text()) == (130, "as it was")


@pytest.mark.parametrize("command", ["run", "show"])
def test_json_and_csv_are_two_files(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [command, "--json", "x", "--csv", "./x"])
    assert result.exit_code == 2
    assert "--json and --csv both name x" in result.output


@pytest.mark.parametrize("command", ["run", "show"])
def test_help_names_the_families_of_the_suite_in_this_folder(command, invoke, tmp_path, monkeypatch):
    assert "[modules here: f]" in " ".join(invoke(command, "--help").stdout.split())
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, [command, "--help"])
    assert (done.exit_code, "modules here" in done.stdout) == (0, False)
