"""Whether a model that went a way is the one that it should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from bench_core.suite import oracles
from bench_core.suite.target import differences
from bench_core.suite.target.comparing import summary

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


def loaded(found: nn.Module, expected: nn.Module) -> Checked:
    """Whether a loaded model is `expected`, bit for bit."""
    return Checked(differences(found, expected))


def initialized(found: nn.Module, expected: nn.Module) -> Checked:
    """Whether an initialized model is like `expected`: the same but for the random numbers in its parameters. Those of
    each parameter are compared by their distributions; a false alarm has a probability of at most 2 `oracles.ALPHA` for
    each parameter. `found` gets the values of `expected`.

    A parameter that nothing was written to is found if memory without values is NaN: see `lazy.poisoned_memory`.
    """
    if not differences(found, expected):
        return Checked()
    wanted = dict(expected.named_parameters())
    pairs = {name: (one, wanted[name]) for name, one in found.named_parameters() if name in wanted}
    odd = dict(_odd(pairs))
    with torch.no_grad():
        for one, other in pairs.values():
            if one.shape == other.shape and not one.is_meta:
                one.copy_(other)
    rest = differences(found, expected)
    if not odd:
        return Checked(rest, others=not rest)
    return Checked("; ".join(each for each in (summary(odd.items()), rest) if each))


def _odd(pairs: dict[str, tuple[nn.Parameter, nn.Parameter]]) -> Iterator[tuple[str, str]]:
    for name, (found, expected) in pairs.items():
        if found.is_meta or found.shape != expected.shape or not found.numel() or not found.is_floating_point():
            continue  # `differences` reports what is wrong there
        one, other = (oracles.thinned(each.detach(), THINNED).to("cpu", torch.float64) for each in (found, expected))
        if bool(one.isnan().any()) and not bool(other.isnan().any()):
            yield name, "not initialized"
        elif _constant(one) != _constant(other) or (_constant(one) and bool(one[0] != other[0])):
            yield name, "other values than the constructor gives it"
        elif _distance(one, other) > 2 * oracles.band(one.numel()):
            yield name, "another distribution than the constructor draws from"


def _constant(values: torch.Tensor) -> bool:
    return values.numel() > 1 and bool((values == values[0]).all())


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest distance of the two empirical distribution functions (Kolmogorov-Smirnov)."""
    first, second = one.sort().values, other.sort().values
    places = torch.cat([first, second])
    shares = [torch.searchsorted(each, places, right=True) / each.numel() for each in (first, second)]
    return float((shares[0] - shares[1]).abs().max())
