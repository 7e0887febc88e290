import gc
from collections import Counter

import pytest

from bench_core.testing import FakeClock
from bench_core.timing.sampling import (
    TimedCall,
    choose_number,
    no_garbage_collection,
    take_turns,
    time_sample,
    timed_call,
)


def test_a_sample_reads_the_clock_twice_however_many_calls_it_holds():
    clock = FakeClock()
    elapsed = time_sample(lambda: clock.advance(0.5), number=4, clock=clock)
    assert (elapsed, clock.reads) == (2.0, 2)


@pytest.mark.parametrize("seconds", [1e-7, 3e-5, 0.2])
def test_the_number_of_calls_makes_a_sample_as_long_as_asked_and_not_much_longer(seconds):
    clock = FakeClock()
    number = choose_number(lambda: clock.advance(seconds), clock, span=0.01)
    assert number * seconds >= 0.01 * (1 - 1e-9)
    assert number == 1 or number * seconds <= 0.01 * 1.5


@pytest.mark.parametrize(
    ("seconds", "samples"),
    [(0.9, [1, 2]), (1 / 4, [1, 4]), (1 / 32, [1, 10, 33]), (1 / 1024, [1, 10, 100, 1000, 1200])],
)
def test_the_samples_that_find_the_number_grow_towards_the_span_tenfold_at_most(seconds, samples):
    clock, calls = FakeClock(), []

    def call():
        calls.append(clock.reads)
        clock.advance(seconds)

    assert choose_number(call, clock, span=1.0) == samples[-1]
    assert list(Counter(calls).values()) == samples
    assert clock.reads == 2 * len(samples)


def test_a_clock_that_reads_zero_still_ends_in_a_number():
    clock, calls = FakeClock(), iter(range(10**6))

    def too_short_to_see():
        if next(calls) >= 1000:
            clock.advance(1.0)

    assert choose_number(too_short_to_see, clock, span=0.5) == 1000  # tenfold each time


def test_every_call_is_sampled_once_a_round_in_an_order_that_changes():
    clock, order = FakeClock(), []

    def call(name):
        def run():
            order.append(name)
            clock.advance(1.0)

        return run

    subjects = [TimedCall(call(name), clock, 1, lambda: None) for name in "ab"]
    found = take_turns(subjects, rounds=20, seed=3)
    assert [len(samples.seconds) for samples in found] == [20, 20]
    rounds = ["".join(order[i : i + 2]) for i in range(0, 40, 2)]
    assert set(rounds) == {"ab", "ba"}


def test_the_same_seed_gives_the_same_order():
    def order_of(**seed):
        clock, order = FakeClock(), []
        subjects = [TimedCall(lambda n=name: order.append(n), clock, 1, lambda: None) for name in "abc"]
        take_turns(subjects, rounds=5, **seed)
        return order

    assert order_of(seed=1) == order_of(seed=1)
    assert order_of(seed=1) != order_of(seed=2)
    assert order_of() == order_of(seed=0)


def test_an_untimed_call_goes_before_every_sample_of_what_is_warm():
    clock, calls = FakeClock(), []

    def call():
        calls.append(clock.reads)
        clock.advance(1.0)

    warm = timed_call(call, clock, number=2, fresh=None, span=0.0)
    (samples,) = take_turns([warm], rounds=3)
    assert len(calls) == 9  # one before each, two in each
    assert samples.seconds == (2.0, 2.0, 2.0)


def test_what_happens_once_gets_a_fresh_object_outside_the_timed_span():
    clock, built = FakeClock(), []

    def fresh():
        built.append(True)
        clock.advance(100.0)

    once = timed_call(lambda: clock.advance(1.0), clock, number=1, fresh=fresh, span=0.0)
    (samples,) = take_turns([once], rounds=4)
    assert samples.per_call == (1.0,) * 4
    assert len(built) == 5  # one to begin with, and one a sample


def test_the_collector_is_off_inside_samples_and_back_on_after_an_error():
    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="planted"), no_garbage_collection():
        assert not gc.isenabled()
        raise RuntimeError("planted")
    assert gc.isenabled()


def test_the_collector_stays_off_after_samples_if_it_was_off_before():
    gc.disable()
    try:
        with no_garbage_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_garbage_is_collected_before_the_samples_and_not_inside_one():
    clock, collected = FakeClock(), []

    def call():
        collected.append(gc.isenabled())

    gc.callbacks.append(lambda phase, info: collected.append(phase))
    try:
        take_turns([TimedCall(call, clock, 1, lambda: None)], rounds=2)
    finally:
        gc.callbacks.pop()
    assert collected == ["start", "stop", False, False]


def test_a_call_without_a_number_gets_one_for_the_span_it_is_to_last():
    clock = FakeClock()
    chosen = timed_call(lambda: clock.advance(1.0), clock, fresh=None, span=8.0)
    assert 8 <= chosen.number <= 12


def test_a_fresh_object_is_there_before_the_number_of_calls_is_found_out():
    clock, events = FakeClock(), []

    def call():
        events.append("call")
        clock.advance(1.0)

    timed_call(call, clock, fresh=lambda: events.append("fresh"), span=0.5)
    assert events == ["fresh", "call"]


def test_seconds_a_call_are_the_span_over_the_number():
    clock = FakeClock()
    (samples,) = take_turns([TimedCall(lambda: clock.advance(0.25), clock, 8, lambda: None)], rounds=1)
    assert (samples.seconds, samples.per_call) == ((2.0,), (0.25,))
