"""Samples several operations in turn, so that they share the machine's drift. A sample is a timed span of calls."""

from __future__ import annotations

import gc
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench_core.clock import Clock
from bench_core.records.run import Samples


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
    """The number of calls that take at least `span` seconds. The calls made to find it are the warm-up."""
    number = 1
    while True:
        taken = time_sample(call, number, clock)
        if taken >= span:
            return number
        growth = 10.0 if taken <= 0 else min(10.0, max(1.2, 1.05 * span / taken))
        number = max(number + 1, int(number * growth))


@dataclass(frozen=True)
class TimedCall:
    """An operation, and how it is sampled.

    Attributes:
        call: the operation.
        clock: the clock of its device.
        number: calls in a sample.
        before: runs before each sample, untimed. It calls the operation once, or makes a fresh object for an operation
            that can happen only once per object.
    """

    call: Callable[[], object]
    clock: Clock
    number: int
    before: Callable[[], object]


def timed_call(
    call: Callable[[], object], clock: Clock, *, number: int = 0, fresh: Callable[[], object] | None, span: float
) -> TimedCall:
    """Decide how an operation is sampled.

    Args:
        number: calls in a sample; 0 for as many as last `span` seconds.
        fresh: sets the operation up anew before each sample. If None, the operation is called once before each sample,
            untimed, since another operation has filled the caches.
    """
    if fresh is not None:
        fresh()
    chosen = number or choose_number(call, clock, span)
    return TimedCall(call, clock, chosen, fresh or call)


def take_turns(calls: Sequence[TimedCall], rounds: int, seed: int = 0) -> list[Samples]:
    """Sample each call once in every round, in a random order. Returns the samples of each call. The i-th samples of
    all calls are of one round, so they can be compared as pairs."""
    order = list(range(len(calls)))
    shuffle = random.Random(seed).shuffle
    seconds: list[list[float]] = [[] for _ in calls]
    with no_garbage_collection():
        for _ in range(rounds):
            shuffle(order)
            for index in order:
                chosen = calls[index]
                chosen.before()
                seconds[index].append(time_sample(chosen.call, chosen.number, chosen.clock))
    return [Samples(chosen.number, tuple(spans)) for chosen, spans in zip(calls, seconds, strict=True)]
