"""What a job on the parameters of any model consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench_core.suite import oracles

Call = Callable[[], Any]


@dataclass(frozen=True)
class Subject:
    """The model that jobs work on.

    Attributes:
        model: it may be tied, and on any device.
        example: the arguments of a forward pass; None if they are unknown.
        folder: an empty folder for files.
    """

    model: nn.Module
    example: tuple[Any, ...] | None
    folder: Path

    @property
    def device(self) -> str:
        """The type of the device that the parameters are on."""
        return next((parameter.device.type for parameter in self.model.parameters()), "cpu")

    @property
    def bytes(self) -> int:
        """The memory of the parameters. A tied parameter counts once."""
        return sum(parameter.nbytes for parameter in self.model.parameters())


@dataclass(frozen=True)
class Ready:
    """An idiom that can be called.

    Attributes:
        call: one call of the idiom.
        check: takes `call`, calls it, and raises `AssertionError` if its outcome is not what the job promises.
        renew: what has to be done before each call, and is not timed; None if a call can follow another.
    """

    call: Call
    check: Callable[[Call], None]
    renew: Callable[[], object] | None = None


class NotHereError(Exception):
    """A job does not apply to a model. The text says why."""


Prepare = Callable[[Subject], AbstractContextManager[Mapping[str, "Ready | str"]]]


@dataclass(frozen=True)
class Job:
    """Something that is done with the parameters of a model, in several ways.

    Attributes:
        title: what is done, in words.
        idioms: the names of the ways, as in the cells. The first is the one that code mostly uses.
        prepare: makes each idiom ready for a model, or says why it does not apply. The idioms share what is large. When
            the block ends, the model is as it was before. Raises `NotHereError` if the whole job does not apply.
        passes: how often the memory of the parameters must be read or written, at the least.
        copies: how many more times the memory of the parameters is needed, the check included.
        notes: what a person should know of an idiom, a sentence with its source.
    """

    title: str
    idioms: tuple[str, ...]
    prepare: Prepare
    passes: int = 0
    copies: float = 0.0
    notes: Mapping[str, str] = field(default_factory=dict)


MOST = 1 << 18
"""About so many elements of each tensor are compared. A way to do a job treats all elements of a tensor alike, and to
compare each of them took longer than to measure all jobs on GPT-2."""


def some(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The elements of tensors of one shape that are compared, flat and without gradient: the same places of each."""
    return tuple(oracles.thinned(tensor.detach(), MOST) for tensor in tensors)


def close(found: torch.Tensor, expected: torch.Tensor, what: str, *, relative: float = 0.0, floor: float = 0.0) -> None:
    """Require each element to be within rounding of its expected value.

    Args:
        relative: how far an element may be off, relative to its size; at least 8 roundings of its dtype.
        floor: is added to the size of each element: the size of the numbers that the element is a difference of.
    """
    oracles.same(found.shape, expected.shape, f"{what}: shape")
    one, other = found.detach().to(torch.float64), expected.detach().to(torch.float64)
    share = max(relative, 8 * torch.finfo(found.dtype).eps)
    wrong = ~((one - other).abs() <= share * (other.abs() + floor))  # also where it is NaN
    if wrong.any():
        index = tuple(wrong.nonzero()[0].tolist())
        raise AssertionError(
            f"{what}: {int(wrong.sum())} of {wrong.numel()} elements differ, the first is {float(one[index]):.6g} and "
            f"not {float(other[index]):.6g}"
        )
