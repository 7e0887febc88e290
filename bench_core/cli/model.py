"""`bench-core model`."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench_core.cli.options import CONFIG, OUTPUT, SEED, Count, Duration, model_options, refuse_same, spec_of
from bench_core.cli.terminal import complain, console, relative, say, write_pages
from bench_core.errors import BenchCoreError, UnknownNameError
from bench_core.extras import require

if TYPE_CHECKING:
    from rich.console import Console

    from bench_core.records.model import ModelRecord
    from bench_core.results.model_file import StoredModel

QUICK_BUDGET = 30.0
"""Seconds of measuring with ``--quick``."""


@click.command(short_help="Time the start-up and the parameters of a model of yours.")
@click.argument("target")
@CONFIG
@model_options
@click.option(
    "--budget",
    type=Duration(),
    help="Time for measuring, e.g. 90s or 5m, but at least two rounds. [default: as the model needs]",
)
@click.option("--quick", is_flag=True, help=f"The same as --budget {QUICK_BUDGET:.0f}s.")
@click.option("--ranks", type=Count(2), help="Also shard the parameters over this many local processes.")
@click.option("--json", "json_file", type=OUTPUT, help="Write all times (docs/model-json.md).")
@click.option("--page", type=OUTPUT, help="Write a page for the browser.")
@SEED
def model(
    target: str,
    config: Path,
    device: str | None,
    dtype: str | None,
    input: str | None,
    trust: bool,
    budget: float | None,
    quick: bool,
    ranks: int | None,
    json_file: Path | None,
    page: Path | None,
    seed: int | None,
) -> None:
    """Time how a model starts up and what its parameters cost, and name the fastest correct way.

    TARGET is a callable that returns a module (package.module:callable), a layout that is built from code without a
    download (resnet50, vit-b16, gpt2, bert-base, llama-1b, llama-8b, mlp), or a checkpoint, whose names and shapes make
    the module. Each way runs in processes of its own, in turn with the others, and its model is compared with that of
    the plain way.

    The record is stored below asv's results folder, or in .bench_core without a suite. `bench-core show` prints it
    again, and `bench-core compare` compares two.

    The exit code is 1 if no way to start up gives a correct model, and 130 after Ctrl-C. What was measured before
    Ctrl-C is stored and shown.

    \b
    Example:
      bench-core model gpt2 --quick
    """
    from bench_core.model.session import measure
    from bench_core.report.model_live import ModelLive
    from bench_core.results import model_file
    from bench_core.results.asv_run import description
    from bench_core.watchdog import Watchdog

    click.get_current_context().with_resource(Watchdog())
    refuse_same(json=json_file, page=page)
    if quick and budget:
        raise click.UsageError("--quick is a --budget: leave out one of them.")
    require("torch", what="`bench-core model`")
    if page is not None:
        require("report", what="The page")
    spec = spec_of(target, device=device, dtype=dtype, input=input, trust=trust)
    assert spec is not None
    results, commit = _home(config)
    machine = description()
    model_file.require_folder(results, machine)
    out = console()
    with ModelLive(out) as live:
        record = measure(
            spec,
            budget=QUICK_BUDGET if quick else budget,
            seed=seed,
            commit=commit,
            machine=machine,
            ranks=ranks or 0,
            show=live.update,
        )
    path = model_file.store(record, results)
    show_model(out, record, path)
    out.print(f"Stored in {relative(path)}", soft_wrap=True)
    write_model(record, json_file, page)
    if record.interrupted:
        complain("interrupted; what was measured before is stored.")
        sys.exit(130)
    if not any(way.stages and not way.wrong for way in record.ways):
        sys.exit(1)


def _home(config: Path) -> tuple[Path, str]:
    """The results folder, and the commit that results belong to, or "" if they belong to none."""
    from bench_core.results.asv_run import commit_to_pin

    commit = commit_to_pin(config)[0] if config.is_file() else None
    return results_of(config), commit or ""


def results_of(config: Path) -> Path:
    """The folder below which records of models are stored."""
    from bench_core.asv_config import asv_config
    from bench_core.results.model_file import OUTSIDE

    return asv_config(config).results if config.is_file() else OUTSIDE


def model_named(name: str | None, config: Path) -> StoredModel | None:
    """The record of a model with a name, which is a file or a target; None if it is no model. Where there are records
    and no suite, no name stands for the newest record.

    Raises:
        BenchCoreError: if the file cannot be read, or the target has fewer records than the name counts back.
        UnknownNameError: if there is no suite, and the name is that of no record.
    """
    from bench_core.records.model import ModelSpec
    from bench_core.results import model_file
    from bench_core.results.model_file import StoredModel

    if name is None:
        known = [] if config.is_file() else model_file.stored(results_of(config))[0]
        return known[-1] if known else None
    path = Path(name)
    if model_file.is_file_of_model(path):
        return StoredModel(path, model_file.read(path))
    if path.exists() and ModelSpec(name).kind == "checkpoint":  # results, whatever is stored under this name
        return None
    known, _ = model_file.stored(results_of(config))
    found = model_file.named(known, name)
    if found is None and known and not config.is_file():
        raise UnknownNameError("model", name, {one.record.spec.target for one in known})
    return found


def show_model(out: Console, record: ModelRecord, path: Path) -> None:
    """Print the record that is stored in a file."""
    from bench_core.analysis.model_advice import advice
    from bench_core.analysis.models import ranked
    from bench_core.report.model import summary

    found = ranked(record)
    out.print(
        summary(record, found, advice(record, found), shlex.join(["bench-core", "show", str(relative(path))])),
        crop=False,
    )


def print_code(record: ModelRecord, job: str) -> None:
    """Print the code of the fastest correct way to do a job of starting up, and nothing else.

    Raises:
        BenchCoreError: if the record has none.
    """
    from bench_core.analysis.models import ranked

    best = {each.name: each.best for each in ranked(record).start}
    if job not in best:
        raise UnknownNameError("job", job, best)
    found = best[job]
    if found is None or not found.of.code:
        raise BenchCoreError(
            f"no way to {job} this model has code that gives a correct one: its reasons are in the table."
        )
    say(found.of.code)


def write_model(record: ModelRecord, json_file: Path | None, page: Path | None) -> None:
    """Write the files of a record.

    Raises:
        BenchCoreError: if one cannot be written.
    """
    from bench_core.results import model_file

    made = ""
    if page is not None:
        from bench_core.report.page import html
        from bench_core.report.page.models import answers

        made = html(answers([record]))
    text = json.dumps(model_file.to_json(record), indent=1, allow_nan=False) + "\n" if json_file else ""
    write_pages((json_file, text), (page, made))
