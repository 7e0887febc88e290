"""What one side of a pair sees of the processor time of both."""

import math

import pytest

from bench_core.workers import witness
from bench_core.workers.witness import Witness


class Kernel:
    """What it counted of both processes. This one is 0, the other one 1."""

    def __init__(self):
        self.used = [0.0, 0.0]


@pytest.fixture
def kernel(monkeypatch):
    made = Kernel()
    monkeypatch.setattr(witness.os, "getpid", lambda: 0)
    monkeypatch.setattr(witness, "used_by", lambda process: made.used[process])
    return made


def seen(kernel, turns, *, own):
    """What is seen of a block.

    Args:
        turns: of each turn, its number of samples and the seconds that its side uses until the next one.
        own: whether the first turn is that of the one who sees.
    """
    watcher = Witness(1)
    watcher.begin(own=own)
    for number, (samples, seconds) in enumerate(turns):
        last, mine = number + 1 == len(turns), (number % 2 == 0) == own
        kernel.used[0 if mine else 1] += seconds
        if mine:
            watcher.gives(samples)
        elif not last:
            watcher.takes(samples)
    return watcher.end(0 if mine else samples)


UNKNOWN = pytest.approx(math.nan, nan_ok=True)


def test_each_sample_has_the_share_of_its_turn_and_those_of_the_turns_at_the_ends_are_unknown(kernel):
    found = seen(kernel, [(1, 1.0), (2, 8.0), (2, 6.0), (1, 3.0), (1, 2.0)], own=True)
    assert found.own == [1.0, 3.0, 3.0, UNKNOWN]
    assert found.others == [4.0, 4.0, 3.0]


def test_a_first_and_a_last_turn_of_the_other_side_are_unknown(kernel):
    found = seen(kernel, [(2, 8.0), (1, 1.0), (1, 3.0), (1, 1.0), (2, 2.0)], own=False)
    assert found.own == [1.0, UNKNOWN]
    assert found.others == [UNKNOWN, UNKNOWN, 3.0, UNKNOWN, UNKNOWN]


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("turns", range(7))
def test_every_sample_of_a_block_has_a_place(kernel, own, turns):
    made = [(1 + number % 2, 1.0) for number in range(turns)]
    if not made:
        return
    found = seen(kernel, made, own=own)
    mine, theirs = (sum(samples for samples, _ in made[start::2]) for start in (0, 1))
    assert (len(found.own), len(found.others)) == ((mine, theirs) if own else (theirs, mine))


def test_what_the_other_side_uses_in_a_turn_of_this_one_is_counted_apart(kernel):
    watcher = Witness(1)
    watcher.begin(own=True)
    kernel.used[:] = [2.0, 0.5]
    watcher.gives(1)
    assert (watcher.end(0).turns, watcher.end(0).meanwhile) == (2.0, 0.5)
