"""`bench-core agree`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench_core.cli.options import CONFIG, MARKDOWN
from bench_core.cli.terminal import console, this_machine, write_page


@click.command(short_help="Compare our times with torch's own timer.")
@CONFIG
@MARKDOWN
@click.option("--cells", "count", default=12, show_default=True, type=click.IntRange(2), help="The number of cells.")
def agree(config: Path, markdown: Path | None, count: int) -> None:
    """Compare our times with those of torch.utils.benchmark, on cells from the fastest to over 10 ms.

    Both timers measure in turn. The exit code is 1 if the median ratio of a cell is not within 0.99 to 1.01.

    \b
    Example:
      bench-core agree --cells 6
    """
    from bench_core.asv_config import asv_config
    from bench_core.report import pages
    from bench_core.timing.cells import SuiteDirectory
    from bench_core.timing.pairs import agreement, pinned, spread_over_time
    from bench_core.timing.torch_timer import blocked_autorange

    out = console()
    suite = SuiteDirectory(asv_config(config).suite)
    cells = spread_over_time(suite.select(quick=True, params={"device": "cpu"}), count)
    rows = []
    with pinned():
        for row in agreement(cells, blocked_autorange):
            out.print(f"[dim]{row.cell}: {row.ratio.middle:.4f}[/]")
            rows.append(row)
    out.print()
    out.print(pages.agreement_table(rows))
    out.print(f"On {this_machine()}.")
    write_page(markdown, pages.agreement_page(rows, this_machine()))
    if not all(row.agrees for row in rows):
        sys.exit(1)
