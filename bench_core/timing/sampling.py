"""Takes samples. A sample is a timed span of calls."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench_core.clock import Clock, host

STANDS_STILL = 1.0
"""A clock that reads no time for a sample of this many seconds does not measure the calls."""


def time_sample(call: Callable[[], object], number: int, clock: Clock) -> float:
    """The seconds of `number` calls. The clock is read once before them and once after. As in `timeit`, the loop runs
    over `itertools.repeat`, the cheapest loop in Python. It adds about 10 ns per call, as do the loops of asv and
    pytest-benchmark."""
    calls = itertools.repeat(None, number)
    start = clock()
    for _ in calls:
        call()
    return clock() - start


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect garbage now, and not again inside the block, where one sample would pay for the garbage of all others."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def choose_number(call: Callable[[], object], clock: Clock, span: float) -> int:
    """The number of calls that take at least `span` seconds. The calls made to find it are the warm-up.

    Raises:
        ValueError: if the clock stands still or runs backwards, since no number of calls would do.
    """
    number = 1
    while True:
        began = host()
        taken = time_sample(call, number, clock)
        if taken <= 0 and host() - began >= STANDS_STILL:
            raise ValueError(
                f"its timer read {taken:g} s for {number} calls that took over {STANDS_STILL:g} s. Give it a timer in "
                "seconds that only goes forward, such as time.perf_counter"
            )
        if taken >= span:
            return number
        growth = 10.0 if taken <= 0 else min(10.0, max(1.2, 1.05 * span / taken))
        number = max(number + 1, int(number * growth))
