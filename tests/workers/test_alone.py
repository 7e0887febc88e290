"""A worker without a peer, in its own process: what it samples, and what is known of it when it is lost."""

import os
import sys
from collections import Counter
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from bench_core.workers import child
from bench_core.workers import nursery as nurseries
from bench_core.workers.messages import (
    NURSERY,
    CellFailed,
    CellLeft,
    CellRead,
    CellTask,
    CellTimed,
    Effort,
    GroupTask,
    Lost,
    NurseryTask,
    PairDone,
    PairTask,
    Ready,
    Source,
)

SUITE = """
import os, signal


def said(what):
    with open(os.environ["LOG"], "a") as file:
        file.write(what + "\\n")


said("import")


def work():
    for _ in range(2000):
        pass


calls = []


class Rivals:
    params = ["a", "b", "c", "crash", "hang", "fail"]
    number = 1

    def time_rival(self, rival):
        work()
        calls.append(rival)
        if calls.count(rival) > 4:  # not at the first look
            if rival == "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            if rival == "hang":
                while True:
                    pass
            if rival == "fail":
                raise KeyError("gone")


class Values:
    def mem_list(self):
        return [0] * 1000

    def peakmem_list(self):
        self.kept = bytearray(10_000_000)

    def track_answer(self):
        return 42


def track_cores():
    return len(os.sched_getaffinity(0))


def time_work():
    work()


time_work.number = 1
"""
RIVALS = "calls.Rivals.time_rival('{}')"


@pytest.fixture
def nursery(tmp_path, monkeypatch):
    """Starts a nursery for this suite alone, of which no packages are compared."""
    suite, log = tmp_path / "cases", tmp_path / "log"
    suite.mkdir()
    (suite / "__init__.py").touch()
    (suite / "calls.py").write_text(SUITE)
    monkeypatch.setenv("LOG", str(log))
    with child.Watchdog() as watchdog, ExitStack() as stack:

        def start(how="fork", core=None):
            started = child.Child(NURSERY, 0, watchdog)
            stack.callback(started.close)
            source = Source((), (), str(tmp_path / "caches"))
            started.tell(NurseryTask({"head": source}, str(suite), (), core=core, start=how, memory=None))
            assert started.answer() == Ready()
            started.log = lambda: log.read_text().splitlines()
            return started

        yield start


EFFORT = Effort(alternations=6, fewest=6, blocks=2, span=0.01)


def answers_to(nursery, *groups, timeout=20.0, free=False):
    """All answers to a task of these groups of cells for head alone."""
    tasks = tuple(GroupTask(tuple(CellTask(name) for name in names), None, EFFORT) for names in groups)
    task = PairTask(0, 1, "base", {"head": "head"}, tasks, timeout, free)
    answers = list(child.run_pair(nursery, task))
    assert isinstance(answers[-1], PairDone)
    return answers


def of(answers, kind):
    return [answer for answer in answers if isinstance(answer, kind)]


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_worker_alone_samples_several_cells_in_balanced_orders(nursery, how):
    names = [RIVALS.format(rival) for rival in "abc"]
    found = of(answers_to(nursery(how), names), CellTimed)
    assert sorted((one.role, one.cell) for one in found) == [("head", name) for name in names]
    for one in found:
        assert Counter(one.log.positions) == {0: 2, 1: 2, 2: 2}
        assert len(one.log.spans) == 6
        assert one.settled.plan == found[0].settled.plan


@pytest.mark.parametrize(("how", "timeout"), [("fork", 1), ("spawn", 5)])  # it imports everything in this time
@pytest.mark.parametrize(
    ("rival", "cause", "hangs"),
    [
        ("crash", "killed by SIGKILL, as by the system when memory is short", False),
        ("hang", "hangs: no answer within {} s", True),
    ],
)
def test_a_lost_worker_names_the_cell_that_it_was_at(nursery, how, timeout, rival, cause, hangs):
    names = [RIVALS.format(name) for name in ("a", rival, "b")]
    started = nursery(how)
    answers = answers_to(started, ["calls.time_work"], names, timeout=timeout)
    assert of(answers, Lost) == [Lost("head", cause.format(timeout), hangs, cell=RIVALS.format(rival))]
    assert [one.cell for one in of(answers, CellTimed)] == ["calls.time_work"]
    again = answers_to(started, [name for name in names if rival not in name])
    assert len(of(again, CellTimed)) == 2


def test_a_cell_that_fails_is_named_and_the_others_of_its_group_are_left(nursery):
    names = [RIVALS.format(name) for name in ("a", "fail", "b")]
    answers = answers_to(nursery(), names, ["calls.time_work"])
    (failed,) = of(answers, CellFailed)
    assert (failed.cell, failed.stage) == (names[1], "call")
    assert failed.cause.startswith("KeyError: 'gone' (cases/calls.py:")
    assert [one.cell for one in of(answers, CellLeft)] == [names[0], names[2]]
    assert [one.cell for one in of(answers, CellTimed)] == ["calls.time_work"]


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_memory_and_tracked_values_are_read(nursery, how):
    names = ["calls.Values.mem_list", "calls.Values.peakmem_list", "calls.Values.track_answer"]
    found = {one.cell: one.value for one in of(answers_to(nursery(how), *([name] for name in names)), CellRead)}
    listed, peak, answer = (found[name] for name in names)
    assert 8000 <= listed <= 9000
    assert peak > 10_000_000
    assert answer == 42


def cores_of(started, **options):
    (found,) = of(answers_to(started, ["calls.track_cores"], **options), CellRead)
    return found.value


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only some systems tell cores")
@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_free_worker_uses_the_cores_that_are_allowed_and_others_stay_on_theirs(nursery, how):
    allowed = os.sched_getaffinity(0)
    started = nursery(how, core=min(allowed))
    assert cores_of(started) == 1
    assert cores_of(started, free=True) == len(allowed)
    assert cores_of(started) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only some systems tell cores")
@pytest.mark.parametrize("how", ["fork", "spawn"])
@pytest.mark.parametrize("pinned", [False, True])
def test_no_worker_leaves_the_cores_that_its_nursery_was_started_on(nursery, how, pinned):
    """As under `taskset`."""
    before = os.sched_getaffinity(0)
    one = min(before)
    os.sched_setaffinity(0, {one})
    try:
        started = nursery(how, core=one if pinned else None)
    finally:
        os.sched_setaffinity(0, before)
    assert cores_of(started) == 1
    assert cores_of(started, free=True) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork")
def test_a_nursery_that_compares_nothing_imports_the_suite_once(nursery):
    started = nursery()
    for _ in range(3):
        assert len(of(answers_to(started, ["calls.time_work"]), CellTimed)) == 1
    assert started.log() == ["import"]


@pytest.mark.parametrize(
    ("paths", "packages", "how", "imports"),
    [
        (["/a"], (), "fork", True),
        (["/a", "/b"], (), "fork", False),
        (["/a"], ("thing",), "fork", False),
        (["/a"], (), "spawn", False),
    ],
)
def test_a_nursery_imports_the_suite_only_if_all_workers_would_import_the_same(
    monkeypatch, paths, packages, how, imports
):
    """Two versions without a package of their own are two all the same."""
    loaded = []
    monkeypatch.setattr(nurseries, "load", lambda source, suite: loaded.append(source) or SimpleNamespace(modules=()))
    sources = {path: Source((path,), packages, "") for path in paths}
    nurseries._import_suite(NurseryTask(sources, "cases", (), core=None, start=how, memory=None))
    assert (loaded == list(sources.values())) is imports
