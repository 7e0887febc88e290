"""Models with tied parameters, untied models that do the same arithmetic, and checks of both.

Tied means that two uses share one parameter. `tied` shares the object: the notebook does this with a layer, language
models with a weight. `untied` has one parameter per use, with equal values at the start. `parametrized` has one module
per use, and `torch.nn.utils.parametrize` looks its parameters up in the first module. A forward pass needs the same
FLOPs in all three.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn
from torch.nn.utils import parametrize

from bench_core.suite.axes import shape_of

INPUTS = 4  # features of the notebook's input
BATCH = 32  # rows of the input of a shared layer
TOKENS = 64  # tokens that the language model predicts

Loss = Callable[[nn.Sequential], torch.Tensor]


class SameAs(nn.Module):
    """A parametrization that ignores its own value and returns another module's parameter."""

    def __init__(self, source: nn.Module, name: str) -> None:
        super().__init__()
        self.source = (source,)  # in a tuple: a registered module would appear in every state dict again
        self.name = name

    def forward(self) -> torch.Tensor:
        parameter: torch.Tensor = getattr(self.source[0], self.name)
        return parameter

    def right_inverse(self, _: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return ()  # it keeps nothing, so `parameters()` yields the shared parameter only


def parametrized_like(source: nn.Linear) -> nn.Linear:
    """A linear layer with the weight and bias of `source`, by parametrization."""
    layer = nn.Linear(source.in_features, source.out_features, device=source.weight.device)
    for name in ("weight", "bias"):
        parametrize.register_parametrization(layer, name, SameAs(source, name))
    return layer


def shared_layer(sharing: str, width: int, uses: int, device: str = "cpu") -> nn.Sequential:
    """The notebook's net. Its hidden layer of `width` units is used `uses` times (8 and 2 in the notebook). LazyLinear
    and ReLU, then `uses` times the shared layer and ReLU, then LazyLinear(1), materialized with 4 inputs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Lazy modules are a new feature")
        shared = nn.LazyLinear(width)
        middle = [module for _ in range(uses) for module in (shared, nn.ReLU())]
        net = nn.Sequential(nn.LazyLinear(width), nn.ReLU(), *middle, nn.LazyLinear(1)).to(device)
    with torch.no_grad():
        net(torch.ones(1, INPUTS, device=device))
        # Positive weights with row sums of about 1. Over 32 uses, nothing vanishes, explodes, or dies in a ReLU, so
        # every gradient can be checked and no denormal number slows a cell down. torch's default shrinks values by 0.4
        # per layer.
        for layer in dict.fromkeys(linears(net)):
            layer.weight.uniform_(0, 2 / layer.in_features)
            layer.bias.uniform_(0, 0.01)
    first = linears(net)[1]
    for index in range(4, 2 + 2 * uses, 2):
        if sharing == "untied":
            net[index] = copy.deepcopy(first)
        elif sharing == "parametrized":
            net[index] = parametrized_like(first)
    return net


def linears(net: nn.Sequential) -> list[nn.Linear]:
    """The net's linear layers, one per use: a layer that is used twice occurs twice."""
    return [module for module in net if isinstance(module, nn.Linear)]


def uses_of_shared(net: nn.Sequential) -> list[nn.Linear]:
    """The layers at the shared layer's positions in a net from `shared_layer`."""
    return linears(net)[1:-1]


def language_model(sharing: str, vocabulary: int, width: int, device: str = "cpu") -> nn.Sequential:
    """An embedding and an output layer without bias, both as wide as the vocabulary. If tied, they share one weight.
    The layers between them in a real model do not depend on tying, and are left out."""
    embedding = nn.Embedding(vocabulary, width, device=device)
    output = nn.utils.skip_init(nn.Linear, width, vocabulary, bias=False, device=device)
    with torch.no_grad():
        embedding.weight.normal_(0, 0.02)
        if sharing == "tied":
            output.weight = embedding.weight
        else:
            output.weight.copy_(embedding.weight)
    return nn.Sequential(embedding, output)


def net_and_loss(model: str, sharing: str, device: str = "cpu") -> tuple[nn.Sequential, Loss]:
    """The model for a name such as ``shared_layer_1024x32`` or ``language_model_32000x512``, and its loss."""
    kind, _, size = model.rpartition("_")
    first, second = shape_of(size)
    if kind == "shared_layer":
        inputs = torch.rand(BATCH, INPUTS).to(device)
        return shared_layer(sharing, first, second, device), lambda net: stack_loss(net, inputs)
    # Made on the CPU, so that every device sees the same tokens.
    tokens = torch.randint(0, first, (TOKENS + 1,)).to(device)
    return language_model(sharing, first, second, device), lambda net: token_loss(net, tokens)


def stack_loss(net: nn.Sequential, inputs: torch.Tensor) -> torch.Tensor:
    outputs: torch.Tensor = net(inputs)
    return outputs.sum()


def token_loss(net: nn.Sequential, tokens: torch.Tensor) -> torch.Tensor:
    """Predict each token from the one before it."""
    return nn.functional.cross_entropy(net(tokens[:-1]), tokens[1:])


def forward_backward(loss: Loss, net: nn.Sequential) -> torch.Tensor:
    value = loss(net)
    value.backward()
    return value


def training_step(loss: Loss, net: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    forward_backward(loss, net)
    optimizer.step()


def device_peak(device: str, operation: Callable[[], object]) -> int:
    """The peak of the memory that torch has allocated on the device while `operation` ran, in bytes."""
    memory = torch.get_device_module(device)
    memory.reset_peak_memory_stats()
    operation()
    return int(memory.max_memory_allocated())


def counts_peak(device: str) -> bool:
    """Whether torch tracks the peak of the memory that it allocates on `device`."""
    return hasattr(torch.get_device_module(device), "max_memory_allocated")


def no_implementation(implementation: str, device: str) -> str | None:
    """Why `device` has no foreach or fused kernels for optimizers, or None if it has. torch only answers when there are
    tensors on the device. These are the devices that it has named since 2.6."""
    devices = {
        "for_loop": (device,),
        "foreach": ("cpu", "cuda", "xpu"),
        "fused": ("cpu", "cuda", "xpu", "mps"),
    }[implementation]
    return None if device in devices else f"torch has no {implementation} implementation on {device}"


# Ways to compute the norm of many gradients, or to set them to zero:


def norm_loop(gradients: list[torch.Tensor]) -> torch.Tensor:
    return norm_of_norms([torch.linalg.vector_norm(gradient) for gradient in gradients])


def norm_foreach(gradients: list[torch.Tensor]) -> torch.Tensor:
    return norm_of_norms(torch._foreach_norm(gradients))


def norm_of_norms(norms: Sequence[torch.Tensor]) -> torch.Tensor:
    total: torch.Tensor = torch.linalg.vector_norm(torch.stack(tuple(norms)))
    return total


def norm_cat(gradients: list[torch.Tensor]) -> torch.Tensor:
    total: torch.Tensor = torch.linalg.vector_norm(torch.cat([gradient.view(-1) for gradient in gradients]))
    return total


def zero_loop(gradients: Sequence[torch.Tensor]) -> None:
    for gradient in gradients:
        gradient.zero_()


def parameters_with_gradients(
    count: int, elements: int, device: str = "cpu"
) -> tuple[list[nn.Parameter], torch.Tensor]:
    """Parameters of ones with gradients drawn from U(1, 2), and the buffer that holds all the gradients."""
    buffer = torch.empty(count * elements, device=device).uniform_(1, 2)
    parameters = [nn.Parameter(torch.ones(elements, device=device)) for _ in range(count)]
    for parameter, gradient in zip(parameters, buffer.split(elements), strict=True):
        parameter.grad = gradient
    return parameters, buffer


def check_shared_layer(net: nn.Sequential, sharing: str, uses: int) -> None:
    """Check that the layers share objects, and that an edit shows in the others, as `sharing` promises."""
    layers = uses_of_shared(net)
    assert len(layers) == uses, f"{len(layers)} uses, expected {uses}"
    first, others = layers[0], layers[1:]
    for other in others:
        assert (other is first) == (sharing == "tied"), f"{sharing}: net[2] is net[4] is {other is first}"
    distinct = len(linears(net)) if sharing == "untied" else 3
    found = len(list(net.parameters()))
    assert found == 2 * distinct, f"parameters() yields {found} tensors, expected {2 * distinct}"
    for name in ("weight", "bias"):
        _check_edit(getattr(first, name), [getattr(other, name) for other in others], sharing)


def check_language_model(net: nn.Sequential, sharing: str) -> None:
    """Check that the layers share their weight, and that an edit shows in the other, as `sharing` promises."""
    embedding, output = net
    assert isinstance(embedding, nn.Embedding)
    assert isinstance(output, nn.Linear)
    tied = output.weight is embedding.weight
    assert tied == (sharing == "tied"), f"{sharing}: the two weights are one object: {tied}"
    found = len(list(net.parameters()))
    assert found == (1 if tied else 2), f"parameters() yields {found} tensors"
    _check_edit(embedding.weight, [output.weight], sharing)


def _check_edit(first: torch.Tensor, others: Iterable[torch.Tensor], sharing: str) -> None:
    element = (0,) * first.dim()
    before = float(first.data[element])
    # Through .data, as in the notebook: after an edit under no_grad, autograd would refuse the graph of setup.
    first.data[element] = 100.0
    seen = [float(other.data[element]) == 100.0 for other in others]
    first.data[element] = before
    assert all(value == (sharing != "untied") for value in seen), f"{sharing}: an edit through one is seen: {seen}"


def untied_copy(net: nn.Sequential) -> nn.Sequential:
    """The same net with separate parameters of equal values for every use."""
    modules: list[nn.Module] = []
    for module in net:
        if parametrize.is_parametrized(module):
            assert isinstance(module, nn.Linear)
            plain = nn.Linear(module.in_features, module.out_features, device=module.weight.device)
            plain.load_state_dict({"weight": module.weight, "bias": module.bias})
            modules.append(plain)
        else:
            modules.append(copy.deepcopy(module))  # each on its own, so that nothing stays shared
    return nn.Sequential(*modules)


def gradients_of_untied(net: nn.Sequential, loss: Loss) -> list[torch.Tensor]:
    """The expected gradients of `net.parameters()`: for each, the sum over the uses in the untied copy."""
    twin = untied_copy(net)
    twin.zero_grad()
    forward_backward(loss, twin)
    summed: dict[int, torch.Tensor] = {}
    for module, own in zip(net, twin, strict=True):
        for name, parameter in own.named_parameters():
            assert parameter.grad is not None
            key = id(getattr(module, name))
            summed[key] = summed[key] + parameter.grad if key in summed else parameter.grad
    return [summed[id(parameter)] for parameter in net.parameters()]


def check_gradients(found: Sequence[torch.Tensor | None], expected: Sequence[torch.Tensor], what: str) -> None:
    """Check that gradients agree to the rounding of float32: 1e-5 of the largest element of each. A tied gradient that
    is replaced instead of added (NVIDIA/TransformerEngine#3437: 0.60 of the right value) is wrong by about its own
    size."""
    assert len(found) == len(expected), f"{what}: {len(found)} gradients, expected {len(expected)}"
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one is not None, f"{what}: gradient {index} is None"
        scale = float(other.abs().max())
        assert scale > 0, f"{what}: gradient {index} is expected to be zero, which shows nothing"
        error = float((one - other).abs().max()) / scale
        assert error <= 1e-5, f"{what}: gradient {index} is wrong by {error:.1e} of its largest element"


def after_step(
    optimizer: str, weight: torch.Tensor, gradient: torch.Tensor, steps: int, *, rate: float, decay: float = 0.01
) -> torch.Tensor:
    """A weight after `steps` with the same gradient each, in float64, by the formulas in the docs of `torch.optim`:
    SGD without momentum, or AdamW (Loshchilov & Hutter 2019, algorithm 2) with betas 0.9, 0.999 and eps 1e-8.
    """
    value, slope = weight.detach().to(torch.float64), gradient.detach().to(torch.float64)
    first, second = torch.zeros_like(value), torch.zeros_like(value)
    for step in range(1, steps + 1):
        if optimizer == "SGD":
            value = value - rate * slope
            continue
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        mean, square = first / (1 - 0.9**step), second / (1 - 0.999**step)
        value = value * (1 - rate * decay) - rate * mean / (square.sqrt() + 1e-8)
    return value.to(weight.dtype)


def check_step(before: torch.Tensor, found: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    """Check a weight after a step, to the rounding of float32 and to 1e-4 of the step's length."""
    way = float((expected - before).abs().max())
    allowed = 4 * torch.finfo(before.dtype).eps * float(before.detach().abs().max()) + 1e-4 * way
    error = float((found.detach() - expected).abs().max())
    assert way > 4 * allowed, f"{what}: a way of {way:.1e} cannot be told from rounding"
    assert error <= allowed, f"{what}: the weight is off by {error:.1e} of a way of {way:.1e}"


def exact_norm(gradients: Iterable[torch.Tensor]) -> float:
    """The norm over all elements, summed in float64."""
    return math.sqrt(sum(float(gradient.to("cpu", torch.float64).square().sum()) for gradient in gradients))


def check_norm(found: float, expected: float, what: str) -> None:
    """Check a norm to 1e-5: float32 sums lose no more here, and clipping divides by the norm + 1e-6."""
    assert abs(found - expected) <= 1e-5 * expected, f"{what}: {found:.7g}, expected {expected:.7g}"
