"""A gate as Markdown: for a job's summary, or a comment on a pull request."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench_core.records.gate import GateRecord, GateVerdict
from bench_core.report import cause
from bench_core.report.gate.words import (
    LARGEST,
    LONGEST,
    Commands,
    Row,
    besides,
    circumstances,
    closing,
    explained_alone,
    grouped,
    passed,
    reproducing,
    version,
)
from bench_core.report.markup import code, longest_fence, one_line, plain

LARGEST_MARKDOWN = 60_000
"""Bytes. A comment on GitHub holds 65,536 characters, and a workflow may add some of its own."""


def markdown(record: GateRecord, verdict: GateVerdict, commands: Commands) -> str:
    """For a job's summary or a comment on a pull request; at most `LARGEST_MARKDOWN` bytes.

    Args:
        commands: as of `summary`.
    """
    if record.identical:
        return f"## bench-core gate: {verdict.verdict}\n\nidentical: {plain(record.identical)}\n"
    found = grouped(record, verdict)
    page = _Page(LARGEST_MARKDOWN)
    page.add(f"## bench-core gate: {verdict.verdict}", "", f"**{plain(verdict.reason)}**")
    page.add("", plain(circumstances(record)))
    if record.besides:
        page.add("", plain(besides(record)))
    if record.interrupted:
        page.add("", "Interrupted: this is what was measured until then.")
    if verdict.control_rejects:
        page.add("", "A control rejects: base was found to differ from itself, so no red of this gate can be believed.")
    page.table("Failing with head", ("cell", "error"), found.broken, lambda row: [code(row.judged.reason)])
    page.table("Slower", ("cell", "effect", "base", "head", "pairs"), found.slower, _measured_fields)
    alone = explained_alone(found, record)
    page.table(LARGEST, ("cell", "effect", "base", "head", "pairs"), alone, _measured_fields)
    reds = [reproducing(commands.gate, row.cell.name) for row in (found.broken + found.slower)[:LONGEST]]
    causes = record.causes
    if record.creep is not None and verdict.creep is not None:
        since, crept = f"since {version(record.creep.base)}", grouped(record.creep, verdict.creep)
        titles = ("cell", "effect", since.removeprefix("since "), "head", "pairs")
        page.table(f"Slower {plain(since)}", titles, crept.slower, _measured_fields)
        page.table(LARGEST, titles, explained_alone(crept, record.creep), _measured_fields)
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
        page.add("", f"{passed(found)}.")
    for text in closing(record, verdict, None):
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
        rows: Sequence[Row],
        fields_of: Callable[[Row], list[str]],
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


def _measured_fields(row: Row) -> list[str]:
    return [row.change, *map(plain, row.times), plain(row.pairs)]


def _unknown_fields(row: Row) -> list[str]:
    return [row.change, row.detectable, plain(row.judged.reason)]


def _any_fields(row: Row) -> list[str]:
    return [row.judged.verdict, row.change, *map(plain, row.times), str(len(row.cell.effects))]


def _size(line: str) -> int:
    return len(line.encode()) + 1
