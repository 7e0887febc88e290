"""`bench-core bisect`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from bench_core.asv_config import naming
from bench_core.cli.gate import gate_settings, requested
from bench_core.cli.options import CONFIG, OUTPUT, Duration
from bench_core.cli.terminal import console, write_page
from bench_core.errors import BenchCoreError, require_writable
from bench_core.records.gate import GateRecord


@click.command()
@click.argument("good")
@click.argument("bad")
@click.argument("cell")
@CONFIG
@click.option("--budget", type=Duration(), help="Time for measuring each commit, at most. [default: 50s]")
@click.option("--lanes", type=click.IntRange(1), default=None, help="Cores that measure at once. [default: at most 2]")
@click.option("--seed", type=click.IntRange(1), default=None, help="What every order is drawn from. [default: drawn]")
@click.option("--timeout", type=Duration(), default="60s", show_default=True, help="When a silent worker hangs.")
@click.option("--fresh", is_flag=True, help="Forget what earlier searches and gates found out about these commits.")
@click.option("--json", "json_file", type=OUTPUT, help="Write what was found out of each commit.")
def bisect(good: str, bad: str, cell: str, json_file: Path | None, **options: Any) -> None:
    """Find the commit between GOOD and BAD that made CELL slower.

    CELL is a name as `bench-core list` prints it. Each commit is compared with GOOD until it is clear on which side of
    the change it is; one that does not build, or in which the cell fails, is skipped. After Ctrl-C, the same command
    goes on.
    """
    from bench_core.codec import to_json
    from bench_core.gate import bisect as search
    from bench_core.gate.measure.supervise import interruptible
    from bench_core.gate.session import Request
    from bench_core.report import bisect as report
    from bench_core.report.gate_live import Live
    from bench_core.results.asv_run import description

    if json_file is not None:
        require_writable(json_file.absolute().parent)
    click.get_current_context().with_resource(interruptible())
    out = console()
    unasked = {**dict.fromkeys(("force", "resume", "instructions"), False), "versus": None, "creep": None}
    asked = requested({**options, **unasked, "pattern": None, "quick": False})
    settings = gate_settings({**options, "noise_floor": 0.01, "limit": 0.05, "start": "fork"})

    def measure(session: Any) -> GateRecord:
        if session.found is None or not out.is_terminal:
            return search.measured(session)
        with Live(out, [cell], session.settings, len(session.found.cells)) as live:
            record: GateRecord = session.measure(live.update)
            return record

    try:
        found = search.bisect(
            Request(base=good, head=bad, settings=settings, **asked),
            cell,
            description(),
            lambda line: out.print(line, markup=False, style="dim", soft_wrap=True),
            measure,
        )
    except KeyboardInterrupt:
        click.echo("bench-core: interrupted; the same command goes on from what is known.", err=True)
        sys.exit(130)
    except OSError as error:  # a full disk, most likely
        raise BenchCoreError(
            f"the search cannot go on: {error}. Once that is mended, the same command goes on from what is known."
        ) from error
    out.print(report.summary(found, naming(asked["config"])), crop=False, soft_wrap=True)
    content = {"schema": 1, **to_json(found)}
    write_page(json_file, json.dumps(content, indent=1, allow_nan=False) + "\n" if json_file else "")
