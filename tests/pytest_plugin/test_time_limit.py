"""The time limit of a block."""

import contextlib
import signal
import threading

import pytest

from bench_core.pytest_plugin.limits import TooLongError, time_limit


def until(done):
    while not done():
        pass


def test_a_block_that_takes_too_long_is_stopped():
    with pytest.raises(TooLongError, match="longer than the suite's timeout of 0.01 s"), time_limit(0.01):
        until(lambda: False)


def test_a_block_that_cannot_be_stopped_is_refused_at_its_end():
    caught = []

    def body():
        try:
            with time_limit(1e-9):
                caught.append("ran")
        except TooLongError:
            caught.append("refused")

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert caught == ["ran", "refused"]


def test_an_error_that_the_block_swallows_is_raised_at_its_end():
    with pytest.raises(TooLongError), time_limit(0.01), contextlib.suppress(Exception):
        until(lambda: False)


def test_without_a_limit_no_timer_is_set():
    with time_limit(None):
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_the_timer_of_another_plugin_is_restored():
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 50)
    try:
        with time_limit(10):
            assert signal.getitimer(signal.ITIMER_REAL)[0] <= 10
        assert 10 < signal.getitimer(signal.ITIMER_REAL)[0] <= 50
        assert signal.getsignal(signal.SIGALRM) == signal.SIG_IGN
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
