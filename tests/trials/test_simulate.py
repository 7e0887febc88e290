import random

import numpy as np
import pytest

from bench_core.gate.judge import judge_cell
from bench_core.records import Effect, GateSettings
from bench_core.statistics import likeness_p
from trials import simulate

SETTINGS = GateSettings(seed=3)
FAMILY = 40
RULE = simulate.Rule.of(SETTINGS, FAMILY)


def cell_of(seed, *, middle, scatter, of_parents):
    """Log ratios of 40 pairs, two or three a parent, with a scatter of the parents' own."""
    draw = random.Random(seed)
    effects, parent = [], 0
    while len(effects) < 40:
        bias = draw.gauss(middle, of_parents)
        for _ in range(draw.choice([2, 2, 3])):
            effects.append((parent, draw.gauss(bias, scatter)))
        parent += 1
    return effects[:40]


def as_the_gate_does(effects):
    """After every pair, until the cell is decided."""
    found = [
        Effect(pair=pair, parent=parent, log_ratio=log, base=1, head=1, samples=1)
        for pair, (parent, log) in enumerate(effects)
    ]
    for taken in range(1, len(found) + 1):
        judgement = judge_cell(found[:taken], SETTINGS, FAMILY, "time")
        if judgement.decided:
            break
    low, high = (np.log(end) if end > 0 else -np.inf for end in (judgement.ratio.low, judgement.ratio.high))
    return judgement.verdict, taken, low, high


@pytest.mark.parametrize("of_parents", [0.0, 0.02], ids=["independent pairs", "pairs of a parent alike"])
@pytest.mark.parametrize("middle", [-0.05, 0.0, 0.012, 0.03, 0.05])
def test_a_cell_ends_as_the_gate_ends_it(middle, of_parents):
    cells = [cell_of(seed, middle=middle, scatter=0.01, of_parents=of_parents) for seed in range(12)]
    logs = np.array([[log for _, log in cell] for cell in cells])
    parents = np.array([[parent for parent, _ in cell] for cell in cells])
    ends = simulate.sequences(logs, parents, RULE)
    for cell, end in zip(cells, ends, strict=True):
        verdict, taken, low, high = as_the_gate_does(cell)
        assert (end.verdict, end.pairs) == (verdict, taken)
        assert (end.low, end.high) == pytest.approx((low, high))


def test_the_likeness_has_the_same_probability_to_the_last_permutation():
    groups = [[0.1, 0.12], [0.3, 0.31, 0.1], [0.2, 0.25], [0.05, 0.04], [0.2, 0.6]]
    assert simulate.likeness_p(groups, 3) == likeness_p(groups, 3)


def test_a_drawn_parent_keeps_its_pairs_in_order():
    logs, parents = simulate.resampled([[1.0, 2.0], [3.0], [4.0, 5.0, 6.0]], 50, 9, np.random.default_rng(0))
    for row, owners in zip(logs, parents, strict=True):
        for value, parent, following, owner in zip(row, owners, row[1:], owners[1:], strict=False):
            assert (owner == parent) == (following == value + 1 and value in (1, 4, 5))


def test_a_cell_with_an_error_is_not_drawn_from():
    good = {"error": None, "kind": "time", "effects": [[0.1, 0, "b"], [0.2, 1, "h"], [0.3, 1, "h"]]}
    lines = [{"cells": {"a": good, "b": {**good, "error": "fails"}}}]
    assert simulate.recorded(lines) == {"a": [[0.1], [0.2, 0.3]]}
