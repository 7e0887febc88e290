"""What the modules of a model hold besides parameters, buffers and modules."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FunctionType, MethodType, ModuleType

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

REGISTERED = ("_parameters", "_buffers", "_modules")
"""The attributes of a module that hold what is registered."""

Number = bool | int | float | complex | np.generic

OPAQUE = (type, ModuleType, RemovableHandle)
"""What is not looked into. A handle has a number that is never the same again."""

MACHINERY = ("torch._dynamo", "torch._C", "torch.jit")
"""Where the classes are by which torch compiles, besides those of ``torch`` itself. They hold what the process was set
to, and weights that are unused."""


@dataclass(frozen=True)
class Held:
    """What can be reached from the plain attributes of modules, by name.

    Attributes:
        tensors: tensors, and arrays of NumPy as tensors with the same memory.
        numbers: numbers, apart from `training`.
        on_meta: the attributes that are the device ``meta``, or a set with tensors on it.
    """

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    numbers: dict[str, Number] = field(default_factory=dict)
    on_meta: set[str] = field(default_factory=set)


def held(model: nn.Module) -> Held:
    """What the modules of `model` hold in plain attributes. It is looked for in containers other than sets, in what
    functions have bound, in objects, and in modules that are hidden in these. No code of the user runs."""
    found = Held()
    modules = dict(model.named_modules())
    seen = set(map(id, modules.values()))
    waiting = [
        (f"{prefix}.{name}" if prefix else name, value)
        for prefix, module in modules.items()
        for name, value in vars(module).items()
        if name not in (*REGISTERED, "training")
    ]
    waiting.reverse()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, torch.Tensor):
            found.tensors[name] = value
        elif isinstance(value, Number):
            found.numbers[name] = value
        elif isinstance(value, torch.device):
            found.on_meta.update({name} if value.type == "meta" else ())
        elif isinstance(value, set | frozenset):  # which has no order
            found.on_meta.update(
                {name} if any(isinstance(each, torch.Tensor) and each.is_meta for each in value) else ()
            )
        elif isinstance(value, np.ndarray):
            found.tensors.update((name, tensor) for tensor in _of_array(value))
        elif id(value) not in seen and not _is_opaque(value):
            seen.add(id(value))
            waiting += reversed([*_inside(name, value)])
    return found


def _is_opaque(value: object) -> bool:
    place = type(value).__module__
    return isinstance(value, OPAQUE) or place == "torch" or place.startswith(MACHINERY)


def _of_array(array: np.ndarray) -> Iterator[torch.Tensor]:
    """An array as a tensor; nothing for one of text or objects, or with negative strides."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of one that is read-only
            yield torch.from_numpy(array)
    except (TypeError, ValueError):
        return


def _inside(name: str, value: object) -> Iterator[tuple[str, object]]:
    """The parts of a value, with their names."""
    if isinstance(value, dict):
        numbered = name.endswith("_hooks")  # the keys are numbers that are never the same again
        for place, (key, part) in enumerate(value.items()):
            yield f"{name}[{key if isinstance(key, str | int) and not numbered else place!r}]", part
    elif isinstance(value, list | tuple):
        yield from ((f"{name}[{place}]", part) for place, part in enumerate(value))
    elif isinstance(value, FunctionType):
        for variable, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            with_value = (part for part in (cell,) if _is_filled(part))
            yield from ((f"{name}.{variable}", part.cell_contents) for part in with_value)
        yield f"{name}.__defaults__", value.__defaults__
        yield f"{name}.__kwdefaults__", value.__kwdefaults__
    elif isinstance(value, MethodType):
        yield f"{name}.__self__", value.__self__
        yield f"{name}.__func__", value.__func__
    elif isinstance(value, functools.partial):
        yield from ((f"{name}.{part}", getattr(value, part)) for part in ("func", "args", "keywords"))
    elif isinstance(value, nn.Module):
        for part in (*(vars(value).get(kind, {}) for kind in REGISTERED), vars(value)):
            yield from ((f"{name}.{key}", each) for key, each in part.items() if key not in REGISTERED)
    else:
        yield from ((f"{name}.{key}", part) for key, part in _attributes(value))


def _is_filled(cell: object) -> bool:
    try:
        cell.cell_contents  # type: ignore[attr-defined]  # noqa: B018 - it raises
    except ValueError:
        return False
    return True


def _attributes(value: object) -> Iterator[tuple[str, object]]:
    """The attributes of an object, without those that a property computes."""
    yield from list(getattr(value, "__dict__", {}).items())
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            member = vars(kind).get(name)
            if type(member).__name__ == "member_descriptor" and hasattr(value, name):
                yield name, getattr(value, name)
