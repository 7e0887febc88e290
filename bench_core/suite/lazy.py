"""Modules in their lazy and their plain form, and ways to construct models.

There are three separate jobs: a model with initialized parameters (`INITIALIZED`), a model with the values of a
checkpoint (`LOADED`), and a model on the meta device, which has shapes but no storage (`ON_META`). `to_empty` and
`skip_init` leave garbage in the parameters, so each idiom goes on until its job is done. The job includes what the
constructor did and an idiom undoes: `Mlp.repair` ties layers again, and computes again the buffers that no checkpoint
holds.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench_core.suite import oracles
from bench_core.suite.initializers import fans

Checkpoint = Mapping[str, torch.Tensor]


class Spec(Protocol):
    """A module that can be made in its lazy or its plain form, and inputs that materialize it."""

    def lazy(self, device: str) -> nn.Module: ...
    def plain(self, device: str) -> nn.Module: ...
    def inputs(self, device: str) -> torch.Tensor: ...


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        lazy_class: takes `arguments`.
        plain_class: takes the number of input features and then `arguments`.
        input_shape: its second dimension is the number of input features.
    """

    lazy_class: Callable[..., nn.Module]
    plain_class: Callable[..., nn.Module]
    input_shape: tuple[int, ...]
    arguments: tuple[int, ...] = ()

    def lazy(self, device: str) -> nn.Module:
        return self.lazy_class(*self.arguments, device=device)

    def plain(self, device: str) -> nn.Module:
        return self.plain_class(self.input_shape[1], *self.arguments, device=device)

    def inputs(self, device: str) -> torch.Tensor:
        return torch.rand(self.input_shape, device=device)


class Angles(nn.Module):
    """Multiplies by a buffer that its constructor computes and no state dict holds, like a rotary embedding's."""

    angles: torch.Tensor

    def __init__(self, width: int, device: str | None = None) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("angles", None, persistent=False)
        self.reset_buffers(device)

    def reset_buffers(self, device: str | None = None) -> None:
        """Compute the buffer on `device`, or on the device of the context."""
        self.angles = 1.0 / torch.arange(1.0, self.width + 1, device=device)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.angles


@dataclass(frozen=True)
class Mlp:
    """Linear layers with a ReLU between each two.

    Attributes:
        widths: the features of the input and of every layer's output.
        tied: the first and the last layer share one weight; both must then have its shape.
        angles: the last module is `Angles`, whose buffer is not persistent.
    """

    widths: tuple[int, ...]
    tied: bool = False
    angles: bool = False

    def layers(self, linear: Callable[[int, int], nn.Module], device: str | None = None) -> nn.Sequential:
        modules: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(self.widths):
            modules += [linear(inputs, outputs), nn.ReLU()]
        modules.pop()
        if self.angles:
            modules.append(Angles(self.widths[-1], device))
        return nn.Sequential(*modules)

    def build(self, linear: Callable[[int, int], nn.Module] = nn.Linear, device: str | None = None) -> nn.Sequential:
        """Construct the layers, and tie them: what a model's `__init__` does. `device` is that of the buffers."""
        return self.tie(self.layers(linear, device))

    def tie(self, net: nn.Sequential) -> nn.Sequential:
        if self.tied:
            net[-2 if self.angles else -1].weight = net[0].weight
        return net

    def repair(self, net: nn.Sequential, device: str) -> nn.Sequential:
        """Do again what `build` did to a model on meta and `to_empty` or ``assign=True`` has undone.

        Either makes a new parameter for each name of a tied one (huggingface/accelerate#3154, pytorch/pytorch#188346).
        A buffer that no checkpoint holds is memory that nobody has written after `to_empty`, and stays on meta after
        ``assign=True``, where a strict load does not report it (huggingface/transformers#30703,
        pytorch/pytorch#102212). A model with neither needs nothing, and nothing is done.
        """
        if self.angles:
            angles = net[-1]
            assert isinstance(angles, Angles)
            angles.reset_buffers(device)
        return self.tie(net)

    def lazy(self, device: str) -> nn.Sequential:
        """The lazy form, untied: a LazyLinear cannot materialize a weight that another LazyLinear has materialized."""
        return self.layers(lambda _, outputs: nn.LazyLinear(outputs, device=device), device)

    def plain(self, device: str) -> nn.Sequential:
        return self.build(partial(nn.Linear, device=device), device)

    def inputs(self, device: str) -> torch.Tensor:
        return torch.rand(2, self.widths[0], device=device)

    @property
    def bytes(self) -> int:
        """The size of the float32 parameters in bytes. A tied weight counts twice."""
        return 4 * sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(self.widths))


# The layers are so small that Python, dispatch and the generator dominate the time. Those that draw have at least 1024
# weights, so that a few of them show the distribution.
LAYERS: dict[str, Layer] = {
    "LazyLinear": Layer(nn.LazyLinear, nn.Linear, (16, 64), (64,)),
    "LazyConv1d": Layer(nn.LazyConv1d, nn.Conv1d, (4, 32, 16), (32, 3)),
    "LazyConv2d": Layer(nn.LazyConv2d, nn.Conv2d, (4, 32, 8, 8), (32, 3)),
    "LazyConv3d": Layer(nn.LazyConv3d, nn.Conv3d, (4, 32, 4, 4, 4), (32, 3)),
    "LazyConvTranspose2d": Layer(nn.LazyConvTranspose2d, nn.ConvTranspose2d, (4, 32, 8, 8), (32, 3)),
    "LazyBatchNorm1d": Layer(nn.LazyBatchNorm1d, nn.BatchNorm1d, (16, 32)),
    "LazyBatchNorm2d": Layer(nn.LazyBatchNorm2d, nn.BatchNorm2d, (4, 32, 8, 8)),
    "LazyBatchNorm3d": Layer(nn.LazyBatchNorm3d, nn.BatchNorm3d, (4, 32, 4, 4, 4)),
}

MODELS: dict[str, Mlp] = {
    "notebook": Mlp((4, 8, 1)),
    "mlp_10x64": Mlp((64,) * 11),  # layers x width
    "mlp_100x64": Mlp((64,) * 101),  # 1.6 MiB: Python and dispatch
    "mlp_4x1024": Mlp((1024,) * 5),  # 16 MiB: the generator and memory
    # 36 MiB in one layer, above the 32 MiB up to which glibc may recycle what was freed: every call maps fresh pages,
    # as a starting program does. Copying into four layers of 4 MiB took 2.4 ms in one process and 17 in the next.
    "mlp_1x3072": Mlp((3072,) * 2),
    "mlp_4x2048": Mlp((2048,) * 5),  # 64 MiB: shows in a process that has torch loaded
    "mlp_2x64_tied": Mlp((64,) * 3, tied=True),
    "mlp_2x64_angles": Mlp((64,) * 3, angles=True),
}

MODULES: dict[str, Spec] = {**LAYERS, **MODELS}


def quiet() -> None:
    """Silence the warning of each construction of a lazy module, in asv and in pytest alike."""
    warnings.filterwarnings("ignore", message="Lazy modules are a new feature", category=UserWarning)


def eager(model: Mlp, device: str) -> nn.Module:
    return model.build().to(device)


def torch_device(model: Mlp, device: str) -> nn.Module:
    with torch.device(device):
        return model.build()


def lazy_dry_run(model: Mlp, device: str) -> nn.Module:
    return model.tie(dry_run(model.lazy(device), model, device))


def dry_run(net: nn.Sequential, model: Mlp, device: str) -> nn.Sequential:
    with torch.no_grad():
        net(torch.zeros(1, model.widths[0], device=device))
    return net


def to_empty(model: Mlp, device: str) -> nn.Module:
    """A model with garbage in the right shapes, tied and with its buffers as constructed."""
    with torch.device("meta"):
        net = model.build()
    return model.repair(net.to_empty(device=device), device)


def skip_init(model: Mlp, device: str) -> nn.Module:
    """A model with garbage in the right shapes. It is made layer by layer, so the model ties its layers itself, and its
    buffers are as constructed. `skip_init` of the whole model would undo both, as `to_empty` does."""
    return model.build(partial(nn.utils.skip_init, nn.Linear, device=device), device)


def reset(net: nn.Module) -> nn.Module:
    """Initialize every layer as its constructor would."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    return net


INITIALIZED: dict[str, Callable[[Mlp, str], nn.Module]] = {
    "eager": eager,
    "lazy_dry_run": lazy_dry_run,
    "meta_to_empty": lambda model, device: reset(to_empty(model, device)),
    "skip_init": lambda model, device: reset(skip_init(model, device)),
    "torch_device": torch_device,
}


def _copying(build: Callable[[Mlp, str], nn.Module]) -> Callable[[Mlp, str, Checkpoint], nn.Module]:
    def load(model: Mlp, device: str, checkpoint: Checkpoint) -> nn.Module:
        net = build(model, device)
        net.load_state_dict(checkpoint)
        return net

    return load


def lazy_load(model: Mlp, device: str, checkpoint: Checkpoint) -> nn.Module:
    """`load_state_dict` materializes without initializing. The dry run only makes the classes plain."""
    net = model.lazy(device)
    net.load_state_dict(checkpoint)
    return model.tie(dry_run(net, model, device))


def meta_assign(model: Mlp, device: str, checkpoint: Checkpoint) -> nn.Module:
    """The parameters are the checkpoint's memory: no value is copied if the device is the same."""
    with torch.device("meta"):
        net = model.build()
    net.load_state_dict(checkpoint, assign=True)
    return model.repair(net, device).to(device)


LOADED: dict[str, Callable[[Mlp, str, Checkpoint], nn.Module]] = {
    "eager": _copying(eager),
    "lazy_dry_run": _copying(lazy_dry_run),
    "lazy_load": lazy_load,
    "meta_to_empty": _copying(to_empty),
    "skip_init": _copying(skip_init),
    "torch_device": _copying(torch_device),
    "meta_assign": meta_assign,
}

ON_META: dict[str, Callable[[Mlp], nn.Module]] = {
    "to_meta": lambda model: model.build().to("meta"),
    "torch_device": lambda model: torch_device(model, "meta"),
    "device_argument": lambda model: model.plain("meta"),
}


@contextlib.contextmanager
def poisoned_memory() -> Iterator[None]:
    """A context in which `torch.empty`, and all that is built on it, returns NaN. Otherwise, memory that a model has
    just freed comes back with the model's weights in it, and parameters that were never initialized look
    initialized."""
    before = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*determinis", category=UserWarning)
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def check_architecture(found: nn.Module, spec: Spec, device: str) -> None:
    """Check that modules, parameters, buffers and ties are those of the plain form, all on `device`. Buffers that no
    checkpoint holds must also have the values that the plain form gives them, unless `device` is meta."""
    plain = spec.plain("meta")
    oracles.same(str(found), str(plain), "architecture")
    oracles.same_tensors(found, plain, device)
    computed = [name for name, _, persistent in oracles.held(plain) if not persistent]
    if computed and device != "meta":
        expected = spec.plain(device)
        for name in computed:
            oracles.identical(found.get_buffer(name), expected.get_buffer(name), name)


def check_as_plain(found: nn.Module, spec: Spec, inputs: torch.Tensor, outputs: torch.Tensor, *, calls: int) -> None:
    """Check that, after `calls` forwards, outputs and buffers are those of the plain form with the same parameters."""
    plain = spec.plain(inputs.device.type)
    plain.load_state_dict(dict(found.named_parameters()), strict=False)
    for _ in range(calls):
        expected = plain(inputs)
    oracles.close(outputs, expected, "outputs")
    buffers = dict(found.named_buffers())
    for name, buffer in plain.named_buffers():
        oracles.close(buffers[name], buffer, name)


def check_drawn(modules: Sequence[nn.Module]) -> None:
    """Check that every parameter is as its layer's `reset_parameters` draws it. Weights and biases of linear and
    convolutional layers come from U(-1/sqrt(fan_in), 1/sqrt(fan_in)). Those of batch normalization are 1 and 0. Source:
    the docstrings of the layers."""
    draws: list[torch.Tensor] = []
    for module in itertools.chain.from_iterable(module.modules() for module in modules):
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if isinstance(module, _BatchNorm):
            oracles.filled_with(module.weight, 1, "scale of batch normalization")
            oracles.filled_with(module.bias, 0, "shift of batch normalization")
        elif isinstance(weight, nn.Parameter):
            scale = math.sqrt(fans(weight)[0])
            for name, parameter in (("weight", weight), ("bias", bias)):
                assert isinstance(parameter, nn.Parameter), f"{name} of {module} is no parameter"
                flat = oracles.thinned(parameter.detach(), 1 << 14).to("cpu", torch.float64) * scale
                oracles.within(flat, -1.0001, 1.0001, f"{name} of {module} times sqrt(fan_in)")
                assert flat.any(), (
                    f"{name} of {module} is all zeros"
                )  # a bias is too small a part of all to show in the distribution
                draws.append(flat)
    if draws:
        oracles.distributed(torch.cat(draws), oracles.uniform_cdf(-1, 1), "parameters times sqrt(fan_in)")
