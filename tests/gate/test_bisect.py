import json

import pytest
from click.testing import CliRunner

from bench_core.cli import main
from bench_core.errors import BenchCoreError
from bench_core.gate import bisect
from bench_core.gate.revisions import project
from bench_core.gate.session import Request
from bench_core.records import BisectStep, Commit, GateSettings

CELL = "calls.Call.time_value"
LOOP = "def value():\n    for _ in range(LENGTH):\n        pass\n"


def loop(length, comment=""):
    return {"thing/__init__.py": f"{LOOP.replace('LENGTH', str(length))}# {comment}\n"}


@pytest.fixture
def plain(repository):
    """It says nothing of how it is built: its versions are made in no time."""
    repository.commit({"pyproject.toml": None})
    return repository


def search(repository, good, bad, verdict_of):
    """Search, where `verdict_of` says of a hash what testing it finds out."""
    said = []
    found, tested = bisect.search(
        project(repository.config),
        good,
        Commit(bad, "", "", ""),
        lambda commit: BisectStep(commit, verdict_of(commit.hash), "so it is", None, 0, 0.0),
        said.append,
    )
    assert len(said) == len(tested)
    return [commit.hash for commit in found], [step.commit.hash for step in tested]


@pytest.fixture(scope="module")
def history(shared_repository):
    return [shared_repository.commit({"a": str(number)}) for number in range(17)]


@pytest.mark.parametrize("first_bad", range(1, 17))
def test_the_first_bad_of_sixteen_commits_is_found_in_four_tests(shared_repository, history, first_bad):
    bad = set(history[first_bad:])
    found, tested = search(
        shared_repository, history[0], history[-1], lambda commit: "bad" if commit in bad else "good"
    )
    assert found == [history[first_bad]]
    assert len(tested) <= 4


def test_commits_that_cannot_be_tested_are_named_before_the_first_that_is_bad(shared_repository, history):
    def verdict(commit):
        place = history.index(commit)
        return "skipped" if place in (7, 8) else "bad" if place > 7 else "good"

    found, _ = search(shared_repository, history[0], history[-1], verdict)
    assert found == [history[7], history[8], history[9]]


def test_a_commit_that_cannot_be_tested_far_from_the_change_costs_nothing_but_its_test(shared_repository, history):
    def verdict(commit):
        place = history.index(commit)
        return "skipped" if place == 8 else "bad" if place > 2 else "good"

    found, _ = search(shared_repository, history[0], history[-1], verdict)
    assert found == [history[3]]


def test_a_branch_that_was_merged_is_searched_too(plain):
    good = plain.git("rev-parse", "HEAD")
    plain.git("checkout", "-b", "topic")
    topic = [plain.commit({"b": str(number)}) for number in range(3)]
    plain.git("checkout", "main")
    plain.commit({"c": "0"})
    plain.git("merge", "--no-ff", "-m", "Merge", "topic")
    bad = plain.git("rev-parse", "HEAD")

    def verdict(commit):
        return "bad" if commit in (topic[1], topic[2], bad) else "good"

    found, _ = search(plain, good, bad, verdict)
    assert found == [topic[1]]


def run(repository, good, bad, *options):
    return CliRunner().invoke(
        main, ["bisect", good, bad, CELL, "--suite", str(repository.config), "--lanes", "1", *options]
    )


def test_the_commit_that_made_a_cell_slower_is_found_and_one_that_breaks_is_named(plain):
    plain.commit(loop(2000))
    plain.commit(loop(2000, "another"))
    broken = plain.commit({"thing/__init__.py": "def value():\n    raise ValueError('broken')\n"})
    slow = plain.commit(loop(6000))
    plain.commit(loop(6000, "another"))
    plain.git("tag", "v2")
    done = run(plain, "HEAD~4", "v2", "--json", str(plain.root / "found.log"))
    assert done.exit_code == 0, done.output
    assert f"{broken[:12]} is skipped: head: check: ValueError: broken" in done.output
    assert "ONE OF  2 commits, oldest first:" in done.output
    assert f"bench-core gate '{broken[:12]}~' {slow[:12]}" in done.output
    stored = json.loads((plain.root / "found.log").read_text(), parse_constant=pytest.fail)
    assert [commit["hash"] for commit in stored["culprits"]] == [broken, slow]
    assert 1.3 < 1 + stored["settings"]["noise_floor"] < 2.2  # the root of 3, about


def test_ends_that_do_not_differ_are_no_search(plain):
    plain.commit(loop(2000))
    plain.commit(loop(2000, "another"))
    done = run(plain, "HEAD~", "HEAD")
    assert done.exit_code == 2
    assert f"HEAD~ and HEAD do not differ in {CELL} as far as can be told" in done.output


def test_what_only_changes_documents_is_good_without_measuring(plain):
    plain.commit(loop(2000))
    plain.commit({"docs/index.rst": "More\n"})
    done = run(plain, "HEAD~", "HEAD")
    assert done.exit_code == 2
    assert "the package is identical to good's" in done.output


@pytest.mark.parametrize(
    ("good", "bad", "complaint"),
    [
        ("HEAD", "main", "HEAD and main are the same commit"),
        ("side", "main", "side is no ancestor of main, so no commit on the way made it slower. They part at "),
        ("mian", "main", "revision 'mian' not found in this repository. Did you mean 'main'?"),
    ],
)
def test_a_search_that_cannot_begin_says_why(plain, good, bad, complaint):
    plain.git("branch", "side", "HEAD~")
    plain.git("checkout", "side")
    plain.commit({"d": ""})
    plain.git("checkout", "main")
    done = run(plain, good, bad)
    assert done.exit_code == 2
    assert complaint in done.output


def test_a_cell_that_is_not_there_is_met_with_the_near_misses(plain):
    plain.commit(loop(2000))
    done = CliRunner().invoke(
        main, ["bisect", "HEAD~", "HEAD", "calls.Call.time_valeu", "--suite", str(plain.config), "--lanes", "1"]
    )
    assert done.exit_code == 2
    assert "Did you mean 'time_value' for 'time_valeu'?" in done.output


def test_an_interrupted_search_says_how_to_go_on(plain, monkeypatch):
    plain.commit(loop(2000))

    def interrupted(session):
        raise KeyboardInterrupt

    monkeypatch.setattr(bisect, "measured", interrupted)
    done = run(plain, "HEAD~", "HEAD")
    assert done.exit_code == 130
    assert "interrupted; the same command goes on from what is known" in done.output


def test_an_end_that_does_not_load_ends_the_search(plain):
    plain.commit(loop(2000))
    plain.commit({"thing/__init__.py": "value ="})
    with pytest.raises(BenchCoreError):
        bisect.bisect(
            Request(plain.config, "HEAD~", "HEAD", None, False, GateSettings(lanes=1)), CELL, {}, lambda line: None
        )
