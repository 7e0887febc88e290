"""What a worker does in a pair, in this process: its turns, its blocks and its failures."""

import gc
import importlib.util
import math
import os
import random
import sys
import threading
import weakref
from collections import Counter
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench_core import clock
from bench_core.records.gate import SIDES
from bench_core.testing import FakeClock
from bench_core.timing.cells import SkippedError
from bench_core.workers import worker
from bench_core.workers.messages import (
    TURNS,
    CellBegun,
    CellFailed,
    CellLeft,
    CellTask,
    CellTimed,
    FirstLook,
    Log,
    PairTask,
    SamplingPlan,
    Source,
    TurnDone,
)
from bench_core.workers.worker import (
    CellError,
    PeerFailedError,
    PeerLostError,
    Turns,
    _at_once,
    _cell,
    _sample_in_turn,
    _sampled,
    _value,
    _warm_up,
    attempt,
    balanced,
    blocks,
    cause,
    find,
    forget,
    load,
    work,
)

PLAN = SamplingPlan(number=2, alternations=8, blocks=4, warm=True)


class NoPeer:
    """Turns without another worker: each step is this side's alone."""

    def __init__(self, role="base"):
        self.role = role

    def each(self, first, stage, action):
        return action(), None

    def take(self):
        return b""

    def give(self, message):
        pass


class Opened:
    """A set-up cell that takes no time.

    Args:
        call: what is timed.
        set_up: what is done before each block but the first.
    """

    def __init__(self, call=lambda: None, set_up=lambda: None):
        self.cell = SimpleNamespace(kind="time")
        self.call, self.set_up = call, set_up
        self.timer = FakeClock()
        self.number = 0

    def tear_down(self):
        pass


def sampled(opened, role="base"):
    return _sampled(opened, PLAN, 0.0, random.Random(1), seed=7, turns=NoPeer(role))


def test_the_garbage_collector_is_off_while_a_worker_samples_and_on_between_blocks():
    calls, setups = [], []
    sampled(Opened(lambda: calls.append(gc.isenabled()), lambda: setups.append(gc.isenabled())))
    assert calls
    assert not any(calls)
    assert setups == [True] * (PLAN.blocks - 1)
    assert gc.isenabled()


def test_the_garbage_collector_is_on_after_a_cell_that_the_other_side_gave_up():
    class FailsBeforeSampling(NoPeer):
        def each(self, first, stage, action):
            result = super().each(first, stage, action)
            if not gc.isenabled():
                raise PeerFailedError
            return result

    with pytest.raises(PeerFailedError):
        _cell(lambda: Cell(Opened()), CellTask("a", PLAN, 0.0), random.Random(1), FailsBeforeSampling())
    assert gc.isenabled()


def test_both_sides_draw_the_same_numbers_in_each_block_though_one_drew_more_before():
    def draws(role, number):
        blocks = [[]]

        def set_up():
            blocks.append([random.random()])

        def call():
            blocks[-1].extend(random.random() for _ in range(number))

        sampled(Opened(call, set_up), role)
        assert len(blocks) == PLAN.blocks
        first, *others = blocks
        return first[0], [found[:2] for found in others]  # of a setup and of the first call after it

    assert draws("base", 1) == draws("head", 3)


class Cell:
    """A cell that is always set up."""

    def __init__(self, opened):
        self._opened = opened

    @contextmanager
    def open(self):
        yield self._opened


def test_a_call_that_fails_in_a_later_block_is_an_error_of_its_side_and_the_next_cell_is_measured(tmp_path):
    calls = []

    def fail_late():
        calls.append(None)
        if len(calls) == 10:  # of three calls for each of two samples in a block
            raise KeyError("late")

    pair = PairTask(0, 1, "base", {}, tuple(CellTask(name, PLAN, 0.0) for name in ("late", "next")), timeout=20.0)
    ends = dict(zip(SIDES, Pipe(), strict=True))
    counts = memoryview(bytearray(16)).cast("Q")
    reports = {side: [] for side in SIDES}

    def run(side):
        known = {"late": Cell(Opened(fail_late if side == "head" else lambda: None)), "next": Cell(Opened())}
        turns = Turns(side, ends[side], counts)
        work(Source((), (), ""), SimpleNamespace(path=tmp_path), known, pair, turns, reports[side].append)

    threads = [threading.Thread(target=run, args=(side,), daemon=True) for side in SIDES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    for end in ends.values():
        end.close()
    (failed,) = (report for report in reports["head"] if isinstance(report, CellFailed))
    assert (failed.cell, failed.stage, failed.skipped) == ("late", "call", False)
    assert failed.cause.startswith("KeyError: 'late' (test_blocks.py:")
    assert CellLeft("base", "late") in reports["base"]
    for found in reports.values():
        assert isinstance(found[-1], CellTimed)
        assert (found[-1].cell, len(found[-1].log.spans)) == ("next", PLAN.alternations)


@contextmanager
def two():
    """The two ends of a pair's turns, and the counts that they share."""
    ends = dict(zip(SIDES, Pipe(), strict=True))
    counts = memoryview(bytearray(16)).cast("Q")
    try:
        yield {side: Turns(side, ends[side], counts) for side in SIDES}, ends, counts
    finally:
        for end in ends.values():
            end.close()


def test_a_side_that_waits_for_its_turn_has_an_odd_count():
    with two() as (turns, _, counts):
        turns["head"].give(b"go")
        assert turns["base"].take() == b"go"
        assert list(counts) == [2, 0]
        turns["base"].give(b"on")
        assert turns["head"].take() == b"on"
        assert list(counts) == [2, 2]


def test_a_peer_that_has_gone_is_noticed_while_one_waits_and_when_one_writes():
    with two() as (turns, ends, counts):
        ends["head"].close()
        with pytest.raises(PeerLostError):
            turns["base"].take()
        assert counts[0] == 1  # it still waits
        with pytest.raises(PeerLostError):
            turns["base"].give(b"go")


def both(actions, first="base"):
    """What each side gets if both do their action: a result, or the exception."""
    got = {}

    def run(turns, side):
        try:
            got[side] = turns.each(first, "setup", actions[side])
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
    assert found == dict.fromkeys(SIDES, (look, look))
    assert both({side: lambda side=side: side for side in SIDES}, first) == {side: (side, None) for side in SIDES}


@pytest.mark.parametrize("role", SIDES)
@pytest.mark.parametrize("first", SIDES)
def test_the_second_side_waits_for_the_first_before_it_acts(role, first):
    events = []
    peer = SimpleNamespace(
        recv_bytes=lambda: events.append("wait") or TURNS.line(TurnDone(None)).encode(),
        send_bytes=lambda message: events.append("tell"),
    )
    turns = Turns(role, peer, memoryview(bytearray(16)).cast("Q"))
    turns.each(first, "setup", lambda: events.append("act"))
    assert events == (["act", "tell", "wait"] if role == first else ["wait", "act", "tell"])


@pytest.mark.parametrize("first", SIDES)
def test_both_sides_are_in_step_after_a_failure(first):
    looks = [FirstLook({}, number, 0.0, 0.0) for number in (1, 2)]
    got = {}

    def run(turns, side):
        with suppress(CellError, PeerFailedError):
            turns.each(first, "setup", lambda: 1 / 0 if side == "base" else looks[0])
        got[side] = turns.each(first, "setup", lambda: looks[1])

    with two() as (turns, _, _):
        threads = [threading.Thread(target=run, args=(turns[side], side), daemon=True) for side in SIDES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
    assert got == dict.fromkeys(SIDES, (looks[1], looks[1]))


@pytest.mark.parametrize("first", SIDES)
def test_what_one_side_raises_the_other_is_told_of(first):
    found = both({"base": lambda: 1 / 0, "head": lambda: 1}, first)
    assert isinstance(found["base"], CellError)
    assert (found["base"].stage, found["base"].skipped) == ("setup", False)
    assert isinstance(found["head"], PeerFailedError)


@pytest.mark.parametrize(
    ("raised", "said", "skipped"),
    [
        (KeyError("gone"), "KeyError: 'gone' (test_blocks.py:", False),
        (SystemExit(4), "SystemExit: 4 (test_blocks.py:", False),
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


class Scripted(NoPeer):
    """Turns that are listed."""

    def __init__(self, role):
        super().__init__(role)
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
        turns, log = Scripted(role), Log()
        assert _sample_in_turn(lambda turns=turns: turns.passed.append("sample") or 1.0, firsts, turns, log) is None
        assert (log.spans, log.order) == ([1.0] * 4, firsts)
        passed[role] = " ".join(turns.passed)
    assert passed == {
        "base": "sample give take sample give take sample sample give",
        "head": "take sample sample give take sample give take sample",
    }


def test_a_side_that_fails_takes_no_more_samples_and_still_hands_on_its_turns():
    calls, turns, log = [], Scripted("base"), Log()

    def fail():
        calls.append(None)
        raise KeyError("gone")

    failure = _sample_in_turn(fail, ["base", "base", "base"], turns, log)
    assert str(failure).startswith("KeyError: 'gone'")
    assert (len(calls), log.spans) == (1, [])
    assert turns.passed == ["give", "take", "give", "take", "give"]


def test_two_clocks_are_read_at_once_at_the_best_of_five_attempts(monkeypatch):
    host, theirs = FakeClock(), FakeClock()
    lasts = iter([0.5, 0.25, 0.125, 0.0625, 1.0])

    def timer():
        theirs.advance(1.0)
        host.advance(next(lasts))
        return theirs()

    monkeypatch.setattr(clock, "host", host)
    assert _at_once(timer) == (0.5 + 0.25 + 0.125 + 0.0625 / 2, 4.0)
    assert next(lasts, None) is None


def test_a_block_lasts_as_long_by_our_clock_as_by_the_timer_and_each_has_its_own_time(monkeypatch):
    host = FakeClock()
    monkeypatch.setattr(clock, "host", host)
    opened = Opened(lambda: host.advance(0.25))
    opened.timer = host
    log = sampled(opened)
    # Two samples of two calls in each block, each with a call before it.
    assert log.by_host == log.by_timer == [1.5] * PLAN.blocks
    assert log.spans == [0.5] * PLAN.alternations


def test_memory_is_let_go_before_each_block_but_the_first():
    order = []
    opened = Opened(set_up=lambda: order.append("set up"))
    opened.tear_down = lambda: order.append("tear down")
    sampled(opened)
    assert order == ["tear down", "set up"] * (PLAN.blocks - 1)


@pytest.mark.parametrize(("number", "done"), [(0, ["call"]), (1, ["call", "fresh"]), (10, ["call", "fresh"])])
def test_a_first_call_uses_up_its_object_if_a_number_was_asked_for(number, done):
    found = []
    opened = SimpleNamespace(call=lambda: found.append("call"), fresh=lambda: found.append("fresh"), number=number)
    _warm_up(opened)
    assert found == done


@pytest.mark.parametrize(("value", "read"), [(3, 3.0), (2.5, 2.5), (None, None)])
def test_a_tracked_value_is_a_number_or_nothing(value, read):
    opened = SimpleNamespace(benchmark=SimpleNamespace(_build_params=lambda: (1,), run=lambda param: value))
    assert _value(opened) == read


@pytest.mark.parametrize("value", [True, "fast", [1]])
def test_a_tracked_value_that_is_no_number_is_refused_with_its_type(value):
    opened = SimpleNamespace(benchmark=SimpleNamespace(_build_params=tuple, run=lambda: value))
    with pytest.raises(TypeError, match=type(value).__name__):
        _value(opened)


def reported(cell, task, role="base"):
    return _cell(lambda: cell, task, random.Random(1), NoPeer(role))


@pytest.mark.parametrize(("role", "slower"), [("base", 1.0), ("head", 1.5)])
def test_a_plant_slows_head_alone(monkeypatch, role, slower):
    host = FakeClock()

    def tick():  # a wait ends only if time passes as the clock is read
        host.advance(1 / 2**16)
        return host.now

    monkeypatch.setattr(clock, "host", tick)
    opened = Opened(lambda: host.advance(0.25))
    opened.timer = host
    found = reported(Cell(opened), CellTask("a", PLAN, 0.5), role)
    assert (found.role, found.cell, found.settled) == (role, "a", None)
    assert found.log.spans == pytest.approx([slower * 0.5] * PLAN.alternations, rel=1e-3)


@pytest.mark.parametrize(("value", "nothing"), [(4.0, False), (None, True)])
def test_what_is_no_time_is_read_once(value, nothing):
    opened = Opened()
    opened.cell = SimpleNamespace(kind="track")
    opened.benchmark = SimpleNamespace(_build_params=tuple, run=lambda: value)
    found = reported(Cell(opened), CellTask("a", PLAN, 0.0))
    assert found.nothing is nothing
    assert math.isnan(found.value) if nothing else found.value == value


class Thing:
    """It can be referred to weakly."""


def test_what_is_garbage_before_a_pair_is_not_kept_in_it(tmp_path):
    one = Thing()
    one.itself, gone = one, weakref.ref(one)
    gc.disable()
    try:
        del one
        pair = PairTask(0, 1, "base", {}, (), timeout=1.0)
        assert work(Source((), (), ""), SimpleNamespace(path=tmp_path), {}, pair, NoPeer(), None) == ()
    finally:
        gc.enable()
    assert gone() is None


def test_a_pair_tells_what_its_cells_have_imported(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "this_late", raising=False)
    opened = Opened(lambda: sys.modules.setdefault("this_late", SimpleNamespace()))
    pair = PairTask(0, 1, "base", {}, (CellTask("a", PLAN, 0.0),), timeout=1.0)
    told = []
    found = work(Source((), (), ""), SimpleNamespace(path=tmp_path), {"a": Cell(opened)}, pair, NoPeer(), told.append)
    del sys.modules["this_late"]
    assert found == ("this_late",)
    assert [type(one) for one in told] == [CellBegun, CellTimed]


def test_a_version_comes_first_in_the_import_path_and_its_packages_are_imported_anew(tmp_path, monkeypatch):
    forgotten, before = [], list(sys.path)
    monkeypatch.setattr(worker, "forget", forgotten.append)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases/__init__.py").touch()
    assert importlib.util.find_spec("made_late") is None  # the folder's files are remembered by its age
    age = tmp_path.stat()
    (tmp_path / "made_late.py").touch()
    os.utime(tmp_path, ns=(age.st_atime_ns, age.st_mtime_ns))
    suite = load(Source(("/base", "/code"), ("thing",), "/caches"), str(tmp_path / "cases"))
    assert forgotten == [{"bench_core", "thing"}]
    assert sys.path == ["/base", "/code", str(tmp_path), *before]
    assert suite.path == tmp_path / "cases"
    assert importlib.util.find_spec("made_late") is not None


def test_packages_are_forgotten_with_all_that_is_in_them_and_with_what_is_built_on_them(monkeypatch):
    kept = ("thing_else", "cattrs_extra")
    for name in ("thing", "thing.inner", *kept):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace())
    had = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ("cattr", "cattrs")}
    try:
        forget({"thing"})
        assert not {"thing", "thing.inner"} & set(sys.modules)
        assert set(kept) | set(had) <= set(sys.modules)
        monkeypatch.setattr(worker, "BUILT_ON", frozenset({"thing"}))
        forget({"thing"})
        assert not set(had) & set(sys.modules)
        assert "cattrs_extra" in sys.modules
    finally:
        sys.modules.update(had)


def test_a_cell_that_cannot_be_found_is_looked_for_again_in_its_turn():
    def find_it(name):
        if name == "broken":
            raise KeyError(name)
        return name.upper()

    pair = PairTask(0, 1, "base", {}, tuple(CellTask(name, None, 0.0) for name in ("a", "broken", "c")), timeout=1.0)
    assert find(SimpleNamespace(find=find_it), pair) == {"a": "A", "c": "C"}


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_each_side_leads_as_often_as_the_other(count):
    found = Counter(balanced(count, random.Random(3)))
    assert abs(found["base"] - found["head"]) == count % 2


def test_the_same_seed_gives_the_same_blocks_and_another_one_others():
    plan = SamplingPlan(number=1, alternations=40, blocks=4, warm=True)
    one, same, other = (list(blocks(plan, random.Random(seed))) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert len(one) == 4
    assert [len(firsts) for _, firsts in one] == [10, 10, 10, 10]


def test_a_module_from_elsewhere_is_refused(tmp_path, monkeypatch):
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere" / "proven_thing.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    __import__("proven_thing")
    source = Source((str(tmp_path / "here"),), ("proven_thing",), str(tmp_path))
    with pytest.raises(worker.VersionError, match="proven_thing was imported from .*elsewhere, not from this"):
        worker.prove(source, Path("suite"))
    worker.prove(Source((str(tmp_path / "elsewhere"),), ("proven_thing",), str(tmp_path)), Path("suite"))


def test_a_module_that_is_made_up_at_run_time_has_no_place_to_prove(tmp_path, monkeypatch):
    """As torch.ops, whose file is "_ops.py"."""
    monkeypatch.setitem(sys.modules, "made_up.ops", SimpleNamespace(__file__="_ops.py"))
    worker.prove(Source((str(tmp_path),), ("made_up",), str(tmp_path)), Path("suite"))
