"""`--explain` from end to end, where there is no valgrind: the profiles alone."""

import pytest

from bench_core.gate.explain import explain

CALLS = """
import thing


class Call:
    def time_cached(self):
        thing.total()

    def time_broken(self):
        thing.broken()
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
"""
HEAD = BASE.replace("@functools.cache\n", "").replace("    pass", "    1 / 0")
CELLS = ["calls.Call.time_broken", "calls.Call.time_cached"]


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
    assert found.sentence == "not explained: head: ZeroDivisionError: division by zero (__init__.py:8)"


def test_no_red_cell_needs_no_process(sides):
    assert explain(sides(CALLS, BASE).subjects, [], {}, pytest.fail) == {}
