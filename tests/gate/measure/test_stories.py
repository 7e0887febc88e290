"""What a pair records besides its effect: first calls, and the time by our own clock."""

import pytest

from bench_core.gate.measure.effects import effect
from bench_core.workers.messages import Log

MEMOIZED = """
import thing


class Solve:
    def time_solve(self):
        thing.solve(LENGTH)
"""
SOLVE = "import functools\n\n\n@functools.cache\ndef solve(n):\n    return sum(i * i for i in range(TIMES * n))\n"

WAITS = """
import time

import thing


class Child:
    timer = time.process_time

    def time_child(self):
        sum(range(20000))
        until = time.perf_counter() + thing.WAIT
        while time.perf_counter() < until:
            thing.wait(until - time.perf_counter())
"""
WAIT = "import select\n\n\ndef wait(seconds):\n    select.select([], [], [], max(0.0, seconds))\n\n\nWAIT = SECONDS\n"


def the(gate):
    (one,) = gate.main.dossiers
    return one


@pytest.mark.thorough
def test_a_first_call_that_does_twice_the_work_is_found_where_all_others_look_it_up(sides):
    once, twice = (SOLVE.replace("TIMES", times) for times in "14")
    found = the(sides(MEMOIZED.replace("LENGTH", "20_000"), once, twice).measure(noise_floor=0.01, limit=0.05))
    assert (found.judgement.verdict, found.judgement.of) == ("regression", "first call")
    assert found.judgement.memoized > 1000
    assert found.judgement.ratio.low > 1.1


def test_time_that_only_the_wall_clock_sees_is_no_pass(sides):
    one, other = (WAIT.replace("SECONDS", seconds) for seconds in ("0.0005", "0.0025"))
    found = the(sides(WAITS, one, other).measure())
    assert found.judgement.verdict == "inconclusive"
    assert "by the wall clock" in found.judgement.reason


def log(spans, walls, rate=1.0, first=0.0):
    order = [0, 1] * (len(spans) // 2)
    return Log(1, list(spans), order, by_timer=[rate * 0.1], by_host=[0.1], walls=list(walls), first=first)


def test_both_clocks_are_compared_only_where_the_timer_is_none_of_the_wall():
    where = {"pair": 0, "parent": 0, "first": "base"}
    same = effect(log([1.0] * 2, [1.0] * 2), log([1.0] * 2, [2.0] * 2), **where)
    apart = effect(log([1.0] * 2, [1.0] * 2, 0.1), log([1.0] * 2, [2.0] * 2, 0.1, first=3.0), **where)
    assert str(same.wall) == "nan"
    assert apart.wall == pytest.approx(0.6931, abs=1e-4)
    assert (apart.first_base, apart.first_head) == (0.0, 3.0)
