"""The yardsticks: what their checks must see, beside an operation that does nothing."""

import numpy as np
import pytest
import torch

from bench_core.suite import oracles
from benchmarks.limits import EmptyLoop, Generators, Memory


def opened(owner, *values):
    case = owner()
    case.setup(*values)
    return case


def test_the_check_of_a_triad_sees_a_factor_that_is_missing(monkeypatch):
    case = opened(Memory, "cpu", "1", "8x4")
    monkeypatch.setattr(case, "time_triad", lambda *_: torch.add(case.source, case.other, out=case.target))
    with pytest.raises(AssertionError, match="elements are not 3.0"):
        case.check_triad("cpu", "1", "8x4")


def test_a_triad_reads_two_weights_and_writes_a_third():
    case = opened(Memory, "cpu", "1", "8x4")
    for one, other in ((case.source, case.other), (case.source, case.target), (case.other, case.target)):
        oracles.not_alias(one, other, "weights")
    assert (Memory.time_triad.weight_reads, Memory.time_triad.weight_writes) == (2, 1)


@pytest.mark.parametrize("generator", Generators.params[1])
def test_every_generator_fills_the_weight_in_float32(generator):
    case = opened(Generators, "cpu", generator, "64x64")
    case.weight.fill_(float("nan"))
    case.time_draw("cpu", generator, "64x64")
    assert case.weight.dtype == torch.float32
    assert not case.weight.isnan().any()


@pytest.mark.parametrize(
    ("generator", "wrong"),
    [
        ("torch.uniform_", lambda out: out.fill_(0.5)),
        ("torch.normal_", lambda out: out.normal_(0, 1.1)),
        ("torch.random_", lambda out: out.random_(1 << 23)),
        ("torch.bernoulli_", lambda out: out.bernoulli_(0.6)),
        ("numpy.SFC64.random", lambda out: np.copyto(out, np.random.default_rng(0).random(out.shape) ** 1.1)),
        ("numpy.PCG64.standard_normal", lambda out: np.copyto(out, np.random.default_rng(0).random(out.shape))),
    ],
)
def test_the_check_of_a_generator_sees_another_distribution(generator, wrong):
    case = opened(Generators, "cpu", generator, "1024x1024")
    case.draw = wrong
    with pytest.raises(AssertionError):
        case.check_draw("cpu", generator, "1024x1024")


def test_a_generator_declares_a_number_for_each_element_where_asv_looks():
    assert Generators.time_draw.weight_draws == 1


def test_the_check_of_a_loop_sees_one_turn_too_few(monkeypatch):
    case = opened(EmptyLoop, "100")
    case.iterations -= 1
    with pytest.raises(AssertionError, match="the last number"):
        case.check_loop("100")


def test_numpy_and_threads_are_not_applicable_on_an_accelerator(monkeypatch):
    monkeypatch.setattr("bench_core.suite.base.missing_device", lambda device: None)
    assert Generators().why_not("cuda", "numpy.PCG64.random", "8x4") == "numpy draws on the CPU, and not on cuda"
    assert Generators().why_not("cuda", "torch.uniform_", "8x4") is None
    assert Memory().why_not("cuda", "all", "8x4") == "threads are the CPU's, and not cuda's"
    assert Memory().why_not("cuda", "1", "8x4") is None
