"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bench_core.asv_config import USUAL, found_in
from bench_core.cli.terminal import complain
from bench_core.errors import BenchCoreError, UnknownNameError
from bench_core.files import try_write
from bench_core.records.model import ModelSpec


class Percent(click.ParamType[float]):
    """``1%`` or ``1 %``. A bare number is refused: 0.5 may be 0.5 % or 50 %, and a gate with the wrong one is green."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        number = text.removesuffix("%").rstrip()
        try:
            found = float(number) / 100
        except ValueError:
            found = math.nan
        if number == text and math.isfinite(found):
            self.fail(f"{value!r} has no %: write {text}%, or {1e4 * found:.12g}% if a share is meant.", param, ctx)
        if not 0 < found < 10:
            self.fail(f"{value!r} is not a percentage between 0% and 1000%, such as 5%.", param, ctx)
        return found


class Duration(click.ParamType[float]):
    """``90``, ``90s``, ``2m`` or ``1h``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        parts = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
        if not parts:
            self.fail(f"{value!r} is not a time such as 90s, 2m or 1h.", param, ctx)
        found = float(parts[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[parts[2]]
        if not 0 < found < 1e6:
            self.fail(f"{value!r} is not a time between 0 and 1,000,000 s.", param, ctx)
        return found


NO_FILE = "'-' is not a file. Name one, such as /dev/stdout for the standard output."


class Output(click.Path):
    """A file to write. What cannot be written is refused before anything is measured, and nothing is changed yet."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(str(super().convert(value, param, ctx)))
        if str(path) == "-":
            self.fail(NO_FILE, param, ctx)
        try:
            try_write(path)
        except OSError as error:
            self.fail(f"{path} cannot be written: {error.strerror}. Name a file in a writable folder.", param, ctx)
        return path


OUTPUT = Output()


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


class Count(click.IntRange):
    """A whole number, from a least one on."""

    name = "integer"  # click says "integer range" in its messages


class FolderName(click.ParamType[str]):
    """A name that a folder can have."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value in (".", "..") or {os.sep, os.altsep} & set(value):
            self.fail(f"{value!r} is not a name, but a path.", param, ctx)
        return str(value)


MODEL = "Measure a model instead of the suite: package.module:callable, a layout such as gpt2, or a checkpoint."
"""The help of ``--model``."""


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a model is made: `spec_of` reads them."""
    for option in reversed(
        (
            click.option("--device", help="Where the parameters of the model shall be. [default: cpu]"),
            click.option("--dtype", help="The dtype of its floating-point parameters. [default: the builder's]"),
            click.option("--input", metavar="SHAPE", help="An example for a lazy model: 2x4, or an expression."),
            click.option("--trust", is_flag=True, help="Unpickle a checkpoint that may run code."),
        )
    ):
        command = option(command)
    return command


def spec_of(
    target: str | None, *, device: str | None, dtype: str | None, input: str | None, trust: bool
) -> ModelSpec | None:
    """The model that these options ask for; None without one. A file that has the name of a layout is mentioned.

    Raises:
        BenchCoreError: if options say how a model is made, and there is none.
    """
    given = {"device": device, "dtype": dtype, "input": input, "trust": trust}
    if target is None:
        if unused := [f"--{name}" for name, value in given.items() if value]:
            raise BenchCoreError(f"{', '.join(unused)} says how a model is made: name one with --model.")
        return None
    spec = ModelSpec(target, device or ModelSpec.device, dtype or "", input or "", trust)
    place = Path(target)
    if not place.exists():
        return spec
    if spec.kind == "checkpoint":
        return replace(spec, target=str(place.absolute()))  # benchmarks run in other folders
    there = "folder" if place.is_dir() else "file"
    complain(f"{target} is the {spec.kind} of this name. For the {there}, write .{os.sep}{target}.")
    return spec


LANES = click.option("--lanes", type=Count(1), help="Cores that measure at once. [default: at most 2]")

SEED = click.option("--seed", type=Count(1), help="Seed of every random order. [default: random]")

TIMEOUT = click.option(
    "--timeout",
    type=Duration(),
    help="Treat a worker as hung after this time without a sign of life. [default: the suite's own timeout, or 60s]",
)

ENV = click.option(
    "--env",
    "handed_on",
    multiple=True,
    metavar="NAME",
    help="Hand this environment variable on to the versions. Repeatable.",
)

PARAMS = click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only cells with this value of a parameter, e.g. device=cpu or size=8x4. May be repeated.",
)

PROFILE = click.option("--quick/--full", default=False, help="Only the quick profile, or all cells (default).")

JSON_TABLE = click.option("--json", "json_file", type=OUTPUT, help="Also write the table as JSON (docs/run-json.md).")

CSV_TABLE = click.option("--csv", "csv_file", type=OUTPUT, help="Also write the table as CSV.")


def refuse_same(**outputs: Path | None) -> None:
    """Refuse two options that name one file, since the second would overwrite what the first wrote.

    Args:
        outputs: the files by the names of their options.

    Raises:
        BenchCoreError: if two are the same.
    """
    named: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is not None and (other := named.setdefault(path.resolve(), option)) != option:
            raise BenchCoreError(f"--{other} and --{option} both name {path}. Name two files.")


class Family(click.Option):
    """`--family`. Its help names the families of the suite in this folder, if there is one."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        found = super().get_help_record(ctx)
        families = _families_here()
        return (found[0], f"{found[1]} [modules here: {', '.join(families)}]") if found and families else found


def _families_here() -> list[str]:
    """The families of the suite in this folder: its modules. The suite is not imported."""
    from bench_core.asv_config import asv_config

    try:
        config = found_in(Path())
        files = asv_config(config).suite.iterdir() if config else ()
        modules = (path.stem for path in files if path.suffix == ".py" or (path / "__init__.py").is_file())
        return sorted(name for name in modules if not name.startswith("_"))
    except (BenchCoreError, OSError):
        return []


def require_families(families: Iterable[str], known: Collection[str]) -> None:
    """Raises UnknownNameError if a family is not among the known ones."""
    for family in families:
        if family not in known:
            raise UnknownNameError("family", family, known)


FAMILY = click.option(
    "--family",
    "families",
    cls=Family,
    multiple=True,
    help="Print only this family's table in full. A family is a module of the suite. May be repeated.",
)

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
