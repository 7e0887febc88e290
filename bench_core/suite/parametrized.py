"""Layers whose weight is computed by `torch.nn.utils.parametrize`, and ways to read it several times."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

Apply = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""What a reader does with the weight: takes the weight and its state, and returns the next state."""

PARAMETRIZATIONS: dict[str, Callable[[nn.Linear], nn.Module]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
}


def layer(parametrization: str, width: int, device: str = "cpu") -> nn.Linear:
    """A square layer without bias in eval mode, where `spectral_norm` gives the same weight at each read. In training
    mode it makes one step of its power iteration at each read, and under `cached()` only one in all."""
    made = nn.Linear(width, width, bias=False, device=device)
    with torch.no_grad():
        # Positive with row sums of about 1, so that no state of `recur` vanishes or becomes a denormal number.
        made.weight.uniform_(0, 2 / width)
    PARAMETRIZATIONS[parametrization](made)
    return made.eval()


def _each_read(module: nn.Module, name: str, reads: int, apply: Apply, state: torch.Tensor) -> torch.Tensor:
    for _ in range(reads):
        state = apply(getattr(module, name), state)
    return state


def _cached(module: nn.Module, name: str, reads: int, apply: Apply, state: torch.Tensor) -> torch.Tensor:
    with parametrize.cached():
        return _each_read(module, name, reads, apply, state)


def _cached_each_read(module: nn.Module, name: str, reads: int, apply: Apply, state: torch.Tensor) -> torch.Tensor:
    """The cache is dropped with the block, so a block for each read caches nothing (huggingface/peft#2912)."""
    for _ in range(reads):
        with parametrize.cached():
            state = apply(getattr(module, name), state)
    return state


def _variable(module: nn.Module, name: str, reads: int, apply: Apply, state: torch.Tensor) -> torch.Tensor:
    weight = getattr(module, name)
    for _ in range(reads):
        state = apply(weight, state)
    return state


READS: dict[str, Callable[[nn.Module, str, int, Apply, torch.Tensor], torch.Tensor]] = {
    "each_read": _each_read,
    "cached": _cached,
    "cached_each_read": _cached_each_read,
    "variable": _variable,
}
"""Each reads the attribute of a module so many times, and applies it to a state each time."""


def recur(weight: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """One step of a recurrent cell."""
    return torch.tanh(weight @ state)
