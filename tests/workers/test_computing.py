import math
import subprocess
import threading

import pytest

from bench_core import clock
from bench_core.workers import computing
from bench_core.workers.computing import Computing

pytestmark = pytest.mark.skipif(Computing.now() is None, reason="this system does not count the waits of a thread")


def lost(action):
    before = Computing.now()
    action()
    return before.lost(Computing.now())


def test_a_thread_that_computes_alone_has_lost_less_than_has_passed():
    began = clock.host()
    found = lost(lambda: sum(range(100_000)))
    assert -0.001 < found < clock.host() - began


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
    found = Computing(3.0, 1.0, 5.0, 7).lost(Computing(6.0, 2.0, 6.0 + others, 7))
    assert (found == 2.0) if counts else math.isnan(found)


def test_one_wait_is_enough():
    assert math.isnan(Computing(3.0, 1.0, 5.0, 7).lost(Computing(6.0, 2.0, 6.0, 8)))


def test_what_a_first_reading_costs_is_not_taken_for_another_thread(monkeypatch):
    used, cold = 0.0, True

    def read():
        nonlocal used, cold
        used += 2e-5 if cold else 1e-7  # its code is no longer in the caches
        cold = False
        return used

    monkeypatch.setattr(computing, "_process", read)
    monkeypatch.setattr(computing, "_thread", lambda: used)
    Computing.now()
    before, used, cold = Computing.now(), used + 1e-3, True
    assert not math.isnan(before.lost(Computing.now()))
