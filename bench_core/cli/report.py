"""`bench-core report`."""

from __future__ import annotations

import json
import os
import webbrowser
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

import click

from bench_core import clock, version
from bench_core.cli.options import CONFIG, NO_FILE
from bench_core.cli.terminal import report_left_out, say, say_page, write_page
from bench_core.errors import BenchCoreError
from bench_core.extras import require
from bench_core.records.report import Answers

PAGE = Path("bench-core-report.html")


@click.command(short_help="Write a report from stored results.")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@CONFIG
@click.option(
    "--machine",
    "machines",
    multiple=True,
    metavar="NAME",
    help="A machine, or a version of torch, e.g. torch==2.13.0. May be repeated, to compare. [default: all]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "markdown", "json", "csv", "bencher", "github-action-benchmark"]),
    default="html",
    show_default=True,
    help="The last two are formats of other tools (docs/ci.md).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The file to write. [default: {PAGE}; the other formats go to standard output]",
)
@click.option("--open", "opened", is_flag=True, help="Open the page in the browser.")
def report(
    folder: Path | None, config: Path, machines: tuple[str, ...], form: str, output: Path | None, opened: bool
) -> None:
    """Write a report from stored results: costs, distance to the hardware's limits, growth, the fastest way, history.

    It reads the suite's results and the last run that belongs to no commit, or instead the results in FOLDER, and
    measures nothing. Results that cannot be used are listed and left out.

    \b
    Example:
      bench-core report --open
    """
    from bench_core.watchdog import Watchdog

    started = clock.host()
    if output == Path("-"):
        raise click.BadParameter(NO_FILE, param_hint="'--output'")
    click.get_current_context().with_resource(Watchdog())
    if opened and form != "html":
        raise BenchCoreError(f"--open shows the page, but --format {form} makes none: leave out one of them.")
    if form == "html":
        require("report", what="The page")
        from bench_core.report.page import begin

        output = output or PAGE
        begin()
    else:
        require("report", "ruptures", "numpy", what="The report")
    found = _answers(folder, config, machines, output)
    report_left_out(found.left_out)
    text = _formatted(found, form)
    if output is None:
        say_page(text)
        return
    write_page(output, text)
    size, took = len(text.encode()) / 1e6, clock.host() - started
    say(f"{output} ({size:.1f} MB, {took:.1f} s)", err=form != "html")
    if opened and not webbrowser.open(output.absolute().as_uri()):
        raise BenchCoreError(f"no browser was found. {output} is written: open it by hand.")


def _answers(folder: Path | None, config: Path, machines: tuple[str, ...], output: Path | None) -> Answers:
    from bench_core.analysis import build
    from bench_core.asv_config import asv_config
    from bench_core.results.commits import Commits, read_commits
    from bench_core.results.store import read_store

    if folder is None:
        settings = asv_config(config)
        store = read_store(settings.results, outside=settings.outside)
    else:
        store = read_store(folder)
    hashes = {run.commit for run in store.runs} | {gate.summary.head.commit for gate in store.gates}
    # FOLDER may hold results without the project.
    commits = read_commits(config, {one for one in hashes if one}) if folder is None or config.is_file() else Commits()
    return build.report(
        store,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        version=version(),
        git=commits.known,
        link=commits.link,
        published=_published(config, output),
        machines=machines,
    )


def _published(config: Path, output: Path | None) -> str:
    """The address of asv's own pages, relative to the report; "" if `asv publish` has not been run."""
    from bench_core.asv_config import asv_config

    if not config.is_file():
        return ""
    index = asv_config(config).html / "index.html"
    if not index.is_file():
        return ""
    return quote(Path(os.path.relpath(index.absolute(), (output or Path("x")).absolute().parent)).as_posix())


def _formatted(found: Answers, form: str) -> str:
    from bench_core.report import answers, exports

    if form == "html":
        from bench_core.report.page import html

        return html(found)
    if form == "json":
        return json.dumps(answers.to_json(found), indent=1, allow_nan=False) + "\n"
    others = {
        "csv": answers.csv,
        "markdown": answers.markdown,
        "bencher": exports.bencher,
        "github-action-benchmark": exports.github_action_benchmark,
    }
    return others[form](found)
