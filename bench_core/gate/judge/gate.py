"""The verdict on a gate, from the verdicts on its cells."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from bench_core import units
from bench_core.gate.judge.cell import judge_evidence
from bench_core.gate.judge.noise import noise
from bench_core.gate.judge.pace import Pace
from bench_core.gate.judge.rule import cell_rule, sharing
from bench_core.gate.judge.sequence import percent
from bench_core.gate.judge.suite import suite_shift
from bench_core.records.gate import CellEvidence, GateRecord, GateVerdict, JudgedCell, Judgement, VerdictName


def judge(record: GateRecord) -> GateVerdict:
    """The verdict on a gate.

    The cells share the error rate with all cells that shared it when any of the evidence was measured
    (`GateSettings.family`): a cell that was chosen because it looked slow among 40 is still the slowest of 40.

    If a control finds a difference between base and itself, the machine causes differences. Then each regression
    becomes inconclusive. The gate's verdict is the first of these that applies: regression (of a cell, or of all cells
    together), error (a cell fails with head only, or nothing was measured), inconclusive (a cell is inconclusive, or
    could not be measured for another reason), improvement, pass. An inconclusive verdict on all cells together has no
    influence.

    Head is judged against the past version in the same way, with the same controls. Only a regression there, or
    inconclusive cells, make the gate's verdict worse. Cells that the past version lacks or fails at have no influence.
    """
    controls = _judged(record, record.controls, sharing(record.controls))
    family = max(record.settings.family, sharing(record.cells))
    cells = _judged(record, record.cells, family)
    suite = suite_shift(record.cells, record.settings)
    differing = [control.judgement for control in controls if control.judgement.differs]
    doubt = ""
    if differing:
        doubt = f"control: base against itself read {_worst(differing)} on this machine today"
        cells = tuple(replace(cell, judgement=_doubted(cell.judgement, doubt)) for cell in cells)
        suite = None if suite is None else _doubted(suite, doubt)
    verdict, reason = _of_gate(record, cells, suite, doubt)
    if verdict in ("pass", "improvement"):
        reason += _asides(record, cells)
    if record.unfair:
        reason += f"; not a fair pair: {'; '.join(record.unfair)}"
    past = None
    if record.past is not None:
        past = judge(replace(record.past, controls=record.controls))
        past = replace(past, controls=(), reason=f"since {record.past.base.name}, {past.reason}")
        if _worsens(past, verdict):
            fails = f"; {reason}" if fails_with_head(record) and not fails_with_head(record.past) else ""
            verdict, reason = past.verdict, past.reason + fails
    pace = Pace(((len(cell.effects), cell.spent) for cell in record.cells), cell_rule(record.settings, family))
    missing = sum(
        pace.need(cell.evidence.kind, len(cell.evidence.effects), cell.evidence.spent)
        for cell in cells
        if cell.verdict == "inconclusive" and not cell.judgement.decided
    )
    missing = missing / record.settings.lanes if pace.is_known else 0.0
    return GateVerdict(verdict, reason, cells, controls, suite, bool(differing), noise(record), past, missing)


def _judged(record: GateRecord, cells: Sequence[CellEvidence], family: int) -> tuple[JudgedCell, ...]:
    return tuple(JudgedCell(cell, judge_evidence(cell, record.settings, family)) for cell in cells)


def _worsens(past: GateVerdict, verdict: VerdictName) -> bool:
    """Whether the comparison with the past version is worse than the gate's own verdict."""
    if past.verdict == "regression":
        return verdict != "regression"
    unsure = any(cell.verdict == "inconclusive" for cell in past.cells)
    return past.verdict == "inconclusive" and unsure and verdict in ("pass", "improvement")


def _doubted(judgement: Judgement, doubt: str) -> Judgement:
    if judgement.verdict != "regression":
        return judgement
    return replace(judgement, verdict="inconclusive", reason=doubt, decided=False)


def _of_gate(
    record: GateRecord, cells: Sequence[JudgedCell], suite: Judgement | None, doubt: str
) -> tuple[VerdictName, str]:
    """The gate's verdict, and the reason in one sentence."""
    found: dict[VerdictName, list[JudgedCell]] = defaultdict(list)
    for cell in cells:
        found[cell.verdict].append(cell)

    def say(those: Sequence[JudgedCell], what: str, example: JudgedCell) -> str:
        return f"{len(those)} of {units.plural(len(cells), 'cell')} {what}: {_named(example)}"

    failing = [cell for cell in found["error"] if cell.evidence.error_side == "head"]
    fails = say(failing, "failing with head only, first", failing[0]) if failing else ""
    if slower := found["regression"]:
        worst = max(slower, key=lambda cell: cell.judgement.ratio.low)
        word = units.slower_or_larger(cell.evidence.is_timed for cell in slower)
        if not failing:
            return "regression", say(slower, f"{word}, most of all", worst)
        both = f"{word}, {len(failing)} failing with head only; {word} most of all"
        return "regression", f"{say(slower, both, worst)}; failing first: {_named(failing[0])}"
    if suite is not None and suite.verdict == "regression":
        together = f"no cell alone, but all cells together are slower by {suite.reason}"
        return "regression", f"{together}; {fails}" if fails else together
    if fails:
        return "error", fails
    if not was_measured(record):
        if record.identical:
            return "pass", record.identical
        if record.untouched:
            return (
                "pass",
                "nothing that this change can reach, so none of "
                f"{units.plural(len(record.unaffected), 'cell')} is measured",
            )
        if record.interrupted:
            return "error", "interrupted before anything was measured"
        why = f": {_named(cells[0])}" if cells else ""
        return "error", f"nothing was measured{why}"
    unsure = found["inconclusive"]
    if doubt and any(cell.judgement.reason == doubt for cell in unsure):
        return "inconclusive", doubt
    if unsure and record.interrupted:
        return "inconclusive", f"interrupted: {len(cells) - len(unsure)} of {units.plural(len(cells), 'cell')} decided"
    if unsure:
        return "inconclusive", say(unsure, "inconclusive, first", max(unsure, key=_estimate))
    if failed := found["error"]:
        return "inconclusive", say(failed, "not measured, first", failed[0])
    if faster := found["improvement"]:
        best = min(faster, key=lambda cell: cell.judgement.ratio.high)
        word = units.faster_or_smaller(cell.evidence.is_timed for cell in faster)
        return "improvement", say(faster, f"{word}, most of all", best)
    if suite is not None and suite.verdict == "improvement":
        return "improvement", f"no cell alone, but all cells together are {suite.reason}"
    word = units.slower_or_larger(cell.evidence.is_timed for cell in cells)
    return "pass", f"{units.plural(len(cells), 'cell')}, none {word} by {units.percent(record.settings.limit)}"


def _named(cell: JudgedCell) -> str:
    return f"{cell.name}, {cell.judgement.reason}"


def _worst(differing: Sequence[Judgement]) -> str:
    """The largest ratio. The differences of values without a finite one are named if there is no other."""
    logs = [math.log(one.ratio.middle) for one in differing if 0 < one.ratio.middle < math.inf]
    return percent(max(logs, key=abs)) if logs else differing[0].reason


def _estimate(cell: JudgedCell) -> float:
    """The estimate of a cell; less than all others if there is none."""
    return -math.inf if math.isnan(cell.judgement.ratio.middle) else cell.judgement.ratio.middle


def _asides(record: GateRecord, cells: Sequence[JudgedCell]) -> str:
    """What a good verdict must not hide, as further parts of its sentence."""
    memoized = sum(cell.judgement.memoized > 0 for cell in cells)
    strays = sum(len(cell.evidence.strays) for cell in cells) + len(record.faults)
    parts = [f"{len(record.unaffected)} unaffected"] if record.unaffected and not record.untouched else []
    parts += [f"{len(record.left_out)} left out"] if record.left_out else []
    parts += [f"a cache answers all calls but the first in {memoized} of them"] if memoized else []
    parts += [f"{units.plural(strays, 'failure')} did not happen again"] if strays else []
    return "".join(f"; {part}" for part in parts)


def fails_with_head(record: GateRecord) -> bool:
    """Whether a cell fails with head and not with base."""
    return any(cell.error is not None and cell.error_side == "head" for cell in record.cells)


def was_measured(record: GateRecord) -> bool:
    return any((cell.effects or cell.exceeded) and cell.error is None for cell in record.cells)
