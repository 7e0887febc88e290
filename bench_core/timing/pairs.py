"""Pairs of measurements taken in turn in one process: the known slowdowns, and our time against torch's own timer."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench_core.records import Interval
from bench_core.statistics import ratio_interval
from bench_core.timing.cells import Cell, OpenCell, SkippedError, SuiteDirectory
from bench_core.timing.sampling import (
    Subject,
    choose_number,
    no_garbage_collection,
    subject,
    take_turns,
    time_sample,
)

SPAN = 0.002
"""Seconds in a sample. Short ones, many of them: the machine's speed drifts within milliseconds, and only what both
sides of a pair see at once cancels."""


@dataclass(frozen=True)
class Slowdown:
    """A reported slowdown, as measured here.

    Attributes:
        report: what was reported (`bench_core.suite.Report`).
        slow, fast: names of the two cells.
        slow_seconds, fast_seconds: the median time of a call of each.
        ratio: slow over fast, from pairs of neighbouring samples.
    """

    report: Any
    slow: str
    fast: str
    slow_seconds: float
    fast_seconds: float
    ratio: Interval


def slowdowns(suite: SuiteDirectory, rounds: int = 21) -> Iterator[Slowdown]:
    """Measure every report of the suite whose two cells run here, the slow and the fast cell in turn."""
    for owner, report in _reports(suite.cells):
        sides = [_cell(suite, owner, report, params) for params in (report.slow, {**report.slow, **report.fast})]
        with contextlib.ExitStack() as stack:
            try:
                subjects = [_subject(stack.enter_context(cell.open())) for cell in sides]
            except SkippedError:
                continue
            slow, fast = take_turns(subjects, rounds)
        yield Slowdown(
            report=report,
            slow=sides[0].name,
            fast=sides[1].name,
            slow_seconds=statistics.median(slow.per_call),
            fast_seconds=statistics.median(fast.per_call),
            ratio=ratio_interval(slow.per_call, fast.per_call),
        )


def _reports(cells: Iterable[Cell]) -> Iterator[tuple[type, Any]]:
    seen: set[type] = set()
    for cell in cells:
        if cell.owner is not None and cell.owner not in seen:
            seen.add(cell.owner)
            yield from ((cell.owner, report) for report in getattr(cell.owner, "reports", ()))


def _cell(suite: SuiteDirectory, owner: type, report: Any, params: dict[str, str]) -> Cell:
    return next(
        cell
        for cell in suite.cells
        if cell.owner is owner and cell.benchmark.endswith(f".{report.benchmark}") and cell.params == params
    )


def _subject(opened: OpenCell) -> Subject:
    fresh = opened.fresh if opened.number == 1 else None
    return subject(opened.call, opened.timer, number=opened.number, fresh=fresh, span=SPAN)


@dataclass(frozen=True)
class Agreement:
    """Our time of a cell over that of another timer.

    Attributes:
        seconds: our median time of a call.
        ratio: ours over theirs, from pairs taken in turn.
    """

    cell: str
    seconds: float
    ratio: Interval

    TOLERANCE = 0.01

    @property
    def agrees(self) -> bool:
        return abs(self.ratio.middle - 1) <= self.TOLERANCE


Timer = Callable[[Callable[[], object]], Callable[[], float]]
"""Takes a call and returns what measures it once more: seconds a call."""


def agreement(cells: Sequence[Cell], other: Timer, rounds: int = 41) -> Iterator[Agreement]:
    """Time each cell with our sampling and with the `other` timer, in turn, `rounds` times; who is first alternates."""
    for cell in cells:
        with cell.open() as opened:
            call, clock = opened.call, opened.timer
            number = choose_number(call, clock, SPAN)
            theirs_now = other(call)

            def ours_now(
                call: Callable[[], object] = call, number: int = number, clock: Callable[[], float] = clock
            ) -> float:
                call()
                return time_sample(call, number, clock) / number

            ours: list[float] = []
            theirs: list[float] = []
            with no_garbage_collection():
                for turn in range(rounds):
                    for measure, into in _alternating(turn, (ours_now, ours), (theirs_now, theirs)):
                        into.append(measure())
            yield Agreement(cell.name, statistics.median(ours), ratio_interval(ours, theirs))


def _alternating(turn: int, one: Any, other: Any) -> tuple[Any, Any]:
    return (one, other) if turn % 2 == 0 else (other, one)


def spread_over_time(cells: Sequence[Cell], count: int, longest: float = 0.1) -> list[Cell]:
    """`count` cells that can be called again and again, spread evenly over the logarithm of their time.

    Args:
        longest: cells that take longer, in seconds, are left out.
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
