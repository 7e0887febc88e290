"""A gate on a model, in a repository with neither benchmarks nor a configuration."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from bench_core.asv_config import asv_config
from bench_core.cli import main
from bench_core.errors import BenchCoreError
from bench_core.gate.judge.rule import pairs_needed
from bench_core.gate.measure.discover import Found
from bench_core.gate.prepare import BUILDS_OF_A_PAIR, LEAST_BUDGET, MODEL_CELLS, Request, _filled, prepare
from bench_core.gate.versions.interpreters import interpreter
from bench_core.gate.versions.project import read_project
from bench_core.gate.versions.store import VersionStore
from bench_core.records.gate import CellEvidence, GateSettings
from bench_core.records.model import ModelSpec
from bench_core.results.asv_run import description

BUILDER = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(500, 64)
        self.blocks = nn.ModuleList(nn.Linear(64, 64) for _ in range(4))
        self.head = nn.Linear(64, 500, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x).relu()
        return self.head(x)


def example():
    return torch.zeros(2, 8, dtype=torch.long)


def build():
    return Net()
"""

HEADS = {
    "drawn-twice": ("    return Net()", "    net = Net()\n    for _ in range(8):\n        net = Net()\n    return net"),
    "untied": ("        self.head.weight = self.embedding.weight\n", ""),
    "another-forward": ("block(x).relu()", "torch.relu(block(x))"),
    "renamed": ("self.head", "self.output"),
    "gone": ("def build()", "def make()"),
    "raising": ("    return Net()", "    raise ValueError('no such size')"),
}
"""Branches, each with one change of the builder: what is replaced by what."""

TARGET = "nets.models:build"
BARELY = ("--lanes", "1", "--budget", "600s", "--noise-floor", "30%", "--limit", "60%")
"""What no other load on the machine gets in the way of."""


@pytest.fixture(scope="module")
def made(tmp_path_factory, repositories):
    made = repositories.new(
        tmp_path_factory.mktemp("model") / "project",
        {"nets/__init__.py": "", "nets/models.py": BUILDER, "README.md": "Nets.\n"},
    )
    for name, (before, after) in HEADS.items():
        assert before in BUILDER
        made.git("checkout", "-q", "-b", name, "main")
        made.commit({"nets/models.py": BUILDER.replace(before, after)})
    made.git("checkout", "-q", "main")
    return made


@pytest.fixture
def project(made, monkeypatch):
    monkeypatch.chdir(made.root)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)

    def gate(*arguments):
        done = CliRunner().invoke(main, ["gate", *arguments, "--model", TARGET, "--json", "gate.json"])
        return done, json.loads((made.root / "gate.json").read_text()) if done.exit_code != 2 else {}

    def prepared(base, head, **model):
        asked = ModelSpec(**{"target": TARGET, **model})
        said = []
        config = made.config.relative_to(made.root)
        request = Request(config=config, base=base, head=head, model=asked, everything=True)
        found = prepare(request, description(), said.append)
        return SimpleNamespace(prepared=found, said=said, found=found.work and found.work.found)

    return SimpleNamespace(gate=gate, prepared=prepared, root=made.root, git=made.git)


@pytest.mark.thorough
def test_weights_that_are_drawn_again_are_a_regression_of_the_time(project):
    done, stored = project.gate("main", "drawn-twice", "--bench", "time_construct", *BARELY)
    assert done.exit_code == 1, done.output
    assert [cell["verdict"] for cell in stored["cells"]] == ["regression"]
    assert f"against base main {stored['base']['commit'][:8]}, model {TARGET}," in done.stdout
    command = next(line for line in done.stdout.splitlines() if "--fresh --bench" in line)
    assert f"bench-core gate main drawn-twice --model {TARGET} " in command
    (history,) = (project.root / ".bench_core").glob("*/gates.jsonl")
    (kept,) = json.loads(history.read_text().splitlines()[-1])["cells"]
    assert kept == {"name": f"construct.Construct.time_construct of {TARGET}", "verdict": "regression"}
    assert project.git("status", "--short", "--", ".bench_core") == ""


@pytest.mark.thorough
def test_a_lost_tie_fails_the_check_of_head_and_is_named(project):
    done, stored = project.gate("main", "untied", "--bench", "time_construct", *BARELY)
    assert done.exit_code == 1, done.output
    (cell,) = stored["cells"]
    assert (cell["verdict"], cell["error_side"]) == ("error", "head")
    assert "embedding.weight, head.weight should be one parameter" in cell["error"]
    assert stored["model"]["ties"] == [["embedding.weight", "head.weight"]]
    again = CliRunner().invoke(main, ["gate", "--replay", "gate.json"])
    assert again.exit_code == 1
    assert f"model {TARGET}," in again.stdout


def test_a_change_that_changes_nothing_passes_and_what_it_cannot_reach_is_left_out(project):
    done, stored = project.gate("main", "another-forward", "--bench", "time_construct|track", *BARELY)
    assert done.exit_code == 0, done.output
    assert {cell["name"]: cell["verdict"] for cell in stored["cells"]} == {
        "size.Size.track_parameter_bytes": "pass",
        "size.Size.track_parameters": "pass",
    }  # a tracked value may be that of the import, which takes longer the more code it has
    assert stored["unaffected"] == ["construct.Construct.time_construct"]
    assert f"against base main {stored['base']['commit'][:8]}, model {TARGET}," in done.stdout
    assert len(list((project.root / ".bench_core").glob("*/gates.jsonl"))) == 1
    assert project.git("status", "--short", "--", ".bench_core") == ""


def test_identical_packages_are_not_measured(project):
    done, stored = project.gate("main", "main")
    assert done.exit_code == 0, done.output
    assert stored["identical"] == "package and build configuration are identical (--all measures anyway)"


@pytest.mark.parametrize(
    ("head", "why"),
    [("gone", "unknown callable of nets.models 'build'"), ("raising", "ValueError: no such size at nets/models.py:26")],
)
def test_a_head_that_does_not_build_the_model_has_failed_once(project, head, why):
    done, stored = project.gate("main", head)
    assert done.exit_code == 1, done.output
    (failed,) = stored["cells"]
    assert (failed["name"], failed["kind"], failed["error_side"]) == (TARGET, "part", "head")
    assert why in failed["error"]
    assert done.stdout.count("left out") == 0


@pytest.mark.thorough
def test_a_base_that_does_not_build_the_model_leaves_nothing_to_compare(project):
    done, _ = project.gate("gone", "main")
    assert done.exit_code == 2
    assert f"{TARGET} cannot be built with base (gone), so there is nothing to compare with: unknown" in done.stderr


@pytest.mark.thorough
def test_a_model_that_no_version_builds_is_said_once(project):
    with pytest.raises(BenchCoreError, match=r"can be built with no version\. With base \(main\): unknown dtype 'no'"):
        project.prepared("main", "another-forward", dtype="no")


def test_the_model_reaches_the_benchmarks_with_the_ties_of_base_and_a_step_needs_an_example(project):
    with_step = project.prepared("main", "another-forward", input="example()")
    assert with_step.prepared.model.ties == (("embedding.weight", "head.weight"),)
    handed_on = json.loads(with_step.prepared.work.subjects.environment["BENCH_CORE_MODEL"])
    assert (handed_on["target"], handed_on["ties"]) == (TARGET, [["embedding.weight", "head.weight"]])
    assert [cell.name for cell in with_step.found.cells if cell.family == "step"] == ["step.Training.time_step"]
    without = project.prepared("main", "another-forward")
    assert without.found.left_out["step.Training.time_step"].startswith("no training step without an example")
    # Another example is another model: the evidence on one says nothing of the other.
    assert with_step.prepared.work.journal.path != without.prepared.work.journal.path


def test_the_benchmarks_are_a_copy_of_ours_and_compiled(made, monkeypatch):
    monkeypatch.chdir(made.root)
    found = read_project(made.config.relative_to(made.root), suite=False)
    place = VersionStore(found).packaged(MODEL_CELLS)
    assert {path.name: path.read_text() for path in place.glob("*.py")} == {
        path.name: path.read_text() for path in MODEL_CELLS.glob("*.py")
    }
    assert list(place.glob("__pycache__/construct.*.pyc"))
    assert VersionStore(found).home(place).parent == VersionStore(found).folder / "suites"


def test_without_a_configuration_all_is_kept_in_a_folder_that_is_no_part_of_the_project(made, monkeypatch):
    inside = made.root / "nets"
    monkeypatch.chdir(inside)
    found = read_project(made.config.relative_to(made.root), suite=False)
    assert (found.root, found.suite, found.env_dir) == (made.root, None, made.root / ".bench_core/env")
    assert {path.as_posix() for path in found.output_folders} == {
        f".bench_core{name}" for name in ("", "/env", "/html")
    }


def test_a_configuration_at_the_top_counts_also_in_a_folder_below(plain, monkeypatch):
    monkeypatch.chdir(plain.root / "thing")
    found = read_project(plain.config.relative_to(plain.root), suite=False)
    assert found.config == plain.config
    assert found.env_dir == asv_config(plain.config).environments.resolve()


def test_a_folder_outside_of_any_repository_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["gate", "main", "--model", "gpt2"])
    assert done.exit_code == 2
    assert (
        "is in no git repository, and the gate takes the versions of a model's code from one. Change into it."
        in done.stderr
    )


def test_options_of_a_model_without_one_are_refused(project):
    done = CliRunner().invoke(main, ["gate", "main", "--device", "cpu", "--trust"])
    assert done.exit_code == 2
    assert "--device, --trust says how a model is made: name one with --model" in done.stderr


def test_a_search_for_a_commit_goes_through_versions_of_the_model(project):
    cell = "construct.Construct.time_construct"
    done = CliRunner().invoke(main, ["bisect", "drawn-twice", "main", cell, "--model", TARGET])
    assert done.exit_code == 2
    assert f"Swap them: `bench-core bisect main drawn-twice {cell} --model {TARGET}`" in done.stderr


def test_the_default_budget_grows_with_the_time_that_building_the_model_takes():
    timed = CellEvidence("a.time_b", "a.time_b", {}, "time", "seconds")
    small, uneven, large = (
        _filled(
            GateSettings(budget=0.0, lanes=2), Found((timed,), {}, (), (), [], False, building=seconds), spawned=False
        )
        for seconds in (0.0, 0.1234, 3.0)
    )
    assert small.budget == LEAST_BUDGET
    assert uneven.budget == round(uneven.budget) > LEAST_BUDGET
    assert large.budget == LEAST_BUDGET + 3.0 * BUILDS_OF_A_PAIR * pairs_needed(1, small) / 2


def test_an_interpreter_needs_what_models_need():
    with pytest.raises(BenchCoreError, match=r"lacks what workers need.* pip install no_such_package"):
        interpreter(sys.executable, ("no_such_package",))


def test_nothing_of_the_project_is_built_to_compare_interpreters_on_a_layout(made, monkeypatch):
    monkeypatch.chdir(made.root)
    monkeypatch.setattr(VersionStore, "version", lambda store, revision: pytest.fail(f"{revision} is built"))
    request = Request(
        config=made.config.relative_to(made.root),
        base="main",
        versus=(sys.executable, sys.executable),
        model=ModelSpec("gpt2-tiny"),
    )
    found = prepare(request, description(), lambda line: None)
    assert "are one and the same" in found.identical
    with pytest.raises(pytest.fail.Exception, match="main .* is built"):
        prepare(replace(request, model=ModelSpec(TARGET)), description(), lambda line: None)
