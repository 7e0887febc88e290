"""A head that forges its times: it replaces clocks or samples, speaks for base, or works while it is not timed."""

import pytest
from sides import CALL, LOOP

from bench_core.gate.judge.cell import judge_evidence

REACH = """
import gc, sys, types


def namespaces():
    gc.unfreeze()
    frame, todo, seen = sys._getframe(), [], {}
    while frame:
        todo.append(frame.f_globals)
        frame = frame.f_back
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one
        for value in list(one.values()):
            if str(getattr(value, "__module__", "")).startswith("bench_core"):
                parts = [value, *getattr(value, "__dict__", {}).values()] if isinstance(value, type) else [value]
                todo += [part.__globals__ for part in parts if isinstance(part, types.FunctionType)]
            elif isinstance(value, types.ModuleType) and value.__name__.startswith("bench_core"):
                todo.append(vars(value))
    return list(seen.values())
"""
"""Finds the worker's own modules, which it has taken out of `sys.modules`."""

EVERY_CLOCK = """
import time, timeit

true = time.perf_counter


def slow():
    return true() / 3.5


for one in [*namespaces(), *(one for one in gc.get_objects() if isinstance(one, dict))]:
    for name, found in list(one.items()):
        if found is true and name != "true":
            one[name] = slow
for name in ("perf_counter", "time", "monotonic", "process_time"):
    setattr(time, name, slow)
timeit.default_timer = slow
"""

EVERY_SAMPLE = """
for one in namespaces():
    if "time_sample" in one:
        one["time_sample"] = lambda *arguments, honest=one["time_sample"]: honest(*arguments) / 3.5
"""

EVERY_REPORT = """
def forge(message):
    if type(message).__name__ == "CellTimed":
        for numbers in (message.log.spans, message.log.walls):
            numbers[:] = [number / 3.5 for number in numbers]


for one in namespaces():
    if one.get("__name__") == "bench_core.workers.messages":
        honest = one["REPORTS"].line
        one["REPORTS"].line = lambda message: forge(message) or honest(message)
"""

OTHER_CALLS = """
for one in namespaces():
    if one.get("__name__") == "bench_core.workers.messages":
        honest = one["REPORTS"].line

        def forge(message):
            if type(message).__name__ == "CellTimed":
                object.__setattr__(message.log, "WHAT", message.log.WHAT * 3 + 1)
            return honest(message)

        one["REPORTS"].line = forge
"""

IN_A_THREAD = """
import queue, threading

left = queue.SimpleQueue()


def loop(number):
    for _ in range(number):
        pass


def work():
    while True:
        loop(left.get())


threading.Thread(target=work, daemon=True).start()


def value():
    left.put(20_000)
    loop(1_700)
"""

SPEAKS_FOR_BASE = """
import dataclasses

for one in namespaces():
    if one.get("__name__") == "bench_core.workers.messages":
        honest = one["REPORTS"].line
        one["REPORTS"].line = lambda message: honest(dataclasses.replace(message, role="base"))
"""

NO_SAMPLES = """
for one in namespaces():
    if one.get("__name__") == "bench_core.workers.messages":
        honest = one["REPORTS"].line

        def empty(message):
            if type(message).__name__ == "CellTimed":
                getattr(message.log, "WHAT").clear()
            return honest(message)

        one["REPORTS"].line = empty
"""

DESCRIPTORS = """
import contextlib, os


def pipes(process):
    found = []
    for one in sorted(map(int, os.listdir(f"/proc/{process}/fd"))):
        with contextlib.suppress(OSError):  # the one that lists them
            found.append(os.readlink(f"/proc/{process}/fd/{one}"))
    return [one for one in found[3:] if one.startswith("pipe:")]


try:
    to_the_gate = pipes(os.getppid())[:1]  # the first that it has opened
except OSError:  # not allowed to look, which is as well
    to_the_gate = []


def value():
    assert not set(to_the_gate) & set(pipes("self"))
"""


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(LOOP.format(6000) + REACH + EVERY_CLOCK, id="every clock", marks=pytest.mark.thorough),
        pytest.param(LOOP.format(6000) + REACH + EVERY_SAMPLE, id="every sample", marks=pytest.mark.thorough),
        pytest.param(LOOP.format(6000) + REACH + EVERY_REPORT, id="every report"),
        pytest.param(IN_A_THREAD, id="work in a thread"),
    ],
)
def test_a_head_that_takes_at_least_three_times_as_long_and_hides_it_is_no_pass(sides, forged):
    # By what it tells, each is a little faster than base. Beside other work, some pairs do not know what head used. A
    # pass takes nine, as in a real gate.
    found = judged(sides(CALL, LOOP.format(2000), forged).measure(limit=0.05, noise_floor=0.01, pass_error=0.01))
    assert found.verdict in ("inconclusive", "regression", "error")
    assert "clock" in found.reason or found.verdict == "regression"


def test_a_head_that_speaks_for_base_has_no_verdict(sides):
    gate = sides(CALL, LOOP.format(6000), LOOP.format(2000) + REACH + SPEAKS_FOR_BASE).measure()
    assert judged(gate).verdict == "error"
    assert "reports in the name of base" in judged(gate).reason
    assert not gate.dossiers[0].effects


@pytest.mark.parametrize("what", ["spans", "by_host"])
def test_a_head_whose_report_lacks_samples_fails(sides, what):
    gate = sides(CALL, LOOP.format(2000), LOOP.format(2000) + REACH + NO_SAMPLES.replace("WHAT", what)).measure()
    (found,) = gate.dossiers
    assert (found.error_side, "makes no sense" in found.error) == ("head", True)


@pytest.mark.parametrize("what", ["number", "untimed"])
def test_a_head_that_reports_other_calls_than_it_was_asked_for_fails(sides, what):
    gate = sides(CALL, LOOP.format(2000), LOOP.format(6000) + REACH + OTHER_CALLS.replace("WHAT", what)).measure()
    (found,) = gate.dossiers
    assert (found.error_side, "makes no sense" in (found.error or "")) == ("head", True)


def test_a_worker_has_not_the_pipe_through_which_its_parent_answers_the_gate(sides):
    (found,) = sides(CALL, DESCRIPTORS, DESCRIPTORS).measure(until=lambda gate: gate.dossiers[0].effects).dossiers
    assert found.effects
    assert found.error is None


def judged(gate):
    return judge_evidence(gate.dossiers[0].evidence, gate.settings, 1)
