"""`run`, `known` and `agree` as a person meets them, on small suites that are really measured."""

import csv
import json
import sys

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
    assert "Timing 6 cells (full profile) for up to 60 s." in ran.stdout
    lines = [line for line in ran.stdout.splitlines() if "µs" in line]
    assert [line.split()[0] for line in lines] == ["'list',", "'list',", "'generator',", "'generator',"]
    assert "'[red]'" in lines[0]
    assert "The machine today: " in ran.stdout
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


def test_a_damaged_line_beside_the_results_is_one_clear_error(ran, invoke, repository):
    rounds = beside(results_of(repository))
    text = rounds.read_text()
    rounds.write_text("damaged\n" + text)
    try:
        done = invoke("run", "--machine", "tester")
    finally:
        rounds.write_text(text)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "rounds.jsonl, line 1, cannot be used" in line


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
        (["--budget", "soon"], "'soon' is not a time such as 90s or 2m."),
        (["--json", "/dev/null/run.json"], "results cannot be stored in /dev/null"),
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


def test_json_and_csv_are_two_files(tmp_path):
    result = CliRunner().invoke(main, ["run", "--json", "x", "--csv", "x"])
    assert result.exit_code == 2
    assert "--json and --csv both name x" in result.output
