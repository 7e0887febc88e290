"""Samples: timed spans of many calls, and taking them in turn so that the machine's moods hit all alike."""

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
    """Seconds that `number` calls take: one reading of the clock before them and one after.

    `itertools.repeat` is the cheapest loop there is in Python (as in `timeit`); what is left of it, some 10 ns a call,
    is part of every door's time.
    """
    calls = itertools.repeat(None, number)
    start = clock()
    for _ in calls:
        call()
    return clock() - start


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect now and not again until the end: a collection inside a sample is charged to whoever runs then."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def choose_number(call: Callable[[], object], clock: Clock, span: float) -> int:
    """How many calls make a sample of at least `span` seconds. The calls that find out are the warm-up.

    Args:
        span: the shortest sample that is wanted, in seconds.
    """
    number = 1
    while True:
        taken = time_sample(call, number, clock)
        if taken >= span:
            return number
        growth = 10.0 if taken <= 0 else min(10.0, max(1.2, 1.05 * span / taken))
        number = max(number + 1, int(number * growth))


@dataclass(frozen=True)
class Subject:
    """What is sampled.

    Attributes:
        call: the operation.
        clock: the clock that goes with its device.
        number: calls a sample.
        before: what prepares a sample, outside the timed span; one untimed call for what is to be warm, a fresh
            object for what happens once.
    """

    call: Callable[[], object]
    clock: Clock
    number: int
    before: Callable[[], object]


def subject(
    call: Callable[[], object],
    clock: Clock,
    *,
    number: int = 0,
    fresh: Callable[[], object] | None,
    span: float,
) -> Subject:
    """A subject whose `number`, if it is 0, is chosen so that a sample lasts `span` seconds.

    Args:
        fresh: sets the operation up anew before each sample. Where it is None, one untimed call goes before each, so
            that the cache footprint of whoever was sampled last is not charged to this one.
    """
    if fresh is not None:
        fresh()
    chosen = number or choose_number(call, clock, span)
    return Subject(call, clock, chosen, fresh or call)


def take_turns(subjects: Sequence[Subject], rounds: int, seed: int = 0) -> list[Samples]:
    """Sample all subjects once a round, in an order drawn anew for every round.

    Returns:
        The samples of each subject; the i-th of all belong to the same round and may be compared as pairs.
    """
    order = list(range(len(subjects)))
    shuffle = random.Random(seed).shuffle
    seconds: list[list[float]] = [[] for _ in subjects]
    with no_garbage_collection():
        for _ in range(rounds):
            shuffle(order)
            for index in order:
                chosen = subjects[index]
                chosen.before()
                seconds[index].append(time_sample(chosen.call, chosen.number, chosen.clock))
    return [Samples(chosen.number, tuple(spans)) for chosen, spans in zip(subjects, seconds, strict=True)]
