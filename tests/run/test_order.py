"""Cells whose time depends on what ran before, found from the samples of visits."""

import random

import pytest

from bench_core.run.order import FEWEST, ITSELF, OrderEffects, effects
from bench_core.workers.messages import Log

CELLS = ("a", "b", "c")
SAMPLES = 8


def visit(seed, longer):
    """The logs of a visit in drawn order. `longer` takes the cell, the one before it and the number of the alternation,
    and returns how many times its usual time a sample takes."""
    draw = random.Random(seed)
    logs = {name: Log(number=1) for name in CELLS}
    before = ""
    for number in range(SAMPLES):
        for position, name in enumerate(draw.sample(CELLS, len(CELLS))):
            logs[name].positions.append(position)
            logs[name].spans.append(1e-6 * draw.uniform(0.99, 1.01) * longer(name, before, number))
            before = name
    return logs


def doubts(longer, visits=20):
    found = OrderEffects()
    for seed in range(visits):
        found.add("job", visit(seed, longer))
    return found.doubts()


def test_nothing_is_said_of_cells_that_do_not_influence_each_other():
    assert doubts(lambda cell, before, number: 1.0) == {}


def test_a_cell_that_is_slower_right_after_another_makes_their_job_doubtful():
    found = doubts(lambda cell, before, number: 1.5 if (cell, before) == ("b", "a") else 1.0)
    assert "b takes" in found["job"]
    assert "right after a" in found["job"]


def test_a_cell_that_gets_slower_from_sample_to_sample_makes_its_job_doubtful():
    found = doubts(lambda cell, before, number: 1 + 0.1 * number if cell == "c" else 1.0)
    assert "c takes" in found["job"]
    assert "in the second half of its samples" in found["job"]


def test_a_cell_that_gets_faster_while_it_warms_up_is_no_reason_for_doubt():
    assert doubts(lambda cell, before, number: 1.5 if number == 0 else 1.0) == {}


def test_an_effect_is_not_judged_before_it_was_seen_in_some_visits():
    assert doubts(lambda cell, before, number: 1 + number, visits=FEWEST - 1) == {}


def test_the_effect_of_earlier_calls_is_that_of_the_second_half_over_the_first():
    log = Log(number=1, spans=[1e-6] * 4 + [1.2e-6] * 4, positions=[0] * 8)
    assert dict(effects({"a": log}))["a", ITSELF] == pytest.approx(0.1823, abs=1e-4)


def test_two_samples_say_nothing_about_earlier_calls():
    assert not dict(effects({"a": Log(number=1, spans=[1e-6, 2e-6], positions=[0, 0])}))
