"""The history that the report is tried with, and the figures that it gives."""

import json
import math
import random

import pytest

from trials import report, summary

COLUMNS = ["result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b"]
NAME = "f.C.time_it"


@pytest.fixture
def results(tmp_path):
    """Two runs of one machine; the larger one has two values, a skipped one and a failed one."""
    home = tmp_path / "box"
    home.mkdir()
    (home / "machine.json").write_text('{"machine": "box", "version": 1}')
    declared = {"name": NAME, "type": "time", "unit": "seconds", "version": "1", "param_names": [], "params": []}
    (tmp_path / "benchmarks.json").write_text(json.dumps({NAME: declared, "version": 2}))
    for commit, values in (("aaaaaaaa", [1.0, 2.0, math.nan, None]), ("bbbbbbbb", [3.0, math.nan, math.nan, None])):
        row = [values, [["1", "2", "3", "4"]], "1", 0, 1, [each and each * 0.9 for each in values], None]
        content = {
            "commit_hash": commit * 5,
            "result_columns": COLUMNS,
            "results": {NAME: row},
            "date": 0,
            "version": 2,
        }
        (home / f"{commit}-env.json").write_text(
            json.dumps({**content, "params": {"machine": "box"}, "env_name": "env"})
        )
    return tmp_path


def test_the_run_with_most_values_is_stored_for_each_commit(results, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "COMMITS", 3)
    config = report._history(tmp_path, results)
    stored = [json.loads(path.read_text()) for path in config.parent.glob("results/box/*-env.json")]
    assert len({each["commit_hash"] for each in stored}) == 3
    values = [dict(zip(each["result_columns"], each["results"][NAME], strict=True))["result"] for each in stored]
    assert {len(each) for each in values} == {4}
    assert 0.5 < min(each[0] for each in values) < max(each[0] for each in values) < 2
    assert all(math.isnan(skipped) and failed is None for *_, skipped, failed in values)


def test_an_interval_goes_with_its_value():
    row = {"result": [1.0, None], "stats_ci_99_a": [0.9, None], "params": [["1", "2"]]}
    scaled = report._scaled(row, 1.3, random.Random(1))
    assert scaled["stats_ci_99_a"][0] / scaled["result"][0] == pytest.approx(0.9)
    assert scaled["result"][0] == pytest.approx(1.3, rel=0.1)
    assert scaled["result"][1] is scaled["stats_ci_99_a"][1] is None
    assert scaled["params"] is row["params"]


def test_the_summary_says_what_it_takes_and_weighs():
    lines = [
        {"cells": 1012, "commits": 50, "build": build, "bytes": 2_400_000, "usable": 0.6} for build in (3.0, 4.0, 5.0)
    ]
    assert [figure.value for figure in summary.of_report(lines)] == [
        "1,012, 50",
        "4 s (median of 3; 3 to 5)",
        "2.4 MB (median of 3; 2.4 to 2.4)",
        "0.6 s (median of 3; 0.6 to 0.6)",
    ]
