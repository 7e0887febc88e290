"""`bench-core list`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import click

from bench_core import texts
from bench_core.cli.options import CONFIG, PARAMS, PROFILE, chosen
from bench_core.cli.terminal import report_suite, say
from bench_core.errors import brief


@click.command("list", short_help="List the cells, and why some cannot run here.")
@click.argument("pattern", required=False)
@CONFIG
@PROFILE
@PARAMS
@click.option("--runnable", is_flag=True, help="Leave out the cells that cannot run here.")
def list_cells(pattern: str | None, config: Path, quick: bool, params: tuple[str, ...], runnable: bool) -> None:
    """List the cells whose name matches PATTERN (a regular expression), and why some cannot run here.

    What cannot be used is named with its cause on standard error, and the exit code is then 1. A name of over 200
    characters is cut; PATTERN may be such a name.

    \b
    Example:
      bench-core list 'InPlace.*normal_' --param device=cpu
    """
    from bench_core.timing.cells import SuiteDirectory

    suite = SuiteDirectory.configured(config)
    report_suite(suite)
    reasons = Counter[str]()
    cells = suite.select(pattern, quick=quick, params=chosen(params))
    for cell in cells:
        reason = cell.why_not
        if reason:
            reasons[reason] += 1
        if not (reason and runnable):
            title = f"  ({brief(cell.title)})" if cell.title else ""
            say(texts.line(f"{brief(cell.name)}{title}{f'  [n/a: {reason}]' if reason else ''}"))
    running = len(cells) - reasons.total()
    say(
        f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}, {running} of them {'runs' if running == 1 else 'run'} "
        "here.",
        err=True,
    )
    if suite.broken:
        sys.exit(1)
