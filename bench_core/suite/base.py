"""`Suite`, the class that every benchmark class of this suite derives from, and what a cell needs to run here."""

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
    """Declare the memory traffic that the job of a benchmark cannot do without, for its achieved bandwidth.

    Args:
        reads: how many times the whole weight must be read.
        writes: how many times the whole weight must be written.

    The weight is the one that the parameters `size` (and `dtype`, float32 where there is none) describe. asv stores
    these attributes in ``benchmarks.json``, so the report needs neither torch nor the suite to turn time into GB/s.
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
        instead: one sentence on the way round it.
        benchmark: the `time_*` method.
        slow: the parameters of the slow cell, by name.
        fast: those in which the fast cell differs.
        where: what is slow: ``"torch"``, as installed; ``"usage"``, the way in which code uses it; or ``"mended"``, an
            older torch, whose way the slow cell does again.
    """

    source: str
    what: str
    instead: str
    benchmark: str
    slow: Mapping[str, str]
    fast: Mapping[str, str]
    where: Literal["torch", "usage", "mended"] = "torch"


class Suite:
    """An ordinary asv class, with what every parameter benchmark needs before it is set up.

    A subclass defines `params`, `param_names`, a `setup` that begins with ``super().setup(...)``, and `time_*`
    methods of one call each. Beside each `time_<operation>` stands a `check_<operation>` with the same parameters: it
    runs on the set-up object before anything is timed, does the operation through `time_<operation>`, and raises
    `AssertionError` if the outcome is not what the operation promises.

    Attributes:
        quick: for each parameter, the values that the quick profile keeps; a parameter that is not named keeps all,
            and ``None`` leaves the class out of the quick profile.
        rivals: the parameter whose values are ways of doing the same job; they are compared with each other.
        unties: the rivals that leave tied parameters untied; every table marks them.
        draws: random numbers that the job must draw for each element of the weight that `size` describes, for their
            number a second; or a mapping to that from those values of a parameter that draw any.
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

    # asv: two passes over the suite, so that one bad minute of the machine does not decide. Samples of 5 ms, or of one
    # call where each needs a fresh object, as many as 0.15 s hold but at least 5; a short warm-up, since every setup
    # touches its memory. (asv's default takes 5 or 10 samples: too few of single calls, too long for slow ones.)
    rounds = 2
    warmup_time = 0.05
    sample_time = 0.005
    repeat = (5, 100, 0.15)
    batch_calls = True
    """One `setup` a sample of many calls (see bench_core.suite.batching), unless `number` is 1."""

    timer: clock.Clock = staticmethod(clock.host)

    def __init_subclass__(cls) -> None:
        # asv hands attributes of the functions, and of nothing else, on to benchmarks.json, where the report looks.
        declared: dict[str, Any] = {"rivals": cls.rivals, "unties": list(cls.unties)} if cls.rivals else {}
        if cls.draws:
            declared["weight_draws"] = cls.draws
        for name in dir(cls):
            if declared and name.startswith(("time_", "track_", "peakmem_")):
                attributes = getattr(cls, name).__dict__
                known = {key: attributes.setdefault(key, value) for key, value in declared.items()}
                if known != declared:  # a function that two classes share has one entry in its attributes
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
        """The most memory that the cell holds at once, in bytes; 0 where it does not matter."""
        cell = self.named(*values)
        if "size" not in cell:
            return 0
        return self.copies * elements(cell["size"]) * dtype_of(cell.get("dtype", "float32")).itemsize


def clock_for(device: str) -> clock.Clock:
    """The clock for cells that run on `device`: on an accelerator it waits until the queue is empty."""
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
    """Memory that can be had now without swapping, and within the limit of a container, in bytes."""
    if device in ("cpu", "meta"):
        return min(int(psutil.virtual_memory().available), container_bytes())
    ask = getattr(torch.get_device_module(device), "mem_get_info", None)
    if ask is None:  # mps: the memory is the host's
        return available_bytes("cpu")
    free, _ = ask()
    return int(free)


CONTROL_GROUP = Path("/sys/fs/cgroup")


def container_bytes(folder: Path = CONTROL_GROUP) -> int:
    """What a container's memory limit (control group of version 2) leaves, in bytes; very much where there is none."""
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return sys.maxsize
    return sys.maxsize if limit == "max" else int(limit) - int(used)


def too_large(needed: int, device: str) -> str | None:
    """Why `needed` bytes cannot be had on `device`, or None if they can. A tenth is left to the rest of the machine."""
    if needed < 64 << 20:  # not worth asking the system
        return None
    available = available_bytes(device)
    if needed <= 0.9 * available:
        return None
    return f"needs {needed / 2**20:,.0f} MiB and {available / 2**20:,.0f} MiB are available on {device}"
