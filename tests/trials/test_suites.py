import json
import subprocess

import pytest

from trials import sampled, suites, summary


def cell(asv, run, pytest, gate):
    return {"asv": (asv, ""), "run": (run, "why"), "pytest": (pytest, "why"), "gate": (gate, "why")}


def line(**cells):
    return {
        "suite": "numpy",
        "asv": {"cells": 1200, "benchmarks": 3, "error": None},
        "list": {"cells": 1201},
        "collected": {"pytest": 1202},
        "releases": ["numpy==1", "numpy==2"],
        "only_asv": [],
        "only_ours": ["new"],
        "broken": {"benchmarks.order": "does not import"},
        "left_out": {},
        "without": [],
        "cells": cells,
    }


def test_a_door_is_held_against_the_cells_that_asv_runs():
    found = suites.held(line(a=cell("runs", "runs", "failed", "runs"), b=cell("failed", "failed", "failed", "runs")))
    assert found == {"run": (1, 1), "pytest": (0, 1), "gate": (1, 1)}


def test_the_page_names_every_cell_with_another_outcome_than_in_asv():
    page = suites.page([line(a=cell("runs", "runs", "failed", "runs"), b=cell("failed", "failed", "failed", "runs"))])
    assert "1,200" in page
    assert [text for text in page.splitlines() if text.startswith("- ")] == [
        "- numpy: only `list` has 1 cells, such as `new`",
        "- numpy: `benchmarks.order` does not import",
        "- numpy: `b`: failed: why",
        "- numpy, pytest: `a`: runs in asv, here failed: why",
        "- numpy, gate: `b`: failed in asv, here runs: why",
    ]


def test_the_summary_counts_the_cells_that_are_found_and_those_that_run():
    found = summary.of_suites([{**line(a=cell("runs", "runs", "failed", "runs")), "only_asv": ["x"]}])
    assert [(figure.count, figure.of) for figure in found] == [(1199, 1200), (1, 1), (0, 1), (1, 1)]


def test_cells_are_named_as_asv_names_them():
    named = suites._expanded({"name": "a.time_x", "params": [["1", "2"], ["'b'"]]})
    assert list(named) == ["a.time_x(1, 'b')", "a.time_x(2, 'b')"]
    assert list(suites._expanded({"name": "a.time_x", "params": []})) == ["a.time_x"]


def test_a_file_that_a_mirror_does_not_have_is_left_out_and_named(tmp_path, repositories):
    source = repositories.new(tmp_path / "owner+name" / "repo", {"small.py": "x = 1\n", "large.bin": "large"})
    commit, blob = (source.git("rev-parse", name) for name in ("HEAD", "HEAD:large.bin"))
    (source.root / ".git").rename(tmp_path / "git")
    (tmp_path / "git/objects" / blob[:2] / blob[2:]).unlink()
    (tmp_path / "git/objects").rename(source.root / "objects")
    suite = suites.Suite("owner/name", commit, "asv.conf.json", ("a==1", "a==2"))
    found = suites.checked_out(suite, tmp_path, tmp_path / "checkout")
    assert found.without == ("large.bin",)
    assert (found.root / "small.py").read_text() == "x = 1\n"
    assert (
        subprocess.run(["git", "status", "--porcelain"], cwd=found.root, capture_output=True, check=True).stdout == b""
    )


@pytest.mark.parametrize(
    ("report", "kind"), [({"passed": True}, "runs"), ({"skipped": True}, "skipped"), ({}, "failed")]
)
def test_the_plugin_keeps_what_became_of_a_cell(tmp_path, monkeypatch, report, kind):
    asked = tmp_path / "asked.json"
    asked.write_text(json.dumps({"cells": ["a"], "found": str(tmp_path / "found.json")}))
    monkeypatch.setenv("SAMPLED", str(asked))
    monkeypatch.setattr(sampled, "FOUND", {"outcomes": {}})

    class Report:
        user_properties = (("sampled", "a"),)
        when = "call"
        longrepr = ("file", 1, "why")
        passed = report.get("passed", False)
        skipped = report.get("skipped", False)

    sampled.pytest_runtest_logreport(Report())
    assert json.loads((tmp_path / "found.json").read_text())["outcomes"]["a"][0] == kind
