"""`bench-core gpu`."""

from __future__ import annotations

import contextlib
import sys
from datetime import datetime, timezone
from pathlib import Path

import click

from bench_core.cli.options import CONFIG
from bench_core.cli.terminal import complain, console, relative, report_suite, say
from bench_core.extras import require


@click.command(short_help="Time the quick profile on an accelerator.")
@click.argument("pattern", required=False)
@CONFIG
@click.option("--device", help="The accelerator, e.g. cuda. [default: the one that torch finds]")
def gpu(pattern: str | None, config: Path, device: str | None) -> None:
    """Time the quick profile on an accelerator: host and device time, bandwidth, and other timers for comparison.

    PATTERN is a regular expression that selects cells by their names.

    \b
    Example:
      bench-core gpu 'InPlace.*normal_'
    """
    from bench_core.asv_config import asv_config
    from bench_core.gpu import table as gpu_report
    from bench_core.gpu.protocol import run_gpu
    from bench_core.timing.cells import SuiteDirectory

    require("torch", "torch", what="`bench-core gpu`")
    out = console()
    with contextlib.closing(SuiteDirectory.configured(config)) as suite:
        report_suite(suite)
        record, path = run_gpu(
            suite,
            asv_config(config).results,
            date=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H%M"),
            device=device,
            pattern=pattern,
            progress=lambda line: say(line, err=True),
        )
    out.print(gpu_report.report(record))
    out.print(f"Stored in {relative(path)}")
    if not record.finished:
        complain("interrupted; what was measured before is stored.")
        sys.exit(130)
    if suite.broken or any(cell.failed for cell in record.not_timed):
        sys.exit(1)
