"""The jobs. Their work is proportional to the number of units, except for one call of a closure."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import repeat
from typing import Any

import numpy as np

from plants.amounts import UNITS

Job = Callable[[], object]

SIZES: dict[str, dict[int, int]] = {
    # The keys are nominal microseconds per call, the values steps per unit. A step follows one attribute (10 ns).
    "walk": {3: 3, 6: 6, 12: 12, 25: 25, 50: 50, 100: 100, 200: 200, 500: 500, 1000: 1000, 2000: 2000},
    # Up to 25 us, the values are steps of float arithmetic; above, elements of one pass of numpy.
    "add": {3: 1, 6: 3, 12: 6, 25: 12, 50: 1_000, 100: 3_000, 200: 12_000, 500: 36_000, 1000: 80_000, 2000: 150_000},
    # Up to 25 us, the values are small lists; up to 100 us, bytes; above, elements of a temporary array.
    "allocate": {
        3: 1,
        6: 2,
        12: 4,
        25: 8,
        50: 40_000,
        100: 90_000,
        200: 18_000,
        500: 40_000,
        1000: 80_000,
        2000: 160_000,
    },
    # The keys are MiB per call, the values float32 elements per unit.
    "read": {mib: mib * 2**18 // 100 for mib in (1, 2, 4, 8, 16)},
    "write": {mib: mib * 2**18 // 100 for mib in (1, 2, 4, 8, 16)},
}

PYTHON_UP_TO = 25
"""Jobs of up to this many microseconds run in the interpreter."""

BYTES_UP_TO = 100
"""Allocating jobs of up to this many microseconds allocate bytes."""

LARGE = 2**25
"""The elements of the array for memory traffic: 128 MiB, four times the last cache of a large processor. Each call
takes the next part, so that every unit comes from memory. With 32 MiB, additional units reached parts that were still
in the cache: +5 % of units read as +2 to +3 % of time."""


class Node:
    """A node of a ring."""

    next: Node


def make(kind: str, size: int, units: int | None = None) -> Job:
    """A job of this kind and size (see `SIZES`), with this number of units, or None for the version's number."""
    amount = UNITS[f"{kind} {size}"] if units is None else units
    job: Job = globals()[f"_{kind}"](size, amount, SIZES[kind][size])
    return job


def _walk(size: int, units: int, steps: int) -> Job:
    ring = [Node() for _ in range(64)]
    for node, following in zip(ring, [*ring[1:], ring[0]], strict=True):
        node.next = following
    start, count = ring[0], units * steps

    def walk() -> Node:
        node = start
        for _ in repeat(None, count):
            node = node.next
        return node

    return walk


def _add(size: int, units: int, steps: int) -> Job:
    if size <= PYTHON_UP_TO:
        count = units * steps

        def add() -> float:
            total = 0.0
            for _ in repeat(None, count):
                total = total * 0.5 + 1.0
            return total

        return add
    left, right = np.ones(steps, np.float32), np.ones(steps, np.float32)
    total = np.empty(steps, np.float32)

    def add_arrays() -> None:
        for _ in repeat(None, units):
            np.add(left, right, out=total)

    return add_arrays


def _allocate(size: int, units: int, steps: int) -> Job:
    if size <= PYTHON_UP_TO:
        count = units * steps

        def allocate() -> None:
            for _ in repeat(None, count):
                _ = [count, count, count]

        return allocate
    if size <= BYTES_UP_TO:

        def allocate_bytes() -> None:
            for _ in repeat(None, units):
                bytearray(steps)

        return allocate_bytes
    left = np.ones(steps, np.float32)

    def allocate_arrays() -> None:
        for _ in repeat(None, units):
            left + left

    return allocate_arrays


def _read(size: int, units: int, steps: int) -> Job:
    return _traffic(units, steps, lambda part: part.max())


def _write(size: int, units: int, steps: int) -> Job:
    return _traffic(units, steps, lambda part: part.fill(1.0))


@cache
def _large() -> Any:
    return np.ones(LARGE, np.float32)


def _traffic(units: int, steps: int, touch: Callable[[Any], object]) -> Job:
    large = _large()
    last = LARGE - steps
    at = 0

    def traffic() -> None:
        nonlocal at
        here = at
        for _ in repeat(None, units):
            touch(large[here : here + steps])
            here += steps
            if here > last:
                here = 0
        at = here

    return traffic
