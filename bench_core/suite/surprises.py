"""What makes the same code slower on this model, or in this process, than on others: a sentence each."""

from __future__ import annotations

import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from bench_core import units
from bench_core.suite import denormals


def notes(model: nn.Module) -> tuple[str, ...]:
    """What applies to the model and to this process: denormal weights, saved views, a default device."""
    return tuple(note for note in (_denormals(model), _views(model), _default_device()) if note)


def _denormals(model: nn.Module) -> str:
    found = denormals.held(model)
    if not found:
        return ""
    return (
        f"{units.plural(sum(found.values()), 'element')} of {_names(found)} are denormal numbers, with which some "
        "processors compute many times slower (pytorch/pytorch#19651, pytorch/pytorch#21734). Zero them, or call "
        "torch.set_flush_denormal(True) before torch's first computation: later, it holds for the calling thread alone."
    )


def _views(model: nn.Module) -> str:
    """A state dict is saved with the whole memory behind each of its tensors. If all of that memory belongs to the
    model, as where all parameters are views of one buffer, a file of the whole state holds nothing else."""
    own: dict[int, dict[int, int]] = {}
    stored: dict[int, int] = {}
    behind: dict[int, str] = {}
    for name, tensor in model.state_dict().items():
        if type(tensor) is torch.Tensor and tensor.layout is torch.strided:
            storage = tensor.untyped_storage()
            key = storage._cdata
            stored[key] = storage.nbytes()
            own.setdefault(key, {})[int(tensor.storage_offset())] = tensor.nbytes  # a tied one counts once
            behind.setdefault(key, name)
    unused = {key: stored[key] - sum(parts.values()) for key, parts in own.items()}
    found = {behind[key]: size for key, size in unused.items() if size > 0}
    if not found:
        return ""
    return (
        f"{_names(found)} {'is a view' if len(found) == 1 else 'are views'} of more memory than the model uses: "
        f"torch.save writes {units.size(sum(found.values()))} more than it needs (pytorch/pytorch#128219). Clone it "
        "before it is saved."
    )


def _default_device() -> str:
    modes = [mode for mode in _get_current_function_mode_stack() if isinstance(mode, DeviceContext)]
    if not modes:
        return ""
    return (
        f"The builder's module leaves {modes[-1].device} as torch's default device, which costs each later call of "
        "torch (pytorch/pytorch#92701): use a block `with torch.device(...)` around the construction."
    )


def _names(found: dict[str, int]) -> str:
    first = max(found, key=lambda name: found[name])
    return first if len(found) == 1 else f"{first} and {units.plural(len(found) - 1, 'other tensor')}"
