"""What a thread computes, by the system's count of processor time, which others cannot add to."""

from __future__ import annotations

import math
import resource
import time
from dataclasses import dataclass

from bench_core import clock

OTHER_THREADS = 0.01
"""The share of a thread's processor time that all other threads may use besides, so that it counts as alone."""

_thread, _process, _usage = time.thread_time, time.process_time, resource.getrusage
"""As they were before a version was imported, which may replace them."""


@dataclass(frozen=True)
class Computing:
    """What the system has counted of this thread so far. Only differences have a meaning.

    Attributes:
        clock: seconds by our clock.
        thread: seconds of the processor that this thread has used.
        others: the same of all other threads of this process.
        waits: how often this thread has given up its core by itself: for a lock, a child process or a file, or in a
            sleep.
    """

    clock: float
    thread: float
    others: float
    waits: int

    @classmethod
    def before(cls) -> Computing | None:
        """At the beginning of a span. None if the system does not tell.

        The kernel gives the core to others most of all when a call of it ends. So the clock is read after the others
        here, and before them in `after`: only the span lies between the two.
        """
        if not hasattr(resource, "RUSAGE_THREAD"):
            return None
        waits = _waits()
        thread, others = _counts()[1:]
        return cls(clock.host(), thread, others, waits)

    @classmethod
    def after(cls) -> Computing:
        """At the end of a span that `before` has begun."""
        now = clock.host()
        thread, _, others = _counts()
        return cls(now, thread, others, _waits())

    def lost(self, later: Computing) -> float:
        """The seconds from this moment to a later one in which others had the core, if this thread has done nothing but
        compute, alone in its process; else NaN."""
        used = later.thread - self.thread
        alone = later.waits == self.waits and later.others - self.others <= OTHER_THREADS * used
        return max(0.0, later.clock - self.clock - used) if alone else math.nan


def _counts() -> tuple[float, float, float]:
    """The processor time of this thread, once more, and that of all others. To read one of them takes up to 20 us if
    its code is no longer in the caches, so what is compared is read in the same order each time."""
    first, process, second = _thread(), _process(), _thread()
    return first, second, process - second


def _waits() -> int:
    return _usage(resource.RUSAGE_THREAD).ru_nvcsw
