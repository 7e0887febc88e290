"""A gate as a person reads it: in the terminal, as Markdown, as annotations of GitHub and as JUnit's XML.

Everything is drawn from the record and its verdict, so the same text comes out whenever the file is read again.
"""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench_core.records import (
    SIDES,
    CellEvidence,
    GateRecord,
    GateVerdict,
    Interval,
    Judgement,
    Noise,
    VerdictName,
    Version,
)
from bench_core.report import cause, units
from bench_core.report.markup import code, longest_fence, one_line, plain
from bench_core.results.gate_file import Tally, middle

LONGEST = 20
"""Rows of a list; the rest is counted."""

LARGEST = "Largest estimates, none of them red alone"

FEW = 6
"""Packages that are named."""

ANNOTATIONS = 10
"""Annotations of one kind that GitHub shows for one step; what is beyond is not shown."""

LARGEST_MARKDOWN = 60_000
"""Bytes. A comment on GitHub holds 65,536 characters, and a workflow may add some of its own."""

_STYLES: dict[VerdictName, str] = {
    "regression": "bold red",
    "error": "bold red",
    "inconclusive": "yellow",
    "improvement": "green",
    "pass": "green",
}


@dataclass(frozen=True)
class Commands:
    """What measures the cells of a record again, with every option but ``--bench``.

    Attributes:
        creep: those against the third version; "" without one.
    """

    gate: str
    creep: str = ""


@dataclass(frozen=True)
class _Row:
    """A cell with its judgement."""

    cell: CellEvidence
    judged: Judgement

    @property
    def change(self) -> str:
        return effect(self.judged.ratio)

    @property
    def times(self) -> tuple[str, str]:
        """Base and head."""
        base, head = (value(middle(self.cell, side), self.cell.unit) for side in SIDES)
        return base, head

    @property
    def pairs(self) -> str:
        text = _count(len(self.cell.effects), "pair")
        if self.judged.unit == "parent":
            parents = len({pair.parent for pair in self.cell.effects})
            text += f", judged as {_count(parents, 'parent process', 'es')}"
        return text

    @property
    def detectable(self) -> str:
        """The smallest slowdown that would have been red."""
        return percent(1 + self.judged.detectable) if math.isfinite(self.judged.detectable) else "none"


@dataclass(frozen=True)
class _Groups:
    """The cells by what they mean, each list with the most important first.

    Attributes:
        broken: those that fail with head only.
        failed: those that fail otherwise.
    """

    broken: tuple[_Row, ...]
    slower: tuple[_Row, ...]
    unknown: tuple[_Row, ...]
    faster: tuple[_Row, ...]
    passed: tuple[_Row, ...]
    failed: tuple[_Row, ...]

    @property
    def all(self) -> tuple[_Row, ...]:
        return self.broken + self.slower + self.unknown + self.failed + self.faster + self.passed


def percent(ratio: float) -> str:
    """A ratio as the change that it is: ``+5.2 %``; from 10 on as itself, ``12x``."""
    if not math.isfinite(ratio):
        return "n/a"
    if ratio >= 10:
        return units.ratio(ratio)
    return f"{round(100 * (ratio - 1), 1) + 0.0:+.1f} %"  # + 0.0: no "-0.0"


def effect(ratio: Interval) -> str:
    """``+5.2 % (+4.1 … +6.3 %)``; an end that the pairs cannot tell is left out."""
    if math.isnan(ratio.middle):
        return "n/a"
    bounded_below, bounded_above = ratio.low > 0, math.isfinite(ratio.high)
    low, high = percent(ratio.low), percent(ratio.high)
    if bounded_below and bounded_above:
        shared = low.endswith(" %") and high.endswith(" %")
        ends = f"{low.removesuffix(' %') if shared else low} … {high}"
    elif bounded_below or bounded_above:
        ends = f"at least {low}" if bounded_below else f"at most {high}"
    else:
        ends = "?"
    return f"{percent(ratio.middle)} ({ends})"


def value(found: float, unit: str) -> str:
    """A time, a size or a tracked value, with its unit."""
    if math.isnan(found):
        return "n/a"
    if unit == "seconds":
        return units.time(found)
    return units.size(found) if unit == "bytes" else f"{found:.4g} {unit}"


def reproducing(command: str, name: str) -> str:
    """The command that measures one cell alone, and anew: in the evidence that there is, it is decided.

    Args:
        command: what measures them all, with every option but ``--bench``.
    """
    # re.escape guards against verbose patterns, which ours are not; spaces and hyphens are read more easily bare.
    pattern = re.sub(r"\\([ \-])", r"\1", re.escape(name))
    return f"{command} --fresh --bench {shlex.quote(f'^{pattern}$')}"


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number:,} {what}{'' if number == 1 else plural}"


def _grouped(record: GateRecord, verdict: GateVerdict) -> _Groups:
    rows = [_Row(*both) for both in zip(record.cells, verdict.cells, strict=True)]

    def those(name: VerdictName, key: Callable[[_Row], float]) -> tuple[_Row, ...]:
        return tuple(sorted((row for row in rows if row.judged.verdict == name), key=key))

    def order(row: _Row) -> float:
        return math.inf if math.isnan(row.judged.ratio.middle) else -row.judged.ratio.middle

    errors = those("error", lambda row: 0)
    return _Groups(
        broken=tuple(row for row in errors if row.cell.error_side == "head"),
        slower=those("regression", order),
        unknown=those("inconclusive", order),
        faster=those("improvement", lambda row: row.judged.ratio.middle),
        passed=those("pass", lambda row: -row.judged.ratio.high),
        failed=tuple(row for row in errors if row.cell.error_side != "head"),
    )


def _version(version: Version) -> str:
    if version.changed:
        return f"{version.name} ({_count(len(version.changed), 'file')} changed)"
    if version.commit is None or version.commit.startswith(version.name):
        return version.name if version.commit is None else version.commit[:8]
    return f"{version.name} {version.commit[:8]}"


def _compared(record: GateRecord) -> str:
    code = "" if record.code is None else f", with {_version(record.code)}"
    return f"head {_version(record.head)} against base {_version(record.base)}{code}"


def _besides(record: GateRecord) -> str:
    """What else differs, as far as two lines hold it."""
    more = f", and {len(record.besides) - FEW} more; --json FILE keeps them all" if len(record.besides) > FEW else ""
    return f"differs, too: {', '.join(record.besides[:FEW])}{more}"


def _circumstances(record: GateRecord) -> str:
    return f"{_compared(record)}, {units.time(record.seconds)}, seed {record.settings.seed}"


# The terminal.


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
        return _line(f"identical: {record.identical}")
    found = _grouped(record, verdict)
    lines: list[RenderableType] = [*_headline(record, verdict)]
    lines += _listed("Failing with head", "bold red", found.broken, lambda row: _red_lines(row, commands.gate))
    lines += _slower("Slower", found, record, commands.gate)
    lines += _listed("Inconclusive", "bold yellow", found.unknown, _unknown_lines)
    if record.creep is not None and verdict.creep is not None:
        since, crept = f"since {_version(record.creep.base)}", _grouped(record.creep, verdict.creep)
        lines += _slower(f"Slower {since}", crept, record.creep, commands.creep)
        lines += _listed(f"Inconclusive {since}", "bold yellow", crept.unknown, _unknown_lines)
    lines += _listed("Not compared", "bold yellow", found.failed, lambda row: [row.judged.reason])
    lines += _listed("Faster", "bold green", found.faster, _measured_lines)
    lines.append("")
    if found.passed:
        lines.append(_line(_passed(found)))
        if verbose:
            lines.append(_passing_table(found.passed))
    if record.instructions:
        lines += ["", _instructions_table(record, verdict)]
    lines += [_line(text) for text in _closing(record, verdict, tally)]
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


def _slower(title: str, found: _Groups, record: GateRecord, command: str) -> Iterator[RenderableType]:
    """The red cells, and below each its cause; where only the suite as a whole is red, what was explained instead."""
    causes = {one.cell: one for one in record.causes}

    def below(row: _Row) -> Iterable[RenderableType]:
        return cause.lines(causes[row.cell.name]) if row.cell.name in causes else ()

    yield from _listed(title, "bold red", found.slower, lambda row: _red_lines(row, command), below)
    yield from _listed(LARGEST, "bold red", _explained_alone(found, record), _measured_lines, below)


def _explained_alone(found: _Groups, record: GateRecord) -> tuple[_Row, ...]:
    """Cells that are explained and not red, the largest estimate first."""
    explained = {one.cell for one in record.causes}
    rows = [row for row in found.all if row.cell.name in explained and row.judged.verdict != "regression"]
    return tuple(sorted(rows, key=lambda row: -row.judged.ratio.middle))


def _headline(record: GateRecord, verdict: GateVerdict) -> Iterator[Text]:
    yield Text.assemble((verdict.verdict.upper(), _STYLES[verdict.verdict]), "  ", verdict.reason)
    yield Text(_circumstances(record), style="dim")
    if record.besides:
        yield Text(_besides(record), style="dim")
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
    rows: Sequence[_Row],
    lines_of: Callable[[_Row], Iterable[str]],
    below: Callable[[_Row], Iterable[RenderableType]] = lambda row: (),
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


def _measured_lines(row: _Row) -> list[str]:
    return [f"{row.change}, {' → '.join(row.times)}, {row.pairs}"]


def _red_lines(row: _Row, command: str) -> list[str]:
    what = [row.judged.reason] if row.judged.verdict == "error" else _measured_lines(row)
    return [*what, reproducing(command, row.cell.name)]


def _unknown_lines(row: _Row) -> list[str]:
    measured = [f"{row.change}, {row.pairs}"] if row.cell.effects else []
    return [*measured, f"{row.judged.reason}; smallest slowdown that would have been red: {row.detectable}"]


def _passed(found: _Groups) -> str:
    return f"{len(found.passed)} pass, each at most {percent(found.passed[0].judged.ratio.high)}"


def _passing_table(rows: Sequence[_Row]) -> Table:
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


def _closing(record: GateRecord, verdict: GateVerdict, tally: Tally | None) -> Iterator[str]:
    """One line each: what holds for the gate and not for a cell."""
    if verdict.suite is not None:
        yield f"suite as a whole: {effect(verdict.suite.ratio)}, {verdict.suite.verdict}"
    if record.creep is not None and verdict.creep is not None:
        yield from _crept(record.creep, verdict.creep)
    if record.controls:
        yield _control(record, verdict, tally)
    yield from _noise(verdict.noise, record.settings.noise_floor)
    if record.resumed:
        yield f"taken over from earlier gates on these versions: {_count(record.resumed, 'pair')}"
    reasons = Counter(record.left_out.values()).most_common()
    yield from (f"left out: {_count(count, 'cell')}: {reason}" for reason, count in reasons[:LONGEST])
    if len(reasons) > LONGEST:
        yield f"left out for {len(reasons) - LONGEST} more reasons; --json FILE keeps them all"


def _crept(record: GateRecord, verdict: GateVerdict) -> Iterator[str]:
    """What small steps since the third version add up to, whatever each of them was."""
    since = f"since {_version(record.base)}"
    found = _grouped(record, verdict)
    groups = (("slower", found.slower), ("inconclusive", found.unknown), ("faster", found.faster))
    parts = [f"{len(rows)} {what}" for what, rows in groups if rows]
    parts += [_passed(found)] if found.passed else []
    yield f"{since}: {', '.join(parts) or 'nothing could be compared'}"
    if verdict.suite is not None:
        yield f"  suite as a whole: {effect(verdict.suite.ratio)}, {verdict.suite.verdict}"
    missing = len(record.left_out) + len(found.broken) + len(found.failed)
    if missing:
        yield f"  {_count(missing, 'cell')} cannot be compared with it; --json FILE says why"


def _control(record: GateRecord, verdict: GateVerdict, tally: Tally | None) -> str:
    rejecting = sum(judged.rejects for judged in verdict.controls)
    failed = sum(judged.verdict == "error" for judged in verdict.controls)
    text = f"control: {_count(len(record.controls), 'cell')} of base against itself, {rejecting or 'none'} rejects"
    text += f", {failed} failed" if failed else ""
    if tally is not None and tally.controls:
        bounds = f"{100 * tally.low:.1f} to {100 * tally.high:.1f} %"
        text += f"; {_count(tally.controls, 'control')} so far, {tally.rejected} rejected ({bounds})"
        text += f", {_count(tally.damaged, 'line')} of the ledger cut off" if tally.damaged else ""
    return text


_CAUSES: tuple[tuple[str, str, Callable[[Noise], float], str], ...] = (
    (
        "within a pair",
        "samples scatter inside a pair",
        lambda noise: noise.within,
        "something else uses this machine, and `bench-core doctor` names what it can see; a larger --budget helps",
    ),
    (
        "between pairs",
        "each process settles at a speed of its own",
        lambda noise: _beyond(noise.between_pairs, noise.within),
        "longer samples would not help, more pairs do (a larger --budget, or fewer cells)",
    ),
    (
        "between parents",
        "all pairs of one parent process share its speed",
        lambda noise: noise.between_parents,
        "only more parent processes help (a larger --budget, or fewer cells)",
    ),
    (
        "order",
        "what is sampled second differs from what is sampled first",
        lambda noise: noise.order,
        "each side is first equally often, so no side gains; pinning and a fixed frequency (`bench-core doctor`) help",
    ),
    (
        "forked first",
        "what is forked first differs from what is forked second",
        lambda noise: noise.forked_first,
        "each side is first equally often, so no side gains; a larger --budget evens it out",
    ),
)


def _beyond(whole: float, part: float) -> float:
    """What a standard deviation holds beyond another; NaN if either is."""
    left = whole**2 - part**2
    return math.nan if math.isnan(left) else math.sqrt(max(0.0, left))


def _noise(noise: Noise, floor: float) -> Iterator[str]:
    """The causes with their sizes, and what to do about the largest; what a cause includes of another is taken off."""
    sizes = [(size(noise), name, what, advice) for name, what, size, advice in _CAUSES]
    known = [found for found in sizes if not math.isnan(found[0])]
    if not known:
        return
    alike = "" if math.isnan(noise.likeness) else f"; pairs of one parent are alike by {noise.likeness:.2f} of 1"
    yield f"noise: {', '.join(f'{name} {100 * size:.1f} %' for size, name, _, _ in known)}{alike}"
    largest, _, what, advice = max(known, key=lambda found: found[0])
    if largest > floor:
        yield f"  {what}: {advice}"


# Markdown.


def markdown(record: GateRecord, verdict: GateVerdict, commands: Commands) -> str:
    """For a job's summary or a comment on a pull request; at most `LARGEST_MARKDOWN` bytes.

    Args:
        commands: as of `summary`.
    """
    if record.identical:
        return f"## bench-core gate: {verdict.verdict}\n\nidentical: {plain(record.identical)}\n"
    found = _grouped(record, verdict)
    page = _Page(LARGEST_MARKDOWN)
    page.add(f"## bench-core gate: {verdict.verdict}", "", f"**{plain(verdict.reason)}**")
    page.add("", plain(_circumstances(record)))
    if record.besides:
        page.add("", plain(_besides(record)))
    if record.interrupted:
        page.add("", "Interrupted: this is what was measured until then.")
    if verdict.control_rejects:
        page.add("", "A control rejects: base was found to differ from itself, so no red of this gate can be believed.")
    page.table("Failing with head", ("cell", "error"), found.broken, lambda row: [code(row.judged.reason)])
    page.table("Slower", ("cell", "effect", "base", "head", "pairs"), found.slower, _measured_fields)
    alone = _explained_alone(found, record)
    page.table(LARGEST, ("cell", "effect", "base", "head", "pairs"), alone, _measured_fields)
    reds = [reproducing(commands.gate, row.cell.name) for row in (found.broken + found.slower)[:LONGEST]]
    causes = record.causes
    if record.creep is not None and verdict.creep is not None:
        since, crept = f"since {_version(record.creep.base)}", _grouped(record.creep, verdict.creep)
        titles = ("cell", "effect", since.removeprefix("since "), "head", "pairs")
        page.table(f"Slower {plain(since)}", titles, crept.slower, _measured_fields)
        page.table(LARGEST, titles, _explained_alone(crept, record.creep), _measured_fields)
        reds += [reproducing(commands.creep, row.cell.name) for row in crept.slower[:LONGEST]]
        causes += record.creep.causes
    if reds:
        page.block("To measure one of them alone:", reds)
    if causes:
        page.parts("Why", [cause.markdown(one) for one in causes[:LONGEST]])
    page.table("Inconclusive", ("cell", "effect", "smallest red", "why"), found.unknown, _unknown_fields)
    page.table("Not compared", ("cell", "error"), found.failed, lambda row: [code(row.judged.reason)])
    page.table("Faster", ("cell", "effect", "base", "head", "pairs"), found.faster, _measured_fields)
    if found.passed:
        page.add("", f"{_passed(found)}.")
    for text in _closing(record, verdict, None):
        page.add("", plain(text.strip()))
    if found.all:
        page.add("", "<details><summary>All cells</summary>")
        headings = ("cell", "verdict", "effect", "base", "head", "pairs")
        page.table("", headings, found.all, _any_fields, longest=len(found.all), room=len("\n</details>\n"))
        page.add("", "</details>")
    return page.text


class _Page:
    """Lines of Markdown, as many as there is room for.

    Args:
        room: bytes.
    """

    _NOTE = 60  # bytes that "and N more" needs

    def __init__(self, room: int) -> None:
        self._room = room - 1
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def add(self, *lines: str) -> None:
        for line in lines:
            self._lines.append(line)
            self._room -= _size(line)

    def table(
        self,
        title: str,
        headings: Sequence[str],
        rows: Sequence[_Row],
        fields_of: Callable[[_Row], list[str]],
        *,
        longest: int = LONGEST,
        room: int = 1_000,
    ) -> None:
        """Add a table of cells, cut at `longest` rows, and where less than `room` would be left."""
        if not rows:
            return
        self.add(*(["", f"### {title}"] if title else []), "")
        self.add(f"| {' | '.join(headings)} |", "|" + " --- |" * len(headings))
        shown = [f"| {' | '.join([code(row.cell.name), *fields_of(row)])} |" for row in rows[:longest]]
        fitting = self._fitting(shown, room)
        self.add(*shown[:fitting])
        self._note(len(rows) - fitting)

    def block(self, title: str, commands: Sequence[str]) -> None:
        """Add lines to copy."""
        lines = [one_line(command) for command in commands]
        fence = "`" * max(3, longest_fence("".join(lines)) + 1)
        fitting = self._fitting(lines, 1_000)
        self.add("", title, "", f"{fence}sh", *lines[:fitting], fence)

    def parts(self, title: str, parts: Sequence[str]) -> None:
        """Add texts of several lines, each whole or not at all."""
        fitting = self._fitting(parts, 1_000)
        self.add("", f"### {title}")
        for part in parts[:fitting]:
            self.add("", part.rstrip())
        self._note(len(parts) - fitting)

    def _fitting(self, lines: Sequence[str], room: int) -> int:
        left = self._room - room - self._NOTE
        for number, line in enumerate(lines):
            left -= _size(line)
            if left < 0:
                return number
        return len(lines)

    def _note(self, missing: int) -> None:
        if missing:
            self.add("", f"and {missing:,} more; --json FILE keeps them all")


def _measured_fields(row: _Row) -> list[str]:
    return [row.change, *map(plain, row.times), plain(row.pairs)]


def _unknown_fields(row: _Row) -> list[str]:
    return [row.change, row.detectable, plain(row.judged.reason)]


def _any_fields(row: _Row) -> list[str]:
    return [row.judged.verdict, row.change, *map(plain, row.times), str(len(row.cell.effects))]


def _size(line: str) -> int:
    return len(line.encode()) + 1


# GitHub's annotations.


def workflow_commands(record: GateRecord, verdict: GateVerdict) -> list[str]:
    """Workflow commands for GitHub: errors for what is red, warnings for what is inconclusive, at most 10 of each."""
    if record.identical:
        return []
    found = _grouped(record, verdict)
    errors = [("fails with head", f"{row.cell.name}: {row.judged.reason}") for row in found.broken]
    errors += [
        (row.change, f"{row.cell.name}: {row.change}, {' → '.join(row.times)}, {row.pairs}") for row in found.slower
    ]
    if verdict.suite is not None and verdict.suite.verdict == "regression":
        errors.append(("suite as a whole", f"suite as a whole: {effect(verdict.suite.ratio)}"))
    if verdict.creep is not None and verdict.creep.verdict == "regression":
        errors.append(("creep", verdict.creep.reason))
    if verdict.verdict == "error" and not errors:
        errors.append(("error", verdict.reason))
    warnings = [("control rejects", verdict.reason)] if verdict.control_rejects else []
    warnings += [("not a fair pair", what) for what in record.unfair]
    warnings += [("inconclusive", f"{row.cell.name}: {row.judged.reason}") for row in found.unknown]
    return [*_annotated("error", errors), *_annotated("warning", warnings)]


def _annotated(kind: str, found: Sequence[tuple[str, str]]) -> Iterator[str]:
    shown = len(found) if len(found) <= ANNOTATIONS else ANNOTATIONS - 1
    for title, text in found[:shown]:
        yield f"::{kind} title={_property(f'bench-core gate: {title}')}::{_data(text)}"
    if shown < len(found):
        yield f"::{kind} title=bench-core gate::and {len(found) - shown} more; the job's summary lists them"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# JUnit.

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 does not allow, not even escaped."""


def junit(record: GateRecord, verdict: GateVerdict) -> str:
    """JUnit's XML: a test case a cell, one for the suite as a whole, and one for each that was left out."""
    suite = ElementTree.Element("testsuite", name="bench-core gate")
    properties = ElementTree.SubElement(suite, "properties")
    for name, text in (
        ("seed", str(record.settings.seed)),
        ("base", _version(record.base)),
        ("head", _version(record.head)),
        *((f"machine.{name}", text) for name, text in record.machine.items()),
        ("verdict", verdict.verdict),
        ("reason", verdict.reason),
    ):
        ElementTree.SubElement(properties, "property", name=_legal(name), value=_legal(text))
    for row in (_Row(*both) for both in zip(record.cells, verdict.cells, strict=True)):
        case = _case(suite, row.cell.name, row.cell.spent)
        if outcome := _outcome(row):
            ElementTree.SubElement(case, outcome, message=_legal(_message(row)), type=row.judged.verdict)
    for name, reason in record.left_out.items():
        ElementTree.SubElement(_case(suite, name), "skipped", message=_legal(reason), type="left out")
    if verdict.suite is not None:
        case = ElementTree.SubElement(suite, "testcase", classname="bench-core gate", name="suite", time="0.000")
        if verdict.suite.verdict == "regression":
            message = f"{effect(verdict.suite.ratio)}, {verdict.suite.reason}"
            ElementTree.SubElement(case, "failure", message=_legal(message), type="regression")
    if verdict.creep is not None:
        case = ElementTree.SubElement(suite, "testcase", classname="bench-core gate", name="creep", time="0.000")
        if verdict.creep.verdict == "regression":
            ElementTree.SubElement(case, "failure", message=_legal(verdict.creep.reason), type="regression")
    if verdict.verdict == "error" and suite.find("testcase/error") is None:
        case = ElementTree.SubElement(suite, "testcase", classname="bench-core gate", name="gate", time="0.000")
        ElementTree.SubElement(case, "error", message=_legal(verdict.reason), type="error")
    for attribute, path in (("tests", "."), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        cases = suite.findall("testcase" if path == "." else f"testcase/{path}")
        suite.set(attribute, str(len(cases)))
    suite.set("time", f"{record.seconds:.3f}")
    suite.set("timestamp", _legal(record.date))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, name: str, spent: float = 0.0) -> ElementTree.Element:
    owner = name.partition("(")[0].rpartition(".")[0] or "bench-core gate"
    rest = name.removeprefix(f"{owner}.")
    return ElementTree.SubElement(suite, "testcase", classname=_legal(owner), name=_legal(rest), time=f"{spent:.3f}")


def _outcome(row: _Row) -> str | None:
    if row.judged.verdict == "error":
        return "error" if row.cell.error_side == "head" else "skipped"
    return {"regression": "failure", "inconclusive": "skipped"}.get(row.judged.verdict)


def _message(row: _Row) -> str:
    if row.judged.verdict == "regression":
        return f"{row.change}, {' → '.join(row.times)}, {row.pairs}"
    return row.judged.reason


def _legal(text: str) -> str:
    return _ILLEGAL.sub("", text)
