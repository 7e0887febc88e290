"""Turns the reports of both sides on a cell into an effect, or into a failure of the cell."""

from __future__ import annotations

from collections.abc import Mapping

from bench_core.gate.measure.blame import Blame
from bench_core.gate.measure.effects import CellFaultError, SpoiledError, agree, effect, reading, require_plan
from bench_core.gate.measure.evidence import Dossier, Known
from bench_core.records.gate import SIDES, Effect, Side
from bench_core.workers.messages import CellFailed, CellLeft, CellRead, CellTimed, PairTask, Settled

CellReport = CellTimed | CellRead | CellFailed | CellLeft
"""The last report of a worker on a cell."""


def settle(
    dossier: Dossier,
    reports: Mapping[Side, CellReport],
    pair: PairTask,
    parent: int,
    spent: float,
    known: Known,
    blame: Blame,
) -> None:
    """Record the result of one cell in a pair: an effect, or a failure.

    Args:
        reports: one for each side.
        spent: seconds that the pair spent on the cell.
    """
    failures = {side: report for side, report in reports.items() if isinstance(report, CellFailed)}
    if failures:
        _fail(dossier, failures, known, blame)
        return
    try:
        found = _effect(dossier, reports["base"], reports["head"], pair, parent)
    except SpoiledError as error:
        blame.spoiled(dossier, str(error), spent)
        return
    except CellFaultError as fault:
        with known.lock:
            dossier.fail(str(fault), fault.side)
        return
    with known.lock:
        if dossier.error is not None:  # it has failed in another lane in the meantime
            return
        dossier.effects.append(found)
        dossier.spent += spent
        blame.no_fault()
        evidence = known.evidence_of(dossier)
        evidence.journal.add(dossier, found, spent, evidence.settings.family)
        if not dossier.control:  # controls are judged at the end
            evidence.judge(dossier)


def _fail(dossier: Dossier, failures: Mapping[Side, CellFailed], known: Known, blame: Blame) -> None:
    """Make a cell that fails on one side only a suspect, and leave out a cell that skips itself on both sides."""
    raised = [side for side in SIDES if side in failures and not failures[side].skipped]
    side = next(side for side in (*raised, *SIDES) if side in failures)
    first = failures[side]
    if len(failures) == 1 or len(raised) == 1:
        what = first.stage if raised else "skips itself"
        blame.suspect(dossier, f"{what}: {first.cause}", side, skips=not raised)
        return
    with known.lock:
        if raised:
            dossier.fail(f"{first.stage}: {first.cause}", None)
        else:
            dossier.closed = True
            known.evidence_of(dossier).skipped[dossier.cell.name] = first.cause


def _effect(dossier: Dossier, base: CellReport, head: CellReport, pair: PairTask, parent: int) -> Effect:
    """The effect of one pair. Raises CellFaultError if the two sides cannot be compared."""
    where = {"pair": pair.pair, "parent": parent}
    match base, head:
        case CellTimed(), CellTimed():
            _agreed(dossier, base.settled, head.settled)
            if dossier.plan is not None:
                require_plan(base.log, head.log, dossier.plan)
            return effect(base.log, head.log, first=pair.first, **where)
        case CellRead(), CellRead():
            _agreed(dossier, base.settled, head.settled)
            return reading(_value(base), _value(head), first=pair.first, **where)
        case _:
            raise CellFaultError("the sides do not do the same: only one of them is timed", None)


def _agreed(dossier: Dossier, base: Settled | None, head: Settled | None) -> None:
    if base is not None and head is not None:
        agree(base.seen, head.seen)
        dossier.plan = dossier.plan or base.plan


def _value(read: CellRead) -> float | None:
    return None if read.nothing else read.value
