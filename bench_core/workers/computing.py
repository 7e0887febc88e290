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
        process: the same of all threads of this process.
        waits: how often this thread has given up its core by itself: for a lock, a child process or a file, or in a
            sleep.
    """

    clock: float
    thread: float
    process: float
    waits: int

    @classmethod
    def now(cls) -> Computing | None:
        """None if the system does not tell."""
        if not hasattr(resource, "RUSAGE_THREAD"):
            return None
        waits = _usage(resource.RUSAGE_THREAD).ru_nvcsw
        _process()  # a first reading takes 20 us, which would look like another thread between the two that count
        return cls(clock.host(), _thread(), _process(), waits)

    def lost(self, later: Computing) -> float:
        """The seconds from this moment to a later one in which others had the core, if this thread has done nothing but
        compute, alone in its process; else NaN. To read these numbers is to compute, so it adds nothing."""
        used = later.thread - self.thread
        others = later.process - self.process - used
        alone = later.waits == self.waits and others <= OTHER_THREADS * used
        return later.clock - self.clock - used if alone else math.nan
