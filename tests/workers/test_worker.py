"""That benchmarks mean in a gate what they mean to asv."""

from collections import Counter
from itertools import groupby

import pytest

CASES = """
import os, time
import thing


def said(what):
    with open(os.environ["LOG"], "a") as file:
        file.write(f"{os.getpid()} {thing.SIDE} {what}\\n")


class Once:
    number = 1

    def setup(self):
        said("once setup")

    def time_once(self):
        said("once call")


class Ten:
    number = 10

    def time_ten(self):
        sum(range(100))


class TenFresh:
    number = 10

    def setup(self):
        self.used = False

    def time_fresh(self):
        assert not self.used
        self.used = True


class OwnTimer:
    def setup(self):
        self.timer = lambda: 2 * time.perf_counter()

    def time_own(self):
        for _ in range(1000):
            pass


class Processor:
    timer = time.process_time

    def time_processor(self):
        for _ in range(thing.LENGTH):
            pass


class Cached:
    params = [1, 2]

    def setup_cache(self):
        said("cache")
        return {"side": thing.SIDE}

    def track_side(self, cache, param):
        return {"base": 1, "head": 3}[cache["side"]] * param


class Raw:
    number = 2
    repeat = 1

    def timeraw_import(self):
        return "import json"


class Memory:
    def mem_list(self):
        return [0] * thing.LENGTH

    def peakmem_list(self):
        self.kept = bytearray(thing.LENGTH * 40_000)


class Nothing:
    def track_nothing(self):
        return None if thing.SIDE == "head" else 1


class Word:
    def track_word(self):
        return "fast"
"""


@pytest.fixture(scope="module")
def after(module_sides, tmp_path_factory):
    """Every kind of benchmark, measured; head is twice as large, and twice as slow."""
    log = tmp_path_factory.mktemp("log") / "log"
    sides = module_sides(CASES, "SIDE = 'base'\nLENGTH = 1000\n", "SIDE = 'head'\nLENGTH = 2000\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOG", str(log))
        gate = sides.measure(until=lambda gate: all(one.closed or len(one.effects) > 1 for one in gate.dossiers))
    gate.log = [line.split(" ", 2) for line in log.read_text().splitlines()]
    return gate


def cell(gate, name):
    return next(one for one in gate.dossiers if name in one.cell.name)


def ratios(gate, name):
    found = cell(gate, name)
    assert found.error is None
    assert found.effects
    return [effect.head / effect.base for effect in found.effects]


def test_number_1_sets_up_before_every_call(after):
    for _, group in groupby(sorted(after.log, key=lambda said: said[0]), key=lambda said: said[0]):
        events = [what for _, _, what in group if what.startswith("once")]
        calls = [index for index, what in enumerate(events) if what == "once call"]
        assert all(events[index - 1] == "once setup" for index in calls)
    assert cell(after, "time_once").effects


def test_a_number_that_is_asked_for_is_kept(after):
    assert {place.number for place in cell(after, "time_ten").plan.places} == {10}


def test_a_number_with_a_setup_gets_each_call_a_fresh_one(after):
    assert cell(after, "time_fresh").error is None


def test_setup_may_choose_the_timer(after):
    found = cell(after, "time_own")
    assert found.error is None
    assert found.effects


def test_the_time_of_a_process_is_no_lying_clock(after):
    assert min(ratios(after, "time_processor")) > 1.3


def test_setup_cache_is_called_once_a_side(after):
    assert Counter(side for _, side, what in after.log if what == "cache") == {"base": 1, "head": 1}
    assert ratios(after, "track_side(1)")[0] == ratios(after, "track_side(2)")[0] == 3


def test_what_is_timed_in_a_process_of_its_own_is_timed_there(after):
    assert {place.number for place in cell(after, "timeraw").plan.places} == {2}
    assert cell(after, "timeraw").effects[0].base < 0.1


def test_memory_is_the_size_of_what_is_returned_and_the_peak_that_of_the_process(after):
    assert ratios(after, "mem_list")[0] == pytest.approx(2, rel=0.1)
    peak = cell(after, "peakmem_list").effects[0]
    assert peak.head - peak.base == pytest.approx(40_000_000, rel=0.1)


def test_tracking_nothing_on_one_side_is_its_error(after):
    found = cell(after, "track_nothing")
    assert (found.error, found.error_side) == ("tracks nothing (None)", "head")


def test_a_tracked_value_that_is_no_number_cannot_be_compared(after):
    assert "a tracked value must be a number to be compared, and this one is str" in cell(after, "track_word").error
