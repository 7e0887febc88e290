"""`bench-core model` as a person meets it, with a record made by hand in place of a measurement; and `show`, `compare`
and `report` of what it stored."""

import json
import sys
import types
from dataclasses import replace

import pytest
from click.testing import CliRunner
from made_models import gpt2

from bench_core.cli import main
from bench_core.records.model import ModelProgress, Way
from bench_core.results import model_file


def run(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Calls of `measure`, which returns the records in `answers` one after the other. The folder has no suite."""
    found = types.SimpleNamespace(calls=[], answers=[gpt2(1), gpt2(2, slower=1.5), gpt2(3)])

    def measure(spec, *, budget, seed, commit, machine, ranks, show):
        found.calls.append({"spec": spec, "budget": budget, "seed": seed, "commit": commit, "ranks": ranks})
        show(ModelProgress("load, eager_copy", 1, 11.0, 49.0, 0.0))
        return replace(found.answers.pop(0), spec=spec)

    session = types.ModuleType("bench_core.model.session")
    session.measure = measure
    monkeypatch.setitem(sys.modules, "bench_core.model", types.ModuleType("bench_core.model"))
    monkeypatch.setitem(sys.modules, "bench_core.model.session", session)
    monkeypatch.chdir(tmp_path)
    return found


def test_a_model_is_measured_shown_and_stored(measured, tmp_path):
    done = run("model", "gpt2", "--device", "meta", "--seed", 7, "--json", "out.json")
    assert done.exit_code == 0
    assert "11 s: round 1, load, eager_copy; about 49 s left" in done.stdout
    assert "eager_copy spends" not in done.stderr
    assert "`eager_copy` spends 64 % of its time" in done.stdout
    (call,) = measured.calls
    assert (call["spec"].target, call["spec"].device, call["seed"], call["ranks"]) == ("gpt2", "meta", 7, 0)
    (path,) = tmp_path.glob(".bench_core/box/models/*.jsonl")
    assert f"Stored in {path.relative_to(tmp_path)}" in done.stdout
    assert model_file.read(path) == model_file.read(tmp_path / "out.json")


def test_the_record_is_stored_below_the_results_of_a_suite(measured, tmp_path, repositories):
    repositories.new(tmp_path).configure(results_dir="kept")
    assert run("model", "gpt2").exit_code == 0
    assert len(list(tmp_path.glob("kept/box/models/*.jsonl"))) == 1


@pytest.mark.parametrize(
    ("options", "budget"), [((), None), (("--quick",), 30), (("--budget", "2m"), 120), (("--budget", "9"), 9)]
)
def test_the_budget_is_the_one_that_is_asked_for(measured, options, budget):
    run("model", "gpt2", *options)
    assert measured.calls[0]["budget"] == budget


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--quick", "--budget", "9s"), "--quick is a --budget"),
        (("--ranks", "0"), "0 is not in the range"),
        (("--ranks", "1"), "1 is not in the range"),
        (("--json", "x", "--page", "x"), "both name x"),
        (("--page", "no/such/folder.html"), "no folder"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_measured(measured, arguments, said):
    done = run("model", "gpt2", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert measured.calls == []


def test_a_model_that_no_way_gives_ends_with_1_and_ctrl_c_with_130(measured):
    wrong = tuple(replace(way, wrong="no ties") for way in gpt2().ways)
    dead = (Way("load", "eager_copy", "x", why_not="it was killed"),)
    measured.answers = [gpt2(ways=wrong), gpt2(ways=dead), gpt2(interrupted=True)]
    assert [run("model", "gpt2").exit_code for _ in range(3)] == [1, 1, 130]


def test_the_page_is_written(measured, tmp_path):
    assert run("model", "gpt2", "--page", "model.html").exit_code == 0
    assert '<section id="models"' in (tmp_path / "model.html").read_text()


def test_show_prints_a_stored_model_by_its_name_and_by_its_file(measured, tmp_path):
    printed = run("model", "gpt2").stdout.split("\n", 1)[1]
    (path,) = tmp_path.glob(".bench_core/box/models/*.jsonl")
    for name in ("gpt2", path):
        done = run("show", name, "--json", "again.json")
        assert (done.exit_code, done.stdout.splitlines()[:40]) == (0, printed.splitlines()[:40])
        assert model_file.read(tmp_path / "again.json").date == gpt2().date


def test_show_writes_the_page_of_a_stored_model_and_names_the_command_for_that_of_all_results(measured, tmp_path):
    run("model", "gpt2")
    assert run("show", "gpt2", "--page", "model.html").exit_code == 0
    assert '<section id="models"' in (tmp_path / "model.html").read_text()
    (tmp_path / "asv.conf.json").write_text('{"version": 1, "repo": "."}')
    for refused in (run("show", "--page", "run.html"), run("show", "--list", "--page", "run.html")):
        assert refused.exit_code == 2
        assert "`bench-core report` writes a page of all results" in " ".join(refused.stderr.split())
    assert not (tmp_path / "run.html").exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_layout_comes_before_a_file_or_folder_of_its_name_and_the_command_says_so(measured, tmp_path, kind):
    (tmp_path / "gpt2").mkdir() if kind == "folder" else (tmp_path / "gpt2").touch()
    done = run("model", "gpt2")
    assert done.stderr == f"bench-core: gpt2 is the layout of this name. For the {kind}, write ./gpt2.\n"
    assert measured.calls[0]["spec"].target == "gpt2"
    assert run("show", "gpt2").stdout.startswith("gpt2 on cpu")
    done = run("model", "./gpt2")
    assert done.stderr == ""
    assert measured.calls[1]["spec"].target == str(tmp_path / "gpt2")


def test_without_a_suite_show_prints_the_newest_model_and_knows_the_names_of_all(measured):
    assert "asv.conf.json not found" in run("show").stderr  # nothing is stored at all
    run("model", "gpt2")
    for arguments in (("show",), ("show", "--code", "load")):
        assert run(*arguments).stdout == run(arguments[0], "gpt2", *arguments[1:]).stdout
    for arguments in (("show", "gtp2"), ("compare", "gpt2", "gtp2")):
        done = run(*arguments)
        assert (done.exit_code, "unknown model 'gtp2'. Did you mean 'gpt2'?" in done.stderr) == (2, True)


def test_show_prints_the_code_alone(measured):
    run("model", "gpt2")
    done = run("show", "gpt2", "--code", "load")
    assert done.stdout.startswith('with torch.device("meta"):')
    compile(done.stdout, "code", "exec")
    assert "leave out --json and --page" in run("show", "gpt2", "--code", "load", "--json", "a.json").stderr
    assert "unknown job 'lod'. Did you mean 'load'?" in run("show", "gpt2", "--code", "lod").stderr


def test_show_refuses_what_a_model_does_not_have(measured):
    run("model", "gpt2")
    done = run("show", "gpt2", "--list")
    assert (done.exit_code, "gpt2 is a model: leave out --list" in done.stderr) == (2, True)


def test_two_models_are_compared_by_name_and_by_file(measured, tmp_path):
    for _ in range(2):
        run("model", "gpt2", "--json", f"{len(measured.answers)}.json")
    for names in (("gpt2~1", "gpt2"), ("3.json", "2.json")):
        done = run("compare", *names, "--json", "compared.json")
        assert done.exit_code == 0
        assert "load.eager_copy " in done.stdout
        assert "0 faster" in done.stdout
        cells = {cell["cell"]: cell for cell in json.loads((tmp_path / "compared.json").read_text())["cells"]}
        assert cells["load.eager_copy"]["ratio"][1] == pytest.approx(1.5, rel=0.05)
        assert cells["step.fused"]["differs"]


def test_a_model_is_not_compared_with_itself_or_with_another_result(measured, tmp_path):
    run("model", "gpt2", "--json", "a.json")
    done = run("compare", "gpt2", "a.json")
    assert (done.exit_code, "are the same record" in done.stderr) == (2, True)
    done = run("compare", "a.json", "gpt3")
    assert (done.exit_code, done.stderr) == (
        2,
        "bench-core: unknown model 'gpt3'. Did you mean 'gpt2'? Known: gpt2.\n",
    )


def test_a_newer_file_is_refused_by_name(measured, tmp_path):
    content = {**model_file.to_json(gpt2()), "schema": "bench-core/model/99"}
    (tmp_path / "new.json").write_text(json.dumps(content))
    for command in (("show", "new.json"), ("compare", "new.json", "new.json")):
        done = run(*command)
        assert done.exit_code == 2
        assert "new.json cannot be read as the record of a model: a newer bench_core wrote it" in done.stderr


def test_a_folder_with_nothing_but_models_is_told_from_one_with_cells(measured, tmp_path):
    run("model", "gpt2")
    done = run("show", ".bench_core")
    assert (done.exit_code, "has only records of models" in done.stderr) == (2, True)
    done = run("compare", "36a48e88", "gpt3", "--suite", "asv.conf.json")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    for form in ("html", "markdown", "csv", "json"):
        assert run("report", ".bench_core", "--format", form, "-o", "report").exit_code == 0
    for form in ("bencher", "github-action-benchmark"):
        done = run("report", ".bench_core", "--format", form)
        assert (done.exit_code, "this format holds cells" in done.stderr) == (2, True)


def test_the_report_has_the_newest_record_of_each_model(measured, tmp_path):
    run("model", "gpt2")
    run("model", "gpt2")
    run("model", "mlp")
    done = run("report", ".bench_core", "--format", "json")
    models = json.loads(done.stdout)["models"]
    assert [(model["spec"]["target"], model["date"]) for model in models] == [
        ("gpt2", gpt2(2).date),
        ("mlp", gpt2(3).date),
    ]
