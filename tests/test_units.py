import math

import pytest

from bench_core import units
from bench_core.records.run import Interval


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.234, "1.23 s"),
        (0.0123, "12.3 ms"),
        (4.5678e-6, "4.57 µs"),
        (0.9999e-6, "1.00 µs"),
        (2.5e-10, "0.250 ns"),
        (123.4, "123 s"),
        (0.0, "0 ns"),
        (math.nan, "n/a"),
    ],
)
def test_a_time_has_three_digits_and_the_fitting_unit(seconds, text):
    assert units.time(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(128, "128 B"), (16384, "16.0 KiB"), (3 << 30, "3.00 GiB")])
def test_a_size_is_in_binary_units(count, text):
    assert units.size(count) == text


def test_an_uncertainty_is_half_the_interval_and_unknown_where_an_end_is_open():
    assert units.uncertainty(Interval(0.9, 1.0, 1.3, 0.99)) == "±20.0 %"
    assert units.uncertainty(Interval(-math.inf, 1.0, 1.3, 0.99)) == "?"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00x"),
        (0.0000123, "0.000012x"),
        (0.0033, "0.0033x"),
        (0.05, "0.050x"),
        (0.0996, "0.10x"),
        (0.45, "0.45x"),
        (1.0, "1.00x"),
        (9.99, "9.99x"),
        (12.4, "12x"),
    ],
)
def test_a_ratio_is_as_long_as_it_needs_to_be(value, text):
    assert units.ratio(value) == text


@pytest.mark.parametrize(
    ("unit", "words"), [("seconds", ["faster", "slower"]), ("bytes", ["less", "more"]), ("loss", ["lower", "higher"])]
)
def test_what_a_value_did_is_said_in_the_words_of_its_unit(unit, words):
    assert [units.direction(unit, grew=grew) for grew in (False, True)] == words
