"""`bench-core compare`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bench_core.cli.options import CONFIG, OUTPUT, refuse_same
from bench_core.cli.terminal import console, report_left_out, write_page


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
    files = all(Path(name).is_file() for name in (first, second))  # they need no project around them
    store = Store(()) if files else read_store(asv_config(config).results)
    results = analysis.chosen(store, (first, second), machine=machine, resolve=lambda name: resolved(config, name))
    found = analysis.compare(*results)
    report_left_out(store.left_out)
    console().print(report.summary(found, verbose=verbose), crop=False)
    write_page(json_file, json.dumps(report.to_json(found), indent=1, allow_nan=False) + "\n")
    write_page(csv_file, report.to_csv(found))
    write_page(markdown, report.markdown(found))
