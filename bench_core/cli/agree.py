"""`bench-core agree`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench_core.cli.options import CONFIG, MARKDOWN, SEED, TIMEOUT, Count, Duration
from bench_core.cli.terminal import console, report_left_out, this_machine, write_page
from bench_core.errors import BenchCoreError
from bench_core.extras import require


@click.command(short_help="Compare our times with torch's own timer.")
@CONFIG
@MARKDOWN
@click.option("--cells", "count", default=12, show_default=True, type=Count(2), help="The number of cells.")
@click.option("--budget", type=Duration(), default="60s", show_default=True, help="Seconds of timing.")
@TIMEOUT
@SEED
def agree(
    config: Path, markdown: Path | None, count: int, budget: float, timeout: float | None, seed: int | None
) -> None:
    """Compare our times with those of torch.utils.benchmark, on cells from the fastest to over 10 ms.

    Both timers measure in turn, on one thread. The exit code is 1 if a cell certainly differs by more than 1 %.

    \b
    Example:
      bench-core agree --cells 6
    """
    from bench_core.records.run import LeftOut
    from bench_core.report import pages
    from bench_core.report.run_live import RunLive
    from bench_core.run.parents import measuring
    from bench_core.run.views import agreement, spread_over_time
    from bench_core.timing.cells import SuiteDirectory

    require("torch", "torch", what="`bench-core agree`")
    out = console()
    suite = SuiteDirectory.configured(config)
    here = [cell for cell in suite.select(quick=True) if cell.params.get("device", "cpu") == "cpu"]
    cells = spread_over_time(here, count)
    with RunLive(out) as live:
        how = measuring(suite, cells, budget, timeout, seed)
        found = agreement(cells, "torch.utils.benchmark", how, live.update)
    report_left_out(one for one in found if isinstance(one, LeftOut))
    rows = [one for one in found if not isinstance(one, LeftOut)]
    if not rows:
        raise BenchCoreError(
            "nothing was compared: this suite has no cell on the CPU that takes less than 0.1 s and can be called "
            "repeatedly on one thread."
        )
    out.print()
    out.print(pages.agreement_table(rows))
    out.print(f"On {this_machine()}.")
    write_page(markdown, pages.agreement_page(rows, this_machine()))
    if any(row.verdict == "differs" for row in rows):
        sys.exit(1)
