"""The table at the end of `make bench`: each cell's time, its uncertainty, and its distance from the limit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench_core import tables, units
from bench_core.analysis.limits import limits_of
from bench_core.records.results import CellResult, ResultFile
from bench_core.records.run import Interval

WARN_ABOVE = 0.10
"""A time is marked as uncertain if half the width of its 99 % interval is above this share of the time."""


def results(file: ResultFile, names: Collection[str] | None = None) -> RenderableType:
    """The cells of a result file with these names (None for all), in a table for each family. A file holds the cells of
    several runs of one commit."""
    shown = [cell for cell in file.cells if names is None or cell.name in names]
    shares = {limit.cell: limit.share for limit in limits_of(file.cells)}
    return Group(*(_family(name, list(cells), shares) for name, cells in _by(shown, lambda c: c.family)))


def legend() -> Text:
    return Text(
        "±: half the 99 % interval of the median.  GB/s: the bytes that the job must move, divided by the time.  "
        "of limit: the rate relative to the most that this machine reaches of what limits the job: bytes, random "
        "numbers, or turns of a Python loop (family limits); ~ without a known interval.  vs best: relative to the "
        "fastest way to do the same job.  (unties): leaves tied parameters untied.",
        style="dim",
    )


def described(machine: Mapping[str, str]) -> str:
    """asv's description of a machine in one line."""
    ram = int(machine["ram"]) / 2**30 if machine.get("ram", "").isdigit() else None
    parts = (
        machine.get("cpu"),
        f"{machine.get('num_cpu')} cores",
        None if ram is None else f"{ram:.0f} GiB",
        machine.get("os"),
        f"Python {machine.get('python')}",
        f"torch {machine.get('torch')}",
    )
    return ", ".join(part for part in parts if part)


def _family(name: str, cells: Sequence[CellResult], shares: Mapping[str, Interval]) -> Table:
    table = tables.terminal("lrrrrr", ["", "value", "±", "GB/s", "of limit", "vs best"], title=name)
    for benchmark, group in _by(cells, lambda c: c.benchmark):
        rows = list(group)
        table.add_row(Text(benchmark.split(".", 1)[-1], style="cyan"))
        best = _best_rivals(rows)
        for cell in rows:
            table.add_row(*_row(cell, shares.get(cell.name), best))
    return table


def _row(cell: CellResult, share: Interval | None, best: dict[tuple[str, ...], float]) -> list[Text | str]:
    label = "  " + (", ".join(cell.params.values()) or cell.benchmark.rsplit(".", 1)[-1])
    label += "  (unties)" if cell.unties else ""
    fastest = best.get(_job(cell), math.nan)
    rivalry = "" if cell.rivals is None or cell.kind != "time" else units.ratio(cell.value.middle / fastest)
    wide = _is_unsure(cell)
    return [
        label,
        units.value(cell.value.middle, cell.unit),
        Text(units.uncertainty(cell.value) if cell.kind == "time" else "", style="yellow" if wide else ""),
        "" if cell.bandwidth is None else units.bandwidth(cell.bandwidth),
        "" if share is None else f"{'' if share.known else '~'}{units.share(share.middle)}",
        Text(rivalry, style="green" if rivalry == "1.00x" else ""),
    ]


def _is_unsure(cell: CellResult) -> bool:
    return cell.kind == "time" and cell.value.high - cell.value.low > 2 * WARN_ABOVE * cell.value.middle


def unsure(file: ResultFile, names: Collection[str] | None = None) -> int:
    """The number of times that are uncertain by more than `WARN_ABOVE`."""
    return sum(_is_unsure(cell) for cell in file.cells if names is None or cell.name in names)


def _job(cell: CellResult) -> tuple[str, ...]:
    return (cell.benchmark, *(value for name, value in cell.params.items() if name != cell.rivals))


def _best_rivals(cells: Iterable[CellResult]) -> dict[tuple[str, ...], float]:
    best: dict[tuple[str, ...], float] = {}
    for cell in cells:
        best[_job(cell)] = min(best.get(_job(cell), math.inf), cell.value.middle)
    return best


def _by(cells: Iterable[CellResult], key: Callable[[CellResult], str]) -> Iterator[tuple[str, Iterator[CellResult]]]:
    return itertools.groupby(sorted(cells, key=lambda c: c.benchmark), key=key)
