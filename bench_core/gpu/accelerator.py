"""The device part of timing: an accelerator's queue, its clock, and its state.

An accelerator works through a queue. The host's clock is right only if the queue is empty when a sample starts and when
it ends (`bench_core.clock.draining`). The device's clock is a pair of events in the queue. If the device reaches the
first event before the host has enqueued the calls, the span contains the host's launch gaps. So a device sample begins
with a head start: work that keeps the device busy while the host enqueues. Afterwards, a check shows whether the head
start was long enough. nvbench blocks the queue instead, but a blocking kernel deadlocks on a call that synchronizes.

Importing this module does not import torch.
"""

from __future__ import annotations

import itertools
import math
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal, Protocol

from bench_core.clock import Clock
from bench_core.errors import BenchCoreError, UnknownNameError
from bench_core.timing.sampling import time_sample

Call = Callable[[], object]
L2 = Literal["warm", "cold"]
Operation = Literal["fill_", "copy_", "normal_"]

SCRATCH_BYTES = 256 << 20
"""The bytes that a flush overwrites: as many as triton's do_bench, and more than the largest L2 cache on the market."""

MOST_CALLS = 256
"""The most calls of a device sample. A CUDA stream takes about 1,000 launches before the next one waits."""

MOST_FLUSHES = 256
"""The most flushes of a head start. At 85 to 1,300 us each, the host has at least 20 ms to enqueue."""


class Event(Protocol):
    """A mark in the queue. The device records the time when it reaches it."""

    def record(self) -> None: ...

    def reached(self) -> bool:
        """Whether the device has reached the mark."""

    def seconds_since(self, earlier: Any) -> float:
        """Device seconds between two marks, both reached."""


@dataclass(frozen=True)
class DeviceState:
    """Readings of the device's instruments at one moment. None means unknown.

    Attributes:
        source: where the readings come from: ``nvidia-smi``, ``torch`` or ``nobody``.
        pstate: the performance state, e.g. ``P0``.
        reasons: what limits the clocks, in NVML's words; empty if nothing does.
    """

    source: str
    driver: str | None = None
    pstate: str | None = None
    sm_mhz: float | None = None
    memory_mhz: float | None = None
    max_sm_mhz: float | None = None
    max_memory_mhz: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    celsius: float | None = None
    reasons: tuple[str, ...] | None = None

    @property
    def slowed_by(self) -> tuple[str, ...]:
        """The reasons that make the device slower than it could be: power, heat, and the power brake."""
        return tuple(reason for reason in self.reasons or () if reason in SLOWING)


@dataclass(frozen=True)
class DeviceMemory:
    """Device memory in bytes."""

    free: int
    total: int


class Accelerator(Protocol):
    """A device that can be timed: a `TorchAccelerator`, or in tests `bench_core.testing.FakeAccelerator`."""

    @property
    def name(self) -> str:
        """The maker's name of the model."""

    @property
    def kind(self) -> str:
        """The device's name in torch and in the suite's `device` parameter, e.g. ``cuda``."""

    def synchronize(self) -> None:
        """Wait until the queue is empty."""

    def event(self) -> Event: ...

    def flush(self) -> None:
        """Enqueue an overwrite of `SCRATCH_BYTES`, which evicts everything else from the L2 cache."""

    def job(self, operation: Operation, elements: int, times: int = 1) -> Call:
        """A call that applies `operation` `times` times to a float32 weight, whose memory is already touched."""

    def memory(self) -> DeviceMemory: ...

    def release(self) -> None:
        """Return the unused memory of the caching allocator to the driver."""

    def allocations(self) -> int:
        """The number of times that the caching allocator has requested memory from the driver."""

    def facts(self) -> Mapping[str, str]:
        """Versions, and fixed properties of the device."""

    def state(self) -> DeviceState:
        """Read the instruments. Another thread may call this while the device works."""


@dataclass(frozen=True)
class DeviceSample:
    """A span on the device's own clock.

    Attributes:
        number: calls in the span.
        seconds: device time of all calls.
        launch_seconds: host time to enqueue them, while the device was busy with the head start.
        gapless: whether all calls of each span were in the queue before the device reached the first, so that `seconds`
            has no launch gap. It is False if a call itself waits for the device, or launches more than fits into the
            queue. `seconds` then includes these gaps.
    """

    number: int
    seconds: float
    launch_seconds: float
    gapless: bool


def device_sample(
    accelerator: Accelerator, call: Call, number: int, *, l2: L2, head_start: int, clock: Clock
) -> DeviceSample:
    """Time `number` calls with the device's events.

    Args:
        l2: ``warm``: one span around all calls, after one untimed call, so that each call finds the L2 cache as the
            previous call left it. ``cold``: a span around each call, after a flush, as in triton's do_bench.
        head_start: flushes before each span, at least 1.
        clock: the host's clock for `launch_seconds`. It must not synchronize.
    """
    accelerator.synchronize()
    marks = []
    launch_seconds, gapless = 0.0, True
    for calls in [number] if l2 == "warm" else [1] * number:
        start, end = accelerator.event(), accelerator.event()
        for _ in range(head_start):
            accelerator.flush()
        if l2 == "warm":
            call()
        start.record()
        launch_seconds += time_sample(call, calls, clock)
        end.record()
        gapless = not start.reached() and gapless
        marks.append((start, end))
    accelerator.synchronize()
    return DeviceSample(number, sum(end.seconds_since(start) for start, end in marks), launch_seconds, gapless)


def seconds_of_flush(accelerator: Accelerator) -> float:
    """The device time of one flush, in seconds."""
    start, end = accelerator.event(), accelerator.event()
    accelerator.synchronize()
    accelerator.flush()  # the head start
    start.record()
    for _ in range(8):
        accelerator.flush()
    end.record()
    accelerator.synchronize()
    return end.seconds_since(start) / 8


@dataclass(frozen=True)
class SamplePlan:
    """How the device samples of a call are taken (see `device_sample`)."""

    number: int
    head_start: int


def plan(accelerator: Accelerator, call: Call, *, span: float, flush_seconds: float, clock: Clock) -> SamplePlan:
    """Find a warm device sample that lasts `span` seconds without gaps. The calls of this search are the warm-up. The
    number of calls is halved until the sample is gapless. If a single call has gaps, because it waits for the device or
    launches more than fits into the queue, a sample has one call."""
    call()
    first = device_sample(accelerator, call, 1, l2="warm", head_start=1, clock=clock)
    wanted = math.ceil(span / first.seconds) if first.seconds > 0 else MOST_CALLS
    number = max(1, min(MOST_CALLS, wanted))
    while True:
        # For the timed calls and the untimed one, and 50 % more, since launches vary.
        needed = 1.5 * first.launch_seconds * (number + 1)
        head_start = min(MOST_FLUSHES, 1 + math.ceil(needed / flush_seconds))
        sample = device_sample(accelerator, call, number, l2="warm", head_start=head_start, clock=clock)
        if sample.gapless or number == 1:
            return SamplePlan(number, head_start)
        number //= 2


@dataclass(frozen=True)
class OtherTimer:
    """Another tool that times a call. `reason` is why it cannot be used; "" if it can."""

    name: str
    clock: Literal["host", "device"]
    l2: L2
    seconds: Callable[[Call], float]
    reason: str = ""


def other_timers(span: float) -> tuple[OtherTimer, ...]:
    """torch's benchmark timer and triton's do_bench. Each measurement takes about `span` seconds.

    The timer reads the host's clock around blocks of calls and synchronizes at both ends, so the L2 cache is warm.
    do_bench flushes the L2 cache before each call, puts events around the call, enqueues all and waits once. Its mean
    is used instead of its median: events have a resolution of 0.5 us, which is 5 % of 10 us, and a mean averages this
    out.
    """

    def timer(call: Call) -> float:
        from torch.utils.benchmark import Timer

        seconds: float = Timer("call()", globals={"call": call}).blocked_autorange(min_run_time=2 * span).median
        return seconds

    def bench(call: Call) -> float:
        from triton.testing import do_bench

        milliseconds: float = do_bench(call, warmup=10, rep=int(1e3 * span), return_mode="mean")
        return milliseconds / 1e3

    try:
        import triton.testing  # noqa: F401
    except ImportError as error:
        absent = f"triton does not import here: {error}"
    else:
        absent = ""
    return (
        OtherTimer("torch.utils.benchmark", "host", "warm", timer),
        OtherTimer("triton.testing.do_bench", "device", "cold", bench, absent),
    )


# NVML's nvmlClocksEventReasons (nvmlClocksThrottleReasons before driver 535), bit by bit.
REASONS = {
    0x001: "gpu idle",
    0x002: "applications clocks setting",
    0x004: "software power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "software thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "hardware power brake",
    0x100: "display clock setting",
}
SLOWING = frozenset(REASONS[bit] for bit in (0x004, 0x008, 0x010, 0x020, 0x040, 0x080))

Ask = Callable[[Sequence[str]], str | None]
"""Runs nvidia-smi with arguments. Returns its output, or None if it is missing or fails."""


def ask_nvidia_smi(arguments: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(
            ["nvidia-smi", *arguments], capture_output=True, text=True, timeout=30, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


_FIELDS = (
    *("driver_version", "pstate", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem"),
    *("power.draw", "power.limit", "temperature.gpu"),
)


def nvidia_state(uuid: str, ask: Ask = ask_nvidia_smi) -> DeviceState | None:
    """The readings of nvidia-smi for a GPU, or None without any. `uuid` is torch's UUID, without the leading ``GPU-``.
    An index would be ambiguous: nvidia-smi counts all GPUs of the machine, torch only the visible ones."""
    row = _row(uuid, _FIELDS, ask)
    if row is None:
        return None
    driver, pstate, *numbers = (None if value.startswith("[") else value for value in row)
    sm, memory, max_sm, max_memory, power, limit, celsius = map(_number, numbers)
    return DeviceState(
        "nvidia-smi", driver, pstate, sm, memory, max_sm, max_memory, power, limit, celsius, _reasons(uuid, ask)
    )


def _reasons(uuid: str, ask: Ask) -> tuple[str, ...] | None:
    # A separate query, since nvidia-smi rejects a query with an unknown field, and driver 535 renamed this field.
    for name in ("clocks_event_reasons.active", "clocks_throttle_reasons.active"):
        row = _row(uuid, (name,), ask)
        if row is not None:
            try:
                mask = int(row[0], 16)
            except ValueError:  # [N/A]
                return None
            return tuple(reason for bit, reason in REASONS.items() if mask & bit)
    return None


def _row(uuid: str, fields: Sequence[str], ask: Ask) -> list[str] | None:
    said = ask([f"--query-gpu=uuid,{','.join(fields)}", "--format=csv,noheader,nounits"])
    rows = [[value.strip() for value in line.split(",")] for line in (said or "").splitlines() if line.strip()]
    rows = [row for row in rows if len(row) == 1 + len(fields)]
    mine = [row for row in rows if uuid and row[0].lower().endswith(uuid.lower())] or rows
    return mine[0][1:] if len(mine) == 1 else None


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


class TorchEvent:
    """An event of `torch.cuda`, `torch.xpu` or `torch.mps`, in the current stream."""

    def __init__(self, event: Any) -> None:
        self.event = event
        self.record: Callable[[], None] = event.record
        self.reached: Callable[[], bool] = event.query

    def seconds_since(self, earlier: TorchEvent) -> float:
        milliseconds: float = earlier.event.elapsed_time(self.event)
        return milliseconds / 1e3


class TorchAccelerator:
    """The current device of torch's accelerator: ``cuda``, ``xpu`` or ``mps``, which must be available (see
    `open_accelerator`)."""

    def __init__(self, kind: str) -> None:
        import torch

        self.kind = kind
        self._torch = torch
        self._module: Any = torch.get_device_module(kind)
        describe = getattr(self._module, "get_device_properties", None)
        self._properties: Any = None if describe is None else describe(self._module.current_device())
        self.name = str(getattr(self._properties, "name", kind))
        self._scratch = torch.empty(SCRATCH_BYTES // 4, dtype=torch.int32, device=kind)

    def synchronize(self) -> None:
        self._torch.accelerator.synchronize()

    def event(self) -> TorchEvent:
        return TorchEvent(self._module.Event(enable_timing=True))

    def flush(self) -> None:
        self._scratch.zero_()

    def job(self, operation: Operation, elements: int, times: int = 1) -> Call:
        weight = self._torch.zeros(elements, device=self.kind)
        if operation == "copy_":
            source = self._torch.ones(elements, device=self.kind)
            return repeated(lambda: weight.copy_(source), times)
        return repeated(weight.normal_ if operation == "normal_" else lambda: weight.fill_(1.0), times)

    def memory(self) -> DeviceMemory:
        ask = getattr(self._module, "mem_get_info", None)
        if ask is None:  # mps shares the machine's memory
            import psutil

            found = psutil.virtual_memory()
            return DeviceMemory(int(found.available), int(found.total))
        free, total = ask()
        return DeviceMemory(int(free), int(total))

    def release(self) -> None:
        self._module.empty_cache()

    def allocations(self) -> int:
        ask = getattr(self._module, "memory_stats", None)
        return 0 if ask is None else int(ask().get("num_device_alloc", 0))

    def facts(self) -> Mapping[str, str]:
        version = self._torch.version
        found = {
            "torch": self._torch.__version__,
            "cuda": version.cuda,
            "rocm": getattr(version, "hip", None),
            "triton": _installed("triton"),
            "bench_core": _installed("bench_core"),
            "python": platform.python_version(),
            "memory_bytes": self.memory().total,
        }
        if self.kind == "cuda":
            found["capability"] = f"{self._properties.major}.{self._properties.minor}"
            found["multiprocessors"] = self._properties.multi_processor_count
            found["l2_bytes"] = getattr(self._properties, "L2_cache_size", None)
            found["allocator"] = self._module.get_allocator_backend()
        return {name: str(value) for name, value in found.items() if value is not None}

    def state(self) -> DeviceState:
        if self.kind == "cuda" and self._torch.version.cuda is not None:
            found = nvidia_state(str(getattr(self._properties, "uuid", "")))
            if found is not None:
                return found
        clock, heat = self._instrument("clock_rate"), self._instrument("temperature")
        source = "nobody" if clock is None and heat is None else "torch"
        return DeviceState(source, sm_mhz=clock, celsius=heat)

    def _instrument(self, name: str) -> float | None:
        """One of torch's readings, which need pynvml or amdsmi. torch's power_draw is not used, since its unit differs
        between makers."""
        try:
            return float(getattr(self._module, name)())
        except Exception:  # noqa: BLE001 - a missing package, library, driver or permission, each with another error
            return None


def repeated(call: Call, times: int) -> Call:
    if times == 1:
        return call

    def repeated() -> None:
        for _ in itertools.repeat(None, times):
            call()

    return repeated


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def open_accelerator(device: str | None = None) -> TorchAccelerator:
    """The accelerator that torch finds on this machine.

    Args:
        device: the kind of accelerator; None for any.

    Raises:
        BenchCoreError: if there is none.
    """
    import torch

    from bench_core.suite.base import missing_device

    built_for = torch.accelerator.current_accelerator(check_available=False)
    kind = device or ("cuda" if built_for is None else built_for.type)
    if kind in ("cpu", "meta"):
        raise BenchCoreError(f"{kind} is not an accelerator. `bench-core run --param device={kind}` times these cells.")
    if ":" in kind:
        raise BenchCoreError(
            f"device {kind!r} names one of several devices. Choose it with a variable such as CUDA_VISIBLE_DEVICES="
            f"{kind.partition(':')[2]}, and pass {kind.partition(':')[0]!r}."
        )
    try:
        torch.device(kind)
    except RuntimeError as error:  # torch lists its device types only in the text of this error
        raise UnknownNameError("accelerator", kind, ("cuda", "mps", "xpu")) from error
    reason = missing_device(kind)
    if reason is None:
        return TorchAccelerator(kind)
    if built_for is None:
        cure = "Install a build of torch for the accelerator of this machine (https://pytorch.org/get-started)."
    elif built_for.type != kind:
        cure = f"Pass {built_for.type!r}, or install a build of torch for {kind}."
    else:
        cure = "Check that its driver is loaded (nvidia-smi lists NVIDIA's) and that no *_VISIBLE_DEVICES hides it."
    raise BenchCoreError(f"{reason}. {cure}")
