"""The exit code of a self-test."""

from types import SimpleNamespace

import pytest

from bench_core.gate.judge.exit_code import self_test_code


def code(planted, others, *, interrupted=False):
    names = [*(f"p{number}" for number in range(len(planted))), *(f"o{number}" for number in range(len(others)))]
    cells = [SimpleNamespace(name=name, verdict=found) for name, found in zip(names, [*planted, *others], strict=True)]
    return self_test_code(SimpleNamespace(cells=cells), names[: len(planted)], interrupted=interrupted)


@pytest.mark.parametrize(
    ("planted", "others", "expected"),
    [
        (["regression"] * 2, ["pass", "inconclusive"], 0),
        (["regression", "inconclusive"], ["pass"], 3),
        (["regression", "pass"], ["pass"], 1),
        (["regression", "error"], ["pass"], 1),
        (["regression"], ["regression"], 1),
        (["inconclusive"], ["regression"], 1),
    ],
)
def test_a_self_test_fails_if_a_plant_passes_or_another_cell_is_red_and_is_undecided_if_a_plant_is(
    planted, others, expected
):
    assert code(planted, others) == expected
    assert code(planted, others, interrupted=True) == 130


def test_a_plant_that_was_not_measured_is_not_found():
    assert self_test_code(SimpleNamespace(cells=[]), ["p0"], interrupted=False) == 1
