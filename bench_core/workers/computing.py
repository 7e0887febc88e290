"""What a thread computes, by the system's count of processor time, which others cannot add to."""

from __future__ import annotations

import math
import resource
import time
from dataclasses import dataclass

OTHER_THREADS = 0.01
"""The share of a thread's processor time that all other threads may use besides, so that it counts as alone."""


@dataclass(frozen=True)
class Computing:
    """What the system has counted of this thread so far. Only differences have a meaning.

    Attributes:
        thread: seconds of the processor that this thread has used.
        process: the same of all threads of this process.
        waits: how often this thread has given up its core by itself: for a lock, a child process or a file, or in a
            sleep.
    """

    thread: float
    process: float
    waits: int

    @classmethod
    def now(cls) -> Computing | None:
        """None if the system does not tell."""
        if not hasattr(resource, "RUSAGE_THREAD"):
            return None
        return cls(time.thread_time(), time.process_time(), resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw)

    def until(self, later: Computing) -> float:
        """The seconds of the processor from this moment to a later one, if this thread has done nothing but compute,
        alone in its process; else NaN."""
        used = later.thread - self.thread
        others = later.process - self.process - used
        return used if later.waits == self.waits and others <= OTHER_THREADS * used else math.nan
