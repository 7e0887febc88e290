"""The command line. It may import everything and nobody imports it; it alone prints and exits."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bench_core import __version__, clock
from bench_core.cli.bisect import bisect
from bench_core.cli.compare import compare
from bench_core.cli.gate import gate
from bench_core.cli.report import report
from bench_core.cli.terminal import CONFIG, console, write_page
from bench_core.errors import BenchCoreError
from bench_core.results.store import Circumstances

PARAMS = click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only cells with this value of a parameter, e.g. device=cpu or size=8x4; may be repeated.",
)
PROFILE = click.option("--quick/--full", default=False, help="Only the few cells that tell most, or all (default).")


class Commands(click.Group):
    """Turns our errors into one line on standard error and an exit code; anything else is a bug and shows as one."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BenchCoreError as error:
            click.echo(f"bench-core: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:  # click would exit 1, which means a regression
            click.echo("bench-core: interrupted.", err=True)
            ctx.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bench-core")
def main() -> None:
    """What PyTorch parameter operations cost, and whether a change made them slower."""


main.add_command(gate)
main.add_command(bisect)
main.add_command(compare)
main.add_command(report)


@main.command("list")
@click.argument("pattern", required=False)
@CONFIG
@PROFILE
@PARAMS
@click.option("--runnable", is_flag=True, help="Leave out what cannot run here.")
def list_cells(pattern: str | None, config: Path, quick: bool, params: tuple[str, ...], runnable: bool) -> None:
    """Print the cells whose name holds the regular expression PATTERN, and why one cannot run here."""
    from bench_core.asv_config import asv_config
    from bench_core.timing.cells import SuiteDirectory

    suite = SuiteDirectory(asv_config(config).suite)
    report_broken(suite.broken)
    reasons = Counter[str]()
    cells = suite.select(pattern, quick=quick, params=chosen(params))
    for cell in cells:
        reason = cell.why_not
        if reason:
            reasons[reason] += 1
        if not (reason and runnable):
            click.echo(f"{cell.name}{f'  [n/a: {reason}]' if reason else ''}")
    running = len(cells) - reasons.total()
    click.echo(
        f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}, {running} of them {'runs' if running == 1 else 'run'} "
        "here.",
        err=True,
    )
    if suite.broken:
        sys.exit(1)


def chosen(params: tuple[str, ...]) -> dict[str, str]:
    for param in params:
        if "=" not in param:
            raise BenchCoreError(f"--param {param!r} is not NAME=VALUE, such as device=cpu.")
    return dict(param.split("=", 1) for param in params)


def report_broken(broken: Any) -> None:
    for module in broken:
        click.echo(f"bench-core: {module.name} does not import and is left out: {module.error}", err=True)


@main.command()
@click.argument("pattern", required=False)
@CONFIG
@PROFILE
@PARAMS
@click.option("--machine", help="asv's name for this machine; its default is the host name.")
def run(pattern: str | None, config: Path, quick: bool, params: tuple[str, ...], machine: str | None) -> None:
    """Time the cells whose name holds PATTERN through asv, in the environment that is installed here.

    The results go into asv's results folder under the current commit. Exit code 1 if a benchmark failed, 130 after
    Ctrl-C; what was timed until then is kept.
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
            f"[yellow]No commit to pin to: {why_not}.[/] The cells are timed and shown all the same; lost is their "
            "place in the history: asv publish and asv compare will not know them."
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
            f"bench-core: interrupted; {outcome.timed} of {len(cells)} cells were timed and are stored.",
            err=True,
        )
        sys.exit(130)
    if outcome.failed or suite.broken:
        sys.exit(1)


@main.command()
@click.argument("result", required=False)
@CONFIG
def show(result: str | None, config: Path) -> None:
    """Print the table of a RESULT: a file of asv's, a folder of them, or a commit.

    Of several, as of all without RESULT, it is the run measured last. A commit is named by the beginning of its hash,
    or as git knows it.
    """
    out = console()
    file = result_file(result, config)
    show_file(out, file)
    out.print(f"Stored in {relative(file)}", markup=False, soft_wrap=True)


def result_file(name: str | None, config: Path) -> Path:
    """The result file that a person means.

    Raises:
        BenchCoreError: if there is none.
    """
    from bench_core.analysis.compare import run_of
    from bench_core.asv_config import asv_config
    from bench_core.results.commits import resolved
    from bench_core.results.store import newest, read_store

    path = Path(name or "")
    if name is None:
        settings = asv_config(config)
        return newest(settings.results, outside=settings.outside)
    if path.is_dir():
        return newest(path)
    if path.exists() or path.suffix == ".json":
        return path
    return run_of(read_store(asv_config(config).results), name, resolve=lambda name: resolved(config, name)).path


@main.command()
@click.option("--markdown", is_flag=True, help="Only what goes into a bug report, ready to paste.")
def doctor(markdown: bool) -> None:
    """Say what on this machine disturbs timings, most important first, and what to do about it."""
    from bench_core.report import doctor as page
    from bench_core.timing import machine

    here = machine.read()
    if markdown:
        click.echo(page.markdown(here), nl=False)
    else:
        console().print(page.report(here))


@main.command()
@click.argument("pattern", required=False)
@CONFIG
@click.option("--device", help="The accelerator, e.g. cuda; its default is the one that torch finds.")
def gpu(pattern: str | None, config: Path, device: str | None) -> None:
    """Time the quick profile on an accelerator: host and device time, bandwidth, and other timers for comparison."""
    from bench_core.asv_config import asv_config
    from bench_core.report import gpu as gpu_report
    from bench_core.timing.gpu import run_gpu

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
        click.echo("bench-core: interrupted; what was measured until then is stored.", err=True)
        sys.exit(130)
    if any(cell.failed for cell in record.not_timed):
        sys.exit(1)


MARKDOWN = click.option(
    "--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Also write the page of the documentation."
)


@main.command()
@CONFIG
@MARKDOWN
def known(config: Path, markdown: Path | None) -> None:
    """Measure the known slowdowns here: each slow way in turn with the way round it."""
    from bench_core.asv_config import asv_config
    from bench_core.records import LeftOut
    from bench_core.report import pages
    from bench_core.timing.cells import SuiteDirectory
    from bench_core.timing.pairs import pinned, slowdowns

    out = console()
    out.print("Each pair of cells is set up seven times and sampled in turn; in all that takes about three minutes.")
    rows = []
    with pinned():
        for row in slowdowns(SuiteDirectory(asv_config(config).suite)):
            if isinstance(row, LeftOut):
                click.echo(f"bench-core: {row.source} is left out: {row.reason}", err=True)
                continue
            if out.is_terminal:  # somebody waits; in a log, the table says it all
                out.print(f"{row.source}: {row.what}: {row.ratio.middle:.2f}x", markup=False, style="dim")
            rows.append(row)
    if not rows:
        raise BenchCoreError("no case of this suite names a known slowdown (see `reports` of bench_core.suite.Suite).")
    out.print()
    out.print(pages.slowdowns_table(rows))
    out.print(pages.SLOWDOWNS_LEGEND)
    out.print(f"On {this_machine()}.")
    write_page(markdown, pages.slowdowns_page(rows, this_machine()))


@main.command()
@CONFIG
@MARKDOWN
@click.option("--cells", "count", default=12, show_default=True, type=click.IntRange(2), help="How many cells.")
def agree(config: Path, markdown: Path | None, count: int) -> None:
    """Hold our times against torch.utils.benchmark, taken in turn on cells from the fastest to over 10 ms.

    Exit code 1 if a cell's median ratio is not within 0.99 to 1.01.
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


def circumstances(commit: str) -> Circumstances:
    """How this machine is now, as it is kept beside the results of `commit`."""
    from bench_core.report import doctor as page
    from bench_core.timing import machine

    here = machine.read()
    return Circumstances(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit,
        caches=here.caches or {},
        findings=tuple(page.stored(finding) for finding in page.findings(here)),
    )


def this_machine() -> str:
    """The machine in one line, as it stands in pages and below tables."""
    from bench_core.report.table import described
    from bench_core.results.asv_run import description

    return described(description())


def show_file(out: Console, path: Path, declared: Any = None, names: Collection[str] | None = None) -> None:
    from bench_core.report import table
    from bench_core.results.read import read

    file = read(path, declared)
    out.print()
    out.print(table.results(file, names))
    out.print()
    out.print(table.legend())
    out.print(f"On {table.described(file.machine)}; commit {(file.commit or 'none')[:10]}.")
    unsure = table.unsure(file, names)
    if unsure:
        out.print(f"{unsure} times are uncertain by over 10 %: `bench-core doctor` says what disturbs them.")
    for name in file.failed:
        if names is None or name in names:
            out.print(f"[red]failed:[/] {name}")


def progress(out: Console) -> Callable[[str, float], None]:
    """A line a benchmark, with how far it is and how long the rest takes."""
    started = clock.host()
    done = 0.0

    def advance(name: str, share: float) -> None:
        nonlocal done
        done += share
        spent = clock.host() - started
        left = spent * max(0.0, 1 - done) / done
        out.print(f"[dim]{100 * done:4.0f} %  {spent:4.0f} s, about {left:3.0f} s left[/]  {name}")

    return advance


def relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
