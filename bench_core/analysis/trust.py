"""How far to believe the figures: the noise in them, the machine while they were taken, and how they were taken."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from bench_core.records.report import Subject, Trust, TrustedRun
from bench_core.records.results import CellResult, Store

UNSURE_ABOVE = 0.10
"""Half width of a 99 % interval, as a share of the value, from which a figure is uncertain; `make bench` marks it."""


def trust(subject: Subject, store: Store) -> Trust:
    """What is known of a subject's figures beyond their values."""
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
    """The latest first. What was said of one of them is said of no other."""
    cells = Counter((measured.run, measured.commit) for measured in subject.cells.values())
    said = {(line.date, line.commit): line.findings for line in store.circumstances.get(subject.machine, ())}
    for run, commit in sorted(cells, key=lambda each: (each[0].began, each[0].file), reverse=True):
        yield TrustedRun(run, commit, cells[run, commit], said.get((run.began, commit or "")))


def _method(cells: Sequence[CellResult]) -> Iterator[str]:
    times = [cell for cell in cells if cell.kind.startswith("time")]
    if times:
        counts = [cell.samples for cell in times]
        many = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{counts[0]}"
        yield (
            f"A time is the median of asv's samples ({many} a cell, {statistics.median(counts):g} in the middle); each "
            "is the mean of several calls, or one call that cannot be repeated."
        )
        yield (
            "Its interval is asv's of 99 % for the median, between two of the samples, or from a model where they are "
            "too few for that. It knows the noise within a run, and not what differs from run to run."
        )
    if any(cell.unit == "bytes" for cell in cells):
        yield "Memory is read once, without an interval."
    if any(cell.kind == "track" for cell in cells):
        yield "A tracked value is what the benchmark returned, once."
    if times and any("threads" in cell.params for cell in times):
        yield "Cells with the parameter `threads` say how many there were; the others ran on one."
