"""torch's own timer, to hold our times against."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils.benchmark import Timer


class BlockedAutorange:
    """Measures a call with `torch.utils.benchmark.Timer.blocked_autorange`.

    Attributes:
        number: calls in each of the blocks that the last measurement took.
    """

    def __init__(self, call: Callable[[], object], min_run_time: float = 0.002) -> None:
        self._timer = Timer("call()", globals={"call": call})
        self._min_run_time = min_run_time
        self.number = 0

    def __call__(self) -> float:
        """Seconds a call: the median over the blocks."""
        measured = self._timer.blocked_autorange(min_run_time=self._min_run_time)
        self.number = measured.number_per_run
        return float(measured.median)
