"""Denormal numbers: those so close to zero that the exponent of their dtype has reached its end.

Some processors compute with them in microcode, many times slower than with other numbers (pytorch/pytorch#19651,
#21734). A float16 number is not counted: the CPU computes with it in float32, where it is not denormal.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

COUNTED = (torch.float32, torch.float64, torch.bfloat16)
"""The dtypes in which a CPU meets denormal numbers. bfloat16 has the exponents of float32."""

CHUNK = 1 << 20
"""Elements that are looked at together, so that counting needs little memory."""


def count(tensor: torch.Tensor) -> int:
    """The number of denormal elements."""
    if tensor.dtype not in COUNTED or tensor.device.type != "cpu" or tensor.layout is not torch.strided:
        return 0
    least = torch.finfo(tensor.dtype).tiny
    chunks = (chunk.abs() for chunk in tensor.detach().reshape(-1).split(CHUNK))
    return sum(int(((chunk > 0) & (chunk < least)).sum()) for chunk in chunks)


def held(net: nn.Module) -> dict[str, int]:
    """The number of denormal elements of each parameter and buffer on the CPU that has any, by name."""
    tensors = itertools.chain(net.named_parameters(), net.named_buffers())
    return {name: found for name, tensor in tensors if (found := count(tensor))}


def why_no_flush() -> str | None:
    """Why this processor cannot treat denormal numbers as zero, or None if it can."""
    can = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    return None if can else "torch cannot make this processor treat denormal numbers as zero"


@contextmanager
def flushed() -> Iterator[None]:
    """Treat denormal numbers as zero, in this thread alone."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
