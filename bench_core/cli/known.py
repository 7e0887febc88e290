"""`bench-core known`."""

from __future__ import annotations

from pathlib import Path

import click

from bench_core.cli.options import CONFIG, MARKDOWN, SEED, TIMEOUT, Duration
from bench_core.cli.terminal import console, report_left_out, this_machine, write_page


@click.command(short_help="Measure known slowdowns against faster ways.")
@CONFIG
@MARKDOWN
@click.option("--budget", type=Duration(), default="90s", show_default=True, help="Seconds of timing.")
@TIMEOUT
@SEED
def known(config: Path, markdown: Path | None, budget: float, timeout: float | None, seed: int | None) -> None:
    """Measure known slowdowns, each in turn with a faster way to do the same job.

    \b
    Example:
      bench-core known
    """
    from bench_core.records.run import LeftOut
    from bench_core.report import pages
    from bench_core.report.run_live import RunLive
    from bench_core.run.parents import measuring
    from bench_core.run.views import slowdowns
    from bench_core.timing.cells import SuiteDirectory

    out = console()
    suite = SuiteDirectory.configured(config)
    how = measuring(suite, suite.cells, budget, timeout, seed)
    out.print(f"Each slow cell is sampled in turn with its faster way, for up to {budget:.0f} s.")
    with RunLive(out) as live:
        found = slowdowns(suite, how, live.update)
    report_left_out(one for one in found if isinstance(one, LeftOut))
    rows = [one for one in found if not isinstance(one, LeftOut)]
    out.print()
    out.print(pages.slowdowns_table(rows))
    out.print(pages.SLOWDOWNS_LEGEND)
    out.print(f"On {this_machine()}.")
    write_page(markdown, pages.slowdowns_page(rows, this_machine(), budget))
