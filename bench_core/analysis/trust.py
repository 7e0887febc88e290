"""Summarizes how reliable the values are: their noise, the state of the machine, and how they were measured."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from bench_core import units
from bench_core.records.report import Subject, Trust, TrustedRun
from bench_core.records.results import CellResult, Store

UNSURE_ABOVE = 0.10
"""A value counts as uncertain if half the width of its 99 % interval is above this share of the value."""


def trust(subject: Subject, store: Store) -> Trust:
    widths = {
        name: (value.high - value.low) / 2 / value.middle
        for name, measured in subject.cells.items()
        if (value := measured.cell.value).known and value.middle > 0
    }
    return Trust(
        subject=subject.name,
        noise=_quartiles(list(widths.values())),
        known=len(widths),
        unknown=len(subject.cells) - len(widths),
        unsure=tuple(name for name, width in widths.items() if width > UNSURE_ABOVE),
        runs=tuple(_runs(subject, store)),
        controls=store.ledgers.get(subject.machine),
        method=tuple(_method([measured.cell for measured in subject.cells.values()])),
    )


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:  # the quartiles of one value are that value
        return (values[0],) * 3 if values else (math.nan,) * 3
    low, middle, high = statistics.quantiles(values, method="inclusive")
    return low, middle, high


def _runs(subject: Subject, store: Store) -> Iterator[TrustedRun]:
    """The runs of the values, the latest first, each with the doctor's findings of that run."""
    cells = Counter((measured.run, measured.commit) for measured in subject.cells.values())
    said = {(line.date, line.commit): line.findings for line in store.circumstances.get(subject.machine, ())}
    for run, commit in sorted(cells, key=lambda each: (each[0].began, each[0].file), reverse=True):
        yield TrustedRun(run, commit, cells[run, commit], said.get((run.began, commit or "")))


def _method(cells: Sequence[CellResult]) -> Iterator[str]:
    times = [cell for cell in cells if cell.kind.startswith("time")]
    yield from _in_rounds([cell for cell in times if cell.rounds is not None])
    yield from _by_asv([cell for cell in times if cell.rounds is None])
    if any(cell.unit == "bytes" for cell in cells):
        yield "Memory is measured once, without an interval."
    if any(cell.kind == "track" for cell in cells):
        yield "A tracked value is what the benchmark returned in one call."
    if times and any("threads" in cell.params for cell in times):
        yield "Cells run on one thread, unless they have the parameter `threads`."


def _in_rounds(times: Sequence[CellResult]) -> Iterator[str]:
    if not times:
        return
    yield (
        f"{units.plural(len(times), 'time')} measured in rounds ({_range([cell.samples for cell in times])}). "
        "Each round starts a new process, samples all ways to do a job in turn, and gives one time, the lower quartile "
        "of its samples. The value is their Hodges-Lehmann estimate, a median of means. Its 99 % interval covers what "
        "another run reads here."
    )
    yield (
        "Ratios of ways to do one job, and shares of a limit, come from rounds that have read both. The intervals of "
        "all ways in a run hold together with 95 %."
    )


def _by_asv(times: Sequence[CellResult]) -> Iterator[str]:
    if not times:
        return
    yield (
        f"{units.plural(len(times), 'time')} measured by asv: the median of its samples "
        f"({_range([cell.samples for cell in times])}). A sample is the mean of several calls, or one call that "
        "cannot be repeated."
    )
    yield (
        "Its interval is asv's 99 % interval of the median: between two samples, or from a model where there are too "
        "few samples. It contains the noise within a run, not the differences between runs."
    )


def _range(counts: Sequence[int]) -> str:
    middle = f"median {statistics.median(counts):g}"
    return f"{min(counts)} to {max(counts)} a cell, {middle}" if min(counts) < max(counts) else f"{counts[0]} a cell"
