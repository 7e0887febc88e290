import math
import subprocess
import threading

import pytest

from bench_core import clock
from bench_core.workers import computing
from bench_core.workers.computing import Computing

pytestmark = pytest.mark.skipif(Computing.before() is None, reason="this system does not count the waits of a thread")


def lost(action):
    before = Computing.before()
    action()
    return before.lost(Computing.after())


def test_a_thread_that_computes_alone_has_lost_less_than_has_passed():
    began = clock.host()
    found = lost(lambda: sum(range(100_000)))
    assert 0 <= found < clock.host() - began


def test_a_thread_that_waits_for_a_child_process_has_none():
    assert math.isnan(lost(lambda: subprocess.run(["true"], check=True)))


def test_a_thread_that_leaves_the_work_to_another_thread_has_none():
    def both():
        other = threading.Thread(target=lambda: sum(range(1_000_000)))
        other.start()
        other.join()

    assert math.isnan(lost(both))


@pytest.mark.parametrize(("others", "counts"), [(0.0, True), (0.009, True), (0.02, False)])
def test_other_threads_may_use_a_hundredth_as_much(others, counts):
    found = Computing(3.0, 1.0, 4.0, 7).lost(Computing(6.0, 2.0, 4.0 + others, 7))
    assert (found == 2.0) if counts else math.isnan(found)


def test_one_wait_is_enough():
    assert math.isnan(Computing(3.0, 1.0, 4.0, 7).lost(Computing(6.0, 2.0, 4.0, 8)))


class Machine:
    """Seconds of the processor and of the clock. A call of the kernel takes longer if its code is no longer in the
    caches, and others have the core after it."""

    def __init__(self, *, slice_of_others=0.0):
        self.used, self.others, self.cold = 0.0, 0.0, True
        self._slice = slice_of_others

    def clock(self):
        return self.used + self.others

    def computes(self, seconds):
        self.used += seconds
        self.cold = True

    def call(self):
        self.used += 2e-5 if self.cold else 1e-7
        self.cold = False
        found = self.used
        self.others += self._slice
        return found


@pytest.fixture
def machine(monkeypatch):
    def make(**options):
        made = Machine(**options)
        monkeypatch.setattr(computing, "_process", made.call)
        monkeypatch.setattr(computing, "_thread", made.call)
        monkeypatch.setattr(computing, "_waits", lambda: made.call() and 0)
        monkeypatch.setattr(clock, "host", made.clock)
        return made

    return make


def test_a_reading_that_takes_long_is_not_taken_for_another_thread(machine):
    made = machine()
    assert lost(lambda: made.computes(1e-3)) == 0


def test_others_that_have_the_core_while_it_is_read_have_lost_the_span_nothing(machine):
    made = machine(slice_of_others=0.004)
    assert lost(lambda: made.computes(1e-3)) == 0
