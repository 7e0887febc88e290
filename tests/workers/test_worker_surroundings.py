"""Samples across a suspend, or on a core that the worker was moved from, do not count."""

import os
import time
from types import SimpleNamespace

import pytest

from bench_core import clock, cores
from bench_core.errors import BenchCoreError
from bench_core.gate import prepare
from bench_core.workers import child
from bench_core.workers.disturbance import Surroundings
from bench_core.workers.messages import NURSERY, NurseryTask

HERE = Surroundings(suspended=1000.0, cores=frozenset({1}))
pinned = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be pinned here")


@pytest.mark.parametrize(
    ("later", "why"),
    [
        (HERE, []),
        (Surroundings(1000.09, HERE.cores), []),
        (Surroundings(1003.0, HERE.cores), ["the machine was suspended for 3.00 s"]),
        (Surroundings(1000.0, frozenset({0, 2})), ["its core changed from 1 to 0, 2"]),
    ],
)
def test_samples_are_spoiled_by_a_suspend_and_by_another_core(later, why):
    assert HERE.spoiled(later) == why


def test_a_suspend_shows_where_one_clock_counts_it_and_the_other_does_not(monkeypatch):
    clocks = {7: 5000.0, 1: 4000.0}
    fake = SimpleNamespace(CLOCK_BOOTTIME=7, CLOCK_MONOTONIC=1, clock_gettime=clocks.__getitem__)
    monkeypatch.setattr(clock, "time", fake)
    assert clock.suspended() == 1000.0
    monkeypatch.setattr(clock, "time", SimpleNamespace(CLOCK_MONOTONIC=1, clock_gettime=clocks.__getitem__))
    assert clock.suspended() == 0.0


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the clock is Linux's")
def test_a_machine_that_is_awake_was_not_suspended_in_between():
    before = Surroundings.now()
    assert before.spoiled(Surroundings.now()) == []


MOVES = """
import itertools, os

cores, allowed = itertools.count(), os.sched_getaffinity


class Moves:
    def time_it(self):
        os.sched_getaffinity = lambda process: {next(cores)}

    def teardown(self):
        os.sched_getaffinity = allowed


def time_stays():
    pass
"""
"""The system names another core each time that it is asked."""


@pinned
def test_a_cell_whose_core_changes_in_every_pair_is_given_up_with_the_cause_and_others_are_measured(sides):
    gate = sides(MOVES, "").measure()
    found = {one.cell.name: one for one in gate.dossiers}
    moves, stays = found["calls.Moves.time_it"], found["calls.time_stays"]
    assert (moves.effects, moves.error_side) == ([], None)
    assert moves.error.startswith("its core changed from ")
    assert stays.effects
    assert all("so a pair of calls.Moves.time_it does not count" in fault for fault in gate.faults)


OFFLINE = 10_000
"""No machine has this core, and the system refuses it as one that is offline."""


@pinned
def test_a_core_that_is_taken_offline_ends_the_gate_with_its_name(sides):
    made = sides("def time_it():\n    pass\n", "")
    gate = made.gate()
    gate.cores = [OFFLINE]
    with pytest.raises(BenchCoreError, match="core 10000 cannot be used any more .*taken offline"):
        gate.run(lambda progress: None)
    assert made.left_behind() == []


@pinned
def test_a_core_that_is_lost_between_two_pairs_is_named_by_the_worker(sides):
    made = sides("def time_it():\n    pass\n", "")
    with child.Watchdog() as watchdog:
        nursery = child.Child(NURSERY, 0, watchdog)
        nursery.tell(NurseryTask({}, str(made.subjects.suite), (), core=OFFLINE, start="fork", memory=None))
        with pytest.raises(child.LostError, match="it last wrote: core 10000 cannot be used any more"):
            nursery.answer()
        nursery.close()


@pinned
def test_cores_that_are_refused_are_one_clear_error():
    with pytest.raises(cores.NoCoreError, match="core 10000, 10001 cannot be used any more .Invalid argument."):
        cores.stay_on([OFFLINE, OFFLINE + 1])


@pinned
@pytest.mark.parametrize(("granted", "lanes"), [(None, 2), (8.0, 2), (1.5, 1), (0.5, 1)])
def test_there_are_no_more_lanes_than_the_control_group_grants_cores(monkeypatch, granted, lanes):
    monkeypatch.setattr(cores, "usable", lambda: (0, 1, 2, 3))
    monkeypatch.setattr(prepare, "quota", lambda: granted)
    assert len(prepare.cores_of(None)) == lanes
    assert prepare.cores_of(1) == (0,)
    if granted == 1.5:
        with pytest.raises(BenchCoreError, match="the control group of this process is granted 1.5 of 4"):
            prepare.cores_of(2)
