"""Ways to keep a moving average of a model's weights, average = d average + (1 - d) weight, in a second model.

All of them average the parameters, and `state_dicts` the buffers as well, which the others leave alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

DECAY = 0.75
"""The share of the average that is kept. It is far from 1, so that one step shows in every dtype."""

Update = Callable[[], object]


def _state_dicts(average: nn.Module, net: nn.Module) -> Update:
    """Two state dicts a step, as in mmengine until open-mmlab/mmengine#281. A tied weight stands in a state dict under
    each of its names, so it is averaged once for each."""

    @torch.no_grad()
    def update() -> None:
        given = net.state_dict()
        for name, tensor in average.state_dict().items():
            if tensor.is_floating_point():
                tensor.mul_(DECAY).add_(given[name], alpha=1 - DECAY)

    return update


def _loop(average: nn.Module, net: nn.Module) -> Update:
    @torch.no_grad()
    def update() -> None:
        for kept, given in zip(average.parameters(), net.parameters(), strict=True):
            kept.lerp_(given, 1 - DECAY)

    return update


def _foreach(average: nn.Module, net: nn.Module) -> Update:
    @torch.no_grad()
    def update() -> None:
        torch._foreach_lerp_(tuple(average.parameters()), tuple(net.parameters()), 1 - DECAY)

    return update


def _foreach_listed_once(average: nn.Module, net: nn.Module) -> Update:
    """The models are walked once, and not in each step. It misses a parameter that is replaced later."""
    kept, given = tuple(average.parameters()), tuple(net.parameters())

    @torch.no_grad()
    def update() -> None:
        torch._foreach_lerp_(kept, given, 1 - DECAY)

    return update


def _averaged_model(average: nn.Module, net: nn.Module) -> Update:
    """torch's own, with its foreach function. It also copies the buffers in each step."""
    averaged = AveragedModel(average, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    averaged.module = average  # instead of the copy that it has made
    averaged.n_averaged += 1  # or the first step would copy the weights
    return lambda: averaged.update_parameters(net)


MOVING_AVERAGES: dict[str, Callable[[nn.Module, nn.Module], Update]] = {
    "state_dicts": _state_dicts,
    "loop": _loop,
    "foreach": _foreach,
    "foreach_listed_once": _foreach_listed_once,
    "averaged_model": _averaged_model,
}
"""Each takes the model that holds the average and the model that is averaged, and returns one step as a call."""


def expected(before: Sequence[torch.Tensor], weights: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The average after one step, in float64."""
    return [
        DECAY * old.detach().to(torch.float64) + (1 - DECAY) * new.detach().to(torch.float64)
        for old, new in zip(before, weights, strict=True)
    ]
