"""Which cells make a line, and along what."""

import pytest

from bench_core.analysis.series import axes, quantity, series


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("100", 100),
        ("8x4", 32),
        ("2x3x4", 24),
        ("0.5", 0.5),
        ("1e3", 1000),
        ("'8x4'", 32),
        ("0", None),
        ("-1", None),
        ("0x4", None),
        ("nan", None),
        ("inf", None),
        ("all", None),
        ("float32", None),
        ("mlp_1x3072", None),
        ("x4", None),
    ],
)
def test_a_quantity_is_a_positive_number_or_a_product(value, number):
    assert quantity(value) == number


def lines(subject):
    return [(line.axis, line.label, [point.label for point in line.points]) for line in series(subject)]


def test_a_line_is_in_the_order_of_its_axis_and_holds_the_cells_values(make_subject, make_along):
    cells = make_along("f.C.time_it", "size", {"64x64": 3e-6, "8x4": 1e-6}, {"device": "cpu"})
    (line,) = series(make_subject(cells))
    assert (line.subject, line.benchmark, line.family, line.unit) == (
        "box, torch 2.13.0",
        "f.C.time_it",
        "f",
        "seconds",
    )
    assert (line.axis, line.counts, line.fixed) == ("size", "elements", {"device": "cpu"})
    assert [(point.cell, point.n, point.label, point.value.middle) for point in line.points] == [
        ("f.C.time_it(cpu, 8x4)", 32, "8x4", 1e-6),
        ("f.C.time_it(cpu, 64x64)", 4096, "64x64", 3e-6),
    ]


def test_every_combination_of_the_other_parameters_is_a_separate_line(make_subject, make_along):
    cells = [
        cell
        for device in ("cpu", "cuda")
        for cell in make_along("f.C.time_it", "modules", {10: 1e-6, 100: 1e-5}, {"device": device})
    ]
    assert lines(make_subject(cells)) == [("modules", "cpu", ["10", "100"]), ("modules", "cuda", ["10", "100"])]


def test_a_benchmark_with_two_quantities_has_lines_along_both(make_subject, make_cell):
    cells = [make_cell("f.C.time_it", {"width": w, "uses": u}, 1e-6) for w in ("8", "64") for u in ("2", "32")]
    assert lines(make_subject(cells)) == [
        ("width", "2", ["8", "64"]),
        ("width", "32", ["8", "64"]),
        ("uses", "8", ["2", "32"]),
        ("uses", "64", ["2", "32"]),
    ]


def test_a_parameter_with_one_word_among_its_numbers_is_no_axis(make_subject, make_along):
    assert lines(make_subject(make_along("f.C.time_it", "threads", {"1": 1e-6, "2": 1e-6, "all": 1e-6}))) == []


def test_a_parameter_with_one_value_is_no_axis(make_along):
    assert axes(make_along("f.C.time_it", "size", {"8x4": 1e-6, "64x64": 1e-6}, {"width": "8"})) == ("size",)


def test_a_line_with_one_point_is_left_out(make_subject, make_along):
    whole = make_along("f.C.time_it", "size", {"8x4": 1e-6, "64x64": 2e-6}, {"device": "cpu"})
    left = make_along("f.C.time_it", "size", {"8x4": 1e-6}, {"device": "cuda"})
    assert [line.label for line in series(make_subject([*whole, *left]))] == ["cpu"]


def test_what_is_no_product_counts_what_its_parameter_is_called(make_subject, make_along):
    (line,) = series(make_subject(make_along("f.C.time_it", "modules", {10: 1e-6, 100: 1e-5}, writes=1)))
    assert (line.counts, line.item_bytes) == ("modules", None)


@pytest.mark.parametrize(
    ("fixed", "declared", "bytes_each"),
    [
        ({"dtype": "bfloat16"}, {}, 2),
        ({"dtype": "float8"}, {}, None),
        ({}, {"writes": 1}, 4),
        ({}, {"draws": 1}, 4),
        ({}, {}, None),
    ],
    ids=["named", "unknown", "traffic", "draws", "undeclared"],
)
def test_the_bytes_of_an_element_are_known_by_dtype_or_by_what_is_declared(
    make_subject, make_along, fixed, declared, bytes_each
):
    cells = make_along("f.C.time_it", "size", {"8x4": 1e-6, "64x64": 2e-6}, fixed, **declared)
    assert series(make_subject(cells))[0].item_bytes == bytes_each


def test_tracked_values_have_lines_in_their_own_unit(make_subject, make_along):
    cells = make_along("f.C.track_it", "depth", {4: -3.0, 16: -9.0}, kind="track", unit="log10 ratio")
    assert [line.unit for line in series(make_subject(cells))] == ["log10 ratio"]
