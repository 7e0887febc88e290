"""The table at the end of `bench-core run`: each cell's time, its place among its rivals, and its share of the limit;
and what is certain, as sentences, JSON and CSV."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench_core import tables, texts, units
from bench_core.analysis.rounds import LOST
from bench_core.analysis.table import Lead, Row, findings, mood, rows, undecided
from bench_core.errors import brief
from bench_core.records.results import CellResult, ResultFile
from bench_core.records.rounds import Rounds
from bench_core.records.run import Interval

SCHEMA = 1
"""The schema of `as_json`."""


def results(file: ResultFile, names: Collection[str] | None = None) -> tuple[Row, ...]:
    """The rows of the cells with these names (None for all). A file holds the cells of several runs of one commit."""
    shown = {cell.name for cell in file.cells if names is None or cell.name in names}
    return tuple(row for row in rows(file.cells) if row.cell.name in shown)


def printed(found: Sequence[Row], families: Collection[str] = ()) -> RenderableType:
    """A table for each family; for the others, if `families` are named, only a line."""
    return _Printed(found, families)


def in_full(found: Sequence[Row], families: Collection[str]) -> Sequence[Row]:
    """The rows that `printed` shows, and not only counts."""
    return [row for row in found if row.cell.family in families] if families else found


LEAST_LABEL = 24
"""The fewest characters for the labels of rows. A narrower window loses the columns of `LEFT_OUT`, in this order."""

LEFT_OUT = ("GB/s", "of limit")


class _Printed:
    """The tables, as wide as the window allows."""

    def __init__(self, found: Sequence[Row], families: Collection[str]) -> None:
        self._found, self._families = found, families

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = in_full(self._found, self._families)
        fields = {row.cell.name: _fields(row) for row in shown}
        widths = {
            column: max([len(column), *(each[column].cell_len for each in fields.values())])
            for column in _columns(shown)
        }
        wanted = max((_label(row).cell_len + INDENT for row in shown), default=0)
        needed = sum(width + GAP for width in widths.values()) + min(wanted, LEAST_LABEL)
        room, left_out = options.max_width - needed, []
        for column in LEFT_OUT:
            if room < 0 and column in widths:
                room += widths.pop(column) + GAP
                left_out.append(column)
        label = min(wanted, max(LEAST_LABEL // 2, room + min(wanted, LEAST_LABEL)))
        for name, members in _by(self._found, lambda row: row.cell.family):
            if self._families and name not in self._families:
                cells = units.plural(len(members), "cell")
                yield Text(f"{name}: {cells}, shown by --family {name}", style="dim")
                continue
            yield Text(name, style="bold italic")
            yield _lines(label, widths, [("", {column: Text(column, style="dim") for column in widths})])
            for benchmark, group in _by(members, lambda row: row.cell.benchmark):
                title = f"  ({brief(group[0].cell.title)})" if group[0].cell.title else ""
                title += f"  in {unit}" if (unit := _named_once(group[0].cell)) else ""
                yield Text(brief(benchmark.split(".", 1)[-1]) + title, style="cyan", overflow="fold")
                yield _lines(label, widths, [(_label(row), fields[row.cell.name]) for row in group])
        if left_out:
            yield Text(f"A window of {needed} columns also has {units.listed(left_out)}.", style="dim")


INDENT = GAP = 2
"""The spaces before a row, and between two columns."""


def _lines(label: int, widths: Mapping[str, int], lines: Iterable[tuple[Text | str, Mapping[str, Text]]]) -> Table:
    """Lines of fields with fixed widths. A long label is continued below, indented."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(width=label, overflow="fold")
    for width in widths.values():
        table.add_column(width=width, justify="right", no_wrap=True)
    for text, fields in lines:
        table.add_row(Padding(text, (0, 0, 0, INDENT)), *(fields[column] for column in widths))
    return table


def legend(found: Sequence[Row]) -> Text:
    """What the columns of these rows mean."""
    meanings = {
        "±": "another run on this machine reads a time within this range, with 95 %",
        "GB/s": "the bytes that the job must move, divided by the time",
        "of limit": "the rate relative to the most that this machine reaches of what limits the job: bytes, random "
        "numbers, or turns of a Python loop (family limits)",
        "vs best": "the time relative to the fastest way to do the same job, sampled in turn with it. The intervals "
        "of this column hold together with 95 %",
        "(unties)": "leaves tied parameters untied",
    }
    lines = []
    for name in (*_columns(found), *(["(unties)"] if any(row.cell.unties for row in found) else [])):
        if name in meanings:
            marks = (f"  {mark}: {means}." for mark, means in _MARKS.get(name, {}).items() if _has(found, name, mark))
            lines.append(f"{name}: {meanings[name]}.{''.join(marks)}")
    return Text("\n".join(lines), style="dim")


_MARKS = {
    "±": {"?": "cannot be told from so few rounds"},
    "of limit": {"~": "no interval, since the limit was timed in another run or at another size, or in one round"},
    "vs best": {
        "1st": "certainly the fastest",
        "1st=": "may be the fastest",
        "~": "no interval: the ratio differs too much from round to round, fewer than two rounds of one run timed "
        "both, or one changes the time of the other",
    },
}
"""What marks in a column mean."""


def _has(found: Iterable[Row], column: str, mark: str) -> bool:
    """Whether a mark is in a column: as the whole text, or before or after a number."""
    texts = [_fields(row)[column].plain for row in found]
    return any(text == mark or (mark in "~?" and mark in text) for text in texts)


def _columns(found: Sequence[Row]) -> list[str]:
    """The headings of the columns that have something to show."""
    wanted = {
        "value": True,
        "±": any(row.cell.kind == "time" for row in found),
        "GB/s": any(row.cell.bandwidth is not None for row in found),
        "of limit": any(row.share is not None for row in found),
        "vs best": any(row.ratio is not None for row in found),
    }
    return [name for name, has in wanted.items() if has]


VERSIONS = {"python": "Python", "torch": "torch", "numpy": "numpy"}
"""Whose versions are shown, if asv knows them."""


def described(machine: Mapping[str, str]) -> str:
    """asv's description of a machine in one line."""
    ram = int(machine["ram"]) / 2**30 if machine.get("ram", "").isdigit() else None
    parts = (
        machine.get("cpu"),
        f"{machine['num_cpu']} cores" if machine.get("num_cpu") else None,
        None if ram is None else f"{ram:.0f} GiB",
        machine.get("os"),
        *(f"{shown} {machine[name]}" for name, shown in VERSIONS.items() if machine.get(name)),
    )
    return ", ".join(part for part in parts if part)


def _label(row: Row) -> Text:
    label = brief(", ".join(row.cell.params.values()) or row.cell.benchmark.rsplit(".", 1)[-1])
    return Text(f"{label}{'  (unties)' if row.cell.unties else ''}")


LONG_UNIT = 6
"""A unit of so many characters is named once for a benchmark, and not in each row, where it would widen the column."""


def _named_once(cell: CellResult) -> str:
    return cell.unit if cell.kind == "track" and len(cell.unit) >= LONG_UNIT else ""


def _fields(row: Row) -> dict[str, Text]:
    """The texts of a row, by column."""
    cell, share = row.cell, row.share
    timed = cell.kind == "time"
    return {
        "value": Text(
            units.value(row.value.middle if timed else cell.value.middle, "" if _named_once(cell) else cell.unit)
        ),
        "±": Text(units.uncertainty(row.value) if timed else "", style="yellow" if row.wide else ""),
        "GB/s": Text("" if cell.bandwidth is None else units.bandwidth(cell.bandwidth)),
        "of limit": Text("" if share is None else f"{'' if share.known else '~'}{units.share(share.middle)}"),
        "vs best": Text(standing(row), style="green" if row.alone else ""),
    }


def standing(row: Row) -> str:
    """The place of a way among its rivals: ``1st``, ``1st=``, ``2.00x (1.97 to 2.03)``, ``~2.00x``."""
    if row.ratio is None:
        return ""
    if row.alone:
        return "1st"
    if not row.ratio.known or row.doubt:
        return f"~{units.ratio(row.ratio.middle)}"
    return "1st=" if row.tied else units.estimate(row.ratio)


def taken_home(found: Sequence[Row], run: Rounds | None) -> Iterator[str]:
    """What is certain, what is not and why, and what the machine was like; one sentence each."""
    for family, members in _by(found, lambda row: row.cell.family):
        for finding in findings(members):
            yield f"{family}: {said(finding)}"
    doubts = {row.job: row.doubt for row in found if row.doubt}
    if doubts:
        first = next(iter(doubts.values()))
        yield (
            f"The ways of {units.plural(len(doubts), 'job')} are not ranked, since what ran before changes their time: "
            f"{first}"
        )
    jobs = {row.job for row in found if row.tied is not None}
    unknown = {row.job for row in found if row.tied is not None and row.ratio is not None and not row.ratio.known}
    unknown -= doubts.keys()
    if unknown:
        yield (
            f"In {_part(len(unknown), len(jobs), 'job')}, nothing is known about the order of the ways, since their "
            "ratio differs too much from round to round, or fewer than two rounds timed both: a larger --budget gives "
            "more rounds."
        )
    tied = [job for job in undecided(found) if job not in unknown | doubts.keys()]
    if tied:
        shown = f"{', '.join(tied[:3])}{f' and {len(tied) - 3} more' if len(tied) > 3 else ''}"
        yield (
            f"In {_part(len(tied), len(jobs), 'job')}, the fastest way cannot be told, since the ways differ by less "
            f"than their intervals: {shown}."
        )
    wide = sum(row.wide for row in found)
    if wide:
        yield (
            f"In another run, {_part(wide, sum(row.cell.kind == 'time' for row in found), 'time')} may differ by over "
            "10 %: `--budget` gives more rounds, `bench-core doctor` lists what disturbs the machine."
        )
    if run is not None:
        yield _today(run)


def _part(count: int, everything: int, noun: str) -> str:
    """``1 of 2 jobs``, ``all 2 jobs`` or ``the only job``."""
    if count < everything:
        return f"{count} of {units.plural(everything, noun)}"
    return f"the only {noun}" if count == 1 else f"all {units.plural(count, noun)}"


def said(finding: Lead) -> str:
    """`` `foreach` is 2.90 to 3.20 times as fast as `loop` (ManyParameters.time_zero, 100)``."""
    best = units.listed([f"`{name}`" for name in finding.best], "or")
    ends = dict.fromkeys(units.ratio(end).removesuffix("x") for end in (finding.ratio.low, finding.ratio.high))
    return f"{best} is {' to '.join(ends)} times as fast as `{finding.slowest}`: {finding.job.split('.', 1)[-1]}"


def _today(run: Rounds) -> str:
    today = mood(run)
    scatter = (
        "" if math.isnan(today.noise) else f"a time differs by {units.percent(today.noise, 1)} from round to round"
    )
    lost = f"other processes had the core for {units.percent(today.lost, 1)} of the time"
    if 0 < today.disturbed < today.visits:  # if it is all of them, the mean says it
        lost += f" (for over {units.percent(LOST)} in {today.disturbed} of {today.visits} timings of a job)"
    return (
        f"The machine during the run: {units.joined(scatter, lost)}; {units.plural(run.rounds, 'round')} in "
        f"{run.seconds:.0f} s."
    )


def origin(found: Sequence[Row], runs: Sequence[Rounds]) -> str:
    """Which of several stored runs these rows are of; "" without a choice."""
    timed = [row.cell for row in found if row.cell.kind == "time"]
    if len(runs) < 2 or not timed:
        return ""
    counts = {
        f"run {number} ({_when(run)}{', interrupted' if run.interrupted else ''})": sum(
            cell.rounds == run for cell in timed
        )
        for number, run in enumerate(runs, 1)
    }
    counts["other tools, such as asv"] = sum(cell.rounds is None for cell in timed)
    parts = [f"{units.plural(count, 'time')} of {name}" for name, count in reversed(counts.items()) if count]
    if len(parts) == 1 and timed[0].rounds is not None:
        (name,) = (name for name, count in counts.items() if count)
        return f"{name[0].upper()}{name[1:]} of {len(runs)} that are stored."
    return f"{len(runs)} runs are stored. The newest time of each cell is shown: {', '.join(parts)}."


def single(found: Sequence[Row]) -> Rounds | None:
    """The run that has measured all these times; None if there are several, or other tools."""
    runs = [row.cell.rounds for row in found if row.cell.kind == "time"]
    return runs[0] if runs and all(run is not None and run is runs[0] for run in runs) else None


def listing(runs: Sequence[Rounds]) -> Table:
    """The runs that are stored beside a result file."""
    table = tables.terminal("rlrrrrl", ["run", "began (UTC)", "rounds", "seconds", "cells", "noise", ""])
    for number, run in enumerate(runs, 1):
        cells = len(run.readings) + sum(len({*visit.seconds}) for group in run.groups for visit in group.visits[:1])
        noise = mood(run).noise
        table.add_row(
            str(number),
            _when(run),
            str(run.rounds),
            f"{run.seconds:.0f}",
            str(cells),
            "" if math.isnan(noise) else units.percent(noise, 1),
            "interrupted" if run.interrupted else "",
        )
    return table


def _when(run: Rounds) -> str:
    return run.date[:16].replace("T", " ")


def as_json(found: Sequence[Row], of: Rounds | ResultFile) -> str:
    """The table for scripts: see docs/run-json.md.

    Args:
        of: the run that has measured all rows, or the file that has them from several.
    """
    about: dict[str, Any]
    if isinstance(of, Rounds):
        about = {
            "machine": of.machine,
            "environment": of.environment,
            "commit": of.commit,
            "date": of.date,
            "seconds": round(of.seconds, 3),
            "rounds": of.rounds,
            "noise": _finite(mood(of).noise),
            "interrupted": of.interrupted,
            "failed": dict(of.failed),
            "skipped": dict(of.skipped),
            "unreached": list(of.unreached),
            "notes": list(of.notes),
        }
    else:
        about = {
            "machine": of.machine.get("machine"),
            "environment": of.environment,
            "commit": of.commit,
            **dict.fromkeys(("date", "seconds", "rounds", "noise", "interrupted")),
            "failed": dict.fromkeys(of.failed),
            "skipped": {},
            "unreached": [],
            "notes": [],
        }
    content = {"schema": SCHEMA, **about, "cells": [_cell(row) for row in found]}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _cell(row: Row) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": row.cell.name,
        "kind": row.cell.kind,
        "value": _finite(row.value.middle),
        "unit": row.cell.unit,
        "interval": _ends(row.value),
    }
    if row.job is not None and row.ratio is not None:
        content |= {
            "job": row.job,
            "ratio_to_best": _finite(row.ratio.middle),
            "ratio_interval": _ends(row.ratio),
            "tied": row.tied,
            "fastest": row.alone,
        }
    if row.share is not None and math.isfinite(row.share.middle):
        content |= {"share_of_limit": _finite(row.share.middle), "share_interval": _ends(row.share)}
    return content


COLUMNS = ("name", "kind", "value", "unit", "low", "high", "job", "ratio_to_best", "ratio_low", "ratio_high", "tied")


def as_csv(found: Sequence[Row]) -> str:
    """The cells of `as_json`, one line each. An unknown number is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in found:
        cell = _cell(row)
        ratio = cell.get("ratio_interval", [None, None])
        fields = [cell["name"], cell["kind"], cell["value"], cell["unit"], *cell["interval"]]
        fields += [cell.get("job"), cell.get("ratio_to_best"), *ratio, cell.get("tied")]
        writer.writerow(map(texts.field, fields))
    return out.getvalue()


def _ends(found: Interval) -> list[float | None]:
    return [_finite(found.low), _finite(found.high)]


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _by(found: Iterable[Row], key: Callable[[Row], str]) -> Iterator[tuple[str, list[Row]]]:
    ordered = sorted(found, key=lambda row: row.cell.benchmark)
    yield from ((name, list(members)) for name, members in itertools.groupby(ordered, key=key))
