"""What benchmarks can do to their workers, and that it costs no other cell its verdict."""

import sys
from contextlib import suppress
from dataclasses import replace

import psutil
import pytest

from bench_core.gate.judge.cell import judge_cell
from bench_core.gate.versions.subjects import source
from bench_core.workers import child
from bench_core.workers.messages import (
    NURSERY,
    CellBegun,
    CellTask,
    CellTimed,
    GroupTask,
    NurseryTask,
    PairDone,
    PairTask,
    Ready,
)
from bench_core.workers.plan import PAIR

CASES = """
import thing


class Faults:
    params = [NAMES]

    def setup(self, fault):
        thing.at("setup", fault)

    def check_work(self, fault):
        thing.at("check", fault)

    def teardown(self, fault):
        thing.at("teardown", fault)

    def time_work(self, fault):
        thing.at("call", fault)
        for _ in range(300):
            pass
"""

FAULTS = """
import os, signal, subprocess, sys

ONCE = ["leave_behind", "chatter", "come_back_twice"]
done = []

def at(stage, fault):
    wanted, _, name = fault.partition(" ")
    if wanted == stage and (name not in ONCE or not done):
        done.append(name)
        globals()[name]()


def abort():
    os.abort()


def hang():
    while True:
        pass


def leave_well():
    os._exit(0)


def leave_with_words():
    os.write(2, b"loading\\n\\x1b]0;title\\x1b\\\\\\x1b[31mLLVM ERROR\\x1b[0m: out of registers\\n\\x1b[0m\\n")
    sys.stderr.flush()
    os._exit(1)


def leave_politely():
    sys.exit(4)


def fail():
    raise KeyError("gone")


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def close_pipes():
    os.closerange(3, 256)


def close_pipes_and_hang():
    os.closerange(3, 256)
    hang()


def eat():
    bytearray(1 << 34)


def leave_behind():
    # In a session of its own, and holding every pipe.
    child = os.fork()
    if not child:
        os.setsid()
        signal.pause()
    with open(CHILDREN, "a") as file:
        file.write(f"{child}\\n")


def leave_behind_and_abort():
    leave_behind()
    os.abort()


def chatter():
    for stream in (sys.stdout, sys.stderr):
        stream.write("x" * 1_000_000)


def come_back_twice():
    os.fork()
"""

ON_HEAD = {
    "call abort": "killed by SIGABRT",
    "call hang": "hangs: no answer within 1.2 s",
    "call leave_well": "ended with exit status 0 before it was done",
    "call leave_with_words": "done; the last line on standard error, of both sides: LLVM ERROR: out of",
    "call leave_politely": "call: SystemExit: 4 (thing/__init__.py:",
    "setup fail": "setup: KeyError: 'gone' (thing/__init__.py:",
    "check fail": "check: KeyError: 'gone' (thing/__init__.py:",
    "call fail": "call: KeyError: 'gone' (thing/__init__.py:",
    "teardown fail": "teardown: KeyError: 'gone' (thing/__init__.py:",
    "call kill": "killed by SIGKILL",
    "check close_pipes": "closed its pipes",
    "check close_pipes_and_hang": "",  # "closed its pipes and went on", or "hangs" if another process holds them
    "check eat": "check: MemoryError",
    "setup leave_behind_and_abort": "killed by SIGABRT",
}
HARMLESS = ["none", "setup leave_behind", "setup chatter", "setup come_back_twice"]
ON_BOTH = {"check_ abort": "killed by SIGABRT", "call_ hang": "hangs: ", "setup_ fail": "setup: KeyError: 'gone'"}


@pytest.fixture(scope="module")
def after(module_sides, tmp_path_factory):
    """A gate over all of it, from end to end."""
    children = tmp_path_factory.mktemp("faults") / "children"
    head = FAULTS.replace("CHILDREN", repr(str(children)))
    both = head.replace("wanted == stage", "wanted == f'{stage}_'")
    head = head.replace("wanted == stage", "wanted in (stage, f'{stage}_')")
    sides = module_sides(CASES.replace("NAMES", repr([*ON_HEAD, *HARMLESS, *ON_BOTH])), both, head)
    gate = sides.measure(timeout=1.2, memory=1 << 30, budget=60.0, lanes=2)
    gate.left_behind, gate.children = sides.left_behind(), children.read_text().split()
    return gate


def cell(gate, fault):
    return next(one.evidence for one in gate.dossiers if one.cell.params["param1"] == repr(fault))


@pytest.mark.parametrize("fault", ON_HEAD)
def test_what_head_alone_does_is_an_error_of_head_with_its_cause(after, fault):
    found = cell(after, fault)
    assert found.error
    assert ON_HEAD[fault] in found.error
    assert found.error_side == "head"


@pytest.mark.parametrize("fault", ON_BOTH)
def test_what_both_sides_do_is_the_fault_of_neither(after, fault):
    found = cell(after, fault)
    assert ON_BOTH[fault] in str(found.error)
    assert found.error_side is None


@pytest.mark.parametrize("fault", HARMLESS)
def test_cells_that_work_get_their_verdict(after, fault):
    found = cell(after, fault)
    assert found.error is None
    family = len(after.dossiers)
    assert judge_cell(found.effects, after.settings, family, "time").verdict == "pass"


def test_nothing_is_left_behind(after):
    assert after.left_behind == []
    assert after.children
    for one in after.children:  # each was killed, and is gone as soon as somebody has reaped it
        with suppress(psutil.NoSuchProcess):
            psutil.Process(int(one)).wait(timeout=5)


@pytest.fixture
def running(sides):
    """A parent of workers, without a gate."""
    made = sides(CALL, VALUE)
    with child.Watchdog() as watchdog:
        started = child.Child(NURSERY, 0, watchdog)
        started.sides = made
        started.watchdog = watchdog
        yield started
        started.close()


CALL = """
import thing


def time_value():
    thing.value()
"""
VALUE = "def value():\n    return 1\n"


def task(running, **changes):
    subjects = running.sides.subjects
    sources = {side: source(subjects, side, running.watchdog.folder) for side in ("base", "head")}
    usual = NurseryTask(sources, str(subjects.suite), preload=(), core=None, start="fork", memory=None)
    return replace(usual, **changes)


def test_a_timer_that_raises_is_the_error_of_its_cell(sides):
    made = sides(
        CALL + "\n\ntime_value.timer = thing.now\n\n\ndef time_other():\n    pass\n", NOW, NOW.replace("1 << 90", "20")
    )
    gate = made.measure()
    found = next(one for one in gate.dossiers if "value" in one.cell.name)
    assert "OverflowError: late" in found.error
    assert found.error_side == "head"
    assert [one.error for one in gate.dossiers if "other" in one.cell.name] == [None]


NOW = """
import time

calls = 0


def value():
    pass


def now():
    global calls
    calls += 1
    if calls > 1 << 90:
        raise OverflowError("late")
    return time.perf_counter()
"""


def pair(*cells):
    versions = {"base": "base", "head": "head"}
    groups = tuple(GroupTask((CellTask(name),), None, PAIR) for name in cells)
    return PairTask(0, 1, "head", versions, groups, timeout=20.0)


def answers_to(running, cell):
    return list(child.run_pair(running, pair(cell)))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_spawned_workers_do_as_forked_ones(running, start):
    running.tell(task(running, start=start))
    assert running.answer() == Ready()
    answers = answers_to(running, "calls.time_value")
    reports = {answer.role: answer for answer in answers if isinstance(answer, CellTimed)}
    assert reports.keys() == {"base", "head"}
    assert all(len(report.log.spans) == report.settled.plan.alternations for report in reports.values())
    assert answers[-1].pair == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lets a process adopt orphans")
def test_what_a_worker_leaves_behind_ends_with_its_pair(running):
    (running.sides.root / "head/thing/__init__.py").write_text(
        "import os, signal\n\nif not os.fork():\n    os.setsid()\n    signal.pause()\n\n\ndef value():\n    pass\n"
    )
    running.tell(task(running))
    running.answer()
    assert any(isinstance(answer, CellTimed) for answer in answers_to(running, "calls.time_value"))
    (nursery,) = (one for one in psutil.Process().children() if "workers.nursery" in " ".join(one.cmdline()))
    assert nursery.children(recursive=True) == []


def test_what_does_not_import_beforehand_is_left_to_the_workers(running):
    running.tell(task(running, preload=("no_such_module", "json.decoder")))
    assert running.answer() == Ready()
    assert isinstance(answers_to(running, "calls.time_value")[-1], PairDone)


def test_the_last_words_of_a_parent_that_dies_are_in_the_error(tmp_path, monkeypatch):
    (tmp_path / "dying.py").write_text("raise SystemExit('out of luck')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with child.Watchdog() as watchdog:
        started = child.Child(NURSERY, 0, watchdog)
        started.tell(NurseryTask({}, "", ("dying",), core=None, start="fork", memory=None))
        with pytest.raises(child.LostError, match="has ended; it last wrote: out of luck"):
            started.answer()
        started.close()


def test_a_report_larger_than_a_pipe_holds_arrives(running):
    path = running.sides.subjects.suite / "calls.py"
    path.write_text(CALL + "\n\ntime_value.params = [['x' * 200_000]]\n")
    running.tell(task(running))
    running.answer()
    name = f"calls.time_value('{'x' * 200_000}')"
    assert name in {answer.cell for answer in answers_to(running, name) if isinstance(answer, CellBegun)}


def test_a_closed_parent_leaves_no_open_file(sides):
    made = sides(CALL, VALUE)
    here = psutil.Process()
    before = here.num_fds()
    with child.Watchdog() as watchdog:
        child.Child(NURSERY, 0, watchdog).close()
    assert here.num_fds() == before
    assert made.left_behind() == []
