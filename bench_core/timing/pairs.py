"""Samples pairs in turn in one process: the two sides of a known slowdown, and our timer and torch's."""

from __future__ import annotations

import contextlib
import math
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench_core.clock import host
from bench_core.errors import BenchCoreError
from bench_core.records.run import Agreement, Interval, LeftOut, Slowdown
from bench_core.statistics import ratio_interval
from bench_core.timing.cells import Cell, OpenCell, SkippedError, SuiteDirectory
from bench_core.timing.sampling import (
    TimedCall,
    choose_number,
    no_garbage_collection,
    take_turns,
    time_sample,
    timed_call,
)

SPAN = 0.0005
"""The length of a sample of a slowdown in seconds. The machine's speed drifts within milliseconds, so short samples of
both sides see the same speed."""


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """Pin this process to the last of its cores, if the system can: moving to another core changes the times."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Enough:
    """Decides when a pair has been measured often enough: its interval is narrow, or its time is up.

    Attributes:
        rounds: the fewest rounds.
        width: the interval of the ratio is narrow if its width is at most this share of the ratio.
        seconds: measuring ends after this time, unless there are fewer than `rounds` rounds.
    """

    rounds: int = 48
    width: float = 0.008
    seconds: float = 8.0

    def __call__(self, ratio: Interval, rounds: int, spent: float) -> bool:
        narrow = ratio.high - ratio.low <= self.width * ratio.middle
        return rounds >= self.rounds and (narrow or spent >= self.seconds)


SETUPS = 7
"""The number of setups of both sides of a slowdown. Samples of one setup are alike, since its objects keep their
addresses, so each setup gives one ratio. The range of 7 ratios covers the median with a probability of 98 %."""

ROUNDS = 6
"""The number of samples of each side after each setup."""


def slowdowns(suite: SuiteDirectory, setups: int = SETUPS, rounds: int = ROUNDS) -> Iterator[Slowdown | LeftOut]:
    """Check and measure the slowdowns that the suite reports. The slow and the fast cell of each are sampled in turn.

    Args:
        setups: see `SETUPS`.
        rounds: see `ROUNDS`.

    Raises:
        AssertionError: if a check fails, since the time of a wrong outcome has no meaning.
    """
    for owner, report in _reports(suite.cells):
        sides = [_cell(suite, owner, report, params) for params in (report.slow, {**report.slow, **report.fast})]
        try:
            pairs = [_sampled(sides, rounds, first=index == 0) for index in range(setups)]
        except SkippedError as skipped:
            yield LeftOut(report.source, str(skipped))
            continue
        slow, fast = ([statistics.median(pair[side]) for pair in pairs] for side in (0, 1))
        yield Slowdown(
            source=report.source,
            what=report.what,
            instead=report.instead,
            where=report.where,
            slow=sides[0].name,
            fast=sides[1].name,
            slow_seconds=statistics.median(slow),
            fast_seconds=statistics.median(fast),
            ratio=ratio_interval(slow, fast),
        )


def _sampled(sides: Sequence[Cell], rounds: int, *, first: bool) -> list[tuple[float, ...]]:
    """Set both sides up, check them the `first` time, and return their seconds per call."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(cell.open()) for cell in sides]
        if first:
            for side in opened:
                _checked(side)
        return [samples.per_call for samples in take_turns([_timed_call(side) for side in opened], rounds)]


def _checked(opened: OpenCell) -> None:
    if opened.check is not None:
        opened.check()
        opened.fresh()


def _reports(cells: Iterable[Cell]) -> Iterator[tuple[type, Any]]:
    seen: set[type] = set()
    for cell in cells:
        if cell.owner is not None and cell.owner not in seen:
            seen.add(cell.owner)
            yield from ((cell.owner, report) for report in getattr(cell.owner, "reports", ()))


def _cell(suite: SuiteDirectory, owner: type, report: Any, params: dict[str, str]) -> Cell:
    for cell in suite.cells:
        if cell.owner is owner and cell.benchmark.endswith(f".{report.benchmark}") and cell.params == params:
            return cell
    raise BenchCoreError(f"{owner.__name__} reports {report.source} with a cell that it does not have: {dict(params)}.")


def _timed_call(opened: OpenCell) -> TimedCall:
    fresh = opened.fresh if opened.number == 1 else None
    return timed_call(opened.call, opened.timer, number=opened.number, fresh=fresh, span=SPAN)


Timer = Callable[[], float]
"""Another timer, bound to one operation. Each call measures the operation, and returns seconds per call."""


def agreement(
    cells: Sequence[Cell], other: Callable[[Callable[[], object]], Timer], enough: Enough = Enough()
) -> Iterator[Agreement]:
    """Time each cell with our sampling and with the `other` timer, in turn. Each goes first in every second round.

    Raises:
        AssertionError: if a check fails, since the time of a wrong outcome has no meaning.
    """
    for cell in cells:
        found: tuple[list[float], list[float]] = ([], [])
        started = host()
        ratio = ratio_interval(*found)
        while not enough(ratio, len(found[0]), host() - started):
            # Set up anew every few rounds: the addresses of a cell's objects change the ratio of the two timers by up
            # to 2 %, and stay the same as long as the objects live.
            with cell.open() as opened:
                if not found[0]:
                    _checked(opened)
                _take_turns(opened, other(opened.call), found, rounds=ROUNDS_OF_A_SETUP)
            ratio = ratio_interval(*found)
        yield Agreement(cell.name, statistics.median(found[0]), ratio)


ROUNDS_OF_A_SETUP = 12
"""The number of rounds of an agreement after each setup. It is even, so that each timer goes first equally often."""

TIMER_SPAN = 0.01
"""The length of our samples of an agreement in seconds: asv's default. In our first calls, the caches still hold the
other timer's code. This made a difference of 2.5 % in samples of 2 ms (14 steps of an optimizer)."""


def _take_turns(opened: OpenCell, theirs: Timer, found: tuple[list[float], list[float]], rounds: int) -> None:
    call, clock = opened.call, opened.timer
    number = choose_number(call, clock, TIMER_SPAN)

    def ours() -> float:
        call()
        return time_sample(call, number, clock) / number

    sides: list[tuple[Callable[[], float], list[float]]] = [(ours, found[0]), (theirs, found[1])]
    with no_garbage_collection():
        for _ in range(rounds):
            for measure, times in sides:
                times.append(measure())
            sides.reverse()


def spread_over_time(cells: Sequence[Cell], count: int, longest: float = 0.1) -> list[Cell]:
    """Choose `count` cells that can be called repeatedly, spread evenly over the logarithm of their time.

    Args:
        longest: leave out cells that take longer than this many seconds.

    Returns:
        The cells, the fastest first; all of them if there are at most `count`.
    """
    times: list[tuple[float, Cell]] = []
    for cell in cells:
        if cell.kind != "time" or cell.why_not:
            continue
        with contextlib.suppress(SkippedError), cell.open() as opened:
            if opened.number == 0:
                opened.call()
                times.append((min(time_sample(opened.call, 3, opened.timer) / 3 for _ in range(3)), cell))
    times = sorted(((seconds, cell) for seconds, cell in times if 0 < seconds <= longest), key=lambda pair: pair[0])
    if len(times) <= count:
        return [cell for _, cell in times]
    low, high = math.log(times[0][0]), math.log(times[-1][0])
    chosen: list[Cell] = []
    for step in range(count):
        target = low + (high - low) * step / (count - 1)
        left = [pair for pair in times if pair[1] not in chosen]
        chosen.append(min(left, key=lambda pair: abs(math.log(pair[0]) - target))[1])
    return chosen
