"""`bench-core compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench_core.cli.model import model_named
from bench_core.cli.options import CONFIG, OUTPUT, refuse_same
from bench_core.cli.terminal import console, relative, report_left_out, write_page
from bench_core.errors import BenchCoreError, brief

if TYPE_CHECKING:
    from bench_core.analysis.compare import Stored
    from bench_core.results.model_file import StoredModel


@click.command(short_help="Compare two stored results.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@CONFIG
@click.option("--machine", help="Only results of this machine (asv's name for it).")
@click.option("--verbose", is_flag=True, help="Also list the cells without a measurable difference.")
@click.option("--json", "json_file", type=OUTPUT, help="Write all cells with their intervals.")
@click.option("--csv", "csv_file", type=OUTPUT, help="Write one row per cell.")
@click.option("--markdown", type=OUTPUT, help="Write a page for a job summary or a comment.")
def compare(
    first: str,
    second: str,
    config: Path,
    machine: str | None,
    verbose: bool,
    json_file: Path | None,
    csv_file: Path | None,
    markdown: Path | None,
) -> None:
    """Compare stored result B with A, cell by cell, without measuring anything.

    A and B are commits (the beginning of a hash, or a name that git knows), machines, versions of torch
    (torch==2.13.0), or result files. They were not measured side by side: `bench-core gate` does that.

    A and B may also be models, as `bench-core show` takes them: files of --json, or targets such as gpt2~1 and gpt2.

    \b
    Example:
      bench-core compare 4e6b7ac4 3677fb64
    """
    from bench_core.analysis import compare as analysis
    from bench_core.asv_config import asv_config
    from bench_core.records.results import Store
    from bench_core.report import compare as report
    from bench_core.results.commits import resolved
    from bench_core.results.store import read_store

    refuse_same(json=json_file, csv=csv_file, markdown=markdown)
    results = _models((first, second), config)
    if results is None:
        files = all(Path(name).is_file() for name in (first, second))  # they need no project around them
        store = Store(()) if files else read_store(asv_config(config).results)
        results = analysis.chosen(store, (first, second), machine=machine, resolve=lambda name: resolved(config, name))
        report_left_out(store.left_out)
    found = analysis.compare(*results)
    console().print(report.summary(found, verbose=verbose), crop=False)
    write_page(json_file, json.dumps(report.to_json(found), indent=1, allow_nan=False) + "\n")
    write_page(csv_file, report.to_csv(found))
    write_page(markdown, report.markdown(found))


def _models(names: tuple[str, str], config: Path) -> tuple[Stored, Stored] | None:
    """Two records of models; None if the names are of other results.

    Raises:
        BenchCoreError: if only one of them is a model.
    """
    from bench_core.analysis.models import as_stored

    first, second = (model_named(name, config) for name in names)
    if first is None and second is None:
        return None
    if first is None or second is None:
        one, other = names if second is None else reversed(names)
        raise BenchCoreError(f"{one} is a model, and {other} is none that is stored: name two models.")
    if first.record == second.record:
        raise BenchCoreError(
            f"{names[0]} and {names[1]} are the same record, {first.path}. Name two, such as gpt2~1 gpt2."
        )
    return as_stored(first.record, _called(first)), as_stored(second.record, _called(second))


def _called(model: StoredModel) -> str:
    """``gpt2 of 2026-11-30 20:25 at 36a48e88 (results/box/models/gpt2-cpu.jsonl)``."""
    record = model.record
    commit = f" at {record.commit[:8]}" if record.commit else ""
    return f"{brief(record.spec.target)} of {record.date[:16].replace('T', ' ')}{commit} ({relative(model.path)})"
