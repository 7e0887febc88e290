"""`bench-core known`."""

from __future__ import annotations

from pathlib import Path

import click

from bench_core.cli.options import CONFIG, MARKDOWN
from bench_core.cli.terminal import console, this_machine, write_page
from bench_core.errors import BenchCoreError


@click.command(short_help="Measure known slowdowns against faster ways.")
@CONFIG
@MARKDOWN
def known(config: Path, markdown: Path | None) -> None:
    """Measure known slowdowns, each in turn with a faster way to do the same job.

    \b
    Example:
      bench-core known
    """
    from bench_core.asv_config import asv_config
    from bench_core.records.run import LeftOut
    from bench_core.report import pages
    from bench_core.timing.cells import SuiteDirectory
    from bench_core.timing.pairs import pinned, slowdowns

    out = console()
    out.print("Each pair of cells is set up seven times and sampled in turn. This takes about three minutes.")
    rows = []
    with pinned():
        for row in slowdowns(SuiteDirectory(asv_config(config).suite)):
            if isinstance(row, LeftOut):
                click.echo(f"bench-core: {row.source} is left out: {row.reason}", err=True)
                continue
            if out.is_terminal:  # for a person who waits; a log needs only the table
                out.print(f"{row.source}: {row.what}: {row.ratio.middle:.2f}x", markup=False, style="dim")
            rows.append(row)
    if not rows:
        raise BenchCoreError("this suite declares no known slowdown (see `reports` of bench_core.suite.Suite).")
    out.print()
    out.print(pages.slowdowns_table(rows))
    out.print(pages.SLOWDOWNS_LEGEND)
    out.print(f"On {this_machine()}.")
    write_page(markdown, pages.slowdowns_page(rows, this_machine()))
