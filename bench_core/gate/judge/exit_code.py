"""The exit code of a gate."""

from __future__ import annotations

from collections.abc import Collection

from bench_core.gate.judge.gate import fails_with_head, was_measured
from bench_core.records.gate import GateRecord, GateVerdict


def exit_code(verdict: GateVerdict, record: GateRecord, strict: bool) -> int:
    """The exit code of a gate.

    Args:
        strict: whether an inconclusive gate is a failure.

    Returns:
        The first of these that applies: 1 for a regression, or a cell that fails with head only; 130 for an
        interrupted gate; 2 if no cell was measured although the change can reach one; 3 if `strict` and the gate is
        inconclusive, even if only because a cell could not be measured; else 0.
    """
    if verdict.verdict == "regression" or fails_with_head(record):
        return 1
    if record.interrupted:
        return 130
    if not was_measured(record):
        return 0 if record.identical or record.untouched else 2
    return 3 if strict and verdict.verdict == "inconclusive" else 0


def self_test_code(verdict: GateVerdict, plants: Collection[str], *, interrupted: bool) -> int:
    """The exit code of a self-test that has planted slowdowns in these cells.

    Returns:
        130 for an interrupted one; 1 if another cell is called slower, or a planted slowdown passes or is not there to
        be found; 3 if a planted slowdown is left undecided; else 0.
    """
    found = {cell.name: cell.verdict for cell in verdict.cells}
    planted = {found.get(name, "error") for name in plants}
    if interrupted:
        return 130
    if planted - {"regression", "inconclusive"} or "regression" in {found[name] for name in found.keys() - set(plants)}:
        return 1
    return 3 if "inconclusive" in planted else 0
