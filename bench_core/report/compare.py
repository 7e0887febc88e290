"""Shows a comparison of two stored results in the terminal, as Markdown, JSON and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench_core import tables, units
from bench_core.analysis.compare import BETWEEN_RUNS, Comparison, Stored
from bench_core.records.report import Compared
from bench_core.records.run import Interval
from bench_core.texts import code, field, line, plain

SCHEMA = "bench-core/compare/1"

READ_ONCE = (
    "Changed, without an interval: the values are exact, such as counts, or were measured once. How much of a change "
    "is noise is unknown."
)


def summary(found: Comparison, *, verbose: bool = False) -> RenderableType:
    """For the terminal: the cells that differ, the largest ratio first, and those that changed without an interval.
    Print it with ``crop=False``, so that the command is not cut.

    Args:
        verbose: whether to show all cells.
    """
    shown = [cell for cell in found.cells if cell.differs or (verbose and not cell.changed)]
    lines: list[RenderableType] = [Text(f"A  {found.first.name}"), Text(f"B  {found.second.name}")]
    lines += [Text(f"   also differs: {'; '.join(found.differences)}", style="dim")] if found.differences else []
    lines += ["", _table(shown), ""] if shown else [""]
    lines += [Text(READ_ONCE), _table(found.changed), ""] if found.changed else []
    lines += [Text(text) for text in _counted(found)]
    lines += [Text(text) for text in _missing(found)]
    lines.append(Text(caution(found), style="yellow"))
    if found.gate:
        lines.append(Text(f"  {found.gate}", no_wrap=True))
    return Group(*lines)


def _table(cells: Iterable[Compared]) -> Table:
    table = tables.terminal("lrrrr", ["", "A", "B", "B over A", "interval"])
    for cell in cells:
        style = "" if not cell.differs else "red" if cell.ratio.middle > 1 else "green"
        table.add_row(
            Text(cell.cell), *_values(cell), Text(units.ratio(cell.ratio.middle), style=style), units.ends(cell.ratio)
        )
    return table


def _values(cell: Compared) -> tuple[str, str]:
    return units.value(cell.first.middle, cell.unit), units.value(cell.second.middle, cell.unit)


def _counted(found: Comparison) -> Iterator[str]:
    mean = found.geometric_mean
    times = "" if math.isnan(mean) else f"; geometric mean of the times: {units.ratio(mean)}"
    without = f", {len(found.changed)} changed without an interval" if found.changed else ""
    slower = units.slower_or_larger(cell.unit == "seconds" for cell in found.slower)
    faster = units.faster_or_smaller(cell.unit == "seconds" for cell in found.faster)
    yield (
        f"{units.plural(len(found.cells), 'cell')} in both: {len(found.slower)} {slower} in B, {len(found.faster)} "
        f"{faster}{without}, {found.inconclusive} inconclusive{times}"
    )


def _missing(found: Comparison) -> Iterator[str]:
    for name, cells in (("A", found.only_first), ("B", found.only_second)):
        if cells:
            yield f"only in {name}: {len(cells)}, {'including ' if len(cells) > 1 else ''}{cells[0]}"


def caution(found: Comparison) -> str:
    """The limits of the comparison, and how to make a better one."""
    said = (
        "The two were not measured side by side, so the ratios include everything else that differed between the runs. "
        f"A cell differs if the 99 % intervals put it beyond {units.percent(BETWEEN_RUNS)}. On a busy machine two runs "
        "of the same code can differ by more."
    )
    if found.gate:
        return f"{said} To compare {found.tells}:"
    if found.first.machine != found.second.machine:
        return f"{said} Two machines cannot be measured side by side."
    return f"{said} `bench-core gate` compares two commits, and with --versus two installs."


def markdown(found: Comparison) -> str:
    """All cells, for a job summary or a comment."""
    lines = [
        f"**A** {plain(found.first.name)}  ",
        f"**B** {plain(found.second.name)}",
        "",
        *(f"{plain(text)}  " for text in (*_counted(found), *_missing(found))),
        "",
    ]
    if found.differences:
        lines += [f"Also differs: {plain('; '.join(found.differences))}.", ""]
    if found.cells:
        lines += tables.markdown("lrrrrl", ["cell", "A", "B", "B over A", "interval", ""], map(_fields, found.cells))
        lines.append("")
    lines.append(caution(found))
    if found.gate:
        lines += ["", f"    {line(found.gate)}"]
    return "\n".join(lines) + "\n"


def _fields(cell: Compared) -> Sequence[str]:
    return (
        code(cell.cell),
        *(plain(text) for text in _values(cell)),
        units.ratio(cell.ratio.middle),
        units.ends(cell.ratio),
        told(cell),
    )


def told(cell: Compared) -> str:
    """The result in words: ``slower``, ``more, no interval``; "" if it is inconclusive."""
    if not cell.differs and not cell.changed:
        return ""
    word = units.direction(cell.unit, grew=cell.second.middle > cell.first.middle)
    return word if cell.differs else f"{word}, no interval"


def to_json(found: Comparison) -> dict[str, Any]:
    """The content of the JSON file. NaN and infinity become null."""
    return {
        "schema": SCHEMA,
        "first": _stored(found.first),
        "second": _stored(found.second),
        "differences": list(found.differences),
        "geometric_mean": _finite(found.geometric_mean),
        "between_runs": BETWEEN_RUNS,
        "gate": found.gate,
        "only_first": list(found.only_first),
        "only_second": list(found.only_second),
        "cells": [
            {
                "cell": cell.cell,
                "unit": cell.unit,
                "first": _interval(cell.first),
                "second": _interval(cell.second),
                "ratio": _interval(cell.ratio),
                "differs": cell.differs,
                "changed": cell.changed,
            }
            for cell in found.cells
        ],
    }


def _stored(result: Stored) -> dict[str, Any]:
    return {
        "name": result.name,
        "machine": result.machine,
        "commit": result.commit,
        "description": dict(result.description),
    }


def _interval(found: Interval) -> list[float | None]:
    return [_finite(found.low), _finite(found.middle), _finite(found.high)]


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def to_csv(found: Comparison) -> str:
    """The CSV file: a row for each cell. NaN and infinity become an empty field."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    sides = [f"{side}{end}" for side in ("first", "second", "ratio") for end in ("_low", "", "_high")]
    writer.writerow(["cell", "unit", *sides, "differs", "changed"])
    for cell in found.cells:
        numbers = [*_interval(cell.first), *_interval(cell.second), *_interval(cell.ratio)]
        writer.writerow(map(field, [cell.cell, cell.unit, *numbers, cell.differs, cell.changed]))
    return out.getvalue()
