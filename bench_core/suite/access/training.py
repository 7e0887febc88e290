"""Jobs between a backward pass and the next forward: gradients, an optimizer's step, a moving average.

The gradients are made, and not computed: a constant for each parameter, the same for each idiom.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from bench_core.suite import averages, oracles, tied
from bench_core.suite.access.jobs import Call, Job, NotHereError, Ready, Subject, close, some

RATE, DECAY = 0.125, 0.01
"""The optimizer's learning rate, high so that one step shows in every dtype, and its weight decay."""


def constants(parameters: Sequence[torch.Tensor]) -> list[float]:
    """A number for each parameter: neighbours differ in size and in sign."""
    return [(1 + index % 8 / 8) * (-1) ** index for index, _ in enumerate(parameters)]


@contextmanager
def made_gradients(net: nn.Module) -> Iterator[tuple[list[nn.Parameter], list[torch.Tensor]]]:
    """Give each trainable parameter a gradient, until the block ends."""
    before = [(parameter, parameter.grad) for parameter in net.parameters()]
    trainable = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if not trainable:
        raise NotHereError("no parameter requires a gradient")
    try:
        for parameter, value in zip(trainable, constants(trainable), strict=True):
            parameter.grad = torch.full_like(parameter, value)
        gradients = [parameter.grad for parameter in trainable if parameter.grad is not None]
        yield trainable, gradients
    finally:
        for parameter, gradient in before:
            parameter.grad = gradient


def _refill(gradients: Sequence[torch.Tensor]) -> None:
    for gradient, value in zip(gradients, constants(gradients), strict=True):
        gradient.fill_(value)


@contextmanager
def _zero_grad(subject: Subject) -> Iterator[Mapping[str, Ready | str]]:
    net = subject.model
    with made_gradients(net) as (parameters, gradients):

        def renew() -> None:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient

        def check(call: Call, *, kept: bool) -> None:
            renew()
            _refill(gradients)
            call()
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if kept:
                    assert parameter.grad is gradient, "a gradient is another tensor now"
                    oracles.filled_with(gradient, 0.0, "gradient")
                else:
                    assert parameter.grad is None, "a gradient is still there"

        yield {
            "set_to_none": Ready(lambda: net.zero_grad(), lambda call: check(call, kept=False), renew),
            "set_to_zero": Ready(lambda: net.zero_grad(set_to_none=False), lambda call: check(call, kept=True), renew),
            "foreach_zero": Ready(lambda: torch._foreach_zero_(gradients), lambda call: check(call, kept=True), renew),
        }


MAX_NORM = 1.0

SUM = 1e-3
"""How far the sum of a model's squares may be off, relative to its size."""


@contextmanager
def _clip(subject: Subject) -> Iterator[Mapping[str, Ready | str]]:
    with made_gradients(subject.model) as (parameters, gradients):
        values = constants(gradients)
        squares = (value**2 * gradient.numel() for value, gradient in zip(values, gradients, strict=True))
        norm = math.sqrt(sum(squares))

        def check(call: Call) -> None:
            _refill(gradients)
            found = call()
            assert isinstance(found, torch.Tensor), f"found {found!r}"
            close(found, torch.full_like(found, norm), "returned norm", relative=SUM)
            for value, gradient in zip(values, gradients, strict=True):
                (clipped,) = some(gradient)
                expected = torch.full_like(clipped, value * min(1.0, MAX_NORM / norm))
                close(clipped, expected, "clipped gradient", relative=SUM)

        def ready(idiom: str) -> Ready | str:
            foreach = idiom == "foreach"
            return tied.no_implementation(idiom, subject.device) or Ready(
                lambda: nn.utils.clip_grad_norm_(parameters, MAX_NORM, foreach=foreach), check
            )

        yield {idiom: ready(idiom) for idiom in ("for_loop", "foreach")}


IMPLEMENTATIONS = ("for_loop", "foreach", "fused")


@contextmanager
def _step(subject: Subject) -> Iterator[Mapping[str, Ready | str]]:
    with made_gradients(subject.model) as (parameters, gradients), torch.no_grad():
        kept = [parameter.clone() for parameter in parameters]
        steps: list[torch.Tensor] = []
        averaged = {name: [torch.zeros_like(each) for each in parameters] for name in ("exp_avg", "exp_avg_sq")}

        def optimizer(implementation: str) -> torch.optim.AdamW:
            """All share their averages, and each counts its own steps."""
            foreach, fused = implementation == "foreach", implementation == "fused"
            made = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY, foreach=foreach, fused=fused)
            for index, parameter in enumerate(parameters):
                device = parameter.device if implementation == "fused" else "cpu"
                own = {name: tensors[index] for name, tensors in averaged.items()}
                made.state[parameter] = {"step": torch.zeros((), device=device), **own}
                steps.append(made.state[parameter]["step"])
            return made

        def restore() -> None:
            for parameter, before in zip(parameters, kept, strict=True):
                parameter.copy_(before)
            for tensor in itertools.chain(steps, *averaged.values()):
                tensor.zero_()

        def check(call: Call) -> None:
            restore()
            call()
            # In the first step, AdamW's averages are the gradient and its square, so it is RATE long.
            for tensors in zip(parameters, kept, gradients, strict=True):
                found, before, gradient = some(*tensors)
                slope = gradient.to(torch.float64)
                expected = before.to(torch.float64) * (1 - RATE * DECAY) - RATE * slope / (slope.abs() + 1e-8)
                close(found, expected, "weight", floor=RATE)

        def ready(implementation: str) -> Ready | str:
            if reason := tied.no_implementation(implementation, subject.device):
                return reason
            return Ready(optimizer(implementation).step, check)

        try:
            yield {implementation: ready(implementation) for implementation in IMPLEMENTATIONS}
        finally:
            restore()


@contextmanager
def _moving_average(subject: Subject) -> Iterator[Mapping[str, Ready | str]]:
    net = subject.model
    weights = [parameter.detach() for parameter in net.parameters()]
    average = copy.deepcopy(net).requires_grad_(False)
    kept = [parameter.detach() for parameter in average.parameters()]

    def check(call: Call) -> None:
        values = constants(kept)
        for tensor, value in zip(kept, values, strict=True):
            tensor.fill_(value)
        call()
        for tensor, value, weight in zip(kept, values, weights, strict=True):
            found, given = some(tensor, weight)
            (expected,) = averages.expected([torch.full_like(given, value)], [given])
            close(found, expected, "average", floor=abs(value))

    yield {idiom: Ready(update(average, net), check) for idiom, update in averages.MOVING_AVERAGES.items()}


JOBS: dict[str, Job] = {
    "zero_grad": Job(
        "reset the gradients",
        ("set_to_none", "set_to_zero", "foreach_zero"),
        _zero_grad,
        copies=1,
        notes={
            "set_to_none": "The next backward pass allocates the gradients again.",
            "set_to_zero": "One kernel for each gradient, unless an optimizer with foreach=True or fused=True resets "
            "them (pytorch/pytorch#82777).",
        },
    ),
    "clip": Job("clip the norm of the gradients", ("for_loop", "foreach"), _clip, passes=3, copies=1),
    "optimizer_step": Job("one step of AdamW", IMPLEMENTATIONS, _step, passes=7, copies=4),
    "moving_average": Job(
        "update a moving average of the weights",
        tuple(averages.MOVING_AVERAGES),
        _moving_average,
        passes=3,
        copies=2,
        notes={
            "state_dicts": "A tied weight stands in a state dict under each of its names, so it is averaged more than "
            "once; buffers are averaged as well.",
            "foreach_listed_once": "The lists are made before the loop: make them again if a parameter is replaced "
            "(pytorch/pytorch#94820).",
            "averaged_model": "torch.optim.swa_utils.AveragedModel with a multi_avg_fn, which also copies the buffers.",
        },
    ),
}
