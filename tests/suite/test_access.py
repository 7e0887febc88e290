"""Jobs on the parameters of any model: each outcome is checked, and the model is afterwards as it was before."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from bench_core.records.model import ModelSpec
from bench_core.suite import access, denormals, oracles
from bench_core.suite.access import jobs, passes
from bench_core.suite.layouts import TINY
from bench_core.suite.target import load


class Tied(nn.Module):
    """An embedding and an output layer with one weight, a norm with buffers, and a buffer that no state dict holds."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(16, 8)
        self.norm = nn.BatchNorm1d(8)
        self.output = nn.Linear(8, 16, bias=False)
        self.output.weight = self.embedding.weight
        self.dropout = nn.Dropout()
        self.register_buffer("scale", torch.ones(8), persistent=False)

    def forward(self, tokens):
        return {"logits": self.output(self.dropout(self.norm(self.embedding(tokens))) * self.scale), "hidden": None}


class Twice(nn.Module):
    """One module under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = self.first

    def forward(self, inputs):
        return self.second(self.first(inputs).relu())


TOKENS = (torch.arange(12),)
INPUTS = (torch.linspace(-1, 1, 8).view(2, 4),)


def subject(tmp_path, model=None, example=None):
    torch.manual_seed(0)
    if model is None:
        model, example = Tied(), TOKENS
    return access.Subject(model, example, tmp_path)


def with_denormals(tmp_path):
    found = subject(tmp_path)
    found.model.norm.weight.data[:3] = 1e-40
    return found


def subject_of(job, tmp_path):
    return with_denormals(tmp_path) if job == "denormals" else subject(tmp_path)


IDIOMS = [(job, idiom) for job, about in access.JOBS.items() for idiom in about.idioms]
UNTIED_AT_ONCE = ("moving_average", "state_dicts")  # the idiom that is wrong on a tied model


@pytest.mark.parametrize(("job", "idiom"), IDIOMS)
def test_an_idiom_does_what_its_job_promises(job, idiom, tmp_path):
    with access.JOBS[job].prepare(subject_of(job, tmp_path)) as prepared:
        ready = prepared[idiom]
        assert isinstance(ready, access.Ready), ready
        for _ in range(2):  # a check can follow another
            if (job, idiom) == UNTIED_AT_ONCE:
                with pytest.raises(AssertionError, match="average: .* differ"):
                    ready.check(ready.call)
            else:
                ready.check(ready.call)


@pytest.mark.parametrize(("job", "idiom"), IDIOMS)
def test_a_check_fails_if_the_idiom_does_nothing(job, idiom, tmp_path):
    with access.JOBS[job].prepare(subject_of(job, tmp_path)) as prepared, pytest.raises(AssertionError):
        prepared[idiom].check(lambda: None)


@pytest.mark.parametrize("job", access.JOBS)
def test_a_job_leaves_the_model_as_it_was(job, tmp_path):
    given = subject_of(job, tmp_path)
    given.model.norm.eval()
    given.model.embedding.weight.grad = torch.ones(16, 8)
    before, held = copy.deepcopy(given.model), list(given.model.parameters())
    with access.JOBS[job].prepare(given) as prepared:
        for ready in prepared.values():
            if ready.renew:
                ready.renew()
            ready.call()
    assert all(one is other for one, other in zip(given.model.parameters(), held, strict=True))
    for (name, found, _), (_, expected, _) in zip(oracles.held(given.model), oracles.held(before), strict=True):
        oracles.identical(found, expected, name)
    assert torch.equal(given.model.embedding.weight.grad, torch.ones(16, 8))
    assert given.model.norm.weight.grad is None
    assert [module.training for module in given.model.modules()] == [True, True, False, True, True]
    assert list(tmp_path.iterdir()) == []


def test_every_idiom_of_a_job_is_prepared_in_its_order(tmp_path):
    for name, job in access.JOBS.items():
        with job.prepare(subject_of(name, tmp_path)) as prepared:
            assert tuple(prepared) == job.idioms
        assert set(job.notes) <= set(job.idioms)


def test_a_moving_average_by_state_dicts_is_right_without_ties(tmp_path):
    with access.JOBS["moving_average"].prepare(subject(tmp_path, nn.Linear(4, 4))) as prepared:
        prepared["state_dicts"].check(prepared["state_dicts"].call)


def test_a_moving_average_of_another_share_fails_its_check(tmp_path):
    with access.JOBS["moving_average"].prepare(subject(tmp_path)) as prepared:
        for ready in prepared.values():

            def twice(update=ready.call):
                update()
                update()

            with pytest.raises(AssertionError, match="average: .* differ"):
                ready.check(twice)


def test_a_step_of_another_length_fails_its_check(tmp_path):
    with access.JOBS["optimizer_step"].prepare(subject(tmp_path)) as prepared:
        for ready in prepared.values():

            def twice(step=ready.call):
                step()
                step()

            with pytest.raises(AssertionError, match="weight: .* differ"):
                ready.check(twice)


def test_gradients_that_are_clipped_to_another_norm_fail_the_check(tmp_path):
    given = subject(tmp_path)
    with access.JOBS["clip"].prepare(given) as prepared:
        for ready in prepared.values():
            with pytest.raises(AssertionError, match="clipped gradient: .* differ"):
                ready.check(lambda: nn.utils.clip_grad_norm_(list(given.model.parameters()), 0.5))


def test_a_check_sees_both_ends_of_a_large_parameter(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "MOST", 16)
    net = nn.Linear(8, 8, bias=False)
    with access.JOBS["optimizer_step"].prepare(subject(tmp_path, net)) as prepared:
        ready = prepared["for_loop"]
        ready.check(ready.call)

        def last_is_off():
            ready.call()
            net.weight.data[-1, -1] += 1

        with pytest.raises(AssertionError, match="weight: 1 of 15 elements differ"):
            ready.check(last_is_off)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("job", ["clip", "optimizer_step", "moving_average", "zero_grad", "copy", "parametrized"])
def test_a_check_knows_right_from_wrong_in_each_dtype(job, dtype, tmp_path):
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4)).to(dtype)
    with access.JOBS[job].prepare(subject(tmp_path, net)) as prepared:
        for ready in prepared.values():
            ready.check(ready.call)
            with pytest.raises(AssertionError):
                ready.check(lambda: torch.zeros((), dtype=dtype))


def test_a_job_says_why_it_does_not_apply(tmp_path):
    frozen = nn.Linear(4, 4).requires_grad_(False)
    without_input = subject(tmp_path, nn.Linear(4, 4))
    for job, given, reason in [
        ("zero_grad", subject(tmp_path, frozen), "no parameter requires a gradient"),
        ("backward", subject(tmp_path, nn.Linear(4, 4), INPUTS), "no parameter is tied"),
        ("backward", without_input, "no example of its input is known: give one with --input"),
        ("default_device", without_input, "no example of its input is known: give one with --input"),
        ("denormals", subject(tmp_path, nn.Linear(4, 4), INPUTS), "no weight on the CPU is a denormal number"),
        ("parametrized", subject(tmp_path, nn.BatchNorm1d(4)), "no parameter has two dimensions"),
        ("save_part", subject(tmp_path, nn.Linear(4, 1, bias=False)), "no parameter of up to 64 MiB has two rows"),
    ]:
        with pytest.raises(access.NotHereError, match=reason), access.JOBS[job].prepare(given):
            pass


def test_the_parametrization_of_the_model_is_the_one_that_is_read(tmp_path):
    net = nn.Sequential(nn.Linear(8, 8), parametrizations.spectral_norm(nn.Linear(4, 4)))
    before = copy.deepcopy(net)
    with access.JOBS["parametrized"].prepare(subject(tmp_path, net)) as prepared:
        for ready in prepared.values():
            ready.check(ready.call)
        # spectral_norm in training mode would make a step of its power iteration.
        for (name, found, _), (_, expected, _) in zip(oracles.held(net), oracles.held(before), strict=True):
            oracles.identical(found, expected, name)
        assert isinstance(prepared["variable"].call(), torch.Tensor)


def test_a_layer_with_a_row_of_zeros_can_be_parametrized(tmp_path):
    net = nn.Sequential(nn.Embedding(8, 4, padding_idx=0), nn.Linear(2, 2))
    with access.JOBS["parametrized"].prepare(subject(tmp_path, net)) as prepared:
        for ready in prepared.values():
            ready.check(ready.call)


@pytest.mark.parametrize("name", TINY)
def test_every_idiom_is_right_on_every_layout_or_says_why_it_does_not_apply(name, tmp_path):
    target = load(ModelSpec(name))
    model = target.ready()
    given = access.Subject(model, target.example(model), tmp_path)
    tied = bool(oracles.tied_names(model))
    refused = {}
    for job, about in access.JOBS.items():
        try:
            with about.prepare(given) as prepared:
                for idiom, ready in prepared.items():
                    assert isinstance(ready, access.Ready), ready
                    if tied and (job, idiom) == UNTIED_AT_ONCE:
                        continue
                    ready.check(ready.call)
        except access.NotHereError as error:
            refused[job] = str(error)
    denormal = {"denormals": "no weight on the CPU is a denormal number"}
    assert refused == (denormal if tied else {"backward": "no parameter is tied", **denormal})


# Untied copies


@pytest.mark.parametrize(("model", "example"), [(Tied, TOKENS), (Twice, INPUTS)])
def test_an_untied_copy_computes_the_same_with_a_parameter_for_each_name(model, example):
    torch.manual_seed(0)
    net = model().eval()
    twin = passes.untied(net)
    assert oracles.tied_names(net)
    assert not oracles.tied_names(twin)
    names = [name for name, _ in net.named_parameters(remove_duplicate=False)]
    assert [name for name, _ in twin.named_parameters()] == names
    for one, other in zip(passes.outputs(net(*example)), passes.outputs(twin(*example)), strict=True):
        oracles.identical(one, other, "output")


@pytest.mark.parametrize(("model", "example"), [(Tied, TOKENS), (Twice, INPUTS)])
def test_gradients_that_are_replaced_instead_of_added_fail_the_check(model, example, tmp_path):
    given = subject(tmp_path, model(), example)
    with access.JOBS["backward"].prepare(given) as prepared:
        ready = prepared["tied"]
        ready.check(ready.call)

        def replaced():
            ready.call()
            for name, parameter in given.model.named_parameters():
                if name in ("embedding.weight", "first.weight"):
                    parameter.grad *= 0.6

        with pytest.raises(AssertionError, match=r"gradient of (embedding|first)\.weight"):
            ready.check(replaced)


def test_outputs_are_found_in_what_models_return():
    class Output:
        def __init__(self, logits):
            self.logits, self.cache = logits, None

    one = torch.ones(2)
    for returned in (one, (one, None), [{"a": one}], {"logits": one, "index": torch.ones(1, dtype=torch.int64)}):
        assert passes.outputs(returned) == [one] or passes.outputs(returned)[0] is one
    assert passes.outputs(Output(one))[0] is one


# Denormal numbers


def test_denormal_elements_are_counted_where_a_cpu_meets_them():
    values = [0.0, 1.0, -1e-40, 1e-40, 1.2e-38]
    assert denormals.count(torch.tensor(values)) == 2
    assert denormals.count(torch.tensor(values, dtype=torch.bfloat16)) == 2
    assert denormals.count(torch.tensor([1e-310, 1e-300], dtype=torch.float64)) == 1
    assert denormals.count(torch.tensor([1e-7, 1.0], dtype=torch.float16)) == 0
    assert denormals.count(torch.tensor([1])) == 0


def test_counting_sees_every_chunk(monkeypatch):
    monkeypatch.setattr(denormals, "CHUNK", 2)
    assert denormals.count(torch.tensor([[1.0, 1.0], [1.0, 1e-40], [1e-40, 1.0]])) == 2


def test_a_tensor_with_denormal_elements_is_named(tmp_path):
    assert denormals.held(subject(tmp_path).model) == {}
    assert denormals.held(with_denormals(tmp_path).model) == {"norm.weight": 3}


def test_flushing_ends_with_its_block():
    if reason := denormals.why_no_flush():
        pytest.skip(reason)
    small = torch.tensor([1e-40])
    with denormals.flushed():
        assert float(small * 1) == 0
    assert float(small * 1) > 0
