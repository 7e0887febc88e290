"""The materialization family: what its checks catch, and what torch does that its cells must know."""

from __future__ import annotations

import copy
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from bench_core.suite import lazy
from bench_core.suite.lazy import INITIALIZED, LOADED, MODELS
from bench_core.timing.cells import SuiteDirectory

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SUITE = SuiteDirectory(BENCHMARKS)
TIED = MODELS["mlp_2x64_tied"]
ANGLES = MODELS["mlp_2x64_angles"]


def cell(name):
    (found,) = [cell for cell in SUITE.cells if cell.name == f"materialization.{name}"]
    return found


def check(name):
    with cell(name).open() as opened:
        opened.check()


def tied(net):
    return net[-1].weight is net[0].weight


# What the checks catch


@pytest.mark.parametrize("module", ["LazyLinear", "notebook", "mlp_10x64"])
def test_a_lazy_layer_that_materializes_to_zeros_fails_its_check(module, monkeypatch):
    """As in pytorch/pytorch#149691."""
    plant_reset(monkeypatch, lambda layer: [parameter.zero_() for parameter in layer.parameters()])
    with pytest.raises(AssertionError, match=r"weight of Linear.* is all zeros"):
        check(f"LazyForward.time_forward(cpu, first, {module})")


def test_a_lazy_layer_whose_reset_does_nothing_fails_its_check(monkeypatch):
    """What becomes of the same bug where the memory is not fresh."""
    plant_reset(monkeypatch, lambda _: None)
    with pytest.raises(AssertionError, match="nan"):
        check("LazyForward.time_forward(cpu, first, LazyLinear)")


def test_a_lazy_layer_drawn_from_half_the_range_fails_its_check(monkeypatch):
    def halved(layer):
        nn.Linear.reset_parameters(layer)
        layer.weight.mul_(0.5)

    plant_reset(monkeypatch, halved)
    with pytest.raises(AssertionError, match="Kolmogorov-Smirnov"):
        check("LazyForward.time_forward(cpu, first, LazyLinear)")


def plant_reset(monkeypatch, reset):
    """Let LazyLinear do `reset` once its shape is known."""

    def planted(self):
        if self.in_features and not self.has_uninitialized_params():
            reset(self)

    monkeypatch.setattr(nn.LazyLinear, "reset_parameters", planted)


def test_a_lazy_layer_that_keeps_its_lazy_class_fails_its_check(monkeypatch):
    monkeypatch.setattr(nn.LazyLinear, "cls_to_become", None)
    with pytest.raises(AssertionError, match="architecture"):
        check("LazyForward.time_forward(cpu, first, LazyLinear)")


@pytest.mark.parametrize(("idiom", "garbage"), [("meta_to_empty", lazy.to_empty), ("skip_init", lazy.skip_init)])
def test_parameters_that_nobody_initialized_fail_the_check_even_in_memory_that_held_a_model(
    idiom, garbage, monkeypatch
):
    monkeypatch.setitem(INITIALIZED, idiom, garbage)
    with cell(f"InitializedModel.time_build(cpu, {idiom}, mlp_100x64)").open() as opened:
        INITIALIZED["eager"](MODELS["mlp_100x64"], "cpu")  # released at once: right weights lie in free memory
        with pytest.raises(AssertionError, match="nan"):
            opened.check()


@pytest.mark.parametrize("idiom", LOADED)
def test_a_model_that_does_not_hold_the_checkpoint_fails_the_check(idiom, monkeypatch):
    monkeypatch.setitem(LOADED, idiom, lambda model, device, _: lazy.eager(model, device))
    with pytest.raises(AssertionError, match=r"0\.weight: \d+ of 32 elements differ"):
        check(f"LoadedModel.time_build(cpu, {idiom}, notebook)")


def left_on_meta(net):
    net[-1].angles = net[-1].angles.to("meta")


def without_values(net):
    net[-1].angles = torch.full_like(net[-1].angles, torch.nan)


def in_the_state_dict(net):
    net[-1]._non_persistent_buffers_set.clear()


def on_another_device(net):
    net[0].bias = nn.Parameter(net[0].bias.to("meta"))


def of_another_dtype(net):
    net[0].to(torch.bfloat16)


def without_gradient(net):
    net[0].weight.requires_grad_(False)


def a_view_of_something_larger(net):
    net[0].bias = nn.Parameter(torch.cat([net[0].bias.detach()] * 2)[:64])


def untied(net):
    net[2].weight = nn.Parameter(net[2].weight.detach().clone())


FAULTS = [
    (left_on_meta, "mlp_2x64_angles", r"3\.angles: device: found 'meta'"),
    (without_values, "mlp_2x64_angles", r"3\.angles: 64 of 64 elements differ"),
    (in_the_state_dict, "mlp_2x64_angles", r"3\.angles: found .*not persistent"),
    (on_another_device, "mlp_2x64_angles", r"0\.bias: device: found 'meta'"),
    (of_another_dtype, "mlp_2x64_angles", r"0\.weight: found .*bfloat16"),
    (without_gradient, "mlp_2x64_angles", r"0\.weight: found .*requires_grad=False"),
    (a_view_of_something_larger, "mlp_2x64_angles", r"0\.bias: 256 bytes are a view of 512"),
    (untied, "mlp_2x64_tied", r"tied parameters: found \[\]"),
]


@pytest.mark.parametrize(("fault", "model", "message"), FAULTS, ids=[fault.__name__ for fault, *_ in FAULTS])
@pytest.mark.parametrize(
    ("owner", "idioms", "idiom"),
    [("InitializedModel", INITIALIZED, idiom) for idiom in INITIALIZED]
    + [("LoadedModel", LOADED, idiom) for idiom in LOADED],
)
def test_a_model_with_a_tensor_that_is_not_as_constructed_fails_the_check(
    owner, idioms, idiom, fault, model, message, monkeypatch
):
    build = idioms[idiom]

    def faulty(*arguments):
        net = build(*arguments)
        if arguments[0] is MODELS[model]:
            fault(net)
        return net

    with cell(f"{owner}.time_build(cpu, {idiom}, {model})").open() as opened:
        opened.check()
    monkeypatch.setitem(idioms, idiom, faulty)
    with (
        cell(f"{owner}.time_build(cpu, {idiom}, {model})").open() as opened,
        pytest.raises(AssertionError, match=message),
    ):
        opened.check()


def test_memory_is_poisoned_within_the_context_and_not_after_it():
    with lazy.poisoned_memory():
        assert torch.empty(100).isnan().all()
        assert nn.utils.skip_init(nn.Linear, 4, 8).weight.isnan().all()
    assert not torch.are_deterministic_algorithms_enabled()


# Tying


@pytest.mark.parametrize("idiom", INITIALIZED)
def test_an_initializing_idiom_gives_a_tied_model(idiom):
    assert tied(INITIALIZED[idiom](TIED, "cpu"))


@pytest.mark.parametrize("idiom", LOADED)
def test_a_loading_idiom_gives_a_tied_model(idiom):
    assert tied(LOADED[idiom](TIED, "cpu", TIED.plain("cpu").state_dict()))


def on_meta(model):
    with torch.device("meta"):
        return model.build()


def test_to_empty_unties_what_the_constructor_has_tied_and_repair_ties_it_again():
    net = on_meta(TIED).to_empty(device="cpu")
    assert not tied(net)
    assert tied(TIED.repair(net, "cpu"))
    assert len(list(net.parameters())) == 3


def test_assigning_a_tied_checkpoint_leaves_two_parameters_in_one_memory_and_repair_ties_them_again():
    """So an optimizer updates it twice: pytorch/pytorch#188346."""
    net = on_meta(TIED)
    net.load_state_dict(TIED.plain("cpu").state_dict(), assign=True)
    assert not tied(net)
    assert net[-1].weight.data_ptr() == net[0].weight.data_ptr()
    assert tied(TIED.repair(net, "cpu"))


def test_skip_init_of_a_whole_model_unties_what_its_constructor_has_tied():
    class Model(nn.Sequential):
        def __init__(self, device=None):
            super().__init__(*(nn.Linear(i, o, device=device) for i, o in pairwise(TIED.widths)))
            TIED.tie(self)

    assert tied(Model())
    assert not tied(nn.utils.skip_init(Model))


def test_lazy_layers_cannot_be_tied_before_their_shapes_are_known():
    net = TIED.tie(TIED.lazy("cpu"))
    assert tied(net)
    with pytest.raises(AttributeError, match="materialize"):
        net(TIED.inputs("cpu"))


# Buffers that no checkpoint holds


def test_a_strict_load_that_assigns_leaves_a_buffer_on_meta_and_reports_nothing_and_repair_computes_it():
    """huggingface/transformers#30703, pytorch/pytorch#102212."""
    net = on_meta(ANGLES)
    assert net.load_state_dict(ANGLES.plain("cpu").state_dict(), assign=True) == ([], [])
    assert net[-1].angles.is_meta
    with pytest.raises(NotImplementedError, match="meta tensor"):
        net.to("cpu")
    outputs = ANGLES.repair(net, "cpu")(ANGLES.inputs("cpu"))
    assert outputs.isfinite().all()


@pytest.mark.parametrize(
    "make",
    [lambda: on_meta(ANGLES).to_empty(device="cpu")[-1], lambda: nn.utils.skip_init(lazy.Angles, 64)],
    ids=["to_empty", "skip_init"],
)
def test_memory_that_nobody_writes_becomes_the_buffer_of_a_model_that_was_made_on_meta(make):
    with lazy.poisoned_memory():
        assert make().angles.isnan().all()


def test_nothing_is_repaired_in_a_model_without_ties_and_buffers_so_its_times_are_those_of_the_idiom_alone(monkeypatch):
    net = MODELS["notebook"].plain("cpu")
    monkeypatch.setattr(nn.Module, "__setattr__", None)
    assert MODELS["notebook"].repair(net, "cpu") is net


# What torch does


def test_deepcopy_of_an_unmaterialized_module_works_with_lazy_parameters_and_raises_with_lazy_buffers():
    """pytorch/pytorch#65051 and #83168: as of torch 2.13 they hold for batch normalization alone."""
    for module, inputs in ((nn.LazyLinear(8), torch.rand(2, 4)), (nn.LazyConv2d(8, 3), torch.rand(2, 4, 5, 5))):
        copied = copy.deepcopy(module)
        copied(inputs)
        assert not nn.parameter.is_lazy(copied.weight)
        assert nn.parameter.is_lazy(module.weight)
    with pytest.raises(ValueError, match="uninitialized parameter"):
        copy.deepcopy(nn.LazyBatchNorm2d())


def test_an_init_function_that_tests_for_the_lazy_class_does_nothing_once_the_layer_is_materialized():
    """d2l-ai/d2l-en#2225: the first forward has made the layer a plain one, so test for that."""

    def fill(lazy_class, value):
        def initialize(module):
            if type(module) == lazy_class:  # noqa: E721 - as written by those whom it bites
                nn.init.constant_(module.weight, value)

        return initialize

    net = MODELS["notebook"].lazy("cpu")
    net(MODELS["notebook"].inputs("cpu"))
    before = net[0].weight.clone()
    net.apply(fill(nn.LazyLinear, 42))
    assert net[0].weight.equal(before)
    net.apply(fill(nn.Linear, 42))
    assert (net[0].weight == 42).all()


def test_a_checkpoint_that_was_assigned_is_assigned_by_every_later_load_so_each_cell_makes_its_own():
    """pytorch/pytorch#188166, as of torch 2.13; our first timings of a copy were those of an assignment."""
    checkpoint = MODELS["notebook"].plain("cpu").state_dict()
    copies = LOADED["eager"](MODELS["notebook"], "cpu", checkpoint)
    assert copies[0].weight.data_ptr() != checkpoint["0.weight"].data_ptr()
    LOADED["meta_assign"](MODELS["notebook"], "cpu", checkpoint)
    marked = "assign_to_params_buffers" in checkpoint._metadata["0"]
    later = LOADED["eager"](MODELS["notebook"], "cpu", checkpoint)
    assert (later[0].weight.data_ptr() == checkpoint["0.weight"].data_ptr()) is marked
    check("LoadedModel.time_build(cpu, meta_assign, notebook)")
    check("LoadedModel.time_build(cpu, eager, notebook)")


# How it is timed


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("UninitializedParameter.time_materialize(cpu, 8x4)", "parameter"),
        ("LazyForward.time_forward(cpu, first, notebook)", "module"),
    ],
)
def test_every_call_of_what_happens_once_has_a_fresh_object(name, attribute):
    def is_lazy(owner):
        parameters = getattr(owner, attribute)
        parameters = [parameters] if attribute == "parameter" else parameters.parameters()
        return {nn.parameter.is_lazy(parameter) for parameter in parameters}

    with cell(name).open() as opened:
        owner = opened.benchmark.func.__self__
        assert opened.number == 1
        for _ in range(3):
            assert is_lazy(owner) == {True}
            opened.call()
            assert is_lazy(owner) == {False}
            opened.fresh()


def high_water_mark(idiom):
    """What a memory cell adds to its process's largest resident set, in bytes.

    VmHWM and not ru_maxrss, which a child inherits from whoever started it, here the test runner.
    """
    code = (
        "import re, sys; from pathlib import Path; from bench_core.timing.cells import SuiteDirectory\n"
        "(cell,) = SuiteDirectory(Path(sys.argv[1])).select(re.escape(sys.argv[2]))\n"
        "mark = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "with cell.open() as opened: before = mark(); opened.call(); print(1024 * (mark() - before))\n"
    )
    name = f"materialization.LoadedModelMemory.peakmem_build(cpu, {idiom}, mlp_4x2048)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(BENCHMARKS), name],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the high-water mark is read from /proc")
@pytest.mark.thorough
def test_a_copying_idiom_holds_the_model_beside_the_checkpoint_and_an_assigning_one_does_not():
    model = MODELS["mlp_4x2048"].bytes
    assert high_water_mark("eager") > 0.9 * model
    assert high_water_mark("meta_assign") < 0.1 * model
