"""`bench-core gpu`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from bench_core.cli.options import CONFIG
from bench_core.cli.terminal import console, relative


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

    out = console()
    settings = asv_config(config)
    record, path = run_gpu(
        settings.suite,
        settings.results,
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H%M"),
        device=device,
        pattern=pattern,
        progress=lambda line: click.echo(line, err=True),
    )
    out.print(gpu_report.report(record))
    out.print(f"Stored in {relative(path)}")
    if not record.finished:
        click.echo("bench-core: interrupted; what was measured before is stored.", err=True)
        sys.exit(130)
    if any(cell.failed for cell in record.not_timed):
        sys.exit(1)
