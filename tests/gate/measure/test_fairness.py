"""What must not be taken for a difference between the versions, and what evidence is worth when it is seen again."""

import importlib
import math
import random
import sys

import pytest

from bench_core.gate.judge.cell import judge_cell
from bench_core.gate.judge.rule import sharing
from bench_core.gate.measure.evidence import Dossier
from bench_core.records.gate import Effect
from bench_core.workers import nursery
from bench_core.workers.messages import NurseryTask, Sampling, SamplingPlan, Source

CALL = """
import thing


def time_value():
    thing.value()
"""
PLAN = SamplingPlan(alternations=8, blocks=1, places=(Sampling(1, warm=True),) * 2)
LOOP = "def value():\n    for _ in range({}):\n        pass\n"


def test_a_head_that_takes_ten_times_as_long_is_slower_and_its_clock_is_right(sides):
    gate = sides(CALL, LOOP.format(100_000), LOOP.format(1_000_000)).measure()
    (found,) = gate.dossiers
    assert found.error is None
    assert judge_cell(found.effects, gate.settings, 1, "time").verdict == "regression"


CACHED = """
import functools


CACHE
def value():
    for _ in range(500_000):
        pass
"""


def test_a_lost_cache_is_a_regression_whose_samples_are_short_on_both_sides(sides):
    cached, lost = (CACHED.replace("CACHE", line) for line in ("@functools.lru_cache", ""))
    gate = sides(CALL, cached, lost).measure()
    (found,) = gate.dossiers
    assert judge_cell(found.effects, gate.settings, 1, "time").verdict == "regression"
    first = found.effects[0]
    assert first.base < 5e-6 < 1e-3 < first.head
    assert math.exp(first.log_ratio) == pytest.approx(first.head / first.base, rel=0.3)
    base, head = found.plan.places
    assert base.number * first.base < 0.01
    assert (head.number, head.warm) == (1, False)
    assert found.spent / len(found.effects) < 5  # it was 120 s


RANDOM = """
import random


def track_draw():
    return random.random()
"""


def test_both_sides_of_a_pair_draw_the_same_numbers_and_the_next_pair_others(sides):
    gate = sides(RANDOM, LOOP.format(1)).measure(until=lambda gate: len(gate.dossiers[0].effects) > 1)
    effects = gate.dossiers[0].effects
    assert all(effect.base == effect.head for effect in effects)
    assert len({effect.base for effect in effects}) == len(effects) > 1


STRAY = """
from pathlib import Path


def value():
    seen = Path(__file__).with_name("seen")
    if SIDE == "head" and not seen.exists():
        seen.touch()
        raise OSError("out of luck")
"""


def test_a_failure_that_does_not_come_again_is_no_error(sides):
    made = sides(CALL, f"SIDE = 'base'\n{STRAY}", f"SIDE = 'head'\n{STRAY}")
    gate = made.measure(until=lambda gate: gate.dossiers[0].strays and gate.dossiers[0].effects)
    (found,) = gate.dossiers
    assert found.error is None
    assert len(found.strays) == 1
    assert found.effects


def test_controls_are_measured_for_as_long_as_cells_are(sides):
    gate = sides(CALL, LOOP.format(2000)).measure()
    assert len(gate.controls[0].effects) >= len(gate.dossiers[0].effects) - 1


@pytest.fixture
def module_folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    before = dict(sys.modules)
    yield tmp_path
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]
    sys.modules.update(before)
    importlib.invalidate_caches()


def test_a_parent_imports_nothing_that_would_bring_in_what_is_compared(module_folder):
    (module_folder / "compared_thing.py").touch()
    (module_folder / "friend_of_it.py").write_text("import compared_thing\n")
    (module_folder / "stranger.py").touch()
    sources = {"base": Source((), ("compared_thing",), "")}
    task = NurseryTask(sources, "", preload=(), core=None, start="fork", memory=None)
    nursery._import(task, ["friend_of_it", "stranger"])
    assert "stranger" in sys.modules
    assert not {"friend_of_it", "compared_thing"} & set(sys.modules)


def test_evidence_that_was_seen_among_forty_cells_is_judged_among_forty(sides):
    made = sides(CALL, LOOP.format(2000))
    first = made.gate()
    draw = random.Random(0)
    dossier = Dossier(first.dossiers[0].cell, plan=PLAN)
    for pair in range(3):
        first.main.journal.add(dossier, Effect(pair, pair, draw.gauss(0, 1e-3), 1.0, 1.0, 8), 0.1, family=40)
    again = made.gate()
    assert sharing(one.cell for one in again.dossiers) == 1
    assert again.settings.family == 40
    assert again.main.earlier.effects == 3


@pytest.mark.thorough
def test_the_earlier_gates_controls_count_though_todays_are_others(sides):
    cases = {"calls.py": "".join(f"def time_{name}():\n    pass\n\n\n" for name in "abcdefgh")}
    made = sides(cases, "")
    first = made.gate(seed=1)
    control = first.controls[0]
    control.plan = PLAN
    first.main.journal.add(control, Effect(0, 0, 0.0, 1.0, 1.0, 8), 0.1, family=8)
    others = [made.gate(seed=seed) for seed in range(2, 8)]
    assert all(control.cell.name in {one.cell.name for one in gate.controls} for gate in others)
    assert any(len(gate.controls) == 2 for gate in others)
