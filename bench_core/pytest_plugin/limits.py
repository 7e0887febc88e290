"""The suite's own `timeout`, as far as one process can hold it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from bench_core import clock


class CellFailedError(Exception):
    """A failure of a cell that its text explains: pytest shows the text, and no traceback."""


class TooLongError(CellFailedError):
    """A cell took longer than its suite's `timeout`."""


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Stop the block after `seconds` of wall time. None is no limit.

    A call into C is stopped when it returns to Python. Outside of the main thread, and without POSIX timers (on
    Windows), the block runs to its end, and is refused then.

    Raises:
        TooLongError: if the block took longer.
    """
    if seconds is None or seconds <= 0:
        yield
        return
    start = clock.host()
    with _alarm(seconds):
        yield
    if clock.host() - start > seconds:  # not interrupted, or the benchmark has caught the error
        raise _too_long(seconds)


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise _too_long(seconds)

    start = clock.host()
    handler = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)  # another plugin may have set one for the test
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (clock.host() - start), 1e-6), interval)


def _too_long(seconds: float) -> TooLongError:
    return TooLongError(f"longer than the suite's timeout of {seconds:g} s")
