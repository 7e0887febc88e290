"""Which memory tensors lie in, and what they share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass


@dataclass(frozen=True)
class Region:
    """The memory of a tensor: from `start` to before `end`, in bytes.

    Attributes:
        space: what the addresses belong to: a device, or one storage on meta, where all addresses are 0.
    """

    space: str
    start: int
    end: int


def region(tensor: torch.Tensor) -> Region | None:
    """Where a tensor lies, gaps between its elements included. None for a tensor without memory of its own that could
    be shared: a lazy, empty or sparse one, or one that wraps others."""
    if is_lazy(tensor) or tensor.layout is not torch.strided or _wraps_others(tensor) or not tensor.numel():
        return None
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    length = (last + 1) * tensor.element_size()
    if tensor.is_meta:
        start = int(tensor.storage_offset()) * tensor.element_size()
        return Region(f"meta {tensor.untyped_storage()._cdata}", start, start + length)
    return Region(str(tensor.device), tensor.data_ptr(), tensor.data_ptr() + length)


def _wraps_others(tensor: torch.Tensor) -> bool:
    return bool(is_traceable_wrapper_subclass(tensor))


def sharing(tensors: Mapping[str, torch.Tensor]) -> list[tuple[str, ...]]:
    """Groups of names whose tensors overlap in memory, in the order of the names."""
    order = {name: place for place, name in enumerate(tensors)}
    groups = [sorted((name for name, _ in group), key=order.__getitem__) for group in _overlapping(tensors)]
    return sorted((tuple(names) for names in groups if len(names) > 1), key=lambda names: order[names[0]])


def occupied(tensors: Iterable[torch.Tensor]) -> int:
    """The bytes that tensors occupy together. Memory that several share counts once."""
    distinct = {str(id(tensor)): tensor for tensor in tensors}
    shared = 0
    for group in _overlapping(distinct):
        span = max(place.end for _, place in group) - group[0][1].start
        shared += min(span, sum(size_of(distinct[name]) for name, _ in group))  # strided tensors leave gaps
    return shared + sum(size_of(tensor) for tensor in distinct.values() if region(tensor) is None)


def size_of(tensor: torch.Tensor) -> int:
    """The bytes of its elements; 0 for a lazy one."""
    return 0 if is_lazy(tensor) else tensor.numel() * tensor.element_size()


def _overlapping(tensors: Mapping[str, torch.Tensor]) -> list[list[tuple[str, Region]]]:
    """The tensors that have a region, each group sorted by its start."""
    spaces: dict[str, list[tuple[str, Region]]] = defaultdict(list)
    for name, tensor in tensors.items():
        if (place := region(tensor)) is not None:
            spaces[place.space].append((name, place))
    groups: list[list[tuple[str, Region]]] = []
    for places in spaces.values():
        end = -1
        for name, place in sorted(places, key=lambda each: each[1].start):
            if place.start >= end:
                groups.append([])
            groups[-1].append((name, place))
            end = max(end, place.end)
    return groups
