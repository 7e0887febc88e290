"""torch's own timer, to compare our times with."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils.benchmark import Timer


def blocked_autorange(call: Callable[[], object], min_run_time: float = 0.01) -> Callable[[], float]:
    """A function that times `call` with torch's `Timer.blocked_autorange`, and returns the mean in seconds per call, as
    our samples are means over their calls. Each measurement takes at least `min_run_time` seconds."""
    timer = Timer("call()", globals={"call": call})

    def measure() -> float:
        return float(timer.blocked_autorange(min_run_time=min_run_time).mean)

    return measure
