"""The command line of the trials."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bench_core.errors import BenchCoreError
from trials import aa as aa_trial
from trials import detect as detect_trial
from trials import growth as growth_trial
from trials import sidebyside as sidebyside_trial
from trials import simulate as simulate_trial
from trials import summary as summary_trial
from trials import truncnormal as truncnormal_trial
from trials.files import raw

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def main() -> None:
    """Run the trial NAME, or go on with it: runs that its file holds already are not repeated."""


def common(command: F) -> F:
    for option in (
        click.option("--machine", default=platform.node(), show_default=True, help="The folder's name."),
        click.option("--out", type=click.Path(path_type=Path), default="results/trials", show_default=True),
    ):
        command = option(command)
    return command


BUDGET = click.option("--budget", help="Seconds that each gate may measure, as for the gate. [default: the gate's own]")


def options(budget: str | None) -> list[str]:
    return ["--budget", budget] if budget else []


def say(line: str) -> None:
    click.echo(line, err=True)


@main.command()
@common
@BUDGET
@click.option("--runs", default=60, show_default=True, type=click.IntRange(1))
@click.option("--bench", default="|".join(aa_trial.SELECTION), help="The cells. [default: forty of every family]")
def aa(out: Path, machine: str, budget: str | None, runs: int, bench: str) -> None:
    """Gates between two commits that differ by a comment."""
    aa_trial.run(raw(out / machine, "aa"), runs, bench, options(budget), say)


@main.command()
@common
@click.option("--gates", default=10_000, show_default=True, type=click.IntRange(1), help="Without a plant.")
@click.option("--planted-gates", default=1000, show_default=True, type=click.IntRange(1), help="Of each plant.")
def simulate(out: Path, machine: str, gates: int, planted_gates: int) -> None:
    """Gates drawn from the pairs that `aa` has recorded."""
    simulate_trial.run(out / machine, gates, planted_gates, say)


@main.command()
@common
@BUDGET
@click.option("--percent", "only", multiple=True, type=int, help="Only these sizes; may be repeated.")
@click.option("--gates", type=click.IntRange(1), help="Of each size. [default: what 40 or 100 plants need]")
@click.option("--bench", help="Only these cells. [default: all forty]")
def detect(
    out: Path, machine: str, budget: str | None, only: tuple[int, ...], gates: int | None, bench: str | None
) -> None:
    """Known slowdowns: found or passed off?"""
    wanted = {percent: gates or count for percent, count in detect_trial.GATES.items() if not only or percent in only}
    detect_trial.run(raw(out / machine, "detect"), wanted, options(budget), say, bench)


@main.command()
@common
@BUDGET
@click.option("--gates", default=3, show_default=True, type=click.IntRange(1), help="Each way.")
def truncnormal(out: Path, machine: str, budget: str | None, gates: int) -> None:
    """A real slowdown of torch, both ways."""
    truncnormal_trial.run(raw(out / machine, "truncnormal"), gates, options(budget), say)


@main.command()
@common
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--bench", help="Only these cells. [default: all forty]")
@click.option("--budget", help="Of our gate. [default: its own]")
def sidebyside(out: Path, machine: str, rounds: int, bench: str | None, budget: str | None) -> None:
    """asv continuous, pytest-benchmark and our gate in turn, without a change and with +5 % in half of the cells."""
    sidebyside_trial.run(raw(out / machine, "sidebyside"), rounds, bench, options(budget), say)


@main.command()
@common
@BUDGET
@click.option("--cells", "counts", multiple=True, type=click.IntRange(1), default=growth_trial.COUNTS)
def growth(out: Path, machine: str, budget: str | None, counts: tuple[int, ...]) -> None:
    """Time and memory by the number of cells."""
    growth_trial.run(raw(out / machine, "growth"), counts, options(budget), say)


@main.command()
@common
def summary(out: Path, machine: str) -> None:
    """Tables of all that was measured so far."""
    click.echo(summary_trial.run(out / machine, machine))


if __name__ == "__main__":
    try:
        main(prog_name="python -m trials")
    except BenchCoreError as error:
        raise SystemExit(f"trials: {error}") from error
