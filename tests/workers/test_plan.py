"""How cells are sampled, and what is and is not in a sample."""

import gc
import math
import random
import statistics
import sys
from itertools import cycle, product
from types import SimpleNamespace

import pytest

from bench_core import clock as clocks
from bench_core.testing import FakeClock
from bench_core.timing.cells import OpenCell, SkippedError
from bench_core.workers.computing import Computing
from bench_core.workers.messages import Effort, FirstLook, Sampling
from bench_core.workers.plan import (
    APART,
    LONG,
    LONG_CALL,
    PAIR,
    SHORT_CALL,
    SPAN,
    agreed,
    described,
    freshly,
    keeping,
    once_only,
    prepare,
    same_random_numbers,
    sampler,
    state,
)
from bench_core.workers.turns import CellError

CALLS = [10 ** (power / 4) for power in range(-32, 9)]
SETUPS = [0.0, 1e-6, 1e-4, 1e-2, 1.0]


def look(call, setup=0.0, number=None):
    number = max(1, round(SPAN / call)) if number is None else number
    return FirstLook({}, number, call, setup)


def pair(base, head=None):
    """The plan of one cell on two sides, which look the same unless `head` is given."""
    return agreed([base, base if head is None else head], 1, PAIR)


def seconds(plan, looks):
    """What one alternation of a plan takes."""
    return sum((place.number + place.warm) * look.call for place, look in zip(plan.places, looks, strict=True))


def test_a_pair_has_an_even_number_of_alternations_for_every_call_time():
    plans = [pair(look(call, setup)) for call, setup in product(CALLS, SETUPS)]
    assert [plan for plan in plans if plan.alternations % 2] == []
    assert {plan.alternations for plan in plans} > {PAIR.fewest, PAIR.alternations}
    assert all(1 <= plan.blocks <= min(PAIR.blocks, plan.alternations // 2) for plan in plans)


def test_both_sides_agree_on_the_plan_of_the_slower_one():
    fast, slow = look(1e-6, 1e-6), look(0.99 * APART * 1e-6, 1e-3)
    assert pair(fast, slow) == pair(slow, fast)
    assert pair(fast, slow).places == (Sampling(fast.number, warm=True),) * 2


@pytest.mark.parametrize(("fast", "slow"), [(LONG_CALL / 1.01, LONG_CALL), (LONG_CALL / 4, 2 * LONG_CALL)])
def test_a_call_is_sampled_with_an_untimed_call_on_both_sides_or_on_neither(fast, slow):
    assert [place.warm for place in pair(look(fast), look(slow)).places] == [False, False]
    assert [place.warm for place in pair(look(slow), look(fast)).places] == [False, False]


def test_sides_that_are_far_apart_have_their_own_numbers_of_calls():
    """As with a lost `lru_cache`."""
    cached, lost = look(200e-9), look(10e-3)
    plan = pair(cached, lost)
    assert plan.places == (Sampling(1500, warm=True), Sampling(1, warm=False))
    assert pair(lost, cached).places == plan.places[::-1]
    assert seconds(plan, [cached, lost]) == pytest.approx(10.3e-3, rel=1e-3)
    assert plan.alternations == PAIR.fewest  # 0.1 s of 10.3 ms are 9


def test_no_sample_takes_longer_than_apart_times_its_span_or_its_own_number_of_calls():
    looks = [look(call) for call in CALLS]
    for base, head in product(looks, looks):
        for place, one in zip(pair(base, head).places, (base, head), strict=True):
            assert place.number * one.call <= 1.001 * APART * max(SPAN, one.number * one.call)


def test_a_number_of_calls_that_the_suite_asks_for_is_kept_on_both_sides():
    assert [place.number for place in pair(look(1e-6, number=10), look(1e-2, number=10)).places] == [10, 10]


EFFORT = Effort(alternations=20, fewest=3, blocks=4, span=0.01)


def test_places_are_by_side_and_then_by_cell_and_the_sides_of_a_cell_agree():
    calls = [1e-6, 1e-4, 1e-2]
    base, head = ([look(factor * call) for call in calls] for factor in (1, 2))
    plan = agreed([*base, *head], 3, EFFORT)
    expected = (Sampling(300, warm=True), Sampling(3, warm=True), Sampling(1, warm=False))
    assert plan.places == expected + expected


def test_rivals_on_one_side_have_their_own_numbers_of_calls():
    plan = agreed([look(call) for call in (1e-6, 1e-4, 1e-2)], 3, EFFORT)
    assert [place.number for place in plan.places] == [300, 3, 1]


@pytest.mark.parametrize("places", range(1, 9))
def test_each_place_is_at_each_position_equally_often_unless_there_are_too_few_alternations(places):
    for call in CALLS:
        plan = agreed([look(call)] * places, places, EFFORT)
        assert (EFFORT.fewest if call < LONG / 100 else 2) <= plan.alternations <= EFFORT.alternations
        assert plan.alternations % places == 0 or plan.alternations < EFFORT.fewest + places


@pytest.mark.parametrize(("call", "alternations"), [(0.05, 8), (0.1, 4), (0.3, 2), (30.0, 2)])
def test_the_fewest_alternations_take_a_second_at_most_or_there_is_one_for_each_order(call, alternations):
    assert agreed([look(call)] * 2, 1, PAIR).alternations == alternations


def test_a_group_takes_the_span_of_its_effort_for_each_place():
    looks = [look(call) for call in (LONG_CALL / 10, LONG_CALL / 5, LONG_CALL / 2)]
    plan = agreed(looks, 3, EFFORT)
    alternation = seconds(plan, looks)
    assert 3 * EFFORT.span - 3 * alternation < plan.alternations * alternation <= 3 * EFFORT.span


@pytest.mark.parametrize("places", [1, 2, 5])
def test_an_effort_of_one_sample_is_one_sample(places):
    plan = agreed([look(1.0)] * places, places, Effort(alternations=1, fewest=1, blocks=1, span=0.0))
    assert (plan.alternations, plan.blocks) == (1, 1)


def test_a_sample_of_once_only_calls_takes_at_most_long_call_with_its_setups():
    many = [(once_only(call, setup), call, setup) for call, setup in product(CALLS, SETUPS)]
    assert [one for one in many if one[0] > 1 and one[0] * (one[1] + one[2]) > LONG_CALL] == []
    assert [one for one in many if one[0] > 1 and (one[0] - 1) * one[1] >= SHORT_CALL] == []


def test_a_sample_of_once_only_calls_that_are_cheap_to_set_up_is_long_enough_for_the_clock():
    assert SHORT_CALL <= once_only(1e-6, 1e-6) * 1e-6 < 1.05 * SHORT_CALL


@pytest.mark.parametrize(("call", "untimed"), [(LONG_CALL / 1.01, 1), (LONG_CALL, 0), (10 * LONG_CALL, 0)])
def test_a_short_call_has_an_untimed_one_before_each_sample_and_a_long_one_none(call, untimed):
    clock, calls = FakeClock(), []

    def work():
        calls.append(clock.reads)
        clock.advance(call)

    opened = SimpleNamespace(cell=SimpleNamespace(kind="time"), call=work, timer=clock, number=0)
    place = pair(look(call)).places[0]
    sample = sampler(opened, place, plant=0.0)
    for _ in range(3):
        assert sample() == pytest.approx(place.number * call)
    before = [reads for reads in calls if reads % 2 == 0]  # the clock is read before and after the timed calls
    assert len(before) == 3 * untimed


def test_the_samples_of_both_sides_in_a_pair_take_at_most_the_span_of_a_pair():
    plan = pair(look(LONG_CALL))
    assert 2 * plan.alternations * plan.places[0].number * LONG_CALL == pytest.approx(0.1, rel=0.05)
    assert pair(look(1.25 * LONG_CALL)).alternations == 20  # 0.1 s of 5 ms
    warm = pair(look(LONG_CALL / 2))  # with an untimed call before each sample
    assert 2 * warm.alternations * (warm.places[0].number + 1) * LONG_CALL / 2 == pytest.approx(0.1, rel=0.05)


def test_a_long_setup_gets_samples_that_take_as_long_and_no_second_block():
    plan = pair(look(LONG_CALL, 0.07))
    assert (plan.alternations, plan.blocks) == (32, 1)
    assert pair(look(LONG_CALL, 0.03)).blocks == 1
    assert pair(look(LONG_CALL, 0.0118)).blocks == 2


def test_calls_that_take_no_time_get_the_most_alternations_and_blocks():
    plan = pair(look(0.0, number=1))
    assert (plan.alternations, plan.blocks) == (PAIR.alternations, 1)


class Opened:
    """A cell that is set up. Calls and setups take known seconds; what is done is listed.

    Args:
        calls: seconds of each call, over and over.
    """

    def __init__(self, clock, kind="time", *, calls=(1 / 1024,), setup=0.0, number=0, check=None, returns=None):
        self.cell = SimpleNamespace(kind=kind)
        self.timer, self.number, self.check = clock, number, check
        self.done = []
        self._clock, self._calls, self._setup, self._returns = clock, cycle(calls), setup, returns

    def call(self):
        self.done.append("call")
        self._clock.advance(next(self._calls))
        return self._returns

    def fresh(self):
        self.done.append("fresh")
        self._clock.advance(self._setup)


def test_a_first_look_tells_the_time_of_a_call_and_of_a_setup_and_what_was_seen(host):
    opened = Opened(host, calls=[1 / 1024], setup=0.25, check=lambda: 1, returns=[2.0])
    found = prepare(opened, seed=1)
    assert (found.number, found.call, found.setup) == (1, 1 / 1024, 0.25)
    assert (found.seen["check"], found.seen["returns"]) == ("int", "list of 1 (float)")
    assert opened.done[:3] == ["fresh", "call", "fresh"]  # after the check, and after the first call


def test_what_a_first_call_imports_is_never_garbage(host):
    before, collected = gc.get_freeze_count(), []
    gc.callbacks.append(lambda phase, info: collected.append(info["generation"]))
    try:
        prepare(Opened(host), seed=1)
    finally:
        gc.callbacks.pop()
    assert gc.get_freeze_count() > before
    assert 2 in collected  # what is garbage by then is not kept


def test_a_short_call_is_repeated_until_a_sample_lasts_its_span(host):
    found = prepare(Opened(host, calls=[SPAN / 40]), seed=1)
    assert found.number == 40
    assert found.call == pytest.approx(SPAN / 40)


def test_the_time_of_a_short_call_is_the_least_of_three_samples(host):
    opened = Opened(host, number=2, calls=[9.0, 0.2, 0.2, 0.1, 0.1, 0.3, 0.3])  # the first call is only looked at
    found = prepare(opened, seed=1)
    assert (found.number, found.call) == (2, pytest.approx(0.1))
    assert opened.done.count("call") == 7


def test_a_call_that_is_a_sample_by_itself_is_timed_once(host):
    opened = Opened(host, calls=[2 * SPAN])
    assert prepare(opened, seed=1).number == 1
    assert opened.done.count("call") == 3  # looked at, found to be long enough, timed


def test_the_first_look_at_a_once_only_call_times_it_with_its_setup(host):
    call, setup = 2**-16, 2**-15
    found = prepare(Opened(host, number=1, calls=[call], setup=setup), seed=1)
    assert (found.number, found.call, found.setup) == (once_only(call, setup), call + setup, setup)
    assert found.number == 7  # 7 calls of 15 µs are the first to take `SHORT_CALL`


@pytest.mark.parametrize("kind", ["track", "mem", "peakmemory"])
def test_what_is_no_time_is_not_called_for_a_first_look(host, kind):
    opened = Opened(host, kind, check=lambda: None)
    found = prepare(opened, seed=1)
    assert (found.number, found.call, found.setup) == (1, 0.0, 0.0)
    assert (opened.done, found.seen["check"]) == (["fresh"], "NoneType")
    assert "returns" not in found.seen


@pytest.mark.parametrize(("number", "asked"), [(0, 1), (3, 3)])
def test_the_first_look_at_a_process_of_its_own_is_timed_by_our_clock(host, number, asked):
    def timeit(count):
        host.advance(2.0 * count)
        return 1.0  # by the clock of the process

    opened = Opened(host, "timeraw", number=number)
    opened.benchmark = SimpleNamespace(_build_params=lambda: (), _get_timer=lambda: SimpleNamespace(timeit=timeit))
    found = prepare(opened, seed=1)
    assert (found.number, found.call, found.setup) == (asked, 2.0 * asked, 0.0)
    assert "call" not in opened.done
    assert sampler(opened, Sampling(5, warm=False), plant=0.0)() == 1.0


@pytest.mark.parametrize("plant", [0.0, 0.5])
@pytest.mark.parametrize("number", [0, 1, 4])
def test_a_planted_slowdown_is_a_wait_of_that_share_in_each_timed_span(host, monkeypatch, plant, number):
    opened = Opened(host, number=number, calls=[1 / 64], setup=1.0)

    def tick():  # a wait ends only if time passes as the clock is read
        host.advance(1 / 2**16)
        return host.now

    monkeypatch.setattr(clocks, "host", tick)
    sample = sampler(opened, Sampling(4, warm=False), plant=plant)
    assert opened.done == (["fresh", "call"] * 5 if number == 1 else ["call"] * 20) * (plant > 0)  # how long it waits
    found = sample()
    assert found == pytest.approx((1 + plant) * 4 / 64, rel=0.01)


def test_a_fresh_object_comes_before_each_once_only_call_and_before_each_sample_of_a_number_that_was_asked_for(host):
    once, asked, long = (Opened(host, number=number) for number in (1, 2, 0))
    sampler(once, Sampling(2, warm=True), plant=0.0)()
    sampler(asked, Sampling(2, warm=False), plant=0.0)()
    sampler(long, Sampling(2, warm=False), plant=0.0)()
    assert once.done == ["fresh", "call", "fresh", "call"]
    assert asked.done == ["fresh", "call", "call"]
    assert long.done == ["call", "call"]


@pytest.mark.skipif(Computing.before() is None, reason="this system does not count the waits of a thread")
def test_what_is_read_around_a_short_call_is_no_part_of_what_it_computes():
    opened = SimpleNamespace(
        call=lambda: None, number=1, fresh=lambda: None, timer=clocks.host, cell=SimpleNamespace(kind="time")
    )
    found = []
    sample = sampler(
        opened, Sampling(1, warm=False), plant=0.0, passed=lambda seconds, computing: found.append(computing)
    )
    spans = [sample() for _ in range(200)]
    alone = [(span, computing) for span, computing in zip(spans, found, strict=True) if not math.isnan(computing)]
    if alone:  # other threads of the tests may run all the time
        more = statistics.median(computing - span for span, computing in alone)
        assert more < 1e-6  # the readings take more


def test_every_generator_is_seeded_alike(monkeypatch):
    seeds = []
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(manual_seed=seeds.append))
    monkeypatch.setitem(sys.modules, "numpy", SimpleNamespace(random=SimpleNamespace(seed=seeds.append)))

    def drawn(seed):
        same_random_numbers(seed)
        return random.random()

    assert drawn(5) == drawn(5) != drawn(6)
    assert seeds == [5, 5, 5, 5, 6, 6]


def test_settings_of_torch_that_were_changed_are_given_back_and_the_others_left_alone(torch):
    give_back, before = keeping(), state()
    torch.settings.update(threads=1, gradients=True)
    assert state() != before
    give_back()
    assert (torch.changes, state()) == ([("threads", 3), ("gradients", False)], before)


def test_torch_that_is_imported_later_keeps_its_settings(torch, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    give_back = keeping()
    monkeypatch.setitem(sys.modules, "torch", torch)
    give_back()
    assert torch.changes == []


def test_the_settings_of_torch_are_part_of_what_was_seen(host, torch, monkeypatch):
    seen = prepare(Opened(host, "track"), seed=1).seen
    assert {name: seen[name] for name in ("threads", "default dtype", "deterministic", "gradients")} == {
        "threads": "3", "default dtype": "float16", "deterministic": "True", "gradients": "False",
    }  # fmt: skip
    monkeypatch.delitem(sys.modules, "torch")
    assert set(prepare(Opened(host, "track"), seed=1).seen) == {"check"}


def test_values_are_described_to_three_levels_and_twenty_items():
    numpy = pytest.importorskip("numpy")
    assert described(numpy.float32(1)) == "float32 of one float32"
    assert described([[[[1]]]]) == "list of 1 (list of 1 (list of 1 (list)))"
    assert described({1: {2: {3: {4: 5}}}}) == "dict of 1 (1: dict of 1 (2: dict of 1 (3: dict)))"
    assert described([0] * 21) == f"list of 21 ({'; '.join(['int'] * 20)})"
    assert described(dict.fromkeys(range(100, 121))).count("NoneType") == 20
    assert described({"b": 1, "a": 2}) == "dict of 2 (a: int; b: int)"  # sides may fill a dict in another order


def test_values_are_described_by_type_and_shape_and_not_by_number():
    numpy = pytest.importorskip("numpy")
    assert described([1, 2]) == described([3, 4]) == "list of 2 (int; int)"
    assert described({"a": 1.0}) != described({"b": 1.0})
    assert described(numpy.zeros((2, 3), "int8")) == "ndarray of 2x3 int8"
    assert described(numpy.zeros((2, 3), "int8")) != described(numpy.zeros((3, 2), "int8"))


@pytest.mark.parametrize("stage", ["setup", "teardown"])
def test_a_fresh_object_that_cannot_be_had_is_told_from_a_call_that_fails(stage):
    def step(name):
        if name == stage:
            raise KeyError("gone")

    benchmark = SimpleNamespace(do_teardown=lambda: step("teardown"), do_setup=lambda: step("setup"))
    with pytest.raises(CellError, match="KeyError: 'gone'") as found:
        freshly(OpenCell(None, benchmark))
    assert found.value.stage == stage


def test_a_fresh_object_that_skips_the_cell_is_no_failure():
    with pytest.raises(CellError, match="^no device$") as found:
        freshly(SimpleNamespace(fresh=lambda: (_ for _ in ()).throw(SkippedError("no device"))))
    assert found.value.skipped
