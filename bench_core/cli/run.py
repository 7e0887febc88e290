"""`bench-core run`."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Set
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from bench_core import cores, units
from bench_core.asv_config import naming
from bench_core.cli.options import (
    CONFIG,
    CSV_TABLE,
    FAMILY,
    JSON_TABLE,
    PARAMS,
    PROFILE,
    SEED,
    TIMEOUT,
    Duration,
    FolderName,
    chosen,
    refuse_same,
    require_families,
)
from bench_core.cli.terminal import complain, console, relative, report_suite, show_results, write_tables
from bench_core.errors import BenchCoreError, brief
from bench_core.records.results import Circumstances

if TYPE_CHECKING:
    from bench_core.analysis.table import Row
    from bench_core.run.session import Finished, RunRequest
    from bench_core.timing.cells import Cell


@click.command(short_help="Time cells, the ways to do a job in turn.")
@click.argument("pattern", required=False)
@CONFIG
@PROFILE
@PARAMS
@click.option(
    "--budget",
    type=Duration(),
    help="Time for timing, e.g. 90s, 2m or 1h. [default: 17 s, and 0.2 s for each cell, but at least two rounds]",
)
@FAMILY
@JSON_TABLE
@CSV_TABLE
@click.option("--machine", type=FolderName(), help="asv's name for this machine. [default: the host name]")
@TIMEOUT
@SEED
def run(
    pattern: str | None,
    config: Path,
    quick: bool,
    params: tuple[str, ...],
    budget: float | None,
    families: tuple[str, ...],
    json_file: Path | None,
    csv_file: Path | None,
    machine: str | None,
    timeout: float | None,
    seed: int | None,
) -> None:
    """Time the cells whose name matches PATTERN (a regular expression), in the installed environment.

    All ways to do one job are sampled in turn, on one core, in several processes. The first round times every cell;
    further rounds go to those that are not yet precise, until the budget is used up. The results are stored in asv's
    results folder, under the current commit.

    The exit code is 1 if a benchmark failed or was not reached, and 130 after Ctrl-C. What was timed before Ctrl-C is
    stored and shown. If no cell has a value, nothing is stored.

    \b
    Example:
      bench-core run NotebookNet --quick
    """
    from bench_core.report.run_live import RunLive
    from bench_core.results import asv_run
    from bench_core.run.session import RunRequest
    from bench_core.run.session import run as measure
    from bench_core.timing.cells import SuiteDirectory
    from bench_core.watchdog import Watchdog

    click.get_current_context().with_resource(Watchdog())
    refuse_same(json=json_file, csv=csv_file)
    out = console()
    suite = SuiteDirectory.configured(config)
    report_suite(suite)
    for note in cores.notes():
        complain(note)
    cells, missing = runnable(suite.select(pattern, quick=quick, params=chosen(params)))
    require_families(families, {cell.benchmark.partition(".")[0] for cell in cells})
    commit, why_not = asv_run.commit_to_pin(config)
    request = RunRequest(config, suite, cells, commit, machine, budget, timeout, seed)
    announce(out, request, why_not, quick=quick)
    state = circumstances(commit) if commit else None
    with RunLive(out) as live:
        finished = measure(request, live.update)
    found = finished.rounds
    reached = {cell.name for cell in cells} - {*found.unreached, *found.skipped}
    rows = show(out, finished, request, reached, families, state)
    tell(out, finished, request, reached, missing, why_not)
    write_tables(rows, found, json_file, csv_file)
    if found.interrupted:
        sys.exit(130)
    if found.failed or found.unreached or suite.broken or finished.path is None:
        sys.exit(1)


def runnable(selected: Iterable[Cell]) -> tuple[list[Cell], Counter[str]]:
    """The cells that run here, and how many do not, by the reason.

    Raises:
        BenchCoreError: if none runs here.
    """
    reasons = [(cell, cell.why_not) for cell in selected]
    missing = Counter(reason for _, reason in reasons if reason)
    cells = [cell for cell, reason in reasons if reason is None]
    if not cells:
        raise BenchCoreError(f"none of the cells runs here: {'; '.join(missing)}.")
    return cells, missing


def announce(out: Console, request: RunRequest, why_not: str, *, quick: bool) -> None:
    """Print what is going to be timed, and for how long. `why_not` is why the results belong to no commit, or ""."""
    if request.commit is None:
        none = (f"The results belong to no commit: {why_not}.", "yellow")
        out.print(
            Text.assemble(none, " The cells are timed and shown, but asv publish and asv compare will not know them.")
        )
    profile = f" ({'quick' if quick else 'full'} profile)" if request.suite.has_profiles else ""
    longer = "" if request.budget else ", or as long as two rounds take"
    counted = units.plural(len(request.cells), "cell")
    out.print(f"Timing {counted}{profile} for up to {request.seconds:.0f} s{longer}.")


def show(
    out: Console,
    finished: Finished,
    request: RunRequest,
    reached: Set[str],
    families: tuple[str, ...],
    state: Circumstances | None,
) -> tuple[Row, ...]:
    """Print the table of what is stored, and store the state of the machine beside it, if there is one.

    Returns:
        The rows of the table; none if nothing is stored.
    """
    from bench_core.results.read import read
    from bench_core.results.store import append_circumstances

    if finished.path is None:
        return ()
    rows = show_results(out, read(finished.path, request.suite.declared), reached, families)
    if state is not None:
        append_circumstances(finished.path.parent, state)
    return rows


def tell(
    out: Console, finished: Finished, request: RunRequest, reached: Set[str], missing: Counter[str], why_not: str
) -> None:
    """Print what was not timed and why, what makes a comparison doubtful, and where the results are.

    Args:
        reached: the cells that were timed, or failed.
        missing: how many cells do not run here, by the reason.
        why_not: why the results belong to no commit, or "".
    """
    found = finished.rounds
    for reason, count in (missing + Counter(found.skipped.values())).items():
        out.print(f"n/a here: {units.plural(count, 'cell')}, {reason}")
    for note in found.notes:
        complain(note)
    for name, cause in found.failed.items():
        complain(f"{brief(name)} failed: {cause}")
    if found.unreached:
        complain(
            f"the time did not reach {len(found.unreached)} cells, such as {brief(found.unreached[0])}: a "
            "larger --budget would."
        )
    for advice in dict.fromkeys(map(request.suite.explain, found.failed.values())):
        if advice:
            complain(f"{advice}.")
    if finished.path is None:
        complain("no cell has a value, so nothing is stored.")
        return
    timed = len(reached - set(found.failed))
    stored = f"kept, outside the history ({why_not})," if why_not else "stored"
    counted, shown = units.plural(timed, "cell"), shlex.join(["bench-core", "show", *naming(request.config)])
    out.print(f"{counted} {stored} in {relative(finished.path)}; `{shown}` prints them.")
    if found.interrupted:
        everything = len(request.cells)
        complain(f"interrupted; {timed} of {everything} cells were timed and are stored.")


def circumstances(commit: str) -> Circumstances:
    """The state of this machine, to be stored beside the results of `commit`."""
    from bench_core.doctor import machine
    from bench_core.doctor.findings import findings, stored

    here = machine.read()
    return Circumstances(
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        commit=commit,
        caches=here.caches or {},
        findings=tuple(stored(finding) for finding in findings(here)),
    )
