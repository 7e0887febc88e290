import os
import re
import shutil
import signal

import pytest

from bench_core.errors import BenchCoreError
from bench_core.gate.judge.cell import judge_cell
from bench_core.gate.measure.effects import CLOCKS_APART
from bench_core.workers import child
from bench_core.workers.messages import PairTask

VALUE = """
import thing


def time_value():
    thing.value()
"""
LOOP = "def value():\n    for _ in range(LENGTH):\n        pass\n"
SHORT, LONG = (LOOP.replace("LENGTH", str(length)) for length in (2000, 6000))


def verdicts(gate):
    family = len(gate.dossiers)
    return [judge_cell(one.effects, gate.settings, family, one.cell.kind).verdict for one in gate.dossiers]


def cell(gate, name):
    return next(one.evidence for one in gate.dossiers if name in one.cell.name)


@pytest.mark.parametrize(
    ("base", "head", "verdict"),
    [
        pytest.param(SHORT, LONG, "regression", id="slower"),
        pytest.param(LONG, SHORT, "improvement", id="faster"),
        pytest.param(SHORT, SHORT, "pass", id="same"),
    ],
)
def test_a_cell_is_measured_until_it_is_decided(sides, base, head, verdict):
    made = sides(VALUE, base, head)
    gate = made.measure()
    assert verdicts(gate) == [verdict]
    assert gate.progress().decided == 1
    parents = {effect.parent for effect in gate.dossiers[0].effects}
    assert len(parents) >= (2 if verdict == "regression" else 1)  # head takes three times as long
    assert made.left_behind() == []


def test_either_side_is_forked_first_in_turn_within_a_parent(sides):
    gate = sides(VALUE, SHORT).measure()
    parents = {}
    for effect in gate.dossiers[0].effects:
        parents.setdefault(effect.parent, []).append(effect.forked_first)
    assert all(set(firsts[:2]) == {"base", "head"} for firsts in parents.values() if len(firsts) > 1)
    assert any(len(firsts) > 1 for firsts in parents.values())


DIFFERENT = """
import thing


def time_returns():
    return [0] * thing.SIZE


class Checked:
    def check_same(self):
        return {"size": "x" if thing.SIZE == 1 else 2}

    def time_same(self):
        pass


class Skipped:
    params = ["head", "both"]

    def setup(self, side):
        if side == "both" or thing.SIZE == 2:
            raise NotImplementedError("no such device")

    def time_skipped(self, side):
        pass


class Mixed:
    def setup(self):
        if thing.SIZE == 1:
            raise NotImplementedError("no such device")
        raise ValueError("broken")

    def time_mixed(self):
        pass
"""


@pytest.fixture(scope="module")
def different(module_sides):
    return module_sides(DIFFERENT, "SIZE = 1", "SIZE = 2").measure()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("returns", "returns: list of 1 (int) on base, list of 2 (int; int) on head"),
        ("same", "check: dict of 1 (size: str) on base, dict of 1 (size: int) on head"),
    ],
)
def test_sides_that_do_different_things_have_no_verdict(different, name, what):
    found = cell(different, name)
    assert (found.error, found.error_side) == (f"the sides do not do the same: {what}", None)


def test_a_cell_that_skips_itself_on_both_sides_is_no_error(different):
    assert different.main.skipped == {"calls.Skipped.time_skipped('both')": "no such device"}
    assert cell(different, "time_skipped('both')").error is None


def test_a_cell_that_skips_itself_on_head_alone_is_an_error_of_head(different):
    found = cell(different, "time_skipped('head')")
    assert (found.error, found.error_side) == ("skips itself: no such device", "head")


def test_a_side_that_skips_does_not_hide_that_the_other_fails(different):
    found = cell(different, "mixed")
    assert found.error.startswith("setup: ValueError: broken")
    assert found.error_side == "head"


LIE = """
import time, timeit

true = time.perf_counter


def slow():
    return RATE * true()


import bench_core.clock

time.perf_counter = timeit.default_timer = bench_core.clock.host = slow
"""
TIMERS = """
import timeit
import thing


def work():
    for _ in range(3000):
        pass


def time_by_ours():
    work()


def time_by_theirs():
    work()


time_by_theirs.timer = timeit.default_timer
"""


@pytest.mark.parametrize("rate", [0.5, 0.97])
def test_a_head_that_slows_its_clock_is_found_out(sides, rate):
    made = sides(TIMERS, "", LIE.replace("RATE", str(rate)))
    gate = made.measure(until=lambda gate: all(one.closed or one.effects for one in gate.dossiers))
    theirs, ours = cell(gate, "by_theirs"), cell(gate, "by_ours")
    assert theirs.error_side == "head"
    told = re.match(r"its clock is wrong: it counts (\S+) s per second", theirs.error)
    assert float(told[1]) == pytest.approx(rate, abs=CLOCKS_APART)
    assert ours.error is None  # asv's own timer was taken before, and tells the time
    assert ours.effects


def test_a_gate_continues_from_the_evidence_of_earlier_ones(sides):
    made = sides(VALUE, SHORT)
    first = made.measure(budget=0.1, limit=0.31)
    found = [effect.pair for effect in first.dossiers[0].effects]
    again = made.gate(pass_error=0.02)
    assert again.main.earlier.effects == len(found) + len(first.controls[0].effects)
    again.run(lambda progress: None)
    pairs = [effect.pair for effect in again.dossiers[0].effects]
    assert pairs[: len(found)] == found
    assert len(pairs) == len(set(pairs)) > len(found)
    parents = {effect.parent for effect in first.dossiers[0].effects}
    assert not parents & {effect.parent for effect in again.dossiers[0].effects[len(found) :]}


def test_what_is_decided_is_not_measured_again(sides, monkeypatch):
    made = sides(VALUE, SHORT)
    decided = made.measure()
    again = made.gate()
    monkeypatch.setattr(child, "Child", None)
    again.run(lambda progress: None)
    assert verdicts(again) == ["pass"]
    assert len(again.dossiers[0].effects) == len(decided.dossiers[0].effects)


def stop(gate, how):
    """Run it, and stop it as soon as it has found something out."""

    def show(progress):
        if gate.dossiers[0].effects:
            how()

    gate.run(show, every=0.01)


def interrupt():
    raise KeyboardInterrupt


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("how", [interrupt, terminate])
def test_what_was_measured_before_an_interrupt_is_kept_and_nothing_is_left(sides, how):
    made = sides(VALUE, SHORT)
    gate = made.gate(lanes=2)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        stop(gate, how)
    assert signal.getsignal(signal.SIGTERM) == before
    assert made.left_behind() == []
    kept = made.gate()
    assert kept.dossiers[0].effects[0].pair == gate.dossiers[0].effects[0].pair
    assert kept.main.earlier.effects > 0


def test_an_interrupt_while_a_parent_imports_does_not_wait_for_it(sides, monkeypatch):
    made = sides(VALUE, SHORT)
    (made.root / "path").mkdir()
    (made.root / "path" / "endless.py").write_text("while True:\n    pass\n")
    monkeypatch.setenv("PYTHONPATH", str(made.root / "path"))
    gate = made.gate()
    gate.preload["endless"] = None

    def show(progress):
        if "imports" in progress.lanes[0]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gate.run(show, every=0.01)
    assert made.left_behind() == []


class EnoughError(Exception):
    pass


def orders(made, name, seed, monkeypatch):
    pairs = []

    class Told(child.Child):
        def tell(self, task):
            pairs.extend([task] if isinstance(task, PairTask) else [])
            if len(pairs) > 2:
                raise EnoughError
            super().tell(task)

    with monkeypatch.context() as patch:
        patch.setattr(child, "Child", Told)
        gate = made.gate(seed=seed, evidence=name)
        with pytest.raises(EnoughError):
            gate.run(lambda progress: None)
    return [[pair.pair, pair.seed, pair.first, *(group.cells[0].name for group in pair.groups)] for pair in pairs[:3]]


@pytest.mark.thorough
def test_the_same_seed_draws_the_same_orders_and_another_one_others(sides, monkeypatch):
    made = sides("\n\n".join(f"def time_{letter}():\n    pass" for letter in "abcde"), "")
    one, same, other = (orders(made, f"evidence{i}", seed, monkeypatch) for i, seed in enumerate((1, 1, 2)))
    assert one == same
    assert [job[3:] for job in one] != [job[3:] for job in other]
    assert one[0][3:] != one[2][3:]


def test_a_version_that_turns_out_to_come_from_elsewhere_ends_the_gate(sides, monkeypatch):
    made = sides(VALUE, SHORT, SHORT)
    gate = made.gate()
    shutil.move(made.root / "head" / "thing", made.root / "elsewhere" / "thing")
    monkeypatch.setenv("PYTHONPATH", str(made.root / "elsewhere"))
    with pytest.raises(BenchCoreError, match="^head .head.: thing was imported from .*elsewhere/thing, not from"):
        gate.run(lambda progress: None)
    assert made.left_behind() == []
