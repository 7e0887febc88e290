"""The summary of trials, as `trials.summary` writes it."""

import json
from pathlib import Path

import pytest

from bench_core.errors import BenchCoreError
from bench_core.records.results import Trial, TrialFigure
from bench_core.results.trials import SCHEMA, read_trials

COUNT = {"trial": "aa", "what": "gates that are red", "value": "0 of 60 (0 %)", "count": 0, "of": 60, "low": 0.0}
ORIGIN = {"title": "A/A", "date": "2026-11-25", "tool": "13d8d3210048", "command": "python -m trials aa"}


@pytest.fixture
def content():
    return {
        "schema": SCHEMA,
        "machine": {"name": "box"},
        "trials": {"aa": ORIGIN, "creep": {**ORIGIN, "title": "Creep"}},
        "figures": [{**COUNT, "high": 0.0596}, {**COUNT, "trial": "creep", "low": None, "high": None}],
    }


@pytest.fixture
def read(tmp_path):
    def of(content):
        path = tmp_path / "summary.jsonl"
        path.write_text(json.dumps(content))
        return read_trials(path)

    return of


def test_each_trial_has_its_own_figures(read, content):
    found = read(content)
    assert found.machine == "box"
    figure = TrialFigure("gates that are red", "0 of 60 (0 %)", 0.0, 0.0596)
    assert found.trials[0] == Trial("A/A", "python -m trials aa", "2026-11-25", "13d8d3210048", (figure,))
    assert found.trials[1].figures[0].low is None


@pytest.mark.parametrize(
    "damage",
    [
        {"figures": None},
        {"trials": {"aa": {}}},
        {"machine": "box"},
        {"schema": None},
        {"figures": [{**COUNT, "high": "x"}]},
    ],
)
def test_a_file_that_is_no_summary_is_refused(read, content, damage):
    with pytest.raises(BenchCoreError, match="is no summary of trials that can be read"):
        read({**content, **damage})


def test_a_newer_summary_is_refused_by_its_schema(read, content):
    with pytest.raises(BenchCoreError, match=f"schema {SCHEMA + 1}"):
        read({**content, "schema": SCHEMA + 1})


def test_the_stored_summaries_can_be_read():
    stored = list(Path(__file__).parents[2].glob("results/trials/*/summary.jsonl"))
    assert stored
    for path in stored:
        found = read_trials(path)
        assert found.machine == path.parent.name
        assert all(trial.figures for trial in found.trials)
