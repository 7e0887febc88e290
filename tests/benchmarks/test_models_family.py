"""The family of models: what its checks catch, and which cells there are."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from bench_core.suite.layouts import FULL, LAYOUTS, TINY, on_meta
from bench_core.timing.cells import SuiteDirectory

SUITE = SuiteDirectory(Path(__file__).parents[2] / "benchmarks")
CELLS = [cell for cell in SUITE.cells if cell.benchmark.startswith("models.")]


def cell(name):
    (found,) = [cell for cell in CELLS if cell.name == f"models.{name}"]
    return found


def check_with(name, **replaced):
    """Run the check of a cell whose object has other attributes."""
    with cell(name).open() as opened:
        case = opened.benchmark.func.__self__
        for attribute, value in replaced.items():
            setattr(case, attribute, value)  # gone after the cell: `teardown` clears its object
        opened.check()


def faulty(fault, build):
    def built(*arguments):
        net = build(*arguments)
        fault(net)
        return net

    return built


def untie(net):
    net.lm_head.weight = nn.Parameter(net.lm_head.weight.detach().clone())


def leave_on_meta(net):
    net.transformer.h[0].attn.bias = net.transformer.h[0].attn.bias.to("meta")


def without_mask(net):
    net.transformer.h[1].attn.bias.fill_(True)


def save_the_mask(net):
    net.transformer.h[0].attn._non_persistent_buffers_set.clear()


def without_gradient(net):
    net.transformer.wpe.weight.requires_grad_(False)


def halve(net):
    with torch.no_grad():
        net.transformer.ln_f.weight.mul_(0.5)


def without_a_layer(net):
    del net.transformer.h[1]


STRUCTURE = [
    (untie, r"tied parameters: found \[\]"),
    (leave_on_meta, r"h\.0\.attn\.bias: device: found 'meta'"),
    (save_the_mask, r"h\.0\.attn\.bias: found .*expected .*not persistent"),
    (without_gradient, r"wpe\.weight: found .*requires_grad=False"),
    (without_a_layer, "architecture"),
]
VALUES = [
    (without_mask, r"h\.1\.attn\.bias: \d+ of 1024 elements differ"),
    (halve, r"ln_f\.weight: 32 of 32 elements differ"),
]


@pytest.mark.parametrize(("fault", "message"), STRUCTURE + VALUES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_model_that_is_constructed_with_a_fault_fails_its_check(fault, message):
    def construct(layout, device):
        net = layout.build()
        fault(net)
        return net

    with pytest.raises(AssertionError, match=message):
        check_with("Construct.time_construct(cpu, eager, gpt2-tiny)", construct=construct)


def test_a_layout_whose_builder_has_lost_a_tie_fails_its_check():
    layout = LAYOUTS["gpt2-tiny"]
    lost = replace(layout, build=faulty(untie, layout.build))
    with pytest.raises(AssertionError, match="ties of the layout: found \\[\\]"):
        check_with("Construct.time_construct(cpu, eager, gpt2-tiny)", layout=lost)


def test_a_parameter_that_a_builder_does_not_write_fails_its_check():
    def build():
        net = LAYOUTS["mlp"].build()
        net[2].weight = nn.Parameter(torch.empty(1, 8))
        return net

    with pytest.raises(AssertionError, match=r"2\.weight: 8 of 8 elements were never written"):
        check_with("Construct.time_construct(cpu, eager, mlp)", layout=replace(LAYOUTS["mlp"], build=build))


def test_memory_for_a_model_from_meta_that_is_not_tied_again_fails_its_check():
    def construct(layout, device):
        return on_meta(layout).to_empty(device=device)

    with pytest.raises(AssertionError, match=r"tied parameters: found \[\]"):
        check_with("Construct.time_construct(cpu, meta_to_empty, gpt2-tiny)", construct=construct)


@pytest.mark.parametrize(("fault", "message"), STRUCTURE + VALUES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_deep_copy_with_a_fault_fails_its_check(fault, message):
    def time_copy(device, model):
        made = copy.deepcopy(net)
        fault(made)
        return made

    net = LAYOUTS["gpt2-tiny"].build()
    with pytest.raises(AssertionError, match=message):
        check_with("DeepCopy.time_copy(cpu, gpt2-tiny)", net=net, time_copy=time_copy)


def test_a_copy_that_shares_memory_with_its_model_fails_its_check():
    net = LAYOUTS["gpt2-tiny"].build()
    with pytest.raises(AssertionError, match="they share memory"):
        check_with("DeepCopy.time_copy(cpu, gpt2-tiny)", net=net, time_copy=lambda device, model: net)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda state: {name: tensor.clone() for name, tensor in state.items()}, "they do not share memory"),
        (lambda state: {name: tensor for name, tensor in state.items() if "wpe" not in name}, "names that the state"),
        (lambda state: {name: nn.Parameter(tensor) for name, tensor in state.items()}, "requires_grad"),
    ],
    ids=["cloned", "incomplete", "with gradients"],
)
def test_a_state_dict_with_a_fault_fails_its_check(fault, message):
    net = on_meta(LAYOUTS["gpt2-tiny"])
    with pytest.raises(AssertionError, match=message):
        check_with(
            "StateDict.time_state_dict(gpt2-tiny)", net=net, time_state_dict=lambda model: fault(net.state_dict())
        )


@pytest.mark.parametrize("walk", ["parameters", "named_parameters", "named_parameters_with_duplicates"])
def test_a_walk_that_lists_a_tied_parameter_too_often_or_too_rarely_fails_its_check(walk):
    def other(net):
        found = [(name, parameter) for name, parameter in net.named_parameters(remove_duplicate="duplicates" in walk)]
        return [parameter for _, parameter in found] if walk == "parameters" else found

    with pytest.raises(AssertionError, match="names|tensors"):
        check_with(f"Walk.time_list({walk}, gpt2-tiny)", list=other)


def test_a_gradient_that_is_replaced_and_not_zeroed_fails_its_check(monkeypatch):
    def replace_them(self, set_to_none):
        for parameter in self.parameters():
            parameter.grad = torch.zeros_like(parameter)

    with cell("ZeroGrad.time_zero_grad(cpu, set_to_zero, gpt2-tiny)").open() as opened:
        monkeypatch.setattr(nn.Module, "zero_grad", replace_them)
        with pytest.raises(AssertionError, match="another tensor"):
            opened.check()


# Which cells there are


def test_every_layout_is_a_model_of_every_benchmark():
    for owner in {cell.owner for cell in CELLS}:
        models = next(values for name, values in zip(owner.param_names, owner.params, strict=True) if name == "model")
        assert sorted(models) == sorted(LAYOUTS)


def test_the_quick_profile_has_only_tiny_models_and_few_cells():
    quick = [cell for cell in CELLS if cell.in_quick_profile]
    assert {cell.params["model"] for cell in quick} <= TINY.keys()
    assert len({cell.owner for cell in quick}) == len({cell.owner for cell in CELLS})
    assert len(quick) < 20


def test_a_model_of_more_than_a_gibibyte_has_cells_only_on_meta():
    large = [cell for cell in CELLS if cell.params.get("device", "cpu") == "cpu" and cell.params["model"] == "llama-8b"]
    there = {cell.name.split(".", 1)[1] for cell in large if cell.why_not is None}
    walks = {f"Walk.time_list({walk}, llama-8b)" for walk in next(c for c in CELLS if "Walk" in c.name).owner.params[0]}
    assert there == {"Construct.time_construct(cpu, meta, llama-8b)", "StateDict.time_state_dict(llama-8b)", *walks}
    reasons = {cell.why_not for cell in large} - {None}
    assert reasons == {"llama-8b is too large for a suite: `bench-core model llama-8b` measures it"}
    assert FULL["llama-135m"].elements < 1 << 28 < FULL["llama-1b"].elements


# Ways to start up


@pytest.mark.parametrize(
    ("name", "stage", "fault"),
    [
        ("StartUp.time_start(cpu, skip_draws_copy, gpt2-tiny)", "load", "other values|differ"),
        ("StartUp.time_start(cpu, skip_draws_assign_mmap, gpt2-tiny)", "finish", "tied|one tensor"),
        ("StartUp.time_start(cpu, meta_assign, gpt2-tiny)", "finish", "meta|tied"),
        ("FirstValues.time_start(cpu, meta_to_empty, gpt2-tiny)", "initialize", "not initialized|attn.bias"),
    ],
)
def test_a_way_that_leaves_out_a_stage_fails_its_check(name, stage, fault):
    with cell(name).open() as opened:
        way = opened.benchmark.func.__self__.way
    with pytest.raises(AssertionError, match=fault):
        check_with(name, way=replace(way, steps=tuple(step for step in way.steps if step.name != stage)))
