"""Which pair comes next, without a process."""

import math
from dataclasses import replace

import pytest

from bench_core.gate.judge.pace import BESIDES, MORE_PAIRS
from bench_core.gate.judge.rule import cell_rule
from bench_core.gate.measure.adapt import MOST
from bench_core.gate.measure.discover import Found
from bench_core.gate.measure.evidence import CONTROL, PAST, Journal, Known
from bench_core.gate.measure.schedule import (
    LEAST_FIRST_PATIENCE,
    MOST_PAIRS_OF_A_PARENT,
    PAIRS_OF_A_PARENT,
    Schedule,
    is_enough,
)
from bench_core.records.gate import SIDES, CellEvidence, Effect, GateSettings
from bench_core.workers.messages import Sampling, SamplingPlan

PLAN = SamplingPlan(alternations=16, blocks=4, places=(Sampling(300, warm=True), Sampling(2, warm=False)))


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
    """The plans of all cells of base and head. Each is a group."""
    compared = [pair for pair in pairs if pair.versions["base"] != "past"]
    return {cell.name: group.plan for pair in compared for group, cell in zip(pair.groups, cells(pair), strict=True)}


def cells(pair):
    return [cell for group in pair.groups for cell in group.cells]


@pytest.mark.parametrize("taken", range(1, MOST_PAIRS_OF_A_PARENT + 2))
def test_a_parent_ends_after_an_even_number_of_pairs(taken):
    ends = {is_enough(taken, seconds, starting=1.0) for seconds in (0.0, 4.0)}
    if taken % 2 or taken < PAIRS_OF_A_PARENT:
        assert ends == {False}
    elif taken < MOST_PAIRS_OF_A_PARENT:
        assert ends == {False, True}
    else:
        assert ends == {True}


def test_a_planted_slowdown_leaves_controls_alone(make):
    _, schedule = make("a.time_a", plants={"a.time_a": 0.05})
    compared, control = schedule.pairs_of(0, "base")
    assert [cell.plant for cell in cells(compared)] == [0.05]
    assert (tuple(control.versions[side] for side in SIDES), [cell.plant for cell in cells(control)]) == (
        CONTROL,
        [0.0],
    )


def test_finding_out_how_to_sample_a_cell_is_left_to_one_lane(make):
    known, schedule = make("a.time_a", "b.time_b", "c.time_c", lanes=2)
    by_lane = [set(plans(schedule.pairs_of(lane, "base"))) for lane in range(2)]
    assert by_lane[0] & by_lane[1] == set()
    assert by_lane[0] | by_lane[1] == {"a.time_a", "b.time_b", "c.time_c"}
    for dossier in known.dossiers:
        dossier.plan = PLAN
    assert all(len(plans(schedule.pairs_of(lane, "base"))) == 3 for lane in range(2))


@pytest.mark.parametrize(("kind", "sizes"), [("peakmemory", [1, 1]), ("memory", [2]), ("track", [2])])
def test_each_peak_memory_alone_has_a_pair_of_its_own(make, kind, sizes):
    _, schedule = make("a.mem_a", "b.mem_b", kind=kind)
    assert [len(cells(pair)) for pair in schedule.pairs_of(0, "base")] == sizes


def test_a_noisy_cell_gets_more_samples_and_so_does_its_control(make):
    known, schedule = make("a.time_a")
    for dossier in (known.main.dossiers[0], known.controls[0]):
        dossier.plan = PLAN
        dossier.effects = [Effect(pair, pair, 0.0, 1e-6, 1e-6, 16, within=1.0, lasted=0.01) for pair in range(3)]
    found = [group.plan.alternations for pair in schedule.pairs_of(0, "base") for group in pair.groups]
    assert found == [16 * MOST] * 2


def test_what_is_decided_is_in_no_pair(make):
    known, schedule = make("a.time_a", "b.time_b")
    known.dossiers[0].closed = known.controls[0].closed = True
    assert [[cell.name for cell in cells(pair)] for pair in schedule.pairs_of(0, "base")] == [
        ["b.time_b"],
        ["b.time_b"],
    ]
    known.dossiers[1].closed = known.controls[1].closed = True
    assert schedule.pairs_of(0, "base") == []


def test_a_pair_is_told_its_number_the_gates_seed_and_timeout_and_who_is_first(make):
    _, schedule = make("a.time_a", past=True)
    pairs = [*schedule.pairs_of(0, "head"), *schedule.pairs_of(0, "head")]
    assert [pair.pair for pair in pairs] == list(range(6))
    assert {(pair.seed, pair.timeout, pair.first) for pair in pairs} == {(1, 60.0, "head")}
    assert [tuple(pair.versions.values()) for pair in pairs[:3]] == [("base", "head"), PAST, CONTROL]
    assert schedule.pairs == 6


def test_the_order_of_the_cells_is_drawn_for_each_pair(make):
    names = [f"{letter}.time_x" for letter in "abcdefgh"]
    _, schedule = make(*names)
    first, second = (cells(schedule.pairs_of(0, "base")[0]) for _ in range(2))
    assert sorted(cell.name for cell in first) == names != [cell.name for cell in first]
    assert [cell.name for cell in first] != [cell.name for cell in second]


def test_each_parent_has_a_number_a_hash_seed_and_a_first_side_that_are_drawn_for_it(make):
    _, schedule = make("a.time_a")
    parents = [schedule.next_parent() for _ in range(40)]
    assert parents == list(range(40))
    seeds = [schedule.hash_seed(parent) for parent in parents]
    assert seeds == [schedule.hash_seed(parent) for parent in parents]
    assert len(set(seeds)) == 40
    assert 2**31 <= max(seeds) < 2**32  # as Python takes one
    assert {schedule.first_of(parent) for parent in parents} == set(SIDES)


def test_numbers_go_on_behind_those_of_earlier_gates(make):
    known, _ = make("a.time_a", past=True)
    dossier = known.past.dossiers[0]
    known.main.journal.add(known.dossiers[0], Effect(4, 9, 0.0, 1.0, 1.0, 4), 0.1, 1)
    known.past.journal.add(dossier, Effect(7, 2, 0.0, 1.0, 1.0, 4), 0.1, 1)
    _, again = make("a.time_a", past=True)
    assert (again.pairs, again.parents) == (8, 10)


@pytest.mark.parametrize(
    ("usual", "past"), [((32, 4), (16, 2)), ((22, 3), (10, 1)), ((16, 1), (8, 1)), ((6, 1), (4, 1)), ((2, 1), (2, 1))]
)
def test_pairs_with_the_past_take_half_the_samples_an_even_number_and_no_fewer_than_the_fewest(make, usual, past):
    known, schedule = make("a.time_a", past=True)
    known.past.dossiers[0].plan = replace(PLAN, alternations=usual[0], blocks=usual[1])
    (found,) = (pair.groups[0].plan for pair in schedule.pairs_of(0, "base") if pair.versions["base"] == "past")
    assert (found.alternations, found.blocks) == past


@pytest.mark.parametrize(("version", "place"), [("base", 0), ("head", 1)])
def test_a_cell_that_is_retried_with_one_version_on_both_sides_is_sampled_as_that_version(make, version, place):
    known, schedule = make("a.time_a")
    dossier = known.dossiers[0]
    dossier.plan = PLAN
    retry = schedule.pair_of([dossier], "base", (version, version))
    assert retry.groups[0].plan.places == (PLAN.places[place],) * 2
    usual = schedule.pair_of([dossier], "base", dossier.versions)
    assert usual.groups[0].plan == PLAN


def with_pairs(dossier, count, cost=0.1):
    dossier.plan = PLAN
    dossier.effects = [Effect(pair, pair, 0.0, 1e-6, 1e-6, 16) for pair in range(count)]
    dossier.spent = count * cost
    return dossier


def reached(schedule, left):
    found = schedule.pairs_of(0, "base", left)
    return {cell.name for cell in cells(found[0]) if found[0].versions["head"] == "head"}


def test_cells_that_the_time_does_not_suffice_for_wait(make):
    known, schedule = make(*(f"x{number}.time_x" for number in range(10)))
    for dossier in known.dossiers:
        with_pairs(dossier, 1)
    needed = (cell_rule(known.main.settings, 10).fewest - 1) * 0.1 * BESIDES
    assert len(reached(schedule, math.inf)) == 10
    assert len(reached(schedule, 4.5 * needed)) == 4
    assert reached(schedule, 4.5 * needed) == reached(schedule, 4.5 * needed), "the order is drawn once"


def test_a_postponed_cell_gets_its_first_pair_alone_and_last_and_all_the_time_that_is_left(make):
    known, schedule = make("a.time_a", "b.time_b", lanes=2)
    slow, other = known.dossiers
    slow.postpone(10.0)
    pairs = [*schedule.pairs_of(0, "base"), *schedule.pairs_of(1, "base")]
    assert [cell.name for pair in pairs if pair.versions["head"] == "head" for cell in cells(pair)] == ["b.time_b"]
    other.closed = True
    (pair,) = schedule.pairs_of(0, "base", 60.0)
    (task,) = cells(pair)
    assert (task.name, pair.versions["head"]) == ("a.time_a", "head")
    schedule = Schedule(known, None, 2, {})
    (task,) = cells(schedule.pairs_of(0, "base", 60.0)[0])
    assert task.patience == 30.0
    assert schedule.pairs_of(0, "base", 39.0) == [], "there is not enough time for both sides"
    with_pairs(slow, 1)
    other.closed = False
    assert "a.time_a" in {cell.name for pair in schedule.pairs_of(0, "base", 60.0) for cell in cells(pair)}


@pytest.mark.parametrize(("hung", "patience"), [(0, 12.0), (1, 6.0), (50, LEAST_FIRST_PATIENCE)])
def test_the_more_cells_hang_the_sooner_the_next_one_is_given_up(make, hung, patience):
    known, _ = make("a.time_a")
    known.hung = hung
    known.main.settings = replace(known.main.settings, budget=60.0)
    (task,) = cells(Schedule(known, None, 1, {}).pairs_of(0, "base", 60.0)[0])
    assert task.patience == patience


def test_the_time_that_all_cells_need_is_known_once_half_of_them_have_a_pair(make):
    known, schedule = make("a.time_a", "b.time_b", "c.time_c", lanes=2)
    assert schedule.needed() is None
    with_pairs(known.dossiers[0], 1, cost=0.1)
    assert schedule.needed() is None
    with_pairs(known.dossiers[1], 1, cost=0.3)
    fewest = cell_rule(known.main.settings, 3).fewest
    seconds = (0.1 + 0.3) * (fewest - 1) + 0.2 * fewest  # the third one is taken for a usual one
    assert schedule.needed() == pytest.approx(BESIDES * seconds / 2)


def test_however_little_time_is_left_one_cell_is_measured(make):
    _, schedule = make("a.time_a", "b.time_b")
    assert len(reached(schedule, 0.0)) == 1


def test_cells_that_have_begun_are_decided_before_others_begin(make):
    known, schedule = make(*(f"x{number}.time_x" for number in range(10)))
    for dossier in known.dossiers:
        with_pairs(dossier, 6 if dossier.cell.name in ("x3.time_x", "x7.time_x") else 1)
    assert reached(schedule, 2 * MORE_PAIRS * 0.1 * BESIDES * 1.01) == {"x3.time_x", "x7.time_x"}


def test_a_slow_cell_does_not_hold_up_the_others(make):
    known, schedule = make(*(f"x{number}.time_x" for number in range(10)))
    for dossier in known.dossiers:
        with_pairs(dossier, 4, cost=10.0 if dossier.cell.name == "x3.time_x" else 0.1)
    assert reached(schedule, 20.0) == {f"x{number}.time_x" for number in range(10)} - {"x3.time_x"}
