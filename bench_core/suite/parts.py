"""Parts of a model that is too large to be measured as a whole."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from bench_core.errors import BenchCoreError
from bench_core.records.model import ModelLayout
from bench_core.suite import startup_code
from bench_core.suite.target import describe, seed

LARGEST_PART = 1 << 30
"""Measure at most this many bytes of a model that does not fit, or that would keep ranks busy for many minutes."""


def part(model: nn.Module, name: str, number: int = 0) -> Callable[[], nn.Module]:
    """A function that builds a part of a model that is on meta, with the initializers that its modules have, which draw
    with the seed `number`."""
    wanted = model.get_submodule(name)
    if hasattr(model, "_init_weights") and not hasattr(wanted, "_init_weights"):
        vars(wanted)["_init_weights"] = model._init_weights  # where `reinitialize` looks for it

    def build() -> nn.Module:
        made = copy.deepcopy(wanted, {id(model): model})  # not the whole, whose method it has
        if torch.get_default_device().type == "meta":
            return made
        seed(number)
        made.to_empty(device="cpu")
        startup_code.reinitialize(made)
        return made

    return build


@dataclass(frozen=True)
class Part:
    """A part of a model, where a target is asked for. It has no example of a forward pass."""

    build: Callable[[], nn.Module]
    device: str

    def ready(self) -> nn.Module:
        return self.build().to(self.device)

    def example(self, model: nn.Module) -> None:
        return None


def size(layout: ModelLayout) -> int:
    """The bytes of the whole state."""
    return layout.bytes + layout.buffer_bytes


def largest_part(model: nn.Module, most: int) -> tuple[str, int]:
    """The name and the bytes of the largest module within `model` that has at most so many bytes; the smallest one with
    parameters if all are larger."""
    sizes = {name: size(describe(module)) for name, module in model.named_modules() if name}
    sizes = {name: each for name, each in sizes.items() if each}
    if not sizes:
        raise BenchCoreError("the model does not fit into memory, and has no parts that do.")
    fitting = {name: each for name, each in sizes.items() if each <= min(most, LARGEST_PART)}
    name = max(fitting, key=fitting.__getitem__) if fitting else min(sizes, key=sizes.__getitem__)
    return name, sizes[name]


def part_for_ranks(model: nn.Module) -> tuple[str, int]:
    """The name and the bytes of the part of a large model that is sharded instead of it: the first of its repeated
    blocks that has at most `LARGEST_PART` bytes, else the largest such part."""
    for name, block in blocks(model):
        if 0 < size(describe(block)) <= LARGEST_PART:
            return name, size(describe(block))
    return largest_part(model, LARGEST_PART)


def blocks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The members of outermost lists that hold several modules of one class with parameters."""
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if any(name.startswith(f"{outer}.") for outer in inside):
            continue
        members = list(module.named_children())
        kinds = [type(member) for _, member in members]
        if isinstance(module, (nn.ModuleList, nn.Sequential)) and len(kinds) > 1 and len(set(kinds)) == 1:
            inside = (*inside, name)
            for each, member in members:
                if not isinstance(member, (nn.ModuleList, nn.ModuleDict)):
                    yield f"{name}.{each}" if name else each, member
