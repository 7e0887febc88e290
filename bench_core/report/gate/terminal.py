"""A gate in the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench_core.records.gate import GateRecord, GateVerdict, VerdictName
from bench_core.records.results import Tally
from bench_core.report import cause
from bench_core.report.gate.words import (
    LARGEST,
    LONGEST,
    Commands,
    Groups,
    Row,
    besides,
    circumstances,
    closing,
    effect,
    explained_alone,
    grouped,
    passed,
    percent,
    reproducing,
    version,
)

_STYLES: dict[VerdictName, str] = {
    "regression": "bold red",
    "error": "bold red",
    "inconclusive": "yellow",
    "improvement": "green",
    "pass": "green",
}


def summary(
    record: GateRecord,
    verdict: GateVerdict,
    commands: Commands,
    *,
    tally: Tally | None = None,
    verbose: bool = False,
) -> RenderableType:
    """For the terminal, to be read in ten seconds. Print it with ``crop=False``: commands are longer than a line.

    Args:
        commands: what measures these cells again.
        tally: what the controls of all gates so far say.
        verbose: list the cells that pass, too.
    """
    if record.identical:
        return Group(_line(f"identical: {record.identical}"))  # a text by itself would be broken all the same
    found = grouped(record, verdict)
    lines: list[RenderableType] = [*_headline(record, verdict)]
    lines += _listed("Failing with head", "bold red", found.broken, lambda row: _red_lines(row, commands.gate))
    lines += _slower("Slower", found, record, commands.gate)
    lines += _listed("Inconclusive", "bold yellow", found.unknown, _unknown_lines)
    if record.creep is not None and verdict.creep is not None:
        since, crept = f"since {version(record.creep.base)}", grouped(record.creep, verdict.creep)
        lines += _slower(f"Slower {since}", crept, record.creep, commands.creep)
        lines += _listed(f"Inconclusive {since}", "bold yellow", crept.unknown, _unknown_lines)
    lines += _listed("Not compared", "bold yellow", found.failed, lambda row: [row.judged.reason])
    lines += _listed("Faster", "bold green", found.faster, _measured_lines)
    lines.append("")
    if found.passed:
        lines.append(_line(passed(found)))
        if verbose:
            lines.append(_passing_table(found.passed))
    if record.instructions:
        lines += ["", _instructions_table(record, verdict)]
    lines += [_line(text) for text in closing(record, verdict, tally)]
    return Group(*lines)


def self_test(record: GateRecord, verdict: GateVerdict, plants: Mapping[str, float]) -> RenderableType:
    """What a gate of a version against itself has found, where slowdowns were planted in some cells."""
    table = Table(box=None, pad_edge=False)
    for title in ("cell", "planted", "found", "verdict"):
        table.add_column(title, justify="right" if title in ("planted", "found") else "left")
    counts = Counter[tuple[bool, bool]]()
    for cell, judged in zip(record.cells, verdict.cells, strict=True):
        planted, red = plants.get(cell.name, 0.0), judged.verdict == "regression"
        counts[bool(planted), red] += 1
        as_it_should = red == bool(planted)
        table.add_row(
            Text(cell.name),
            f"+{100 * planted:g} %" if planted else "-",
            effect(judged.ratio),
            Text(judged.verdict, style="" if as_it_should else "bold red"),
        )
    found, missed = counts[True, True], counts[True, False]
    wrong, clean = counts[False, True], counts[False, False]
    right = not missed and not wrong
    what = "self-test, interrupted" if record.interrupted else "self-test"
    line = f"{what}: {found} of {found + missed} planted slowdowns found, {wrong} of {wrong + clean} others red"
    return Group(table, Text(f"{line}, {record.seconds:.0f} s", style="bold green" if right else "bold red"))


def _line(text: str, style: str = "") -> Text:
    """Never broken: a command that is copied from a terminal must not have line ends in it."""
    return Text(text, style=style, no_wrap=True, overflow="ignore")


def _slower(title: str, found: Groups, record: GateRecord, command: str) -> Iterator[RenderableType]:
    """The red cells, and below each its cause; where only the suite as a whole is red, what was explained instead."""
    causes = {one.cell: one for one in record.causes}

    def below(row: Row) -> Iterable[RenderableType]:
        return cause.lines(causes[row.cell.name]) if row.cell.name in causes else ()

    yield from _listed(title, "bold red", found.slower, lambda row: _red_lines(row, command), below)
    yield from _listed(LARGEST, "bold red", explained_alone(found, record), _measured_lines, below)


def _headline(record: GateRecord, verdict: GateVerdict) -> Iterator[Text]:
    headline = ((verdict.verdict.upper(), _STYLES[verdict.verdict]), "  ", verdict.reason)
    yield Text.assemble(
        *headline, no_wrap=True, overflow="ignore"
    )  # whoever searches a log finds the number in its line
    yield Text(circumstances(record), style="dim")
    if record.besides:
        yield Text(besides(record), style="dim")
    if record.interrupted:
        yield Text("Interrupted: what was measured is stored, and --resume goes on from it.", style="yellow")
    if verdict.control_rejects:
        yield Text(
            "A control rejects: base was found to differ from itself, so no red of this gate can be believed. "
            "`bench-core doctor` says what disturbs this machine.",
            style="bold yellow",
        )


def _listed(
    title: str,
    style: str,
    rows: Sequence[Row],
    lines_of: Callable[[Row], Iterable[str]],
    below: Callable[[Row], Iterable[RenderableType]] = lambda row: (),
) -> Iterator[RenderableType]:
    if not rows:
        return
    yield Text("")
    yield Text(title, style=style)
    for row in rows[:LONGEST]:
        yield _line(f"  {row.cell.name}")
        yield from (_line(f"    {text}") for text in lines_of(row))
        yield from below(row)
    if len(rows) > LONGEST:
        yield Text(f"  and {len(rows) - LONGEST} more; --json FILE keeps them all", style="dim")


def _measured_lines(row: Row) -> list[str]:
    return [f"{row.change}, {' → '.join(row.times)}, {row.pairs}"]


def _red_lines(row: Row, command: str) -> list[str]:
    what = [row.judged.reason] if row.judged.verdict == "error" else _measured_lines(row)
    return [*what, reproducing(command, row.cell.name)]


def _unknown_lines(row: Row) -> list[str]:
    measured = [f"{row.change}, {row.pairs}"] if row.cell.effects else []
    return [*measured, f"{row.judged.reason}; smallest slowdown that would have been red: {row.detectable}"]


def _passing_table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", overflow="fold")
    for heading in ("effect", "base", "head", "pairs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(Text(row.cell.name), row.change, *row.times, str(len(row.cell.effects)))
    return table


def _instructions_table(record: GateRecord, verdict: GateVerdict) -> Table:
    """Instruction counts beside the times; the largest differences first."""
    effects = {cell.name: judged.ratio for cell, judged in zip(record.cells, verdict.cells, strict=True)}
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("instructions a call", overflow="fold")
    for heading in ("base", "head", "change", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("together")
    for one in sorted(record.instructions, key=lambda one: -abs(math.log(one.head / one.base)) if one.known else 0):
        if one.known:
            counts = (f"{one.base:,.0f}", f"{one.head:,.0f}", f"{100 * (one.head / one.base - 1):+.2f} %")
        else:
            counts = ("n/a", "n/a", "n/a")
        table.add_row(Text(one.cell), *counts, percent(effects[one.cell].middle), Text(one.meaning))
    return table
