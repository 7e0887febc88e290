"""Cells that both versions have are compared, whatever they are called; the others are named with their reasons."""

from dataclasses import replace

import pytest

from bench_core.gate.measure.discover import compare
from bench_core.gate.measure.matching import same_value
from bench_core.workers.messages import Probed, ProbedCell


def probed(*texts, names=("x",), why_not=None, benchmark="a.time_a"):
    """What a probe finds of one benchmark with these texts of values, a list for each parameter."""
    cells, axes = [], [list(axis) for axis in texts]
    product = [()]
    for axis in axes:
        product = [(*before, value) for before in product for value in axis]
    for index, values in enumerate(product):
        name = f"{benchmark}({', '.join(values)})"
        params = dict(zip(names, values, strict=True))
        cells.append(ProbedCell(name, benchmark, params, "time", why_not, "cpu", index, 300.0))
    declared = ({"name": benchmark, "param_names": list(names), "params": axes, "unit": "seconds"},)
    return Probed(tuple(cells), "", {}, declared, {}, (), ())


def test_cells_of_one_name_belong_together_wherever_they_are():
    found = compare(probed(["1", "2"]), probed(["2", "1"]))
    assert [cell.name for cell in found.cells] == ["a.time_a(1)", "a.time_a(2)"]
    assert {task.index for task in found.asked.values()} == {None}
    assert {task.timeout for task in found.asked.values()} == {300.0}


def test_cells_whose_values_are_written_otherwise_belong_together_by_position():
    found = compare(probed(["0.5", "1.5"]), probed(["np.float64(0.5)", "np.float64(1.5)"]))
    assert [cell.name for cell in found.cells] == ["a.time_a(np.float64(0.5))", "a.time_a(np.float64(1.5))"]
    assert found.renamed == {f"a.time_a(np.float64({value}))": f"a.time_a({value})" for value in ("0.5", "1.5")}
    assert [found.asked[cell.name].index for cell in found.cells] == [0, 1]
    assert (found.failed, found.left_out) == ((), {})


def test_a_cell_that_a_pattern_selects_by_the_name_of_one_side_is_compared():
    old, new = probed(["0.5", "1.5"]), probed(["np.float64(0.5)", "np.float64(1.5)"])

    def selecting(found, *numbers):
        return replace(
            found, cells=tuple(replace(cell, selected=number in numbers) for number, cell in enumerate(found.cells))
        )

    for base, head in ((selecting(old), selecting(new, 1)), (selecting(old, 1), selecting(new))):
        found = compare(base, head)
        assert [cell.name for cell in found.cells] == ["a.time_a(np.float64(1.5))"]
        assert (found.failed, found.left_out) == ((), {})


@pytest.mark.parametrize(
    ("base", "head", "reason"),
    [
        (probed(["1", "2"]), probed(["3", "4", "5"]), "x has 2 values on base, 3 on head"),
        (probed(["1"]), probed(["2"], names=("y",)), "its parameters are x on base, y on head"),
        (probed(["'mkl'"]), probed(["'blis'"]), "x is 'mkl' on base, 'blis' on head"),
    ],
)
def test_cells_that_are_on_both_sides_and_cannot_be_matched_are_not_measured_and_named_with_the_reason(
    base, head, reason
):
    found = compare(base, head)
    assert found.cells == ()
    assert {(cell.error, cell.error_side) for cell in found.failed} == {(reason, None)}
    assert {cell.name for cell in found.failed} == {cell.name for cell in head.cells}
    assert set(found.left_out) == {cell.name for cell in base.cells}


def test_a_value_that_only_one_side_has_is_only_there():
    found = compare(probed(["1", "2"]), probed(["1", "2", "3"]))
    assert (found.failed, found.left_out) == ((), {"a.time_a(3)": "only on head"})


def test_what_only_the_past_version_has_is_not_said_to_be_on_base():
    found = compare(probed(["1", "2"]), probed(["1"]), older="past")
    assert found.left_out == {"a.time_a(2)": "only on past"}


def test_a_cell_that_skips_itself_with_head_only_is_an_error_of_head():
    works, skips = probed(["1"]), probed(["1"], why_not="no device")
    assert [(one.error, one.error_side) for one in compare(works, skips).failed] == [
        ("skips itself: no device", "head")
    ]
    assert compare(skips, works).left_out == {"a.time_a(1)": "skips itself on base: no device"}
    assert compare(skips, skips).left_out == {"a.time_a(1)": "no device"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0.5", "np.float64(0.5)", True),
        ("1", "1.0", True),
        ("<A object at 0x7f01>", "<A object at 0x7f02>", True),
        ("device(type='cpu')", "cpu", True),
        ("<Color.RED: 1>", "Color.RED", True),
        ("0.5", "0.25", False),
        ("'a'", "'b'", False),
        ("np.float32(0.5)", "np.float64(0.5)", False),
    ],
)
def test_a_value_is_the_same_if_one_text_has_all_words_and_numbers_of_the_other(one, other, same):
    assert same_value(one, other) == same_value(other, one) == same


CASES = """
import thing


class Number:
    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return thing.shown(self.value)


class Sum:
    params = [Number(1000), Number(3000)]

    def time_sum(self, number):
        sum(range(number.value * thing.TIMES))
"""


def test_a_cell_that_each_version_calls_otherwise_is_measured_on_both(sides):
    base = "TIMES = 1\n\n\ndef shown(value):\n    return str(value)\n"
    head = "TIMES = 2\n\n\ndef shown(value):\n    return f'number({value})'\n"
    gate = sides(CASES, base, head).measure()
    assert {one.cell.name: one.judgement.verdict for one in gate.dossiers} == {
        "calls.Sum.time_sum(number(1000))": "regression",
        "calls.Sum.time_sum(number(3000))": "regression",
    }
