"""Jobs that run the model: what tying, a default device, and denormal weights cost in it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree

from bench_core.suite import denormals, oracles
from bench_core.suite.access.jobs import Call, Job, NotHereError, Ready, Subject, close


def example_of(subject: Subject) -> tuple[Any, ...]:
    if subject.example is None:
        raise NotHereError("no example of its input is known: give one with --input")
    return subject.example


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Put the model in eval mode, where dropout draws nothing, until the block ends."""
    before = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


def outputs(result: object) -> list[torch.Tensor]:
    """The floating-point tensors in what a forward pass has returned: a tensor, a tuple, a dict, or a dataclass."""
    if hasattr(result, "__dict__") and not isinstance(result, (torch.Tensor, dict)):
        result = vars(result)
    leaves = _pytree.tree_leaves(dict(result) if isinstance(result, Mapping) else result)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]


def loss_of(result: object) -> torch.Tensor:
    """A number that depends on each output that needs a gradient."""
    needed = [tensor for tensor in outputs(result) if tensor.requires_grad]
    if not needed:
        raise NotHereError("its forward pass returns no tensor that needs a gradient")
    return torch.stack([tensor.float().square().mean() for tensor in needed]).sum()


def untied(net: nn.Module) -> nn.Module:
    """A copy in which each name has a parameter of its own, with equal values."""
    twin = copy.deepcopy(net)
    seen: set[int] = set()

    def separate(module: nn.Module) -> None:
        seen.add(id(module))
        for name, parameter in module._parameters.items():
            if parameter is not None and id(parameter) in seen:
                parameter = nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
                module._parameters[name] = parameter
            seen.add(id(parameter))
        for name, child in module._modules.items():
            if child is None:
                continue
            if id(child) in seen:
                module._modules[name] = child = copy.deepcopy(child)
            separate(child)

    separate(twin)
    return twin


@contextmanager
def _backward(subject: Subject) -> Iterator[Mapping[str, Ready | str]]:
    net, example = subject.model, example_of(subject)
    ties = oracles.tied_names(net)
    if not ties:
        raise NotHereError("no parameter is tied")
    twin = untied(net)
    nets = {"tied": net, "untied": twin}
    before = [(parameter, parameter.grad) for parameter in net.parameters()]

    def forget() -> None:
        for each in nets.values():
            each.zero_grad()

    def backward(net: nn.Module) -> None:
        loss_of(net(*example)).backward()

    def summed(net: nn.Module) -> dict[str, torch.Tensor]:
        """The gradient of each parameter of `subject.model`, by its first name, summed over its names."""
        own = dict(net.named_parameters(remove_duplicate=False))
        first = {name: names[0] for names in ties for name in names}
        found: dict[str, torch.Tensor] = {}
        counted: set[int] = set()
        for name, parameter in own.items():
            if parameter.grad is None or id(parameter) in counted:
                continue
            counted.add(id(parameter))
            key = first.get(name, name)
            found[key] = found[key] + parameter.grad if key in found else parameter.grad.clone()
        return found

    def check(call: Call, idiom: str) -> None:
        forget()
        call()
        found = summed(nets[idiom])
        forget()
        backward(nets["untied" if idiom == "tied" else "tied"])
        expected = summed(nets["untied" if idiom == "tied" else "tied"])
        forget()
        oracles.same(sorted(found), sorted(expected), "parameters with a gradient")
        for name, gradient in expected.items():
            close_on_scale(found[name], gradient, f"gradient of {name}")

    def ready(idiom: str) -> Ready:
        return Ready(lambda: backward(nets[idiom]), lambda call: check(call, idiom), forget)

    with evaluating(net), evaluating(twin):
        try:
            yield {idiom: ready(idiom) for idiom in nets}
        finally:
            for parameter, gradient in before:
                parameter.grad = gradient


def close_on_scale(found: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    """Require gradients to agree within the rounding of long sums: 1e-4 of the largest element, more in half
    precision. One that is replaced instead of added is off by about its own size."""
    scale = float(expected.abs().max())
    error = float((found - expected).abs().max())
    allowed = scale * max(1e-4, 16 * torch.finfo(expected.dtype).eps)
    assert error <= allowed, f"{what}: off by {error:.1e}, its largest element is {scale:.1e}"


def _forward_in(
    subject: Subject, surroundings: Mapping[str, Callable[[], AbstractContextManager[object]]]
) -> Iterator[Mapping[str, Ready | str]]:
    """A forward pass in each of the surroundings. All must return the same as the first."""
    net, example = subject.model, example_of(subject)

    @torch.no_grad()
    def forward(around: Callable[[], AbstractContextManager[object]]) -> object:
        with around():
            return net(*example)

    with evaluating(net):
        expected = outputs(forward(next(iter(surroundings.values()))))
        if not expected:
            raise NotHereError("its forward pass returns no floating-point tensor")

        def check(call: Call) -> None:
            found = outputs(call())
            oracles.same(len(found), len(expected), "tensors that the forward pass returns")
            for one, other in zip(found, expected, strict=True):
                close(one, other, "output", relative=1e-4, floor=float(other.abs().max()))

        def ready(around: Callable[[], AbstractContextManager[object]]) -> Ready:
            return Ready(lambda: forward(around), check)

        yield {idiom: ready(around) for idiom, around in surroundings.items()}


@contextmanager
def _default_device(subject: Subject) -> Iterator[Mapping[str, Ready | str]]:
    yield from _forward_in(
        subject,
        {"no_default_device": contextlib.nullcontext, "default_device": lambda: torch.device(subject.device)},
    )


@contextmanager
def _denormals(subject: Subject) -> Iterator[Mapping[str, Ready | str]]:
    if not denormals.held(subject.model):
        raise NotHereError("no weight on the CPU is a denormal number")
    if reason := denormals.why_no_flush():
        raise NotHereError(reason)
    yield from _forward_in(subject, {"as_they_are": contextlib.nullcontext, "flushed": denormals.flushed})


JOBS: dict[str, Job] = {
    "backward": Job(
        "a forward and a backward pass, tied and untied",
        ("tied", "untied"),
        _backward,
        copies=4,
        notes={"untied": "A copy with equal weights, in which each name has a parameter of its own."},
    ),
    "default_device": Job(
        "a forward pass with a default device",
        ("no_default_device", "default_device"),
        _default_device,
        notes={
            "default_device": "torch.set_default_device costs every call of torch, also those that make no tensor "
            "(pytorch/pytorch#92701)."
        },
    ),
    "denormals": Job(
        "a forward pass with denormal weights",
        ("as_they_are", "flushed"),
        _denormals,
        notes={
            "flushed": "torch.set_flush_denormal(True), in each thread that computes (pytorch/pytorch#19651, "
            "pytorch/pytorch#21734)."
        },
    ),
}
