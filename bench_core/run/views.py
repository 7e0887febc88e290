"""Two views of the same measurement: known slowdowns against faster ways, and our times against another tool's."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from bench_core.analysis.rounds import Reading
from bench_core.errors import BenchCoreError
from bench_core.records.rounds import Group, RoundsProgress
from bench_core.records.run import Agreement, LeftOut, Slowdown
from bench_core.run.jobs import Job
from bench_core.run.measure import Measurement
from bench_core.run.parents import Measuring
from bench_core.timing.cells import Cell, SkippedError, SuiteDirectory
from bench_core.timing.sampling import time_sample

NOT_REACHED = "the time did not reach it: a larger --budget would"


def slowdowns(
    suite: SuiteDirectory, how: Measuring, show: Callable[[RoundsProgress], None]
) -> list[Slowdown | LeftOut]:
    """Check and measure the slowdowns that the suite reports. The slow and the fast cell of each are sampled in turn.

    Raises:
        BenchCoreError: if the suite reports none, if a report names no cell, or if the check of a cell fails, since the
            time of a wrong outcome has no meaning.
        KeyboardInterrupt: after Ctrl-C, since a page is written whole or not at all.
    """
    reports = list(_reports(suite.cells))
    if not reports:
        raise BenchCoreError("this suite declares no known slowdown (see `reports` of bench_core.suite.Suite).")
    pairs = [
        (_cell(suite, owner, report, report.slow), _cell(suite, owner, report, {**report.slow, **report.fast}))
        for owner, report in reports
    ]
    jobs = {_name(*pair): Job(_name(*pair), tuple(cell.name for cell in pair)) for pair in pairs if not _why_not(*pair)}
    measurement = Measurement(list(jobs.values()), how)
    _run(measurement, show)
    groups = {group.job: group for group in measurement.groups}
    reading = Reading(measurement.groups)
    return [
        _slowdown(report, slow, fast, groups.get(_name(slow, fast)), reading, measurement)
        for (_, report), (slow, fast) in zip(reports, pairs, strict=True)
    ]


def _name(slow: Cell, fast: Cell) -> str:
    return f"{slow.name} against {fast.name}"


def _why_not(slow: Cell, fast: Cell) -> str | None:
    return slow.why_not or fast.why_not


def _slowdown(
    report: Any, slow: Cell, fast: Cell, group: Group | None, reading: Reading, measurement: Measurement
) -> Slowdown | LeftOut:
    reason = _why_not(slow, fast) or measurement.skipped.get(slow.name) or measurement.skipped.get(fast.name)
    if reason:
        return LeftOut(report.source, reason)
    if group is None or not group.visits:
        return LeftOut(report.source, NOT_REACHED)
    return Slowdown(
        source=report.source,
        what=report.what,
        instead=report.instead,
        where=report.where,
        slow=slow.name,
        fast=fast.name,
        slow_seconds=reading.time(slow.name, group).middle,
        fast_seconds=reading.time(fast.name, group).middle,
        ratio=reading.ratio(slow.name, fast.name, group),
    )


def _run(measurement: Measurement, show: Callable[[RoundsProgress], None]) -> None:
    measurement.run(show)
    if measurement.interrupted:
        raise KeyboardInterrupt
    if measurement.failed:
        name, cause = next(iter(measurement.failed.items()))
        raise BenchCoreError(f"{name} failed: {cause}.")


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


def agreement(
    cells: Sequence[Cell], timer: str, how: Measuring, show: Callable[[RoundsProgress], None]
) -> list[Agreement | LeftOut]:
    """Time each cell with our sampling and with another tool's timer, in turn.

    Args:
        timer: see `bench_core.workers.plan.TIMERS`.

    Raises:
        BenchCoreError: if a cell fails.
        KeyboardInterrupt: as `slowdowns`.
    """
    jobs = [Job(cell.name, (cell.name, f"{cell.name} by {timer}"), timer=timer) for cell in cells]
    measurement = Measurement(jobs, how)
    _run(measurement, show)
    reading = Reading(measurement.groups)
    return [_agreement(job, measurement, reading) for job in jobs]


def _agreement(job: Job, measurement: Measurement, reading: Reading) -> Agreement | LeftOut:
    ours, theirs = job.cells
    skipped = measurement.skipped.get(ours) or measurement.skipped.get(theirs)
    if skipped or ours in measurement.unreached:
        return LeftOut(job.name, skipped or NOT_REACHED)
    group = reading.group_of(ours)
    return Agreement(job.name, reading.time(ours, group).middle, reading.ratio(ours, theirs, group))


def spread_over_time(cells: Sequence[Cell], count: int, longest: float = 0.1) -> list[Cell]:
    """Choose `count` cells of one thread that can be called repeatedly, spread evenly over the logarithm of their time.

    Args:
        longest: leave out cells that take longer than this many seconds.

    Returns:
        The cells, the fastest first; all of them if there are at most `count`.
    """
    times: list[tuple[float, Cell]] = []
    for cell in cells:
        if cell.kind != "time" or cell.why_not or cell.threaded:
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
