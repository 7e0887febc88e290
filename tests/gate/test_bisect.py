import errno
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from sides import NUMBERS

from bench_core.cli import main
from bench_core.errors import BenchCoreError
from bench_core.gate import bisect
from bench_core.gate.measure.supervise import Gate
from bench_core.gate.prepare import Choices, Request
from bench_core.gate.versions import store as stores
from bench_core.gate.versions.project import read_project
from bench_core.records.bisect import BisectStep
from bench_core.records.commit import LoggedCommit
from bench_core.records.gate import Effect
from bench_core.records.run import Interval

CELL = "calls.Call.time_value"
LOOP = "def value():\n    for _ in range(LENGTH):\n        pass\n"


def loop(length, comment=""):
    return {"thing/__init__.py": f"{LOOP.replace('LENGTH', str(length))}# {comment}\n"}


def search(repository, good, bad, verdict_of):
    """Search, where `verdict_of` says of a hash what testing it finds out."""
    said = []
    found, tested = bisect.search(
        read_project(repository.config),
        good,
        LoggedCommit(bad, "", "", ""),
        lambda commit: BisectStep(commit, verdict_of(commit.hash), "so it is", None, 0, 0.0),
        said.append,
    )
    assert len(said) == len(tested)
    return [commit.hash for commit in found], [step.commit.hash for step in tested]


@pytest.fixture(scope="module")
def history(shared_repository):
    return [shared_repository.commit({"a": str(number)}) for number in range(17)]


ENDS_AND_MIDDLE = (1, 2, 8, 9, 16)


@pytest.mark.parametrize(
    "first_bad",
    [place if place in ENDS_AND_MIDDLE else pytest.param(place, marks=pytest.mark.thorough) for place in range(1, 17)],
)
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


@pytest.mark.parametrize("times", ["known", pytest.param("measured", marks=pytest.mark.thorough)])
def test_the_commit_that_made_a_cell_slower_is_found_and_one_that_breaks_is_named(plain, known, times):
    plain.commit(loop(2000))
    another = plain.commit(loop(2000, "another"))
    broken = plain.commit({"thing/__init__.py": "def value():\n    raise ValueError('broken')\n"})
    slow = plain.commit(loop(6000))
    after = plain.commit(loop(6000, "another"))
    known.slow, known.ratio = {slow, after}, 3
    known.measured = {broken} if times == "known" else {another, broken, slow, after}
    plain.git("tag", "v2")
    done = run(plain, "HEAD~4", "v2", "--json", str(plain.root / "found.log"))
    assert done.exit_code == 0, done.output
    assert f"{broken[:12]} is skipped: head: call: ValueError: broken" in done.output
    assert "ONE OF  2 commits, oldest first:" in done.output
    assert f"bench-core gate '{broken[:12]}~' {slow[:12]} --lanes 1 --suite {plain.config} --fresh" in done.output
    stored = json.loads((plain.root / "found.log").read_text(), parse_constant=pytest.fail)
    assert [commit["hash"] for commit in stored["culprits"]] == [broken, slow]
    assert 1.3 < 1 + stored["settings"]["noise_floor"] < 2.2  # the root of 3, about
    assert (
        stored["settings"]["pass_error"] == stored["settings"]["error_rate"]
    )  # a wrong "good" is as bad as a wrong "bad"


@pytest.mark.thorough
def test_a_variable_that_looks_secret_reaches_the_commits_only_if_it_is_named(plain, monkeypatch):
    good, bad = plain.commit(loop(10)), plain.commit(loop(20))
    monkeypatch.setenv("MY_TOKEN", "secret")
    seen = []

    def environment_of(prepared):
        seen.append("MY_TOKEN" in prepared.work.subjects.environment)
        raise KeyboardInterrupt

    monkeypatch.setattr(bisect, "measured", environment_of)
    run(plain, good, bad)
    run(plain, good, bad, "--env", "MY_TOKEN")
    assert seen == [False, True]


@pytest.mark.parametrize(("is_timed", "word"), [(True, "slower"), (False, "larger")])
def test_why_there_is_no_search_suits_the_cell(is_timed, word):
    def said(verdict):
        outcome = bisect._Outcome(verdict, "so it is", is_timed=is_timed)
        return bisect._no_search(Request(Path("asv.conf.json"), "a", "b"), CELL, outcome)

    assert said("pass") == f"b is no {word} than a in {CELL}: so it is. There is nothing to search for."
    assert said("inconclusive").startswith(f"it is not certain that b is {word} than a in {CELL}: so it is.")


def test_ends_that_do_not_differ_are_no_search(plain):
    plain.commit(loop(2000))
    plain.commit(loop(2000, "another"))
    done = run(plain, "HEAD~", "HEAD")
    assert done.exit_code == 2
    assert f"HEAD is no slower than HEAD~ in {CELL}" in done.output


def test_what_only_changes_documents_is_good_without_measuring(plain):
    plain.commit(loop(2000))
    plain.commit({"docs/index.rst": "More\n"})
    done = run(plain, "HEAD~", "HEAD")
    assert done.exit_code == 2
    assert "the package is identical to good's" in done.output


def forked(plain):
    """Give it a branch beside main."""
    plain.git("branch", "side", "HEAD~")
    plain.git("checkout", "side")
    plain.commit({"d": ""})
    plain.git("checkout", "main")


@pytest.mark.parametrize(
    ("good", "bad", "complaint"),
    [
        ("HEAD", "main", "HEAD and main are the same commit"),
        ("side", "main", "side is no ancestor of main, so there is no path to bisect. They fork at "),
        ("mian", "main", "revision 'mian' not found in this repository. Did you mean 'main'?"),
    ],
)
def test_a_search_that_cannot_begin_says_why(plain, good, bad, complaint):
    forked(plain)
    done = run(plain, good, bad)
    assert done.exit_code == 2
    assert complaint in done.output


def test_the_search_that_could_begin_names_the_suite_that_was_given(plain):
    forked(plain)
    base = plain.git("merge-base", "side", "main")[:12]
    assert (
        f"`bench-core bisect {base} main {CELL} --lanes 1 --suite {plain.config}`." in run(plain, "side", "main").output
    )


def test_the_search_that_could_begin_hands_on_the_same_variables(plain):
    forked(plain)
    assert f" main {CELL} --env PROXY --lanes 1 --suite" in run(plain, "side", "main", "--env", "PROXY").output


def test_ends_that_are_swapped_are_named_in_their_order(plain):
    plain.commit(loop(2000))
    done = run(plain, "HEAD", "HEAD~")
    assert done.exit_code == 2
    assert "HEAD~ is an ancestor of HEAD, but the good commit must come first. Swap them: " in done.output
    assert f"`bench-core bisect 'HEAD~' HEAD {CELL} --lanes 1 --suite {plain.config}`." in done.output


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("calls.Call.time_valeu", "Did you mean 'calls.Call.time_value'?"),
        pytest.param("Call.time", "Give the full name: 'calls.Call.time_value'.", marks=pytest.mark.thorough),
        pytest.param("(", "", marks=pytest.mark.thorough),
    ],
)
def test_a_cell_that_is_not_there_is_met_with_the_names_that_are_near(plain, typed, hint):
    plain.commit(loop(2000))
    options = ["--suite", str(plain.config), "--lanes", "1"]
    done = CliRunner().invoke(main, ["bisect", "HEAD~", "HEAD", typed, *options])
    assert done.exit_code == 2
    sentences = [f"bench-core: there is no cell {typed!r}.", hint, "`bench-core list` prints all names.\n"]
    assert done.output == " ".join(filter(None, sentences))


def test_a_part_of_several_names_lists_them():
    names = ["a.B.time_c(cpu, my_init)", "a.B.time_c(cpu, ones)", "a.B.time_d(my_init)"]
    said = bisect._no_such_cell("my_init", names)
    assert "Give the full name: 'a.B.time_c(cpu, my_init)', 'a.B.time_d(my_init)'. " in said
    assert "Give the full name: 'a.B.time_d(my_init)'. " in bisect._no_such_cell("B.time_d", names)
    assert bisect._no_such_cell("[", names) == "there is no cell '['. `bench-core list` prints all names."


def test_a_cell_whose_module_imports_at_neither_end_is_an_error_that_says_so(plain):
    plain.commit({**loop(10), "cases_thing/calls.py": "import nowhere\n", "cases_thing/more.py": "def time_it(): 0\n"})
    plain.commit(loop(20))
    with pytest.raises(BenchCoreError, match=r"cases_thing\.calls.* does not import: ModuleNotFoundError"):
        bisected(plain, "HEAD~", "HEAD")


def test_an_interrupted_search_says_how_to_go_on(plain, monkeypatch):
    plain.commit(loop(2000))

    def interrupted(prepared):
        raise KeyboardInterrupt

    monkeypatch.setattr(bisect, "measured", interrupted)
    done = run(plain, "HEAD~", "HEAD")
    assert done.exit_code == 130
    assert "interrupted; the same command continues the search" in done.output


# What keeps a commit from being tested.


def bisected(repository, good, bad, measure=bisect.measured, **asked):
    """The search, and the lines that it said."""
    said = []
    request = Request(repository.config, good, bad, settings=Choices(lanes=1, seed=1), **{"everything": True, **asked})
    return bisect.bisect(request, CELL, {}, said.append, measure), said


class Known:
    """Has pairs at hand instead of measuring them.

    Attributes:
        slow: commits that are slower than the good end.
        ratio: how many times as long as the good end they take.
        measured: commits that are measured anyway.
        pairs: the commit of each pair that was asked for.
        until: pairs after which somebody presses Ctrl-C; None for nobody.
    """

    def __init__(self, really):
        self.really = really
        self.slow, self.measured = set(), set()
        self.ratio = 1.5
        self.pairs = []
        self.until = None

    def run(self, gate, show):
        commit = gate.subjects.head.name
        if commit in self.measured:
            self.really(gate, show)
            return
        [dossier] = gate.main.dossiers
        for pair in range(gate.first_pair, gate.first_pair + 100):
            if dossier.closed:
                return
            if self.until == len(self.pairs):
                raise KeyboardInterrupt
            self.pairs.append(commit)
            log_ratio = math.log(self.ratio if commit in self.slow else 1) + 1e-5 * (pair % 7)
            effect = Effect(pair, pair // 2, log_ratio, 1.0, 1.0, 40)
            dossier.effects.append(effect)
            gate.main.journal.add(dossier, effect, 0.1, gate.settings.family)
            gate.main.judge(dossier)


@pytest.fixture
def known(monkeypatch):
    made = Known(Gate.run)
    monkeypatch.setattr(Gate, "run", lambda gate, show: made.run(gate, show))
    return made


@pytest.fixture
def three(plain, known):
    """A commit between two ends of which the second is slower."""
    good, between, bad = (plain.commit(loop(10, comment)) for comment in "abc")
    known.slow = {bad}
    return plain, good, between, bad


def first_then(*measures):
    """Measures gates in turn."""
    turns = iter(measures)
    return lambda prepared: next(turns)(prepared)


def test_an_end_that_does_not_load_ends_the_search(plain):
    plain.commit(loop(2000))
    plain.commit({"thing/__init__.py": "value ="})
    with pytest.raises(BenchCoreError) as caught:
        bisected(plain, "HEAD~", "HEAD")
    assert f"{CELL} cannot be compared between HEAD~ (base) and HEAD (head): head: cases_thing.calls does not" in str(
        caught.value
    )
    assert "SyntaxError" in str(caught.value)
    assert "Choose two commits at which it runs." in str(caught.value)


@pytest.mark.thorough
def test_an_end_at_which_the_cell_fails_is_not_reported_as_equal(plain):
    plain.commit(loop(2000))
    plain.commit({"thing/__init__.py": "def value():\n    raise ValueError('broken')\n"})
    done = run(plain, "HEAD~", "HEAD")
    assert done.exit_code == 2
    assert "head: call: ValueError: broken" in done.output
    assert "no slower" not in done.output
    assert "--budget" not in done.output
    assert "is skipped" not in done.output


def test_a_cell_that_skips_itself_at_both_ends_is_no_search(plain):
    skipping = (
        "import thing\n\n\nclass Call:\n    def setup(self):\n        raise NotImplementedError('no such device')\n"
    )
    plain.commit(
        {**loop(2000), "cases_thing/calls.py": f"{skipping}\n    def time_value(self):\n        thing.value()\n"}
    )
    plain.commit(loop(6000))
    done = run(plain, "HEAD~", "HEAD")
    assert done.exit_code == 2
    assert f"{CELL} cannot be compared between HEAD~ (base) and HEAD (head): it skips itself: " in done.output
    assert "no such device" in done.output


@pytest.mark.thorough
def test_a_commit_that_does_not_build_is_named(plain, known):
    good = plain.commit(loop(2000))
    broken = plain.commit({"pyproject.toml": "[project\n"})
    slow = plain.commit({**loop(20), "pyproject.toml": None})
    known.slow = {slow}
    found, said = bisected(plain, good, slow)
    assert [commit.hash for commit in found.culprits] == [broken, slow]
    [step] = found.steps
    assert (step.verdict, step.ratio, step.pairs) == ("skipped", None, 0)
    assert f"{broken[:12]} is skipped: {broken} ({broken[:12]}) does not build: its pyproject.toml cannot be" in said[1]


NEEDS_IMPORT = "from thing import value\n\n\nclass Call:\n    def time_value(self):\n        value()\n"
NEEDS_IN_SETUP = """
import thing


class Call:
    def setup(self):
        self.value = thing.value

    def time_value(self):
        self.value()
"""


@pytest.mark.parametrize(
    ("suite", "reason"),
    [
        (NEEDS_IMPORT, "head: cases_thing.calls does not import: ImportError: cannot import name 'value'"),
        (NEEDS_IN_SETUP, "head: setup: AttributeError: module 'thing' has no attribute 'value'"),
    ],
    ids=["import", "setup"],
)
def test_a_commit_that_lacks_what_the_cell_needs_is_named(plain, known, suite, reason):
    good = plain.commit({**loop(2000), "cases_thing/calls.py": suite})
    lacking = plain.commit({"thing/__init__.py": "other = 1\n"})
    slow = plain.commit(loop(20))
    known.slow, known.measured = {slow}, {lacking}
    found, said = bisected(plain, good, slow)
    assert [commit.hash for commit in found.culprits] == [lacking, slow]
    assert f"{lacking[:12]} is skipped: {reason}" in said[1]


@pytest.mark.thorough
def test_an_interrupted_search_that_is_resumed_measures_no_step_again(plain, known):
    good, *others = [plain.commit(loop(10, number)) for number in range(7)]
    known.slow = set(others[3:])
    whole, _ = bisected(plain, good, others[-1])
    ends, first, second, *_ = (step.pairs for step in (whole.ends, *whole.steps))
    assert [commit.hash for commit in whole.culprits] == [others[3]]

    shutil.rmtree(plain.root / ".asv")
    known.pairs, known.until = [], ends + first + 3
    with pytest.raises(KeyboardInterrupt):
        bisected(plain, good, others[-1])
    before = [step.commit.hash for step in (whole.ends, *whole.steps)]
    assert known.pairs == [before[0]] * ends + [before[1]] * first + [before[2]] * 3

    known.pairs, known.until = [], None
    again, _ = bisected(plain, good, others[-1])
    assert [commit.hash for commit in again.culprits] == [others[3]]
    assert not {before[0], before[1]} & set(known.pairs)
    assert known.pairs.count(before[2]) == second - 3
    assert [step.pairs for step in again.steps] == [step.pairs for step in whole.steps]


def full_disk(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some/file")


def failing_git(*arguments):
    raise BenchCoreError("`git read-tree` failed: no space left on device")


def test_a_commit_is_not_to_blame_for_what_good_cannot_do_either(three, monkeypatch):
    plain, good, between, bad = three

    def then_the_disk_is_full(prepared):
        monkeypatch.setattr(stores, "export", failing_git)
        return bisect.measured(prepared)

    with pytest.raises(BenchCoreError) as caught:
        bisected(plain, good, bad, then_the_disk_is_full)
    assert str(caught.value) == (
        f"{between[:12]} cannot be compared: `git read-tree` failed: no space left on device\n"
        "This is not the commit's fault, since the good commit, which worked before, now fails too: `git read-tree` "
        "failed: no space left on device\nFix this, then run the same command again: it continues from what is known."
    )
    assert not list((plain.root / ".asv/env/bench-core").glob("making-*"))


@pytest.mark.thorough
def test_a_cell_that_fails_with_good_too_is_no_fault_of_a_commit(three):
    plain, good, between, bad = three

    def failing(side):
        def measure(prepared):
            record = bisect.measured(prepared)
            return replace(record, cells=(replace(record.cells[0], error="setup: no file", error_side=side),))

        return measure

    for side, reason in ((None, "setup: no file"), ("base", "base: setup: no file")):
        with pytest.raises(BenchCoreError, match=f"cannot be compared: {reason}\nThis is not the commit's fault"):
            bisected(plain, good, bad, first_then(bisect.measured, failing(side), failing(None)))
    found, _ = bisected(plain, good, bad, first_then(bisect.measured, failing(None), bisect.measured))
    assert [commit.hash for commit in found.culprits] == [between, bad]


def locked(prepared):
    with prepared.work.journal.alone():
        return bisect.measured(prepared)


def damaged(prepared):
    prepared.work.journal.path.write_text("{}\n")
    return bisect.measured(prepared)


def without_workers(prepared):
    raise BenchCoreError("workers cannot be started: no memory")


@pytest.mark.parametrize(
    ("trouble", "complaint"),
    [
        (locked, "another gate on the same two versions is running here"),
        (damaged, "line 1, cannot be used: .*lacks cell.*start anew with --fresh"),
        (without_workers, "workers cannot be started: no memory"),
    ],
)
def test_what_measuring_fails_over_ends_the_search(three, trouble, complaint):
    plain, good, _, bad = three
    with pytest.raises(BenchCoreError, match=complaint):
        bisected(plain, good, bad, first_then(bisect.measured, trouble))


def test_a_search_that_starts_anew_drops_what_is_damaged(three):
    plain, good, _, bad = three
    found, _ = bisected(plain, good, bad, first_then(damaged, bisect.measured), fresh=True)
    assert found.ends.verdict == "bad"


def test_a_full_disk_is_named_and_ends_the_search(three, monkeypatch):
    plain, good, _, bad = three
    monkeypatch.setattr(stores.shutil, "copy2", full_disk)
    done = run(plain, good, bad)
    assert done.exit_code == 2
    assert (
        "bench-core: the search cannot go on: [Errno 28] No space left on device: 'some/file'. Fix this" in done.output
    )


NAPS = """
import select

import thing


class Call:
    timeout = 0.3

    def time_value(self):
        select.select([], [], [], thing.NAP)
"""


@pytest.mark.thorough
def test_a_commit_that_takes_longer_than_the_suite_allows_is_slow_and_is_found(plain):
    plain.commit({"cases_thing/calls.py": NAPS, "thing/__init__.py": "NAP = 0.001\n"})
    plain.commit({"thing/__init__.py": "NAP = 0.001\n\n"})
    slow = plain.commit({"thing/__init__.py": "NAP = 9\n"})
    plain.commit({"thing/__init__.py": "NAP = 8\n"})
    done = run(plain, "HEAD~3", "HEAD")
    assert done.exit_code == 0, done.output
    assert f"FOUND  {slow[:12]}" in done.output
    assert "is bad: longer than the suite's timeout of 0.3 s" in done.output


def test_an_uncertain_slowdown_is_not_said_to_be_none():
    outcome = bisect._Outcome("inconclusive", "budget: 1 pair", ratio=Interval(0.0, 490.0, math.inf, 0.95), pairs=1)
    said = bisect._no_search(Request(Path("asv.conf.json"), "a", "b"), CELL, outcome)
    assert "no slower" not in said
    assert "490x" in said


@pytest.mark.thorough
def test_a_cell_that_commits_call_otherwise_is_searched_by_either_name(plain, known):
    def version(length, shown, comment=""):
        code = f"{LOOP.replace('LENGTH', str(length))}\n\ndef shown():\n    return {shown!r}\n# {comment}\n"
        return {"thing/__init__.py": code, "cases_thing/calls.py": NUMBERS}

    plain.commit(version(2000, "1"))
    plain.commit(version(2000, "1", "another"))
    slow = plain.commit(version(6000, "1"))
    after = plain.commit(version(6000, "1", "another"))
    known.slow = {slow, after, plain.commit(version(6000, "one(1)"))}
    options = ["--suite", str(plain.config), "--lanes", "1"]
    done = CliRunner().invoke(main, ["bisect", "HEAD~4", "HEAD", "calls.Call.time_value(one(1))", *options])
    assert done.exit_code == 0, done.output
    assert f"FOUND  {slow[:12]}" in done.output


@pytest.mark.parametrize(("ratio", "change"), [(1.21, 0.1), (math.inf, 0.05), (math.nan, 0.05), (1e6, 99)])
def test_what_separates_good_from_bad_is_half_of_the_way_or_the_limit(ratio, change):
    assert bisect._halfway(Interval(0.0, ratio, math.inf, 0.0), Choices(limit=0.05)) == pytest.approx(change)


def test_a_step_without_a_finite_ratio_is_told_by_its_reason():
    commit = LoggedCommit("a" * 40, "", "", "")
    step = BisectStep(commit, "bad", "larger by at least 5", Interval(0.0, math.inf, math.inf, 0.0), 4, 3.0)
    assert bisect._line(step) == "aaaaaaaaaaaa is bad: larger by at least 5 (3 s)"
