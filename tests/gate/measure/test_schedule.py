"""Which pair comes next, without a process."""

import math
from dataclasses import replace

import pytest

from bench_core.gate.judge.rule import pairs_needed
from bench_core.gate.measure.discover import Found
from bench_core.gate.measure.evidence import CONTROL, PAST, Journal, Known
from bench_core.gate.measure.schedule import (
    FEW_CELLS,
    LONG_PAIR,
    MORE_SAMPLES,
    MOST_PAIRS_OF_A_PARENT,
    PAIRS_OF_A_PARENT,
    Schedule,
    is_enough,
)
from bench_core.gate.workers.messages import SamplingPlan
from bench_core.records.gate import SIDES, CellEvidence, Effect, GateSettings

PLAN = SamplingPlan(number=3, alternations=16, blocks=4, warm=True)


@pytest.fixture
def make(tmp_path):
    """Makes what is known of cells with these names, and their schedule."""

    def made(*names, kind="time", lanes=1, plants=None, past=False):
        cells = tuple(CellEvidence(name, name, {}, kind, "seconds") for name in names)
        found = Found(cells, {}, (), (), [], on_accelerator=False)
        found = replace(found, past=found if past else None)
        known = Known(found, GateSettings(seed=1), Journal(tmp_path / "journal"), Journal(tmp_path / "past"))
        return known, Schedule(known, 60.0, lanes, plants or {})

    return made


def plans(pairs):
    return {cell.name: cell.plan for pair in pairs for cell in pair.cells if pair.versions["base"] != "past"}


@pytest.mark.parametrize("taken", range(1, MOST_PAIRS_OF_A_PARENT + 2))
def test_a_parent_ends_after_an_even_number_of_pairs(taken):
    ends = {is_enough(taken, seconds, starting=1.0) for seconds in (0.0, 2.0)}
    if taken % 2 or taken < PAIRS_OF_A_PARENT:
        assert ends == {False}
    elif taken < MOST_PAIRS_OF_A_PARENT:
        assert ends == {False, True}
    else:
        assert ends == {True}


def test_a_planted_slowdown_leaves_controls_alone(make):
    _, schedule = make("a.time_a", plants={"a.time_a": 0.05})
    compared, control = schedule.pairs_of(0, "base")
    assert [cell.plant for cell in compared.cells] == [0.05]
    assert (tuple(control.versions[side] for side in SIDES), [cell.plant for cell in control.cells]) == (CONTROL, [0.0])


def test_finding_out_how_to_sample_a_cell_is_left_to_one_lane(make):
    known, schedule = make("a.time_a", "b.time_b", "c.time_c", lanes=2)
    by_lane = [set(plans(schedule.pairs_of(lane, "base"))) for lane in range(2)]
    assert by_lane[0] & by_lane[1] == set()
    assert by_lane[0] | by_lane[1] == {"a.time_a", "b.time_b", "c.time_c"}
    for dossier in known.dossiers:
        dossier.plan = PLAN
    assert all(len(plans(schedule.pairs_of(lane, "base"))) == 3 for lane in range(2))


def test_each_cell_of_peak_memory_has_its_own_pair(make):
    _, schedule = make("a.peakmem_a", "b.peakmem_b", kind="peakmemory")
    assert [len(pair.cells) for pair in schedule.pairs_of(0, "base")] == [1, 1]


@pytest.mark.parametrize("kind", ["enough", "too few pairs", "too many cells", "too long"])
def test_a_cell_that_few_pairs_do_not_decide_gets_more_samples(make, kind):
    others = [f"x{number}.time_x" for number in range(FEW_CELLS if kind == "too many cells" else FEW_CELLS - 1)]
    known, schedule = make("a.time_a", *others)
    dossier = known.main.dossiers[0]
    dossier.plan = PLAN
    pairs = pairs_needed(known.main.settings.family, known.main.settings) - (kind == "too few pairs")
    dossier.effects = [Effect(pair, pair, math.nan, 1.0, 1.0, 16) for pair in range(pairs)]
    dossier.spent = pairs * (1.01 if kind == "too long" else 0.99) * LONG_PAIR
    found = plans(schedule.pairs_of(0, "base")[:1])["a.time_a"]
    more = MORE_SAMPLES if kind == "enough" else 1
    assert (found.alternations, found.blocks) == (16 * more, 4 * more)


def test_pairs_with_the_past_take_half_the_samples(make):
    known, schedule = make("a.time_a", past=True)
    known.past.dossiers[0].plan = PLAN
    (found,) = (
        pair.cells for pair in schedule.pairs_of(0, "base") if tuple(pair.versions[side] for side in SIDES) == PAST
    )
    assert (found[0].plan.alternations, found[0].plan.blocks) == (8, 2)
