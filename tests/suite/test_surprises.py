"""A model's surprises are told in a sentence each, and only where they apply."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench_core.suite import surprises


def test_an_ordinary_model_has_no_surprises():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    assert surprises.notes(net) == ()


def test_denormal_weights_are_told_with_their_number():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    net[0].bias.data[0] = 1e-39
    (note,) = surprises.notes(net)
    assert note.startswith("1 element of 0.bias are denormal numbers, with which some processors compute many times")
    net[0].weight.data[:2] = 1e-40
    (note,) = surprises.notes(net)
    assert note.startswith("9 elements of 0.weight and 1 other tensor are denormal numbers")


def test_a_view_of_memory_that_the_model_does_not_use_is_told():
    net = nn.Sequential(nn.Linear(256, 4, bias=False), nn.Linear(256, 4, bias=False))
    net[0].weight = net[1].weight
    net[0].weight.data = torch.zeros(1024, 256)[:4]
    (note,) = surprises.notes(net)
    assert note.startswith("0.weight is a view of more memory than the model uses: torch.save writes 1020 KiB more")


def test_views_of_one_buffer_that_the_model_uses_whole_are_not_told():
    net = nn.Linear(4, 4)
    buffer = torch.zeros(20)
    net.weight.data, net.bias.data = buffer[:16].view(4, 4), buffer[16:]
    assert surprises.notes(net) == ()


def test_a_default_device_that_is_left_behind_is_told():
    net = nn.Linear(4, 4)
    torch.set_default_device("cpu")
    try:
        (note,) = surprises.notes(net)
    finally:
        torch.set_default_device(None)
    assert note.startswith("The builder's module leaves cpu as torch's default device")
    assert surprises.notes(net) == ()


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_denormal_numbers_of_sparse_tensors_are_not_counted(layout):
    net = nn.Linear(2, 2)
    net.sparse = nn.Parameter(torch.eye(2).to_sparse(layout=layout))
    assert surprises.notes(net) == ()
