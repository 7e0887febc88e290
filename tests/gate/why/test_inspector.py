"""That an inspector sees what a call does, exactly, and the same on both sides."""

import sys

import pytest

from bench_core.gate.why.inspector import _inspected, _native_name, look, profiled_at_first
from bench_core.timing.cells import SuiteDirectory
from bench_core.workers import child
from bench_core.workers.messages import NotInspected

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
    with child.Watchdog() as watchdog:
        found = dict(look(sides.subjects, [*cells, "calls.Once.time_pop"][:4], "profile", watchdog, renamed={}))
    assert sides.left_behind() == []
    return found


def test_calls_are_counted_for_each_call_of_the_cell(seen):
    for answer in seen["calls.Call.time_total"].values():
        assert answer.calls["thing.double"].count == 2
        assert answer.calls["builtins.sum"].count == 1


@pytest.mark.skipif(sys.version_info < (3, 11), reason="earlier bytecodes have other names")
def test_bytecodes_are_counted_by_function_and_name(seen):
    base, head = (seen["calls.Call.time_total"][side].bytecodes for side in ("base", "head"))
    assert base == head
    assert base["thing.double"]["BINARY_OP"] == 2


def test_what_serves_one_call_is_set_up_before_each(seen):
    assert seen["calls.Once.time_pop"]["base"].calls["list.pop"].count == 2


def test_a_suite_without_torch_has_no_operators(seen):
    assert seen["calls.Call.time_total"]["base"].operators == {}


def test_what_runs_in_another_process_is_not_inspected(seen):
    assert "in its own process" in seen["calls.Raw.timeraw_import"]["head"].cause


def test_a_side_that_dies_is_named_and_the_other_continues(seen):
    answers = seen["calls.Call.time_exit"]
    assert answers["head"].lost
    assert answers["head"].cause.startswith("the process that inspects head has ended")
    assert answers["base"].calls["thing.leave"].count == 1


def test_a_version_from_elsewhere_is_refused(sides):
    made = sides(
        "import thing\n\n\ndef time_x():\n    pass\n", "from pathlib import Path\n__file__ = '/elsewhere/x.py'\n"
    )
    with child.Watchdog() as watchdog:
        ((_, answers),) = look(made.subjects, ["calls.time_x"], "profile", watchdog, renamed={})
    assert "thing was imported from /elsewhere" in answers["base"].cause


SIZES = """
import thing


def time_fill():
    thing.fill()


def peakmem_fill():
    thing.fill()
"""
CACHING = """
kept = []
def fill():
    if not kept:
        kept.append(bytearray(2**22))
"""


def test_of_a_memory_cell_the_first_call_is_looked_at(sides):
    made = sides(SIZES, CACHING)
    with child.Watchdog() as watchdog:
        found = dict(look(made.subjects, ["calls.peakmem_fill", "calls.time_fill"], "profile", watchdog, renamed={}))
    for answer in found["calls.peakmem_fill"].values():
        assert answer.peak > 2**22
        assert answer.calls["thing.fill"].count == 1
    assert found["calls.time_fill"]["base"].peak < 2**20


IN_THIS_PROCESS = """
import torch


def mem_list():
    return []


def peakmem_in_turn():
    for _ in range(3):
        torch.zeros(2**18)


def peakmem_at_once():
    kept = [torch.zeros(2**18) for _ in range(3)]
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite") / "cases_inspected"  # a name that no other test imports
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "calls.py").write_text(IN_THIS_PROCESS)
    return SuiteDirectory(folder)


@pytest.mark.parametrize(("cell", "held"), [("peakmem_in_turn", 1), ("peakmem_at_once", 3)])
def test_tensors_are_added_up_for_as_long_as_they_live(suite, cell, held):
    with suite.find(f"calls.{cell}").open() as opened:
        found = profiled_at_first(opened)
    assert found.tensors == held * 2**20
    assert found.operators["aten::empty"].bytes == 3 * 2**20


def test_instructions_are_counted_of_what_is_timed_only(suite):
    found = _inspected(suite, "calls.mem_list", lambda opened: pytest.fail("it was opened"))
    assert found == NotInspected("it is not timed, and instructions are counted only beside a time")


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
