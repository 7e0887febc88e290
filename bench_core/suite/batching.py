"""Many calls in one sample, for cells whose setup leaves the object warm.

Since 0.3, asv_runner runs `setup` before every single call of a benchmark that has one, and times each call alone
(asv#966). That suits operations that change what they work on, and spoils the others: a call of 1 us is then read as
itself plus the clock (about 5 %) plus the caches that `setup` has just emptied. A class with ``batch_calls = True``
says that its calls may follow each other; a sample then holds as many as `sample_time` asks for, after one `setup`,
as in asv_runner before 0.3 and in `timeit`. Where a call needs a fresh object, the class sets ``number = 1``.
"""

from __future__ import annotations

from typing import Any

from asv_runner.benchmarks.time import TimeBenchmark


def _isolates_calls(benchmark: Any) -> bool:
    return not any(getattr(source, "batch_calls", False) for source in benchmark._attr_sources)


def install() -> None:
    """Let asv_runner ask each benchmark; every suite without `batch_calls` keeps asv_runner's own rule."""
    TimeBenchmark._setup_isolates_timed_calls = property(_isolates_calls)
