"""Looks for causes after a gate, as far as they were asked for. An error here leaves the verdict as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from bench_core.errors import BenchCoreError
from bench_core.records.gate import GateRecord, GateVerdict

if TYPE_CHECKING:
    from bench_core.gate.prepare import Prepared

LARGEST = 3
"""Cells that are explained if all cells together are slower, and no cell alone."""


def looked_into(
    record: GateRecord,
    verdict: GateVerdict,
    prepared: Prepared,
    say: Callable[[str], None],
    *,
    explain: bool,
    instructions: bool,
) -> GateRecord:
    """The record with causes and instructions, as far as they are wanted. Errors and Ctrl-C leave out what is missing.

    Args:
        prepared: what the gate has measured.
        say: is told what is being done.
    """
    if record.interrupted or prepared.work is None:
        return record
    try:
        if explain:
            record = _explained(record, verdict, prepared, say)
        if instructions:
            with harmless("no instructions were counted"):
                record = _counted(record, verdict, prepared, say)
    except KeyboardInterrupt:
        click.echo("bench-core: interrupted; the verdict stands, without what was looked into.", err=True)
    return record


def _explained(record: GateRecord, verdict: GateVerdict, prepared: Prepared, say: Callable[[str], None]) -> GateRecord:
    from bench_core.gate import session

    with harmless("there is no explanation"):
        record = session.explained(prepared, record, suspects(record, verdict, say), say)
    past, past_verdict = record.past, verdict.past
    if past is not None and past_verdict is not None:
        with harmless(f"there is no explanation of what crept in since {past.base.name}"):
            past = session.explained(prepared, past, suspects(past, past_verdict, say), say)
    return replace(record, past=past)


def _counted(record: GateRecord, verdict: GateVerdict, prepared: Prepared, say: Callable[[str], None]) -> GateRecord:
    from bench_core.gate import session
    from bench_core.gate.judge.rule import TIMED

    timed = {
        one.name: one.judgement.ratio.middle
        for one in verdict.cells
        if one.evidence.kind in TIMED and one.evidence.effects and one.evidence.error is None
    }
    if not timed:
        say("no instructions are counted: they stand beside times, and no cell has one")
        return record
    return session.counted(prepared, record, timed, say)


def suspects(record: GateRecord, verdict: GateVerdict, say: Callable[[str], None]) -> dict[str, float]:
    """The cells to explain: the regressions; or, if only all cells together are slower, those with the largest
    estimates.

    Args:
        say: is told why these cells are chosen, if none is a regression.

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


@contextmanager
def harmless(what: str) -> Iterator[None]:
    """Turn any error, in the versions' code or in ours, into a warning: minutes of measuring must not be lost to it.

    Args:
        what: the consequence, as the beginning of the warning.
    """
    from bench_core.gate.workers.worker import cause

    try:
        yield
    except Exception as error:  # noqa: BLE001 - shown with its place
        said = str(error) if isinstance(error, BenchCoreError) else cause(error)
        click.echo(f"bench-core: warning: {what}: {said}", err=True)
