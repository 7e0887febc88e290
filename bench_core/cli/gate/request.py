"""Turns the options of `bench-core gate` into a request, and refuses options that do not go together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from bench_core.cli.options import spec_of
from bench_core.errors import BenchCoreError

if TYPE_CHECKING:
    from bench_core.gate.prepare import Request

SELF_TEST_PLANT = 0.05
"""The slowdown that a self-test plants."""

OUTPUTS = ("json_file", "markdown", "junit")
"""The options that name a file to write."""

TAKEN: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "--replay": ("judges a stored gate with its own settings", ("replay", "config", *OUTPUTS, "strict", "verbose")),
    "--self-test": (
        "only prints its result",
        (
            *("self_test", "config", "pattern", "quick", "noise_floor", "limit", "budget", "lanes", "seed", "timeout"),
            *("start", "everything", "fresh"),
        ),
    ),
}
"""Options that allow only some others: the reason, and the names of the allowed options."""


def refuse_others(ctx: click.Context, mode: str) -> None:
    """Refuse options and revisions that `mode`, a key of `TAKEN`, would ignore.

    Raises:
        BenchCoreError: if there is one.
    """
    why, taken = TAKEN[mode]
    for param in ctx.command.params:
        given = param.name is not None and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
        if given and param.name not in taken:
            name = param.opts[0] if isinstance(param, click.Option) else param.human_readable_name
            raise BenchCoreError(f"{mode} {why}: leave out {name}.")


def refuse_contradictions(base: str | None, head: str | None, options: Mapping[str, Any], *, self_test: bool) -> None:
    versus = options["versus"]
    if self_test == (base is not None or versus is not None):
        raise BenchCoreError(
            "give the BASE to compare with, as in `bench-core gate main`; or two installs with --versus; or only "
            "--self-test."
        )
    if versus is not None and head is not None:
        raise BenchCoreError(
            "--versus compares two installs with the same code on both sides: leave out "
            f"{head}, and give one revision for the code, or none for the working tree."
        )
    if versus is not None and options["creep"] is not None:
        raise BenchCoreError("--creep compares HEAD with a past revision, but --versus has no HEAD: give one of them.")
    if options["isolated"] and (versus is not None or self_test):
        raise BenchCoreError("--isolated confines a HEAD that a stranger wrote: give BASE and HEAD, without --versus.")
    if options["fresh"] and options["resume"]:
        raise BenchCoreError("--fresh discards what --resume continues from: give one of them.")
    if options["noise_floor"] >= options["limit"]:
        raise BenchCoreError(
            f"--noise-floor {100 * options['noise_floor']:g}% must be below --limit {100 * options['limit']:g}%."
        )


def requested(
    base: str | None, head: str | None, options: Mapping[str, Any], outputs: tuple[Path, ...], *, self_test: bool
) -> Request:
    """The gate that was asked for. `outputs` are the files that will be written."""
    from bench_core.gate.prepare import Choices, Request

    settings = Choices(**{name: options[name] for name in ("noise_floor", "limit", "seed", "budget", "lanes", "start")})
    kept = ("config", "pattern", "resume", "timeout", "instructions", "versus", "handed_on", "isolated")
    return Request(
        base=base,
        head=head,
        settings=settings,
        quick=options["pattern"] is None if options["quick"] is None else options["quick"],
        everything=options["everything"] or self_test,
        fresh=options["fresh"] or self_test,
        plant=SELF_TEST_PLANT if self_test else 0.0,
        past=options["creep"],
        written=outputs,
        model=spec_of(options["model"], **{name: options[name] for name in ("device", "dtype", "input", "trust")}),
        **{name: options[name] for name in kept},
    )
