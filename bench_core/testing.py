"""A fake clock and a fake accelerator for tests."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

from bench_core.gpu.accelerator import SCRATCH_BYTES, Call, DeviceMemory, DeviceState, Operation, repeated


class FakeClock:
    """A clock whose time passes only by `advance`.

    Attributes:
        now: seconds since its start.
        reads: how many times it was read.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeEvent:
    """An event of `FakeAccelerator`."""

    def __init__(self, accelerator: FakeAccelerator) -> None:
        self.accelerator = accelerator
        self.at = math.nan

    def record(self) -> None:
        self.at = max(self.accelerator.clock.now, self.accelerator.free_at)

    def reached(self) -> bool:
        return self.accelerator.clock.now >= self.at

    def seconds_since(self, earlier: FakeEvent) -> float:
        if not (self.reached() and earlier.reached()):
            raise RuntimeError("an event was read before the device reached it")  # as torch does
        return self.at - earlier.at


class FakeAccelerator:
    """An accelerator for tests: an asynchronous queue on a `FakeClock`.

    Launches take host time, and work takes device time. The two overlap until the queue is full or the host
    synchronizes.

    Args:
        clock: the host's clock.
        launch: host seconds to enqueue one piece of work.
        least: device seconds of the smallest piece of work.
        bandwidth: the bandwidth of its memory in bytes per second. Drawing normals reaches a third of it.
        depth: the number of launches that fit into the queue. The next one waits for the device.

    Attributes:
        free_at: the time on the host's clock when the queue will be empty.
        flushes: how often the L2 cache was flushed.
        reports: what `state` returns.
    """

    name = "Fake accelerator"
    kind = "fake"

    def __init__(
        self, clock: FakeClock, *, launch: float = 5e-6, least: float = 2e-6, bandwidth: float = 1e12, depth: int = 1024
    ) -> None:
        self.clock = clock
        self.launch = launch
        self.least = least
        self.bandwidth = bandwidth
        self.depth = depth
        self.free_at = 0.0
        self.flushes = 0
        self.reports = DeviceState("fake", driver="1.0", sm_mhz=1000.0, max_sm_mhz=1000.0, reasons=())
        self._ends: deque[float] = deque()

    def submit(self, seconds: float, *, launch: float | None = None) -> None:
        """Enqueue work of that many device seconds."""
        while len(self._ends) >= self.depth:
            self.clock.now = max(self.clock.now, self._ends.popleft())
        self.clock.advance(self.launch if launch is None else launch)
        self.free_at = max(self.clock.now, self.free_at) + max(seconds, self.least)
        self._ends.append(self.free_at)
        while self._ends and self._ends[0] <= self.clock.now:
            self._ends.popleft()

    def synchronize(self) -> None:
        self.clock.now = max(self.clock.now, self.free_at)
        self._ends.clear()

    def event(self) -> FakeEvent:
        return FakeEvent(self)

    def flush(self) -> None:
        self.flushes += 1
        self.submit(SCRATCH_BYTES / self.bandwidth)

    def job(self, operation: Operation, elements: int, times: int = 1) -> Call:
        passes = {"fill_": 1, "copy_": 2, "normal_": 3}[operation]
        return repeated(lambda: self.submit(passes * 4 * elements / self.bandwidth), times)

    def memory(self) -> DeviceMemory:
        return DeviceMemory(free=8 << 30, total=8 << 30)

    def release(self) -> None:
        pass

    def allocations(self) -> int:
        return 0

    def facts(self) -> Mapping[str, str]:
        return {"torch": "0.0", "memory_bytes": str(self.memory().total)}

    def state(self) -> DeviceState:
        return self.reports
