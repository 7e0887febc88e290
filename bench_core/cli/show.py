"""`bench-core show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench_core.cli.model import model_named, print_code, show_model, write_model
from bench_core.cli.options import CONFIG, CSV_TABLE, FAMILY, JSON_TABLE, OUTPUT, refuse_same, require_families
from bench_core.cli.terminal import console, relative, report_damage, show_results, write_tables
from bench_core.errors import BenchCoreError
from bench_core.extras import require

if TYPE_CHECKING:
    from bench_core.results.model_file import StoredModel


@click.command(short_help="Print the table of a stored result.")
@click.argument("result", required=False)
@CONFIG
@click.option("--list", "listed", is_flag=True, help="List the runs that are stored in RESULT, and print no table.")
@click.option("--run", "which", metavar="RUN", help="Print only this run: its number in --list, or when it began.")
@click.option(
    "--code", metavar="JOB", help="Print only the code of a model's fastest correct way to load or initialize."
)
@FAMILY
@JSON_TABLE
@CSV_TABLE
@click.option(
    "--page", type=OUTPUT, help="Also write a model's page for the browser. For all results, see `bench-core report`."
)
def show(
    result: str | None,
    config: Path,
    listed: bool,
    which: str | None,
    code: str | None,
    families: tuple[str, ...],
    json_file: Path | None,
    csv_file: Path | None,
    page: Path | None,
) -> None:
    """Print the table of a stored RESULT: a result file, a folder of them, a commit, or a model.

    Without RESULT, the result that was measured last is printed, or without a suite the model. A commit is the
    beginning of a hash, or a name that git knows.

    A result may have several runs of `bench-core run`. The table then has the newest value of each cell, and says of
    which runs they are.

    A model is named as for `bench-core model`. Its newest record is printed, with gpt2~1 the one before it.

    \b
    Example:
      bench-core show 3677fb64
      bench-core show gpt2
      bench-core show --list
      bench-core show --run 2
    """
    from bench_core.analysis import runs
    from bench_core.report import table
    from bench_core.results.read import read

    refuse_same(json=json_file, csv=csv_file, page=page)
    if listed and (which or families or json_file or csv_file):
        raise BenchCoreError("--list prints no table: leave out --run, --family, --json and --csv.")
    if stored := model_named(result, config):
        if listed or which or families or csv_file:
            target = stored.record.spec.target
            raise BenchCoreError(f"{target} is a model: leave out --list, --run, --family and --csv.")
        _show_model(stored, code, json_file, page)
        return
    if code:
        raise BenchCoreError("--code prints that of a model: name one, such as gpt2.")
    if page is not None:
        raise BenchCoreError("--page is for a model, such as gpt2. `bench-core report` writes a page of all results.")
    out, file = console(), read(result_file(result, config))
    if listed:
        report_damage(file)
        out.print(table.listing(file.runs) if file.runs else "It has no run of `bench-core run`.")
    else:
        run = runs.chosen(file, which) if which else None
        file = runs.of_run(file, run) if run else file
        require_families(families, {cell.family for cell in file.cells})
        rows = show_results(out, file, families=families)
        write_tables(rows, run or table.single(rows) or file, json_file, csv_file)
    out.print(f"Stored in {relative(file.path)}", soft_wrap=True)


def _show_model(stored: StoredModel, code: str | None, json_file: Path | None, page: Path | None) -> None:
    if code and (json_file or page):
        raise BenchCoreError("--code prints code and nothing else: leave out --json and --page.")
    if code:
        print_code(stored.record, code)
        return
    if page is not None:
        require("report", what="The page")
    out = console()
    show_model(out, stored.record, stored.path)
    write_model(stored.record, json_file, page)
    out.print(f"Stored in {relative(stored.path)}", soft_wrap=True)


def result_file(name: str | None, config: Path) -> Path:
    """The result file that RESULT names.

    Raises:
        BenchCoreError: if there is no such file.
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
