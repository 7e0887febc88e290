"""`bench-core compare` as a person meets it, on the results of two commits and two machines."""

import json

import pytest
from click.testing import CliRunner

from bench_core.cli import main

NAME = "f.C.time_it"


class Project:
    """A git repository with two commits, and results of both."""

    def __init__(self, repository):
        self.root = repository.root
        repository.configure(benchmark_dir="cases", results_dir="results")
        (self.root / "cases").mkdir()
        self.old, self.new = repository.commit(message="Old"), repository.commit(message="New")
        declared = {
            "name": NAME,
            "param_names": ["way"],
            "params": [["a", "b", "c"]],
            "type": "time",
            "unit": "seconds",
        }
        self.write("benchmarks.json", {NAME: {**declared, "version": "1"}, "version": 2})

    def write(self, path, content):
        target = self.root / "results" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content))
        return target

    def store(self, commit, values, machine="box", torch="2.13.0"):
        """A result file with these times, or None for what was not measured."""
        self.write(f"{machine}/machine.json", {"machine": machine, "version": 1})
        ends = [[None if value is None else value * share for value in values] for share in (0.99, 1.01)]
        return self.write(
            f"{machine}/{commit[:8]}-env-torch{torch}.json",
            {
                "commit_hash": commit,
                "env_name": f"env-torch{torch}",
                "date": 1767225600000 + 1000 * (commit == self.new),
                "params": {"machine": machine, "cpu": "A CPU", "torch": torch},
                "result_columns": ["result", "params", "version", "stats_ci_99_a", "stats_ci_99_b"],
                "results": {NAME: [values, [["a", "b", "c"]], "1", *ends]},
                "version": 2,
            },
        )


@pytest.fixture
def project(tmp_path, monkeypatch, repositories):
    monkeypatch.chdir(tmp_path)
    found = Project(repositories.new(tmp_path))
    found.store(found.old, [1e-6, 1e-6, 1e-6])
    found.store(found.new, [2e-6, 1.01e-6, 0.5e-6])
    return found


def run(*arguments):
    return CliRunner().invoke(main, ["compare", *map(str, arguments)], catch_exceptions=False)


def test_the_table_shows_what_differs_the_slowest_first(project):
    done = run(project.old[:8], project.new[:8])
    assert done.exit_code == 0
    assert [line.split() for line in done.output.splitlines() if line.startswith(NAME)] == [
        [f"{NAME}(a)", "1.00", "µs", "2.00", "µs", "2.00x", "1.96", "to", "2.04"],
        [f"{NAME}(c)", "1.00", "µs", "500", "ns", "0.50x", "0.49", "to", "0.51"],
    ]
    assert "3 cells in both: 1 slower in B, 1 faster, 1 inconclusive" in done.output
    assert "geometric mean of the times: 1.00x" in done.output


def test_verbose_shows_every_cell(project):
    assert run(project.old[:8], project.new[:8], "--verbose").output.count(NAME) == 3


def test_it_says_what_it_cannot_know_and_what_can(project):
    output = run(project.old[:8], project.new[:8]).output
    assert "not measured side by side" in output
    assert f"  bench-core gate {project.old[:8]} {project.new[:8]}" in output.splitlines()


def test_commits_go_by_the_names_that_git_knows(project):
    output = run("main~", "main").output
    assert f"A  {project.old[:8]} on box, torch 2.13.0" in output
    assert f"B  {project.new[:8]} on box, torch 2.13.0" in output


def test_machines_are_compared(project):
    project.store(project.new, [4e-6, 1e-6, 1e-6], machine="other")
    output = run("box", "other").output
    assert "also differs: machine: box → other" in output
    assert "2.00x" in output
    assert "bench-core gate" not in output


def test_versions_of_torch_are_compared(project):
    project.store(project.new, [4e-6, 1e-6, 1e-6], torch="2.14.0")
    output = run("torch==2.13.0", "2.14.0").output
    assert "  bench-core gate --versus torch==2.13.0 torch==2.14.0" in output.splitlines()
    assert "the two versions of torch with the same code" in output


def test_the_machine_narrows(project):
    for commit in (project.old, project.new):
        project.store(commit, [3e-6, 3e-6, 3e-6], machine="other")
    assert run(project.old[:8], project.new[:8]).exit_code == 2
    done = run(project.old[:8], project.new[:8], "--machine", "other")
    assert done.exit_code == 0
    assert f"A  {project.old[:8]} on other, torch 2.13.0" in done.output


def test_files_need_no_project_around_them(project, tmp_path_factory, monkeypatch):
    files = [project.store(commit, [value] * 3) for commit, value in ((project.old, 1e-6), (project.new, 2e-6))]
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert "3 slower in B" in run(*files).output


def test_cells_of_one_side_are_counted(project):
    project.store(project.new, [2e-6, None, 0.5e-6])
    assert f"only in A: 1, {NAME}(b)" in run(project.old[:8], project.new[:8]).output


def test_an_unknown_name_is_one_line_and_exits_2(project):
    done = run("nope", project.new[:8])
    assert done.exit_code == 2
    assert done.stderr.startswith("bench-core: 'nope' is no file, and no commit")
    assert project.old[:8] in done.stderr
    assert done.stderr.count("\n") == 1


def test_show_takes_a_commit_and_names_its_file(project):
    for name in (project.old[:8], "main~"):
        done = CliRunner().invoke(main, ["show", name], catch_exceptions=False)
        assert done.exit_code == 0
        assert f"commit {project.old[:10]}." in done.output
        assert done.output.endswith(f"Stored in results/box/{project.old[:8]}-env-torch2.13.0.json\n")


def test_show_of_an_unknown_name_says_what_there_is(project):
    done = CliRunner().invoke(main, ["show", "nope"], catch_exceptions=False)
    assert done.exit_code == 2
    assert done.stderr.startswith(
        "bench-core: 'nope' is no file or folder, and no commit or machine with results. There are "
    )
    assert project.old[:8] in done.stderr


def test_a_damaged_file_is_named_and_the_rest_compared(project):
    (project.root / "results" / "box" / "broken.json").write_text("{")
    done = run(project.old[:8], project.new[:8])
    assert done.exit_code == 0
    assert "broken.json" in done.stderr
    assert "3 cells in both" in done.stdout


def test_json_holds_all_cells(project, tmp_path):
    run(project.old[:8], project.new[:8], "--json", tmp_path / "x.json")
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["schema"] == "bench-core/compare/1"
    assert [(cell["cell"], cell["ratio"][1], cell["differs"]) for cell in found["cells"]] == [
        (f"{NAME}(a)", 2, True),
        (f"{NAME}(b)", pytest.approx(1.01), False),
        (f"{NAME}(c)", 0.5, True),
    ]
    assert (found["first"]["commit"], found["gate"]) == (
        project.old,
        f"bench-core gate {project.old[:8]} {project.new[:8]}",
    )


def test_csv_is_a_row_a_cell(project, tmp_path):
    run(project.old[:8], project.new[:8], "--csv", tmp_path / "x.csv")
    header, *rows = (tmp_path / "x.csv").read_text().splitlines()
    assert header == (
        "cell,unit,first_low,first,first_high,second_low,second,second_high,ratio_low,ratio,ratio_high,differs,changed"
    )
    assert [row.rsplit(",", 2)[1:] for row in rows] == [["true", "false"], ["false", "false"], ["true", "false"]]


def test_markdown_lists_all_cells_and_the_caution(project, tmp_path):
    run(project.old[:8], project.new[:8], "--markdown", tmp_path / "x.md")
    page = (tmp_path / "x.md").read_text()
    assert f"| `{NAME}(a)` | 1.00 µs | 2.00 µs | 2.00x | 1.96 to 2.04 | slower |" in page
    assert f"| `{NAME}(b)` | 1.00 µs | 1.01 µs | 1.01x | 0.99 to 1.03 |  |" in page
    assert "not measured side by side" in page


def test_what_has_no_interval_is_listed_apart(project, tmp_path):
    files = []
    for name, peak in (("one.json", 100 << 20), ("two.json", 200 << 20)):
        files.append(project.store(project.old, [1e-6] * 3).rename(tmp_path / name))
        content = json.loads(files[-1].read_text())
        content["results"]["f.C.peakmem_it"] = [[peak], [], "1"]
        files[-1].write_text(json.dumps(content))
    declared = json.loads((project.root / "results" / "benchmarks.json").read_text())
    memory = {"name": "f.C.peakmem_it", "param_names": [], "params": [], "type": "peakmemory", "unit": "bytes"}
    (tmp_path / "benchmarks.json").write_text(json.dumps({**declared, "f.C.peakmem_it": {**memory, "version": "1"}}))
    output = run(*files, "--markdown", tmp_path / "x.md").output
    before, after = output.split("Changed, without an interval")
    assert "peakmem_it" not in before
    assert [line.split()[1:] for line in after.splitlines() if line.startswith("f.C.peakmem_it")] == [
        ["100", "MiB", "200", "MiB", "2.00x", "?"]
    ]
    assert "4 cells in both: 0 slower in B, 0 faster, 1 changed without an interval, 3 inconclusive" in output
    assert "| 100 MiB | 200 MiB | 2.00x | ? | more, no interval |" in (tmp_path / "x.md").read_text()


def test_a_file_that_cannot_be_written_is_an_error(project, tmp_path):
    (tmp_path / "file").touch()
    done = run(project.old[:8], project.new[:8], "--json", tmp_path / "file" / "x.json")
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr
