import json
import random

import numpy as np
import pytest

from bench_core.errors import BenchCoreError
from bench_core.gate.judge.cell import judge_cell
from bench_core.gate.judge.rule import cell_rule
from bench_core.records.gate import Effect, GateSettings
from bench_core.statistics import likeness_p
from trials import simulate
from trials.files import raw

SETTINGS = GateSettings(seed=3)
FAMILY = 40
RULE = cell_rule(SETTINGS, FAMILY)


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
    ends = (judgement.ratio.low, judgement.ratio.high, judgement.at_most.value)
    return judgement.verdict, taken, *(np.log(end) if end > 0 else -np.inf for end in ends)


@pytest.mark.parametrize("of_parents", [0.0, 0.02], ids=["independent pairs", "pairs of a parent alike"])
@pytest.mark.parametrize("middle", [-0.05, 0.0, 0.012, 0.03, 0.05])
def test_a_cell_ends_as_the_gate_ends_it(middle, of_parents):
    cells = [cell_of(seed, middle=middle, scatter=0.01, of_parents=of_parents) for seed in range(12)]
    logs = np.array([[log for _, log in cell] for cell in cells])
    parents = np.array([[parent for parent, _ in cell] for cell in cells])
    ends = simulate.sequences(logs, parents, RULE)
    for cell, end in zip(cells, ends, strict=True):
        verdict, taken, *numbers = as_the_gate_does(cell)
        assert (end.verdict, end.pairs) == (verdict, taken)
        assert (end.low, end.high, end.at_most) == pytest.approx(numbers)


def test_a_cell_that_moves_while_it_is_open_ends_as_the_gate_ends_it():
    # Slower by 3 %, then mostly by 8 %: claims that exclude each other, and both red once there is a fourth parent.
    logs = [np.log1p(0.03 if pair < 18 or pair % 3 == 0 else 0.08) for pair in range(400)]
    parents = [min(pair // 100, 3) for pair in range(len(logs))]
    cell = list(zip(parents, logs, strict=True))
    (end,) = simulate.sequences(np.array([logs]), np.array([parents]), RULE)
    verdict, taken, low, high, _ = as_the_gate_does(cell)
    assert (verdict, low < high) == ("regression", True)
    assert (end.verdict, end.pairs) == (verdict, taken)
    assert (end.low, end.high) == pytest.approx((low, high))


def test_the_likeness_has_the_same_probability_to_the_last_permutation():
    groups = [[0.1, 0.12], [0.3, 0.31, 0.1], [0.2, 0.25], [0.05, 0.04], [0.2, 0.6]]
    assert simulate.likeness_p(groups, 3) == likeness_p(groups, 3)


def drawn(pool, gates=50, fewest=4, most=9):
    return simulate.resampled(pool, gates, fewest, most, np.random.default_rng(0))


def test_a_drawn_parent_keeps_its_pairs_in_order():
    logs, parents = drawn(simulate.Pool([[1.0, 2.0], [3.0], [4.0, 5.0, 6.0]], []))
    for row, owners in zip(logs, parents, strict=True):
        for value, parent, following, owner in zip(row, owners, row[1:], owners[1:], strict=False):
            assert (owner == parent) == (following == value + 1 and value in (1, 4, 5))


def test_long_pairs_come_once_the_fewest_have_been_taken():
    logs, parents = drawn(simulate.Pool([[1.0, 1.0], [1.0]], [[2.0, 2.0, 2.0], [2.0]]))
    assert (logs[:, :4] == 1).all()
    assert (logs[:, 5:] == 2).all()  # the last parent of short pairs may have one more
    assert ((np.diff(logs, axis=1) != 0) <= (np.diff(parents, axis=1) != 0)).all()


def of_pairs(*samples, error=None):
    effects = [[number / 10, number // 2, "b", count] for number, count in enumerate(samples, start=1)]
    return {"error": error, "kind": "time", "effects": effects}


def test_a_cell_with_an_error_is_not_drawn_from():
    lines = [{"cells": {"a": of_pairs(12, 12, 12), "b": of_pairs(12, error="fails")}}]
    assert simulate.recorded(lines) == {"a": simulate.Pool([[0.1], [0.2, 0.3]], [])}


def test_pairs_longer_than_the_first_of_their_gate_have_a_separate_pool():
    lines = [{"cells": {"a": of_pairs(12, 12, 36)}}, {"cells": {"a": of_pairs(36)}}]
    assert simulate.recorded(lines) == {"a": simulate.Pool([[0.1], [0.2], [0.1]], [[0.3]])}


def test_gates_without_the_samples_of_their_pairs_are_refused():
    cell = {"error": None, "kind": "time", "effects": [[0.1, 0, "b"]]}
    with pytest.raises(BenchCoreError, match="without the lengths"):
        simulate.recorded([{"cells": {"a": cell}}])


def test_a_simulation_draws_from_the_newest_gates_alone(tmp_path):
    for tool in ("old", "new"):
        raw(tmp_path, "aa").add(tool=tool, options={}, cells={"a": of_pairs(*[12] * 9)})
    simulate.run(tmp_path, "now", 2, 1, lambda line: None)
    found = json.loads((tmp_path / "simulate.jsonl").read_text())
    assert (found["tool"], found["aa_tool"], found["aa_gates"]) == ("now", "new", 1)
