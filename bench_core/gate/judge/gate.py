"""The verdict on a gate, from those on its cells."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from bench_core.gate.judge.cell import _count, judge_evidence, percent
from bench_core.gate.judge.noise import noise
from bench_core.gate.judge.rule import sharing
from bench_core.gate.judge.suite import suite_shift
from bench_core.records.gate import GateRecord, GateVerdict, Judgement, VerdictName


def judge(record: GateRecord) -> GateVerdict:
    """The verdict on a gate.

    The cells share the error rate with all those that shared it when some of the evidence was taken
    (`GateSettings.family`): a cell that was chosen because it looked slow among 40 is still the slowest of 40.

    If a control differs from itself, the machine makes differences of its own: no regression is believed, of a cell
    or of the suite, and each becomes inconclusive. The gate's verdict is the first that applies: regression (of a
    cell or of the suite), error (head fails where base does not, or nothing was measured), inconclusive (a cell is,
    or could not be measured for another reason), improvement, pass. That the suite is inconclusive changes nothing.

    Against a third version head is judged in the same way, with the same controls. Only a regression there, or cells
    that are inconclusive, make the gate's verdict worse: what the third version lacks or fails at is no news.
    """
    shared, controlled = max(record.settings.family, sharing(record.cells)), sharing(record.controls)
    controls = tuple(judge_evidence(cell, record.settings, controlled) for cell in record.controls)
    cells = tuple(judge_evidence(cell, record.settings, shared) for cell in record.cells)
    suite = suite_shift(record.cells, record.settings)
    rejecting = [control for control in controls if control.rejects]
    doubt = ""
    if rejecting:
        worst = max((math.log(control.ratio.middle) for control in rejecting), key=abs)
        doubt = f"control: base against itself read {percent(worst)} on this machine today"
        cells = tuple(_doubted(judgement, doubt) for judgement in cells)
        suite = None if suite is None else _doubted(suite, doubt)
    verdict, reason = _of_gate(record, cells, suite, doubt)
    if record.unfair:
        reason += f"; not a fair pair: {'; '.join(record.unfair)}"
    creep = None
    if record.creep is not None:
        creep = judge(replace(record.creep, controls=record.controls))
        creep = replace(creep, controls=(), reason=f"since {record.creep.base.name}, {creep.reason}")
        if _worsens(creep, verdict):
            verdict, reason = creep.verdict, creep.reason
    return GateVerdict(verdict, reason, cells, controls, suite, bool(rejecting), noise(record), creep)


def _worsens(creep: GateVerdict, verdict: VerdictName) -> bool:
    """Whether what crept in since the third version says more than the gate's own verdict."""
    if creep.verdict == "regression":
        return verdict != "regression"
    unsure = any(judged.verdict == "inconclusive" for judged in creep.cells)
    return creep.verdict == "inconclusive" and unsure and verdict in ("pass", "improvement")


def _doubted(judgement: Judgement, doubt: str) -> Judgement:
    if judgement.verdict != "regression":
        return judgement
    return replace(judgement, verdict="inconclusive", reason=doubt, decided=False)


def _of_gate(
    record: GateRecord, cells: Sequence[Judgement], suite: Judgement | None, doubt: str
) -> tuple[VerdictName, str]:
    """The gate's verdict, and one sentence."""
    found: dict[VerdictName, list[int]] = defaultdict(list)
    for index, judgement in enumerate(cells):
        found[judgement.verdict].append(index)

    def say(indices: Sequence[int], what: str, example: int) -> str:
        total = _count(len(cells), "cell")
        return f"{len(indices)} of {total} {what}: {record.cells[example].name}, {cells[example].reason}"

    if slower := found["regression"]:
        return "regression", say(slower, "slower, most of all", max(slower, key=lambda i: cells[i].ratio.low))
    if suite is not None and suite.verdict == "regression":
        return "regression", f"no cell alone, but the suite as a whole is slower by {suite.reason}"
    if failing := failing_with_head(record):
        return "error", say(failing, "failing with head only, first", failing[0])
    if not was_measured(record):
        if record.identical:
            return "pass", record.identical
        why = f": {record.cells[0].name}, {cells[0].reason}" if cells else ""
        return "error", f"nothing was measured{why}"
    if doubt and any(cells[index].reason == doubt for index in found["inconclusive"]):
        return "inconclusive", doubt
    if unsure := found["inconclusive"]:
        return "inconclusive", say(unsure, "inconclusive, first", unsure[0])
    if failed := found["error"]:
        return "inconclusive", say(failed, "not measured, first", failed[0])
    if faster := found["improvement"]:
        return "improvement", say(faster, "faster, most of all", min(faster, key=lambda i: cells[i].ratio.high))
    if suite is not None and suite.verdict == "improvement":
        return "improvement", f"no cell alone, but the suite as a whole is {suite.reason}"
    return "pass", f"{_count(len(cells), 'cell')}, none slower by {100 * record.settings.limit:.3g} %"


def failing_with_head(record: GateRecord) -> list[int]:
    return [i for i, cell in enumerate(record.cells) if cell.error is not None and cell.error_side == "head"]


def was_measured(record: GateRecord) -> bool:
    return any(cell.effects and cell.error is None for cell in record.cells)
