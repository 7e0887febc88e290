"""`bench-core init` as a person meets it, in small projects. What it writes is used by the other commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench_core.asv_config import asv_config
from bench_core.cli import main
from bench_core.scaffold import files

MODULE = '''
def count(text):
    """Count the words of a text.

    >>> count("one two one")
    {'one': 2, 'two': 1}
    """
    found = {}
    for word in text.split():
        found[word] = found.get(word, 0) + 1
    return {word: number for word, number in sorted(found.items()) if number}
'''
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "words"
version = "0.1"
"""
EXTENSION = """
from setuptools import Extension, setup

setup(name="words", version="0.1", packages=["words"], ext_modules=[Extension("words._fast", ["words/_fast.c"])])
"""
FLAT = {"pyproject.toml": PROJECT, "words/__init__.py": MODULE}
CELL = "example.time_count"
WORKFLOW = ".github/workflows/benchmarks.yml"


@pytest.fixture
def project(tmp_path, repositories):
    """Makes a repository of a project with these files."""
    return lambda contents: repositories.new(tmp_path / "project", contents)


def init(folder, *options):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(main, ["init", *options])


def bench_core(folder, *arguments):
    """A command in a process of its own: this one has another package `benchmarks`. The projects are not installed."""
    found = os.pathsep.join(str(path) for path in (folder, folder / "src", Path(files.__file__).parents[2]))
    return subprocess.run(
        [sys.executable, "-m", "bench_core", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": found},
        capture_output=True,
        text=True,
        check=False,
    )


def listed(folder):
    done = bench_core(folder, "list")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("contents", "cell"),
    [
        (FLAT, CELL),
        ({"pyproject.toml": PROJECT, "src/words/__init__.py": MODULE}, CELL),
        ({"setup.py": EXTENSION, "words/__init__.py": MODULE, "words/_fast.c": ""}, CELL),
        ({"pyproject.toml": PROJECT, "words/__init__.py": "COUNT = 1\n"}, "example.timeraw_import"),
    ],
    ids=["flat", "src", "extension", "nothing to call"],
)
def test_a_project_gets_an_example_that_the_other_commands_find(project, contents, cell):
    made = project(contents)
    done = init(made.root)
    assert (done.exit_code, done.stderr) == (0, "")
    assert listed(made.root) == [cell]
    assert done.stdout.splitlines()[-1] == "  bench-core gate HEAD --all"
    assert made.git("status", "--short").split("\n") == [
        "?? .github/",
        "?? .gitignore",
        "?? asv.conf.json",
        "?? benchmarks/",
    ]


def test_a_second_call_changes_nothing(project):
    made = project(FLAT)
    init(made.root)
    made.commit()
    done = init(made.root)
    assert (done.exit_code, made.git("status", "--short")) == (0, "")
    assert "new" not in done.stdout.split()
    assert done.stdout.splitlines()[-1] == "  bench-core list"


def test_a_project_in_a_subfolder_is_set_up_where_it_is(project):
    made = project({f"python/words/{name}": text for name, text in FLAT.items()} | {"README.md": ""})
    below = made.root / "python/words"
    (below / "docs").mkdir()
    done = init(below / "docs")
    assert done.stdout.splitlines()[-1] == "  cd .. && bench-core gate HEAD --all"
    assert listed(below) == [CELL]
    named = asv_config(below / "asv.conf.json")
    assert (named.repo, named.subdir) == ("../..", "python/words")
    assert named.environments.resolve() == made.root / ".asv/env"
    workflow = (made.root / WORKFLOW).read_text()
    assert 'suite: "python/words/asv.conf.json"' in workflow
    assert 'requirements: "./python/words"' in workflow


def test_a_configuration_that_is_there_is_kept_and_names_the_suite(project):
    settings = json.dumps({"version": 1, "project": "words", "repo": ".", "benchmark_dir": "cases", "env_dir": "env"})
    made = project({**FLAT, "asv.conf.json": settings})
    done = init(made.root)
    assert "kept     asv.conf.json" in done.stdout
    assert (made.root / "asv.conf.json").read_text() == settings
    assert listed(made.root) == [CELL]
    assert (made.root / "cases/example.py").exists()
    assert "/env/" in (made.root / ".gitignore").read_text().split()


def test_a_suite_that_is_there_gets_no_example(project):
    settings = json.dumps({"version": 1, "project": "words", "repo": "..", "benchmark_dir": "cases"})
    made = project({**FLAT, "asv_bench/asv.conf.json": settings, "asv_bench/cases/__init__.py": ""})
    made.commit({"asv_bench/cases/mine.py": "def time_it(): pass\n"})
    done = init(made.root)
    assert "the suite has benchmarks (mine.py)" in done.stdout
    assert done.stdout.splitlines()[-1] == "  cd asv_bench && bench-core list"
    assert not (made.root / "benchmarks").exists()
    assert 'suite: "asv_bench/asv.conf.json"' in (made.root / WORKFLOW).read_text()


def test_code_that_is_in_the_folder_already_is_not_taken_for_a_suite(project):
    made = project({**FLAT, "benchmarks/run.py": "raise SystemExit\n"})
    assert init(made.root).exit_code == 0
    assert listed(made.root) == [CELL]
    made.commit({"asv.conf.json": None, "benchmarks/asv_suite/own.py": ""})
    assert "hold code that no asv.conf.json names" in init(made.root).stderr


def test_a_workflow_that_is_there_is_kept(project):
    made = project({**FLAT, WORKFLOW: "mine"})
    done = init(made.root)
    assert f"kept     {WORKFLOW}" in done.stdout
    assert (made.root / WORKFLOW).read_text() == "mine"
    assert listed(made.root) == [CELL]


def test_gitignore_gets_only_what_git_does_not_ignore(project):
    made = project({**FLAT, ".gitignore": "*.pyc\r\n__pycache__\r\nlast"})
    init(made.root)
    assert (made.root / ".gitignore").read_bytes() == b"*.pyc\r\n__pycache__\r\nlast\n/.asv/\n"


def test_an_environment_in_the_repository_is_ignored(project, monkeypatch):
    made = project(FLAT)
    monkeypatch.setattr(sys, "prefix", str(made.root / "my env"))
    init(made.root)
    assert "/my env/" in (made.root / ".gitignore").read_text().splitlines()


def test_the_branch_that_others_are_merged_into_is_named(tmp_path, project, repositories):
    made = project(FLAT)
    made.git("branch", "-m", "trunk")
    made.git("clone", "--quiet", made.root, tmp_path / "clone")
    cloned = repositories(tmp_path / "clone")
    cloned.git("switch", "--quiet", "-c", "work")
    init(cloned.root)
    assert '"branches": ["trunk"]' in cloned.config.read_text()


def test_without_a_commit_the_first_one_is_next(tmp_path, repositories):
    made = repositories.new(tmp_path / "project")
    made.write(FLAT)
    assert init(made.root).stdout.splitlines()[-1] == "  git -C . add . && git commit -m 'Start'"


def test_without_a_package_nothing_is_written(project):
    made = project({"pyproject.toml": PROJECT})
    done = init(made.root)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "no package found" in done.stderr
    assert made.git("status", "--short") == ""


def test_what_cannot_be_written_is_named_and_nothing_else_is_written(project):
    made = project({**FLAT, ".github": "a file"})
    done = init(made.root)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "benchmarks.yml cannot be written: " in done.stderr
    assert made.git("status", "--short") == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only here")
def test_a_read_only_repository_is_refused(project):
    made = project(FLAT)
    made.root.chmod(0o555)
    done = init(made.root)
    made.root.chmod(0o755)
    assert (done.exit_code, "Permission denied" in done.stderr) == (2, True)


def test_the_workflows_use_one_version_of_the_action(project):
    made = project(FLAT)
    init(made.root)
    used = [
        line.split()[-1]
        for path in sorted((made.root / ".github/workflows").iterdir())
        for line in path.read_text().splitlines()
        if "uses:" in line
    ]
    action, version = files.ACTION.split("@")
    assert used == [f"{action}/comment@{version}", files.ACTION]


@pytest.mark.thorough
def test_the_gate_runs_on_what_was_written(project):
    made = project(FLAT)
    init(made.root)
    # The thresholds are such that no other load on the machine gets in the way.
    clearly = ("--noise-floor", "30%", "--limit", "60%", "--budget", "20s", "--lanes", "1")
    done = bench_core(made.root, "gate", "HEAD", "--all", *clearly)
    assert done.returncode == 0, done.stderr
    assert "PASS  1 cell, none slower by 60 %" in done.stdout.splitlines()
    assert made.git("status", "--short", "--ignored").count("!! .asv/") == 1
