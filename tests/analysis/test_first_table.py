"""The rows of the first table, from runs whose numbers are known."""

import pytest

from bench_core.analysis.table import findings, mood, rows, undecided
from bench_core.records.rounds import Group, Rounds, Visit


def name(way, size="8"):
    return f"f.C.time_it({way}, {size})"


def run_of(*jobs, date="2026-01-01T00:00:00+00:00", lost=0.0):
    """``run_of({"a": 1.0, "b": 2.0})``: four rounds of a job, in microseconds, with a noise of 0.1 %."""
    groups = []
    for at, ways in enumerate(jobs):
        size = str(8**at * 8)
        visits = tuple(
            Visit(
                number,
                {
                    name(way, size): 1e-6 * value * (1 + 0.001 * ((number + place) % 3))
                    for place, (way, value) in enumerate(ways.items())
                },
                lost,
            )
            for number in range(4)
        )
        groups.append(Group(f"f.C.time_it({size})", tuple(name(way, size) for way in ways), (), visits))
    return Rounds("m", "e", None, date, 3.0, 4.0, 4, tuple(groups))


@pytest.fixture
def cell(make_cell):
    def made(way, seconds=1e-6, run=None, size="8", **options):
        params = {"way": way, "size": size}
        return make_cell("f.C.time_it", params, seconds, rivals="way", rounds=run, **options)

    return made


@pytest.fixture
def table(cell):
    def made(*jobs):
        run = run_of(*jobs)
        found = [(way, value, str(8**at * 8)) for at, ways in enumerate(jobs) for way, value in ways.items()]
        return rows([cell(way, 1e-6 * value, run, size) for way, value, size in found])

    return made


def test_the_best_way_is_first_alone_only_if_all_others_are_certainly_slower(table):
    found = {row.cell.params["way"]: row for row in table({"a": 1.0, "b": 2.0, "c": 3.0})}
    assert [(row.tied, row.alone) for row in found.values()] == [(True, True), (False, False), (False, False)]
    assert found["c"].ratio.middle == pytest.approx(3, rel=0.01)
    tied = {row.cell.params["way"]: row for row in table({"a": 1.0, "b": 1.0001, "c": 3.0})}
    assert [(row.tied, row.alone) for row in tied.values()] == [(True, False), (True, False), (False, False)]
    assert {row.job for row in found.values()} == {"f.C.time_it(8)"}


def test_one_rival_that_is_left_has_no_rank(table):
    (row,) = table({"a": 1.0})
    assert (row.job, row.ratio, row.tied, row.alone) == (None, None, None, False)


def test_ways_of_an_older_run_are_not_ranked_with_those_of_the_newest(cell):
    old = run_of({"a": 1.0, "b": 2.0, "c": 0.5})
    new = run_of({"a": 1.0, "b": 2.0}, date="2026-01-02T00:00:00+00:00")
    found = rows([cell("a", 1e-6, new), cell("b", 2e-6, new), cell("c", 5e-7, old)])
    assert [(row.job is None, row.alone) for row in found] == [(False, True), (False, False), (True, False)]


def test_a_way_that_was_timed_alone_later_leaves_no_ranking(cell):
    old, new = run_of({"a": 1.0, "b": 2.0}), run_of({"b": 0.5}, date="2026-01-02T00:00:00+00:00")
    assert [row.ratio for row in rows([cell("a", 1e-6, old), cell("b", 5e-7, new)])] == [None, None]


def test_ways_by_another_protocol_are_not_ranked_with_those_in_rounds(cell):
    run = run_of({"a": 1.0, "b": 2.0})
    found = rows([cell("a", 1e-6, run), cell("b", 2e-6, run), cell("c", 1e-9)])
    assert [row.ratio is not None for row in found] == [True, True, False]


def test_ways_by_another_protocol_alone_have_estimates_and_no_ranks(cell):
    found = rows([cell("a"), cell("b", 2e-6)])
    assert [(row.ratio.middle, row.ratio.known, row.tied) for row in found] == [(1, False, None), (2, False, None)]


def test_a_share_of_a_yardstick_of_another_run_has_no_interval(make_cell):
    def fill(benchmark, micro, run):
        params = {"device": "cpu", "size": "64x64"}
        return make_cell(benchmark, params, micro * 1e-6, writes=1, rounds=run)

    names = ["limits.Memory.time_fill(cpu, 64x64)", "f.time_it(cpu, 64x64)"]

    def run(date):
        groups = tuple(
            Group(one, (one,), (), tuple(Visit(n, {one: micro * 1e-6}) for n in range(4)))
            for one, micro in zip(names, (1, 2), strict=True)
        )
        return Rounds("m", "e", None, date, 1.0, 1.0, 4, groups)

    def share(stick, own):
        cells = [fill("limits.Memory.time_fill", 1, stick), fill("f.time_it", 2, own)]
        return rows(cells)[1].share

    one, other = run("2026-01-01T00:00:00+00:00"), run("2026-01-02T00:00:00+00:00")
    assert (share(one, one).middle, share(one, one).known) == (pytest.approx(0.5), True)
    for stick, own in [(one, other), (None, one), (one, None)]:
        assert (share(stick, own).middle, share(stick, own).known) == (pytest.approx(0.5), False)
    assert share(None, None).known


def test_a_time_is_that_of_its_run_and_another_value_as_it_is(cell, make_cell):
    run = run_of({"a": 1.0, "b": 2.0})
    row, peak = rows([cell("a", 7.0, run), make_cell("f.peakmem_it", {}, 5.0, kind="peakmemory", unit="bytes")])
    assert row.value.middle == pytest.approx(1e-6, rel=0.01)
    assert (peak.value.middle, peak.wide) == (5.0, False)


def test_what_is_certain_comes_with_the_largest_ratio_first_and_once_a_benchmark(table):
    found = table({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 1.0, "b": 1.0001, "c": 9.0}, {"a": 1.0, "b": 1.0001})
    (finding,) = findings(found)
    assert (finding.job, finding.best, finding.slowest) == ("f.C.time_it(64)", ("a", "b"), "c")
    assert 8 < finding.ratio.low < 9 < finding.ratio.high
    assert undecided(found) == ("f.C.time_it(64)", "f.C.time_it(512)")


def test_a_difference_of_a_few_percent_is_no_finding(table):
    assert findings(table({"a": 1.0, "b": 1.03})) == ()


def test_the_mood_of_the_machine_counts_disturbed_visits():
    found = mood(run_of({"a": 1.0, "b": 2.0}, lost=0.5))
    assert (found.lost, found.disturbed, found.visits) == (pytest.approx(0.5), 4, 4)
    assert found.noise < 0.002
