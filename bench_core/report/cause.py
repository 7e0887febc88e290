"""Why a cell is slower, as a person reads it: the sentence first, and what it stands on below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench_core import units
from bench_core.records.gate import Cause, Change
from bench_core.report.markup import code, plain

LONGEST = 6
"""Rows of each table; a result file has more."""


def lines(cause: Cause) -> list[RenderableType]:
    """For the terminal, below the cell's own lines."""
    found: list[RenderableType] = [Padding(Text(cause.sentence), (0, 0, 0, 4))]
    for title, changes in _tables(cause):
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column(title, overflow="fold")
        for heading in ("base", "head", "added"):
            table.add_column(heading, justify="right", no_wrap=True)
        for change in changes:
            table.add_row(Text(change.name), *_values(change))
        found.append(Padding(table, (0, 0, 0, 6)))
    if cause.without:
        found.append(Padding(Text(f"without instructions: {cause.without}", style="yellow"), (0, 0, 0, 4)))
    return found


def markdown(cause: Cause) -> str:
    """The same for a job's summary, the tables folded."""
    parts = [f"{code(cause.cell)}: {plain(cause.sentence)}"]
    tables = list(_tables(cause))
    if tables:
        parts.append("<details><summary>What differs</summary>")
        for title, changes in tables:
            rows = [f"| {' | '.join([code(change.name), *map(plain, _values(change))])} |" for change in changes]
            parts.append("\n".join([f"| {title} | base | head | added |", "| --- | --: | --: | --: |", *rows]))
        parts.append("</details>")
    if cause.without:
        parts.append(f"Without instructions: {plain(cause.without)}")
    return "\n\n".join(parts) + "\n"


def _tables(cause: Cause) -> Iterator[tuple[str, Sequence[Change]]]:
    """Those that are not empty, with what is in them."""
    for title, changes in (
        ("calls of functions", cause.calls),
        ("operators, under a profiler", cause.operators),
        ("instructions of functions", cause.functions),
    ):
        if changes:
            yield title, changes[:LONGEST]


def _values(change: Change) -> tuple[str, str, str]:
    """Base, head and what was added, with the unit once."""
    if change.unit in ("seconds", "bytes"):
        say = units.time if change.unit == "seconds" else units.size
        added = say(abs(change.added))
        return say(change.base), say(change.head), f"{'-' if change.added < 0 else '+'}{added}"
    base, head = (_number(value) for value in (change.base, change.head))
    return base, head, f"{'-' if change.added < 0 else '+'}{_number(abs(change.added))} {change.unit}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or value >= 100 else f"{value:.3g}"
