"""What `bench-core model` prints: the model, a waterfall of the ways to start it up, the code to copy, the jobs on its
parameters, and advice.

The stages of a bar differ by their letters, and by colour where there is any, so that a log can be read too.
"""

from __future__ import annotations

import ast
import math
import statistics
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from string import ascii_lowercase

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench_core import tables, units
from bench_core.analysis.models import Job, Placed, Ranked, RankedCall, T, name_of, rank_calls
from bench_core.errors import brief
from bench_core.extras import installed
from bench_core.records.model import Idiom, ModelLayout, ModelRecord, Stage, Way
from bench_core.report.table import described

TITLES = {"load": "Load a checkpoint", "initialize": "Initialize a new model"}
"""The jobs of starting up, in words."""

COLOURS = {
    "construct": "cyan",
    "initialize": "blue",
    "read": "yellow",
    "load": "green",
    "finish": "magenta",
    "move": "red",
}
"""The colour of each stage. A stage of another name is white."""

SHOWN = 3
"""The most names that a line of the head lists."""

WIDEST = 60
"""The most columns of the longest bar."""

LEFT_OUT = {"±": 20, "of limit": 20, "peak": 16, "vs best": 16}
"""The figures that a narrow window loses, in this order: each if the longest bar would have fewer columns."""

GAP = 2
"""The columns between two others."""

MARK = 1 + GAP
"""The columns of a mark."""


def summary(record: ModelRecord, ranked: Ranked, advice: Sequence[str], command: str) -> RenderableType:
    """Everything, for the terminal. Print it with ``crop=False``, so that code is not cut.

    Args:
        ranked: what `bench_core.analysis.models.ranked` returns for the record.
        advice: a sentence each, the most useful first.
        command: prints the record again.
    """
    return Group(
        *head(record),
        *_start(ranked.start, command),
        *_access(ranked.access),
        *_ranks(record),
        *_advice(advice),
        *(_line("Note: ", note, "yellow") for note in record.notes),
        *_foot(record),
    )


def head(record: ModelRecord) -> Iterator[RenderableType]:
    """The model in one line, and what its start-up must not lose in another one each."""
    first, *others = model_lines(record)
    yield Text.assemble((brief(record.spec.target), "bold"), first)
    yield from (_line("", other, "") for other in others)


def model_lines(record: ModelRecord) -> Iterator[str]:
    """What the model is, after its name; then its ties, its buffers and its lazy parameters, if it has any."""
    layout, spec = record.layout, record.spec
    kinds = units.listed([brief(name) for name in layout.dtypes])
    yield (
        f" on {brief(spec.device)}: {layout.elements:,} elements in {units.plural(layout.parameters, 'parameter')}, "
        f"{units.size(layout.bytes)}{f' of {kinds}' if kinds else ''}."
    )
    yield from _particulars(layout)


def _particulars(layout: ModelLayout) -> Iterator[str]:
    if layout.largest:
        yield f"largest: {brief(layout.largest)}, {units.size(layout.largest_bytes)}."
    if layout.ties:
        ties = shortened([" = ".join(map(brief, names)) for names in layout.ties])
        yield f"tied: {ties}, which saves {units.size(layout.tied_bytes)}."
    if layout.non_persistent:
        names = shortened([brief(name) for name in layout.non_persistent])
        yield f"in no checkpoint: {len(layout.non_persistent)} of {units.plural(layout.buffers, 'buffer')} ({names})."
    if layout.lazy:
        names = shortened([brief(name) for name in layout.lazy])
        yield f"lazy: {units.plural(len(layout.lazy), 'parameter')}, with shapes from the first input ({names})."


def shortened(names: Sequence[str]) -> str:
    """The first names, and the number of the others."""
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return units.listed([*names[:SHOWN], *more])


def _start(jobs: Sequence[Job[Way]], command: str) -> Iterator[RenderableType]:
    """The waterfalls of all jobs, and the code of the fastest ways."""
    if jobs:
        yield Waterfalls(jobs)
    for job in jobs:
        yield from code(job, command)


def initials(stages: Iterable[str]) -> dict[str, str]:
    """A letter for each stage, in the order of a start-up: the first letter of its name that no other stage has."""
    letters: dict[str, str] = {}
    for name in sorted(set(stages), key=lambda name: list(COLOURS).index(name) if name in COLOURS else len(COLOURS)):
        free = (letter for letter in f"{name}{ascii_lowercase}" if letter.isascii() and letter.isalpha())
        letters[name] = next((letter for letter in free if letter not in letters.values()), "?")
    return letters


class Waterfalls:
    """For each job its ways, a line each: the name, a bar of its stages, and figures, as many as the window has room
    for. All bars are on one time scale."""

    def __init__(self, jobs: Sequence[Job[Way]]) -> None:
        self._jobs = jobs
        placed = [one for job in jobs for one in job.placed]
        self._slowest = max((one.seconds.middle for one in placed), default=0.0)
        self._letters = initials(stage.name for one in placed for stage in one.of.stages)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        figures = {name_of(one.of): _figures(one, job) for job in self._jobs for one in job.placed}
        columns = {
            name: max(len(name), *(each[name].cell_len for each in figures.values()))
            for name in COLUMNS
            if any(each[name].plain for each in figures.values())
        }
        names = max((Text(brief(one.of.name)).cell_len for job in self._jobs for one in job.placed), default=0)
        label = min(names, options.max_width * 2 // 5)
        room = options.max_width - MARK - label - GAP - sum(width + GAP for width in columns.values())
        wanted, left_out = options.max_width + max(0, max(LEFT_OUT.values()) - room), []
        for name, narrowest in LEFT_OUT.items():
            if room < narrowest and name in columns:
                room += columns.pop(name) + GAP
                left_out.append(name)
        bar = max(1, min(WIDEST, room))
        for job in self._jobs:
            yield Text()
            yield Text(TITLES.get(job.name, brief(job.name)), style="bold italic")
            if job.placed:
                yield self._table(job, figures, label, bar, columns)
            else:
                yield Text("  No way has a time.", style="yellow")
            yield from told(job)
            yield from laws(job)
        if self._letters:
            yield Text()
            yield self._legend(bar, columns)
        if left_out:
            yield Text(f"A window of {wanted} columns also has {units.listed(left_out)}.", style="dim")

    def _table(
        self,
        job: Job[Way],
        figures: Mapping[str, Mapping[str, Text]],
        label: int,
        bar: int,
        columns: Mapping[str, int],
    ) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, GAP, 0, 0))
        table.add_column(width=1)
        table.add_column(width=label, overflow="fold")
        table.add_column(width=bar, no_wrap=True)
        for name, width in columns.items():
            table.add_column(name, width=width, justify="right", no_wrap=True)
        for one in job.placed:
            mark, style = marked(one, job)
            table.add_row(
                Text(mark, style=style),
                Text(brief(one.of.name), style=style),
                self._bar(one, bar),
                *(figures[name_of(one.of)][column] for column in columns),
            )
        return table

    def _bar(self, one: Placed[Way], width: int) -> Text:
        bar = Text()
        for stage, columns in cut(one.of.stages, one.seconds.middle, self._slowest, width):
            bar.append(self._letters[stage.name] * columns, _style(stage.name))
        return bar

    def _legend(self, bar: int, columns: Collection[str]) -> Text:
        found = Text(style="dim")
        for name, letter in self._letters.items():
            found.append(letter, _style(name))
            found.append(f" {brief(name)}  ")
        found.append(f"A letter is {units.time(self._slowest / bar, 2)}. ")
        found.append(
            "*: the fastest correct way; =: cannot be told from it; x: wrong; ~: a time that is extrapolated, "
        )
        found.append("or a ratio without an interval.")
        if "of limit" in columns:
            found.append(" of limit: the least time that the bytes need on this machine, as a share of the time.")
        return found


LEAST_SHARE = 0.0005
"""A smaller share of the limit is not shown: it would read 0.0 %."""

COLUMNS = ("time", "±", "vs best", "peak", "of limit")
"""The figures of a way."""


def _figures(one: Placed[Way], job: Job[Way]) -> dict[str, Text]:
    peak = statistics.median(one.of.peak_bytes) if one.of.peak_bytes else math.nan
    texts = (
        f"{'~' if one.of.law else ''}{units.time(one.seconds.middle)}",
        units.uncertainty(one.seconds),
        standing(one, job),
        "" if math.isnan(peak) else units.size(peak),
        units.share(one.share) if one.share >= LEAST_SHARE else "",
    )
    return {name: Text(text) for name, text in zip(COLUMNS, texts, strict=True)}


def _style(stage: str) -> str:
    return f"black on {COLOURS.get(stage, 'white')}"


def cut(stages: Sequence[Stage], seconds: float, slowest: float, width: int) -> list[tuple[Stage, int]]:
    """The stages of a way with the columns of each. The whole bar is as long as its time, and at least a column."""
    times = [statistics.median(stage.seconds) for stage in stages]
    together = math.fsum(times)
    if not together > 0:
        return []
    columns = max(1, round(width * seconds / slowest))
    ends = [round(columns * math.fsum(times[: place + 1]) / together) for place in range(len(times))]
    found = [(stage, end - begin) for stage, begin, end in zip(stages, [0, *ends], ends, strict=False)]
    if columns == 1:
        return [(max(zip(times, stages, strict=True), key=lambda pair: pair[0])[1], 1)]
    return found


def marked(one: Placed[T], job: Job[T]) -> tuple[str, str]:
    """The mark of a way, and its style."""
    if one.of.wrong:
        return "x", "red"
    if not one.tied or not one.ratio.known:
        return " ", ""
    return ("*", "green") if job.alone else ("=", "green")


def standing(one: Placed[T], job: Job[T]) -> str:
    """The place of a way: ``1st``, ``1st=``, ``2.00x``, ``~2.00x`` without an interval, or ``wrong``."""
    if one.of.wrong:
        return "wrong"
    if not one.ratio.known:
        return f"~{units.ratio(one.ratio.middle)}"
    if one.tied:
        return "1st" if job.alone else "1st="
    return units.ratio(one.ratio.middle)


def laws(job: Job[Way]) -> Iterator[RenderableType]:
    """Which times are extrapolated, and by which law."""
    for names, law in together((one.of.name, one.of.law) for one in job.placed):
        yield _line(f"~ {names}: ", law, "yellow")


def told(job: Job[T], of: str = "") -> Iterator[RenderableType]:
    """Why ways are wrong or missing, those with the same reason together.

    Args:
        of: the job, which is named too.
    """
    wrong = together((one.of.name, one.of.wrong) for one in job.placed)
    missing = together((one.name, one.why_not) for one in job.missing)
    yield from (_line(f"x {f'{of} ({names})' if of else names}: ", why, "red") for names, why in wrong)
    yield from (_line(f"- {f'{of} ({names})' if of else names}: ", why, "dim") for names, why in missing)


def together(reasons: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The names that have the same reason, and the reason. Names without one are left out."""
    by_reason: dict[str, list[str]] = {}
    for name, why in reasons:
        if why:
            by_reason.setdefault(why, []).append(brief(name))
    return [(units.listed(names), why) for why, names in by_reason.items()]


def _line(name: str, text: str, style: str) -> RenderableType:
    return Padding(Text.assemble((name, style), text), (0, 0, 0, 2), expand=False)


def definitions(code: str) -> int:
    """The number of lines up to the end of the last function or class that code defines; 0 without any, and for what is
    no Python code."""
    try:
        parts = ast.parse(code.strip("\n")).body
    except (SyntaxError, ValueError, RecursionError):
        return 0
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return max((part.end_lineno or 0 for part in parts if isinstance(part, kinds)), default=0)


def code(job: Job[Way], command: str) -> Iterator[RenderableType]:
    """The fastest correct way as code, with what it needs, if it is certainly faster than the plain way. Functions and
    classes that the code defines are left out.

    Args:
        command: prints the record again.
    """
    best = job.best
    if best is None or not job.gains or not best.of.code:
        return
    yield Text()
    yield Text.assemble(
        (f"{TITLES.get(job.name, brief(job.name))}{gain(job)}: ", "bold"), brief(best.of.title or best.of.name)
    )
    whole = best.of.code.strip("\n").split("\n")
    steps = "\n".join(whole[definitions(best.of.code) :]).strip("\n").split("\n")
    for line in steps:
        yield Text(f"    {line}", no_wrap=True, overflow="ignore", style="cyan")
    if len(steps) < len(whole):
        yield Text(f"  The whole code, {len(whole)} lines with the functions that it uses, is printed by:", style="dim")
        yield Text(f"    {command} --code {job.name}", no_wrap=True, overflow="ignore", style="dim")
    yield from (_line("needs: ", need, "yellow") for need in best.of.needs)


def gain(job: Job[Way]) -> str:
    """`` 17x (16 to 18) as fast as eager_copy``; "" if nothing is gained for certain."""
    if job.plain is None or not job.saves.low > 1:
        return ""
    return f" {units.estimate(job.saves)} as fast as {brief(job.plain.of.name)}"


def _access(jobs: Sequence[Job[Idiom]]) -> Iterator[RenderableType]:
    """A line for each job: its fastest correct idiom, and how much longer the others take."""
    if not jobs:
        return
    yield Text()
    yield Text("Jobs on the parameters", style="bold italic")
    columns = {"": "l", "fastest": "l", "time": "r", "the others take": "l"}
    table = tables.terminal("".join(columns.values()), list(columns))
    for job in jobs:
        if job.placed:
            fields = _fields(job)
            table.add_row(*(fields[column] for column in columns))
    yield Padding(table, (0, 0, 0, 2), expand=False)
    for job in jobs:
        yield from told(job, brief(job.name))


def _fields(job: Job[Idiom]) -> dict[str, Text]:
    best = job.best
    sure = "green" if job.alone else ""
    return {
        "": Text(brief(job.name)),
        "fastest": Text("none is right", style="red") if best is None else Text(brief(best.of.name), style=sure),
        "time": Text("" if best is None else units.time(best.seconds.middle)),
        "the others take": Text(others(job)),
    }


def others(job: Job[Idiom]) -> str:
    """``loop 3.10x, two_state_dicts 12x``: those that are not the fastest, and not wrong."""
    rest = (one for one in job.placed if one is not job.best and not one.of.wrong)
    return ", ".join(
        f"{brief(one.of.name)} {'as long' if one.tied and one.ratio.known else standing(one, job)}" for one in rest
    )


def _ranks(record: ModelRecord) -> Iterator[RenderableType]:
    """A line for each call in which every rank takes part."""
    if not record.ranks:
        return
    yield Text()
    yield Text("Sharded: the time is that of the slowest rank after a barrier", style="bold italic")
    table = tables.terminal("lrrrrr", ["", "ranks", "time", "±", "spread", "peak a rank"])
    for call in rank_calls(record):
        table.add_row(Text(brief(f"{call.of.job}.{call.of.name}")), str(call.of.ranks), *call_figures(call))
    yield Padding(table, (0, 0, 0, 2), expand=False)
    for names, why in together((f"{one.job}.{one.name}", one.why_not) for one in record.ranks):
        yield _line(f"- {names}: ", why, "dim")
    for name, said in rank_remarks(record).items():
        yield _line(f"- {brief(name)}: ", " ".join(f"{sentence.rstrip('.')}." for sentence in said), "dim")


def rank_remarks(record: ModelRecord) -> dict[str, list[str]]:
    """What is said of each call of ranks: its note with the most ranks, and how it grows with their number."""
    said: dict[str, list[str]] = {}
    for one in sorted(record.ranks, key=lambda one: one.ranks, reverse=True):
        if one.note:
            said.setdefault(f"{one.job}.{one.name}", [one.note])
    if record.ranks and installed("report", "numpy"):  # a law is fitted with it; the times are shown without
        from bench_core.analysis.rank_growth import rank_growths

        for grown in rank_growths(record.ranks):
            said.setdefault(f"{grown.job}.{grown.name}", []).append(grown.sentence)
    return said


def call_figures(call: RankedCall) -> tuple[str, str, str, str]:
    """The time of a call, its uncertainty, the spread over the ranks, and the largest peak of memory."""
    peak = max(call.of.peak_bytes, default=math.nan)
    return (
        units.time(call.seconds.middle),
        units.uncertainty(call.seconds),
        units.signed_percent(call.spread),
        "" if math.isnan(peak) else units.size(peak),
    )


def _advice(advice: Sequence[str]) -> Iterator[RenderableType]:
    if not advice:
        return
    yield Text()
    yield Text("Advice", style="bold italic")
    yield from (_line("- ", sentence, "green") for sentence in advice)


def _foot(record: ModelRecord) -> Iterator[Text]:
    yield Text()
    for sentence in circumstances(record):
        yield Text(sentence, style="dim")


def circumstances(record: ModelRecord) -> Iterator[str]:
    """Where and how it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    known = {name.lower() for name in record.versions}
    yield f"On {described({name: each for name, each in record.machine.items() if name not in known})}; {versions}."
    limits = units.joined(
        f"writes {units.rate(record.write_limit, 'B/s')}" if record.write_limit else None,
        f"copies {units.rate(record.copy_limit, 'B/s')} (read and written)" if record.copy_limit else None,
    )
    counts = sorted({len(way.seconds) for way in record.ways if way.stages})
    processes = f", {counts[0]} to {counts[-1]} processes for each way" if counts else ""
    if len(counts) == 1:
        processes = f", {units.plural(counts[0], 'process', 'processes')} for each way"
    ended = ", interrupted" if record.interrupted else ""
    yield f"Measured {record.date[:16].replace('T', ' ')} UTC in {record.seconds:.0f} s{ended}{processes}."
    if limits:
        yield f"At the size of this model, this machine {limits}."
