"""How cells are sampled, and what is and is not in a sample."""

from itertools import product
from types import SimpleNamespace

import pytest

from bench_core.gate.workers.messages import FirstLook
from bench_core.gate.workers.plan import (
    ALTERNATIONS,
    BLOCKS,
    FEWEST_ALTERNATIONS,
    LONG_CALL,
    SHORT_CALL,
    SPAN,
    agreed,
    once_only,
    sampler,
)
from bench_core.testing import FakeClock

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
