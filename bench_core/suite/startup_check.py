"""Whether a model that went a way is the one that it should be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from bench_core.suite import oracles
from bench_core.suite.target import differences
from bench_core.suite.target.comparing import bits, same_bits, summary

Build = Callable[[], nn.Module]

THINNED = 1 << 14
"""So many elements of a parameter show its distribution: enough to see a distance of 0.05 between two."""


@dataclass(frozen=True)
class Checked:
    """What a check has found.

    Attributes:
        wrong: how the model differs from the plain way's; "" if it is as good.
        others: whether its parameters have other random numbers, from the same distributions.
    """

    wrong: str = ""
    others: bool = False


def loaded(found: nn.Module, expected: nn.Module, again: Build | None = None) -> Checked:
    """Whether a loaded model is `expected`, bit for bit.

    Args:
        again: as for `differences`.
    """
    return Checked(differences(found, expected, again))


def initialized(found: nn.Module, expected: nn.Module, otherwise: Build | None = None) -> Checked:
    """Whether an initialized model is like `expected`: the same but for the random numbers in its parameters. Those of
    each parameter are compared by their distributions; a false alarm has a probability of at most 2 `oracles.ALPHA` for
    each parameter. `found` gets the values of `expected`.

    A parameter that nothing was written to is found if memory without values is NaN: see `lazy.poisoned_memory`.

    Args:
        otherwise: makes `expected` from another seed. What is the same then is not drawn, and is compared bit for bit:
            whole parameters, and rows of them.
    """
    if not differences(found, expected):
        return Checked()
    other = otherwise() if otherwise else None
    given, wanted, drawn = (
        dict(model.named_parameters()) if model is not None else {} for model in (found, expected, other)
    )
    pairs = {name: (one, wanted[name]) for name, one in given.items() if name in wanted}
    if all(name not in drawn or _equal(each, drawn[name]) for name, each in wanted.items()):
        drawn = {}  # the builder seeds the generators itself
    odd = {
        name: what
        for name, (one, expectation) in pairs.items()
        if (what := _odd(one.detach(), expectation.detach(), drawn.get(name)))
    }
    with torch.no_grad():
        for one, expectation in pairs.values():
            if one.shape == expectation.shape and not one.is_meta:
                one.copy_(expectation)
    rest = differences(found, expected, None if other is None else lambda: other)
    if not odd:
        return Checked(rest, others=not rest)
    return Checked("; ".join(each for each in (summary(odd.items()), rest) if each))


def _odd(found: torch.Tensor, expected: torch.Tensor, drawn: torch.Tensor | None) -> str:
    """How the values of a parameter are none that the constructor gives it; "" if they may be, and for what has no
    values, of which `differences` reports what is wrong.

    Args:
        drawn: the values from another seed; None if they are unknown.
    """
    if found.is_meta or is_lazy(found) or found.shape != expected.shape or not found.numel():
        return ""
    if found.dtype != expected.dtype or found.layout is not torch.strided or found.is_quantized:
        return ""
    if _equal(found, expected):
        return ""
    if drawn is not None and drawn.shape == expected.shape and not _fixed_as(found, expected, drawn.detach()):
        nothing = found.is_floating_point() and bool(found.isnan().any()) and not bool(expected.isnan().any())
        return "not initialized" if nothing else OTHER_VALUES
    one, other = (_numbers(oracles.thinned(each, THINNED)) for each in (found, expected))
    if bool(one.isnan().any()) and not bool(other.isnan().any()):
        return "not initialized"
    if _constant(one) != _constant(other) or (_constant(one) and bool(one[0] != other[0])):
        return OTHER_VALUES
    if _distance(one, other) > 2 * oracles.band(one.numel()):
        return "another distribution than the constructor draws from"
    return ""


OTHER_VALUES = "other values than the constructor gives it"

CERTAIN_BITS = 20
"""Values that are the same from two seeds are not drawn if they hold so many random bits, which two draws share once
in a million times."""


def _fixed_as(found: torch.Tensor, expected: torch.Tensor, drawn: torch.Tensor) -> bool:
    """Whether `found` has the values of `expected` that are not drawn: all, or those of whole rows."""
    if _equal(expected, drawn):
        return expected.numel() * _random_bits(expected.dtype) < CERTAIN_BITS
    rows = expected.shape[0] if expected.dim() > 1 else 0
    if not rows or expected[0].numel() * _random_bits(expected.dtype) < 3 * CERTAIN_BITS:  # there are many rows
        return True
    one, other, third = (bits(each).reshape(rows, -1) for each in (found, expected, drawn))
    fixed = (other == third).all(1)
    return not bool(fixed.any()) or torch.equal(one[fixed], other[fixed])


def _random_bits(dtype: torch.dtype) -> float:
    """About how many bits of a number with this dtype are random if it is drawn."""
    return -math.log2(torch.finfo(dtype).eps) if dtype.is_floating_point or dtype.is_complex else 1


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    if is_lazy(one) or is_lazy(other) or one.shape != other.shape or one.dtype != other.dtype:
        return False
    return one.is_meta == other.is_meta and (one.is_meta or same_bits(one, other))


def _numbers(values: torch.Tensor) -> torch.Tensor:
    """The elements as numbers of double precision, the parts of complex ones after each other."""
    parts = torch.view_as_real(values.resolve_conj()) if values.is_complex() else values
    return parts.reshape(-1).to("cpu", torch.float64)


def _constant(values: torch.Tensor) -> bool:
    return values.numel() > 1 and bool((values == values[0]).all())


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest distance of the two empirical distribution functions (Kolmogorov-Smirnov)."""
    first, second = one.sort().values, other.sort().values
    places = torch.cat([first, second])
    shares = [torch.searchsorted(each, places, right=True) / each.numel() for each in (first, second)]
    return float((shares[0] - shares[1]).abs().max())
