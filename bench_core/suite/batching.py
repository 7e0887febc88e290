"""Samples of many calls after one `setup`, in asv.

Since 0.3, asv_runner runs `setup` before every call of a benchmark that has one, and times each call alone (asv#966).
This suits operations that change their object. For the others it distorts the time: a call of 1 us then includes the
clock (about 5 %) and the caches that `setup` has just emptied. With ``batch_calls = True``, a sample has one `setup`
and as many calls as `sample_time` allows, as in asv_runner before 0.3 and in `timeit`. A class whose calls each need a
fresh object sets ``number = 1``.
"""

from __future__ import annotations

from typing import Any

from asv_runner.benchmarks.time import TimeBenchmark


def _isolates_calls(benchmark: Any) -> bool:
    return not any(getattr(source, "batch_calls", False) for source in benchmark._attr_sources)


def install() -> None:
    """Make asv_runner ask each benchmark. Benchmarks without `batch_calls` keep asv_runner's own rule."""
    TimeBenchmark._setup_isolates_timed_calls = property(_isolates_calls)
