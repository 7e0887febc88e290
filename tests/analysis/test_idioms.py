import math
from dataclasses import replace

import pytest

from bench_core.analysis.idioms import jobs
from bench_core.analysis.ratios import ratio
from bench_core.records.report import RunKey
from bench_core.records.run import Interval

BENCHMARK = "edits.Edit.time_add"


@pytest.fixture
def job(make_along, make_subject):
    """The one job of a table such as ``{"data": {"8x4": 1e-6, "64x64": 2e-6}}``."""

    def of(table, axis="size", spread=0.01, benchmark=BENCHMARK, **options):
        cells = [
            each
            for way, values in table.items()
            for each in make_along(benchmark, axis, values, {"way": way}, spread=spread, rivals="way", **options)
        ]
        (found,) = jobs(make_subject(cells))
        return found

    return of


def names(job):
    return [[rival.name for rival in ranking.rivals] for ranking in job.rankings]


def test_a_ratio_holds_where_both_intervals_do():
    found = ratio(Interval(2, 3, 4, 0.99), Interval(1, 2, 3, 0.99))
    assert (found.low, found.middle, found.high) == (2 / 3, 1.5, 4)
    assert found.confidence == pytest.approx(0.98)


@pytest.mark.parametrize("unknown", ["numerator", "denominator"])
def test_a_ratio_of_a_figure_without_an_interval_has_none(unknown):
    known, single = Interval(1, 2, 3, 0.99), Interval(-math.inf, 2, math.inf, 0.99)
    found = ratio(single, known) if unknown == "numerator" else ratio(known, single)
    assert (found.low, found.middle, found.high) == (-math.inf, 1, math.inf)


def test_the_best_way_comes_first_at_each_size(job):
    found = job({"data": {"8x4": 1, "64x64": 4}, "detach": {"8x4": 2, "64x64": 3}})
    assert [ranking.label for ranking in found.rankings] == ["8x4", "64x64"]
    assert names(found) == [["data", "detach"], ["detach", "data"]]


def test_rivals_are_compared_with_the_best(job):
    (ranking,) = job({"data": {"8x4": 1}, "detach": {"8x4": 2}}).rankings
    best, other = ranking.rivals
    assert (best.ratio.low, best.ratio.middle, best.ratio.high) == (1, 1, 1)
    assert other.ratio == ratio(other.value, best.value)
    assert not best.tied
    assert not other.tied


def test_ways_whose_intervals_overlap_are_tied(job):
    (ranking,) = job({"data": {"8x4": 1}, "detach": {"8x4": 1.015}}).rankings
    assert [rival.tied for rival in ranking.rivals] == [False, True]


def test_sizes_are_ordered_by_their_elements(job):
    found = job({way: {"1024x1024": 1, "8x4": 1, "64x64": 1} for way in ("data", "detach")})
    assert [ranking.label for ranking in found.rankings] == ["8x4", "64x64", "1024x1024"]


def test_advice_states_the_least_lead(job, snapshot):
    found = job({"data": {"8x4": 1, "64x64": 1}, "detach": {"8x4": 1.5, "64x64": 1.2}})
    assert found.advice == snapshot
    assert found.flips == ()


def test_a_lead_that_a_few_minutes_of_the_machine_may_make_is_no_number(job, snapshot):
    ways = {"data": {"8x4": 1}, "detach": {"8x4": 1.06}}
    assert job(ways).advice == snapshot
    assert job(ways, spread=0.001).advice == snapshot


def test_a_lead_of_more_than_twice_is_a_factor(job, snapshot):
    found = job({"data": {"8x4": 1, "64x64": 1}, "detach": {"8x4": 5, "64x64": 4}})
    assert found.advice == snapshot


def test_a_tie_somewhere_weakens_the_advice(job, snapshot):
    found = job({"data": {"8x4": 1, "64x64": 1}, "detach": {"8x4": 1.01, "64x64": 2}})
    assert found.advice == snapshot


def test_ways_that_are_alike_everywhere_get_no_advice(job, snapshot):
    found = job({"data": {"8x4": 1, "64x64": 1.01}, "detach": {"8x4": 1.01, "64x64": 1}})
    assert found.advice == snapshot


def test_the_ways_that_tie_are_named_together(job, snapshot):
    found = job({"data": {"8x4": 1}, "detach": {"8x4": 1.01}, "no_grad": {"8x4": 2}})
    assert found.advice == snapshot


def test_a_flip_is_where_no_way_may_be_the_best_on_both_sides(job, snapshot):
    sizes = ["8x4", "64x64", "256x256", "1024x1024"]
    found = job(
        {
            "data": dict(zip(sizes, [1, 1, 1.01, 2], strict=True)),
            "no_grad": dict(zip(sizes, [2, 1.5, 1, 1], strict=True)),
        }
    )
    assert found.flips == ("data up to 256x256, no_grad from 1024x1024",)
    assert found.advice == snapshot


def test_a_stretch_may_go_on_behind_a_flip(job):
    sizes = ["8x4", "64x64", "256x256", "1024x1024"]
    data, no_grad = (dict(zip(sizes, values, strict=True)) for values in ([1, 2, 2, 2], [2, 1, 1, 1]))
    assert job({"data": data, "no_grad": no_grad}).flips == ("data up to 8x4, no_grad from 64x64",)


@pytest.mark.parametrize(
    ("count", "said"), [(2, "a or b"), (3, "a or b or c"), (4, "one of 4 ways"), (5, "one of 5 ways")]
)
def test_a_flip_names_up_to_three_ways_that_tie(job, count, said):
    ways = {letter: {"8x4": 1, "64x64": 3} for letter in "abcde"[:count]}
    (flip,) = job({**ways, "other": {"8x4": 3, "64x64": 1}}).flips
    assert flip == f"{said} up to 8x4, other from 64x64"


def test_the_way_of_the_least_geometric_mean_is_named_first_of_those_that_tie(job):
    found = job({"a": {"8x4": 1.01, "64x64": 1.001}, "b": {"8x4": 1, "64x64": 1.002}, "c": {"8x4": 2, "64x64": 2}})
    assert "`b` or `a`" in found.advice


@pytest.mark.parametrize("value", [0.0, -0.5])
def test_a_way_whose_value_is_not_positive_is_not_ranked(make_cell, make_subject, value):
    values = {"none": value, "data": 1, "detach": 2}
    cells = [make_cell(BENCHMARK, {"way": way}, seconds, rivals="way") for way, seconds in values.items()]
    (found,) = jobs(make_subject(cells))
    assert names(found) == [["data", "detach"]]


def test_values_of_two_runs_are_not_told_apart(make_cell, make_subject, snapshot):
    fast, slow = (
        make_cell(BENCHMARK, {"way": way, "size": "8x4"}, value, rivals="way")
        for way, value in {"data": 1, "detach": 2}.items()
    )
    subject = make_subject([fast, slow])
    other = {**subject.cells, slow.name: replace(subject.cells[slow.name], run=RunKey("another.json", ""))}
    (found,) = jobs(replace(subject, cells=other))
    assert found.rankings[0].rivals[1].tied
    assert found.advice == snapshot


def test_a_way_that_unties_is_named_as_doing_less(make_cell, make_subject, snapshot):
    values = {"eager": 3, "meta": 1, "skip": 5}
    cells = [
        make_cell(BENCHMARK, {"way": way}, value, rivals="way", unties=way == "meta") for way, value in values.items()
    ]
    (found,) = jobs(make_subject(cells))
    assert [rival.unties for rival in found.rankings[0].rivals] == [True, False, False]
    assert found.advice == snapshot


def test_of_two_ways_of_which_one_unties_there_are_no_others_to_compare(make_cell, make_subject):
    cells = [
        make_cell(BENCHMARK, {"way": way}, value, rivals="way", unties=way == "meta")
        for way, value in {"eager": 3, "meta": 1}.items()
    ]
    (found,) = jobs(make_subject(cells))
    assert "`meta` leaves tied parameters untied" in found.advice
    assert "of the others" not in found.advice


def test_places_without_an_order_have_no_flips(job, snapshot):
    found = job({"eager": {"mlp": 1, "net": 2}, "lazy": {"mlp": 2, "net": 1}}, axis="model")
    assert found.axis == "model"
    assert found.flips == ()
    assert found.advice == snapshot


def test_memory_that_was_read_once_is_never_certain(job, snapshot):
    found = job(
        {"tied": {"8x4": 1 << 20}, "untied": {"8x4": 2 << 20}},
        benchmark="edits.Edit.peakmem_add",
        spread=math.inf,
        kind="peakmemory",
        unit="bytes",
    )
    assert found.rankings[0].rivals[1].tied
    assert found.advice == snapshot


def test_tracked_values_are_left_out(make_cell, make_subject):
    cells = [make_cell("edits.Edit.track_size", {"way": way}, 1, rivals="way", kind="track") for way in ("a", "b")]
    assert jobs(make_subject(cells)) == ()


def test_a_way_alone_is_no_job(make_cell, make_subject):
    assert jobs(make_subject([make_cell(BENCHMARK, {"way": "data"}, 1, rivals="way")])) == ()


def test_devices_have_separate_jobs(make_along, make_subject):
    cells = [
        each
        for device in ("cpu", "cuda")
        for way in ("data", "detach")
        for each in make_along(BENCHMARK, "size", {"8x4": 1, "64x64": 1}, {"device": device, "way": way}, rivals="way")
    ]
    assert [job.fixed for job in jobs(make_subject(cells))] == [{"device": "cpu"}, {"device": "cuda"}]


def test_of_two_quantities_the_one_with_most_values_is_the_axis(make_along, make_subject):
    cells = [
        each
        for width in ("8", "64")
        for way in ("tied", "untied")
        for each in make_along(BENCHMARK, "uses", {2: 1, 8: 1, 32: 1}, {"width": width, "way": way}, rivals="way")
    ]
    found = jobs(make_subject(cells))
    assert [(job.axis, job.fixed) for job in found] == [("uses", {"width": "8"}), ("uses", {"width": "64"})]


def test_counts_read_like_counts(job, snapshot):
    found = job({"a": {10: 1, 100: 1, 1000: 3}, "b": {10: 2, 100: 3, 1000: 1}}, axis="modules")
    assert found.advice == snapshot


def test_all_counts_together_read_like_counts(job, snapshot):
    found = job({"a": {10: 1, 100: 1}, "b": {10: 2, 100: 2}}, axis="modules")
    assert found.advice == snapshot


def test_one_size_without_an_interval_does_not_make_all_of_them_single_readings(make_along, make_subject):
    cells = [
        each
        for way, seconds in (("data", 1e-6), ("detach", 2e-6))
        for size, spread in (("8x4", 0.01), ("64x64", math.inf))
        for each in make_along(BENCHMARK, "size", {size: seconds}, {"way": way}, spread=spread, rivals="way")
    ]
    (found,) = jobs(make_subject(cells))
    assert "measured once" not in found.advice
    assert "`data`" in found.advice
