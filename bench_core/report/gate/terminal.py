"""Shows a gate in the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench_core import tables, units
from bench_core.errors import brief
from bench_core.records.gate import GateRecord, GateVerdict, JudgedCell, VerdictName
from bench_core.records.results import Tally
from bench_core.report import cause
from bench_core.report.gate.words import (
    CONTROL_DIFFERS,
    LARGEST,
    LONGEST,
    MORE,
    GateCommands,
    Groups,
    besides,
    better,
    change,
    circumstances,
    closing,
    detectable,
    explained_alone,
    grouped,
    headline,
    measured,
    pairs,
    passed,
    since,
    times,
    to_reproduce,
    undecided,
    worse,
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
    commands: GateCommands,
    *,
    tally: Tally | None = None,
    verbose: bool = False,
) -> RenderableType:
    """The result, short enough to be read in ten seconds. Print it with ``crop=False``, so that commands are not cut.

    Args:
        commands: the commands that measure these cells again.
        tally: the results of the controls of all gates so far.
        verbose: whether to list the cells that pass, too.
    """
    if record.identical:
        return Group(_line(f"identical: {record.identical}"))  # outside a group, rich would wrap the line
    if record.untouched:
        names = [_line(f"  {name}") for name in record.unaffected] if verbose else []
        return Group(_line(f"unaffected: {verdict.reason}"), _line(circumstances(record), "dim"), *names)
    found = grouped(verdict.cells)
    lines: list[RenderableType] = [*_headline(record, verdict)]
    lines += _listed("Failing with head", "bold red", found.broken, lambda cell: _bad_lines(cell, commands.gate))
    lines += _slower("", found, record, commands.gate)
    lines += _listed("Inconclusive", "bold yellow", found.unknown, _unknown_lines)
    if record.past is not None and verdict.past is not None:
        title, past = since(record.past), grouped(verdict.past.cells)
        lines += _slower(f" {title}", past, record.past, commands.past)
        lines += _listed(f"Inconclusive {title}", "bold yellow", past.unknown, _unknown_lines)
    lines += _listed("Not compared", "bold yellow", found.failed, lambda cell: [cell.judgement.reason])
    lines += _listed(better(found.faster).capitalize(), "bold green", found.faster, lambda cell: [measured(cell)])
    lines.append("")
    if found.passed:
        lines.append(_line(passed(found)))
        if verbose:
            lines.append(_passing_table(found.passed))
    if verbose and record.unaffected:
        lines += [_line("Unaffected"), *(_line(f"  {name}") for name in record.unaffected)]
    if record.instructions:
        lines += ["", _instructions_table(record, verdict)]
    lines += [_line(text) for text in closing(record, verdict, tally)]
    return Group(*lines)


def self_test(record: GateRecord, verdict: GateVerdict, plants: Mapping[str, float]) -> RenderableType:
    """The result of a self-test. `plants` holds the planted slowdowns by cell, as a ratio less 1."""
    table = Table(box=None, pad_edge=False)
    for title in ("cell", "planted", "found", "verdict"):
        table.add_column(title, justify="right" if title in ("planted", "found") else "left")
    counts = Counter[tuple[bool, bool]]()
    for cell in verdict.cells:
        planted, slower = plants.get(cell.name, 0.0), cell.verdict == "regression"
        counts[bool(planted), slower] += 1
        table.add_row(
            Text(brief(cell.name)),
            f"+{units.percent(planted)}" if planted else "-",
            change(cell),
            Text(cell.verdict, style="" if slower == bool(planted) else "bold red"),
        )
    found, missed = counts[True, True], counts[True, False]
    wrong, clean = counts[False, True], counts[False, False]
    what = "self-test, interrupted" if record.interrupted else "self-test"
    planted_found = f"{found} of {found + missed} planted slowdowns found"
    others_found = f"{wrong} of {wrong + clean} other cells called slower"
    style = "bold red" if missed or wrong else "bold green"
    lines: list[RenderableType] = [
        table,
        Text(f"{what}: {planted_found}, {others_found}, {record.seconds:.0f} s", style=style),
    ]
    reasons = Counter(cell.judgement.reason for cell in verdict.cells if cell.verdict in ("inconclusive", "error"))
    lines += [_line(f"undecided: {units.plural(count, 'cell')}: {why}") for why, count in reasons.most_common(LONGEST)]
    if reasons:
        lines += [_line(text) for text in closing(record, verdict, None)]
    return Group(*lines)


def _line(text: str, style: str = "") -> Text:
    """A line that is never wrapped: a command copied from a terminal must not contain line ends."""
    return Text(text, style=style, no_wrap=True, overflow="ignore")


def _slower(since: str, found: Groups, record: GateRecord, command: str) -> Iterator[RenderableType]:
    """The regressions; or, if only all cells together are slower, the explained cells. Both with their causes.

    Args:
        since: the end of the title.
    """
    causes = {one.cell: one for one in record.causes}

    def below(cell: JudgedCell) -> Iterable[RenderableType]:
        return cause.lines(causes[cell.name]) if cell.name in causes else ()

    title = f"{worse(found.slower).capitalize()}{since}"
    yield from _listed(title, "bold red", found.slower, lambda cell: _bad_lines(cell, command), below)
    yield from _listed(LARGEST, "bold red", explained_alone(found, record), lambda cell: [measured(cell)], below)


def _headline(record: GateRecord, verdict: GateVerdict) -> Iterator[Text]:
    # Not wrapped either: in a log, a search for the verdict must find the numbers in the same line.
    parts = ((verdict.verdict.upper(), _STYLES[verdict.verdict]), "  ", headline(verdict))
    yield Text.assemble(*parts, no_wrap=True, overflow="ignore")
    yield Text(circumstances(record), style="dim")
    if record.besides:
        yield Text(besides(record), style="dim")
    if record.interrupted:
        yield Text("Interrupted: what was measured is stored, and --resume continues from it.", style="yellow")
    if verdict.control_differs:
        advice = "`bench-core doctor` says what disturbs this machine."
        yield Text(f"{CONTROL_DIFFERS} {advice}", style="bold yellow")


def _listed(
    title: str,
    style: str,
    cells: Sequence[JudgedCell],
    lines_of: Callable[[JudgedCell], Iterable[str]],
    below: Callable[[JudgedCell], Iterable[RenderableType]] = lambda cell: (),
) -> Iterator[RenderableType]:
    if not cells:
        return
    yield Text("")
    yield Text(title, style=style)
    for cell in cells[:LONGEST]:
        yield _line(f"  {brief(cell.name)}")
        yield from (_line(f"    {text}") for text in lines_of(cell))
        yield from below(cell)
    if len(cells) > LONGEST:
        yield Text(f"  and {len(cells) - LONGEST} {MORE}", style="dim")


def _bad_lines(cell: JudgedCell, command: str) -> list[str]:
    """The lines of a cell that is slower or fails."""
    what = cell.judgement.reason if cell.verdict == "error" else measured(cell)
    return [what, *to_reproduce(command, [cell])]


def _unknown_lines(cell: JudgedCell) -> list[str]:
    counted = undecided(cell) if cell.evidence.is_reading else f"{undecided(cell)}, {pairs(cell)}"
    found = [counted] if cell.evidence.effects else []
    what = "slowdown" if cell.evidence.is_timed else "increase"
    return [*found, f"{cell.judgement.reason}; smallest detectable {what}: {detectable(cell)}"]


def _passing_table(cells: Sequence[JudgedCell]) -> Table:
    table = tables.terminal("lrrrr", ("", "effect", "base", "head", "pairs"))
    for cell in cells:
        table.add_row(Text(brief(cell.name)), change(cell), *times(cell), str(len(cell.evidence.effects)))
    return table


def _instructions_table(record: GateRecord, verdict: GateVerdict) -> Table:
    """The instruction counts beside the times, the largest differences first."""
    ratios = {cell.name: cell.judgement.ratio.middle for cell in verdict.cells}
    headings = ("instructions a call", "base", "head", "change", "time", "together")
    table = tables.terminal("lrrrrl", headings)
    for one in sorted(record.instructions, key=lambda one: -abs(math.log(one.head / one.base)) if one.known else 0):
        counts = ("n/a", "n/a", "n/a")
        if one.known:
            counts = (f"{one.base:,.0f}", f"{one.head:,.0f}", units.signed_percent(one.head / one.base - 1, 2))
        table.add_row(Text(brief(one.cell)), *counts, units.change(ratios[one.cell]), Text(one.meaning))
    return table
