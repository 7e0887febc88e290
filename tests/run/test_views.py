"""Known slowdowns and the agreement with another timer: views of one measurement."""

import sys

import pytest

from bench_core.errors import BenchCoreError
from bench_core.records.run import LeftOut
from bench_core.run.parents import Measuring
from bench_core.run.views import NOT_REACHED, agreement, slowdowns, spread_over_time

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")

KNOWN = """
from types import SimpleNamespace


def report(source, slow, fast):
    return SimpleNamespace(
        source=source, what="it loops", instead="sum", benchmark="time_it", slow={"way": slow}, fast={"way": fast},
        where="usage",
    )


class Known(_Ways):
    params = [["sum", "loop", "skips", "fails"]]
    reports = [report("a/b#1", "'loop'", "'sum'"), *MORE]

    def setup(self, way):
        super().setup(way)
        if way == "skips":
            raise NotImplementedError("not today")

    def time_it(self, way):
        if way == "fails":
            raise ValueError("planted")
        sum(self.data) if way == "sum" else sum(x for x in self.data)
"""


def known(more=""):
    return KNOWN.replace("*MORE", more)


def how(suite, budget=60.0):
    return Measuring(suite.path, budget, 20.0, (), None, spawn=False, seed=1)


def nothing(progress):
    pass


def test_a_slowdown_is_the_ratio_of_two_cells_in_turn(suite_of, two_rounds):
    suite = suite_of(known("""report("c/d#2", "'loop'", "'skips'")"""))
    found, left_out = slowdowns(suite, how(suite), nothing)
    assert (found.source, found.slow, found.fast) == ("a/b#1", "f.Known.time_it('loop')", "f.Known.time_it('sum')")
    assert 1.3 < found.ratio.middle < 20
    assert found.slow_seconds / found.fast_seconds == pytest.approx(found.ratio.middle)
    assert left_out == LeftOut("c/d#2", "not today")


def test_a_slowdown_whose_cell_fails_is_an_error(suite_of, two_rounds):
    suite = suite_of(known("""report("c/d#2", "'fails'", "'sum'")"""))
    with pytest.raises(BenchCoreError, match=r"f\.Known\.time_it\('fails'\) failed: .*ValueError: planted"):
        slowdowns(suite, how(suite), nothing)


def test_a_report_on_a_cell_that_is_not_there_is_an_error(suite_of):
    suite = suite_of(known("""report("c/d#2", "'lop'", "'sum'")"""))
    with pytest.raises(BenchCoreError, match="Known reports c/d#2 with a cell that it does not have"):
        slowdowns(suite, how(suite), nothing)


def test_a_suite_without_reports_says_so(suite_of):
    suite = suite_of("def time_it(): pass\n")
    with pytest.raises(BenchCoreError, match="declares no known slowdown"):
        slowdowns(suite, how(suite), nothing)


def test_a_slowdown_that_the_budget_did_not_reach_is_left_out(suite_of, two_rounds, monkeypatch):
    suite = suite_of(known())
    monkeypatch.setattr("bench_core.run.measure.Measurement.run", lambda *arguments: None)
    assert slowdowns(suite, how(suite), nothing) == [LeftOut("a/b#1", NOT_REACHED)]
    assert agreement(suite.select("sum"), "t", how(suite), nothing) == [LeftOut("f.Known.time_it('sum')", NOT_REACHED)]


def test_ctrl_c_makes_no_page(suite_of, two_rounds):
    suite = suite_of(known())

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slowdowns(suite, how(suite), interrupt)


def test_our_time_agrees_with_torchs(suite_of):
    suite = suite_of(known())
    (found,) = agreement(suite.select("sum"), "torch.utils.benchmark", how(suite, budget=0.1), nothing)
    assert found.cell == "f.Known.time_it('sum')"
    assert 0.5 < found.ratio.middle < 2


SPREAD = """
class Loop:
    params = [[1, 10, 100, 1000, 10_000]]
    param_names = ["n"]

    def time_it(self, n):
        sum(range(n))


class Once:
    number = 1

    def setup(self):
        pass

    def time_once(self):
        pass


def track_it():
    return 1


def time_slow():
    import time
    time.sleep(0.02)


def time_skips():
    pass


def skip():
    raise NotImplementedError


time_skips.setup = skip
"""


def test_cells_are_spread_evenly_over_the_logarithm_of_their_time(suite_of):
    suite = suite_of(SPREAD, rivals=False)
    every = spread_over_time(suite.cells, 99, longest=0.01)
    assert {cell.benchmark for cell in every} == {"f.Loop.time_it"}
    fastest, slowest = spread_over_time(suite.cells, 2, longest=0.01)
    assert fastest.values[0] < 100
    assert slowest.values[0] == 10_000
