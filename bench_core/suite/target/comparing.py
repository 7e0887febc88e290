"""How two models differ."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from bench_core.suite.oracles import tied
from bench_core.suite.target import memory
from bench_core.suite.target.attributes import Held, held

NAMED = 3
"""How many names of a kind of difference are listed."""

Difference = tuple[str, str]
"""A name, and how what it names differs."""


@dataclass(frozen=True)
class _Tensors:
    """All tensors of a model by name, one with several names under each of them.

    Attributes:
        parameters: those that `named_parameters` yields.
        buffers: those that `named_buffers` yields.
        attributes: tensors in plain attributes of modules: `bench_core.suite.target.attributes`.
        saved: the names that are no buffers with ``persistent=False``.
    """

    parameters: Mapping[str, torch.Tensor]
    buffers: Mapping[str, torch.Tensor]
    attributes: Mapping[str, torch.Tensor]
    saved: frozenset[str]

    @property
    def all(self) -> dict[str, torch.Tensor]:
        return {**self.parameters, **self.buffers, **self.attributes}


def differences(found: nn.Module, expected: nn.Module, again: Callable[[], nn.Module] | None = None) -> str:
    """How `found` differs from `expected`, in one line; "" if it does not.

    Compared are the modules and their training flags; the names of all parameters and buffers in their order, their
    classes, devices, dtypes, shapes, strides, ``requires_grad``, hooks, attributes and values bit for bit; which
    buffers a state dict holds; which names are one tensor, and which tensors share memory; and the tensors and numbers
    in plain attributes of modules. Neither a state dict nor a strict load shows all of this.

    Args:
        again: makes `expected` once more. A number that is then another one, such as one that counts modules, is not
            compared. It is called if a number differs.
    """
    of_found, of_expected = held(found), held(expected)
    one, other = _tensors(found, of_found.tensors), _tensors(expected, of_expected.tensors)
    lines = [
        *_in_names("parameters", list(one.parameters), list(other.parameters)),
        *_in_names("buffers", list(one.buffers), list(other.buffers)),
        *_in_names("tensors", sorted(one.attributes), sorted(other.attributes)),
        *_in_tensors(one, other),
        *_in_ties(one.all, other.all),
        *_in_modules(found, expected),
        *_in_numbers(of_found, of_expected, again),
    ]
    return summary(lines)


def _in_numbers(found: Held, expected: Held, again: Callable[[], nn.Module] | None) -> Iterator[Difference]:
    given, wanted = found.numbers, expected.numbers
    differing = {name for name in wanted if name in given and repr(given[name]) != repr(wanted[name])}
    if differing and again is not None:
        once_more = held(again()).numbers
        differing = {name for name in differing if repr(once_more.get(name)) == repr(wanted[name])}
    for name in sorted(differing):
        yield name, f"{given[name]}, expected {wanted[name]}"
    for name in sorted(found.on_meta - expected.on_meta):
        yield name, "on meta"


def summary(lines: Iterable[Difference]) -> str:
    """One part for each kind of difference, with the first names that differ so."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for name, what in lines:
        kinds[what].append(name)
    return "; ".join(f"{_some(names)}: {what}" for what, names in kinds.items())


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


# ------------------------------------------------------------------------------------------------------------- modules


def _in_modules(found: nn.Module, expected: nn.Module) -> Iterator[Difference]:
    one, other = (dict(model.named_modules(remove_duplicate=False)) for model in (found, expected))
    yield from _in_names("modules", list(one), list(other))
    for name, module in other.items():
        if name in one:
            for what in _in_module(one[name], module):
                yield name or "the model", what


def _in_module(found: nn.Module, expected: nn.Module) -> Iterator[str]:
    # By name: a parametrized module has a class of its own.
    one, other = (f"{type(module).__module__}.{type(module).__qualname__}" for module in (found, expected))
    if one != other:
        yield f"class {one}, expected {other}"
    if found.training != expected.training:
        yield f"training={found.training}, expected {expected.training}"
    if (hooks := _hooks(vars(found))) != (wanted := _hooks(vars(expected))):
        yield f"{_counted(hooks)}, expected {_counted(wanted)}"


def _hooks(attributes: Mapping[str, Any]) -> Counter[str]:
    """How many hooks a module or tensor has, by the attribute that holds them."""
    return Counter({name: len(each) for name, each in attributes.items() if name.endswith("_hooks") and each})


def _counted(hooks: Counter[str]) -> str:
    return ", ".join(f"{count} in {name}" for name, count in sorted(hooks.items())) or "no hooks"


def _in_names(kind: str, found: list[str], expected: list[str]) -> Iterator[Difference]:
    given, wanted = set(found), set(expected)
    for name in expected:
        if name not in given:
            yield name, "missing"
    for name in found:
        if name not in wanted:
            yield name, "not expected"
    if given == wanted and found != expected:
        yield kind, "in another order"


# ------------------------------------------------------------------------------------------------------------- tensors


def _tensors(model: nn.Module, attributes: Mapping[str, torch.Tensor]) -> _Tensors:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = dict(model.named_buffers(remove_duplicate=False))
    unsaved: set[str] = set()
    for prefix, module in model.named_modules(remove_duplicate=False):
        before = f"{prefix}." if prefix else ""
        unsaved.update(before + name for name in module._non_persistent_buffers_set)
    return _Tensors(parameters, buffers, attributes, frozenset({*parameters, *buffers} - unsaved))


def _in_tensors(found: _Tensors, expected: _Tensors) -> Iterator[Difference]:
    given = found.all
    for name, tensor in expected.all.items():
        if name not in given or given[name] is tensor:
            continue
        for what in _in_tensor(given[name], tensor):
            yield name, what
        if name not in expected.attributes and (name in found.saved) != (name in expected.saved):
            kinds = ("not persistent", "persistent")
            yield name, f"{kinds[name in found.saved]}, expected {kinds[name in expected.saved]}"


def _in_tensor(found: torch.Tensor, expected: torch.Tensor) -> Iterator[str]:
    if is_lazy(found) or is_lazy(expected):
        if is_lazy(found) != is_lazy(expected):
            yield "lazy, without values" if is_lazy(found) else "materialized, expected lazy"
        return
    if found.is_meta and not expected.is_meta:
        yield "on meta, without values"
        return
    for what in ("dtype", "device", "requires_grad", "layout"):
        one, other = getattr(found, what), getattr(expected, what)
        if one != other:
            yield f"{what} {one}, expected {other}"
    if (one := type(found).__qualname__) != (other := type(expected).__qualname__):
        yield f"class {one}, expected {other}"
    if found.shape != expected.shape:
        yield f"shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
        return
    if (hooks := _tensor_hooks(found)) != (wanted := _tensor_hooks(expected)):
        yield f"{_counted(hooks)}, expected {_counted(wanted)}"
    if lost := sorted(set(vars(expected)) - set(vars(found)) - OF_TORCH):
        yield f"without the attributes {', '.join(lost)}"
    if (found.layout, found.dtype, found.device) != (expected.layout, expected.dtype, expected.device):
        return
    if _strides(found) != _strides(expected):
        yield f"strides {found.stride()}, expected {expected.stride()}"
    if _surplus(found) and not _surplus(expected):
        yield "a view of more memory, which is saved with it"
    if not expected.is_meta and not same_bits(found, expected):
        yield "other values"


OF_TORCH = frozenset({"_is_buffer", "persistent"})
"""Attributes that torch sets on a tensor that becomes a buffer, and reads only then."""


def _tensor_hooks(tensor: torch.Tensor) -> Counter[str]:
    return _hooks({name: getattr(tensor, name, None) for name in ("_backward_hooks", "_post_accumulate_grad_hooks")})


def _strides(tensor: torch.Tensor) -> tuple[int, ...]:
    """The strides of dimensions in which there is a step to take."""
    if tensor.layout is not torch.strided or not tensor.numel():
        return ()
    return tuple(stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1)


def _surplus(tensor: torch.Tensor) -> bool:
    """Whether the tensor is a view of more memory than it needs."""
    place = memory.region(tensor)
    return place is not None and tensor.untyped_storage().nbytes() > place.end - place.start


def same_bits(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two tensors of one shape, dtype and device have the same values, bit for bit."""
    if found.layout is not torch.strided:
        found, expected = found.to_dense(), expected.to_dense()
    if found.is_quantized:
        return torch.equal(found, expected)
    return torch.equal(bits(found), bits(expected))


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """The elements as integers, so that -0.0 is not 0.0, and a NaN equals itself."""
    plain = tensor.detach().resolve_conj().resolve_neg()
    if plain.is_complex():
        plain = torch.view_as_real(plain)
    return plain.view({1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[plain.element_size()])


# ---------------------------------------------------------------------------------------------------------------- ties


def _in_ties(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> Iterator[Difference]:
    """Names that are one tensor in one of the models only, and tensors that share memory in one only."""
    common = [name for name in expected if name in found]
    given, wanted = ({name: model[name] for name in common} for model in (found, expected))
    reported: set[str] = set()
    for group, what in _in_groups(tied(given), tied(wanted), "one tensor"):
        reported.update(group)
        yield _joined(group), what
    with_values = [name for name in common if given[name].is_meta == wanted[name].is_meta]
    given, wanted = ({name: model[name] for name in with_values} for model in (given, wanted))
    for group, what in _in_groups(memory.sharing(given), memory.sharing(wanted), "in one memory"):
        if reported.isdisjoint(group):
            yield _joined(group), what


def _in_groups(
    found: Iterable[tuple[str, ...]], expected: Iterable[tuple[str, ...]], what: str
) -> Iterator[tuple[tuple[str, ...], str]]:
    given, wanted = list(found), list(expected)
    for group in wanted:
        if group not in given:
            yield group, f"no longer {what}"
    for group in given:
        if group not in wanted and not any(set(group) < set(whole) for whole in wanted):
            yield group, f"{what}, which is not expected"


def _joined(names: tuple[str, ...]) -> str:
    shown = names if len(names) <= NAMED else (*names[:NAMED], f"{len(names) - NAMED} more")
    return " and ".join(shown)
