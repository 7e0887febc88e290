"""Who may act when, and what a failure on one side means to the other."""

import importlib
import os
import sys
import threading
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest

from bench_core.records.gate import SIDES, other_side
from bench_core.timing.cells import SkippedError
from bench_core.workers.messages import TURNS, FirstLook, TurnDone
from bench_core.workers.role import COUNTS_SIZE
from bench_core.workers.turns import CellError, PeerFailedError, PeerLostError, Turns, attempt, cause


@contextmanager
def two():
    """The two ends of a pair's turns, and the counts that they share."""
    ends = dict(zip(SIDES, Pipe(), strict=True))
    counts = memoryview(bytearray(COUNTS_SIZE)).cast("Q")
    try:
        yield {side: Turns(side, ends[side], counts) for side in SIDES}, ends, counts
    finally:
        for end in ends.values():
            end.close()


def test_a_side_that_waits_for_its_turn_has_an_odd_count():
    with two() as (turns, _, counts):
        turns["head"].give(b"go")
        assert turns["base"].take() == b"go"
        assert list(counts)[:2] == [2, 0]
        turns["base"].give(b"on")
        assert turns["head"].take() == b"on"
        assert list(counts)[:2] == [2, 2]


def test_a_peer_that_has_gone_is_noticed_while_one_waits_and_when_one_writes():
    with two() as (turns, ends, counts):
        ends["head"].close()
        with pytest.raises(PeerLostError):
            turns["base"].take()
        assert counts[0] == 1  # it still waits
        with pytest.raises(PeerLostError):
            turns["base"].give(b"go")


def led_by(first):
    """The places of a group of one cell, with this side first."""
    return [(first, 0), (other_side(first), 0)]


def both(actions, first="base"):
    """What each side gets if both do their action: a result, or the exception."""
    got = {}

    def run(turns, side):
        try:
            got[side] = turns.each(led_by(first), "setup", lambda index: actions[side]())
        except (CellError, PeerFailedError, PeerLostError) as error:
            got[side] = error

    with two() as (turns, _, _):
        threads = [threading.Thread(target=run, args=(turns[side], side), daemon=True) for side in SIDES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
    return got


@pytest.mark.parametrize("first", SIDES)
def test_both_sides_act_one_after_the_other_and_only_first_looks_are_sent(first):
    order = []
    look = FirstLook({"a": "b"}, 1, 0.5, 0.25)
    found = both({side: lambda side=side: order.append(side) or look for side in SIDES}, first)
    assert order == [first, *(side for side in SIDES if side != first)]
    assert found == {side: {("base", 0): look, ("head", 0): look} for side in SIDES}
    found = both({side: lambda side=side: side for side in SIDES}, first)
    assert found == {side: {(side, 0): side} for side in SIDES}


@pytest.mark.parametrize("role", SIDES)
@pytest.mark.parametrize("first", SIDES)
def test_the_second_side_waits_for_the_first_before_it_acts(role, first):
    events = []
    peer = SimpleNamespace(
        recv_bytes=lambda: events.append("wait") or TURNS.line(TurnDone(())).encode(),
        send_bytes=lambda message: events.append("tell"),
    )
    turns = Turns(role, peer, memoryview(bytearray(COUNTS_SIZE)).cast("Q"))
    turns.each(led_by(first), "setup", lambda index: events.append("act"))
    assert events == (["act", "tell", "wait"] if role == first else ["wait", "act", "tell"])


@pytest.mark.parametrize("first", SIDES)
def test_both_sides_are_in_step_after_a_failure(first):
    looks = [FirstLook({}, number, 0.0, 0.0) for number in (1, 2)]
    got = {}

    def run(turns, side):
        with suppress(CellError, PeerFailedError):
            turns.each(led_by(first), "setup", lambda index: 1 / 0 if side == "base" else looks[0])
        got[side] = turns.each(led_by(first), "setup", lambda index: looks[1])

    with two() as (turns, _, _):
        threads = [threading.Thread(target=run, args=(turns[side], side), daemon=True) for side in SIDES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
    assert got == {side: {("base", 0): looks[1], ("head", 0): looks[1]} for side in SIDES}


@pytest.mark.parametrize("first", SIDES)
def test_what_one_side_raises_the_other_is_told_of(first):
    found = both({"base": lambda: 1 / 0, "head": lambda: 1}, first)
    assert isinstance(found["base"], CellError)
    assert (found["base"].stage, found["base"].skipped) == ("setup", False)
    assert isinstance(found["head"], PeerFailedError)


@pytest.mark.parametrize(
    ("raised", "said", "skipped"),
    [
        (KeyError("gone"), "KeyError: 'gone' (test_turns.py:", False),
        (SystemExit(4), "SystemExit: 4 (test_turns.py:", False),
        (SkippedError("no device"), "no device", True),
    ],
)
def test_whatever_a_version_raises_is_a_failure_of_the_cell(raised, said, skipped):
    def fail():
        raise raised

    with pytest.raises(CellError) as found:
        attempt("call", fail)
    assert str(found.value).startswith(said)
    assert (found.value.stage, found.value.skipped) == ("call", skipped)
    assert cause(KeyError("x")) == "KeyError: 'x'"  # it was never raised


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:", "SyntaxError: invalid syntax (suite_of_two/codes.py, line 1)"),
        ("import gone_for_good", "ModuleNotFoundError: No module named 'gone_for_good' (suite_of_two/codes.py:1)"),
        ("1 / 0", "ZeroDivisionError: division by zero (suite_of_two/codes.py:1)"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_its_package(tmp_path, monkeypatch, text, said):
    (tmp_path / "suite_of_two").mkdir()
    (tmp_path / "suite_of_two" / "__init__.py").touch()
    (tmp_path / "suite_of_two" / "codes.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "suite_of_two", None)
    del sys.modules["suite_of_two"]
    with pytest.raises(CellError) as found:
        attempt("import", lambda: importlib.import_module("suite_of_two.codes"))
    assert str(found.value) == said


@pytest.mark.parametrize("ours", [CellError("x", "setup"), PeerFailedError(), PeerLostError()])
def test_what_a_worker_raises_itself_is_passed_on(ours):
    def fail():
        raise ours

    with pytest.raises(type(ours)) as found:
        attempt("call", fail)
    assert found.value is ours


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only some systems fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_code_that_forks_comes_back_once():
    forked = []

    def fork():
        forked.append(os.fork())
        return forked[0]

    assert attempt("call", fork) == forked[0] > 0
    assert os.waitstatus_to_exitcode(os.waitpid(forked[0], 0)[1]) == 0


class Scripted(Turns):
    """Turns that are listed."""

    def __init__(self, role):
        super().__init__(role, object(), memoryview(bytearray(COUNTS_SIZE)).cast("Q"))
        self.passed = []

    def take(self):
        self.passed.append("take")
        return b""

    def give(self, message):
        self.passed.append("give")


def test_the_token_is_handed_over_where_the_side_changes():
    firsts = ["base", "head", "head", "base"]  # base head, head base, head base, base head
    passed = {}
    for role in SIDES:
        turns, taken = Scripted(role), []

        def take(index, position, turns=turns, taken=taken):
            turns.passed.append("sample")
            taken.append((index, position))

        assert turns.sample([led_by(first) for first in firsts], take) is None
        assert taken == [(0, 0 if first == role else 1) for first in firsts]
        passed[role] = " ".join(turns.passed)
    assert passed == {
        "base": "sample give take sample give take sample sample give",
        "head": "take sample sample give take sample give take sample",
    }


def test_a_side_that_fails_takes_no_more_samples_and_still_hands_on_its_turns():
    calls, turns = [], Scripted("base")

    def fail(index, position):
        calls.append(index)
        raise KeyError("gone")

    failure = turns.sample([led_by("base")] * 3, fail)
    assert str(failure).startswith("KeyError: 'gone'")
    assert (failure.stage, failure.index, calls) == ("call", 0, [0])
    assert turns.passed == ["give", "take", "give", "take", "give"]


def test_the_token_is_kept_between_the_cells_of_one_side():
    rows = [[("base", 0), ("base", 1), ("head", 1), ("head", 0)], [("head", 0), ("base", 1), ("head", 1), ("base", 0)]]
    passed = {}
    for role in SIDES:
        turns = Scripted(role)
        turns.sample(rows, lambda index, position, turns=turns: turns.passed.append(f"{index}@{position}"))
        passed[role] = " ".join(turns.passed)
    assert passed == {
        "base": "0@0 1@1 give take 1@1 give take 0@3",
        "head": "take 1@2 0@3 0@0 give take 1@2 give",
    }


def alone():
    counts = memoryview(bytearray(COUNTS_SIZE)).cast("Q")
    return Turns("head", None, counts), counts


def test_a_worker_alone_waits_for_nobody_and_each_sample_shows_that_it_goes_on():
    turns, counts = alone()
    turns.begin(0)
    assert turns.sides == ("head",)
    assert turns.each([("head", 1), ("head", 0)], "setup", str) == {("head", 0): "0", ("head", 1): "1"}
    seen = []
    turns.sample([[("head", 1), ("head", 0)]] * 2, lambda index, position: seen.append((index, position, counts[1])))
    assert seen == [(1, 0, 4), (0, 1, 6), (1, 0, 8), (0, 1, 10)]  # two steps of `each` came before
    assert counts[1] % 2 == 0  # it never waits


def test_the_counts_tell_the_cell_that_a_side_is_at_by_its_number_in_the_pair():
    turns, counts = alone()
    assert counts[3] == 0  # at none yet
    turns.begin(5)
    assert counts[3] == 6
    seen = []
    turns.each([("head", 2), ("head", 0)], "setup", lambda index: seen.append(counts[3]))
    turns.sample([[("head", 1), ("head", 2)]], lambda index, position: seen.append(counts[3]))
    assert seen == [8, 6, 7, 8]


def test_a_failure_names_the_cell_that_failed():
    turns, _ = alone()
    with pytest.raises(CellError) as found:
        turns.each([("head", 2), ("head", 1), ("head", 0)], "check", lambda index: 1 / index)
    assert (found.value.index, found.value.stage) == (0, "check")


def test_the_looks_of_several_cells_are_sent_in_the_order_of_the_cells():
    looks = {side: [FirstLook({}, number, 0.0, 0.0) for number in numbers] for side, numbers in
             (("base", (1, 2, 3)), ("head", (4, 5, 6)))}  # fmt: skip
    lead = [(side, index) for index in (2, 0, 1) for side in SIDES]
    got = {}

    def run(turns, side):
        got[side] = turns.each(lead, "check", lambda index: looks[side][index])

    with two() as (turns, _, _):
        threads = [threading.Thread(target=run, args=(turns[side], side), daemon=True) for side in SIDES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
    expected = {(side, index): look for side in SIDES for index, look in enumerate(looks[side])}
    assert got == dict.fromkeys(SIDES, expected)
