"""What a worker does in a pair, in this process: its blocks, its groups and its failures."""

import gc
import math
import random
import sys
import threading
import weakref
from collections import Counter
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench_core import clock
from bench_core.records.gate import SIDES
from bench_core.testing import FakeClock
from bench_core.workers import heap
from bench_core.workers.messages import (
    CellBegun,
    CellFailed,
    CellLeft,
    CellRead,
    CellTask,
    CellTimed,
    Effort,
    GroupTask,
    PairTask,
    Sampling,
    SamplingPlan,
    Source,
)
from bench_core.workers.role import COUNTS_SIZE
from bench_core.workers.turns import PeerFailedError, Turns
from bench_core.workers.worker import _at_once, _Group, balanced, blocks, work

PLAN = SamplingPlan(alternations=8, blocks=4, places=(Sampling(2, warm=True),))
PLAN_OF_BOTH = SamplingPlan(alternations=8, blocks=4, places=(Sampling(2, warm=True),) * 2)
PLACES = [("base", 0), ("head", 0)]
EFFORT = Effort(alternations=8, fewest=2, blocks=2, span=0.01)


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
        self.begin = self.end = lambda: None
        self.folder = Path()

    def tear_down(self):
        pass


class Cell:
    """A cell that is always set up."""

    def __init__(self, opened):
        self._opened = opened

    @contextmanager
    def open(self):
        self._opened.begin()
        yield self._opened
        self._opened.end()


def nothing():
    pass


def alone(role="base", turns=Turns):
    return turns(role, None, memoryview(bytearray(COUNTS_SIZE)).cast("Q"))


def reported(opened, turns=None, *, plan=PLAN, plant=0.0):
    """The report on a group of this one cell."""
    task = GroupTask((CellTask("a", plant),), plan, EFFORT)
    (found,) = _Group(task, lambda name: Cell(opened), random.Random(1), turns or alone(), nothing).measured()
    return found


def pair_of(*groups, plan=PLAN, seed=1):
    """A pair over groups of cells with these names."""
    tasks = tuple(GroupTask(tuple(CellTask(name) for name in names), plan, EFFORT) for names in groups)
    return PairTask(0, seed, "base", {}, tasks, timeout=20.0)


def worked(opened, pair, path=Path()):
    """What a worker alone has imported, and its reports."""
    told = []
    known = {name: Cell(one) for name, one in opened.items()}
    return work(Source((), (), ""), SimpleNamespace(path=path), known, pair, alone(), told.append), told


def test_the_garbage_collector_is_off_while_a_worker_samples_and_on_between_blocks():
    calls, setups = [], []
    reported(Opened(lambda: calls.append(gc.isenabled()), lambda: setups.append(gc.isenabled())))
    warm_up, *samples = calls
    assert warm_up
    assert samples
    assert not any(samples)
    assert setups == [True] * (PLAN.blocks - 1)
    assert gc.isenabled()


def test_the_garbage_collector_is_on_after_a_cell_that_the_other_side_gave_up():
    class FailsBeforeSampling(Turns):
        def each(self, lead, stage, action):
            result = super().each(lead, stage, action)
            if not gc.isenabled():
                raise PeerFailedError
            return result

    with pytest.raises(PeerFailedError):
        reported(Opened(), alone(turns=FailsBeforeSampling))
    assert gc.isenabled()


@pytest.mark.thorough
def test_both_sides_draw_the_same_numbers_in_each_block_though_one_drew_more_before():
    def draws(role, number):
        blocks = [[]]

        def set_up():
            blocks.append([random.random()])

        def call():
            blocks[-1].extend(random.random() for _ in range(number))

        reported(Opened(call, set_up), alone(role))
        assert len(blocks) == PLAN.blocks
        first, *others = blocks
        return first[number], [found[:2] for found in others]  # of a setup and of the first call after it

    assert draws("base", 1) == draws("head", 3)


def test_a_call_that_fails_in_a_later_block_is_an_error_of_its_side_and_the_next_cell_is_measured(tmp_path):
    calls = []

    def fail_late():
        calls.append(None)
        if len(calls) == 10:  # after the first one, three calls for each of two samples in a block
            raise KeyError("late")

    pair = pair_of(["late"], ["next"], plan=PLAN_OF_BOTH)
    ends = dict(zip(SIDES, Pipe(), strict=True))
    counts = memoryview(bytearray(COUNTS_SIZE)).cast("Q")
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
    log = reported(opened).log
    # Two samples of two calls in each block, each with a call before it.
    assert log.by_host == log.by_timer == [1.5] * PLAN.blocks
    assert log.spans == [0.5] * PLAN.alternations


def test_memory_is_let_go_before_each_block_but_the_first():
    order = []
    opened = Opened(set_up=lambda: order.append("set up"))
    opened.tear_down = lambda: order.append("tear down")
    reported(opened)
    assert order == ["tear down", "set up"] * (PLAN.blocks - 1)


@pytest.mark.parametrize(("number", "done"), [(0, ["call"]), (1, ["call", "fresh"]), (10, ["call", "fresh"])])
def test_a_first_call_uses_up_its_object_if_a_number_was_asked_for(number, done):
    found = []
    opened = Opened(lambda: found.append("call"))
    opened.fresh, opened.number = lambda: found.append("fresh"), number
    reported(opened)
    assert found[: len(done)] == done


@pytest.mark.parametrize(("role", "slower"), [("base", 1.0), ("head", 1.5)])
def test_a_plant_slows_head_alone(monkeypatch, role, slower):
    host = FakeClock()

    def tick():  # a wait ends only if time passes as the clock is read
        host.advance(1 / 2**16)
        return host.now

    monkeypatch.setattr(clock, "host", tick)
    opened = Opened(lambda: host.advance(0.25))
    opened.timer = host
    found = reported(opened, alone(role), plant=0.5)
    assert (found.role, found.cell, found.settled) == (role, "a", None)
    assert found.log.spans == pytest.approx([slower * 0.5] * PLAN.alternations, rel=1e-3)


@pytest.mark.parametrize(("value", "nothing"), [(4.0, False), (None, True)])
def test_what_is_no_time_is_read_once(value, nothing):
    opened = Opened()
    opened.cell = SimpleNamespace(kind="track")
    opened.read = lambda: value
    found = reported(opened)
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
        assert work(Source((), (), ""), SimpleNamespace(path=tmp_path), {}, pair_of(), alone(), None) == ()
    finally:
        gc.enable()
    assert gone() is None


def test_a_pair_tells_what_its_cells_have_imported(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "this_late", raising=False)
    opened = Opened(lambda: sys.modules.setdefault("this_late", SimpleNamespace()))
    found, told = worked({"a": opened}, pair_of(["a"]), tmp_path)
    del sys.modules["this_late"]
    assert found == ("this_late",)
    assert [type(one) for one in told] == [CellBegun, CellTimed]


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_each_side_leads_as_often_as_the_other(count):
    found = Counter(side for (side, _), _ in balanced(count, PLACES, random.Random(3)))
    assert abs(found["base"] - found["head"]) == count % 2


@pytest.mark.parametrize("places", range(1, 7))
@pytest.mark.parametrize("count", [1, 2, 5, 12, 40])
def test_each_place_is_at_each_position_equally_often(places, count):
    rows = balanced(count, [("base", index) for index in range(places)], random.Random(3))
    assert len(rows) == count
    for position in range(places):
        found = Counter(row[position] for row in rows)
        often = [found["base", index] for index in range(places)]
        assert max(often) - min(often) <= (count % places > 0)


@pytest.mark.parametrize("seed", range(5))
def test_each_side_sets_up_first_in_as_many_blocks_as_the_other(seed):
    plan = SamplingPlan(alternations=8, blocks=4, places=PLAN_OF_BOTH.places)
    assert Counter(lead[0][0] for lead, _ in blocks(plan, PLACES, random.Random(seed))) == {"base": 2, "head": 2}


def test_the_same_seed_gives_the_same_blocks_and_another_one_others():
    plan = SamplingPlan(alternations=40, blocks=4, places=PLAN_OF_BOTH.places)
    one, same, other = (list(blocks(plan, PLACES, random.Random(seed))) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert len(one) == 4
    assert [len(rows) for _, rows in one] == [10, 10, 10, 10]


# Several cells in one group.


def rivals(number, plan_number=2, alternations=12):
    """The plan of so many cells on one side."""
    return SamplingPlan(alternations, blocks=2, places=(Sampling(plan_number, warm=True),) * number)


def logs(told):
    return {one.cell: one.log for one in told if isinstance(one, CellTimed)}


def test_a_worker_alone_samples_each_cell_at_each_position_equally_often():
    called = []
    names = ["a", "b", "c"]
    opened = {name: Opened(lambda name=name: called.append(name)) for name in names}
    _, told = worked(opened, pair_of(names, plan=rivals(3)))
    found = logs(told)
    assert all(Counter(found[name].positions) == {0: 4, 1: 4, 2: 4} for name in names)
    alternations = list(zip(*(found[name].positions for name in names), strict=True))
    assert all(sorted(positions) == [0, 1, 2] for positions in alternations)
    # It did as it says. Each sample is an untimed call and two timed ones.
    samples = called[3:][::3]
    expected = [names[positions.index(place)] for positions in alternations for place in range(3)]
    assert samples == expected
    assert [one.cell for one in told if isinstance(one, CellBegun)] == names


def test_the_order_of_several_cells_is_drawn_from_the_seed():
    def positions(seed):
        names = ["a", "b", "c"]
        _, told = worked({name: Opened() for name in names}, pair_of(names, plan=rivals(3), seed=seed))
        return [log.positions for log in logs(told).values()]

    assert positions(1) == positions(1) != positions(2)


def test_several_cells_are_all_torn_down_before_one_is_set_up_again():
    done = []
    names = ["a", "b", "c"]
    opened = {name: Opened(set_up=lambda: done.append("up")) for name in names}
    for one in opened.values():
        one.tear_down = lambda: done.append("down")
    worked(opened, pair_of(names, plan=rivals(3)))
    assert done == ["down"] * 3 + ["up"] * 3


def test_memory_goes_back_to_the_system_after_the_last_cell_of_a_side_is_torn_down(monkeypatch):
    done = []
    monkeypatch.setattr(heap, "TRIM", lambda rest: done.append("trim"))
    names = ["a", "b", "c"]
    opened = {name: Opened() for name in names}
    for one in opened.values():
        one.tear_down = lambda: done.append("down")
    worked(opened, pair_of(names, plan=rivals(3)))
    assert done == ["down", "down", "down", "trim"]


def test_a_worker_alone_finds_out_how_to_sample_several_cells(host):
    opened = {name: Opened(lambda call=call: host.advance(call)) for name, call in (("a", 1e-5), ("b", 1e-3))}
    for one in opened.values():
        one.timer, one.check, one.fresh = host, None, nothing
    _, told = worked(opened, pair_of(["a", "b"], plan=None))
    found = {one.cell: one for one in told if isinstance(one, CellTimed)}
    plan = found["a"].settled.plan
    assert plan == found["b"].settled.plan
    assert [place.number for place in plan.places] == [found["a"].log.number, found["b"].log.number] == [30, 1]
    assert found["a"].log.spans == pytest.approx([3e-4] * plan.alternations)
    assert found["b"].log.spans == pytest.approx([1e-3] * plan.alternations)
    assert found["a"].settled.seen["returns"] == "NoneType"


def fail():
    raise KeyError("gone")


@pytest.mark.parametrize("stage", ["import", "setup", "check", "first call", "call", "teardown"])
def test_a_cell_that_fails_is_named_and_the_others_of_its_group_are_left(host, stage):
    names = ["a", "b", "c"]
    opened = {name: Opened(lambda: host.advance(1e-3)) for name in [*names, "next"]}
    for one in opened.values():
        one.timer, one.check, one.fresh = host, nothing, nothing
    bad = opened["b"]
    if stage == "import":
        del opened["b"]
    elif stage == "setup":
        bad.fresh = fail
    elif stage == "first call":
        bad.call = fail
    elif stage == "check":
        bad.check = fail
    elif stage == "call":
        bad.call = lambda: host.advance(1e-3) if host.now < 0.012 else fail()
    else:
        bad.end = fail
    pair = pair_of(names, ["next"], plan=None)
    told = []
    known = {name: Cell(one) for name, one in opened.items()}
    suite = SimpleNamespace(path=Path(), find=lambda name: fail())
    work(Source((), (), ""), suite, known, pair, alone(), told.append)
    (failed,) = (one for one in told if isinstance(one, CellFailed))
    assert (failed.cell, failed.stage, failed.skipped) == ("b", stage.removeprefix("first "), False)
    assert failed.cause.startswith("KeyError: 'gone'")
    assert [one.cell for one in told if isinstance(one, CellLeft)] == ["a", "c"]
    assert list(logs(told)) == ["next"]
    assert gc.isenabled()


@pytest.mark.parametrize("kind", ["track", "memory", "peakmemory"])
def test_a_worker_alone_reads_what_is_no_time(kind):
    opened = {name: Opened() for name in "ab"}
    for value, one in enumerate(opened.values()):
        one.cell = SimpleNamespace(kind=kind)
        one.read = lambda value=value: float(value)
        one.check = None
    _, told = worked(opened, pair_of(["a"], ["b"], plan=None))
    found = [one for one in told if isinstance(one, CellRead)]
    assert [(one.cell, one.value, one.nothing) for one in found] == [("a", 0.0, False), ("b", 1.0, False)]
    assert all("check" in one.settled.seen for one in found)


@pytest.mark.parametrize("plan", [None, rivals(1)])
@pytest.mark.parametrize("number", [0, 1, 10])
def test_a_setting_of_torch_that_a_call_changes_for_all_cells_is_in_its_log(torch, host, plan, number):
    def change():
        host.advance(1e-3)
        torch.settings.update(threads=8)

    def set_up():
        torch.settings.update(threads=3)

    opened = {"a": Opened(change), "b": Opened(lambda: host.advance(1e-3))}
    for one in opened.values():
        one.timer, one.check, one.number, one.fresh = host, None, number, set_up
    opened["a"].set_up = set_up
    _, told = worked(opened, pair_of(["a"], ["b"], plan=plan))
    assert {name: log.changed for name, log in logs(told).items()} == {"a": ["threads: 3, then 8"], "b": []}


def test_each_cell_of_a_group_has_the_settings_of_torch_of_its_own_setup(torch):
    """As rivals that are numbers of threads."""
    seen = {name: set() for name in ("one", "two", "usual")}

    def cell(name, threads):
        def set_up():
            if threads:
                torch.set_num_threads(threads)

        opened = Opened(lambda: seen[name].add(torch.get_num_threads()), set_up)
        opened.begin = set_up
        return opened

    names = list(seen)
    opened = {name: cell(name, threads) for name, threads in zip(names, (1, 2, None), strict=True)}
    _, told = worked(opened, pair_of(names, plan=rivals(3)))
    assert seen == {"one": {1}, "two": {2}, "usual": {3}}
    assert all(log.changed == [] for log in logs(told).values())
