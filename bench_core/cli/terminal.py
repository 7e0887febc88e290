"""Printing, and the files that commands write."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bench_core import clock
from bench_core.errors import BenchCoreError
from bench_core.files import write_whole
from bench_core.records.run import LeftOut


def console() -> Console:
    """Standard output. In a log, lines and tables are wrapped at 160 columns, so that a search finds whole lines."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=max(160, found.width))


def say_to(out: Console) -> Callable[[str], None]:
    """A function that prints a line of minor importance."""
    return lambda line: out.print(line, markup=False, style="dim", soft_wrap=True)


def report_left_out(found: Iterable[LeftOut]) -> None:
    for one in found:
        click.echo(f"bench-core: left out: {one.source}: {one.reason}", err=True)


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


def report_broken(broken: Any) -> None:
    for module in broken:
        click.echo(f"bench-core: {module.name} does not import and is left out: {module.error}", err=True)


def show_file(out: Console, path: Path, declared: Any = None, names: Collection[str] | None = None) -> None:
    from bench_core.report import table
    from bench_core.results.read import read

    file = read(path, declared)
    out.print()
    out.print(table.results(file, names))
    out.print()
    out.print(table.legend())
    out.print(f"On {table.described(file.machine)}; commit {(file.commit or 'none')[:10]}.")
    unsure = table.unsure(file, names)
    if unsure:
        out.print(f"{unsure} times are uncertain by over 10 %: `bench-core doctor` lists what disturbs them.")
    for name in file.failed:
        if names is None or name in names:
            out.print(f"[red]failed:[/] {name}")


def this_machine() -> str:
    """A description of this machine in one line."""
    from bench_core.report.table import described
    from bench_core.results.asv_run import description

    return described(description())


def progress(out: Console) -> Callable[[str, float], None]:
    """A function that prints a line for each benchmark: the share that is done, and the remaining time."""
    started = clock.host()
    done = 0.0

    def advance(name: str, share: float) -> None:
        nonlocal done
        done += share
        spent = clock.host() - started
        left = spent * max(0.0, 1 - done) / done
        out.print(f"[dim]{100 * done:4.0f} %  {spent:4.0f} s, about {left:3.0f} s left[/]  {name}")

    return advance


def relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
