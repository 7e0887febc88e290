"""The one clock of every door: asv, pytest-benchmark, our own sampling, and later the gate.

A leaf, and the only module that reads the real clock. The rule: an accelerator's queue is empty when a sample
starts and when it ends, so reading the clock first waits for the device that the cell runs on. A cell on the CPU
never waits for anything.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds from an arbitrary start; monotonic. asv's `timer`, and pytest-benchmark's."""

host: Clock = timeit.default_timer  # noqa: TID251 - the one place that names the real clock


def draining(synchronize: Callable[[], None], clock: Clock = host) -> Clock:
    """A clock that calls `synchronize` (wait until the device's queue is empty) before every reading."""

    def read() -> float:
        synchronize()
        return clock()

    return read
