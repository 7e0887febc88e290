"""What all commands share: the terminal, and options."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from rich.console import Console

from bench_core.asv_config import USUAL
from bench_core.errors import BenchCoreError
from bench_core.records import LeftOut

CONFIG = click.option(
    "--suite",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=USUAL,
    show_default=True,
    help="The asv configuration that names the suite.",
)


def console() -> Console:
    """Standard output. Where it is no terminal, lines and tables keep their width instead of being squeezed into 80
    columns: who searches a log wants what belongs together in one line."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=max(160, found.width))


def report_left_out(found: Iterable[LeftOut]) -> None:
    for one in found:
        click.echo(f"bench-core: left out: {one.source}: {one.reason}", err=True)


def write_page(path: Path | None, text: str) -> None:
    if path is not None:
        try:
            path.write_text(text)
        except OSError as error:
            raise BenchCoreError(f"{path} cannot be written: {error.strerror}.") from error
