"""The steps that measure and that end the job, as GitHub's runner starts them, on a small repository."""

import json
import os
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from hub import BROKEN, GREEN, LABEL, RED, TOKEN, UNKNOWN, GitHub, of

from bench_core.ci.finish import finish
from bench_core.ci.lines import changed_functions, hunks
from bench_core.ci.measure import clean, command, evidence_folder, measure
from bench_core.ci.outcome import from_bytes, to_bytes
from bench_core.ci.runner import Runner
from bench_core.cli import main
from bench_core.errors import BenchCoreError
from bench_core.records.model import ModelSpec
from bench_core.report.gate import Place

CASES = "import thing\n\n\nclass Call:\n    def time_value(self):\n        thing.value()\n"
BASE = '"""A thing."""\n\n\ndef other():\n    return 1\n\n\ndef value():\n    for _ in range(2000):\n        pass\n'
HEAD = BASE.replace("2000", "6000").replace("return 1", "return 2")


@pytest.fixture(scope="module")
def project(tmp_path_factory, repositories):
    """A repository whose branch has a function that is slower, and one that no cell runs."""
    made = repositories.new(tmp_path_factory.mktemp("measured") / "project")
    made.configure(benchmark_dir="cases")
    ignored = ".asv/\nresults/\n*.json\n!asv.conf.json\n"
    made.base = made.commit(
        {"thing/__init__.py": BASE, "cases/__init__.py": "", "cases/calls.py": CASES, ".gitignore": ignored}
    )
    made.git("checkout", "-q", "-b", "slower")
    made.head = made.commit({"thing/__init__.py": HEAD})
    return made


INPUTS = {
    "BENCH_CORE_BUDGET": "20s",
    "BENCH_CORE_LANES": "1",
    "BENCH_CORE_NOISE_FLOOR": "30%",
    "BENCH_CORE_LIMIT": "60%",
    "BENCH_CORE_EXPLAIN": "true",
}


@pytest.fixture(scope="module")
def measured(project, tmp_path_factory):
    """The step that measures, once: its log, its outputs' file and its folder."""
    temporary = tmp_path_factory.mktemp("runner")
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")},
        **INPUTS,
        "RUNNER_TEMP": str(temporary),
        "GITHUB_ACTIONS": "true",
        "GITHUB_OUTPUT": str(temporary / "output"),
        "GITHUB_STEP_SUMMARY": str(temporary / "summary"),
    }
    log = temporary / "log"
    with log.open("w") as out:
        found = measure(Runner(variables, out), project.root, project.base, project.head)
    return SimpleNamespace(found=found, log=log.read_text(), folder=temporary / "bench-core", temporary=temporary)


def test_a_slower_head_is_measured_and_left_to_the_last_step(measured, project):
    found = measured.found
    assert (found.verdict, found.exit_code, found.base, found.head) == ("regression", 1, project.base, project.head)
    assert [row.name for row in found.of("slower")] == ["calls.Call.time_value"]
    assert from_bytes((measured.folder / "outcome.json").read_bytes()) == found
    assert json.loads((measured.folder / "gate.json").read_text())["verdict"] == "regression"
    assert "## bench-core gate: regression" in (measured.temporary / "summary").read_text()
    assert "calls.Call.time_value" in (measured.folder / "gate.html").read_text()
    assert "exit-code<<" in (measured.temporary / "output").read_text()


def test_the_annotation_stands_at_the_changed_line_that_the_cause_names(measured):
    (error,) = [line for line in measured.log.splitlines() if line.startswith("::error ")]
    assert "file=thing/__init__.py,line=9,endLine=9," in error
    assert "calls.Call.time_value" in error
    assert "bytecodes in thing.value" in error


def test_the_log_of_the_gate_holds_no_commands(measured):
    stop, resume = (line for line in measured.log.splitlines() if "bench-core-" in line and line.startswith("::"))
    word = stop.removeprefix("::stop-commands::")
    assert resume == f"::{word}::"
    assert len(word) > 40


@pytest.fixture
def faked(step, project):
    """`measure` with a program in place of the gate. It prints its environment, and runs some lines."""

    def run(*lines, exit_code=0, **inputs):
        tool = step.folder.parent / "fake"
        tool.write_text("\n".join([f"#!{sys.executable}", "import sys, os, json", *lines, f"sys.exit({exit_code})"]))
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        variables = {**step.variables, **{f"BENCH_CORE_{name.upper()}": value for name, value in inputs.items()}}
        return measure(Runner(variables, step.runner.out), project.root, project.base, project.head, tool)

    return run


@pytest.mark.parametrize("code", [0, 1, 2, 3, 70, 130, 137])
def test_a_gate_without_a_result_is_an_error_whatever_it_ends_with(faked, step, code):
    found = faked(exit_code=code)
    assert (found.verdict, found.exit_code) == ("error", code or 2)
    assert step.outputs()["verdict"] == "error"


def test_what_a_job_found_names_the_chosen_cells(faked):
    assert faked(exit_code=70, bench="tying|state_dict").bench == "tying|state_dict"


def test_what_a_job_found_names_the_job(faked, step):
    assert faked(exit_code=70, job="3.14, linux").job == "3.14, linux"
    assert from_bytes((step.folder / "outcome.json").read_bytes()).job == "3.14, linux"
    assert "in job <code>3.14, linux</code>" in (step.folder / "gate.html").read_text()


def test_a_result_that_contradicts_the_exit_code_is_an_error(faked, measured):
    copied = f"open(sys.argv[-4].split('=')[1], 'w').write(open({str(measured.folder / 'gate.json')!r}).read())"
    assert faked(copied, exit_code=1).verdict == "regression"
    found = faked(copied, exit_code=0)
    assert (found.verdict, found.exit_code) == ("error", 2)
    assert "follows from exit code 1" in found.reason


def test_a_verdict_that_does_not_follow_from_the_effects_has_no_weight(faked, measured, tmp_path):
    stored = json.loads((measured.folder / "gate.json").read_text())
    stored.update(verdict="pass", exit_code=0, reason="all fine")
    for cell in stored["cells"]:
        cell["verdict"] = "pass"
    (tmp_path / "forged.json").write_text(json.dumps(stored))
    copied = f"open(sys.argv[-4].split('=')[1], 'w').write(open({str(tmp_path / 'forged.json')!r}).read())"
    assert faked(copied, exit_code=0).verdict == "error"


def test_a_result_of_other_commits_is_an_error(faked, measured, tmp_path):
    stored = json.loads((measured.folder / "gate.json").read_text())
    stored["head"]["commit"] = stored["base"]["commit"]
    (tmp_path / "other.json").write_text(json.dumps(stored))
    copied = f"open(sys.argv[-4].split('=')[1], 'w').write(open({str(tmp_path / 'other.json')!r}).read())"
    assert "on other commits" in faked(copied, exit_code=1).reason


def test_a_result_that_an_earlier_step_left_is_not_used(faked, step):
    step.folder.mkdir(exist_ok=True)
    (step.folder / "gate.json").write_text("{}")
    assert "cannot be read" in faked().reason


def test_the_gate_gets_neither_the_token_nor_the_files_of_the_runner(faked, step, tmp_path):
    step.variables.update(MY_SECRET="x", CODECOV_TOKEN="x", ACTIONS_RUNTIME_URL="x", PATH=os.environ["PATH"], LANG="C")
    faked(f"open({str(tmp_path / 'seen')!r}, 'w').write(json.dumps(dict(os.environ)))")
    seen = json.loads((tmp_path / "seen").read_text())
    assert {"PATH", "LANG"} <= seen.keys()
    assert not [name for name in seen if name.startswith(("GITHUB_", "ACTIONS_", "RUNNER_", "BENCH_CORE_"))]
    assert not {"MY_SECRET", "CODECOV_TOKEN"} & seen.keys()
    assert TOKEN not in seen.values()


def test_ordinary_variables_of_a_suite_are_kept():
    kept = {"OMP_NUM_THREADS": "1", "SIZE": "10", "HOME": "/root"}
    assert clean({**kept, "AWS_SECRET_ACCESS_KEY": "x", "INPUT_TOKEN": "x"}) == kept


@pytest.mark.parametrize("value", ["--replay=x", "; rm -rf /", "$(id)", "-x", "a b"])
def test_no_input_is_read_as_another_option(step, value):
    step.variables["BENCH_CORE_BENCH"] = value
    asked = command(step.runner, "tool", "b" * 40, "a" * 40)
    assert asked[:3] == ["tool", "gate", f"--bench={value}"]
    assert asked[-2:] == ["b" * 40, "a" * 40]


def test_variables_for_benchmarks_are_handed_on_by_name(step):
    step.variables.update(BENCH_CORE_ENV="SIZE\n CASES", BENCH_CORE_ISOLATED="true")
    asked = command(step.runner, "tool", "b" * 40, "a" * 40)
    assert {"--env=SIZE", "--env=CASES", "--isolated"} <= set(asked)


def test_an_input_with_another_value_is_refused(step):
    for name, value in (("PROFILE", "fast"), ("STRICT", "yes")):
        step.variables[f"BENCH_CORE_{name}"] = value
        with pytest.raises(BenchCoreError, match=f"the input {name.lower()} is"):
            command(step.runner, "tool", "b" * 40, "a" * 40)
        del step.variables[f"BENCH_CORE_{name}"]
    with pytest.raises(ValueError, match="not the hash of a commit"):
        command(step.runner, "tool", "main", "a" * 40)


def test_a_changed_line_belongs_to_the_innermost_functions_around_it(tmp_path, repositories):
    inner = "class A:\n    def one(self):\n        def inner():\n            return 1\n        return inner\n"
    before = f"{inner}\n\ndef two():\n    return 2\n"
    made = repositories.new(tmp_path / "p", {"src/a/__init__.py": before, "b.py": "x = 1\n", "c.py": "def f(:\n"})
    base = made.git("rev-parse", "HEAD")
    head = made.commit(
        {"src/a/__init__.py": before.replace("return 1", "return 3"), "b.py": "x = 2\n", "c.py": "def f(\n"}
    )
    found = {one.name: one.place for one in changed_functions(made.root, base, head)}
    place = Place("src/a/__init__.py", 4, 4)
    assert found == {"src.a.A.one": place, "src.a.A.one.<locals>.inner": place}
    assert next(changed_functions(made.root, base, head)).is_called("a.A.one")
    assert not next(changed_functions(made.root, base, head)).is_called("c.a.A.one")


def test_the_lines_of_a_change_are_those_of_head():
    assert list(hunks("@@ -1 +1 @@\n@@ -4,2 +7,3 @@ def f\n+@@ -1 +99 @@\n@@ -9,2 +11,0 @@")) == [
        (1, 1),
        (7, 9),
        (12, 12),
    ]


def test_a_file_with_a_hostile_name_is_still_one_annotation(tmp_path, repositories):
    name = "a::error::b\n,line=9.py"
    made = repositories.new(tmp_path / "p", {name: "def f():\n    return 1\n"})
    base = made.git("rev-parse", "HEAD")
    head = made.commit({name: "def f():\n    return 2\n"})
    (found,) = changed_functions(made.root, base, head)
    assert found.place.file == name


@pytest.fixture
def ending(step, github):
    """The last step on an outcome."""

    def end(found, pull=None, **inputs):
        step.folder.mkdir(exist_ok=True)
        (step.folder / "outcome.json").write_bytes(to_bytes(found))
        step.event({} if pull is None else {"pull_request": pull})
        step.variables.update({f"BENCH_CORE_{name.upper()}": value for name, value in inputs.items()})
        return finish(step.runner)

    return end


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (GREEN, "notice"),
        (RED, "error"),
        (of(UNKNOWN, verdict="inconclusive"), "warning"),
        (of(UNKNOWN, verdict="inconclusive", exit_code=3), "error"),
        (of(verdict="error", exit_code=2), "error"),
    ],
)
def test_the_job_ends_with_its_status_and_says_so(ending, step, found, kind):
    result = ending(found)
    assert result.is_green is (kind != "error")
    assert f"::{kind} title=bench-core::{result.title}" in step.log()
    assert step.outputs()["status"] == ("success" if result.is_green else "failure")


def test_a_pull_request_gets_a_comment(ending, github):
    ending(RED, GitHub().open())
    ending(GREEN, GitHub().open())
    (made,) = github.comments
    assert "no cell slower" in made["body"]


def test_the_job_of_a_fork_writes_no_comment(ending, github):
    ending(RED, GitHub().open(fork=True))
    assert github.comments == []
    assert not [one for one in github.requests if one[0] != "GET"]


def test_a_label_turns_a_regression_green_and_names_who_put_it(ending, step, github):
    github.label("a" * 40)
    assert ending(RED, GitHub().open()).is_green
    assert step.outputs()["accepted-by"] == "maintainer"
    assert "Accepted by <b>maintainer</b>" in github.comments[0]["body"]
    assert "Accepted by <b>maintainer</b>" in step.summary()


def test_a_label_on_another_commit_or_with_another_name_does_not(ending, step, github):
    github.label("d" * 40)
    assert not ending(RED, GitHub().open()).is_green
    assert "an earlier commit" in step.log()
    github.label("a" * 40)
    assert not ending(RED, GitHub().open(), label="slower-is-fine").is_green
    assert not ending(RED, GitHub().open(), label="").is_green


def test_a_label_does_not_accept_what_is_broken(ending, github):
    github.label("a" * 40)
    assert not ending(of(BROKEN, verdict="error", exit_code=1), GitHub().open()).is_green


def test_a_label_that_cannot_be_read_does_not_count_and_the_permissions_are_named(ending, step, github):
    github.label("a" * 40)
    github.refused.add("actions/runs")
    assert not ending(RED, GitHub().open()).is_green
    assert "`actions: read`" in step.log()


def test_a_comment_that_cannot_be_written_does_not_change_the_status(ending, step, github):
    github.refused.add("issues")
    assert ending(GREEN, GitHub().open()).is_green
    assert "::warning title=bench-core::no comment was written" in step.log()
    assert "`pull-requests: write`" in step.log()
    assert TOKEN not in step.log()


def test_no_comment_is_written_if_none_is_wanted(ending, github):
    ending(RED, GitHub().open(), comment="never")
    ending(GREEN, GitHub().open(), comment="changes")
    assert github.comments == []


def test_the_commands_end_as_their_steps_must(step, github):
    step.folder.mkdir()
    step.event({})
    for found, code in ((GREEN, 0), (RED, 1)):
        (step.folder / "outcome.json").write_bytes(to_bytes(found))
        assert CliRunner().invoke(main, ["ci", "finish"], env=step.variables).exit_code == code
    (step.folder / "outcome.json").unlink()
    done = CliRunner().invoke(main, ["ci", "finish"], env=step.variables)
    assert done.exit_code == 2
    assert "has left no outcome" in done.stderr


def test_accepted_regressions_are_added_by_a_command(step, github, tmp_path, repositories, monkeypatch):
    made = repositories.new(tmp_path / "p")
    made.configure(results_dir="results")
    monkeypatch.chdir(made.root)
    done = CliRunner().invoke(main, ["ci", "accepted"], env=step.variables)
    assert (done.exit_code, done.output) == (0, "")


def test_the_label_is_an_input(step):
    assert step.runner.given("label") == LABEL


def test_the_folder_of_the_evidence_is_that_of_the_gate_and_inside_the_repository(measured, project, step, monkeypatch):
    monkeypatch.chdir(project.root)
    done = CliRunner().invoke(main, ["ci", "evidence"], env=step.variables)
    assert done.exit_code == 0, done.output
    folder = Path(step.outputs()["folder"])
    assert list(folder.glob("*.jsonl"))
    assert evidence_folder(project.root, "", needs_suite=False) == folder  # a gate on a model keeps its own there, too
    apart = evidence_folder(project.root, "", isolated=True)
    assert apart == folder.parent / "isolated" / "evidence"
    for outside in ("../env", "/tmp/env", "a\n/etc"):
        config = {"version": 1, "project": "thing", "repo": ".", "env_dir": outside}
        (project.root / "other.json").write_text(json.dumps(config))
        with pytest.raises(BenchCoreError, match="outside of the repository"):
            evidence_folder(project.root, "other.json")


def test_a_gate_on_a_model_needs_no_suite_and_its_outcome_names_the_model(faked, step, project, tmp_path, monkeypatch):
    found = faked("print('asked', *sys.argv)", exit_code=2, model="nets:build", input="example()")
    assert found.model == ModelSpec("nets:build", input="example()")
    assert from_bytes(to_bytes(found)) == found
    monkeypatch.chdir(tmp_path)
    variables = {**step.variables, "BENCH_CORE_MODEL": "nets:build"}
    assert CliRunner().invoke(main, ["ci", "evidence"], env=step.variables).exit_code == 2
    assert CliRunner().invoke(main, ["ci", "evidence"], env=variables).exit_code == 0
    assert step.outputs()["folder"] == str(tmp_path / ".bench_core/env/bench-core/evidence")


def test_the_model_is_passed_on_as_options(step):
    step.variables.update({"BENCH_CORE_MODEL": "nets:build", "BENCH_CORE_INPUT": "example()"})
    asked = command(step.runner, "tool", "b" * 40, "a" * 40)
    assert {"--model=nets:build", "--input=example()"} <= {*asked}
