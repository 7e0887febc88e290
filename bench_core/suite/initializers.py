"""The in-place initializers of `torch.nn.init`, each with a check of the distribution that its docstring promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from bench_core.suite import oracles

Check = Callable[[torch.Tensor, Callable[[], object]], None]


@dataclass(frozen=True)
class Initializer:
    """One way to overwrite a weight.

    Attributes:
        apply: initializes the tensor in place.
        check: takes the weight and a call that initializes it. Raises `AssertionError` if the outcome is not what the
            initializer promises.
        draws: how many random numbers it must draw for each element.
        cubic: whether its cost grows with the third power of the weight's side.
        dtypes: the dtypes that torch implements it for.
    """

    apply: Callable[[torch.Tensor], object]
    check: Check
    draws: int = 0
    cubic: bool = False
    dtypes: tuple[str, ...] = ("float32", "bfloat16")


def rounding(weight: torch.Tensor) -> float:
    """The most that rounding to the weight's dtype moves the distribution function: one unit in the last place, 2^-7
    for bfloat16. The density per relative step must be at most 1."""
    return float(torch.finfo(weight.dtype).eps)


def random(
    cdf: Callable[[torch.Tensor], oracles.Cdf],
    *,
    support: tuple[float, float] = (-math.inf, math.inf),
    tail: Callable[[torch.Tensor], float] | None = None,
) -> Check:
    """Check that elements are drawn from `cdf(weight)`, stay inside `support`, and go beyond `tail(weight)`. A test of
    the whole distribution misses a `normal_` that never leaves 3.5 standard deviations (pytorch/pytorch#166853)."""

    def check(weight: torch.Tensor, initialize: Callable[[], object]) -> None:
        drawn = oracles.draw(initialize, weight)
        slack = 1 + rounding(weight)
        oracles.within(weight, support[0] * slack, support[1] * slack, "support")
        oracles.distributed(drawn, cdf(weight), "distribution", rounding=rounding(weight))
        if tail is not None:
            oracles.reaches(drawn, tail(weight), cdf(weight), "tail")

    return check


def constant(value: float) -> Check:
    """Check that every element is `value`."""

    def check(weight: torch.Tensor, initialize: Callable[[], object]) -> None:
        oracles.filled_with(oracles.draw(initialize, weight), value, "elements")

    return check


def fans(weight: torch.Tensor) -> tuple[int, int]:
    """(fan-in, fan-out): the number of inputs and of outputs of one unit of the layer."""
    field = math.prod(weight.shape[2:])
    return weight.shape[1] * field, weight.shape[0] * field


def _xavier_std(weight: torch.Tensor) -> float:
    return math.sqrt(2 / sum(fans(weight)))


def _kaiming_std(weight: torch.Tensor) -> float:
    return math.sqrt(2 / fans(weight)[0])


def _uniform(std: Callable[[torch.Tensor], float]) -> Callable[[torch.Tensor], oracles.Cdf]:
    return lambda weight: oracles.uniform_cdf(-math.sqrt(3) * std(weight), math.sqrt(3) * std(weight))


def normal(std: Callable[[torch.Tensor], float]) -> Check:
    """Check for N(0, std(weight))."""
    return random(lambda weight: oracles.normal_cdf(0, std(weight)), tail=lambda weight: 3.5 * std(weight))


def poisoned(weight: torch.Tensor) -> None:
    """Make every element NaN, so that elements that are not written show."""
    with torch.no_grad():
        weight.fill_(math.nan)


def check_orthogonal(weight: torch.Tensor, initialize: Callable[[], object]) -> None:
    """Check that the rows (or the columns, if there are fewer) are orthonormal, and not simply the identity."""
    poisoned(weight)
    initialize()
    found = weight.detach().flatten(1)
    small = found if found.shape[0] <= found.shape[1] else found.T
    side = len(small)
    error = float((small @ small.T - torch.eye(side, device=small.device)).abs().max())
    assert error < 1e-4, f"products of rows differ from the identity by {error:.1e}"
    moved = float((small - torch.eye(*small.shape, device=small.device)).abs().max())
    assert moved > 1e-3, "the rows are those of the identity"


SPARSITY = 0.1
"""The share of each column that `sparse_` sets to zero."""

SPARSE_STD = 0.01
"""The standard deviation of the other elements."""


def check_sparse(weight: torch.Tensor, initialize: Callable[[], object]) -> None:
    """Check that ceil(0.1 rows) elements of each column are zero, and the others are N(0, 0.01), which rarely draws a
    zero."""
    poisoned(weight)
    initialize()
    found = weight.detach()
    expected = math.ceil(SPARSITY * found.shape[0])
    zeros = (found == 0).sum(0)
    drawn_zeros = int((zeros - expected).sum())
    least, most = int(zeros.min()), int(zeros.max())
    wrong = least < expected or drawn_zeros > 1e-5 * found.numel()
    assert not wrong, f"zeros in a column: {least} to {most}, expected {expected}"
    nonzero = oracles.draw(initialize, weight)
    nonzero = nonzero[nonzero != 0]
    oracles.distributed(nonzero, oracles.normal_cdf(0, SPARSE_STD), "nonzero elements", rounding=rounding(weight))


def check_eye(weight: torch.Tensor, initialize: Callable[[], object]) -> None:
    """Check for ones on the diagonal and zeros elsewhere."""
    poisoned(weight)
    initialize()
    rows, columns = weight.shape
    expected = torch.eye(rows, columns, dtype=weight.dtype, device=weight.device)
    oracles.identical(weight, expected, "weight")


def check_dirac(weight: torch.Tensor, initialize: Callable[[], object]) -> None:
    """Check that the convolution passes its first input channels through unchanged."""
    poisoned(weight)
    initialize()
    found = weight.detach()
    expected = torch.zeros_like(found)
    for channel in range(min(found.shape[:2])):
        middle = (channel, channel, *(side // 2 for side in found.shape[2:]))
        expected[middle] = 1
    oracles.identical(found, expected, "weight")


INITIALIZERS: dict[str, Initializer] = {
    "zeros_": Initializer(nn.init.zeros_, constant(0)),
    "ones_": Initializer(nn.init.ones_, constant(1)),
    "constant_": Initializer(lambda weight: nn.init.constant_(weight, 0.3), constant(0.3)),
    "uniform_": Initializer(nn.init.uniform_, random(lambda _: oracles.uniform_cdf(0, 1), support=(0, 1)), draws=1),
    "normal_": Initializer(lambda weight: nn.init.normal_(weight, 0, 0.01), normal(lambda _: 0.01), draws=1),
    "trunc_normal_": Initializer(
        nn.init.trunc_normal_, random(lambda _: oracles.truncated_normal_cdf(0, 1, -2, 2), support=(-2, 2)), draws=1
    ),
    "xavier_uniform_": Initializer(nn.init.xavier_uniform_, random(_uniform(_xavier_std)), draws=1),
    "xavier_normal_": Initializer(nn.init.xavier_normal_, normal(_xavier_std), draws=1),
    "kaiming_uniform_": Initializer(
        lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"), random(_uniform(_kaiming_std)), draws=1
    ),
    "kaiming_normal_": Initializer(
        lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"), normal(_kaiming_std), draws=1
    ),
    "orthogonal_": Initializer(nn.init.orthogonal_, check_orthogonal, draws=1, cubic=True, dtypes=("float32",)),
    "sparse_": Initializer(lambda weight: nn.init.sparse_(weight, SPARSITY, SPARSE_STD), check_sparse, draws=1),
    "eye_": Initializer(nn.init.eye_, check_eye),
    "dirac_": Initializer(nn.init.dirac_, check_dirac),
}

DRAWS = {name: initializer.draws for name, initializer in INITIALIZERS.items() if initializer.draws}


def my_init(module: nn.Module) -> None:
    """The notebook's custom initializer: U(-10, 10), then 0 for elements whose magnitude is below 5."""
    if isinstance(module, nn.Linear):
        nn.init.uniform_(module.weight, -10, 10)
        module.weight.data *= module.weight.data.abs() >= 5


def check_masked(weight: torch.Tensor, initialize: Callable[[], object], *, negative_zeros: bool) -> None:
    """Check for 0 with probability 1/2, and for U(5, 10) and U(-10, -5) with probability 1/4 each. With
    `negative_zeros`, a masked negative draw becomes -0.0 (a product with False keeps the sign), so that half of the
    zeros are negative. Without, none is."""
    drawn = oracles.draw(initialize, weight)
    n = drawn.numel()
    zero = drawn == 0
    oracles.share(float(zero.double().mean()), 0.5, n, "zeros")
    oracles.share(float((drawn > 0).double().mean()), 0.25, n, "positive elements")
    negative = float((zero & drawn.signbit()).double().mean())
    oracles.share(negative, 0.25 if negative_zeros else 0.0, n, "negative zeros")
    if not negative_zeros:
        assert negative == 0, "there are negative zeros"
    magnitude = drawn[~zero].abs()
    oracles.within(magnitude, 5, 10 * (1 + rounding(weight)), "magnitude of nonzero elements")
    oracles.distributed(magnitude, oracles.uniform_cdf(5, 10), "magnitude", rounding=rounding(weight))


# Ways to do the job of `my_init`:


@torch.no_grad()
def masked_as_written(weight: torch.Tensor) -> None:
    nn.init.uniform_(weight, -10, 10)
    weight.data *= weight.data.abs() >= 5


@torch.no_grad()
def masked_in_place(weight: torch.Tensor) -> None:
    """The same arithmetic without a float temporary: two comparisons of booleans instead of `abs`."""
    weight.uniform_(-10, 10)
    weight.mul_((weight >= 5).logical_or_(weight <= -5))


@torch.no_grad()
def masked_masked_fill(weight: torch.Tensor) -> None:
    weight.uniform_(-10, 10)
    weight.masked_fill_(weight.abs() < 5, 0)


@torch.no_grad()
def masked_where(weight: torch.Tensor) -> None:
    weight.uniform_(-10, 10)
    weight.copy_(torch.where(weight.abs() >= 5, weight, 0))


@torch.no_grad()
def masked_sign_bernoulli_uniform(weight: torch.Tensor) -> None:
    """Three draws: U(5, 10), times a random sign, kept with probability 1/2."""
    sign = torch.empty_like(weight).bernoulli_(0.5).mul_(2).sub_(1)
    keep = torch.empty_like(weight, dtype=torch.bool).bernoulli_(0.5)
    weight.uniform_(5, 10).mul_(sign).masked_fill_(keep.logical_not_(), 0)


@torch.no_grad()
def trunc_normal_by_inverse_cdf(weight: torch.Tensor) -> None:
    """N(0, 1) cut at -2 and 2, as torch did it before 2.12: the inverse distribution function of a uniform draw."""
    edge = math.erf(2 / math.sqrt(2))
    weight.uniform_(-edge, edge).erfinv_().mul_(math.sqrt(2)).clamp_(-2, 2)


# Ways to set every parameter to zero:


def zero_loop_nn_init(parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        nn.init.zeros_(parameter)


@torch.no_grad()
def zero_loop_no_grad(parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.zero_()


def zero_loop_data(parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.data.zero_()


@torch.no_grad()
def zero_foreach(parameters: list[torch.Tensor]) -> None:
    torch._foreach_zero_(parameters)


# The same edits while torch has a default device:


def _set_default_device(parameters: list[nn.Parameter], device: str) -> None:
    torch.set_default_device(device)
    try:
        zero_loop_no_grad(parameters)
    finally:
        torch.set_default_device(None)


def _torch_device(parameters: list[nn.Parameter], device: str) -> None:
    with torch.device(device):
        zero_loop_no_grad(parameters)


DEFAULT_DEVICES: dict[str, Callable[[list[nn.Parameter], str], None]] = {
    "no_default_device": lambda parameters, _device: zero_loop_no_grad(parameters),
    "set_default_device": _set_default_device,
    "torch_device": _torch_device,
}
"""Each zeroes parameters in a loop, and leaves no default device behind."""


# Ways to edit a parameter directly:


def add_one_data(weight: nn.Parameter) -> None:
    weight.data[:] += 1


@torch.no_grad()
def add_one_no_grad(weight: nn.Parameter) -> None:
    weight[:] += 1


def add_one_detach(weight: nn.Parameter) -> None:
    weight.detach()[:] += 1


def set_element_data(weight: nn.Parameter) -> None:
    weight.data[0, 0] = 42


@torch.no_grad()
def set_element_no_grad(weight: nn.Parameter) -> None:
    weight[0, 0] = 42


def set_element_detach(weight: nn.Parameter) -> None:
    weight.detach()[0, 0] = 42
