"""That an inspector sees what a call does, exactly, and the same on both sides."""

import pytest

from bench_core.gate import lane
from bench_core.gate.inspector import _native_name, look

CALLS = """
import thing


class Call:
    def time_total(self):
        thing.total([3, 4])

    def time_exit(self):
        thing.leave()


class Once:
    number = 1

    def setup(self):
        self.items = [1, 2]

    def time_pop(self):
        while self.items:
            self.items.pop()


class Raw:
    def timeraw_import(self):
        return "import json"
"""
BASE = """
def double(item):
    return 2 * item
def total(items):
    return sum(double(item) for item in items)
def leave():
    pass
"""
HEAD = "import os\n" + BASE.replace("    pass", "    os._exit(3)")


@pytest.fixture(scope="module")
def seen(module_sides):
    sides = module_sides(CALLS, BASE, HEAD)
    cells = ["calls.Call.time_total", "calls.Raw.timeraw_import", "calls.Once.time_pop", "calls.Call.time_exit"]
    with lane.Watchdog() as watchdog:
        found = dict(look(sides.subjects, [*cells, "calls.Once.time_pop"][:4], "profile", watchdog))
    assert sides.left_behind() == []
    return found


def test_calls_are_counted_for_each_call_of_the_cell(seen):
    for answer in seen["calls.Call.time_total"].values():
        assert answer["calls"]["thing.double"]["count"] == 2
        assert answer["calls"]["builtins.sum"]["count"] == 1


def test_bytecodes_are_counted_by_function_and_name(seen):
    base, head = (seen["calls.Call.time_total"][side]["bytecodes"] for side in ("base", "head"))
    assert base == head
    assert base["thing.double"]["BINARY_OP"] == 2


def test_what_serves_one_call_is_set_up_before_each(seen):
    assert seen["calls.Once.time_pop"]["base"]["calls"]["list.pop"]["count"] == 2


def test_a_suite_without_torch_has_no_operators(seen):
    assert seen["calls.Call.time_total"]["base"]["operators"] == {}


def test_what_runs_in_another_process_is_not_looked_into(seen):
    assert "in a process of its own" in seen["calls.Raw.timeraw_import"]["head"]["failed"]


def test_a_side_that_dies_is_named_and_the_other_goes_on(seen):
    answers = seen["calls.Call.time_exit"]
    assert answers["head"]["lost"]
    assert answers["head"]["failed"].startswith("the process that looks at head has ended")
    assert answers["base"]["calls"]["thing.leave"]["count"] == 1


def test_a_version_from_elsewhere_is_refused(sides):
    made = sides(
        "import thing\n\n\ndef time_x():\n    pass\n", "from pathlib import Path\n__file__ = '/elsewhere/x.py'\n"
    )
    with lane.Watchdog() as watchdog:
        ((_, answers),) = look(made.subjects, ["calls.time_x"], "profile", watchdog)
    assert "thing was imported from /elsewhere" in answers["base"]["failed"]


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("<method 'normal_' of 'torch._C.TensorBase' objects>", "torch._C.TensorBase.normal_"),
        ("<built-in method torch._foreach_mul_>", "torch._foreach_mul_"),
        ("<built-in method zeros of type object at 0x7f00>", "zeros"),
        ("<thing at 0x7f00>", "<thing>"),
    ],
)
def test_names_of_native_functions_hold_no_addresses(said, name):
    assert _native_name(said) == name
