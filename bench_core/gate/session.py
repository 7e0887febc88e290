"""Runs a prepared gate, and adds causes and instruction counts to its record."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from bench_core import clock
from bench_core.gate.measure.discover import Found
from bench_core.gate.measure.evidence import Evidence
from bench_core.gate.measure.supervise import Gate
from bench_core.gate.prepare import Prepared, Work
from bench_core.gate.reach.reach import Reach
from bench_core.gate.versions.subjects import Subjects
from bench_core.gate.why.cause import meaning
from bench_core.gate.why.explain import explain
from bench_core.gate.why.instructions import count
from bench_core.records.gate import GateRecord, Instructions, Progress
from bench_core.workers.child import memory_for_each


def measure(prepared: Prepared, show: Callable[[Progress], None]) -> GateRecord:
    """Measure until all cells are decided or the budget is used up. After Ctrl-C, the record holds what is known.

    Args:
        show: takes the progress from time to time.
    """
    work = prepared.work
    if work is None:
        return _record(prepared, identical=prepared.identical, left_out=prepared.left_out)
    with ExitStack() as alone:
        for journal, found in ((work.journal, work.found), (work.past_journal, work.found.past)):
            if journal is None or found is None:
                continue
            alone.enter_context(journal.alone())
            if prepared.request.fresh:
                journal.forget({cell.name for cell in found.cells})
        return _measured(prepared, work, show)


def explained(
    prepared: Prepared, record: GateRecord, ratios: Mapping[str, float], say: Callable[[str], None]
) -> GateRecord:
    """The record, with the causes why these cells are slower.

    Args:
        record: what `measure` returned, or its `past`.
        ratios: the ratio of times, head over base, by cell.
        say: takes a line on each step.
    """
    subjects, reached = _subjects(prepared), record.reached
    if record.base != prepared.base and subjects.past is not None:
        subjects = replace(subjects, base=subjects.past, past=None)
        reached = {}  # it is known of the change since base alone
    causes = explain(subjects, list(ratios), ratios, say, record.renamed, reached)
    return replace(record, causes=tuple(causes.values()))


def counted(
    prepared: Prepared, record: GateRecord, ratios: Mapping[str, float], say: Callable[[str], None]
) -> GateRecord:
    """The record, with the instruction counts of these cells. For the arguments see `explained`.

    Raises:
        BenchCoreError: if instructions cannot be counted here.
    """
    found = count(_subjects(prepared), list(ratios), say, record.renamed)
    rows = []
    for name, time in ratios.items():
        if name in found.counts:
            base, head = (counts.total for counts in found.counts[name])
            rows.append(Instructions(name, base, head, meaning(time, base, head)))
        else:
            rows.append(Instructions(name, math.nan, math.nan, found.failed[name]))
    return replace(record, instructions=tuple(rows))


def _subjects(prepared: Prepared) -> Subjects:
    assert prepared.work is not None, "cells are inspected only after they have been measured"
    return prepared.work.subjects


def _measured(prepared: Prepared, work: Work, show: Callable[[Progress], None]) -> GateRecord:
    gate = Gate(
        work.subjects,
        work.found,
        prepared.settings,
        work.journal,
        timeout=prepared.request.timeout,
        memory=None if work.found.on_accelerator else memory_for_each(2 * len(work.cores)),  # a lane has two workers
        cores=work.cores,
        plants=work.plants,
        past_journal=work.past_journal,
        untouched=work.untouched,
    )
    interrupted = False
    try:
        gate.run(show)
    except KeyboardInterrupt:
        interrupted = True

    def compared(comparison: Evidence, found: Found) -> dict[str, Any]:
        return {
            "cells": (*comparison.cells, *found.failed),
            "left_out": {**found.left_out, **comparison.skipped},
            "renamed": found.renamed,
            "interrupted": interrupted,
            "resumed": comparison.earlier.effects,
            "first_pair": gate.first_pair,
            "spent": gate.spent.seconds,
            "settings": comparison.settings,
        }

    controls = tuple(one.evidence for one in gate.controls)
    around = {"controls": controls, "unfair": work.found.unfair, "faults": tuple(gate.faults)}
    record = _record(prepared, **around, **compared(gate.main, work.found))
    if gate.past is None or work.found.past is None or prepared.past is None:
        return record
    past = replace(record, base=prepared.past, controls=(), faults=(), **compared(gate.past, work.found.past))
    return replace(record, past=past)


def _reach(found: Reach | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {"unaffected": found.unaffected, "reached": found.through, "reaches_all": found.everything}


def _record(prepared: Prepared, **found: Any) -> GateRecord:
    nothing: dict[str, Any] = {"cells": (), "settings": prepared.settings}
    return GateRecord(
        base=prepared.base,
        head=prepared.head,
        code=prepared.code,
        besides=prepared.besides,
        notes=prepared.notes,
        model=prepared.model,
        asked=prepared.request.asked,
        **_reach(prepared.reach),
        machine=prepared.machine,
        date=prepared.date,
        seconds=clock.host() - prepared.began,
        **(nothing | found),
    )
