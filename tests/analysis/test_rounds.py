"""Times, ratios and ranks, from rounds whose numbers are known."""

import math
import random
from dataclasses import replace

import pytest

from bench_core.analysis.rounds import Reading, good, measured_ratio, of_newest_run
from bench_core.records.rounds import Group, Rounds, Visit


def group(job, times, *, lost=(), yardsticks=(), missing=()):
    """``group("j", {"a": [1e-6, 1.1e-6]})``: one time of each cell for each round."""
    count = len(next(iter(times.values())))
    visits = tuple(
        Visit(
            number,
            {cell: values[number] for cell, values in times.items() if (cell, number) not in missing},
            dict(lost).get(number, 0.0),
        )
        for number in range(count)
    )
    return Group(job, tuple(cell for cell in times if cell not in yardsticks), tuple(yardsticks), visits)


def noisy(order, seconds, rounds=8, noise=0.01):
    return [seconds * math.exp(order.gauss(0, noise)) for _ in range(rounds)]


def many(order, ratio=1.0, jobs=50, rounds=8, drift=0.05):
    """Jobs with two ways of the same ratio each; a drift of the machine that both ways see in each round."""
    found = []
    for job in range(jobs):
        moved = [math.exp(order.gauss(0, drift)) for _ in range(rounds)]
        times = {
            f"f.one({job})": [m * t for m, t in zip(moved, noisy(order, 1e-6, rounds), strict=True)],
            f"f.other({job})": [m * t for m, t in zip(moved, noisy(order, ratio * 1e-6, rounds), strict=True)],
        }
        found.append(group(f"f({job})", times))
    return found


def run_of(*groups, date="2026-01-01T00:00:00+00:00"):
    return Rounds("m", "e", None, date, 1.0, 1.0, 4, tuple(groups))


def test_a_time_is_in_the_middle_of_its_rounds_on_a_scale_of_ratios():
    reading = Reading([group("a", {"a": [1e-6, 4e-6]})])
    assert reading.time("a").middle == pytest.approx(2e-6)


def test_a_disturbed_visit_is_left_out_if_two_others_are_left():
    times = {"a": [1e-6, 1e-6, 9e-6]}
    assert Reading([group("a", times, lost={2: 0.2})]).time("a").middle == pytest.approx(1e-6)
    both = Reading([group("a", times, lost={1: 0.2, 2: 0.2})])
    assert both.time("a").middle == pytest.approx(1e-6 * math.sqrt(3))
    assert good([]) == []


def test_a_ratio_is_free_of_what_happened_to_both_ways():
    reading = Reading(many(random.Random(1), ratio=1.1, drift=0.3))
    found = reading.ratio("f.other(0)", "f.one(0)")
    assert 1.05 < found.low < 1.1 < found.high < 1.15
    assert not 0.9 < reading.time("f.one(0)").low * 1e6 < reading.time("f.one(0)").high * 1e6 < 1.1


def test_with_a_single_round_nothing_is_certain():
    reading = Reading([group(f"j{n}", {f"a{n}": [1e-6], f"b{n}": [9e-6]}) for n in range(5)])
    assert not reading.time("a0").known
    assert [(way.cell, way.tied, way.ratio.known) for way in reading.ways(reading.groups[0])] == [
        ("a0", True, True),
        ("b0", True, False),
    ]
    assert math.isnan(reading.noise)


def test_ways_that_differ_are_told_apart_and_identical_ones_are_tied():
    order = random.Random(2)
    apart = Reading(many(order, ratio=1.1))
    assert all([way.tied for way in apart.ways(one)] == [True, False] for one in apart.groups)
    alike = Reading(many(order, ratio=1.0, jobs=200))
    assert sum(not all(way.tied for way in alike.ways(one)) for one in alike.groups) <= 1


def test_the_ratio_of_the_best_way_to_itself_is_exactly_1():
    best, other = Reading([group("j", {"slow": [2e-6, 2.1e-6], "fast": [1e-6, 1e-6]})]).ways(
        group("j", {"slow": [2e-6, 2.1e-6], "fast": [1e-6, 1e-6]})
    )
    assert (best.cell, best.ratio.low, best.ratio.middle, best.ratio.high) == ("fast", 1, 1, 1)
    assert other.ratio.middle == pytest.approx(math.sqrt(2 * 2.1))


def test_more_jobs_make_each_interval_wider_since_all_hold_together():
    order = random.Random(3)
    groups = many(order, jobs=100)
    few, all_of_them = Reading(groups[:1]), Reading(groups)
    assert (few.comparisons, all_of_them.comparisons) == (1, 100)
    assert all_of_them.ratio("f.one(0)", "f.other(0)").confidence == pytest.approx(1 - 0.05 / 100)


def test_the_pairs_of_all_ways_of_a_job_are_counted():
    assert Reading([group("j", {way: [1e-6] for way in "abcd"})]).comparisons == 6


def test_only_rounds_that_have_read_both_count_for_a_ratio():
    one = group("j", {"a": [1e-6, 1e-6, 2e-6], "b": [2e-6, 2e-6, 2e-6]}, missing={("b", 2)})
    assert Reading([one]).ratio("b", "a", one).middle == pytest.approx(2)


def test_a_ratio_without_a_common_round_is_not_a_number():
    one = group("j", {"a": [1e-6, 1e-6], "b": [2e-6, 2e-6]}, missing={("b", 0), ("a", 1)})
    reading = Reading([one])
    assert math.isnan(reading.ratio("b", "a", one).middle)
    assert all(way.tied for way in reading.ways(one))


def test_a_way_without_a_time_is_not_ranked():
    one = replace(group("j", {"a": [1e-6, 1e-6]}), cells=("a", "b"))
    assert [way.cell for way in Reading([one]).ways(one)] == ["a"]
    assert Reading([one]).ways(replace(one, visits=())) == ()


def test_a_yardstick_in_the_group_is_read_in_its_rounds_and_another_one_in_its_own():
    own = group("y", {"y": [1e-6, 1e-6]})
    with_it = group("a", {"a": [8e-6, 8e-6], "y": [2e-6, 2e-6]}, yardsticks=("y",))
    without = group("b", {"b": [8e-6, 8e-6]})
    reading = Reading([own, with_it, without])
    assert reading.product({"y": 1.0, "a": -1.0}, with_it).middle == pytest.approx(1 / 4)
    assert reading.product({"y": 1.0, "b": -1.0}, without).middle == pytest.approx(1 / 8)


def test_an_interval_that_says_nothing_has_no_ends():
    assert not Reading([group("a", {"a": [1e-9, 1e-3, 1e-6]})]).time("a").known


@pytest.fixture
def timed(make_cell):
    def cell(name, run=None):
        return make_cell("f.C.time_it", {"way": name}, 1e-6, rivals="way", rounds=run)

    return cell


def test_only_cells_of_one_run_have_a_measured_ratio(timed):
    names = [f"f.C.time_it({name})" for name in "ab"]
    run = run_of(group("j", {names[0]: [1e-6, 1e-6], names[1]: [2e-6, 2e-6]}))
    assert measured_ratio(timed("b", run), timed("a", run)).middle == pytest.approx(2)
    assert measured_ratio(timed("b", run), timed("a", replace(run))) is None
    assert measured_ratio(timed("b", run), timed("a")) is None
    assert measured_ratio(timed("b"), timed("a")) is None


def test_cells_of_one_run_without_a_common_round_have_no_measured_ratio(timed):
    names = [f"f.C.time_it({name})" for name in "ab"]
    run = run_of(group("j", {name: [1e-6, 1e-6] for name in names}, missing={(names[0], 0), (names[1], 1)}))
    assert measured_ratio(timed("b", run), timed("a", run)) is None


def test_ways_of_several_runs_and_protocols_are_not_ranked_together(timed):
    old, new = run_of(date="2026-01-01T00:00:00+00:00"), run_of(date="2026-01-02T00:00:00+00:00")
    ways = {"asv": timed("asv"), "old": timed("old", old), "new": timed("new", new), "too": timed("too", new)}
    assert set(of_newest_run(ways)) == {"new", "too"}
    assert set(of_newest_run({"asv": ways["asv"]})) == {"asv"}


def test_nothing_is_known_about_the_ratios_of_a_group_in_doubt():
    found = group("j", {"j(a)": [1e-6, 1e-6], "j(b)": [2e-6, 2e-6]})
    for doubt, tied in (("", [True, False]), ("b changes the time of a.", [True, True])):
        doubted = replace(found, doubt=doubt)
        ways = Reading([doubted]).ways(doubted)
        assert [way.tied for way in ways] == tied
        assert ways[1].ratio.middle == pytest.approx(2)
