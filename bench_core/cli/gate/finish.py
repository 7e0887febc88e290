"""Judges, shows, writes and stores a gate after it is measured."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench_core import clock, units
from bench_core.asv_config import naming
from bench_core.cli.gate.causes import looked_into
from bench_core.cli.terminal import complain, console, say, say_command, say_to, write_page
from bench_core.errors import BenchCoreError
from bench_core.records.gate import CellEvidence, GateRecord, GateSettings, GateVerdict
from bench_core.records.version import Version, WorkingTree

if TYPE_CHECKING:
    from bench_core.gate.prepare import Prepared
    from bench_core.report.gate import GateCommands


@dataclass(frozen=True)
class Wanted:
    """The options for the end of a gate; see `bench-core gate --help`. `config` is the ``asv.conf.json``."""

    config: Path
    strict: bool = False
    verbose: bool = False
    explain: bool = False
    instructions: bool = False
    json_file: Path | None = None
    markdown: Path | None = None
    junit: Path | None = None

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        files = (self.json_file, self.markdown, self.junit)
        return tuple(Path(os.path.realpath(path)) for path in files if path is not None)


def finished(out: Console, record: GateRecord, prepared: Prepared, wanted: Wanted) -> int:
    """Judge, show, write and store a gate. If a history cannot be written, this is only a warning.

    Returns:
        The exit code.

    Raises:
        BenchCoreError: if the budget was too small to decide anything, or a file cannot be written.
    """
    from bench_core.gate.judge.gate import judge
    from bench_core.report import gate as report
    from bench_core.results import asv_gate, gate_file

    verdict = judge(record)
    code, complaint = outcome(record, verdict, strict=wanted.strict)
    record = looked_into(
        record,
        verdict,
        prepared,
        say_to(out),
        explain=wanted.explain,
        instructions=wanted.instructions,
    )
    record = replace(record, seconds=clock.host() - prepared.began)  # explaining may take longer than measuring
    command = commands(record, wanted.config)
    results = prepared.project.results_dir
    tally = None
    with warned():
        if not record.identical:
            gate_file.append_controls(results, record, verdict)
            tally = gate_file.tally(results)
    out.print(report.summary(record, verdict, command, tally=tally, verbose=wanted.verbose), crop=False)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in report.workflow_commands(record, verdict):
            say_command(line)
    if record.interrupted:
        complain("interrupted; `--resume` continues from what was measured.")
    write(record, verdict, code, command, wanted)
    if prepared.work is not None:
        # A stranger's head may name benchmarks as it likes, and slow base down: neither belongs into asv's results. Nor
        # do the benchmarks of a model, which asv's suite lacks, and whose names do not say which model it was.
        if not prepared.request.isolated and record.model is None:
            with warned():
                asv_gate.store(record, results, wanted.config, prepared.work.found.declared)
        if not record.interrupted:
            with warned():
                gate_file.append_summary(results, record, verdict)
    if complaint:
        raise BenchCoreError(complaint)
    return code


def self_tested(out: Console, record: GateRecord, prepared: Prepared) -> int:
    """Show the result of a self-test. Returns the exit code, see `self_test_code`."""
    from bench_core.gate.judge.exit_code import self_test_code
    from bench_core.gate.judge.gate import judge
    from bench_core.report import gate as report

    verdict, plants = judge(record), prepared.work.plants if prepared.work else {}
    out.print(report.self_test(record, verdict, plants), crop=False)
    return self_test_code(verdict, plants.keys(), interrupted=record.interrupted)


def replayed(path: Path, wanted: Wanted) -> int:
    """Judge a stored gate again. Needs neither torch nor the versions.

    Returns:
        The exit code.

    Raises:
        BenchCoreError: if the file cannot be read, or its verdict does not follow from its effects.
    """
    from bench_core.gate.judge.gate import judge
    from bench_core.report import gate as report
    from bench_core.results import gate_file

    record = gate_file.read(path)
    verdict = judge(record)
    command = commands(record, wanted.config)
    console().print(report.summary(record, verdict, command, verbose=wanted.verbose), crop=False)
    stored = gate_file.stored_verdict(path)
    if stored != verdict.verdict:
        raise BenchCoreError(
            f"the verdict in {path} is {stored}, but its effects give {verdict.verdict}: the file has been changed, or "
            "another version of bench_core, with another rule, wrote it."
        )
    code, complaint = outcome(record, verdict, strict=wanted.strict)
    write(record, verdict, code, command, wanted)
    if complaint:
        raise BenchCoreError(complaint)
    return code


def outcome(record: GateRecord, verdict: GateVerdict, *, strict: bool) -> tuple[int, str]:
    """The exit code; and an error if the budget was too small to decide any cell, else ""."""
    from bench_core.gate.judge.exit_code import exit_code
    from bench_core.gate.judge.rule import MIN_READINGS, cell_rule, sharing

    code = exit_code(verdict, record, strict)
    timed = cell_rule(record.settings, max(record.settings.family, sharing(record.cells))).fewest

    def missing(cell: CellEvidence) -> int:
        return (timed if cell.is_timed else MIN_READINGS) - len(cell.effects)

    judged = [cell for cell in record.cells if cell.error is None]
    is_decided = any(cell.judgement.decided and cell.verdict != "error" for cell in verdict.cells)  # by a large effect
    if code or record.identical or not judged or is_decided or min(map(missing, judged)) <= 0:
        return code, ""
    nearest = min(judged, key=missing)
    has = len(nearest.effects)
    budget = (
        f"--budget {math.ceil(record.settings.budget) + math.ceil(verdict.missing)}s"
        if verdict.missing
        else "a larger --budget"
    )
    return BenchCoreError.exit_code, (
        f"the budget of {record.settings.budget:.3g} s is too small to decide anything: {units.plural(has, 'pair')} "
        f"of at least {has + missing(nearest)}. Use {budget}, or run the same command again, which continues from here."
    )


def commands(record: GateRecord, config: Path) -> GateCommands:
    from bench_core.report.gate import GateCommands

    return GateCommands(measuring(record, config), measuring(record.past, config) if record.past else "")


def measuring(record: GateRecord, config: Path) -> str:
    """The command that measures a gate again, without ``--bench``."""
    asked, usual = record.settings, GateSettings()
    words = ["bench-core", "gate"]
    named: list[Version] = [record.base, record.head] if record.code is None else [record.code]
    words += [version.name for version in named if not isinstance(version, WorkingTree)]
    words += [] if record.code is None else ["--versus", record.base.name, record.head.name]
    words += [] if record.past is None else ["--creep", record.past.base.name]
    words += [] if record.model is None else record.model.options
    words.append("--quick" if asked.profile == "quick" else "--full")
    for option, found, default in (
        ("--noise-floor", f"{100 * asked.noise_floor:g}%", asked.noise_floor == usual.noise_floor),
        ("--limit", f"{100 * asked.limit:g}%", asked.limit == usual.limit),
        ("--start", asked.start, asked.start == usual.start or record.code is not None),
    ):
        words += [] if default else [option, found]
    return shlex.join([*words, *record.asked.options, *naming(config)])


def write(record: GateRecord, verdict: GateVerdict, code: int, command: GateCommands, wanted: Wanted) -> None:
    from bench_core.report import gate as report
    from bench_core.results import gate_file

    if wanted.json_file is not None:
        gate_file.write(wanted.json_file, record, verdict, code)
    write_page(wanted.markdown, report.markdown(record, verdict, command))
    write_page(wanted.junit, report.junit(record, verdict))


@contextmanager
def warned() -> Iterator[None]:
    """Turn an error into a warning: a history that cannot be written must not cost the verdict."""
    try:
        yield
    except (BenchCoreError, OSError) as error:
        say(f"bench-core: warning: {error}", err=True)
