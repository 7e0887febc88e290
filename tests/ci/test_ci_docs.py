"""docs/ci.md: its tables are those of the action, and its recipes do what they say."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hub import of

from bench_core.ci.status import STOPPED, status

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/ci.md").read_text()
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())


COMMENT = yaml.safe_load((ROOT / "comment/action.yml").read_text())


def section(title):
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ")[0]


def rows(title):
    """The first table of a section, without its head: the fields of each row."""
    return next(tables(title))


def tables(title):
    """The tables of a section."""
    for found in re.findall(r"(?:^\| .*\n)+", f"{section(title)}\n", re.MULTILINE):
        yield [[field.strip() for field in line.strip("| ").split(" | ")] for line in found.splitlines()[2:]]


def test_the_inputs_are_those_of_the_two_actions():
    for action, table in zip((ACTION, COMMENT), tables("Inputs"), strict=True):
        found = {row[0].strip("`"): row for row in table}
        assert list(found) == list(action["inputs"])
        for name, one in action["inputs"].items():
            said = found[name][2]
            assert not one["default"] or one["default"].startswith("${{ ") or said.startswith(f"`{one['default']}`"), (
                name
            )


def test_the_outputs_are_those_of_the_action():
    assert [row[0].strip("`") for row in rows("Outputs")] == list(ACTION["outputs"])


def test_each_exit_code_is_in_the_table():
    said = {row[1]: row[2] for row in rows("What a job ends with")}
    assert {*said} == {"0", "1", *(str(code) for code in STOPPED if code != 130), "other"}
    for code, what in said.items():
        verdict = {"0": "pass", "1": "regression"}.get(code, "error")
        if code != "other" and code != "1":
            assert what.startswith("green") is status(of(verdict=verdict, exit_code=int(code))).is_green


def blocks(title):
    """The indented blocks of a section, as they are copied."""
    for found in re.findall(r"(?:^ {4,}.*\n|^\n)+", section(title), re.MULTILINE):
        lines = found.strip("\n").splitlines()
        if lines and lines[0].strip():
            indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
            yield "\n".join(line[indent:] for line in lines) + "\n"


def test_the_workflows_to_copy_are_valid_and_may_do_what_the_own_ones_may():
    gate, comment = map(yaml.safe_load, blocks("Switch it on"))
    for made, name in ((gate, "gate"), (comment, "comment")):
        own = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())
        copied = {"gate": "benchmarks", "comment": "benchmarks comment"}[name]  # as `bench-core init` names them
        assert (made["name"], own["name"]) == (copied, name)
        # YAML reads `on` so.
        assert made[True] == json.loads(json.dumps(own[True]).replace('["gate"]', '["benchmarks"]'))
        ours = dict(own["jobs"][name]["permissions"])
        if name == "comment":
            ours.pop("contents")  # for the checkout of its own action
        assert made["jobs"][name]["permissions"] == ours
    assert comment["jobs"]["comment"]["if"] == "github.event.workflow_run.event == 'pull_request'"


def test_the_recipe_for_gitlab_is_valid():
    recipe = next(block for block in blocks("Other ways") if block.startswith("gate:"))
    assert yaml.safe_load(recipe)["gate"]["artifacts"]["reports"] == {"junit": "gate.xml"}


FAKE = f"""#!{sys.executable}
import os, sys
open(os.environ["CALLS"], "a").write(" ".join(sys.argv[1:]) + "\\n")
sys.exit(int(os.environ["CODE"]))
"""


@pytest.fixture
def pushing(tmp_path, repositories):
    """A clone with a branch to push, and a `bench-core` that notes how it is called and ends as it is told."""
    there = repositories.new(tmp_path / "origin", {"thing.py": "a = 1\n"})
    there.git("checkout", "-q", "-b", "elsewhere")
    there.git("clone", "-q", "--branch=main", there.root, tmp_path / "here")
    here = repositories(tmp_path / "here")
    here.base = here.git("rev-parse", "HEAD")
    here.git("checkout", "-q", "-b", "slower")
    here.head = here.commit({"thing.py": "a = 2\n"})
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin/bench-core"
    tool.write_text(FAKE)
    tool.chmod(0o755)
    here.calls = tmp_path / "calls"
    here.calls.touch()

    def run(*command, code=0):
        path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
        given = {**os.environ, "PATH": path, "CALLS": str(here.calls), "CODE": str(code)}
        return subprocess.run(command, cwd=here.root, env=given, capture_output=True, text=True)

    here.run = run
    return here


@pytest.fixture
def hooked(pushing):
    hook = pushing.root / ".git/hooks/pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(next(block for block in blocks("Other ways") if block.startswith("#!")))
    hook.chmod(0o755)
    return pushing


def test_the_hook_stops_a_push_with_a_regression_and_no_other(hooked):
    assert hooked.run("git", "push", "origin", "slower", code=1).returncode
    assert hooked.calls.read_text() == f"gate {hooked.base} {hooked.head} --budget 60s\n"
    for code in (3, 2, 0):
        done = hooked.run("git", "push", "--force", "origin", f"slower:refs/heads/pushed-{code}", code=code)
        assert done.returncode == 0, done.stderr
    assert hooked.run("git", "push", "--no-verify", "origin", "slower", code=1).returncode == 0


def test_the_hook_measures_nothing_where_nothing_is_new(hooked):
    assert hooked.run("git", "push", "origin", "main:again").returncode == 0
    assert hooked.run("git", "push", "origin", ":again").returncode == 0
    assert hooked.calls.read_text() == ""


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 1), (2, 2), (70, 70)])
def test_the_plain_shell_ends_as_it_says(pushing, code, ends):
    script = next(block for block in blocks("Other ways") if block.startswith("base="))
    done = pushing.run("bash", "-e", "-c", script, code=code)
    assert done.returncode == ends, done.stderr
    assert pushing.calls.read_text().startswith(f"gate {pushing.base} HEAD --json gate.json")
