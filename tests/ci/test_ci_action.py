"""The action and the workflows: what their files say, and the action's own steps run as GitHub's runner runs them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hub import LABEL, GitHub, outputs_in

from bench_core.ci import comment, measure
from bench_core.ci.builds import build_requirements
from bench_core.ci.outcome import from_bytes
from bench_core.ci.plan import OUTCOMES
from bench_core.ci.runner import Runner

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
COMMENT = yaml.safe_load((ROOT / "comment/action.yml").read_text())
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FILES = [ROOT / "action.yml", ROOT / "comment/action.yml", *WORKFLOWS]


def steps_of(content):
    """All steps in a workflow or an action."""
    if isinstance(content, dict):
        yield from content.get("steps") or ()
        content = content.values()
    for part in content if not isinstance(content, str) and hasattr(content, "__iter__") else ():
        yield from steps_of(part)


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_expression_stands_in_a_script(file):
    for step in steps_of(yaml.safe_load(file.read_text())):
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_other_actions_are_pinned_by_their_hash_and_name_their_version(file):
    for line in file.read_text().splitlines():
        if found := re.search(r"uses: (\S+)(.*)", line):
            assert found[1].startswith("./") or re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40}", found[1])
            assert found[1].startswith("./") or re.fullmatch(r" # v\d+\.\d+\.\d+", found[2])


def test_one_action_has_one_version():
    used = {}
    for file in FILES:
        for name, rest in re.findall(r"uses: ([\w/-]+)@(.*)", file.read_text()):
            used.setdefault(name, set()).add(rest)
    assert all(len(found) == 1 for found in used.values()), used


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_do_nothing_but_what_its_jobs_say(file):
    found = yaml.safe_load(file.read_text())
    assert found["permissions"] == {}
    for job in found["jobs"].values():
        assert job["permissions"]
        assert job["timeout-minutes"]
    for step in steps_of(found):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_the_code_of_head_runs_in_a_step_without_the_token():
    with_token = [step.get("id") for step in ACTION["runs"]["steps"] if "token" in str(step.get("env"))]
    assert with_token == ["finish"]


def test_the_second_workflow_checks_out_nothing_of_the_pull_request():
    (checkout, *_) = steps_of(yaml.safe_load((ROOT / ".github/workflows/comment.yml").read_text()))
    assert checkout["with"] == {"persist-credentials": False}


def test_each_input_reaches_a_step():
    text = (ROOT / "action.yml").read_text()
    for name in ACTION["inputs"]:
        assert f"inputs.{name}" in text
    (gate,) = (step for step in ACTION["runs"]["steps"] if step.get("id") == "gate")
    passed = {
        key.removeprefix("BENCH_CORE_").lower().replace("_", "-") for key in gate["env"] if key.startswith("BENCH")
    }
    assert passed == {*measure.OPTIONS, *measure.FLAGS, "profile", "env", "job"}
    assert {name: one["default"] for name, one in COMMENT["inputs"].items()} == {
        name: ACTION["inputs"][name]["default"] for name in COMMENT["inputs"]
    }
    assert ACTION["inputs"]["comment"]["default"] == comment.WHEN[0]


# ------------------------------------------------------------------------------------------------ the steps themselves


class Job:
    """Runs the action's own steps, as GitHub's runner does. Steps of other actions are taken to have done their work:
    Python is set up, and the environment was cached."""

    def __init__(self, step, project, inputs, matrix=()):
        self.variables = {**os.environ, **step.variables, "GITHUB_ACTION_PATH": str(ROOT), "GITHUB_WORKSPACE": project}
        self.variables.pop("GITHUB_TOKEN")
        self.step, self.project = step, project
        self.values = {f"inputs.{name}": one.get("default", "") for name, one in ACTION["inputs"].items()}
        self.values |= {f"inputs.{name}": value for name, value in inputs.items()}
        self.values |= {"github.token": "the-token", "github.run_id": "4711", "github.run_attempt": "1"}
        self.values |= {"join(matrix.*, ', ')": ", ".join(matrix)}
        self.values |= {"steps.python.outputs.python-path": sys.executable}
        self.values |= {"steps.environment.outputs.cache-hit": "true", "runner.temp": step.variables["RUNNER_TEMP"]}
        self.uses = []
        step.folder.mkdir(exist_ok=True)
        (step.folder / "environment").symlink_to(Path(sys.executable).parents[1])

    def text(self, template):
        """A text with its expressions in place, also those in the default of an input."""
        for _ in range(2):
            template = re.sub(r"\$\{\{ (.+?) \}\}", lambda found: self.values.get(found[1], ""), str(template))
        assert "${{" not in template
        return template

    def is_wanted(self, condition):
        parts = (re.fullmatch(r"([\w.-]+) (==|!=) '(\w+)'", part) for part in condition.split(" && "))
        return all((self.values.get(part[1], "") == part[3]) is (part[2] == "==") for part in parts)

    def run(self, only=None):
        """The exit code, and the log. `only` is the step to run."""
        log = []
        for step in ACTION["runs"]["steps"]:
            if only not in (None, step.get("id")) or not self.is_wanted(step.get("if", "inputs.checkout != 'never'")):
                continue
            if "uses" in step:
                self.uses.append((step["uses"].partition("@")[0], {k: self.text(v) for k, v in step["with"].items()}))
                continue
            output = Path(self.variables["GITHUB_OUTPUT"])
            output.write_text("")
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=self.project,
                env={**self.variables, **{name: self.text(value) for name, value in step["env"].items()}},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            log.append(done.stdout)
            found = outputs_in(output.read_text())
            self.values |= {f"steps.{step.get('id')}.outputs.{name}": value for name, value in found.items()}
            if done.returncode:
                return done.returncode, "".join(log)
        return 0, "".join(log)


CASES = "import thing\n\n\nclass Call:\n    def time_value(self):\n        thing.value()\n"
LOOP = "def value():\n    for _ in range(2000):\n        pass\n"
QUICKLY = {"budget": "20s", "lanes": "1", "noise-floor": "30%", "limit": "60%", "suite": "bench/asv.conf.json"}


@pytest.fixture
def project(tmp_path, repositories):
    made = repositories.new(tmp_path / "project")
    config = '{"version": 1, "project": "thing", "repo": "..", "benchmark_dir": "cases", "env_dir": "env"}'
    made.base = made.commit(
        {
            "thing/__init__.py": LOOP,
            "bench/asv.conf.json": config,
            "bench/cases/__init__.py": "",
            "bench/cases/calls.py": CASES,
            ".gitignore": "env/\nresults/\n",
        }
    )
    made.git("checkout", "-q", "-b", "slower")
    made.head = made.commit({"thing/__init__.py": LOOP.replace("2000", "6000")})
    return made


@pytest.mark.thorough
def test_the_action_turns_a_slower_pull_request_red_and_comments_and_a_label_turns_it_green(step, github, project):
    pull = GitHub().open(head=project.head, base=project.base)
    step.event({"pull_request": pull})
    job = Job(step, str(project.root), QUICKLY)
    code, log = job.run()
    assert code == 1, log
    assert "::error title=bench-core::1 cell slower" in log
    (made,) = github.comments
    assert "calls.Call.time_value" in made["body"]
    assert "--suite bench/asv.conf.json" in made["body"]
    assert job.values["steps.gate.outputs.verdict"] == "regression"
    used = dict(job.uses)
    assert used["actions/checkout"] == {"fetch-depth": "0", "persist-credentials": "False"}
    assert used["actions/cache/save"]["path"] == str(project.root / "bench/env/bench-core/evidence")
    assert Path(used["actions/cache/save"]["path"]).is_dir()
    uploaded = used["actions/upload-artifact"]["path"].split()
    assert [Path(path).name for path in uploaded if Path(path).is_file()] == ["gate.html", "gate.json"]

    github.label(project.head)
    code, log = job.run("finish")
    assert code == 0, log
    assert job.values["steps.finish.outputs.accepted-by"] == "maintainer"
    (made,) = github.comments
    assert f"with the label <code>{LABEL}</code>" in made["body"]


@pytest.mark.thorough
def test_the_action_confines_a_fork_and_leaves_its_outcome_to_the_second_workflow(step, github, project):
    step.event({"pull_request": GitHub().open(head=project.head, base=project.base, fork=True)})
    job = Job(step, str(project.root), QUICKLY)
    code, log = job.run()
    if "--isolated is not possible here" in log:
        pytest.skip("processes cannot be confined here")
    assert code == 1, log
    assert "confined" in log
    assert from_bytes((step.folder / "outcome.json").read_bytes()).count("slower") == 1
    assert project.git("rev-parse", "HEAD") == project.base
    used = dict(job.uses)
    assert used["actions/cache/save"]["path"] == str(project.root / "bench/env/bench-core/isolated/evidence")
    assert Path(used["actions/cache/save"]["path"]).is_dir()
    assert github.comments == []
    names = [given["name"] for name, given in job.uses if name == "actions/upload-artifact"]
    assert names == ["bench-core", f"{OUTCOMES}-bench-core"]


def test_the_jobs_of_a_matrix_have_artifacts_and_evidence_of_their_own(step, project):
    step.event({"pull_request": GitHub().open(head=project.head, base=project.base)})
    job = Job(step, str(project.root), {"python": "3.13"}, matrix=("3.13", "ubuntu-24.04"))
    code, log = job.run("plan")
    assert code == 0, log
    planned = {name: job.values[f"steps.plan.outputs.{name}"] for name in ("artifact", "outcome")}
    assert planned == {
        "artifact": "bench-core-3.13-ubuntu-24.04",
        "outcome": f"{OUTCOMES}-bench-core-3.13-ubuntu-24.04",
    }
    (gate,) = (one for one in ACTION["runs"]["steps"] if one.get("id") == "gate")
    assert job.text(gate["env"]["BENCH_CORE_JOB"]) == "3.13, ubuntu-24.04"
    uploads = [one["with"]["name"] for one in ACTION["runs"]["steps"] if "upload-artifact" in one.get("uses", "")]
    assert [job.text(name) for name in uploads] == list(planned.values())


def test_a_second_use_in_one_job_has_a_folder_caches_and_artifacts_of_its_own(step, project):
    step.event({"pull_request": GitHub().open(head=project.head, base=project.base)})
    job = Job(step, str(project.root), {})
    seen = []
    for bench in ("", "time_value", "Call"):
        job.values["inputs.bench"] = bench
        code, log = job.run("plan")
        assert code == 0, log
        names = ("artifact", "outcome", "folder", "environment", "evidence")
        seen.append([job.values[f"steps.plan.outputs.{name}"] for name in names])
    assert [artifact for artifact, *_ in seen] == ["bench-core", "bench-core-use-2", "bench-core-use-3"]
    assert [Path(folder).name for _, _, folder, *_ in seen] == ["bench-core", "bench-core-2", "bench-core-3"]
    assert all(len(set(alike)) == len(seen) for alike in zip(*seen, strict=True))


def test_the_steps_of_a_second_use_write_into_its_own_folder(step):
    folder = step.folder.with_name("bench-core-2")
    assert Runner({**step.variables, "FOLDER": str(folder)}, None).folder == folder


def test_two_uses_in_one_job_that_would_have_one_comment_are_refused_with_the_cure(step, project):
    step.event({"pull_request": GitHub().open(head=project.head, base=project.base)})
    job = Job(step, str(project.root), {})
    assert job.run("plan")[0] == 0
    job.values |= {"inputs.artifact": "numbers", "inputs.strict": "true"}
    code, log = job.run("plan")
    assert code == 2
    assert "::error title=bench-core::an earlier step of this job uses the action on the same cells" in log
    assert "another `job`" in log
    job.values["inputs.job"] = "strict"
    assert job.run("plan")[0] == 0


def test_an_action_that_cannot_begin_ends_with_its_cause(step, project):
    step.event({"pull_request": GitHub().open()})
    code, log = Job(step, str(project.root), {}).run()
    assert code == 2
    assert "::error title=bench-core::" in log


PIP = ["pip", "--disable-pip-version-check", "--quiet"]

PYTHON = """#!/usr/bin/env bash
# Makes a virtual environment that has this script in place of Python, or writes down its words, one a line.
if [ "$2 $3" = "-m venv" ]; then mkdir -p "$4/bin" && cp "$0" "$4/bin/python"; exit; fi
{ printf '%s\\n' "$@"; echo; } >> "$FOLDER/words"
"""


@pytest.fixture
def installed(tmp_path):
    """The words of each call of pip, with a Python that installs nothing."""
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    folder = tmp_path / "a folder"

    def install(requirements):
        given = {"PYTHON": str(python), "FOLDER": str(folder), "TOOL": "/the tool", "REQUIREMENTS": requirements}
        subprocess.run(
            ["bash", str(ROOT / "bench_core/ci/install.sh")], env={**os.environ, **given}, cwd=tmp_path, check=True
        )
        words = (folder / "words").read_text()
        (folder / "words").unlink()
        calls = [call.splitlines() for call in words.split("\n\n") if call]
        builds = str(folder / "builds.txt")
        return [["FOLDER/builds.txt" if word == builds else word for word in call[2:]] for call in calls]

    return install


def test_the_environment_gets_the_tool_and_then_the_requirements(installed):
    words = ["-r", "needs.txt", "numpy==2.*", ".[dev]"]
    assert installed(" ".join(words)) == [
        [*PIP, "install", "/the tool"],
        [*PIP, "install", *words],
        ["bench_core.ci.builds", *words],
        [*PIP, "install", "-r", "FOLDER/builds.txt"],
    ]
    assert installed("") == [[*PIP, "install", "/the tool"]]


def test_what_builds_a_project_is_installed_too_since_an_isolated_gate_has_no_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "modern": '[build-system]\nrequires = ["hatchling>=1", "hatch-vcs"]\n',
        "silent": "[project]\n",
        "damaged": "[",
    }.items():
        Path(name).mkdir()
        Path(name, "pyproject.toml").write_text(text)
    Path("old").mkdir()
    Path("old/setup.py").touch()
    Path("empty").mkdir()
    assert build_requirements(["./modern[fast]"]) == ["hatchling>=1", "hatch-vcs"]
    assert build_requirements(["silent", "old", "./modern", "-e"]) == ["setuptools", "hatchling>=1", "hatch-vcs"]
    assert build_requirements(["damaged", "empty", "numpy==2.*", "-r", "needs.txt"]) == []


def test_a_requirement_is_never_run(installed, tmp_path):
    text = "$(touch x) `touch x` ; touch x > x *"
    assert installed(text)[1] == [*PIP, "install", *text.split()]
    assert not (tmp_path / "x").exists()


def test_the_nightly_results_are_kept_on_a_branch_of_their_own(tmp_path, repositories):
    there = repositories.new(tmp_path / "origin", {"thing.py": "", ".gitignore": ".asv/\n", "results/a.json": "{}"})
    script = str(ROOT / ".github/history.sh")

    def night(number, name):
        here = tmp_path / f"night-{number}"
        there.git("clone", "-q", there.root, here)
        subprocess.run(["bash", script, "take"], cwd=here, check=True)
        seen = sorted(path.name for path in (here / "results").iterdir())
        (here / "results" / name).write_text("{}")
        subprocess.run(["bash", script, "keep"], cwd=here, check=True)
        return seen

    assert night(1, "first.json") == ["a.json"]
    assert night(2, "second.json") == ["a.json", "first.json"]
    kept = there.git("ls-tree", "-r", "--name-only", "bench-core-history").splitlines()
    assert kept == ["results/a.json", "results/first.json", "results/second.json"]
    assert there.git("rev-list", "--count", "bench-core-history") == "2"
    assert there.git("ls-tree", "--name-only", "main").splitlines() == [".gitignore", "results", "thing.py"]


def test_the_script_of_the_nightly_results_says_how_it_is_used(tmp_path):
    done = subprocess.run(["bash", str(ROOT / ".github/history.sh")], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "usage: history.sh take|keep\n")
