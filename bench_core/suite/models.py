"""The models that the benchmarks work on."""

from __future__ import annotations

from torch import nn


def notebook_net(device: str = "cpu") -> nn.Sequential:
    """The notebook's net after it is materialized with 4 inputs: Linear(4, 8), ReLU, Linear(8, 1)."""
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)).to(device)


def many_linears(count: int, *, nested: bool, per_block: int = 10, side: int = 4) -> nn.Sequential:
    """`count` square linear layers, all in one `Sequential`, or nested in blocks of at most `per_block`, as in real
    models: 10 layers are one block, 100 are ten blocks of ten, and 1000 are ten of those."""
    modules: list[nn.Module] = [nn.Linear(side, side) for _ in range(count)]
    while nested and len(modules) > per_block:
        modules = [nn.Sequential(*modules[i : i + per_block]) for i in range(0, len(modules), per_block)]
    return nn.Sequential(*modules)


def relu_stack(width: int, depth: int) -> nn.Sequential:
    """`depth` pairs of Linear(width, width), without bias, and ReLU."""
    return nn.Sequential(*(module for _ in range(depth) for module in (nn.Linear(width, width, bias=False), nn.ReLU())))
