"""What benchmarks of a chosen model are made of."""

import json

import pytest
import torch
from torch import nn

from bench_core.codec import to_json
from bench_core.records.model import VARIABLE, ModelSpec
from bench_core.suite import OfModel, describe
from bench_core.suite.chosen import Step, is_renamed, loss
from bench_core.suite.target import load

TIES = (("embedding.weight", "head.weight"), ("a.weight", "b.weight"))


class Tied(nn.Module):
    """A module with linear layers of these names. Those in one group share their weight."""

    def __init__(self, *groups):
        super().__init__()
        for group in groups:
            first = nn.Linear(2, 2, bias=False)
            for name in group:
                layer = nn.Linear(2, 2, bias=False)
                layer.weight = first.weight
                setattr(self, name, layer)


@pytest.mark.parametrize(
    ("groups", "renamed"),
    [
        ((("embedding", "head"), ("a", "b")), False),  # nothing has changed
        ((("embedding",), ("head",), ("a", "b")), False),  # lost
        ((("embedding", "output"), ("a", "b")), True),
        ((("embedding",), ("output",), ("a", "b")), False),
        ((("tokens", "output"), ("a", "b")), True),
        ((("tokens",), ("output",), ("a", "b")), False),
        ((("tokens", "output"), ("c",)), False),  # both groups are gone, and one has come
        ((("tokens", "output"), ("c", "d")), True),
    ],
)
def test_ties_under_other_names_are_not_lost(groups, renamed):
    assert is_renamed(TIES[0], TIES, Tied(*groups)) == renamed


@pytest.fixture
def chosen(monkeypatch):
    """Choose a model for the benchmarks."""

    def choose(**spec):
        monkeypatch.setenv(VARIABLE, json.dumps(to_json(ModelSpec(**spec))))

    return choose


def test_a_lost_tie_is_named_by_the_check(chosen):
    chosen(target="gpt2-tiny")
    case = OfModel()
    case.setup()
    model = case.target.ready()
    (tie,) = describe(model).ties
    chosen(target="gpt2-tiny", ties=(tie,))
    case.setup()
    case.require_ready(model)
    owner, _, name = tie[1].rpartition(".")
    setattr(model.get_submodule(owner), name, nn.Parameter(model.get_parameter(tie[1]).detach().clone()))
    with pytest.raises(AssertionError, match=f"lost ties: {', '.join(tie)} should be one parameter, and are several"):
        case.require_ready(model)


def test_what_is_left_on_meta_is_not_ready(chosen):
    chosen(target="gpt2-tiny")
    case = OfModel()
    case.setup()
    with pytest.raises(AssertionError, match="parameters and buffers: found"):
        case.require_ready(case.target.ready().to("meta"))


def test_without_a_chosen_model_the_cells_do_not_run(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert OfModel().why_not() == "no model is chosen: `bench-core gate --model` does"


def test_a_step_needs_an_example(chosen):
    chosen(target="gpt2-tiny")
    assert OfModel().why_no_step() is None
    chosen(target="torch.nn:Identity")
    assert OfModel().why_no_step() == "no training step without an example of an input (--input)"


def test_a_step_computes_gradients_and_leaves_the_weights_as_they_are():
    step = Step(load(ModelSpec("gpt2-tiny")))
    before = {name: one.detach().clone() for name, one in step.model.named_parameters()}
    step.take()
    step.require_gradients()
    assert all(torch.equal(before[name], one) for name, one in step.model.named_parameters())
    step.forget()
    with pytest.raises(AssertionError, match="no parameter has got a gradient"):
        step.require_gradients()


def test_a_loss_is_of_all_that_depends_on_the_parameters():
    weight = torch.ones(3, requires_grad=True)
    found = loss({"logits": 2 * weight, "more": (weight, torch.zeros(2)), "tokens": torch.zeros(2, dtype=torch.long)})
    assert float(found.detach()) == 3.0
    with pytest.raises(AssertionError, match="holds no tensor that depends on its parameters"):
        loss(torch.zeros(3))
