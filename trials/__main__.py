"""The command line of the trials."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bench_core.errors import BenchCoreError
from trials import aa as aa_trial
from trials import bisect as bisect_trial
from trials import causes as causes_trial
from trials import creep as creep_trial
from trials import detect as detect_trial
from trials import growth as growth_trial
from trials import kill as kill_trial
from trials import mutants as mutants_trial
from trials import own as own_trial
from trials import plain as plain_trial
from trials import reach as reach_trial
from trials import replay as replay_trial
from trials import report as report_trial
from trials import sidebyside as sidebyside_trial
from trials import simulate as simulate_trial
from trials import soak as soak_trial
from trials import suites as suites_trial
from trials import summary as summary_trial
from trials import table as table_trial
from trials import truncnormal as truncnormal_trial
from trials import upgrade as upgrade_trial
from trials import versus as versus_trial
from trials.files import Trial, raw
from trials.gates import tool

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def main() -> None:
    """Run the trial NAME, or continue it: runs that its file already contains are not repeated."""


def common(command: F) -> F:
    for option in (
        click.option("--machine", default=platform.node(), show_default=True, help="The folder's name."),
        click.option("--out", type=click.Path(path_type=Path), default="results/trials", show_default=True),
    ):
        command = option(command)
    return command


BUDGET = click.option("--budget", help="The --budget of each gate. [default: the gate's default]")
DIRTY = click.option("--dirty", is_flag=True, help="Try uncommitted changes. Do not publish the figures.")


def begun(out: Path, machine: str, name: str, dirty: bool, **options: str | None) -> Trial:
    return Trial(raw(out / machine, name), tool(dirty), options)


def say(line: str) -> None:
    click.echo(line, err=True)


@main.command()
@common
@DIRTY
@BUDGET
@click.option("--runs", default=60, show_default=True, type=click.IntRange(1))
@click.option("--bench", help="The cells. [default: forty, of every family]")
@click.option("--noisy", is_flag=True, help="Beside two processes that wander over all cores.")
def aa(out: Path, machine: str, dirty: bool, budget: str | None, runs: int, bench: str | None, noisy: bool) -> None:
    """Compare two commits that differ by a comment."""
    name = "aa-noisy" if noisy else "aa"
    aa_trial.run(begun(out, machine, name, dirty, bench=bench, budget=budget), runs, say, beside_noise=noisy)


@main.command()
@common
@DIRTY
@click.option("--gates", default=10_000, show_default=True, type=click.IntRange(1), help="Gates without a slowdown.")
@click.option(
    "--planted-gates", default=1000, show_default=True, type=click.IntRange(1), help="Gates for each slowdown."
)
def simulate(out: Path, machine: str, dirty: bool, gates: int, planted_gates: int) -> None:
    """Simulate gates from the pairs that `aa` has recorded."""
    simulate_trial.run(out / machine, tool(dirty), gates, planted_gates, say)


@main.command()
@common
@DIRTY
@BUDGET
@click.option("--percent", "only", multiple=True, type=int, help="Only slowdowns of this size. May be repeated.")
@click.option("--gates", type=click.IntRange(1), help="Gates for each size. [default: for 40 or 100 slowdowns]")
@click.option("--busy", is_flag=True, help="While another process keeps the other core busy.")
@click.option("--bench", help="Only these cells. [default: all forty]")
def detect(
    out: Path,
    machine: str,
    dirty: bool,
    budget: str | None,
    only: tuple[int, ...],
    gates: int | None,
    bench: str | None,
    busy: bool,
) -> None:
    """Measure how many known slowdowns are found."""
    name = "detect-busy" if busy else "detect"
    wanted = {percent: gates or count for percent, count in detect_trial.GATES.items() if not only or percent in only}
    detect_trial.run(begun(out, machine, name, dirty, bench=bench, budget=budget), wanted, say, busy=busy)


@main.command()
@common
@DIRTY
def causes(out: Path, machine: str, dirty: bool) -> None:
    """Measure how many slowdowns of ten kinds are explained, and how exact instruction counts are."""
    causes_trial.run(begun(out, machine, "causes", dirty), say)


@main.command()
@common
@DIRTY
@click.option("--searches", default=20, show_default=True, type=click.IntRange(1))
@click.option("--without", default=5, show_default=True, type=click.IntRange(0), help="Searches without a difference.")
def bisect(out: Path, machine: str, dirty: bool, searches: int, without: int) -> None:
    """Search the one of 32 commits that made a cell slower by 5 %, and 32 commits without a slowdown."""
    bisect_trial.run(begun(out, machine, "bisect", dirty), searches, without, say)


@main.command()
@common
@click.option("--base", default="torch==2.11.0", show_default=True)
@click.option("--head", default="torch==2.15.0", show_default=True)
@click.option("--page", type=click.Path(path_type=Path), default="docs/torch-upgrades.md", show_default=True)
@click.option("--measured", is_flag=True, help="Only make the page again.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def upgrade(
    out: Path, machine: str, base: str, head: str, page: Path, measured: bool, options: tuple[str, ...]
) -> None:
    """Compare two releases of torch on the quick profile. OPTIONS, after --, go to the gate."""
    if not measured:
        upgrade_trial.measure(out / machine, base, head, options)
        upgrade_trial.explain(out / machine, base, head)
        upgrade_trial.confirm(out / machine, say)
    page.write_text(upgrade_trial.page(out / machine))


@main.command()
@common
@DIRTY
@click.option("--runs", default=2, show_default=True, type=click.IntRange(1))
def versus(out: Path, machine: str, dirty: bool, runs: int) -> None:
    """Compare two releases of numpy, on a suite without torch."""
    versus_trial.run(begun(out, machine, "versus", dirty), runs, say)


@main.command()
@common
@DIRTY
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1))
def creep(out: Path, machine: str, dirty: bool, runs: int) -> None:
    """Compare ten commits of +1 % each, one by one, and with the version before them."""
    creep_trial.run(begun(out, machine, "creep", dirty), runs, say)


@main.command()
@common
@DIRTY
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1))
@click.option("--results", type=click.Path(path_type=Path), default="results", show_default=True, help="asv's.")
def report(out: Path, machine: str, dirty: bool, runs: int, results: Path) -> None:
    """Measure the report of a thousand cells over fifty commits: build time, size, and loading time."""
    report_trial.run(begun(out, machine, "report", dirty), runs, results, say)


@main.command()
@common
@DIRTY
@BUDGET
@click.option("--gates", default=3, show_default=True, type=click.IntRange(1), help="Gates in each direction.")
def truncnormal(out: Path, machine: str, dirty: bool, budget: str | None, gates: int) -> None:
    """Measure a real slowdown of torch, in both directions."""
    truncnormal_trial.run(begun(out, machine, "truncnormal", dirty, budget=budget), gates, say)


@main.command()
@common
@DIRTY
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--bench", help="Only these cells. [default: all forty]")
@click.option("--budget", help="The --budget of our gate. [default: its default]")
def sidebyside(out: Path, machine: str, dirty: bool, rounds: int, bench: str | None, budget: str | None) -> None:
    """Compare asv continuous, pytest-benchmark and our gate, without a change and with +5 % in half of the cells."""
    sidebyside_trial.run(begun(out, machine, "sidebyside", dirty, bench=bench, budget=budget), rounds, say)


@main.command()
@common
@DIRTY
@BUDGET
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
def own(out: Path, machine: str, dirty: bool, budget: str | None, rounds: int) -> None:
    """Time asv continuous and our gate on forty cells of this project's suite, between two commits that differ by a
    comment."""
    own_trial.run(begun(out, machine, "own", dirty, budget=budget), rounds, say)


@main.command()
@common
@DIRTY
@BUDGET
@click.option("--cells", "counts", multiple=True, type=click.IntRange(1), default=growth_trial.COUNTS)
def growth(out: Path, machine: str, dirty: bool, budget: str | None, counts: tuple[int, ...]) -> None:
    """Measure a gate's time and memory by the number of cells."""
    growth_trial.run(begun(out, machine, "growth", dirty, budget=budget), counts, say)


@main.command()
@common
@DIRTY
@click.option("--kills", default=100, show_default=True, type=click.IntRange(1), help="Kills of each command.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(kill_trial.KINDS), help="May be repeated.")
def kill(out: Path, machine: str, dirty: bool, kills: int, kinds: tuple[str, ...]) -> None:
    """Kill gates, runs and reports at random moments, and look at what they leave."""
    kill_trial.run(begun(out, machine, "kill", dirty), kills, kinds or kill_trial.KINDS, say)


@main.command()
@click.argument("formats", nargs=-1)
@click.option("--minutes", default=10.0, show_default=True, help="For each format.")
@click.option("--seed", default=0, show_default=True, help="The first seed of the draws.")
@click.option("--atheris", is_flag=True, help="Draw bytes that reach new code, with atheris.")
def fuzz(formats: tuple[str, ...], minutes: float, seed: int, atheris: bool) -> None:
    """Read damaged files of FORMATS [default: all]. The exit code is 1 if one is a traceback, or a hang."""
    from trials import fuzz as fuzz_trial  # it needs hypothesis, which only tests install

    if unknown := [name for name in formats if name not in fuzz_trial.FORMATS]:
        raise BenchCoreError(f"there is no format {unknown[0]!r}. Known: {', '.join(fuzz_trial.FORMATS)}.")
    names = formats or list(fuzz_trial.FORMATS)
    whole = fuzz_trial.by_coverage(names, minutes, say) if atheris else fuzz_trial.run(names, minutes, seed, say)
    if not whole:
        raise SystemExit(1)


@main.command()
@common
@DIRTY
@click.option("--gates", default=200, show_default=True, type=click.IntRange(1))
def soak(out: Path, machine: str, dirty: bool, gates: int) -> None:
    """Run many gates in a row, and look at what grows, and at false alarms."""
    soak_trial.run(begun(out, machine, "soak", dirty), gates, say)


@main.command()
@common
@DIRTY
@BUDGET
@click.option("--cells", "counts", multiple=True, type=click.IntRange(40), default=plain_trial.COUNTS)
def plain(out: Path, machine: str, dirty: bool, budget: str | None, counts: tuple[int, ...]) -> None:
    """Time gates on generated suites of many plain cells."""
    plain_trial.run(begun(out, machine, "plain", dirty, budget=budget), counts, say)


@main.command()
@common
@DIRTY
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(table_trial.RUNS)), help="May be repeated.")
def table(out: Path, machine: str, dirty: bool, kinds: tuple[str, ...]) -> None:
    """Time the same cells several times, idle and beside a busy core, and count what another run takes back."""
    table_trial.run(begun(out, machine, "table", dirty), kinds or table_trial.RUNS, say)


@main.command()
@common
@DIRTY
@click.option("--changes", default=30, show_default=True, type=click.IntRange(0), help="Generated changes.")
@click.option("--commits", default=30, show_default=True, type=click.IntRange(0), help="Commits of this project.")
@click.option("--full", default=5, show_default=True, type=click.IntRange(0), help="Of each, so many measured whole.")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(0), help="Gates that are timed.")
def reach(out: Path, machine: str, dirty: bool, changes: int, commits: int, full: int, runs: int) -> None:
    """Count the cells that a change leaves out, and check that none of them is slower."""
    trial = begun(out, machine, "reach", dirty)
    reach_trial.generated(trial, changes, full, say)
    reach_trial.quick(trial, runs, say)
    reach_trial.history(trial, commits, full, say)


@main.command()
@common
def replay(out: Path, machine: str) -> None:
    """Judge all recorded gates again. The exit code is 1 if a verdict differs from the recorded one."""
    if not replay_trial.run(out / machine, click.echo):
        raise SystemExit(1)


@main.command()
@common
@click.argument("targets", nargs=-1, type=click.Choice(sorted(mutants_trial.TARGETS)))
@click.option("--sample", default=60, show_default=True, type=click.IntRange(1), help="Mutants of each target.")
@click.option("--seed", default=0, show_default=True, help="The seed of the draw of mutants.")
@click.option("--minutes", default=20.0, show_default=True, help="The most minutes for each target.")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1), help="Mutants tried at the same time.")
@click.option("--measured", is_flag=True, help="Only draw the page again.")
def mutants(
    out: Path,
    machine: str,
    targets: tuple[str, ...],
    sample: int,
    seed: int,
    minutes: float,
    jobs: int,
    measured: bool,
) -> None:
    """Plant bugs, one at a time, in TARGETS [default: all], and count how many the tests catch."""
    file = raw(out / machine, "mutants")
    if not measured:
        mutants_trial.run(file, targets or mutants_trial.TARGETS, sample, seed, 60 * minutes, jobs, say)
    page = mutants_trial.summary(file.read(), mutants_trial.explained())
    file.path.with_suffix(".md").write_text(page)
    click.echo(page)


@main.command()
@common
@DIRTY
@click.option("--only", "names", multiple=True, type=click.Choice(list(suites_trial.SUITES)), help="May be repeated.")
@click.option(
    "--mirror",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with clones, OWNER+NAME/repo. [default: fetch from GitHub]",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path(tempfile.gettempdir(), "bench-core-suites"),
    show_default=True,
    help="The folder for checkouts and environments. It is kept.",
)
@click.option("--measured", is_flag=True, help="Only make the page again.")
def suites(
    out: Path, machine: str, dirty: bool, names: tuple[str, ...], mirror: Path | None, work: Path, measured: bool
) -> None:
    """Try the suites of public projects: the cells that asv finds and runs, by each door."""
    file = raw(out / machine, "suites")
    if not measured:
        trial = begun(out, machine, "suites", dirty)
        suites_trial.run(trial, names or list(suites_trial.SUITES), mirror, work.absolute(), say)
    page = suites_trial.page(suites_trial.newest(file.read()))
    file.path.with_suffix(".md").write_text(page)
    click.echo(page)


@main.command()
@common
@click.option(
    "--tool", "commit", metavar="COMMIT", help="Only runs of this commit. [default: the newest of each trial]"
)
def summary(out: Path, machine: str, commit: str | None) -> None:
    """Make tables of the results so far: for each trial, those of one commit with the same options."""
    click.echo(summary_trial.run(out / machine, machine, commit))


if __name__ == "__main__":
    try:
        main(prog_name="python -m trials")
    except BenchCoreError as error:
        raise SystemExit(f"trials: {error}") from error
