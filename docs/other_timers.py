"""Print the figures of "Why another tool's number differs" in docs/accuracy.md: one operation, timed in several ways.

    python docs/other_timers.py

It takes about ten seconds. `add_(1)` adds to each element of a weight in place.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.benchmark import Timer

from bench_core.clock import host
from bench_core.suite import thread_count
from bench_core.timing.sampling import no_garbage_collection, time_sample

CACHES = 64 << 20  # elements of a float32 buffer of 256 MiB, which no cache holds
ALL = thread_count("all")


def main() -> None:
    first, second = (time_sample(meta_to_empty, 1, host) for _ in range(2))
    show(f"to_empty from meta: first call {micro(first)}, second {micro(second)}")
    weight = torch.randn(2048, 2048)
    for threads in (1, ALL):
        timer = Timer("weight.add_(1)", globals={"weight": weight}, num_threads=threads)
        found = timer.blocked_autorange(min_run_time=2)
        spans = [span / found.number_per_run for span in found.raw_times]
        show(
            f"2048x2048, threads {threads}, blocked_autorange: median {micro(found.median)}, mean {micro(found.mean)}, "
            f"minimum {micro(min(spans))}, interquartile range {micro(found.iqr)}, {len(spans)} spans"
        )
    once = Timer("weight.add_(1)", globals={"weight": weight}).timeit(100)
    show(
        f"2048x2048, threads 1, timeit(100): median {micro(once.median)}, mean {micro(once.mean)}, "
        f"interquartile range {micro(once.iqr)}, {len(once.raw_times)} span"
    )
    torch.set_num_threads(1)
    weight, caches = torch.randn(1024, 1024), torch.zeros(CACHES)
    warm, cold = (middle(weight, before) for before in (lambda: weight.add_(1), lambda: caches.add_(1)))
    show(f"1024x1024, threads 1, single calls: caches warm {micro(warm)}, cold {micro(cold)}")


def meta_to_empty() -> None:
    nn.Linear(4, 4, device="meta").to_empty(device="cpu")


def middle(weight: torch.Tensor, before: Callable[[], object]) -> float:
    """The median seconds of single calls, each after an untimed call of `before`."""
    seconds = []
    with no_garbage_collection():
        for _ in range(51):
            before()
            seconds.append(time_sample(lambda: weight.add_(1), 1, host))
    return statistics.median(seconds)


def show(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def micro(seconds: float) -> str:
    return f"{seconds * 1e6:,.1f} µs"


if __name__ == "__main__":
    main()
