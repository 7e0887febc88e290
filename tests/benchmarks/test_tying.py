"""The tying family: its models are what they say, and its checks catch the bugs that they are there for."""

from __future__ import annotations

import copy
import io
import types
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from bench_core.suite import tied
from bench_core.timing.cells import SuiteDirectory

SUITE = SuiteDirectory(Path(__file__).parents[2] / "benchmarks")
SHARINGS = ("tied", "untied", "parametrized")


def cell(name):
    (found,) = [cell for cell in SUITE.cells if cell.name == f"tying.{name}"]
    return found


def check_fails_with(name, bug, match):
    """Open the cell, check it, put `bug(instance, original)` in the operation's place, and see the check fail."""
    with cell(name).open() as opened:
        opened.check()
    with cell(name).open() as opened:
        instance = opened.benchmark.func.__self__
        original = opened.benchmark.func
        setattr(instance, original.__name__, lambda *values: bug(instance, lambda: original(*values)))
        with pytest.raises(AssertionError, match=match):
            opened.check()


def last_arrival_only(instance):
    """The gradients where a later use replaces what an earlier one has left, instead of adding to it.

    Backward meets the last use of a layer first, so what stays is the gradient of its first use.
    """
    twin = tied.untied_copy(instance.net)
    tied.forward_backward(instance.loss_of, twin)
    kept = {}
    for module, own in reversed(list(zip(instance.net, twin, strict=True))):
        for name, parameter in own.named_parameters():
            kept[id(getattr(module, name))] = parameter.grad
    return [kept[id(parameter)] for parameter in instance.parameters]


def replaces_gradients(instance, original):
    original()
    for parameter, gradient in zip(instance.parameters, last_arrival_only(instance), strict=True):
        parameter.grad = gradient
    return instance.loss


def net_and_loss(sharing, width=8, uses=3):
    inputs = torch.rand(tied.BATCH, tied.INPUTS)
    return tied.shared_layer(sharing, width, uses), inputs, lambda net: tied.stack_loss(net, inputs)


# The models


def test_the_tied_net_is_the_notebooks():
    net = tied.shared_layer("tied", 8, 2)
    kinds = [type(module) for module in net]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert net[2] is net[4]
    assert [tuple(parameter.shape) for parameter in net.parameters()] == [(8, 4), (8,), (8, 8), (8,), (1, 8), (1,)]


@pytest.mark.parametrize("sharing", SHARINGS)
def test_a_gradient_is_none_until_backward(sharing):
    net, inputs, loss = net_and_loss(sharing)
    net(inputs)
    assert all(parameter.grad is None for parameter in net.parameters())
    tied.forward_backward(loss, net)
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("built", SHARINGS)
@pytest.mark.parametrize("said", SHARINGS)
def test_a_net_that_is_not_shared_as_it_says_fails_its_check(built, said):
    net = tied.shared_layer(built, 8, 3)
    if built == said:
        tied.check_shared_layer(net, said, 3)
    else:
        with pytest.raises(AssertionError):
            tied.check_shared_layer(net, said, 3)


def test_untied_parameters_over_the_same_memory_fail_their_check():
    net = tied.shared_layer("untied", 8, 2)
    net[4].bias = nn.Parameter(net[2].bias.detach())
    with pytest.raises(AssertionError, match="an edit through one is seen"):
        tied.check_shared_layer(net, "untied", 2)


def test_a_parametrization_with_a_parameter_of_its_own_fails_its_check():
    net = tied.shared_layer("parametrized", 8, 2)
    net[4].left_over = nn.Parameter(torch.zeros(8, 8))
    with pytest.raises(AssertionError, match=r"yields 7 tensors, expected 6"):
        tied.check_shared_layer(net, "parametrized", 2)


def test_a_language_model_that_to_empty_has_untied_fails_its_check():
    net = tied.language_model("tied", 20, 4, "meta")
    assert net[1].weight is net[0].weight
    net.to_empty(device="cpu")  # a new parameter for each module: huggingface/accelerate#3154
    if net[1].weight is net[0].weight:
        pytest.skip("this torch keeps ties in to_empty")
    with pytest.raises(AssertionError, match="one object"):
        tied.check_language_model(net, "tied")


def test_a_language_model_that_assign_has_untied_fails_its_check():
    net = tied.language_model("tied", 20, 4)
    values = {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(values, assign=True)  # pytorch/pytorch#188346
    if net[1].weight is net[0].weight:
        pytest.skip("this torch keeps ties when assigning")
    with pytest.raises(AssertionError, match="one object"):
        tied.check_language_model(net, "tied")


@pytest.mark.parametrize("sharing", SHARINGS)
def test_deepcopy_keeps_what_is_shared_and_shares_nothing_with_the_original(sharing):
    net = tied.shared_layer(sharing, 8, 3)
    found = copy.deepcopy(net)
    tied.check_shared_layer(found, sharing, 3)
    assert not {id(parameter) for parameter in net.parameters()} & {id(each) for each in found.parameters()}


def test_a_parametrized_use_appears_in_neither_parameters_nor_the_state_dict():
    net = tied.shared_layer("parametrized", 8, 3)
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias", "8.weight", "8.bias"]
    assert net[4].weight is net[2].weight


@pytest.mark.parametrize("sharing", SHARINGS)
def test_the_untied_copy_has_a_layer_a_use_and_the_same_outputs(sharing):
    net, inputs, _ = net_and_loss(sharing)
    twin = tied.untied_copy(net)
    tied.check_shared_layer(twin, "untied", 3)
    assert torch.equal(twin(inputs), net(inputs))


@pytest.mark.parametrize("width", [8, 64])
def test_no_unit_dies_and_no_signal_vanishes_over_thirty_two_uses(width):
    net, inputs, loss = net_and_loss("untied", width, 32)
    outputs = net(inputs)
    assert 0.05 < float(outputs.detach().abs().mean()) < 50
    tied.forward_backward(loss, net)
    for parameter in net.parameters():
        assert int((parameter.grad == 0).sum()) == 0


# Gradients


@pytest.mark.parametrize("sharing", SHARINGS)
def test_gradients_are_those_of_backpropagation_by_hand(sharing):
    net, inputs, loss = net_and_loss(sharing)
    tied.forward_backward(loss, net)

    # In float64, from the chain rule alone: delta of a layer, and outer products of deltas and activations.
    weights = [(layer.weight.detach().double(), layer.bias.detach().double()) for layer in tied.linears(net)]
    activations = [inputs.double()]
    for weight, bias in weights:
        output = activations[-1] @ weight.T + bias
        activations.append(output.clamp(min=0) if weight.shape[0] > 1 else output)
    expected = {}
    delta = torch.ones(tied.BATCH, 1, dtype=torch.float64)
    for index in reversed(range(len(weights))):
        layer = tied.linears(net)[index]
        for parameter, gradient in ((layer.weight, delta.T @ activations[index]), (layer.bias, delta.sum(0))):
            expected[id(parameter)] = expected.get(id(parameter), 0) + gradient
        delta = (delta @ weights[index][0]) * (activations[index] > 0)

    found = [parameter.grad for parameter in net.parameters()]
    tied.check_gradients(found, [expected[id(parameter)] for parameter in net.parameters()], "by hand")


@pytest.mark.parametrize(
    "name",
    [
        "SharedLayer.time_backward(cpu, tied, 8, 2)",
        "SharedLayer.time_backward(cpu, parametrized, 8, 32)",
        "SharedLayer.time_forward_backward(cpu, tied, 8, 2)",
        "TiedEmbedding.time_backward(cpu, tied, 1000x64)",
        "TiedEmbedding.time_forward_backward(cpu, tied, 1000x64)",
        "ZeroGradAndBackward.time_zero_grad_and_backward(cpu, tied, set_to_none, 8, 2)",
    ],
)
def test_a_tied_gradient_that_is_replaced_instead_of_added_fails_the_check(name):
    check_fails_with(name, replaces_gradients, r"gradient \d is wrong by")


def test_an_autograd_grad_without_the_second_use_fails_its_check():
    name = "AutogradGrad.time_autograd_grad(cpu, tied, 8, 2)"
    check_fails_with(name, lambda instance, _: last_arrival_only(instance), r"gradient \d is wrong by")


def test_a_backward_that_does_not_accumulate_fails_its_check():
    def forgets(instance, original):
        instance.net.zero_grad()
        original()

    check_fails_with("SharedLayer.time_backward(cpu, untied, 8, 2)", forgets, "second backward")


def test_a_gradient_that_is_zero_everywhere_proves_nothing():
    with pytest.raises(AssertionError, match="shows nothing"):
        tied.check_gradients([torch.zeros(3)], [torch.zeros(3)], "gradients")


# Optimizers and gradients in bulk


@pytest.mark.parametrize(("name", "steps"), [("SGD", 1), ("SGD", 3), ("AdamW", 1), ("AdamW", 3)])
def test_after_step_is_where_torchs_for_loop_goes(name, steps):
    weight = nn.Parameter(torch.randn(50))
    before = weight.detach().clone()
    weight.grad = torch.randn(50)
    optimizer = getattr(torch.optim, name)([weight], lr=1e-3, foreach=False)
    for _ in range(steps):
        optimizer.step()
    expected = tied.after_step(name, before, weight.grad, steps, rate=1e-3)
    tied.check_step(before, weight.detach(), expected, name)


def test_one_sgd_step_is_w_minus_lr_g_by_hand():
    found = tied.after_step("SGD", torch.tensor([1.0, -2.0]), torch.tensor([0.5, 4.0]), 1, rate=0.25)
    assert found.tolist() == [0.875, -3.0]


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("implementation", ["for_loop", "foreach", "fused"])
def test_an_optimizer_that_updates_a_tied_weight_twice_fails_its_check(optimizer, implementation):
    def twice(_, original):
        original()
        original()

    check_fails_with(f"OptimizerStep.time_step(cpu, tied, {optimizer}, {implementation}, 8, 2)", twice, "is off by")


def test_zero_grad_that_leaves_gradients_there_fails_its_check():
    def to_zero(instance, _):
        instance.optimizer.zero_grad(set_to_none=False)

    check_fails_with("ZeroGrad.time_zero_grad(cpu, tied, set_to_none, 8, 2)", to_zero, "still there")


def test_zero_grad_that_drops_gradients_where_zeros_are_asked_for_fails_its_check():
    def to_none(instance, _):
        instance.optimizer.zero_grad(set_to_none=True)

    check_fails_with("ZeroGrad.time_zero_grad(cpu, untied, set_to_zero, 8, 2)", to_none, "another tensor")


def test_clipping_every_gradient_by_itself_fails_the_check():
    def each(instance, _):
        norm = tied.exact_norm(instance.gradients())
        for parameter in instance.parameters:
            nn.utils.clip_grad_norm_([parameter], instance.max_norm)
        return torch.tensor(norm)

    check_fails_with("ClipGradNorm.time_clip(cpu, tied, foreach, 8, 2)", each, "norm of the clipped gradients")


def test_a_norm_that_misses_one_gradient_of_two_thousand_fails_its_check():
    def misses(instance, _):
        return tied.norm_foreach(instance.gradients[:-1])

    check_fails_with("GradientNorm.time_norm(cpu, foreach, 2000)", misses, "norm: ")


def saved_bytes(tensor):
    file = io.BytesIO()
    torch.save(tensor, file)
    return file.tell()


def test_a_gradient_in_a_flat_buffer_is_saved_and_copied_with_the_whole_buffer_and_a_clone_is_not():
    """pytorch/pytorch#128219: what GradientNorm says of its fastest way."""
    parameters, buffer = tied.parameters_with_gradients(2000, 512)
    gradient = parameters[0].grad
    assert saved_bytes(gradient) > buffer.nbytes
    assert copy.deepcopy(gradient).untyped_storage().nbytes() == buffer.nbytes
    assert saved_bytes(gradient.clone()) < 3 * gradient.nbytes


@pytest.mark.parametrize(("to_none", "kept"), [(True, False), (False, True)])
def test_zero_grad_drops_the_views_of_a_flat_buffer_unless_it_writes_zeros(to_none, kept):
    parameters, buffer = tied.parameters_with_gradients(2, 8)
    torch.optim.SGD(parameters).zero_grad(set_to_none=to_none)
    sum(parameter.sum() for parameter in parameters).backward()
    assert buffer.eq(1).all() == kept


def test_gradients_that_are_not_views_of_the_buffer_fail_the_check_of_zeroing_it():
    with cell("ZeroGradients.time_zero(cpu, flat_buffer, 100)").open() as opened:
        case = opened.benchmark.func.__self__
        for parameter in case.parameters:
            parameter.grad = parameter.grad.clone()
        case.gradients = [parameter.grad for parameter in case.parameters]
        with pytest.raises(AssertionError, match="gradient"):
            opened.check()


def test_zeroing_all_gradients_but_one_fails_its_check():
    def misses(instance, _):
        torch._foreach_zero_(instance.gradients[:-1])

    check_fails_with("ZeroGradients.time_zero(cpu, foreach, 100)", misses, "512 of 51200 elements are not 0.0")


def test_clipped_gradients_stay_clipped_so_that_calls_may_follow_each_other():
    with cell("ClipGradNorm.time_clip(cpu, tied, for_loop, 8, 2)").open() as opened:
        opened.call()
        after_one = tied.exact_norm(opened.benchmark.func.__self__.gradients())
        for _ in range(20):
            opened.call()
        tied.check_norm(tied.exact_norm(opened.benchmark.func.__self__.gradients()), after_one, "norm")


# Devices


def test_a_device_without_foreach_or_fused_kernels_says_so():
    assert tied.no_implementation("foreach", "mps") == "torch has no foreach implementation on mps"
    assert tied.no_implementation("fused", "mps") is None
    assert tied.no_implementation("for_loop", "mps") is None


def test_the_devices_with_fused_kernels_are_those_that_torch_names():
    torchs = pytest.importorskip("torch.utils._foreach_utils")
    for implementation, named in (
        ("foreach", [*torchs._get_foreach_kernels_supported_devices(), "cpu"]),
        ("fused", torchs._get_fused_kernels_supported_devices()),
    ):
        for device in {"cpu", "cuda", "xpu", "mps"}:
            assert (tied.no_implementation(implementation, device) is None) == (device in named)


def test_device_memory_on_the_cpu_points_to_host_memory():
    reason = cell("DeviceMemory.track_training_step(cpu, language_model_32000x512, tied)").why_not
    assert reason == "torch keeps no peak of the memory that it hands out on cpu: see HostMemory"


def test_the_peak_of_a_device_is_forgotten_before_the_operation_runs(monkeypatch):
    peaks = [900]  # of an earlier cell
    module = types.SimpleNamespace(reset_peak_memory_stats=peaks.clear, max_memory_allocated=lambda: max(peaks))
    monkeypatch.setattr(torch, "get_device_module", lambda device: {"cuda": module}[device])
    assert tied.counts_peak("cuda")
    assert tied.device_peak("cuda", lambda: peaks.append(300)) == 300


def test_fully_shard_takes_tied_embeddings(tmp_path):
    """pytorch/pytorch#176225, saforem2/ezpz#237: one torch version rejected them and another did not."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        net = tied.language_model("tied", 16, 8)
        fully_shard(net, mesh=init_device_mesh("cpu", (1,)))
        assert len(list(net.parameters())) == 1
    finally:
        torch.distributed.destroy_process_group()


# Memory


@pytest.mark.parametrize("model", ["shared_layer_1024x32", "language_model_32000x512"])
def test_a_training_step_of_a_model_that_has_lost_its_tie_fails_its_check(model):
    with cell(f"HostMemory.peakmem_training_step({model}, tied)").open() as opened:
        net = opened.benchmark.func.__self__.net
        if model.startswith("language_model"):
            net[1].weight = nn.Parameter(net[1].weight.detach().clone())
        else:
            net[4] = copy.deepcopy(net[2])
        with pytest.raises(AssertionError, match="^tied: "):
            opened.check()


# Parametrized weights, and denormal averages


def times_computed(name):
    """How often the weight is computed in one call of the cell."""
    with cell(name).open() as opened:
        case, count = opened.benchmark.func.__self__, 0

        def counted(*_):
            nonlocal count
            count += 1

        case.layer.parametrizations.weight[0].register_forward_hook(counted)
        case.time_read(*cell(name).params.values())
        return count


@pytest.mark.parametrize(
    ("idiom", "computed"), [("each_read", 32), ("cached_each_read", 32), ("cached", 1), ("variable", 1)]
)
def test_a_parametrized_weight_is_computed_once_in_one_block_and_at_each_read_without(idiom, computed):
    assert times_computed(f"ParametrizedReads.time_read(cpu, spectral_norm, {idiom}, 32)") == computed


def test_a_weight_that_stays_in_the_cache_fails_the_check():
    name = "ParametrizedReads.time_read(cpu, weight_norm, each_read, 1)"
    with cell(name).open() as opened:
        case = opened.benchmark.func.__self__
        kept = case.layer.weight
        type(case.layer).weight = property(lambda _: kept)
        with pytest.raises(AssertionError, match="the weight is as before"):
            opened.check()


def test_gradients_that_are_large_enough_fail_the_check_of_denormal_averages():
    with cell("DenormalMoments.time_step(foreach, tiny)").open() as opened:
        opened.benchmark.func.__self__.parameter.grad.fill_(1e-10)
        with pytest.raises(AssertionError, match="denormal numbers and zeros"):
            opened.check()
