"""`bench-core gate`: its options and its main steps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from bench_core.cli.gate.finish import Wanted, finished, replayed, self_tested
from bench_core.cli.gate.request import refuse_contradictions, refuse_others, requested
from bench_core.cli.options import (
    CONFIG,
    ENV,
    LANES,
    MODEL,
    OUTPUT,
    SEED,
    TIMEOUT,
    Duration,
    Percent,
    model_options,
    refuse_same,
)
from bench_core.cli.terminal import console, say_to
from bench_core.errors import BenchCoreError
from bench_core.records.gate import GateRecord

if TYPE_CHECKING:
    from bench_core.gate.prepare import Prepared


CREEP = "Also compare HEAD with an older revision, the past, to find small slowdowns that add up."
LIMIT = "A cell passes only if its slowdown is below this, such as 5%."
NOISE_FLOOR = "Ignore changes smaller than this, such as 1%."
ISOLATED = "HEAD may be a stranger's: confine it, take the benchmarks of BASE, and be --strict (SECURITY.md)."
SELF_TEST = "Plant +5 % in half of some cells and report whether the gate finds them."
START = click.Choice(["fork", "spawn"])


@click.command()
@click.argument("base", required=False)
@click.argument("head", required=False)
@CONFIG
@click.option(
    "--versus",
    nargs=2,
    metavar="A B",
    help="Compare two installs ('torch==2.11.0', a wheel) or two interpreters (paths). BASE is then the code on both "
    "sides.",
)
@click.option("--model", metavar="TARGET", help=MODEL)
@model_options
@click.option("--creep", metavar="PAST", help=CREEP)
@click.option("--bench", "pattern", metavar="REGEX", help="Only cells whose name matches this regular expression.")
@click.option("--quick/--full", default=None, help="The quick profile (default without --bench), or all cells.")
@click.option("--noise-floor", type=Percent(), default="1%", show_default=True, help=NOISE_FLOOR)
@click.option("--limit", type=Percent(), default="5%", show_default=True, help=LIMIT)
@click.option("--budget", type=Duration(), help="Time for measuring, e.g. 120s. [default: 75s, more for over 40 cells]")
@LANES
@SEED
@TIMEOUT
@click.option("--start", type=START, default="fork", show_default=True, help="How worker processes start.")
@click.option("--json", "json_file", type=OUTPUT, help="Write the gate with all effects (docs/gate-json.md).")
@click.option("--markdown", type=OUTPUT, help="Write a page for a job summary or a comment.")
@click.option("--junit", type=OUTPUT, help="Write JUnit XML.")
@click.option("--explain", is_flag=True, help="Find out why each regression is slower or larger.")
@click.option("--instructions", is_flag=True, help="Count the instructions of every timed cell. Needs valgrind.")
@ENV
@click.option("--isolated", is_flag=True, help=ISOLATED)
@click.option("--strict", is_flag=True, help="Exit with 3 if the gate is inconclusive, or a cell was not compared.")
@click.option("--all", "everything", is_flag=True, help="Measure all cells, also those that the change cannot reach.")
@click.option("--fresh", is_flag=True, help="Discard the evidence of earlier gates on these two versions.")
@click.option("--resume", is_flag=True, help="Continue an interrupted gate on these two versions.")
@click.option("--verbose", is_flag=True, help="Also list the cells that pass.")
@click.option("--replay", type=click.Path(path_type=Path), help="Judge a --json file again, without measuring.")
@click.option("--self-test", is_flag=True, help=SELF_TEST)
@click.pass_context
def gate(
    ctx: click.Context, /, base: str | None, head: str | None, replay: Path | None, self_test: bool, **options: Any
) -> None:
    """Report whether HEAD made any cell slower, or larger, than BASE.

    Without HEAD, the working tree is compared. With --versus, BASE or the working tree is the code on both sides.

    Both versions are sampled in turn on the same core until each cell is decided or the budget is used up. A second
    gate on the same two versions continues from the evidence of the first.

    Exit code 0: no regression. 1: a regression, or an error on HEAD. 2: the gate could not run. 3: inconclusive, with
    --strict. 70: a bug in bench-core. 130: interrupted.

    \b
    Example:
      bench-core gate main --quick --bench NotebookNet
    """
    names = {"explain", "instructions", "strict", "verbose", "json_file", "markdown", "junit", "config"}
    wanted = Wanted(**{name: options[name] for name in names} | {"strict": options["strict"] or options["isolated"]})
    refuse_same(json=wanted.json_file, markdown=wanted.markdown, junit=wanted.junit)
    if replay is not None:
        refuse_others(ctx, "--replay")
        sys.exit(replayed(replay, wanted))
    refuse_contradictions(base, head, options, self_test=self_test)
    if self_test:
        refuse_others(ctx, "--self-test")
    from bench_core.gate.prepare import prepare
    from bench_core.results.asv_run import description
    from bench_core.watchdog import Watchdog
    from bench_core.workers.interrupt import interruptible

    ctx.with_resource(interruptible())
    ctx.with_resource(Watchdog())
    out = console()
    request = requested(base, head, options, wanted.outputs, self_test=self_test)
    prepared = prepare(request, description(), say_to(out))
    if self_test and not (prepared.work and prepared.work.plants):
        raise BenchCoreError(
            "a self-test needs a cell whose time is measured: leave out --bench, or let it match a `time_` benchmark."
        )
    record = measured(out, prepared)
    sys.exit(self_tested(out, record, prepared) if self_test else finished(out, record, prepared, wanted))


def measured(out: Console, prepared: Prepared, families: list[str] | None = None) -> GateRecord:
    """Measure, and show the progress. `families` are named in the title; by default those of the cells."""
    from bench_core.gate.session import measure
    from bench_core.report.gate_live import Live

    if prepared.work is None or not prepared.work.found.cells:
        return measure(prepared, lambda progress: None)
    found = prepared.work.found
    named = list(dict.fromkeys(cell.family for cell in found.cells)) if families is None else families
    cells = len(found.cells) + (len(found.past.cells) if found.past else 0)
    with Live(out, named, prepared.settings, cells) as live:
        return measure(prepared, live.update)
