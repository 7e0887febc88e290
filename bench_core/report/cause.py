"""Shows why a cell is slower: the sentence first, and the numbers below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from bench_core import tables, units
from bench_core.errors import brief
from bench_core.records.gate import Cause, Change
from bench_core.texts import code, plain

LONGEST = 6
"""The most rows of each table. The result file has all."""


def lines(cause: Cause) -> list[RenderableType]:
    """For the terminal, below the lines of the cell."""
    found: list[RenderableType] = [Padding(Text(cause.sentence), (0, 0, 0, 4))]
    for title, changes in _tables(cause):
        rows = [(Text(change.name), *_values(change)) for change in changes]
        found.append(Padding(tables.terminal("lrrr", (title, *COLUMNS), rows), (0, 0, 0, 6)))
    if cause.without:
        found.append(Padding(Text(f"without instructions: {cause.without}", style="yellow"), (0, 0, 0, 4)))
    return found


def markdown(cause: Cause) -> str:
    """For a job's summary. The tables are folded."""
    parts = [f"{code(brief(cause.cell))}: {plain(cause.sentence)}"]
    shown = list(_tables(cause))
    if shown:
        parts.append("<details><summary>What differs</summary>")
        for title, changes in shown:
            rows = [(code(change.name), *map(plain, _values(change))) for change in changes]
            parts.append("\n".join(tables.markdown("lrrr", (title, *COLUMNS), rows)))
        parts.append("</details>")
    if cause.without:
        parts.append(f"Without instructions: {plain(cause.without)}")
    return "\n\n".join(parts) + "\n"


COLUMNS = ("base", "head", "added")


def _tables(cause: Cause) -> Iterator[tuple[str, Sequence[Change]]]:
    """The tables that are not empty, each with its title."""
    for title, changes in (
        ("calls of functions", cause.calls),
        ("operators, under a profiler", cause.operators),
        ("instructions of functions", cause.functions),
    ):
        if changes:
            yield title, changes[:LONGEST]


def _values(change: Change) -> tuple[str, str, str]:
    """The values of base and head, and the difference. A unit other than time and size is given once."""
    if change.unit in ("seconds", "bytes"):
        say = units.time if change.unit == "seconds" else units.size
        added = say(abs(change.added))
        return say(change.base), say(change.head), f"{'-' if change.added < 0 else '+'}{added}"
    base, head = (_number(value) for value in (change.base, change.head))
    return base, head, f"{'-' if change.added < 0 else '+'}{_number(abs(change.added))} {change.unit}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or value >= 100 else f"{value:.3g}"
