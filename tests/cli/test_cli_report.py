"""`bench-core report` as a person meets it: on a folder of results, without the suite and without torch."""

import json
import subprocess
import sys
import webbrowser
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench_core.cli import main

COMMIT = "1a2b3c4d" * 5
BENCHMARK = {
    "name": "cases.Fill.time_fill",
    "param_names": ["way", "size"],
    "params": [["one", "two"], ["8x4", "64x64", "256x256"]],
    "type": "time",
    "unit": "seconds",
    "version": "1",
    "rivals": "way",
}
ROW = '<tr id="cell=cases.Fill.time_fill(one,_8x4)">'
COLUMNS = ["result", "params", "version", "stats_ci_99_a", "stats_ci_99_b", "stats_number", "stats_repeat"]


class Project:
    """A folder with results of asv's, and nothing else."""

    def __init__(self, root):
        self.root = root
        self.write("asv.conf.json", {"version": 1, "project": "thing", "repo": ".", "benchmark_dir": "cases"})
        self.write("results/benchmarks.json", {"version": 2, BENCHMARK["name"]: BENCHMARK})
        self.measured("here", 1.0)

    def write(self, name, content):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    def measured(self, machine, factor):
        times = [factor * seconds for seconds in (1e-6, 2e-6, 3e-5, 2e-6, 4e-6, 6e-5)]
        low, high = ([seconds * share for seconds in times] for share in (0.99, 1.01))
        row = [times, BENCHMARK["params"], "1", low, high, [10] * 6, [20] * 6]
        params = {"machine": machine, "cpu": "A CPU", "python": "3.11"}
        self.write(f"results/{machine}/machine.json", {"machine": machine, "version": 1})
        self.write(
            f"results/{machine}/{COMMIT[:8]}-installed.json",
            {
                "version": 2,
                "commit_hash": COMMIT,
                "date": 1795567178000,
                "env_name": "installed",
                "params": params,
                "python": "3.11",
                "requirements": {},
                "env_vars": {},
                "result_columns": COLUMNS,
                "results": {BENCHMARK["name"]: row},
                "durations": {},
            },
        )

    def change(self, name, **changes):
        content = json.loads((self.root / name).read_text())
        self.write(name, {**content, **changes})

    def report(self, *arguments):
        """Run the command here."""
        return CliRunner().invoke(main, ["report", *arguments])


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench_core.report.page._library", lambda: "vegaEmbed")  # that takes a second
    monkeypatch.setattr("bench_core.report.page.begin", lambda: None)  # nobody would wait for that process
    return Project(tmp_path)


def test_the_page_is_written_where_one_stands_and_says_how_large_and_how_long(project):
    done = project.report()
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("bench-core-report.html (")
    assert " MB, " in done.stdout
    assert ROW in (project.root / "bench-core-report.html").read_text()


@pytest.mark.parametrize(("form", "begins"), [("markdown", "# "), ("json", "{"), ("csv", "")])
def test_the_other_formats_go_to_standard_output_unless_a_file_is_named(project, form, begins):
    done = project.report("--format", form)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(begins)
    assert "time_fill" in done.stdout
    written = project.report("--format", form, "-o", f"deep/report.{form}")
    assert written.stdout == ""
    assert "deep/report." in written.stderr
    assert "time_fill" in (project.root / f"deep/report.{form}").read_text()


def test_what_is_left_out_is_listed_with_its_reason_and_the_rest_is_shown(project):
    project.write("results/here/damaged.json", "{")
    done = project.report()
    assert done.exit_code == 0
    assert "bench-core: left out: here/damaged.json: " in done.stderr
    page = (project.root / "bench-core-report.html").read_text()
    assert "here/damaged.json" in page
    assert ROW in page


TRACKED = {
    "name": "cases.Norm.track_norm",
    "param_names": [],
    "params": [],
    "type": "track",
    "unit": "",
    "version": "1",
}


@pytest.mark.parametrize("form", ["html", "markdown", "json", "csv"])
def test_values_that_nobody_expects_cost_no_more_than_themselves(project, form):
    moving = {**BENCHMARK, "name": "cases.Move.time_move", "param_names": ["dtype", "size"], "weight_writes": 1}
    declared = {"version": 2, **{each["name"]: each for each in (BENCHMARK, TRACKED, moving)}}
    project.write("results/benchmarks.json", declared)
    path = f"results/here/{COMMIT[:8]}-installed.json"
    results = {
        **json.loads((project.root / path).read_text())["results"],
        TRACKED["name"]: [[float("inf")], [], "1"],
        moving["name"]: [[1e-6, 2e-6], [["int4"], ["8x4", "tiny"]], "1"],
    }
    project.change(path, results=results, params={"machine": "here", "num_cpu": 2, "torch": 2.13, "python": None})
    done = project.report("--format", form, "-o", "report")
    assert done.exit_code == 0, done.output
    assert "bench-core: left out: cases.Norm.track_norm: its value is infinite" in done.stderr
    text = (project.root / "report").read_text()
    assert "Move.time" in text
    assert "Fill.time" in text


def test_results_of_no_commit_are_shown_beside_those_of_commits(project):
    content = json.loads((project.root / f"results/here/{COMMIT[:8]}-installed.json").read_text())
    project.write("no-commit.json", {**content, "commit_hash": "", "date": 0})
    project.write("benchmarks.json", {"version": 2, BENCHMARK["name"]: BENCHMARK})
    subjects = json.loads(project.report("--format", "json").stdout)["subjects"]
    assert [subject["name"] for subject in subjects] == ["here", "here, not of a commit"]
    folder = json.loads(project.report("results", "--format", "json").stdout)["subjects"]
    assert [subject["name"] for subject in folder] == ["here"]


def test_machines_are_chosen_by_name(project):
    project.measured("there", 2.0)
    both = json.loads(project.report("--format", "json").stdout)
    one = json.loads(project.report("--format", "json", "--machine", "there").stdout)
    assert [subject["machine"] for subject in both["subjects"]] == ["here", "there"]
    assert [subject["machine"] for subject in one["subjects"]] == ["there"]


def test_a_folder_of_results_needs_no_project_around_it(project):
    (project.root / "asv.conf.json").unlink()
    done = project.report("results")
    assert done.exit_code == 0, done.output


def test_the_page_links_to_asvs_own_where_they_are_published(project):
    project.report("-o", "deep/report.html")
    assert "asv's own pages" not in (project.root / "deep/report.html").read_text()
    project.write("html/index.html", "<title>asv</title>")
    project.report("-o", "deep/report.html")
    assert '<a href="../html/index.html">asv' in (project.root / "deep/report.html").read_text()


def test_a_page_that_cannot_be_replaced_stays_as_it_was(project, monkeypatch):
    project.write("report.html", "the old one")

    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    done = project.report("-o", "report.html")
    assert done.exit_code == 2
    assert "report.html cannot be written: No space left on device" in done.stderr
    assert (project.root / "report.html").read_text() == "the old one"
    assert [path.name for path in project.root.iterdir() if path.name.startswith(".report")] == []


def test_the_page_is_opened_when_that_is_asked_for(project, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    project.report()
    assert opened == []
    project.report("--open")
    assert opened == [(project.root / "bench-core-report.html").as_uri()]


def test_a_machine_without_a_browser_says_so_and_keeps_the_page(project, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    done = project.report("--open")
    assert done.exit_code == 2
    assert "no browser was found. bench-core-report.html is written" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "there are no results in nowhere"),
        (["--machine", "heer"], "unknown machine or version of torch 'heer'. Did you mean 'here'?"),
        (["--format", "csv", "--open"], "--open shows the page, but --format csv makes none"),
        (["--suite", "nowhere.json"], "nowhere.json"),
    ],
)
def test_bad_input_gets_one_clear_error_and_exit_code_2(project, arguments, complaint):
    done = project.report(*arguments)
    assert done.exit_code == 2
    assert complaint in done.stderr
    assert not (project.root / "bench-core-report.html").exists()


@pytest.mark.parametrize("form", ["html", "json"])
def test_no_report_imports_torch(project, form):
    code = (
        "import sys\n"
        "from bench_core.cli import main\n"
        "main(['report', '--format', sys.argv[1], '-o', 'out'], standalone_mode=False)\n"
        "print(sorted({'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, form], capture_output=True, text=True, check=True, cwd=project.root
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_file_named_minus_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["report", "-o", "-"])
    assert (done.exit_code, "'-' is not a file" in done.stderr) == (2, True)
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize(
    ("command", "first", "second"),
    [
        (["gate", "main"], "--json", "--markdown"),
        (["gate", "main"], "--markdown", "--junit"),
        (["compare", "a", "b"], "--json", "--markdown"),
        (["compare", "a", "b"], "--csv", "--markdown"),
    ],
)
def test_two_options_cannot_name_one_file(command, first, second, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, [*command, first, "x", second, "../" + tmp_path.name + "/x"])
    assert (done.exit_code, f"{first} and {second} both name" in done.stderr) == (2, True)
    assert not (tmp_path / "x").exists()
