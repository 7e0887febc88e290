"""The values of the common parameters: devices, sizes, dtypes, threads.

A published value keeps its name and meaning for ever, so that histories stay comparable: append, never edit.
"""

from __future__ import annotations

import torch

from bench_core import cores


class Label(str):
    """A parameter value whose `repr` has no quotes. asv names a cell by the `repr` of its parameters, so the name reads
    ``time_initialize(cpu, zeros_, 8x4)``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def labels(*names: object) -> tuple[Label, ...]:
    return tuple(Label(name) for name in names)


def _devices() -> tuple[Label, ...]:
    # This asks what torch was built for, not what is plugged in. Asking the driver would start CUDA in the process
    # from which asv forks its workers, and a forked CUDA context is unusable.
    accelerator = torch.accelerator.current_accelerator(check_available=False)
    names = ["cpu", "cuda"]
    if accelerator is not None and accelerator.type not in names:
        names.append(accelerator.type)
    return labels(*names)


DEVICES = _devices()

# Rows x columns of a weight. In float32 these are 128 B (the notebook's layer), 16 KiB (fits an L1 cache), 256 KiB (an
# L2), 4 MiB (an L3), 64 MiB (exceeds most caches) and 256 MiB (exceeds all).
SIZES = labels("8x4", "64x64", "256x256", "1024x1024", "4096x4096", "8192x8192")

DTYPES = labels("float32", "bfloat16")

# Benchmarks without this parameter use 1 thread: with more, other load on the machine shows in the time.
THREADS = labels("1", "all")


def shape_of(size: str) -> tuple[int, ...]:
    """``"8x4"`` -> ``(8, 4)``."""
    return tuple(int(part) for part in size.split("x"))


def elements(size: str) -> int:
    """The number of elements of a weight of this size."""
    rows, columns = shape_of(size)
    return rows * columns


def dtype_of(name: str) -> torch.dtype:
    """``"bfloat16"`` -> ``torch.bfloat16``."""
    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype), name
    return dtype


def thread_count(threads: str) -> int:
    """``"1"`` -> 1; ``"all"`` -> the cores that this process may use."""
    if threads != "all":
        return int(threads)
    return cores.count()
