import math
from dataclasses import replace

import pytest

from bench_core.analysis.crossings import crossings
from bench_core.records.report import RunKey

BENCHMARK = "edits.Edit.time_add"
SIZES = ["10x10", "100x100", "1000x1000", "10000x10000"]


@pytest.fixture
def crossing(make_along, make_subject):
    """The one crossing of two lines over `SIZES`."""

    def of(first, second, parameter="device", values=("cpu", "cuda"), **options):
        cells = [
            each
            for value, line in zip(values, (first, second), strict=True)
            for each in make_along(
                BENCHMARK, "size", dict(zip(SIZES, line, strict=False)), {parameter: value}, **options
            )
        ]
        (found,) = crossings(make_subject(cells))
        return found

    return of


def test_the_second_value_is_compared_with_the_first(crossing):
    found = crossing([1, 1, 1, 1], [4, 2, 1, 0.5])
    assert (found.parameter, found.first, found.second, found.axis) == ("device", "cpu", "cuda", "size")
    assert [(label, n) for label, n, _ in found.ratios] == list(zip(SIZES, [1e2, 1e4, 1e6, 1e8], strict=True))
    assert [ratio.middle for _, _, ratio in found.ratios] == [4, 2, 1, 0.5]


def test_a_crossing_is_interpolated_on_log_axes(crossing, snapshot):
    found = crossing([1, 1, 1, 1], [100, 10, 0.1, 0.01])
    assert found.crossings == (pytest.approx(1e5),)
    assert found.sentence == snapshot


def test_a_crossing_is_nearer_to_the_ratio_that_is_nearer_to_1(crossing):
    (found,) = crossing([1, 1, 1, 1], [100, 10, 0.5, 0.01]).crossings
    assert math.log10(found) == pytest.approx(4 + 2 * 1 / (1 + math.log10(2)))


def test_an_interval_that_holds_1_claims_no_crossing(crossing, snapshot):
    found = crossing([1, 1, 1, 1], [4, 2, 1.1, 0.9], spread=0.1)
    assert found.crossings == ()
    assert found.sentence == snapshot


def test_undecided_places_lie_between_the_decided_ones(crossing, snapshot):
    found = crossing([1, 1, 1, 1], [10, 1.01, 0.99, 0.1], spread=0.1)
    assert len(found.crossings) == 1
    assert 1e4 < found.crossings[0] < 1e6
    assert found.sentence == snapshot


def test_lines_that_cross_twice_say_so(crossing, snapshot):
    found = crossing([1, 1, 1, 1], [2, 0.5, 0.5, 2])
    assert len(found.crossings) == 2
    assert found.sentence == snapshot


def test_nothing_is_claimed_before_the_first_decided_place(crossing, snapshot):
    found = crossing([1, 1, 1, 1], [1, 4, 0.25, 0.1])
    assert found.sentence == snapshot


def test_nothing_is_claimed_after_the_last_decided_place(crossing, snapshot):
    found = crossing([1, 1, 1, 1], [10, 4, 0.25, 1])
    assert found.sentence == snapshot


def test_lines_that_do_not_cross_state_the_least_lead(crossing, snapshot):
    found = crossing([1, 1, 1, 1], [0.5, 0.5, 0.8, 0.5], parameter="dtype", values=("float32", "bfloat16"))
    assert found.sentence == snapshot


def test_lines_that_are_alike_say_so(crossing, snapshot):
    found = crossing([1, 1, 1, 1], [1, 1.01, 1, 0.99], parameter="threads", values=("1", "all"))
    assert found.sentence == snapshot


def test_values_of_two_runs_claim_nothing(make_along, make_subject):
    cells = [
        each
        for device, values in {"cpu": [1, 1], "cuda": [2, 0.5]}.items()
        for each in make_along(BENCHMARK, "size", dict(zip(SIZES, values, strict=False)), {"device": device})
    ]
    subject = make_subject(cells)
    measured = {
        name: replace(each, run=RunKey("another.json", "")) if each.cell.params["device"] == "cuda" else each
        for name, each in subject.cells.items()
    }
    (found,) = crossings(replace(subject, cells=measured))
    assert found.crossings == ()


def test_every_other_value_is_compared_with_the_first_one(make_along, make_subject):
    cells = [
        each
        for dtype in ("bfloat16", "float32", "float16")
        for each in make_along(BENCHMARK, "size", {"8x4": 1, "64x64": 1}, {"dtype": dtype})
    ]
    found = crossings(make_subject(cells))
    assert [(each.first, each.second) for each in found] == [("float32", "bfloat16"), ("float32", "float16")]


def test_other_parameters_stay_fixed(make_along, make_subject):
    cells = [
        each
        for device in ("cpu", "cuda")
        for way in ("data", "detach")
        for each in make_along(BENCHMARK, "size", {"8x4": 1, "64x64": 1}, {"device": device, "way": way})
    ]
    assert [each.fixed for each in crossings(make_subject(cells))] == [{"way": "data"}, {"way": "detach"}]


def test_memory_crosses_nowhere(make_along, make_subject):
    cells = [
        each
        for device in ("cpu", "cuda")
        for each in make_along(BENCHMARK, "size", {"8x4": 1, "64x64": 1}, {"device": device}, kind="peakmemory")
    ]
    assert crossings(make_subject(cells)) == ()
