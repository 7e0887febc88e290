"""A cell that the change cannot reach is no pass and no doubt."""

import pytest

from bench_core.gate.judge.exit_code import exit_code
from bench_core.gate.judge.gate import judge
from bench_core.records.gate import CellEvidence, Effect, GateRecord, GateSettings
from bench_core.records.version import Commit

VERSION = Commit("main", "0" * 40, "", "")


def cell(pairs, ratio=0.0, **others):
    effects = tuple(Effect(pair, pair % 4, ratio, 1.0, 1.0, 8) for pair in range(pairs))
    return CellEvidence("a.time_b", "a.time_b", {}, "time", "seconds", effects, **others)


def record(*cells, **others):
    return GateRecord(
        VERSION, VERSION, GateSettings(), {}, "", 1.0, cells, unaffected=("a.time_c", "a.time_d"), **others
    )


@pytest.mark.parametrize("strict", [False, True])
def test_a_change_that_reaches_nothing_ends_with_0_and_says_so(strict):
    found = judge(record(left_out={"x": "only on head"}))
    assert found.reason == "nothing that this change can reach, so none of 2 cells is measured; 1 left out"
    assert exit_code(found, record(), strict) == 0
    assert found.cells == ()


def test_unaffected_cells_are_counted_apart_in_the_headline_of_a_pass():
    found = judge(record(cell(20)))
    assert (found.verdict, found.reason.split("; ")) == ("pass", ["1 cell, none slower by 5 %", "2 unaffected"])
    assert exit_code(found, record(cell(20)), strict=True) == 0


def test_unaffected_cells_do_not_stand_in_for_cells_that_were_not_measured():
    nothing = record(cell(0, error="hangs"))
    assert judge(nothing).verdict == "error"
    assert exit_code(judge(nothing), nothing, strict=False) == 2


def test_unaffected_cells_do_not_hide_a_regression():
    slower = record(cell(30, 0.2))
    assert (judge(slower).verdict, exit_code(judge(slower), slower, strict=False)) == ("regression", 1)
