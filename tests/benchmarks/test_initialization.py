"""The initialization family: what its idioms leave behind, beside what the checks of its cells assert."""

import pytest
import torch
from torch import nn

from bench_core.suite import initializers


@pytest.fixture
def graph():
    """A graph that has saved the weight for its backward pass."""
    weight = nn.Parameter(torch.ones(4, 4))
    return weight, (torch.ones(2, 4, requires_grad=True) @ weight).sum()


def test_an_edit_under_no_grad_makes_an_older_graph_refuse_its_backward(graph):
    weight, loss = graph
    initializers.add_one_no_grad(weight)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_an_edit_through_data_passes_silently(graph):
    weight, loss = graph
    initializers.add_one_data(weight)
    loss.backward()
    assert torch.equal(weight.grad, torch.full((4, 4), 2.0))


def test_an_edit_through_detach_is_seen_as_one_under_no_grad_is(graph):
    weight, loss = graph
    initializers.add_one_detach(weight)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("idiom", ["data", "no_grad", "detach"])
def test_every_direct_edit_leaves_the_same_weight(idiom):
    weight = nn.Parameter(torch.zeros(8, 4))
    getattr(initializers, f"add_one_{idiom}")(weight)
    getattr(initializers, f"set_element_{idiom}")(weight)
    expected = torch.ones(8, 4)
    expected[0, 0] = 42
    assert torch.equal(weight.detach(), expected)
    assert weight.requires_grad
    assert weight.is_leaf


def test_the_old_way_to_a_truncated_normal_never_leaves_its_edges():
    torch.manual_seed(0)
    weight = torch.empty(1 << 20)
    initializers.trunc_normal_by_inverse_cdf(weight)
    assert float(weight.abs().max()) <= 2


def test_a_masked_draw_that_was_negative_becomes_minus_zero_as_the_notebook_writes_it():
    torch.manual_seed(0)
    layer = nn.Linear(64, 64)
    initializers.my_init(layer)
    zeros = layer.weight.detach()[layer.weight.detach() == 0]
    assert 0.4 < float(zeros.signbit().double().mean()) < 0.6


@pytest.mark.parametrize(
    ("idiom", "during"), [("no_default_device", "cpu"), ("set_default_device", "meta"), ("torch_device", "meta")]
)
def test_a_default_device_is_there_for_the_edits_and_not_after_them(idiom, during):
    seen = []

    def parameters():
        seen.append(torch.get_default_device().type)
        yield nn.Parameter(torch.ones(2, device="cpu"))

    initializers.DEFAULT_DEVICES[idiom](parameters(), "meta")
    assert (seen, torch.get_default_device().type) == ([during], "cpu")


def test_an_edit_that_fails_leaves_no_default_device_behind():
    with pytest.raises(AttributeError):
        initializers.DEFAULT_DEVICES["set_default_device"]([None], "meta")
    assert torch.get_default_device().type == "cpu"
