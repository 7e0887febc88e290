"""Finds causes and counts instructions after a gate, if asked to. An error here does not change the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from bench_core import units
from bench_core.cli.terminal import complain, say
from bench_core.errors import BenchCoreError
from bench_core.records.gate import Cause, GateRecord, GateVerdict

if TYPE_CHECKING:
    from bench_core.gate.prepare import Prepared

LARGEST = 3
"""The number of cells that are explained if all cells together are slower, but no cell alone."""


def looked_into(
    record: GateRecord,
    verdict: GateVerdict,
    prepared: Prepared,
    say: Callable[[str], None],
    *,
    explain: bool,
    instructions: bool,
) -> GateRecord:
    """The record with causes and instructions, if they are wanted. After an error or Ctrl-C, some are missing. `say`
    takes a line on each step."""
    if record.interrupted or prepared.work is None:
        return record
    try:
        if explain:
            record = _explained(record, verdict, prepared, say)
        if instructions:
            with harmless("no instructions were counted"):
                record = _counted(record, verdict, prepared, say)
    except KeyboardInterrupt:
        complain("interrupted; the verdict stands, without causes or instructions.")
    return record


def _explained(record: GateRecord, verdict: GateVerdict, prepared: Prepared, say: Callable[[str], None]) -> GateRecord:
    from bench_core.gate import session

    with harmless("there is no explanation"):
        record = session.explained(prepared, record, suspects(record, verdict, say), say)
        record = replace(record, causes=with_first_calls(record.causes, verdict))
    past, past_verdict = record.past, verdict.past
    if past is not None and past_verdict is not None:
        with harmless(f"there is no explanation of the slowdown since {past.base.name}"):
            past = session.explained(prepared, past, suspects(past, past_verdict, say), say)
            past = replace(past, causes=with_first_calls(past.causes, past_verdict))
    return replace(record, past=past)


def with_first_calls(causes: Sequence[Cause], verdict: GateVerdict) -> tuple[Cause, ...]:
    """The causes, with a sentence before those of memoized cells: what is inspected are calls that a cache answers."""
    found = {cell.name: cell.judgement for cell in verdict.cells if cell.judgement.memoized}

    def noted(one: Cause) -> Cause:
        if one.cell not in found:
            return one
        times = f"{found[one.cell].memoized:,.0f}"
        first = f"The first call takes {times} times as long as the others, which a cache answers. Of these others: "
        return replace(one, sentence=first + one.sentence)

    return tuple(noted(one) for one in causes)


def _counted(record: GateRecord, verdict: GateVerdict, prepared: Prepared, say: Callable[[str], None]) -> GateRecord:
    from bench_core.gate import session

    timed = {
        one.name: one.judgement.ratio.middle
        for one in verdict.cells
        if one.evidence.is_timed and one.evidence.effects and one.evidence.error is None
    }
    if not timed:
        say("no instructions are counted: no cell has a time to compare them with")
        return record
    return session.counted(prepared, record, timed, say)


def suspects(record: GateRecord, verdict: GateVerdict, say: Callable[[str], None]) -> dict[str, float]:
    """The cells to explain, with their ratios head over base: the regressions; or, if only all cells together are
    slower, the cells with the largest estimates. `say` takes the reason if there is no regression."""

    if slow := {one.name: one.judgement.ratio.middle for one in verdict.cells if one.verdict == "regression"}:
        return slow
    if verdict.suite is None or verdict.suite.verdict != "regression":
        word = units.slower_or_larger(one.evidence.is_timed for one in verdict.cells)
        say(f"nothing to explain: no cell was found {word} than {record.base.name}")
        return {}
    slower = [
        (one.judgement.ratio.middle, one.name)
        for one in verdict.cells
        if one.evidence.is_timed and one.evidence.error is None and one.judgement.ratio.middle > 1
    ]
    largest = sorted(slower, reverse=True)[:LARGEST]
    say(f"no cell alone is slower: explaining the {len(largest)} with the largest estimates")
    return {name: ratio for ratio, name in largest}


@contextmanager
def harmless(what: str) -> Iterator[None]:
    """Turn any error, in the versions' code or in ours, into a warning, so that minutes of measuring are not lost. The
    warning begins with `what`, the consequence."""
    from bench_core.workers.turns import cause

    try:
        yield
    except Exception as error:  # noqa: BLE001 - shown with its place
        said = str(error) if isinstance(error, BenchCoreError) else cause(error)
        say(f"bench-core: warning: {what}: {said}", err=True)
