"""The checks themselves: what they let through and what they catch, on draws that are right and slightly wrong."""

import math

import pytest
import torch
from torch import nn

from bench_core.suite import oracles
from bench_core.suite.initializers import INITIALIZERS, check_masked, my_init

N = 1 << 16


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(1)


def test_the_band_is_that_of_the_inequality_of_dvoretzky_kiefer_and_wolfowitz():
    # 2 exp(-2 n e^2) = 1e-9 at n = 1000: e = sqrt(ln(2e9) / 2000) = sqrt(21.4164 / 2000) = 0.10348.
    assert oracles.band(1000) == pytest.approx(0.10348, abs=1e-5)


def test_right_draws_pass():
    oracles.distributed(torch.randn(N), oracles.normal_cdf(0, 1), "normal")
    oracles.distributed(torch.rand(N), oracles.uniform_cdf(0, 1), "uniform")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: torch.randn(N) * 1.1,
        lambda: torch.randn(N) + 0.05,
        lambda: (torch.rand(N) - 0.5) * math.sqrt(12),  # the same mean and variance
        lambda: torch.randn(N // 2).repeat(2).clamp(-1, 1),
    ],
    ids=["10 % wider", "shifted", "uniform", "clamped"],
)
def test_draws_that_are_slightly_wrong_do_not(wrong):
    with pytest.raises(AssertionError, match="Kolmogorov-Smirnov"):
        oracles.distributed(wrong(), oracles.normal_cdf(0, 1), "normal")


def test_a_normal_that_never_leaves_three_and_a_half_sigma_is_caught_by_its_tail():
    """pytorch/pytorch#166853, which a test of the whole distribution lets through."""
    cut = torch.randn(1 << 17).clamp(-3.4, 3.4)
    oracles.distributed(cut, oracles.normal_cdf(0, 1), "normal")
    with pytest.raises(AssertionError, match="no element beyond"):
        oracles.reaches(cut, 3.5, oracles.normal_cdf(0, 1), "tail")


def test_few_draws_need_not_reach_the_tail():
    oracles.reaches(torch.zeros(100), 3.5, oracles.normal_cdf(0, 1), "tail")


def test_minus_zero_is_not_zero_and_a_nan_equals_itself():
    oracles.identical(torch.tensor([math.nan, 0.0]), torch.tensor([math.nan, 0.0]), "tensor")
    with pytest.raises(AssertionError, match="1 of 1 elements differ"):
        oracles.identical(torch.tensor([-0.0]), torch.tensor([0.0]), "tensor")


def test_tensors_on_two_devices_are_not_identical_and_the_error_says_so():
    with pytest.raises(AssertionError, match=r"device, dtype and shape: found \('meta'"):
        oracles.identical(torch.empty(2, device="meta"), torch.empty(2), "tensor")


def test_a_view_of_a_larger_buffer_is_not_memory_of_its_own_and_a_clone_is():
    """pytorch/pytorch#128219."""
    buffer = torch.zeros(2000, 512)
    oracles.own_memory(buffer, "buffer")
    oracles.own_memory(buffer[0].clone(), "clone")
    with pytest.raises(AssertionError, match="view: 2048 bytes are a view of 4096000 bytes"):
        oracles.own_memory(buffer[0], "view")


class Small(nn.Module):
    """Two tied parameters, one more, a buffer that a state dict holds, and one that it does not."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(2))
        self.other = self.one
        self.third = nn.Parameter(torch.ones(3))
        self.register_buffer("saved", torch.ones(4))
        self.register_buffer("computed", torch.ones(5), persistent=False)


DIFFERENCES = {
    "names of parameters": lambda net: net.register_parameter("fourth", nn.Parameter(torch.ones(1))),
    "computed: device: found 'meta', expected 'cpu'": lambda net: setattr(net, "computed", net.computed.to("meta")),
    "saved: device: found 'meta', expected 'cpu'": lambda net: setattr(net, "saved", net.saved.to("meta")),
    "third: device: found 'meta', expected 'cpu'": lambda net: setattr(
        net, "third", nn.Parameter(net.third.to("meta"))
    ),
    "third: found .*float64": lambda net: setattr(net, "third", nn.Parameter(net.third.double())),
    "computed: found .*float64": lambda net: setattr(net, "computed", net.computed.double()),
    "third: found .*requires_grad=False": lambda net: net.third.requires_grad_(False),
    "third: found .*\\(4,\\)": lambda net: setattr(net, "third", nn.Parameter(torch.ones(4))),
    "names of tied parameters: found \\[\\]": lambda net: setattr(net, "other", nn.Parameter(net.one.detach().clone())),
    "computed: found 'Tensor torch.float32 \\(5,\\), requires_grad=False', expected '.*, not persistent'": (
        lambda net: net._non_persistent_buffers_set.clear()
    ),
    "saved: 16 bytes are a view of 32": lambda net: setattr(net, "saved", torch.ones(8)[:4]),
}


def test_models_with_the_same_tensors_agree_whatever_the_values():
    net = Small()
    net.third.data.fill_(7)
    oracles.same_tensors(net, Small(), "cpu")
    with torch.device("meta"):
        oracles.same_tensors(net, Small(), "cpu")


@pytest.mark.parametrize("message", DIFFERENCES)
def test_a_model_with_one_tensor_that_differs_does_not_agree_even_if_a_state_dict_does_not_show_it(message):
    net = Small()
    DIFFERENCES[message](net)
    with pytest.raises(AssertionError, match=message):
        oracles.same_tensors(net, Small(), "cpu")


def test_an_element_that_was_never_written_is_seen_wherever_it_is():
    weight = torch.zeros(2048, 2048)

    def all_but_the_last():
        weight.view(-1)[:-1] = 0

    with pytest.raises(AssertionError, match="never written"):
        oracles.draw(all_but_the_last, weight)


def test_a_large_weight_is_looked_at_in_every_lane_of_a_vector_register():
    weight = torch.arange(1 << 20)
    seen = oracles.thinned(weight, 1 << 14)
    middle = seen[(seen > 1 << 15) & (seen < (1 << 20) - (1 << 15))]
    assert set((middle % 16).tolist()) == set(range(16))
    assert len(set(seen.tolist())) == len(seen)


def test_small_weights_are_drawn_until_there_are_enough_elements():
    weight = torch.zeros(8, 4)
    assert oracles.draw(lambda: weight.uniform_(), weight).numel() >= 4096


@pytest.mark.parametrize("name", [name for name in INITIALIZERS if name != "dirac_"])
@pytest.mark.parametrize("other", [name for name in INITIALIZERS if name != "dirac_"])
def test_no_initializer_passes_the_check_of_another(name, other):
    weight = torch.empty(64, 64)
    if name == other:
        INITIALIZERS[name].check(weight, lambda: INITIALIZERS[name].apply(weight))
    elif (name, other) != ("xavier_normal_", "orthogonal_"):  # both have elements like N(0, 1/64) in a square
        with pytest.raises(AssertionError):
            INITIALIZERS[name].check(weight, lambda: INITIALIZERS[other].apply(weight))


def test_the_notebooks_initializer_matches_the_distribution_that_its_exercise_asks_for():
    layer = torch.nn.Linear(64, 64)
    check_masked(layer.weight, lambda: my_init(layer), negative_zeros=True)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (lambda w: w.uniform_(-10, 10).mul_(w.abs() >= 4), "zeros"),
        (lambda w: w.uniform_(0, 10).mul_(w.abs() >= 5), "positive elements"),
        (lambda w: w.uniform_(-10, 10).masked_fill_(w.abs() < 5, 0), "negative zeros"),
        (lambda w: w.uniform_(-10, 10).mul_(w.abs() >= 5).mul_(0.9), "magnitude of nonzero"),
    ],
)
def test_an_initializer_that_only_looks_like_it_does_not(wrong, complaint):
    weight = torch.empty(256, 256)
    with pytest.raises(AssertionError, match=complaint):
        check_masked(weight, lambda: wrong(weight), negative_zeros=True)
