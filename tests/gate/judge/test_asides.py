"""A good verdict hides nothing: what failed once, what was left out, and how far an interrupted gate came."""

from bench_core.gate.judge.gate import judge
from bench_core.records.gate import CellEvidence, Effect, GateRecord, GateSettings
from bench_core.records.version import Commit

VERSION = Commit("main", "0" * 40, "", "")


def cell(name="a.time_b", pairs=20, **others):
    effects = tuple(Effect(pair, pair % 4, 0.0, 1.0, 1.0, 8) for pair in range(pairs))
    return CellEvidence(name, name, {}, "time", "seconds", effects, **others)


def judged(*cells, **others):
    return judge(GateRecord(VERSION, VERSION, GateSettings(), {}, "", 1.0, cells, **others))


def test_a_failure_that_did_not_happen_again_is_in_the_headline_of_a_pass():
    found = judged(cell(strays=("head: call: OSError: busy",)), faults=("has ended",))
    assert (found.verdict, found.reason.split("; ")[1]) == ("pass", "2 failures did not happen again")


def test_what_was_left_out_is_counted_in_the_headline_of_a_pass():
    assert judged(cell(), left_out={"x": "only on head"}).reason.endswith("; 1 left out")


def test_an_interrupted_gate_says_how_far_it_came_and_not_that_its_cells_are_inconclusive():
    found = judged(cell(), cell("c", 3), cell("d", 0), interrupted=True)
    assert (found.verdict, found.reason) == ("inconclusive", "interrupted: 1 of 3 cells decided")
    assert judged(cell(pairs=0), interrupted=True).reason == "interrupted before anything was measured"
