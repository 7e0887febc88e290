"""`--explain` from end to end, where there is no valgrind: the profiles alone."""

import errno
import re

import pytest
from sides import NUMBERS

from bench_core.gate.why import instructions
from bench_core.gate.why.explain import explain

CALLS = """
import thing


class Call:
    def time_cached(self):
        thing.total()

    def time_broken(self):
        thing.broken()

    def peakmem_buffer(self):
        thing.buffer()

    def mem_buffer(self):
        return thing.buffer()

    def track_steps(self):
        return thing.steps()
"""
BASE = """
import functools
@functools.cache
def table():
    return [number * number for number in range(50)]
def total():
    return len(table())
def broken():
    pass
def buffer():
    return bytearray(2**20)
def step():
    return 1
def steps():
    return step()
"""
HEAD = (
    BASE.replace("@functools.cache\n", "")
    .replace("    pass", "    1 / 0")
    .replace("2**20", "2**22")
    .replace("return step()", "return step() + step()")
)
TIMED = ["calls.Call.time_broken", "calls.Call.time_cached"]
SIZES = ["calls.Call.peakmem_buffer", "calls.Call.mem_buffer"]
CELLS = [*TIMED, *SIZES, "calls.Call.track_steps"]


@pytest.fixture(scope="module")
def causes(module_sides):
    sides = module_sides(CALLS, BASE, HEAD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        found = explain(sides.subjects, CELLS, dict.fromkeys(CELLS, 1.5), lambda line: None)
    assert sides.left_behind() == []
    return found


def test_every_cell_has_a_cause(causes):
    assert list(causes) == CELLS


def test_a_lost_cache_is_the_function_that_is_computed_again(causes):
    assert causes["calls.Call.time_cached"].sentence.startswith("1 more call of thing.table (0 → 1)")


def test_without_valgrind_the_cause_says_so_and_stands_on_the_profile(causes):
    found = causes["calls.Call.time_cached"]
    assert found.instructions is None
    assert found.without.startswith("valgrind is not installed")
    assert found.calls


def test_a_cell_that_fails_is_not_explained_and_says_why(causes):
    found = causes["calls.Call.time_broken"]
    assert found.sentence == "not explained: head: ZeroDivisionError: division by zero (thing/__init__.py:8)"


@pytest.mark.parametrize("cell", SIZES)
def test_a_memory_cell_is_explained_by_its_bytes(causes, cell):
    expected = r"peak memory of Python and numpy 3(\.\d+)? MiB higher \(1.* MiB → 4.* MiB\)"
    assert re.fullmatch(expected, causes[cell].sentence)


def test_a_tracked_cell_is_explained_by_what_runs_more_often(causes):
    assert causes["calls.Call.track_steps"].sentence == "1 more call of thing.step (1 → 2)"


def test_a_tracked_value_that_differs_alone_is_explained_by_what_the_change_reaches(sides):
    cell, made = "calls.Call.track_steps", sides(CALLS, BASE, BASE.replace("return 1", "return 2"))
    found = explain(made.subjects, [cell], {cell: 2.0}, lambda line: None, None, {cell: "runs thing.step"})[cell]
    assert found.sentence.startswith("the value differs, and the work that makes it is the same: ")
    assert found.sentence.endswith("; the change reaches the cell, which runs thing.step")


def test_only_of_what_is_timed_instructions_are_missed(causes):
    assert [name for name, found in causes.items() if found.without] == ["calls.Call.time_cached"]


def test_a_count_that_fails_leaves_what_the_profiles_say(sides, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(instructions, "count", full)
    found = explain(sides(CALLS, BASE, HEAD).subjects, TIMED[1:], {TIMED[1]: 1.5}, lambda line: None)[TIMED[1]]
    assert found.sentence.startswith("1 more call of thing.table (0 → 1)")
    assert "No space left on device" in found.without


def test_a_cell_that_base_calls_otherwise_is_inspected_there_by_its_own_name(sides, monkeypatch):
    monkeypatch.setenv("PATH", "")
    base = "def shown():\n    return '1'\ndef more():\n    pass\ndef step():\n    pass\n"
    head = base.replace("'1'", "'one(1)'").replace("step():\n    pass", "step():\n    more()")
    made = sides(NUMBERS.replace("value", "step"), base, head)
    renamed = made.find().renamed
    (name,) = renamed
    assert name == "calls.Call.time_step(one(1))"
    found = explain(made.subjects, [name], {name: 1.5}, lambda line: None, renamed)[name]
    assert found.sentence.startswith("1 more call of thing.more (0 → 1)")


def test_no_red_cell_needs_no_process(sides):
    assert explain(sides(CALLS, BASE).subjects, [], {}, pytest.fail) == {}
