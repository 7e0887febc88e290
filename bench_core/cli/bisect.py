"""`bench-core bisect`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench_core import codec
from bench_core.asv_config import naming
from bench_core.cli.gate import measured
from bench_core.cli.options import CONFIG, ENV, LANES, MODEL, OUTPUT, SEED, TIMEOUT, Duration, model_options, spec_of
from bench_core.cli.terminal import complain, console, say_to, write_page
from bench_core.errors import BenchCoreError
from bench_core.records.gate import GateRecord

if TYPE_CHECKING:
    from bench_core.gate.prepare import Prepared


@click.command()
@click.argument("good")
@click.argument("bad")
@click.argument("cell")
@CONFIG
@click.option("--model", metavar="TARGET", help=MODEL)
@model_options
@click.option("--budget", type=Duration(), help="The most time for measuring each commit. [default: 75s]")
@LANES
@SEED
@TIMEOUT
@ENV
@click.option("--fresh", is_flag=True, help="Discard the evidence of earlier searches and gates on these commits.")
@click.option("--json", "json_file", type=OUTPUT, help="Write the result for each commit.")
def bisect(
    good: str,
    bad: str,
    cell: str,
    config: Path,
    timeout: float,
    handed_on: tuple[str, ...],
    fresh: bool,
    json_file: Path | None,
    model: str | None,
    device: str | None,
    dtype: str | None,
    input: str | None,
    trust: bool,
    **settings: Any,
) -> None:
    """Find the commit between GOOD and BAD that made CELL slower, or larger.

    CELL is a name as `bench-core list` prints it. Each commit is compared with GOOD until its side of the change is
    clear. A commit that does not build, or in which the cell fails, is skipped. After Ctrl-C, the same command
    continues the search.

    \b
    Example:
      bench-core bisect v1.2 main 'initialization.NotebookNet.time_apply(cpu, my_init)'
    """
    from bench_core.gate import bisect as search
    from bench_core.gate.prepare import Choices, Request
    from bench_core.report import bisect as report
    from bench_core.results.asv_run import description
    from bench_core.watchdog import Watchdog
    from bench_core.workers.interrupt import interruptible

    ctx = click.get_current_context()
    ctx.with_resource(interruptible())
    ctx.with_resource(Watchdog())
    out = console()
    spec = spec_of(model, device=device, dtype=dtype, input=input, trust=trust)
    request = Request(
        config=config,
        base=good,
        head=bad,
        settings=Choices(**settings),
        fresh=fresh,
        timeout=timeout,
        written=() if json_file is None else (Path(os.path.realpath(json_file)),),
        handed_on=handed_on,
        model=spec,
    )

    def measure(prepared: Prepared) -> GateRecord:
        return measured(out, prepared, [cell]) if out.is_terminal else search.measured(prepared)

    try:
        found = search.bisect(request, cell, description(), say_to(out), measure)
    except KeyboardInterrupt:
        complain("interrupted; the same command continues the search.")
        sys.exit(130)
    except OSError as error:  # a full disk, most likely
        raise BenchCoreError(
            f"the search cannot go on: {error}. Fix this, then run the same command again: it continues the search."
        ) from error
    options = [*([] if spec is None else spec.options), *request.asked.options, *naming(config)]
    out.print(report.summary(found, options), crop=False, soft_wrap=True)
    content = {"schema": 1, **codec.to_json(found)}
    write_page(json_file, json.dumps(content, indent=1, allow_nan=False) + "\n")
