"""The law behind a series, held against series whose law is known."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from bench_core.analysis import growth
from bench_core.analysis.growth import UNSURE, deviation, growths
from bench_core.analysis.series import series
from bench_core.records.report import RunKey

SIZES = ["8x4", "64x64", "256x256", "1024x1024", "4096x4096", "8192x8192"]


def elements(size):
    rows, columns = map(int, size.split("x"))
    return rows * columns


@pytest.fixture
def grow(make_subject, make_along):
    """The growth of a cost that is a function of n, at the suite's sizes or at others."""

    def of(cost, *, axis="size", values=SIZES, noise=0.0, spread=0.01, caches=None, fixed=None, **declared):
        draw = random.Random(3)
        seconds = {
            value: cost(elements(value) if axis == "size" else int(value)) * (1 + draw.gauss(0, noise))
            for value in values
        }
        cells = make_along("f.C.time_it", axis, seconds, fixed, spread=spread, **declared)
        subject = make_subject(cells, **({} if caches is None else {"caches": caches}))
        (found,) = growths(series(subject), subject)
        return found

    return of


def test_a_straight_law_is_found_with_both_its_numbers(grow, snapshot):
    found = grow(lambda n: 3e-6 + 2.9e-9 * n)
    assert found.fixed == pytest.approx(3e-6, rel=1e-3)
    assert found.each == found.each_beyond == pytest.approx(2.9e-9, rel=1e-3)
    assert found.bend is None
    assert found.follows
    assert found.sentence == snapshot


def test_noise_of_a_few_percent_does_not_bend_a_law(grow):
    found = grow(lambda n: 3e-6 + 2.9e-9 * n, noise=0.04)
    assert (found.bend, found.follows) == (None, True)
    assert not any(residual.departs for residual in found.residuals)


def test_a_law_bends_where_its_slope_grows_fivefold(grow, snapshot):
    found = grow(lambda n: 1e-6 + 4e-11 * n + 16e-11 * max(0, n - 2e6), writes=1)
    assert found.each == pytest.approx(4e-11, rel=0.1)
    assert found.each_beyond == pytest.approx(20e-11, rel=0.1)
    assert 1024**2 <= found.bend <= 4096**2
    assert found.follows
    assert found.sentence == snapshot


@pytest.mark.parametrize(
    ("numbers", "points", "added"), [(2, 6, 8), (4, 6, 48), (4, 7, 28), (2, 3, 16), (4, 5, math.inf)]
)
def test_the_criterion_adds_for_each_number_and_forbids_those_with_too_few_points(numbers, points, added):
    assert growth._penalty(numbers, points) == added  # 2 K + 2 K (K + 1) / (n - K - 1)


def test_places_for_a_bend_leave_two_points_or_more_on_either_side():
    places = list(growth._knots(np.array([1.0, 10.0, 40.0, 80.0, 800.0])))
    assert places == pytest.approx([10 * 4 ** (k / 8) for k in range(8)] + [40 * 2 ** (k / 8) for k in range(8)])


def test_a_law_may_bend_down(grow):
    found = grow(lambda n: 1e-6 + 1e-8 * min(n, 65536) + 1e-9 * max(0, n - 65536), writes=1)
    assert found.each_beyond == pytest.approx(1e-9, rel=0.1)
    assert "no longer fits" not in found.sentence


def test_five_points_are_too_few_for_a_bend_and_for_a_point_apart(grow):
    found = grow(lambda n: 1e-6 + 4e-11 * n + 16e-11 * max(0, n - 2e6), values=SIZES[:5])
    assert found.bend is None
    assert max(abs(residual.relative) for residual in found.residuals[:4]) > 0.05


def test_neither_number_is_ever_negative(grow, snapshot):
    found = grow(lambda n: 1e-8 * n - 2e-8, values=SIZES[:4])
    assert found.fixed == 0
    assert found.sentence == snapshot


def test_a_cost_that_does_not_grow_says_so(grow, snapshot):
    found = grow(lambda n: 3e-6 + 1e-15 * n)
    assert found.sentence == snapshot


def test_one_point_that_stands_apart_is_pointed_out_and_does_not_pull_the_law(grow, snapshot):
    found = grow(lambda n: (3e-6 + 2.9e-9 * n) * (0.5 if n == 65536 else 1), draws=1)
    assert found.each == pytest.approx(2.9e-9, rel=1e-3)
    assert found.follows
    assert [(residual.point.label, residual.why) for residual in found.residuals if residual.departs] == [
        ("256x256", "unknown, perhaps a kernel switch")
    ]
    assert found.sentence == snapshot


def test_a_point_within_its_own_interval_of_the_law_does_not_depart(grow):
    found = grow(lambda n: (3e-6 + 2.9e-9 * n) * (1.5 if n == 65536 else 1), spread=0.6)
    assert not any(residual.departs for residual in found.residuals)


def test_a_slower_last_point_beyond_a_cache_is_that_caches_edge(grow):
    found = grow(lambda n: (1e-6 + 1e-10 * n) * (2 if n == 8192**2 else 1), caches={"L3": 128 << 20}, writes=1)
    assert [residual.why for residual in found.residuals if residual.departs] == ["cache edge: no longer fits in L3"]


def test_a_weight_as_large_as_the_cache_has_left_it(grow):
    found = grow(lambda n: (1e-6 + 1e-10 * n) * (2 if n == 8192**2 else 1), caches={"L3": 256 << 20}, writes=1)
    assert [residual.why for residual in found.residuals if residual.departs] == ["cache edge: no longer fits in L3"]


def test_a_cache_does_not_explain_more_than_memory_could_cost(grow):
    found = grow(lambda n: (1e-6 + 1e-7 * n) * (2 if n == 8192**2 else 1), caches={"L3": 128 << 20}, draws=1)
    assert [residual.why for residual in found.residuals if residual.departs] == ["unknown, perhaps a kernel switch"]


@pytest.mark.parametrize("room", [64 << 20, (256 << 20) + 1], ids=["smaller than before", "larger than after"])
def test_a_cache_that_the_weight_does_not_leave_at_a_point_explains_nothing_there(grow, room):
    found = grow(lambda n: (1e-6 + 1e-10 * n) * (2 if n == 8192**2 else 1), caches={"L3": room}, writes=1)
    assert [residual.why for residual in found.residuals if residual.departs] == ["unknown, perhaps a kernel switch"]


def test_least_squares_that_no_number_above_zero_makes_less_are_of_zeros():
    coefficients, squares = growth._nonnegative(np.array([[[1.0, 1.0], [1.0, 2.0]]]), np.array([[-2.0, -3.0]]))
    assert (coefficients.tolist(), squares.tolist()) == ([[0.0, 0.0]], [13.0])


def test_the_cpus_caches_explain_nothing_on_another_device(grow):
    found = grow(
        lambda n: (1e-6 + 1e-10 * n) * (2 if n == 8192**2 else 1),
        caches={"L3": 128 << 20},
        writes=1,
        fixed={"device": "cuda"},
    )
    assert [residual.why for residual in found.residuals if residual.departs] == ["unknown, perhaps a kernel switch"]


def test_what_departs_along_another_axis_is_no_kernel_switch(grow):
    values = [str(10 * 3**k) for k in range(7)]
    found = grow(lambda n: (1e-6 + 1e-6 * n) * (2 if n == 270 else 1), axis="modules", values=values)
    assert [residual.why for residual in found.residuals if residual.departs] == ["unknown"]
    assert "270 takes 2.0 times as long" in found.sentence


def test_a_law_that_does_not_hold_is_not_claimed_and_its_exponent_is(grow, snapshot):
    found = grow(lambda n: 1e-9 * n**1.5, values=SIZES[:4])
    assert not found.follows
    assert found.exponent == pytest.approx(1.5)
    assert found.sentence == snapshot
    assert not any(residual.departs for residual in found.residuals)


def test_the_exponent_is_the_slope_at_the_end(grow):
    assert grow(lambda n: 1e-6 + 1e-9 * n).exponent == pytest.approx(1, abs=0.01)


def test_residuals_are_measured_over_fitted(grow):
    found = grow(lambda n: 3e-6 + 2.9e-9 * n, noise=0.03)
    for residual in found.residuals:
        assert residual.point.value.middle / residual.fitted - 1 == pytest.approx(residual.relative)


def test_two_points_and_values_that_are_no_times_have_no_law(make_subject, make_along):
    cells = [
        *make_along("f.C.time_two", "size", {"8x4": 1e-6, "64x64": 2e-6}),
        *make_along("f.C.peakmem_it", "modules", {4: 3e6, 16: 9e6, 64: 4e7}, kind="peakmemory", unit="bytes"),
    ]
    subject = make_subject(cells)
    assert growths(series(subject), subject) == ()


def test_a_law_is_of_points_of_one_run(make_subject, make_along):
    subject = make_subject(make_along("f.C.time_it", "size", {size: 2.9e-9 * elements(size) for size in SIZES}))
    (all_of_them,) = growths(series(subject), subject)
    assert len(all_of_them.residuals) == len(SIZES)
    again = [name for name in subject.cells if "64x64" in name or "256x256" in name]
    newer = {name: replace(subject.cells[name], run=RunKey("another.json", "")) for name in again}
    subject = replace(subject, cells={**subject.cells, **newer})
    (found,) = growths(series(subject), subject)
    assert [point.label for point in found.series.points] == ["8x4", "1024x1024", "4096x4096", "8192x8192"]


def test_a_point_without_an_interval_counts_for_little(make_subject, make_along, make_cell):
    cells = make_along("f.C.time_it", "size", {s: 2.9e-9 * elements(s) for s in SIZES[1:4]})
    unsure = make_cell("f.C.time_it", {"size": "512x512"}, 2 * 2.9e-9 * 512**2, spread=float("inf"))
    subject = make_subject([*cells, unsure])
    (found,) = growths(series(subject), subject)
    assert found.each == pytest.approx(2.9e-9, rel=0.05)


@pytest.mark.parametrize(("odd", "factor"), [(0, 0.5), (-1, 4.0)])
def test_a_bend_has_two_points_or_more_on_either_side(grow, odd, factor):
    values = [str(4**k) for k in range(2, 16)]
    apart = {
        int(values[6]): 0.5,
        int(values[odd]): factor,
    }  # one point may stand apart: a bend would have to explain two
    found = grow(lambda n: (1e-4 + 1e-6 * n) * apart.get(n, 1), axis="modules", values=values)
    ns = [point.n for point in found.series.points]
    assert found.bend is None or ns[1] <= found.bend < ns[-2]


def test_an_interval_of_99_percent_is_a_known_number_of_standard_deviations(grow):
    point = grow(lambda n: 1e-6 + 1e-9 * n, spread=0.0515).series.points[0]
    assert deviation(point) == pytest.approx(0.02, rel=1e-3)
    assert deviation(replace(point, value=replace(point.value, high=math.inf))) == UNSURE
