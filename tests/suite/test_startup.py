"""Ways to start a model up, their code to copy, and their checks."""

import pytest
import torch
from torch import nn

from bench_core.errors import BenchCoreError
from bench_core.suite import lazy, startup, startup_check, startup_code
from bench_core.suite.target import differences

LOADS = [name for name, way in startup.WAYS.items() if way.job == "load"]
HERE = [name for name, way in startup.WAYS.items() if not startup.why_not(way, "cpu")]


class Model(nn.Module):
    """What start-up can get wrong: a tied weight, a buffer that no checkpoint holds, a tensor that is a plain
    attribute, a frozen parameter, a statistic, and a layer in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(64, 16, padding_idx=0)
        self.hidden = nn.Linear(16, 16)
        self.norm = nn.BatchNorm1d(16)
        self.head = nn.Linear(16, 64, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("angles", torch.arange(16.0) / 3, persistent=False)
        self.scale = torch.tensor(2.5)
        self.hidden.bias.requires_grad = False
        self.norm.eval()
        self.apply(self._init_weights)

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            module.bias.data.fill_(0.5)


def build():
    torch.manual_seed(0)
    return Model()


@pytest.fixture
def files(tmp_path):
    model = build()
    startup.change(model)
    for kind, name in startup.EXAMPLES.items():
        startup.save(model, kind, tmp_path / name)
    return tmp_path


def expected(files):
    return startup.go(startup.PLAIN["load"], build, "cpu", files / "model.pt").model


def gone(name, files, build=build):
    way = startup.WAYS[name]
    with lazy.poisoned_memory():
        return startup.go(way, build, "cpu", files / startup.EXAMPLES[way.format] if way.format else None).model


@pytest.mark.parametrize("name", LOADS)
def test_every_way_to_load_gives_the_model_of_the_plain_one(name, files):
    assert differences(gone(name, files), expected(files)) == ""


def test_the_checkpoint_has_other_values_than_the_constructor(files):
    one, other = build().state_dict(), expected(files).state_dict()
    assert [name for name in one if torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("name", HERE)
def test_the_code_to_copy_runs_as_it_is_and_gives_the_same_model(name, files, monkeypatch):
    monkeypatch.chdir(files)
    way = startup.WAYS[name]
    names = {"__name__": "copied"}
    monkeypatch.setitem(__import__("sys").modules, "my_models", type("my_models", (), {"build": staticmethod(build)}))
    exec(way.code("from my_models import build", "cpu"), names)
    if way.job == "load":
        assert differences(names["model"], expected(files)) == ""
    else:
        assert startup_check.initialized(names["model"], build()).wrong == ""


def test_code_for_a_file_of_a_user_reads_it_where_its_tensors_are(tmp_path):
    file = startup.Checkpoint(tmp_path / "run.ckpt", "torch", {}, key="state_dict", trust=True)
    code = startup.WAYS["meta_assign_mmap"].code("build = my_model", "cuda", file)
    path = tmp_path / "run.ckpt"
    assert f'checkpoint = "{path}"' in code
    assert "torch.load(checkpoint, map_location=device, weights_only=False, mmap=True)['state_dict']" in code
    assert 'device = "cuda"' in code
    assert "model = model.to(device)" in code


def test_without_its_finish_a_model_from_meta_is_found_wrong(files):
    way = startup.WAYS["meta_assign_mmap"]
    steps = tuple(step for step in way.steps if step.name != "finish")
    found = startup.go(startup.replace(way, steps=steps), build, "cpu", files / "model.pt").model
    wrong = startup_check.loaded(found, expected(files)).wrong
    assert "embedding.weight and head.weight: no longer one tensor" in wrong
    assert "angles" in wrong
    assert "on meta, without values" in wrong
    assert "scale" in wrong


def test_parameters_of_skipped_draws_have_no_values_and_buffers_have_theirs():
    with lazy.poisoned_memory(), startup_code.SkipDraws():
        model = build()
    assert all(parameter.isnan().all() for parameter in model.parameters())
    assert torch.equal(model.angles, build().angles)
    assert torch.equal(model.norm.running_var, torch.ones(16))
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in build().parameters()]


def test_after_the_block_draws_are_no_longer_skipped():
    with startup_code.SkipDraws():
        build()
    assert differences(build(), build()) == ""
    assert not build().hidden.weight.isnan().any()


def test_what_reads_a_parameter_within_the_block_of_last_draws_sees_its_values():
    with startup_code.LastDraws():
        layer = nn.Linear(8, 8)
        nn.init.constant_(layer.weight, 3.0)
        assert layer.weight.sum() == 192
        layer.weight.data.normal_()
        assert layer.weight.data.std() > 0
        nn.init.ones_(layer.bias)
        assert torch.stack([layer.bias]).sum() == 8


def test_last_draws_draw_each_parameter_once(monkeypatch):
    drawn = []
    fill = startup_code.LastDraws.fill
    monkeypatch.setattr(
        startup_code.LastDraws,
        "fill",
        lambda self, memories: (drawn.extend(m for m in memories if m in self.waiting), fill(self, memories))[1],
    )
    with startup_code.LastDraws():
        model = build()
    weights = [model.hidden.weight, model.norm.weight, model.norm.bias]
    assert [drawn.count(each.untyped_storage().data_ptr()) for each in weights] == [1, 1, 1]
    assert startup_check.initialized(model, build()).wrong == ""


def test_other_random_numbers_are_no_fault_and_are_named():
    torch.manual_seed(1)
    assert startup_check.initialized(Model(), build()) == startup_check.Checked(others=True)
    assert startup_check.initialized(build(), build()) == startup_check.Checked()


@pytest.mark.parametrize(
    ("break_it", "wrong"),
    [
        (lambda model: nn.init.uniform_(model.hidden.weight), "hidden.weight: another distribution"),
        (lambda model: nn.init.zeros_(model.hidden.bias), "hidden.bias: other values"),
        (lambda model: nn.init.zeros_(model.hidden.weight), "hidden.weight: other values"),
        (lambda model: model.hidden.weight.data.fill_(torch.nan), "hidden.weight: not initialized"),
        (lambda model: model.angles.add_(1), "angles: other values"),
        (lambda model: model.norm.train(), "norm: training=True"),
    ],
)
def test_an_initialized_model_that_is_not_like_the_plain_one_is_found(break_it, wrong):
    torch.manual_seed(1)
    model = Model()
    break_it(model)
    assert startup_check.initialized(model, build()).wrong.startswith(wrong)


def test_a_model_that_is_initialized_in_its_constructor_alone_is_not_initialized_again():
    class Constructor(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(64, 64))

    with lazy.poisoned_memory():
        found = startup.go(startup.WAYS["meta_to_empty"], Constructor, "cpu", None).model
    assert startup_check.initialized(found, Constructor()).wrong == "weight: not initialized"


class Given(nn.Module):
    """Parameters that are not drawn, and rows that are not."""

    def __init__(self, number):
        super().__init__()
        torch.manual_seed(number)
        self.table = nn.Embedding(300, 64, padding_idx=0)
        self.angles = nn.Parameter(torch.arange(64.0).sin())
        self.scale = nn.Parameter(torch.tensor(2.5))
        self.turns = nn.Parameter(torch.randn(8, 8, dtype=torch.complex64))
        self.places = nn.Parameter(torch.randint(0, 1000, (64,)), requires_grad=False)
        self.mask = nn.Parameter(torch.ones(8, dtype=torch.bool), requires_grad=False)


@pytest.mark.parametrize(
    ("break_it", "wrong"),
    [
        (lambda model: None, ""),
        (lambda model: nn.init.normal_(model.table.weight), "table.weight: other values"),
        (lambda model: model.angles.copy_(model.angles.flip(0)), "angles: other values"),
        (lambda model: model.scale.fill_(1), "scale: other values"),
        (lambda model: model.turns.fill_(torch.nan), "turns: not initialized"),
        (lambda model: model.turns.add_(10 + 10j), "turns: another distribution"),
        (lambda model: model.places.fill_(7), "places: other values"),
        (lambda model: model.mask.zero_(), "mask: other values"),
    ],
)
@torch.no_grad()
def test_what_is_not_drawn_must_be_equal_and_what_is_drawn_like_it_in_every_dtype(break_it, wrong):
    model = Given(1)
    break_it(model)
    found = startup_check.initialized(model, Given(0), lambda: Given(2)).wrong
    assert found.startswith(wrong) if wrong else not found


def test_of_a_model_that_seeds_itself_nothing_is_known_to_be_not_drawn():
    assert startup_check.initialized(Given(1), Given(0), lambda: Given(0)).wrong == ""


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.bool, torch.int32])
def test_each_dtype_gets_other_values_for_a_checkpoint(dtype):
    model = nn.Module()
    model.weight = nn.Parameter(torch.ones(4).to(dtype), requires_grad=False)
    before = model.weight.detach().clone()
    startup.change(model)
    assert (before.view(torch.uint8) != model.weight.view(torch.uint8)).any()
    assert model.weight.float().isfinite().all()


def test_extra_state_is_named_as_what_safetensors_cannot_hold(tmp_path):
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"seen": 1}

    with pytest.raises(BenchCoreError, match="holds tensors alone, and the state dict holds _extra_state"):
        startup.save(Extra(2, 2), "safetensors", tmp_path / "model.safetensors")


def test_a_module_without_parts_is_a_model_too():
    assert startup_check.initialized(*(Weights(number) for number in range(2)), lambda: Weights(2)).others


class Weights(nn.ModuleList):
    """Its length is 0."""

    def __init__(self, number):
        super().__init__()
        torch.manual_seed(number)
        self.weight = nn.Parameter(torch.randn(8))
        self.scale = nn.Parameter(torch.ones(64))
