"""`Suite`, the base class of all benchmark classes, and the conditions under which a cell can run on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import psutil
import torch

from bench_core import clock
from bench_core.suite.axes import dtype_of, elements, thread_count

F = TypeVar("F", bound=Callable[..., Any])


def traffic(*, reads: int = 0, writes: int = 0) -> Callable[[F], F]:
    """Declare the least memory traffic that a benchmark's job needs. The report derives the achieved bandwidth from it.

    Args:
        reads: how many times the whole weight must be read.
        writes: how many times the whole weight must be written.

    The parameters `size` and `dtype` (default: float32) describe the weight. asv stores these attributes in
    ``benchmarks.json``, so the report needs neither torch nor the suite to turn time into GB/s.
    """

    def declare(function: F) -> F:
        function.__dict__.update(weight_reads=reads, weight_writes=writes)
        return function

    return declare


@dataclass(frozen=True)
class Report:
    """A slowdown that users of a public project reported, and the two cells whose ratio shows it.

    Attributes:
        source: where it was reported, e.g. ``"pytorch/pytorch#182116"``.
        what: one sentence on what is slow.
        instead: one sentence on the workaround.
        benchmark: the name of the `time_*` method.
        slow: the parameters of the slow cell, by name.
        fast: the parameters of the fast cell that differ, by name.
        where: what is slow: ``"torch"``, the installed torch; ``"usage"``, the way in which code uses torch; or
            ``"mended"``, an older torch, whose algorithm the slow cell repeats.
    """

    source: str
    what: str
    instead: str
    benchmark: str
    slow: Mapping[str, str]
    fast: Mapping[str, str]
    where: Literal["torch", "usage", "mended"] = "torch"


class Suite:
    """The base of every benchmark class: an asv class that skips cells that cannot run here and fixes torch's state.

    A subclass defines `params`, `param_names`, a `setup` that begins with ``super().setup(...)``, and `time_*`
    methods of one call each. Each `time_<operation>` has a `check_<operation>` with the same parameters. The check runs
    after `setup` and before anything is timed, does the operation through `time_<operation>`, and raises
    `AssertionError` if the outcome is not what the operation promises.

    Attributes:
        quick: the values that the quick profile keeps, by parameter. A parameter without an entry keeps all values.
            ``None`` leaves the class out of the quick profile.
        rivals: the parameter whose values are ways to do the same job. They are compared with each other.
        unties: the rivals that leave tied parameters untied. Every table marks them.
        draws: how many random numbers the job must draw for each element of the weight, from which the report derives
            numbers per second; or a mapping from values of a parameter to this number, if only some values draw.
        reports: slowdowns that this class shows.
        copies: how many weights of the cell's size are alive at once, at most, the check included.
    """

    params: ClassVar[Sequence[Sequence[Any]]] = []
    param_names: ClassVar[Sequence[str]] = []
    quick: ClassVar[Mapping[str, Sequence[str]] | None] = {}
    rivals: ClassVar[str | None] = None
    unties: ClassVar[Sequence[str]] = ()
    draws: ClassVar[float | Mapping[str, float]] = 0
    reports: ClassVar[Sequence[Report]] = ()
    copies: ClassVar[int] = 4

    # Settings of asv. Two passes over the suite keep one bad minute of the machine from deciding a result. A sample
    # takes 5 ms, or one call if each call needs a fresh object. There are as many samples as fit into 0.15 s, at least
    # 5 and at most 100: asv's default of 5 or 10 is too few for single calls and takes too long for slow ones. The
    # warm-up is short, since every setup touches its memory.
    rounds = 2
    warmup_time = 0.05
    sample_time = 0.005
    repeat = (5, 100, 0.15)
    batch_calls = True
    """Whether `setup` runs once per sample, not once per call (see bench_core.suite.batching), unless `number` is 1."""

    timer: clock.Clock = staticmethod(clock.host)

    def __init_subclass__(cls) -> None:
        # The report reads benchmarks.json, and asv copies only attributes of functions to it.
        declared: dict[str, Any] = {"rivals": cls.rivals, "unties": list(cls.unties)} if cls.rivals else {}
        if cls.draws:
            declared["weight_draws"] = cls.draws
        for name in dir(cls):
            if declared and name.startswith(("time_", "track_", "peakmem_")):
                attributes = getattr(cls, name).__dict__
                known = {key: attributes.setdefault(key, value) for key, value in declared.items()}
                if known != declared:  # a function that two classes share has only one set of attributes
                    raise TypeError(f"{cls.__name__}.{name} is inherited with {known}, and the class says {declared}")

    def setup(self, *values: str) -> None:
        """Skip the cell if it cannot run here, and put torch in the state that every cell starts from.

        Raises:
            NotImplementedError: asv's way to say n/a; its text is the reason.
        """
        reason = self.why_not(*values)
        if reason:
            raise NotImplementedError(reason)
        cell = self.named(*values)
        torch.set_num_threads(thread_count(cell.get("threads", "1")))
        torch.manual_seed(0)
        self.timer = clock_for(cell.get("device", "cpu"))

    def teardown(self, *values: str) -> None:
        self.__dict__.clear()  # a cell leaves no tensor behind

    def named(self, *values: str) -> dict[str, str]:
        return dict(zip(self.param_names, values, strict=True))

    def why_not(self, *values: str) -> str | None:
        """Why the cell cannot run on this machine, or None if it can."""
        cell = self.named(*values)
        return missing_device(cell.get("device", "cpu")) or too_large(
            self.peak_bytes(*values), cell.get("device", "cpu")
        )

    def peak_bytes(self, *values: str) -> int:
        """The most memory that the cell holds at once, in bytes; 0 for a cell without a `size`."""
        cell = self.named(*values)
        if "size" not in cell:
            return 0
        return self.copies * elements(cell["size"]) * dtype_of(cell.get("dtype", "float32")).itemsize


def clock_for(device: str) -> clock.Clock:
    """The clock for cells on `device`. For an accelerator it waits until the queue is empty."""
    return clock.host if device in ("cpu", "meta") else clock.draining(torch.accelerator.synchronize)


def missing_device(device: str) -> str | None:
    """Why `device` cannot be used here, or None if it can."""
    if device in ("cpu", "meta"):
        return None
    accelerator = torch.accelerator.current_accelerator(check_available=False)
    if accelerator is None or accelerator.type != device:
        built_for = "the CPU alone" if accelerator is None else f"the CPU and {accelerator.type}"
        return f"no {device}: torch {torch.__version__} is built for {built_for}"
    if not torch.accelerator.is_available():
        return f"no {device}: torch {torch.__version__} finds no such device on this machine"
    return None


def available_bytes(device: str) -> int:
    """The memory that can be allocated now without swapping and within the container's limit, in bytes."""
    if device in ("cpu", "meta"):
        return min(int(psutil.virtual_memory().available), container_bytes())
    ask = getattr(torch.get_device_module(device), "mem_get_info", None)
    if ask is None:  # mps: the memory is the host's
        return available_bytes("cpu")
    free, _ = ask()
    return int(free)


CONTROL_GROUP = Path("/sys/fs/cgroup")


def container_bytes(folder: Path = CONTROL_GROUP) -> int:
    """The bytes left under a container's memory limit (control groups, version 2); `sys.maxsize` without a limit."""
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return sys.maxsize
    return sys.maxsize if limit == "max" else int(limit) - int(used)


def too_large(needed: int, device: str) -> str | None:
    """Why `needed` bytes cannot be allocated on `device`, or None if they can. A tenth of the memory stays free."""
    if needed < 64 << 20:  # 64 MiB: not worth asking the system
        return None
    available = available_bytes(device)
    if needed <= 0.9 * available:
        return None
    return f"needs {needed / 2**20:,.0f} MiB and {available / 2**20:,.0f} MiB are available on {device}"
