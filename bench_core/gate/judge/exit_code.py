"""The exit code of a gate."""

from __future__ import annotations

from bench_core.gate.judge.gate import failing_with_head, was_measured
from bench_core.records.gate import GateRecord, GateVerdict


def exit_code(verdict: GateVerdict, record: GateRecord, strict: bool) -> int:
    """The exit code of a gate.

    Args:
        strict: an inconclusive gate is not green.

    Returns:
        1 for a regression, or a cell that fails with head only; 130 if interrupted without one; 2 if no cell was
        measured, unless because the versions are identical; 3 if strict and inconclusive, be it only because a cell
        could not be measured; else 0.
    """
    if verdict.verdict == "regression" or failing_with_head(record):
        return 1
    if record.interrupted:
        return 130
    if not was_measured(record):
        return 0 if record.identical else 2
    return 3 if strict and verdict.verdict == "inconclusive" else 0
