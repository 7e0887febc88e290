"""What happens at the borders of the blocks of a pair, in this process."""

import gc
import random
import threading
from contextlib import contextmanager
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest

from bench_core.gate.workers.messages import (
    CellFailed,
    CellLeft,
    CellTask,
    CellTimed,
    PairTask,
    SamplingPlan,
    Source,
)
from bench_core.gate.workers.worker import PeerFailedError, Turns, _cell, _sampled, work
from bench_core.records.gate import SIDES
from bench_core.testing import FakeClock

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
    gc.unfreeze()
    for end in ends.values():
        end.close()
    (failed,) = (report for report in reports["head"] if isinstance(report, CellFailed))
    assert (failed.cell, failed.stage, failed.skipped) == ("late", "call", False)
    assert failed.cause.startswith("KeyError: 'late' (test_blocks.py:")
    assert CellLeft("base", "late") in reports["base"]
    for found in reports.values():
        assert isinstance(found[-1], CellTimed)
        assert (found[-1].cell, len(found[-1].log.spans)) == ("next", PLAN.alternations)
