"""How a cell is sampled: found out in its first pair, and what takes a sample by it."""

from __future__ import annotations

import gc
import math
import random
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench_core import clock
from bench_core.timing.cells import OpenCell
from bench_core.timing.sampling import choose_number, time_sample

SPAN = 0.0003
"""Seconds in a sample, about. The machine's speed drifts within milliseconds, and only what both sides see at once
cancels; many short alternations beat few long ones (docs/statistics.md)."""

ALTERNATIONS, FEWEST_ALTERNATIONS = 32, 8

PAIR_SPAN = 0.1
"""Seconds that the samples of one cell may take in a pair, both sides together; slow cells get fewer."""

BLOCKS = 4
"""Times that a cell is set up in a pair, each for an equal part of the alternations: where its objects lie in memory
moves a time by some per cent, most where it is bound by memory."""

LONG_CALL = 2e-3
"""Seconds from which on a call is a sample without an untimed one before it: refilling the caches is below 2 % of it
then, and the same on both sides, and twice as many samples are worth more."""

SHORT_CALL = 1e-4
"""Of operations that happen once per object, a sample holds as many as take this many seconds, each on a fresh object,
unless setting those up takes too long: one reading of the clock is 5 % of a call of 1 us."""


@dataclass(frozen=True)
class Plan:
    """How one cell is sampled: the same for both sides, and for every pair once it is known, but that later pairs of a
    noisy cell may hold more alternations and blocks (`bench_core.gate.measure.supervise.LONGER`).

    Attributes:
        number: calls a sample.
        alternations: samples of each side in a pair.
        blocks: setups of each side in a pair.
        warm: an untimed call comes before each sample.
    """

    number: int
    alternations: int
    blocks: int
    warm: bool


def prepare(opened: OpenCell, seed: int) -> dict[str, Any]:
    """Check the cell, and find out what both sides must agree on and what the plan needs."""
    same_random_numbers(seed)
    outcome: Any = None
    if opened.check is not None:
        outcome = opened.check()
        opened.fresh()
    if opened.cell.kind not in ("time", "timeraw"):
        return {"print": {"check": described(outcome), **_state()}, "number": 1, "call": 0.0, "setup": 0.0}
    value = None if opened.cell.kind == "timeraw" else opened.call()
    seen = {"check": described(outcome), "returns": described(value), **_state()}
    del value, outcome
    gc.collect()
    gc.freeze()  # a first call may import a thousand modules, which the parent of later pairs has already
    start = clock.host()
    opened.fresh()
    setup = clock.host() - start
    if opened.cell.kind == "timeraw":
        start = clock.host()
        sampler(opened, max(1, opened.number), warm=False, plant=0.0)()
        return {"print": seen, "number": max(1, opened.number), "call": clock.host() - start, "setup": 0.0}
    if opened.number == 1:
        call = time_sample(opened.call, 1, opened.timer)
        number = min(math.ceil(SHORT_CALL / max(call, 1e-7)), int(LONG_CALL / (call + setup)))
        return {"print": seen, "number": max(1, number), "call": call + setup, "setup": setup}
    number = opened.number or choose_number(opened.call, opened.timer, SPAN)
    call = min(time_sample(opened.call, number, opened.timer) for _ in range(3 if number > 1 else 1)) / number
    if not opened.number:
        number = max(1, round(SPAN / max(call, 1e-9)))
    return {"print": seen, "number": number, "call": call, "setup": setup}


def agreed(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Plan:
    """The plan that follows from what `prepare` has found on both sides; the same whichever is mine."""
    number = max(mine["number"], theirs["number"])
    call = max(mine["call"], theirs["call"])
    setup = max(mine["setup"], theirs["setup"])
    alternation = 2 * (number + (call < LONG_CALL)) * call
    # At least as long as both take to set up once: it would be a waste to do that for a few samples.
    alternations = int(max(PAIR_SPAN, 2 * setup) / alternation) if alternation > 0 else ALTERNATIONS
    alternations = 2 * (max(FEWEST_ALTERNATIONS, min(ALTERNATIONS, alternations)) // 2)
    setups = 0.5 * alternations * alternation / max(2 * setup, 1e-6)
    return Plan(number, alternations, max(1, min(BLOCKS, alternations // 2, int(setups))), warm=call < LONG_CALL)


def _state() -> dict[str, Any]:
    """What both sides must have in common, as it is after setup."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    return {
        "threads": torch.get_num_threads(),
        "default dtype": str(torch.get_default_dtype()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": torch.is_grad_enabled(),
    }


def described(value: Any, depth: int = 3) -> str:
    """What kind of thing a value is: type, shape and dtype, and not its numbers, which may be drawn anew."""
    kind = type(value).__name__
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        return f"{kind} of {'x'.join(map(str, shape)) or 'one'} {dtype}"
    if depth and isinstance(value, Mapping):
        inner = sorted(f"{key}: {described(item, depth - 1)}" for key, item in list(value.items())[:20])
        return f"{kind} of {len(value)} ({'; '.join(inner)})"
    if depth and isinstance(value, (list, tuple)):
        return f"{kind} of {len(value)} ({'; '.join(described(item, depth - 1) for item in value[:20])})"
    return kind


def sampler(opened: OpenCell, number: int, *, warm: bool, plant: float) -> Callable[[], float]:
    """Takes one sample, in seconds by the cell's own timer.

    Args:
        warm: an untimed call comes first.
        plant: the share of more work to do.
    """
    if opened.cell.kind == "timeraw":
        separate = opened.benchmark._get_timer(*opened.benchmark._build_params())
        return lambda: float(separate.timeit(number))
    call, timer = opened.call, opened.timer
    span_of: Callable[[Callable[[], object], int, clock.Clock], float] = time_sample
    if plant:
        span_of = _slower(opened, 1 if opened.number == 1 else number, plant)

    def fresh_each() -> float:
        span = 0.0
        for _ in range(number):
            opened.fresh()
            span += span_of(call, 1, timer)
        return span

    def many() -> float:
        # Untimed: the other side's samples have filled the caches with what is theirs.
        opened.fresh() if opened.number else call()
        return span_of(call, number, timer)

    def long() -> float:
        return span_of(call, number, timer)

    if opened.number == 1:
        return fresh_each
    return many if warm or opened.number else long


def _slower(opened: OpenCell, number: int, plant: float) -> Callable[[Callable[[], object], int, clock.Clock], float]:
    """`time_sample`, with a wait inside it for that share of the time that `number` calls take, found out now."""

    def usual() -> float:
        if opened.number == 1:
            opened.fresh()
        return time_sample(opened.call, number, clock.host)

    extra = plant * statistics.median(usual() for _ in range(5))

    def slower(call: Callable[[], object], calls: int, timer: clock.Clock) -> float:
        start = timer()
        time_sample(call, calls, timer)
        until = clock.host() + extra
        while clock.host() < until:
            pass
        return timer() - start

    return slower


def same_random_numbers(seed: int) -> None:
    """Both sides draw the same numbers, and another pair others, unless a suite's setup sets a seed of its own."""
    random.seed(seed)
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        numpy.random.seed(seed)
    if torch is not None:
        torch.manual_seed(seed)
