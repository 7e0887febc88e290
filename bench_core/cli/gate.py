"""`bench-core gate`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.console import Console

from bench_core.asv_config import naming
from bench_core.cli.options import CONFIG, OUTPUT, Duration, Percent
from bench_core.cli.terminal import console, write_page
from bench_core.errors import BenchCoreError, require_writable
from bench_core.records.gate import CellEvidence, GateRecord, GateSettings, GateVerdict

if TYPE_CHECKING:
    from bench_core.report.gate import GateCommands


@click.command()
@click.argument("base", required=False)
@click.argument("head", required=False)
@CONFIG
@click.option(
    "--versus",
    nargs=2,
    metavar="A B",
    help="Compare two installs ('torch==2.11.0', a wheel) or two interpreters, by path. BASE is the code, then.",
)
@click.option(
    "--creep", metavar="OLDER", help="Compare HEAD with a third, older revision, too: what small steps sum to."
)
@click.option("--bench", "pattern", metavar="REGEX", help="Only cells whose name holds this regular expression.")
@click.option("--quick/--full", default=None, help="The quick profile (default without --bench), or all cells.")
@click.option("--noise-floor", type=Percent(), default="1%", show_default=True, help="Not worth a red below this.")
@click.option("--limit", type=Percent(), default="5%", show_default=True, help="A slowdown that must not slip through.")
@click.option("--budget", type=Duration(), help="Time for measuring, e.g. 120s. [default: 50s, more for over 40 cells]")
@click.option("--lanes", type=click.IntRange(1), default=None, help="Cores that measure at once. [default: at most 2]")
@click.option("--seed", type=click.IntRange(1), default=None, help="What every order is drawn from. [default: drawn]")
@click.option("--timeout", type=Duration(), default="60s", show_default=True, help="When a silent worker hangs.")
@click.option("--start", type=click.Choice(["fork", "spawn"]), default="fork", show_default=True)
@click.option("--json", "json_file", type=OUTPUT, help="Write the gate with all effects (docs/gate-json.md).")
@click.option("--markdown", type=OUTPUT, help="Write a page for a job summary or a comment.")
@click.option("--junit", type=OUTPUT, help="Write JUnit XML.")
@click.option(
    "--explain", is_flag=True, help="Say why each red cell is slower, or larger (valgrind adds instruction counts)."
)
@click.option(
    "--instructions", is_flag=True, help="Count instructions of every timed cell, beside the times (valgrind)."
)
@click.option("--strict", is_flag=True, help="Inconclusive cells exit 3.")
@click.option("--force", is_flag=True, help="Measure identical content, too.")
@click.option("--fresh", is_flag=True, help="Forget what earlier gates found out about these two versions.")
@click.option("--resume", is_flag=True, help="Go on where an interrupted gate on these two versions stopped.")
@click.option("--verbose", is_flag=True, help="List the cells that pass, too.")
@click.option("--replay", type=click.Path(path_type=Path), help="Judge a --json file again, without measuring.")
@click.option("--self-test", is_flag=True, help="Plant +5 % in half of some cells: does it find them, here, today?")
@click.pass_context
def gate(
    ctx: click.Context, /, base: str | None, head: str | None, replay: Path | None, self_test: bool, **options: Any
) -> None:
    """Say whether HEAD made any cell slower than BASE. Without HEAD, the working tree is compared.

    With --versus, the code is the same on both sides, BASE or the working tree, and an install differs.

    Both versions are sampled in turn on the same core until each cell is decided or the time is up; a second gate on
    the same two versions goes on from what the first has found. Exit code 0: no regression; 1: a regression, or an
    error on HEAD; 2: it could not run; 3: with --strict, inconclusive cells; 130: Ctrl-C.
    """
    for path in outputs(options):
        require_writable(path.parent)
    if replay is not None:
        refuse_others(ctx, "--replay", "judges what is stored, as it was asked for", REPLAY_TAKES)
        sys.exit(replayed(replay, options))
    versus = options["versus"]
    if self_test == (base is not None or versus is not None):
        raise BenchCoreError(
            "name the BASE to compare with, as in `bench-core gate main`; or two installs, with --versus; or "
            "--self-test, alone."
        )
    if self_test:
        refuse_others(ctx, "--self-test", "says what it finds and writes nothing", SELF_TEST_TAKES)
    if versus is not None and head is not None:
        raise BenchCoreError(
            "--versus compares two installs with the same code on both sides: name one revision, or none for the "
            f"working tree, and leave out {head}."
        )
    if versus is not None and options["creep"] is not None:
        raise BenchCoreError("--creep compares a third revision, and --versus compares none: give one of them.")
    if options["fresh"] and options["resume"]:
        raise BenchCoreError("--fresh forgets what --resume goes on from: give one of them.")
    from bench_core.gate.measure.supervise import interruptible
    from bench_core.gate.session import Request, Session
    from bench_core.report.gate_live import Live
    from bench_core.results.asv_run import description

    ctx.with_resource(interruptible())
    out = console()
    settings = gate_settings(options)
    asked = requested(options)
    if self_test:
        asked |= {"plant": SELF_TEST_PLANT, "force": True, "fresh": True}
        settings = replace(settings, seed=settings.seed or int(datetime.now(UTC).timestamp()))
    session = Session(
        Request(base=base, head=head, settings=settings, **asked),
        description(),
        lambda line: out.print(line, markup=False, style="dim", soft_wrap=True),
    )
    if self_test and not session.plants:
        raise BenchCoreError(
            "there is no cell whose time is measured, so nothing to plant a slowdown in: leave out --bench, or let it "
            "match a `time_` benchmark."
        )
    if session.found is None:
        record = session.measure(lambda progress: None)
    else:
        families = list(dict.fromkeys(cell.family for cell in session.found.cells))
        cells = len(session.found.cells) + (len(session.found.past.cells) if session.found.past else 0)
        with Live(out, families, session.settings, cells) as live:
            record = session.measure(live.update)
    if self_test:
        sys.exit(self_tested(out, record, session.plants))
    sys.exit(finished(out, record, options, session))


SELF_TEST_PLANT = 0.05

OUTPUTS = ("json_file", "markdown", "junit")
REPLAY_TAKES = ("replay", "config", *OUTPUTS, "strict", "verbose")
SELF_TEST_TAKES = (
    *("self_test", "config", "pattern", "quick", "noise_floor", "limit", "budget", "lanes", "seed", "timeout"),
    *("start", "force", "fresh"),
)


def refuse_others(ctx: click.Context, mode: str, why: str, taken: Collection[str]) -> None:
    """Nothing that is asked for goes unheard.

    Raises:
        BenchCoreError: if an option, or a revision, was given that `mode` does not take.
    """
    for param in ctx.command.params:
        given = param.name is not None and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
        if given and param.name not in taken:
            name = param.opts[0] if isinstance(param, click.Option) else param.human_readable_name
            raise BenchCoreError(f"{mode} {why}: leave out {name}.")


def self_tested(out: Console, record: GateRecord, plants: Mapping[str, float]) -> int:
    """Say what a self-test has found.

    Returns:
        The exit code: 0 if every planted cell was found and no other was, 130 after Ctrl-C, else 1.
    """
    from bench_core.gate.judge.gate import judge
    from bench_core.report import gate as report

    verdict = judge(record)
    out.print(report.self_test(record, verdict, plants), crop=False)
    if record.interrupted:
        return 130
    found = {cell.name: cell.verdict for cell in verdict.cells}
    red = {name for name, what in found.items() if what == "regression"}
    return 0 if red and red == plants.keys() & found.keys() else 1


def requested(options: dict[str, Any]) -> dict[str, Any]:
    quick = options["quick"] if options["quick"] is not None else options["pattern"] is None
    kept = ("config", "pattern", "force", "fresh", "resume", "timeout", "instructions", "versus", "creep")
    return {"quick": quick, "written": outputs(options), **{name: options[name] for name in kept}}


def outputs(options: dict[str, Any]) -> tuple[Path, ...]:
    """The files that were asked for."""
    return tuple(Path(os.path.realpath(options[name])) for name in OUTPUTS if options.get(name) is not None)


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


def finished(out: Console, record: GateRecord, options: dict[str, Any], session: Any) -> int:
    """Judge, show, write and store a gate. That the history cannot be written loses nothing of what was measured.

    Returns:
        The exit code.
    """
    from bench_core.gate.judge.gate import judge
    from bench_core.report import gate as report
    from bench_core.results import asv_gate, gate_file

    verdict = judge(record)
    code, complaint = outcome(record, verdict, options["strict"])
    record = looked_into(out, record, verdict, session, options)
    command = commands(record, options["config"])
    results = session.project.results_dir
    tally = None
    with warned():
        if not record.identical:
            gate_file.append_controls(results, record, verdict)
            tally = gate_file.tally(results)
    out.print(report.summary(record, verdict, command, tally=tally, verbose=options["verbose"]), crop=False)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in report.workflow_commands(record, verdict):
            click.echo(line)
    if record.interrupted:
        click.echo("bench-core: interrupted; `--resume` goes on from what was measured until then.", err=True)
    written(record, verdict, code, command, options)
    if not record.identical:
        with warned():
            asv_gate.store(record, results, options["config"], session.found.declared)
        if not record.interrupted:
            with warned():
                gate_file.append_summary(results, record, verdict)
    if complaint:
        raise BenchCoreError(complaint)
    return code


def looked_into(
    out: Console, record: GateRecord, verdict: GateVerdict, session: Any, options: dict[str, Any]
) -> GateRecord:
    """The record with causes and instruction counts, as far as asked for. Whatever stops that, Ctrl-C or an error,
    leaves them out, and nothing else."""
    from bench_core.gate.judge.rule import TIMED

    if record.interrupted or session.found is None:
        return record

    def say(line: str) -> None:
        out.print(line, markup=False, style="dim", soft_wrap=True)

    timed = {
        one.name: one.judgement.ratio.middle
        for one in verdict.cells
        if one.evidence.kind in TIMED and one.evidence.effects and one.evidence.error is None
    }
    try:
        if options["explain"]:
            with harmless("there is no explanation"):
                record = session.explained(record, suspects(record, verdict, say), say)
            if record.past is not None and verdict.past is not None:
                with harmless(f"there is no explanation of what crept in since {record.past.base.name}"):
                    past = session.explained(record.past, suspects(record.past, verdict.past, say), say)
                    record = replace(record, past=past)
        if options["instructions"] and not timed:
            say("no instructions are counted: they stand beside times, and no cell has one")
        elif options["instructions"]:
            with harmless("no instructions were counted"):
                record = session.counted(record, timed, say)
    except KeyboardInterrupt:
        click.echo("bench-core: interrupted; the verdict stands, without what was looked into.", err=True)
    return record


LARGEST = 3
"""Cells that are explained where the suite as a whole is slower, and none of them alone."""


def suspects(record: GateRecord, verdict: GateVerdict, say: Callable[[str], None]) -> dict[str, float]:
    """The cells to explain: those that are red, or in a suite that is red as a whole those with the largest estimates.

    Args:
        say: is told why these, where no cell is red.

    Returns:
        Name to value, head over base.
    """
    from bench_core.gate.judge.rule import TIMED

    if slow := {one.name: one.judgement.ratio.middle for one in verdict.cells if one.verdict == "regression"}:
        return slow
    if verdict.suite is None or verdict.suite.verdict != "regression":
        say(f"nothing to explain: no cell was found slower than {record.base.name}")
        return {}
    slower = [
        (one.judgement.ratio.middle, one.name)
        for one in verdict.cells
        if one.evidence.kind in TIMED and one.evidence.error is None and one.judgement.ratio.middle > 1
    ]
    largest = sorted(slower, reverse=True)[:LARGEST]
    say(f"no cell alone is slower: explaining the {len(largest)} with the largest estimates")
    return {name: ratio for ratio, name in largest}


def replayed(path: Path, options: dict[str, Any]) -> int:
    """Judge a stored gate again; needs neither torch nor the versions."""
    from bench_core.gate.judge.gate import judge
    from bench_core.report import gate as report
    from bench_core.results import gate_file

    record = gate_file.read(path)
    verdict = judge(record)
    command = commands(record, options["config"])
    console().print(report.summary(record, verdict, command, verbose=options["verbose"]), crop=False)
    stored = gate_file.stored_verdict(path)
    if stored != verdict.verdict:
        raise BenchCoreError(
            f"{path} says {stored}, and its effects say {verdict.verdict}: the file has been changed, or the rule has "
            "since another version of bench_core wrote it."
        )
    code, complaint = outcome(record, verdict, options["strict"])
    written(record, verdict, code, command, options)
    if complaint:
        raise BenchCoreError(complaint)
    return code


def outcome(record: GateRecord, verdict: GateVerdict, strict: bool) -> tuple[int, str]:
    """The exit code, and what is to be said where it is 2 because the budget let no cell be decided."""
    from bench_core.gate.judge.cell import MIN_READINGS
    from bench_core.gate.judge.exit_code import exit_code
    from bench_core.gate.judge.rule import TIMED, pairs_needed, sharing

    code = exit_code(verdict, record, strict)
    timed = pairs_needed(max(record.settings.family, sharing(record.cells)), record.settings)

    def missing(cell: CellEvidence) -> int:
        return (timed if cell.kind in TIMED else MIN_READINGS) - len(cell.effects)

    judged = [cell for cell in record.cells if cell.error is None]
    if code or record.identical or not judged or min(map(missing, judged)) <= 0:
        return code, ""
    new = sum(len(cell.effects) for cell in (*record.cells, *record.controls)) - record.resumed
    more = record.seconds / max(1, new) * sum(map(missing, judged))
    nearest = min(judged, key=missing)
    return BenchCoreError.exit_code, (
        f"the budget of {record.settings.budget:.3g} s is too small to decide anything: "
        f"{len(nearest.effects)} pairs of at least {len(nearest.effects) + missing(nearest)}. About {more:.0f} s more "
        f"are needed: --budget {more:.0f}s, or the same command again, which goes on from here."
    )


def commands(record: GateRecord, config: Path) -> GateCommands:
    """The commands that measure what a record holds again."""
    from bench_core.report.gate import GateCommands

    return GateCommands(measuring(record, config), measuring(record.past, config) if record.past else "")


def measuring(record: GateRecord, config: Path) -> str:
    """The command that measures what a record holds again, but for ``--bench``."""
    from bench_core.gate.versions.revisions import WORKING_TREE

    asked, usual = record.settings, GateSettings()
    words = ["bench-core", "gate"]
    named = [record.base, record.head] if record.code is None else [record.code]
    words += [version.name for version in named if version.name != WORKING_TREE]
    words += [] if record.code is None else ["--versus", record.base.name, record.head.name]
    words += [] if record.past is None else ["--creep", record.past.base.name]
    words.append("--quick" if asked.profile == "quick" else "--full")
    for option, found, default in (
        ("--noise-floor", f"{100 * asked.noise_floor:g}%", asked.noise_floor == usual.noise_floor),
        ("--limit", f"{100 * asked.limit:g}%", asked.limit == usual.limit),
        ("--start", asked.start, asked.start == usual.start or record.code is not None),
    ):
        words += [] if default else [option, found]
    return shlex.join([*words, *naming(config)])


def written(
    record: GateRecord, verdict: GateVerdict, code: int, command: GateCommands, options: dict[str, Any]
) -> None:
    """Write the files that were asked for."""
    from bench_core.report import gate as report
    from bench_core.results import gate_file

    if options["json_file"] is not None:
        gate_file.write(options["json_file"], record, verdict, code)
    write_page(options["markdown"], report.markdown(record, verdict, command))
    write_page(options["junit"], report.junit(record, verdict))


@contextmanager
def harmless(what: str) -> Iterator[None]:
    """Whatever goes wrong after the verdict is known, in the versions' code or in ours, costs a line and not the
    verdict: minutes of measuring, and an exit code that is the gate's own.

    Args:
        what: there is not, then.
    """
    from bench_core.gate.workers.worker import cause

    try:
        yield
    except Exception as error:  # noqa: BLE001 - said, with its place
        said = str(error) if isinstance(error, BenchCoreError) else cause(error)
        click.echo(f"bench-core: warning: {what}: {said}", err=True)


@contextmanager
def warned() -> Iterator[None]:
    """What cannot be kept for later costs a line, and not the verdict."""
    try:
        yield
    except (BenchCoreError, OSError) as error:
        click.echo(f"bench-core: warning: {error}", err=True)
