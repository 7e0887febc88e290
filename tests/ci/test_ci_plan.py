"""The first step: what is compared, and the names of the caches."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hub import GitHub, outputs_in

from bench_core.ci import plan as planning
from bench_core.ci.plan import digest, plan
from bench_core.ci.runner import Runner
from bench_core.errors import BenchCoreError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, repositories):
    """A repository in which main and a branch have gone apart."""
    made = repositories.new(tmp_path / "project", {"thing.py": "a = 1\n"})
    made.fork = made.git("rev-parse", "HEAD")
    made.git("checkout", "-q", "-b", "faster")
    made.head = made.commit({"thing.py": "a = 2\n"})
    made.git("checkout", "-q", "main")
    made.main = made.commit({"other.py": ""})
    return made


def planned(step, project, **inputs):
    runner = Runner({**step.variables, **{f"BENCH_CORE_{name.upper()}": value for name, value in inputs.items()}}, None)
    return plan(runner, ROOT, project.root)


def opened(step, project, **how):
    step.event({"pull_request": GitHub().open(head=project.head, base=project.main, **how)})


def test_a_pull_request_is_compared_with_its_merge_base(step, project):
    opened(step, project)
    made = planned(step, project)
    assert (made.base, made.head, made.pull_request, made.is_fork) == (project.fork, project.head, 12, False)


def test_a_push_is_compared_with_the_commit_before_it(step, project):
    step.event({"before": project.fork})
    step.variables["GITHUB_SHA"] = project.main
    assert planned(step, project).base == project.fork
    step.event({"before": "0" * 40})  # a new branch
    assert planned(step, project).base == project.fork  # the parent


def test_base_and_head_can_be_asked_for(step, project):
    step.event({})
    made = planned(step, project, base="main", head=project.head)
    assert (made.base, made.head) == (project.main, project.head)


@pytest.mark.parametrize("name", ["no-such", "--upload-pack=x", "-h"])
def test_what_is_no_commit_is_refused_with_the_cure(step, project, name):
    step.event({})
    with pytest.raises(BenchCoreError, match=r"is no commit .*fetch-depth: 0"):
        planned(step, project, base=name, head=project.head)


def test_a_shallow_checkout_is_refused_with_the_cure(step, project, tmp_path):
    opened(step, project)
    project.git("clone", "-q", "--depth=1", "--branch=faster", f"file://{project.root}", tmp_path / "shallow")
    with pytest.raises(BenchCoreError, match="fetch-depth: 0"):
        plan(step.runner, ROOT, tmp_path / "shallow")


def test_a_fork_and_the_repository_share_no_cache(step, project):
    names = []
    for how in ({}, {"fork": True}, {"fork": True, "number": 13}):
        opened(step, project, **how)
        made = planned(step, project)
        names.append((made.environment, made.evidence))
    for kind in range(2):
        # A cache is restored by the beginning of its name.
        firsts = {name[kind].split("-Linux")[0] for name in names}
        assert len(firsts) == 3
        assert not any(one != other and one.startswith(other) for one in firsts for other in firsts)


def test_a_pull_request_of_a_deleted_fork_is_that_of_a_fork(step, project):
    there = GitHub().open(head=project.head, base=project.main)
    there["head"]["repo"] = None
    step.event({"pull_request": there})
    assert planned(step, project).is_fork


def test_the_evidence_of_other_commits_is_never_restored(step, project):
    opened(step, project)
    before = planned(step, project)
    project.git("checkout", "-q", "faster")
    project.head = project.commit({"thing.py": "a = 3\n"})
    opened(step, project)
    after = planned(step, project)
    assert before.environment == after.environment
    assert not after.evidence.startswith(before.evidence)


def test_the_evidence_on_another_model_is_never_restored(step, project):
    opened(step, project)
    names = {planned(step, project, **how).evidence for how in ({}, {"model": "a:b"}, {"model": "a:b", "input": "2x4"})}
    assert len(names) == 3


def test_another_environment_has_another_name(step, project):
    opened(step, project)
    names = {planned(step, project).environment, planned(step, project, requirements="numpy").environment}
    project.write({"requirements.txt": "numpy\n"})
    names.add(planned(step, project).environment)
    project.write({"ci.in": "scipy\n"})
    names.add(planned(step, project, requirements="-r ci.in").environment)
    project.write({"ci.in": "scipy<2\n"})
    names.add(planned(step, project, requirements="-r ci.in").environment)
    assert len(names) == 5


def test_each_job_of_a_workflow_has_names_of_its_own(step, project):
    opened(step, project)
    given = [{}, {"job": "3.13"}, {"job": "3.14"}, {"artifact": "numbers"}, {"artifact": "numbers", "job": "3.13"}]
    made = [planned(step, project, **{"artifact": "bench-core", **inputs}) for inputs in given]
    assert [one.use.artifact for one in made] == [
        *("bench-core", "bench-core-3.13", "bench-core-3.14", "numbers", "numbers-3.13")
    ]
    assert len({one.outcome for one in made}) == len(made)
    assert all(one.outcome.startswith(planning.OUTCOMES) for one in made)
    assert len({one.evidence for one in made}) == 3  # the artifact's name changes no evidence


@pytest.mark.parametrize("job", ['a/b:c*d?"<>|\\e\r\nf', "../../x", "é\u202e", "${{ x }}", " "])
def test_an_artifact_has_a_name_that_github_takes(step, project, job):
    opened(step, project)
    made = planned(step, project, artifact="bench-core", job=job)
    assert re.fullmatch(r"[A-Za-z0-9_.+-]+", made.use.artifact)
    assert re.fullmatch(r"[A-Za-z0-9_.+-]+", made.outcome)


def test_texts_that_only_look_alike_together_have_other_digests():
    assert digest(["ab", "c"]) != digest(["a", "bc"]) != digest(["abc"])


@pytest.mark.parametrize("hash", ["a" * 39, "A" * 40, "a" * 40 + "\n", "$(id)", None])
def test_an_event_with_another_hash_is_refused(step, project, hash):
    there = GitHub().open()
    there["head"]["sha"] = hash
    step.event({"pull_request": there})
    with pytest.raises(BenchCoreError, match="in an unknown way"):
        planned(step, project)


def test_the_step_needs_nothing_installed_and_imports_nothing_from_the_project(step, project):
    opened(step, project)
    trap = "raise SystemExit('the project was imported')\n"
    project.write({"bench_core/__init__.py": trap, "json.py": trap, "hashlib.py": trap})
    done = subprocess.run(
        [sys.executable, "-I", "-S", planning.__file__],
        cwd=project.root,
        env={**os.environ, **step.variables, "GITHUB_WORKSPACE": str(project.root), "PYTHONPATH": str(project.root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    found = step.outputs()
    assert (found["base"], found["head"], found["fork"]) == (project.fork, project.head, "false")
    assert found["environment"].startswith("bench-core-environment-own-Linux")
    assert f"{project.fork}-{project.head}-" in found["evidence"]


def test_a_step_that_fails_says_so_in_an_annotation(step, project):
    step.event({"pull_request": GitHub().open()})
    done = subprocess.run(
        [sys.executable, "-I", "-S", planning.__file__],
        env={**step.variables, "GITHUB_WORKSPACE": str(project.root), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout.startswith("::error title=bench-core::")


def test_an_output_cannot_begin_another_one(step):
    step.runner.give(verdict="pass\nverdict<<end\nregression\nend", exit_code="0")
    assert step.outputs() == {"verdict": "pass\nverdict<<end\nregression\nend", "exit-code": "0"}


def test_a_variable_that_is_missing_is_named():
    with pytest.raises(BenchCoreError, match="RUNNER_TEMP is not set"):
        _ = Runner({}, None).folder


def test_the_outputs_are_read_as_the_runner_reads_them():
    assert outputs_in("a<<x\n1\n2\nx\nb<<y\n\ny\n") == {"a": "1\n2", "b": ""}
    assert json.dumps(outputs_in("")) == "{}"


def test_a_fork_is_isolated_in_the_working_tree_of_base_and_a_branch_is_not(step, project):
    opened(step, project)
    project.git("checkout", "-q", "faster")
    assert not planned(step, project).is_isolated
    assert project.git("rev-parse", "HEAD") == project.head
    opened(step, project, fork=True)
    assert not planned(step, project, isolated="false").is_isolated
    assert planned(step, project, isolated="auto").is_isolated
    assert project.git("rev-parse", "HEAD") == project.fork
    assert (project.root / "thing.py").read_text() == "a = 1\n"
    opened(step, project)
    assert planned(step, project, isolated="true").is_isolated
    with pytest.raises(BenchCoreError, match="not auto, true or false"):
        planned(step, project, isolated="yes")
