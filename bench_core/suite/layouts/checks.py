"""What the benchmarks of models require of a model that was constructed or copied."""

from __future__ import annotations

import torch
from torch import nn

from bench_core.suite import oracles
from bench_core.suite.layouts import Layout, on_meta


def check_structure(found: object, layout: Layout, device: str) -> nn.Module:
    """Require the modules, tensors and ties of the layout, on a device of type `device`; values are not looked at."""
    assert isinstance(found, nn.Module), f"found {found!r}, expected a module"
    expected = on_meta(layout)
    oracles.same(str(found), str(expected), "architecture")
    oracles.same_tensors(found, expected, device)
    oracles.same(oracles.tied_names(found), [list(names) for names in layout.ties], "ties of the layout")
    oracles.same(sum(parameter.numel() for parameter in found.parameters()), layout.elements, "elements")
    return found


def check_values(found: nn.Module, expected: nn.Module) -> None:
    """Require every parameter and buffer, also those that no state dict holds, to have the values of `expected`."""
    wanted = {name: tensor for name, tensor, _ in oracles.held(expected)}
    for name, tensor, _ in oracles.held(found):
        unwritten = int(tensor.isnan().sum())
        assert not unwritten, f"{name}: {unwritten} of {tensor.numel()} elements were never written"
        oracles.identical(tensor.cpu(), wanted[name].cpu(), name)


def check_shared(found: torch.Tensor, expected: torch.Tensor, name: str) -> None:
    """Require both tensors to be the same view of one storage. On meta, where every address is 0, the storages have
    an identity all the same."""
    oracles.same((found.shape, found.stride()), (expected.shape, expected.stride()), f"{name}: shape and strides")
    storages = {each.untyped_storage()._cdata for each in (found, expected)}
    assert len(storages) == 1, f"{name}: they do not share memory"
