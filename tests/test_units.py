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
        (2.5e-10, "250 ps"),
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
def test_a_change_is_described_in_the_words_of_its_unit(unit, words):
    assert [units.direction(unit, grew=grew) for grew in (False, True)] == words


@pytest.mark.parametrize(
    ("are_times", "grown", "fallen"),
    [
        ([True, True], "slower", "faster"),
        ([False], "larger", "smaller"),
        ([False, True], "slower or larger", "faster or smaller"),
        ([], "slower", "faster"),
    ],
)
def test_only_times_are_slower_or_faster(are_times, grown, fallen):
    assert (units.slower_or_larger(iter(are_times)), units.faster_or_smaller(iter(are_times))) == (grown, fallen)


def test_a_time_has_as_many_digits_as_are_asked_for():
    assert [units.time(seconds, 2) for seconds in (2e-3, 12.34e-6, 0.9951e-3)] == ["2.0 ms", "12 µs", "1.0 ms"]


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (1.5e-3, "seconds", "1.50 ms"),
        (1 << 26, "bytes", "64.0 MiB"),
        (0.5, "ratio", "0.5 ratio"),
        (3.0, "", "3"),
        (12_915.0, "characters", "12,915 characters"),
        (490_000.0, "entries", "490,000 entries"),
        (-1234567.0, "", "-1,234,567"),
        (12_915.4, "", "12,915"),
        (0.123456, "", "0.1235"),
        (2e20, "", "2e+20"),
        (math.inf, "", "inf"),
        (math.nan, "seconds", "n/a"),
        (math.nan, "bytes", "n/a"),
        (math.nan, "ratio", "n/a"),
    ],
)
def test_a_value_is_written_with_its_unit(number, unit, text):
    assert units.value(number, unit) == text


@pytest.mark.parametrize(
    ("before", "after", "change", "shown"),
    [
        (36.1e-6, 36.2e-6, 0.968, ("36.1 µs", "34.9 µs")),
        (1e-6, 2e-6, math.nan, ("1.00 µs", "2.00 µs")),
        (0.0, 2e-6, 3.0, ("0 ns", "2.00 µs")),
        (1e-6, math.nan, 2.0, ("1.00 µs", "2.00 µs")),
    ],
)
def test_what_is_shown_as_after_follows_from_the_ratio(before, after, change, shown):
    assert units.before_and_after(before, after, change, "seconds") == shown


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [(12.34e9, "B/s", "12.3 GB/s"), (306e6, "numbers/s", "306 M numbers/s"), (12, "items/s", "12 items/s")],
)
def test_a_rate_has_a_decimal_prefix(number, unit, text):
    assert units.rate(number, unit) == text


def test_a_count_is_written_out_until_it_is_long():
    assert [units.count(number) for number in (1024, 2.5, 16_777_216)] == ["1,024", "2.5", "16.8 M"]


def test_about_keeps_two_digits():
    assert [units.about(number) for number in (1234, 98.7, 2.34, 0.0123)] == ["1,200", "99", "2.3", "0.012"]


def test_percent_has_three_digits_or_the_decimals_asked_for():
    assert [units.percent(share) for share in (0.05, 0.12345, 1, 0.000506)] == ["5 %", "12.3 %", "100 %", "0.0506 %"]
    assert units.percent(0.12345, 0) == "12 %"
    assert units.percent(math.nan) == "n/a"


def test_bounds_are_in_percent_and_empty_where_there_are_none():
    assert [units.bounds(low, 0.0596) for low in (0.0, None)] == ["0 % to 5.96 %", ""]


def test_a_share_has_a_decimal_only_where_it_is_small():
    assert [units.share(part) for part in (0.734, 0.05, 0.004, math.nan)] == ["73 %", "5 %", "0.4 %", "n/a"]


def test_a_signed_percentage_has_its_sign_and_no_negative_zero():
    assert [units.signed_percent(share) for share in (0.052, -0.0321, -0.0001)] == ["+5.2 %", "-3.2 %", "+0.0 %"]
    assert units.signed_percent(math.nan) == "n/a"


def test_a_change_is_a_percentage_until_it_is_tenfold():
    assert [units.change(ratio) for ratio in (1.052, 0.5, 12.3, math.inf)] == ["+5.2 %", "-50.0 %", "12x", "n/a"]


def test_the_ends_of_a_ratio_are_unknown_where_one_is_open():
    assert units.ends(Interval(1.2, 1.23, 1.27, 0.99)) == "1.20 to 1.27"
    assert units.ends(Interval(-math.inf, 1.23, 1.27, 0.99)) == "?"


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((1.2, 1.234, 1.27), "1.23x (1.20 to 1.27)"),
        ((-math.inf, 2, math.inf), "2.00x (interval unknown)"),
        ((1, 1, 1), "1.00x"),
    ],
)
def test_an_estimate_shows_how_sure_it_is(ends, text):
    assert units.estimate(Interval(*ends, 0.99)) == text


@pytest.mark.parametrize(
    ("ratio", "unit", "text"),
    [(0.8, "seconds", "1.25x faster"), (2, "bytes", "2.00x more"), (0.5, "loss", "2.00x lower")],
)
def test_a_step_says_how_much_and_which_way(ratio, unit, text):
    assert units.step(ratio, unit) == text


def test_one_thing_is_singular_and_all_other_numbers_are_plural():
    assert [units.plural(number, "cell") for number in (0, 1, 2, 1024)] == [
        "0 cells",
        "1 cell",
        "2 cells",
        "1,024 cells",
    ]
    assert units.plural(2, "process", "processes") == "2 processes"


def test_a_list_ends_in_its_last_word():
    assert [units.listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert units.listed(["a", "b", "c"], "or") == "a, b or c"


def test_what_is_missing_is_not_joined():
    assert units.joined("a", None, "", "b") == "a, b"


def test_neighbouring_numbers_are_a_span():
    assert units.spans([5, 1, 0, 2]) == "0-2,5"
