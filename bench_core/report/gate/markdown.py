"""Shows a gate as Markdown, for a job's summary or a comment on a pull request."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench_core import tables
from bench_core.errors import brief
from bench_core.records.gate import GateRecord, GateVerdict, JudgedCell
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
    pairs,
    passed,
    since,
    times,
    to_reproduce,
    undecided,
    worse,
)
from bench_core.texts import code, fenced, plain

LARGEST_MARKDOWN = 60_000
"""The most bytes of the page. A comment on GitHub holds 65,536 characters, and a workflow may add text to it."""


def markdown(record: GateRecord, verdict: GateVerdict, commands: GateCommands) -> str:
    """The page, of at most `LARGEST_MARKDOWN` bytes. `commands` measure the cells again."""
    if record.identical:
        return f"## bench-core gate: {verdict.verdict}\n\nidentical: {plain(record.identical)}\n"
    if record.untouched:
        return f"## bench-core gate: unaffected\n\n{plain(verdict.reason)}\n\n{plain(circumstances(record))}\n"
    found = grouped(verdict.cells)
    page = _Page(LARGEST_MARKDOWN)
    _add_head(page, record, verdict)
    page.table("Failing with head", ("cell", "error"), found.broken, _error_fields)
    _add_slower(page, "", "base", found, record)
    reproduced = to_reproduce(commands.gate, (found.broken + found.slower)[:LONGEST])
    causes = record.causes
    if record.past is not None and verdict.past is not None:
        title, past = since(record.past), grouped(verdict.past.cells)
        _add_slower(page, f" {plain(title)}", title.removeprefix("since "), past, record.past)
        reproduced += to_reproduce(commands.past, past.slower[:LONGEST])
        causes += record.past.causes
    if reproduced:
        page.block("To measure one of them alone:", reproduced)
    if causes:
        page.parts("Why", [cause.markdown(one) for one in causes[:LONGEST]])
    page.table(
        "Inconclusive",
        ("cell", "effect", "smallest detectable", "why"),
        (*found.unknown, *found.unreached),
        _unknown_fields,
    )
    page.table("Not compared", ("cell", "error"), found.failed, _error_fields)
    faster = better(found.faster).capitalize()
    page.table(faster, ("cell", "effect", "base", "head", "pairs"), found.faster, _measured_fields)
    if found.passed:
        page.add("", f"{passed(found)}.")
    for text in closing(record, verdict, None):
        page.add("", plain(text.strip()))
    if found.all:
        page.add("", "<details><summary>All cells</summary>")
        headings = ("cell", "verdict", "effect", "base", "head", "pairs")
        page.table("", headings, found.all, _any_fields, longest=len(found.all), room=len("\n</details>\n"))
        page.add("", "</details>")
    return page.text


def _add_head(page: _Page, record: GateRecord, verdict: GateVerdict) -> None:
    page.add(f"## bench-core gate: {verdict.verdict}", "", f"**{plain(headline(verdict))}**")
    page.add("", plain(circumstances(record)))
    if record.besides:
        page.add("", plain(besides(record)))
    if record.interrupted:
        page.add("", "Interrupted: this page shows what was measured before.")
    if verdict.control_differs:
        page.add("", CONTROL_DIFFERS)


def _add_slower(page: _Page, since: str, base: str, found: Groups, record: GateRecord) -> None:
    """Add the regressions; or, if only all cells together are slower, the explained cells. `since` is the end of the
    title."""
    headings = ("cell", "effect", base, "head", "pairs")
    page.table(f"{worse(found.slower).capitalize()}{since}", headings, found.slower, _measured_fields)
    page.table(LARGEST, headings, explained_alone(found, record), _measured_fields)


class _Page:
    """Lines of Markdown, as many as fit into `room` bytes."""

    _NOTE = 60  # the bytes of "and N more"

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
        cells: Sequence[JudgedCell],
        fields_of: Callable[[JudgedCell], list[str]],
        *,
        longest: int = LONGEST,
        room: int = 1_000,
    ) -> None:
        """Add a table of cells. It has at most `longest` rows, and leaves at least `room` bytes."""
        if not cells:
            return
        rows = ([code(brief(cell.name)), *fields_of(cell)] for cell in cells[:longest])
        head, rule, *shown = tables.markdown("l" * len(headings), headings, rows)
        self.add(*(["", f"### {title}"] if title else []), "", head, rule)
        fitting = self._fitting(shown, room)
        self.add(*shown[:fitting])
        self._note(len(cells) - fitting)

    def block(self, title: str, commands: Sequence[str]) -> None:
        """Add commands to copy."""
        opening, *lines, closing = fenced(commands, "sh")
        self.add("", title, "", opening, *lines[: self._fitting(lines, 1_000)], closing)

    def parts(self, title: str, parts: Sequence[str]) -> None:
        """Add texts of several lines. Each is added whole or not at all."""
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
            self.add("", f"and {missing:,} {MORE}")


def _measured_fields(cell: JudgedCell) -> list[str]:
    return [change(cell), *map(plain, times(cell)), plain(pairs(cell))]


def _error_fields(cell: JudgedCell) -> list[str]:
    return [code(cell.judgement.reason)]


def _unknown_fields(cell: JudgedCell) -> list[str]:
    return [plain(undecided(cell)), detectable(cell), plain(cell.judgement.reason)]


def _any_fields(cell: JudgedCell) -> list[str]:
    return [cell.verdict, change(cell), *map(plain, times(cell)), str(len(cell.evidence.effects))]


def _size(line: str) -> int:
    return len(line.encode()) + 1
