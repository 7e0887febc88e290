"""`bench-core gate`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bench_core.cli.terminal import CONFIG, console, write_page
from bench_core.errors import BenchCoreError, require_writable
from bench_core.records import GateRecord, GateSettings


class Percent(click.ParamType[float]):
    """``1%``, ``1 %`` or ``0.01``."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        try:
            found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            found = -1.0
        if not 0 < found < 10:
            self.fail(f"{value!r} is not a share such as 5% or 0.05.", param, ctx)
        return found


class Duration(click.ParamType[float]):
    """``90``, ``90s`` or ``2m``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        try:
            found = float(text.rstrip("sm")) * (60 if text.endswith("m") else 1)
        except ValueError:
            found = -1.0
        if not 0 < found < 1e6:
            self.fail(f"{value!r} is not a time such as 90s or 2m.", param, ctx)
        return found


OUTPUT = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("base", required=False)
@click.argument("head", required=False)
@CONFIG
@click.option("--bench", "pattern", metavar="REGEX", help="Only cells whose name holds this regular expression.")
@click.option("--quick/--full", default=None, help="The quick profile (default without --bench), or all cells.")
@click.option("--noise-floor", type=Percent(), default="1%", show_default=True, help="Not worth a red below this.")
@click.option("--limit", type=Percent(), default="5%", show_default=True, help="A slowdown that must not slip through.")
@click.option("--budget", type=Duration(), help="Time for measuring, e.g. 120s. [default: 1.2s a cell, at least 50s]")
@click.option("--lanes", type=click.IntRange(1), default=None, help="Cores that measure at once. [default: all]")
@click.option("--seed", type=click.IntRange(1), default=None, help="What every order is drawn from. [default: drawn]")
@click.option("--timeout", type=Duration(), default="60s", show_default=True, help="When a silent worker hangs.")
@click.option("--start", type=click.Choice(["fork", "spawn"]), default="fork", show_default=True)
@click.option("--json", "json_file", type=OUTPUT, help="Write the gate with all effects (docs/gate-json.md).")
@click.option("--markdown", type=OUTPUT, help="Write a page for a job summary or a comment.")
@click.option("--junit", type=OUTPUT, help="Write JUnit XML.")
@click.option("--strict", is_flag=True, help="Inconclusive cells exit 3.")
@click.option("--force", is_flag=True, help="Measure identical content, too.")
@click.option("--fresh", is_flag=True, help="Forget what earlier gates found out about these two versions.")
@click.option("--resume", is_flag=True, help="Go on where an interrupted gate on these two versions stopped.")
@click.option("--verbose", is_flag=True, help="List the cells that pass, too.")
@click.option("--replay", type=click.Path(path_type=Path), help="Judge a --json file again, without measuring.")
@click.option("--self-test", is_flag=True, help="Plant +5 % in half of some cells: does it find them, here, today?")
def gate(base: str | None, head: str | None, replay: Path | None, self_test: bool, **options: Any) -> None:
    """Say whether HEAD made any cell slower than BASE. Without HEAD, the working tree is compared.

    Both versions are sampled in turn on the same core until each cell is decided or the time is up; a second gate on
    the same two versions goes on from what the first has found. Exit code 0: no regression; 1: a regression, or an
    error on HEAD; 2: it could not run; 3: with --strict, inconclusive cells; 130: Ctrl-C.
    """
    if replay is not None:
        sys.exit(replayed(replay, options))
    if self_test == (base is not None):
        raise BenchCoreError("name the BASE to compare with, as in `bench-core gate main`; or --self-test, alone.")
    from bench_core.gate.session import Request, Session
    from bench_core.report.gate_live import Live
    from bench_core.results.asv_run import description

    for path in (options["json_file"], options["markdown"], options["junit"]):
        if path is not None:
            require_writable(path.absolute().parent)
    out = console()
    settings = gate_settings(options)
    asked = requested(options)
    if self_test:
        asked |= {"plant": SELF_TEST_PLANT, "force": True, "fresh": True}
        settings = replace(settings, seed=settings.seed or int(datetime.now(UTC).timestamp()))
    session = Session(
        Request(base=base, head=head, settings=settings, **asked),
        description(),
        lambda line: out.print(line, markup=False, style="dim"),
    )
    if session.found is None:
        record = session.measure(lambda progress: None)
    else:
        families = list(dict.fromkeys(cell.family for cell in session.found.cells))
        with Live(out, families, session.settings, len(session.found.cells)) as live:
            record = session.measure(live.update)
    if self_test:
        sys.exit(self_tested(out, record, session.plants))
    command = " ".join(["bench-core gate", str(base), *([head] if head else [])])
    sys.exit(finished(out, record, options, command, session))


SELF_TEST_PLANT = 0.05


def self_tested(out: Console, record: GateRecord, plants: Mapping[str, float]) -> int:
    """Say what a self-test has found.

    Returns:
        The exit code: 0 if every planted cell was found and no other was.
    """
    from bench_core.gate.judge import judge
    from bench_core.report import gate as report

    verdict = judge(record)
    out.print(report.self_test(record, verdict, plants), crop=False)
    planted = [judged.verdict for cell, judged in zip(record.cells, verdict.cells, strict=True) if cell.name in plants]
    clean = [
        judged.verdict for cell, judged in zip(record.cells, verdict.cells, strict=True) if cell.name not in plants
    ]
    return 0 if set(planted) == {"regression"} and "regression" not in clean else 1


def requested(options: dict[str, Any]) -> dict[str, Any]:
    quick = options["quick"] if options["quick"] is not None else options["pattern"] is None
    kept = ("config", "pattern", "force", "fresh", "resume", "timeout")
    return {"quick": quick, **{name: options[name] for name in kept}}


def gate_settings(options: dict[str, Any]) -> GateSettings:
    if options["noise_floor"] >= options["limit"]:
        raise BenchCoreError(
            f"--noise-floor {options['noise_floor']:.1%} must be below --limit {options['limit']:.1%}: between the two "
            "lies what is told apart."
        )
    return GateSettings(
        noise_floor=options["noise_floor"],
        limit=options["limit"],
        seed=options["seed"] or 0,
        budget=options["budget"] or 0.0,
        lanes=options["lanes"] or 0,
        start=options["start"],
    )


def finished(out: Console, record: GateRecord, options: dict[str, Any], command: str, session: Any) -> int:
    """Judge, show and store a gate.

    Returns:
        The exit code.
    """
    from bench_core.gate.judge import exit_code, judge, pairs_needed, sharing
    from bench_core.report import gate as report
    from bench_core.results import asv_gate, gate_file

    verdict = judge(record)
    code = exit_code(verdict, record, options["strict"])
    results = session.project.results_dir
    if not record.identical:
        gate_file.append_controls(results, record, verdict)
        asv_gate.store(record, results, options["config"], session.found.declared)
    command += " --quick" if record.settings.profile == "quick" else " --full"
    if options["config"] != Path("asv.conf.json"):
        command += f" --suite {options['config']}"
    if options["json_file"] is not None:
        gate_file.write(options["json_file"], record, verdict, code)
    write_page(options["markdown"], report.markdown(record, verdict, command))
    write_page(options["junit"], report.junit(record, verdict))
    tally = None if record.identical else gate_file.tally(results)
    out.print(report.summary(record, verdict, command, tally=tally, verbose=options["verbose"]), crop=False)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in report.workflow_commands(record, verdict):
            click.echo(line)
    if record.interrupted:
        click.echo("bench-core: interrupted; `--resume` goes on from what was measured until then.", err=True)
    needed = pairs_needed(sharing(record.cells), record.settings)
    pairs = max((len(cell.effects) for cell in record.cells), default=0)
    if code == 0 and pairs and not any(judged.decided for judged in verdict.cells) and not record.interrupted:
        whole = record.seconds * needed / pairs
        raise BenchCoreError(
            f"the budget of {record.settings.budget:.0f} s is too small to decide anything: {pairs} pairs of at least "
            f"{needed}. About {whole:.0f} s are needed: --budget {whole:.0f}s, or the same command again, which goes "
            "on from here."
        )
    return code


def replayed(path: Path, options: dict[str, Any]) -> int:
    """Judge a stored gate again; needs neither torch nor the versions."""
    from bench_core.gate.judge import exit_code, judge
    from bench_core.report import gate as report
    from bench_core.results import gate_file

    record = gate_file.read(path)
    verdict = judge(record)
    out = console()
    command = f"bench-core gate {record.base.name}{'' if record.head.changed else f' {record.head.name}'}"
    out.print(report.summary(record, verdict, command, verbose=options["verbose"]), crop=False)
    stored = gate_file.stored_verdict(path)
    if stored != verdict.verdict:
        raise BenchCoreError(f"{path} says {stored}, and its effects say {verdict.verdict}: the file has been changed.")
    return exit_code(verdict, record, options["strict"])
