"""torch's own timer, to hold our times against."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils.benchmark import Timer


def blocked_autorange(call: Callable[[], object], min_run_time: float = 0.01) -> Callable[[], float]:
    """What measures `call` with `torch.utils.benchmark.Timer.blocked_autorange`: the median, in seconds a call."""
    timer = Timer("call()", globals={"call": call})

    def measure() -> float:
        return float(timer.blocked_autorange(min_run_time=min_run_time).median)

    return measure
