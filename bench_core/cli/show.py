"""`bench-core show`."""

from __future__ import annotations

from pathlib import Path

import click

from bench_core.cli.options import CONFIG
from bench_core.cli.terminal import console, relative, show_file


@click.command(short_help="Print the table of a stored result.")
@click.argument("result", required=False)
@CONFIG
@click.option("--family", "families", multiple=True, help="Print only this family's table in full. May be repeated.")
def show(result: str | None, config: Path, families: tuple[str, ...]) -> None:
    """Print the table of a stored RESULT: a result file, a folder of them, or a commit.

    Without RESULT, or if RESULT has several runs, the latest run is printed. A commit is the beginning of a hash, or a
    name that git knows.

    \b
    Example:
      bench-core show 3677fb64
    """
    out = console()
    file = result_file(result, config)
    show_file(out, file, families=families)
    out.print(f"Stored in {relative(file)}", markup=False, soft_wrap=True)


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
