"""`bench-core run`."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import click

from bench_core.cli.options import CONFIG, PARAMS, PROFILE, chosen
from bench_core.cli.terminal import console, progress, relative, report_broken, show_file
from bench_core.errors import BenchCoreError
from bench_core.records.results import Circumstances


@click.command(short_help="Time cells with asv.")
@click.argument("pattern", required=False)
@CONFIG
@PROFILE
@PARAMS
@click.option("--machine", help="asv's name for this machine. [default: the host name]")
def run(pattern: str | None, config: Path, quick: bool, params: tuple[str, ...], machine: str | None) -> None:
    """Time the cells whose name matches PATTERN (a regular expression) with asv, in the installed environment.

    The results are stored in asv's results folder, under the current commit. The exit code is 1 if a benchmark failed,
    and 130 after Ctrl-C. Cells that were timed before Ctrl-C are stored.

    \b
    Example:
      bench-core run NotebookNet --quick
    """
    from bench_core.asv_config import asv_config
    from bench_core.results import asv_run
    from bench_core.timing.cells import SuiteDirectory

    out = console()
    suite = SuiteDirectory(asv_config(config).suite)
    report_broken(suite.broken)
    reasons = [(cell, cell.why_not) for cell in suite.select(pattern, quick=quick, params=chosen(params))]
    missing = Counter(reason for _, reason in reasons if reason)
    cells = [cell for cell, reason in reasons if reason is None]
    if not cells:
        raise BenchCoreError(f"none of the cells runs here: {'; '.join(missing)}.")
    commit, why_not = asv_run.commit_to_pin(config)
    if commit is None:
        out.print(
            f"[yellow]The results belong to no commit: {why_not}.[/] The cells are timed and shown, but asv publish "
            "and asv compare will not know them."
        )
    out.print(f"Timing {len(cells)} cells through asv ({'quick' if quick else 'full'} profile).")
    outcome = asv_run.run(
        config,
        suite,
        cells,
        commit=commit,
        machine=machine,
        attributes=asv_run.QUICK if quick else None,
        circumstances=circumstances(commit) if commit else None,
        progress=progress(out),
    )
    show_file(out, outcome.path, suite.declared, {cell.name for cell in cells})
    for reason, count in missing.items():
        out.print(f"n/a here: {count} cells, {reason}")
    for name, said in outcome.failed.items():
        click.echo(f"bench-core: {name} failed:\n{said.strip()}", err=True)
    stored = "stored" if commit else f"kept, outside the history ({why_not}),"
    out.print(
        f"{outcome.timed} cells {stored} in {relative(outcome.path)}; `bench-core show` prints them.", markup=False
    )
    if outcome.interrupted:
        click.echo(
            f"bench-core: interrupted; {outcome.timed} of {len(cells)} cells were timed and are stored.", err=True
        )
        sys.exit(130)
    if outcome.failed or suite.broken:
        sys.exit(1)


def circumstances(commit: str) -> Circumstances:
    """The state of this machine, to be stored beside the results of `commit`."""
    from bench_core.doctor import machine
    from bench_core.doctor.findings import findings, stored

    here = machine.read()
    return Circumstances(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit,
        caches=here.caches or {},
        findings=tuple(stored(finding) for finding in findings(here)),
    )
