import gc
from collections import Counter

import pytest

from bench_core.testing import FakeClock
from bench_core.timing import sampling
from bench_core.timing.sampling import choose_number, no_garbage_collection, time_sample


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


@pytest.mark.parametrize("step", [0.0, -1.0])
def test_a_clock_that_stands_still_or_runs_backwards_is_refused(monkeypatch, step):
    ours, theirs = FakeClock(), FakeClock()
    monkeypatch.setattr(sampling, "host", ours)

    def call():
        ours.advance(0.01)
        theirs.advance(step)

    with pytest.raises(ValueError, match="its timer read .* for 100 calls"):
        choose_number(call, theirs, span=0.5)


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
        with no_garbage_collection():
            time_sample(call, 2, clock)
    finally:
        gc.callbacks.pop()
    assert collected == ["start", "stop", False, False]
