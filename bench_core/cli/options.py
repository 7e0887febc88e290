"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from bench_core.asv_config import USUAL, found_in
from bench_core.errors import BenchCoreError


class Percent(click.ParamType[float]):
    """``1%``, ``1 %`` or ``0.01``."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        try:
            found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            found = -1.0
        if not 0 < found < (10 if text.endswith("%") else 1):  # a bare 5 means 5 % more often than 500 %
            self.fail(f"{value!r} is not a share such as 5% or 0.05.", param, ctx)
        return found


class Duration(click.ParamType[float]):
    """``90``, ``90s`` or ``2m``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        parts = re.fullmatch(r"(\d+(?:\.\d+)?)([sm]?)", text)
        found = float(parts[1]) * (60 if parts[2] == "m" else 1) if parts else -1.0
        if not 0 < found < 1e6:
            self.fail(f"{value!r} is not a time such as 90s or 2m.", param, ctx)
        return found


OUTPUT = click.Path(path_type=Path, dir_okay=False)


def _config(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path:
    """The configuration that is named, or the one in this folder, under either of its names."""
    return value or found_in(Path()) or USUAL


CONFIG = click.option(
    "--suite",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_config,
    show_default=USUAL.name,
    help="The asv configuration of the suite.",
)

LANES = click.option("--lanes", type=click.IntRange(1), help="Cores that measure at once. [default: at most 2]")

SEED = click.option("--seed", type=click.IntRange(1), help="Seed of every random order. [default: random]")

TIMEOUT = click.option(
    "--timeout",
    type=Duration(),
    help="Treat a worker as hung after this time without a sign of life. [default: the suite's own timeout, or 60s]",
)

PARAMS = click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only cells with this value of a parameter, e.g. device=cpu or size=8x4. May be repeated.",
)

PROFILE = click.option("--quick/--full", default=False, help="Only the quick profile, or all cells (default).")

MARKDOWN = click.option("--markdown", type=OUTPUT, help="Also write the results as a page of the documentation.")


def chosen(params: tuple[str, ...]) -> dict[str, str]:
    """The values of `--param` by name.

    Raises:
        BenchCoreError: if one is not NAME=VALUE.
    """
    for param in params:
        if "=" not in param:
            raise BenchCoreError(f"--param {param!r} is not NAME=VALUE, such as device=cpu.")
    return dict(param.split("=", 1) for param in params)
