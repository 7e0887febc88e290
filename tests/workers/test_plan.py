"""How cells are sampled, and what is and is not in a sample."""

import gc
import random
import sys
from itertools import cycle, product
from types import SimpleNamespace

import pytest

from bench_core import clock as clocks
from bench_core.testing import FakeClock
from bench_core.workers.messages import FirstLook
from bench_core.workers.plan import (
    ALTERNATIONS,
    BLOCKS,
    FEWEST_ALTERNATIONS,
    LONG_CALL,
    PAIR_SPAN,
    SHORT_CALL,
    SPAN,
    agreed,
    described,
    once_only,
    prepare,
    same_random_numbers,
    sampler,
)

CALLS = [10 ** (power / 4) for power in range(-32, 9)]
SETUPS = [0.0, 1e-6, 1e-4, 1e-2, 1.0]


def look(call, setup=0.0, number=None):
    number = max(1, round(SPAN / call)) if number is None else number
    return FirstLook({}, number, call, setup)


def test_a_pair_has_an_even_number_of_alternations_for_every_call_time():
    plans = [agreed(look(call, setup), look(call, setup)) for call, setup in product(CALLS, SETUPS)]
    assert [plan for plan in plans if plan.alternations % 2] == []
    assert {plan.alternations for plan in plans} > {FEWEST_ALTERNATIONS, ALTERNATIONS}
    assert all(1 <= plan.blocks <= min(BLOCKS, plan.alternations // 2) for plan in plans)


def test_both_sides_agree_on_the_plan_of_the_slower_one():
    fast, slow = look(1e-6, 1e-6), look(5e-3, 1e-3)
    assert agreed(fast, slow) == agreed(slow, fast)
    assert agreed(fast, slow).number == fast.number


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
    plan = agreed(look(call), look(call))
    sample = sampler(opened, plan.number, warm=plan.warm, plant=0.0)
    for _ in range(3):
        assert sample() == pytest.approx(plan.number * call)
    before = [reads for reads in calls if reads % 2 == 0]  # the clock is read before and after the timed calls
    assert len(before) == 3 * untimed


def test_the_samples_of_both_sides_in_a_pair_take_at_most_the_span_of_a_pair():
    plan = agreed(look(LONG_CALL), look(LONG_CALL))
    assert 2 * plan.alternations * plan.number * LONG_CALL == pytest.approx(PAIR_SPAN, rel=0.05)
    assert agreed(look(1.25 * LONG_CALL), look(1.25 * LONG_CALL)).alternations == 20  # 0.1 s of 5 ms
    warm = agreed(look(LONG_CALL / 2), look(LONG_CALL / 2))  # with an untimed call before each sample
    assert 2 * warm.alternations * (warm.number + 1) * LONG_CALL / 2 == pytest.approx(PAIR_SPAN, rel=0.05)


def test_a_long_setup_gets_samples_that_take_as_long_and_no_second_block():
    plan = agreed(look(LONG_CALL, 0.07), look(LONG_CALL, 0.07))
    assert (plan.alternations, plan.blocks) == (32, 1)
    assert agreed(look(LONG_CALL, 0.03), look(LONG_CALL, 0.03)).blocks == 1
    assert agreed(look(LONG_CALL, 0.0118), look(LONG_CALL, 0.0118)).blocks == 2


def test_calls_that_take_no_time_get_the_most_alternations_and_blocks():
    plan = agreed(look(0.0, number=1), look(0.0, number=1))
    assert (plan.alternations, plan.blocks) == (ALTERNATIONS, 1)


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


@pytest.fixture
def host(monkeypatch):
    """Our clock and the cell's."""
    clock = FakeClock()
    monkeypatch.setattr(clocks, "host", clock)
    return clock


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
    assert sampler(opened, 5, warm=False, plant=0.0)() == 1.0


@pytest.mark.parametrize("plant", [0.0, 0.5])
@pytest.mark.parametrize("number", [0, 1, 4])
def test_a_planted_slowdown_is_a_wait_of_that_share_in_each_timed_span(host, monkeypatch, plant, number):
    opened = Opened(host, number=number, calls=[1 / 64], setup=1.0)

    def tick():  # a wait ends only if time passes as the clock is read
        host.advance(1 / 2**16)
        return host.now

    monkeypatch.setattr(clocks, "host", tick)
    sample = sampler(opened, 4, warm=False, plant=plant)
    assert opened.done == (["fresh", "call"] * 5 if number == 1 else ["call"] * 20) * (plant > 0)  # how long it waits
    found = sample()
    assert found == pytest.approx((1 + plant) * 4 / 64, rel=0.01)


def test_a_fresh_object_comes_before_each_once_only_call_and_before_each_sample_of_a_number_that_was_asked_for(host):
    once, asked, long = (Opened(host, number=number) for number in (1, 2, 0))
    sampler(once, 2, warm=True, plant=0.0)()
    sampler(asked, 2, warm=False, plant=0.0)()
    sampler(long, 2, warm=False, plant=0.0)()
    assert once.done == ["fresh", "call", "fresh", "call"]
    assert asked.done == ["fresh", "call", "call"]
    assert long.done == ["call", "call"]


def test_every_generator_is_seeded_alike(monkeypatch):
    seeds = []
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(manual_seed=seeds.append))
    monkeypatch.setitem(sys.modules, "numpy", SimpleNamespace(random=SimpleNamespace(seed=seeds.append)))

    def drawn(seed):
        same_random_numbers(seed)
        return random.random()

    assert drawn(5) == drawn(5) != drawn(6)
    assert seeds == [5, 5, 5, 5, 6, 6]


def test_the_settings_of_torch_are_part_of_what_was_seen(host, monkeypatch):
    torch = SimpleNamespace(
        manual_seed=lambda seed: None,
        get_num_threads=lambda: 3,
        get_default_dtype=lambda: "float16",
        are_deterministic_algorithms_enabled=lambda: True,
        is_grad_enabled=lambda: False,
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
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
