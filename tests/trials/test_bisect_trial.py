import json
import subprocess
from pathlib import Path

import pytest

from bench_core.errors import BenchCoreError
from trials import bisect, files
from trials.files import Trial, raw

RIGHT = {"right": True, "refused": False, "tested": 5, "wall": 30.0}
REFUSED = {"right": True, "refused": True, "tested": 0, "wall": 9.0}


@pytest.fixture
def trial(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "tool", lambda dirty: "abc")
    return Trial(raw(tmp_path, "bisect"), "abc", {})


@pytest.fixture
def searched(monkeypatch):
    """What was planted in each search that the trial would have run."""
    ran = []

    def search(cell, planted, seed):
        ran.append(planted)
        return REFUSED if planted is None else RIGHT

    monkeypatch.setattr(bisect, "_search", search)
    return ran


def test_searches_without_a_difference_have_lines_that_say_so(trial, searched):
    bisect.run(trial, 2, 3, lambda line: None)
    assert [planted is None for planted in searched] == [False, False, True, True, True]
    lines = trial.done()
    assert [line.get("without", False) for line in lines] == [False, False, True, True, True]
    assert ["planted" in line for line in lines] == [True, True, False, False, False]


def test_a_line_that_says_nothing_is_of_a_search_that_is_not_repeated(trial, searched):
    trial.add(search=0, planted=31, **RIGHT)
    bisect.run(trial, 1, 1, lambda line: None)
    bisect.run(trial, 1, 1, lambda line: None)
    assert searched == [None]


class Repository:
    root = "."


@pytest.fixture
def saying(monkeypatch):
    """Lets the command say something, and find the given ones of the commits 1 to 32."""
    amounts = []

    def make(said="", culprits=None):
        def version(repository, planted, comment):
            amounts.append(planted)
            return str(len(amounts))

        def run(command, **options):
            if culprits is not None:
                found = {"culprits": [{"hash": str(one)} for one in culprits], "steps": [], "ends": {"pairs": 12}}
                Path(command[-1]).write_text(json.dumps(found))
            return subprocess.CompletedProcess(command, 2 if culprits is None else 0, "", said)

        monkeypatch.setattr(bisect.plants, "project", lambda root: (Repository(), "0"))
        monkeypatch.setattr(bisect.plants, "version", version)
        monkeypatch.setattr(bisect.subprocess, "run", run)
        return amounts

    return make


REFUSAL = "bench-core: 32 is no slower than 0 in a.time_a: at most +0.3 %. There is nothing to search for.\n"


def test_without_a_plant_no_commit_does_more(saying):
    amounts = saying(REFUSAL)
    found = bisect._search("a.time_a", None, seed=1)
    assert amounts == [{}] * bisect.COMMITS
    assert (found["right"], found["refused"]) == (True, True)


def test_a_refusal_is_wrong_where_a_commit_is_slower(saying):
    amounts = saying(REFUSAL)
    found = bisect._search("a.time_a", 31, seed=1)
    assert amounts == [{}] * 30 + [{"a.time_a": bisect.PERCENT}] * 2
    assert (found["right"], found["refused"]) == (False, True)


@pytest.mark.parametrize(("planted", "right"), [(32, True), (31, False), (None, False)])
def test_a_commit_that_is_named_must_be_the_one(saying, planted, right):
    saying(culprits=[32])
    found = bisect._search("a.time_a", planted, seed=1)
    assert (found["right"], found["refused"]) == (right, False)


def test_a_search_that_ends_otherwise_is_no_refusal(saying):
    saying("bench-core: a.time_a cannot be compared between 0 (base) and 32 (head): head: setup: no.\n")
    with pytest.raises(BenchCoreError, match="ended with status 2"):
        bisect._search("a.time_a", None, seed=1)
