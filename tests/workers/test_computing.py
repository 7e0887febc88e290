import math
import subprocess
import threading

import pytest

from bench_core.workers.computing import Computing

pytestmark = pytest.mark.skipif(Computing.now() is None, reason="this system does not count the waits of a thread")


def computing(action):
    before = Computing.now()
    action()
    return before.until(Computing.now())


def test_a_thread_that_computes_alone_has_a_time():
    assert 0 < computing(lambda: sum(range(100_000))) < 10


def test_a_thread_that_waits_for_a_child_process_has_none():
    assert math.isnan(computing(lambda: subprocess.run(["true"], check=True)))


def test_a_thread_that_leaves_the_work_to_another_thread_has_none():
    def both():
        other = threading.Thread(target=lambda: sum(range(1_000_000)))
        other.start()
        other.join()

    assert math.isnan(computing(both))


@pytest.mark.parametrize(("others", "counts"), [(0.0, True), (0.009, True), (0.02, False)])
def test_other_threads_may_use_a_hundredth_as_much(others, counts):
    found = Computing(1.0, 5.0, 7).until(Computing(2.0, 6.0 + others, 7))
    assert (found == 1.0) if counts else math.isnan(found)


def test_one_wait_is_enough():
    assert math.isnan(Computing(1.0, 5.0, 7).until(Computing(2.0, 6.0, 8)))
