"""Jobs that are really measured: what they read, and what becomes of cells that fail."""

import os
import signal
import sys

import pytest

from bench_core.analysis.rounds import Reading
from bench_core.errors import BenchCoreError
from bench_core.run.jobs import Job
from bench_core.run.parents import measuring

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")

KINDS = """
class Fast(_Ways):
    params = [["list", "generator", "odd [red], 'x' \\u00fc\\n(,)"]]

    def time_it(self, way):
        sum(self.data) if way != "generator" else sum(x for x in self.data)


class Once:
    number = 1

    def setup(self):
        self.data = [3, 1, 2] * 100

    def time_sort(self):
        assert self.data[0] == 3, "sorted before"
        self.data.sort()


def timeraw_import():
    return "sum(range(100))"


def mem_list():
    return [0] * 1000


def peakmem_bytes():
    return bytearray(30_000_000).count(1)


def track_three():
    return 3


def track_nothing():
    return None


def track_nan():
    return float("nan")
"""


def f(*names, benchmark="time_it"):
    return [f"f.{name.partition('(')[0]}.{benchmark}('{name.partition('(')[2]}')" for name in names]


@pytest.fixture(scope="module")
def kinds(suite_of, measure):
    shown = []
    found = measure(suite_of(KINDS), show=shown.append)
    return found, shown


def test_every_kind_of_cell_gets_its_value(kinds):
    found, _ = kinds
    assert found.failed == {"f.track_nothing": "it tracks nothing (None)"}
    assert found.skipped == {"f.track_nan": "its value is not a number (NaN)"}
    assert found.unreached == ()
    assert found.notes == ()
    assert found.readings["f.track_three"] == 3
    assert 8_000 < found.readings["f.mem_list"] < 10_000
    assert 30_000_000 < found.readings["f.peakmem_bytes"] < 200_000_000


def test_times_come_from_several_rounds_of_new_processes_with_all_rivals_in_turn(kinds):
    found, _ = kinds
    groups = {group.job: group for group in found.groups}
    assert set(groups) == {"f.Fast.time_it", "f.Once.time_sort", "f.timeraw_import"}
    fast = groups["f.Fast.time_it"]
    assert len(fast.visits) >= 2
    assert all(set(visit.seconds) == set(fast.cells) for visit in fast.visits)
    one, other, odd = fast.cells
    reading = Reading(found.groups)
    assert reading.ratio(other, one, fast).middle > 1.3
    assert 0.8 < reading.ratio(odd, one, fast).middle < 1.25
    assert 1e-8 < reading.time("f.timeraw_import").middle < 1e-4
    assert fast.samples >= 2
    assert fast.numbers[one] > 1


def test_a_call_that_needs_a_fresh_object_gets_one(kinds):
    found, _ = kinds
    assert 1e-7 < Reading(found.groups).time("f.Once.time_sort").middle < 1e-4


def test_the_display_counts_cells_that_have_a_value_and_those_that_are_precise(kinds):
    _, shown = kinds
    _, precise, cells = shown[-1].read["f"]
    assert cells == 10
    assert precise <= max(state.read["f"][0] for state in shown) <= 8
    assert shown[-1].round > 1


FAULTY = """
import time


class Check(_Ways):
    params = [["a", "b", "wrong"]]

    def check_it(self, way):
        assert way != "wrong", "planted"


class Tenth(_Ways):
    params = [["a", "b", "tenth"]]
    calls = 0

    def time_it(self, way):
        sum(self.data)
        if way == "tenth":
            Tenth.calls += 1
            if Tenth.calls == 10:
                raise ValueError("planted")


class Dies(_Ways):
    params = [["a", "dies", "b"]]

    def time_it(self, way):
        if way == "dies":
            os._exit(3)
        sum(self.data)


class Skips(_Ways):
    params = [["skips", "a", "b"]]

    def setup(self, way):
        if way == "skips":
            raise NotImplementedError("not today")
        super().setup(way)


class Zero(_Ways):
    params = [["a", "zero", "b"]]
    number = 1
    stopped = False

    def setup(self, way):
        super().setup(way)
        Zero.stopped = way == "zero"

    @staticmethod
    def timer():
        return 5.0 if Zero.stopped else time.perf_counter()


class Stopped(_Ways):
    params = [["zero", "too"]]
    number = 1
    timer = staticmethod(lambda: 5.0)


class OneLeft(_Ways):
    params = [["a", "fails"]]

    def time_it(self, way):
        if way == "fails":
            raise KeyError("planted")


def time_alone():
    raise ValueError("planted")


def track_text():
    return "many"
"""


@pytest.fixture(scope="module")
def faulty(suite_of, measure):
    return measure(suite_of(FAULTY))


def cells_of(measurement, job):
    (group,) = [group for group in measurement.groups if group.job == job]
    return group


@pytest.mark.parametrize(
    ("cell", "cause"),
    [
        (*f("Check(wrong"), "check: AssertionError: planted"),
        (*f("Tenth(tenth"), "call: ValueError: planted"),
        (*f("Dies(dies"), "ended with exit status 3"),
        (*f("Stopped(zero"), "its clock read 0 s for a sample, which is no time"),
        (*f("Zero(zero"), "its clock read 0 s for a sample, which is no time"),
        (*f("OneLeft(fails"), "KeyError: 'planted'"),
        ("f.time_alone", "ValueError: planted"),
        ("f.track_text", "a tracked value must be a number"),
    ],
)
def test_a_cell_that_fails_is_named_with_its_cause(faulty, cell, cause):
    assert cause in faulty.failed[cell]


def test_nothing_else_fails(faulty):
    known = {"Check(wrong", "Tenth(tenth", "Dies(dies", "Zero(zero", "Stopped(zero", "Stopped(too", "OneLeft(fails"}
    assert set(faulty.failed) == {"f.time_alone", "f.track_text", *f(*known)}
    assert faulty.skipped == {f("Skips(skips")[0]: "not today"}
    assert faulty.unreached == ()


@pytest.mark.parametrize("job", ["Check", "Tenth", "Dies", "Skips", "Zero"])
def test_the_others_of_its_job_are_sampled_in_turn_without_it(faulty, job):
    group = cells_of(faulty, f"f.{job}.time_it")
    assert list(group.cells) == f(f"{job}(a", f"{job}(b")
    assert any(set(visit.seconds) >= set(group.cells) for visit in group.visits)


def test_a_cell_that_fails_by_itself_too_leaves_no_note_on_the_others(faulty):
    assert not [note for note in faulty.notes if "beside" in note]


def test_one_rival_that_is_left_is_timed(faulty):
    group = cells_of(faulty, "f.OneLeft.time_it")
    assert list(group.cells) == f("OneLeft(a")
    assert group.visits


BESIDE = """
class Large(_Ways):
    params = [["a", "b", "c"]]

    def setup(self, way):
        self.data = bytearray(24_000_000)

    def time_it(self, way):
        self.data[0] = 1

    def teardown(self, way):
        del self.data
"""


AS_IT_RUNS = BESIDE.replace("self.data = bytearray(24_000_000)", "self.data = None").replace(
    "self.data[0] = 1", "self.data = bytearray(24_000_000)"
)


@pytest.mark.parametrize("source", [BESIDE, AS_IT_RUNS], ids=["setup", "call"])
def test_rivals_that_need_more_memory_than_there_is_are_taken_in_turn_by_process(suite_of, measure, source):
    found = measure(suite_of(source), memory=60_000_000)
    (group,) = found.groups
    assert found.failed == {}
    assert any(set(visit.seconds) == set(group.cells) for visit in group.visits)
    assert len(group.cells) == 3
    (note,) = found.notes
    assert "fails beside its rivals (" in note
    assert "MemoryError" in note
    assert note.endswith("so f.Large.time_it is taken in turn by process.")


HANGS = """
class Hangs(_Ways):
    params = [["a", "hangs", "b"]]

    def time_it(self, way):
        while way == "hangs":
            pass
        sum(self.data)
"""


def test_a_cell_that_hangs_is_given_up_and_the_others_are_timed(suite_of, measure):
    found = measure(suite_of(HANGS), timeout=1.0)
    assert found.failed == {f("Hangs(hangs")[0]: "hangs: no answer within 1 s"}
    (group,) = found.groups
    assert list(group.cells) == f("Hangs(a", "Hangs(b")
    assert group.visits


MOVES = """
import itertools

cores, allowed = itertools.count(), os.sched_getaffinity


class Moves(_Ways):
    params = [["a"]]

    def time_it(self, way):
        os.sched_getaffinity = lambda process: {next(cores)}

    def teardown(self, way):
        os.sched_getaffinity = allowed


def time_other():
    sum(range(100))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be pinned here")
def test_a_cell_whose_core_changes_in_every_visit_is_left_out_with_the_cause(suite_of, measure):
    found = measure(suite_of(MOVES))
    ((cell, cause),) = found.failed.items()
    assert cell == "f.Moves.time_it('a')"
    assert cause.startswith("its core changed from ")
    assert found.unreached == ()


KILLS = """
import signal


class Kills(_Ways):
    params = [["a", "kills", "b"]]

    def time_it(self, way):
        if way == "kills":
            os.kill(os.getppid(), signal.SIGKILL)
        sum(self.data)


def time_other():
    sum(range(100))
"""


def test_a_cell_that_kills_the_parent_of_its_worker_is_found_and_the_others_are_timed(suite_of, measure):
    found = measure(suite_of(KILLS))
    ((cell, cause),) = found.failed.items()
    assert (cell, cause.startswith("its parent has ended")) == (*f("Kills(kills"), True)
    assert found.unreached == ()
    assert found.notes == ()


NO_PARENT = """
import atexit


class Once(_Ways):
    pass


if os.environ.get("PYTHONHASHSEED"):  # every process of ours has one
    os._exit(4)
"""


def test_if_no_worker_can_be_started_that_is_the_error(suite_of, measure):
    with pytest.raises(BenchCoreError, match="workers cannot be started: its parent has ended"):
        measure(suite_of(NO_PARENT), budget=0.1)


SHARED = """
def time_yard():
    sum(range(200))


class One(_Ways):
    pass


class Two(_Ways):
    pass


def time_third():
    sum(range(300))
"""


def test_a_yardstick_is_sampled_in_turn_with_every_job_that_is_held_to_it(suite_of, measure):
    def held(times):
        return {cell: ["f.time_yard"] for cell in times if cell != "f.time_yard"}

    found = measure(suite_of(SHARED), yardsticks=held)
    groups = {group.job: group for group in found.groups}
    assert groups.pop("f.time_yard").yardsticks == ()
    assert len(groups) == 3
    for group in groups.values():
        assert group.yardsticks == ("f.time_yard",)
        later = [set(visit.seconds) for visit in group.visits if visit.round > 0]
        assert later
        assert all(seen == {*group.cells, "f.time_yard"} for seen in later)


def test_a_budget_that_is_too_small_still_times_something_and_names_the_rest(suite_of, measure):
    found = measure(suite_of(SHARED + FAULTY), budget=0.01)
    timed = [group for group in found.groups if group.visits]
    assert timed or found.failed or found.skipped
    assert found.round == 1
    assert found.unreached


def test_ctrl_c_ends_the_measuring_and_keeps_what_was_read(suite_of, measure):
    rounds = []

    def after():
        rounds.append(1)
        if len(rounds) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench_core.run.schedule.FEW", 99)
        found = measure(suite_of(SHARED), after=after)
    assert found.interrupted
    assert found.round == 2
    assert all(len(group.visits) == 2 for group in found.groups)


def test_the_same_cell_may_belong_to_several_jobs(suite_of, measure):
    suite = suite_of(SHARED)
    jobs = [Job(name, ("f.time_yard", name)) for name in ("f.time_third", *f("One(a"))]
    found = measure(suite, jobs=jobs)
    for group in found.groups:
        assert all(set(visit.seconds) == set(group.cells) for visit in group.visits)
        assert group.visits


def test_without_a_timeout_it_is_the_longest_that_the_suite_allows(suite_of):
    suite = suite_of("def time_it(): pass\n\n\ntime_it.timeout = 90\n\n\ndef time_other(): pass\n")
    assert measuring(suite, suite.cells, 10.0, None, 1).timeout == 90
    assert measuring(suite, suite.cells, 10.0, 5.0, 1).timeout == 5


MEMOIZED = """
import functools


@functools.lru_cache
def answer():
    return sum(number * number for number in range(200_000))


def time_answer():
    answer()
"""


def test_a_time_of_looking_up_what_the_first_call_has_found_is_said_to_be_one(suite_of, measure, monkeypatch):
    monkeypatch.setattr("bench_core.run.measure.PROCESSES_TO_MEMOIZE", 1)  # two rounds time one first call
    (note,) = measure(suite_of(MEMOIZED, rivals=False)).notes
    assert note.startswith("f.time_answer: its first call in a process takes over 1,000 times as long")


PEAK = """
class Peak:
    def peakmem_small(self):
        return bytearray(1000)

    def check_small(self):
        bytearray(300_000_000).count(1)
"""


def test_the_peak_of_memory_is_not_that_of_the_check(suite_of, measure):
    assert measure(suite_of(PEAK, rivals=False)).readings["f.Peak.peakmem_small"] < 200_000_000


def test_a_suite_that_asks_asv_to_spawn_is_not_forked(suite_of):
    suite = suite_of("")
    assert measuring(suite, suite.cells, 10.0, None, 1, "spawn").spawn
    assert not measuring(suite, suite.cells, 10.0, None, 1, "forkserver").spawn
