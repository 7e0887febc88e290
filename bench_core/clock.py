"""The clock of asv, pytest-benchmark, our own sampling and the gate. No other module reads the real clock.

An accelerator's queue must be empty when a sample starts and when it ends. So the clock of a cell on an accelerator
waits for the device before each reading. The clock of a cell on the CPU never waits.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable

Clock = Callable[[], float]
"""A monotonic clock: seconds from an arbitrary start. asv and pytest-benchmark take it as their `timer`."""

host: Clock = timeit.default_timer  # noqa: TID251 - the only place that names the real clock

used: Clock = time.process_time
"""The seconds of the processor that this process has used."""


def suspended() -> float:
    """The seconds that the machine was suspended so far. Only differences have a meaning. `host` does not count them.
    0 if the system does not tell."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    # Another process may run between the two readings. The largest of three differences counts, since that makes one
    # too small.
    return max(time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC) for _ in range(3))


def draining(synchronize: Callable[[], None], clock: Clock = host) -> Clock:
    """A clock that calls `synchronize`, which waits until the device's queue is empty, before every reading."""

    def read() -> float:
        synchronize()
        return clock()

    return read
