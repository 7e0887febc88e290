"""Assertions for checks of an operation's outcome.

Every function raises `AssertionError` with the found and the expected value. A statistical one raises a false alarm
with a probability of at most `ALPHA`. The bounds hold for every sample size, not only in the limit.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import nn

ALPHA = 1e-9
"""The probability that a statistical check fails although all is right. It is so small that, with about a thousand
cells and fixed seeds, a failed check is a bug."""

Cdf = Callable[[torch.Tensor], torch.Tensor]

_DRAWS = 1 << 17  # enough to see a distance of 0.009 from the right distribution, and both tails beyond 3.5 sigma


def same(found: Any, expected: Any, what: str) -> None:
    assert found == expected, f"{what}: found {found!r}, expected {expected!r}"


def identical(found: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    """Require the same device, dtype, shape and bits (so -0.0 is not 0.0, and a NaN equals itself)."""
    same(_kind_of(found), _kind_of(expected), f"{what}: device, dtype and shape")
    kind = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[found.element_size()]
    differing = int((found.detach().view(kind) != expected.detach().view(kind)).sum())
    assert not differing, f"{what}: {differing} of {found.numel()} elements differ"


def close(found: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    """Require two tensors to agree within the tolerance of `torch.testing` for their dtype."""
    torch.testing.assert_close(found.detach(), expected.detach(), msg=lambda text: f"{what}: {text}")


def filled_with(found: torch.Tensor, value: float, what: str) -> None:
    """Require every element to be `value`, rounded to the tensor's dtype."""
    expected = torch.tensor(value, dtype=found.dtype, device=found.device)
    wrong = int((found.detach() != expected).sum())
    assert not wrong, f"{what}: {wrong} of {found.numel()} elements are not {value}"


def alias(one: torch.Tensor, other: torch.Tensor, what: str) -> None:
    """Require both tensors to start at the same memory."""
    assert one.data_ptr() == other.data_ptr(), f"{what}: they do not share memory"


def not_alias(one: torch.Tensor, other: torch.Tensor, what: str) -> None:
    """Require the tensors to start at different memory."""
    assert one.data_ptr() != other.data_ptr(), f"{what}: they share memory"


def own_memory(found: torch.Tensor, what: str) -> None:
    """Require the tensor not to be a view of something larger. A view is saved with its whole storage
    (pytorch/pytorch#128219), deep-copied with it, and keeps it alive. The cure is to clone it first."""
    stored = found.untyped_storage().nbytes()
    assert stored <= found.nbytes, f"{what}: {found.nbytes} bytes are a view of {stored} bytes, which are saved with it"


def same_tensors(found: nn.Module, expected: nn.Module, device: str) -> None:
    """Require the parameters and buffers of `expected`, values apart, on a device of type `device`.

    Names, classes, dtypes, shapes and `requires_grad` must agree, and also which buffers a state dict holds and which
    names share one parameter. `expected` may be on meta. Its buffers that no state dict holds are looked at as well:
    a model that is constructed on meta and loaded with ``assign=True`` leaves them there, and a strict load does not
    report it (huggingface/transformers#30703, pytorch/pytorch#102212).
    """
    wanted, given = (
        {name: _described(tensor, saved=saved) for name, tensor, saved in held(net)} for net in (expected, found)
    )
    same(list(given), list(wanted), "names of parameters and buffers")
    for name, description in wanted.items():
        same(given[name], description, name)
    for name, tensor, _ in held(found):
        same(tensor.device.type, device, f"{name}: device")
        own_memory(tensor, name)
    same(tied_names(found), tied_names(expected), "names of tied parameters")


def trainable(net: nn.Module) -> None:
    """Require every parameter to be an `nn.Parameter` that gets a gradient."""
    for name, parameter in net.named_parameters(remove_duplicate=False):
        same((type(parameter), parameter.requires_grad), (nn.Parameter, True), f"{name}: class and requires_grad")


def all_on(net: nn.Module, devices: Collection[torch.device], what: str) -> None:
    """Require every parameter and buffer, also those that no state dict holds, to be on one of `devices`."""
    elsewhere = {name: str(tensor.device) for name, tensor, _ in held(net) if tensor.device not in devices}
    assert not elsewhere, f"{what}: found {elsewhere}, expected all on {sorted(map(str, devices))}"


def held(net: nn.Module) -> Iterator[tuple[str, torch.Tensor, bool]]:
    """Every parameter and buffer of `net` under every name that it has, and whether a state dict holds it."""
    saved = net.state_dict().keys()
    named = (net.named_parameters(remove_duplicate=False), net.named_buffers(remove_duplicate=False))
    for name, tensor in itertools.chain(*named):
        yield name, tensor, name in saved


def tied_names(net: nn.Module) -> list[list[str]]:
    """The names of each parameter that has more than one."""
    return [list(group) for group in tied(dict(net.named_parameters(remove_duplicate=False)))]


def tied(tensors: Mapping[str, torch.Tensor]) -> tuple[tuple[str, ...], ...]:
    """Groups of names of one tensor."""
    names: dict[int, list[str]] = defaultdict(list)
    for name, tensor in tensors.items():
        names[id(tensor)].append(name)
    return tuple(tuple(group) for group in names.values() if len(group) > 1)


def _described(tensor: torch.Tensor, *, saved: bool) -> str:
    kind = f"{type(tensor).__name__} {tensor.dtype} {tuple(tensor.shape)}, requires_grad={tensor.requires_grad}"
    return kind if saved else f"{kind}, not persistent"


def _kind_of(tensor: torch.Tensor) -> tuple[str, torch.dtype, torch.Size]:
    return str(tensor.device), tensor.dtype, tensor.shape


def band(n: int) -> float:
    """How far the empirical distribution of n independent draws may lie from the true one.

    The Dvoretzky-Kiefer-Wolfowitz inequality with Massart's constant, P(sup|F_n - F| > e) <= 2 exp(-2 n e^2) (Massart
    1990, Ann. Probab. 18), solved for e at `ALPHA`. It is the Kolmogorov-Smirnov test with a bound that is exact for
    every n; for a single proportion it is Hoeffding's inequality.
    """
    return math.sqrt(math.log(2 / ALPHA) / (2 * n))


def distributed(draws: torch.Tensor, cdf: Cdf, what: str, *, rounding: float = 0.0) -> None:
    """Require the elements of `draws` to be independent draws from the continuous distribution function `cdf`, which
    rounding to the dtype moves by at most `rounding` at any point."""
    values = _float64(draws)
    values = values.sort().values
    n = len(values)
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    expected = cdf(values)
    distance = float(torch.maximum(steps[1:] - expected, expected - steps[:-1]).max())
    allowed = band(n) + rounding
    assert distance <= allowed, f"{what}: Kolmogorov-Smirnov distance {distance:.4f} > {allowed:.4f} for n = {n}"


def share(found: float, expected: float, n: int, what: str) -> None:
    """Require the proportion `found` of n independent draws to be `expected`, within chance."""
    allowed = band(n)
    assert abs(found - expected) <= allowed, f"{what}: {found:.4f}, expected {expected} ± {allowed:.4f}"


def within(draws: torch.Tensor, low: float, high: float, what: str) -> None:
    """Require every element to lie in [low, high]."""
    found = (float(draws.detach().min()), float(draws.detach().max()))
    assert low <= found[0] <= found[1] <= high, f"{what}: range {found} is not within [{low}, {high}]"


def reaches(draws: torch.Tensor, edge: float, cdf: Cdf, what: str) -> None:
    """Require an element below -edge and one above edge, where a right sample has one with probability 1 - `ALPHA`."""
    values = _float64(draws)
    low, high = (float(p) for p in cdf(torch.tensor([-edge, edge], dtype=torch.float64)))
    for beyond, probability in ((int((values < -edge).sum()), low), (int((values > edge).sum()), 1 - high)):
        surely_seen = len(values) * probability > -math.log(ALPHA)  # (1-p)^n <= exp(-np)
        assert beyond or not surely_seen, f"{what}: no element beyond ±{edge:.4g} in {len(values)} draws"


def uniform_cdf(low: float, high: float) -> Cdf:
    return lambda x: ((x - low) / (high - low)).clamp(0, 1)


def normal_cdf(mean: float, std: float) -> Cdf:
    return lambda x: torch.special.ndtr((x - mean) / std)


def truncated_normal_cdf(mean: float, std: float, low: float, high: float) -> Cdf:
    below, above = (float(torch.special.ndtr(torch.tensor((edge - mean) / std))) for edge in (low, high))
    return lambda x: ((torch.special.ndtr((x - mean) / std) - below) / (above - below)).clamp(0, 1)


def draw(operation: Callable[[], object], weight: torch.Tensor, *, fill: float = math.nan) -> torch.Tensor:
    """Call `operation` until it has written enough independent elements into `weight`.

    Before every call the weight is filled with `fill`. With NaN, an operation that leaves an element unwritten fails.
    Large weights are thinned.

    Returns:
        A flat tensor of at least 4096 elements, in the weight's dtype, on the CPU.
    """
    parts: list[torch.Tensor] = []
    while sum(part.numel() for part in parts) < 4096:
        with torch.no_grad():
            weight.fill_(fill)
        operation()
        unwritten = int(weight.detach().isnan().sum()) if math.isnan(fill) else 0
        assert not unwritten, f"{unwritten} of {weight.numel()} elements were never written"
        parts.append(thinned(weight.detach(), _DRAWS).cpu())
    return torch.cat(parts)


def thinned(tensor: torch.Tensor, most: int) -> torch.Tensor:
    """About `most` elements of a large tensor, flat: both ends, and every k-th element between them. k is odd. Sizes
    and the widths of vector registers are powers of two, so an even k would miss some lanes."""
    flat = tensor.reshape(-1)
    if flat.numel() <= most:
        return flat.clone()
    end = most // 16
    return torch.cat([flat[:end], flat[end:-end][:: (flat.numel() // most) | 1], flat[-end:]])


def _float64(draws: torch.Tensor) -> torch.Tensor:
    return draws.detach().reshape(-1).to("cpu", torch.float64)
