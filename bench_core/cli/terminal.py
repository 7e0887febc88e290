"""Printing, and the files that commands write."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click
from rich.console import Console, Group
from rich.text import Text

from bench_core import texts
from bench_core.cli.outlet import Outlet, Terminal
from bench_core.errors import BenchCoreError, brief
from bench_core.files import write_whole
from bench_core.records.run import LeftOut

if TYPE_CHECKING:
    from bench_core.analysis.table import Row
    from bench_core.records.results import ResultFile
    from bench_core.records.rounds import Rounds
    from bench_core.timing.cells import SuiteDirectory


IN_ASCII = {
    "±": "+-",
    "…": "...",
    "µ": "u",
    "→": "->",
    "\u00d7": "x",
    "·": "*",
    "√": "sqrt",
    "²": "^2",
    "\u2013": "-",
    "\u2014": "-",
}
"""What we write in place of a character that the output cannot hold. Others are written as Python escapes."""


def hold_everything(*outputs: TextIO) -> None:
    """Write in other letters what an output cannot hold, as with LANG=C, instead of failing."""

    def replaced(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        one = error.object[error.start]
        other = IN_ASCII.get(one) or one.encode("ascii", "backslashreplace").decode()
        return other, error.start + 1

    codecs.register_error("bench-core", replaced)
    for output in outputs:
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="bench-core")


def console() -> Console:
    """Standard output. In a log, lines and tables are wrapped at 160 columns, so that a search finds whole lines, or at
    the number in ``COLUMNS``."""
    found = Terminal()
    is_chosen = found.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    return found if is_chosen else Terminal(width=max(160, found.width))


def say_to(out: Console) -> Callable[[str], None]:
    """A function that prints a line of minor importance."""
    return lambda line: out.print(line, style="dim", soft_wrap=True)


def say(text: str, *, err: bool = False) -> None:
    """Print text of one line or more, with what may be in it as text (`bench_core.texts.lines`)."""
    click.echo(texts.lines(text), err=err)  # noqa: TID251 - here the text is safe


def complain(text: str) -> None:
    """Print a message of one line on standard error. It begins with our name."""
    say(f"bench-core: {texts.line(text)}", err=True)


def say_command(command: str) -> None:
    """Print a command to a CI service, as `bench_core.texts.workflow_command` makes it. Everything else that looks like
    one is printed as text."""
    stream = for_commands()
    stream.write(f"{command}\n")
    stream.flush()


def for_commands() -> TextIO:
    """Standard output for commands to a CI service alone."""
    return sys.stdout.inner if isinstance(sys.stdout, Outlet) else sys.stdout


def say_page(text: str) -> None:
    """Print a page that is safe for its format, whole."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def report_left_out(found: Iterable[LeftOut]) -> None:
    for one in found:
        complain(f"left out: {brief(one.source)}: {one.reason}")


def write_page(path: Path | None, text: str) -> None:
    """Write a page, whole or not at all. Without a path, nothing is written.

    Raises:
        BenchCoreError: if it cannot be written. An existing file is then unchanged.
    """
    if path is None:
        return
    try:
        write_whole(path, text)
    except OSError as error:
        raise BenchCoreError(
            f"{path} cannot be written: {error.strerror}. Choose a file in a writable folder."
        ) from error


def report_suite(suite: SuiteDirectory) -> None:
    """Say what of a suite cannot be used, and how this environment differs from those of its configuration."""
    for note in suite.notes:
        complain(note)
    report_left_out(suite.left_out)
    for broken in suite.broken:
        complain(f"{brief(broken.name)} is left out: it {broken.reason}")


def report_damage(file: ResultFile) -> None:
    """Say what of the file beside a result file cannot be used."""
    from bench_core.results.rounds import beside

    report_left_out(LeftOut(str(relative(beside(file.path))), fault) for fault in file.damaged)


def write_pages(*pages: tuple[Path | None, str]) -> None:
    """Write pages as `write_page` does. One that cannot be written does not keep the others from being written.

    Raises:
        BenchCoreError: if any cannot be written.
    """
    errors = []
    for path, text in pages:
        try:
            write_page(path, text)
        except BenchCoreError as error:
            errors.append(str(error))
    if errors:
        raise BenchCoreError(" ".join(errors))


def show_results(
    out: Console,
    file: ResultFile,
    names: Collection[str] | None = None,
    families: Collection[str] = (),
) -> tuple[Row, ...]:
    """Print the table of a result file, and return its rows.

    Args:
        names: the cells to print; None for all.
        families: the families to print in full; empty for all.
    """
    from bench_core.report import table

    report_damage(file)
    rows = table.results(file, names)
    newest = max((row.cell.rounds for row in rows if row.cell.rounds), key=lambda run: run.date, default=None)
    out.print()
    out.print(table.printed(rows, families))
    out.print()
    out.print(Group(*table.legend(table.in_full(rows, families)).split("\n")))
    out.print(f"On {table.described(file.machine)}; commit {(file.commit or 'none')[:10]}.")
    if origin := table.origin(rows, file.runs):
        out.print(origin)
    out.print()
    for sentence in table.taken_home(rows, newest):
        out.print(sentence, soft_wrap=not out.is_terminal)
    for name in file.failed:
        if names is None or name in names:
            kind = ("infinite, so left out:", "yellow") if name in file.infinite else ("failed:", "red")
            out.print(Text.assemble(kind, " ", brief(name)), soft_wrap=True)
    return rows


def write_tables(rows: Sequence[Row], of: Rounds | ResultFile, json_file: Path | None, csv_file: Path | None) -> None:
    """Write a table as JSON and CSV.

    Raises:
        BenchCoreError: if one cannot be written.
    """
    from bench_core.report import table

    write_pages((json_file, table.as_json(rows, of)), (csv_file, table.as_csv(rows)))


def this_machine() -> str:
    """A description of this machine in one line."""
    from bench_core.report.table import described
    from bench_core.results.asv_run import description

    return described(description())


def relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
