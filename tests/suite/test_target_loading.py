"""From a spec to a model, and what can be wrong with it."""

import shutil
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from bench_core.errors import BenchCoreError
from bench_core.records.model import LAYOUT_NAMES, ModelSpec
from bench_core.suite.layouts import LAYOUTS
from bench_core.suite.target import differences, load, loading

BUILDERS = """
import random

import numpy
import torch
from torch import nn

size = 3


def build():
    return nn.Linear(3, 2)


def on_the_cpu():
    return nn.Linear(3, 2, device="cpu")


def lazy():
    return nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.Dropout())


def convolution():
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.Embedding(5, 2))


class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.LazyLinear(2), nn.LazyLinear(2)

    def forward(self, x):
        return self.used(x)


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.turn = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        self.weight = nn.Parameter(torch.ones(2))
        self.other = self.weight
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))


def three_generators():
    made = nn.Linear(1, 1)
    with torch.no_grad():
        made.weight.fill_(random.random() + numpy.random.rand())
    return made


def example():
    return torch.ones(2, 3), None


def with_arguments(width, depth=2, *, bias):
    return nn.Linear(width, 2)


def raises():
    raise KeyError("vocab_size")


def exits():
    raise SystemExit(3)


def raises_in_torch():
    return nn.Linear(-1, 2)


def forgets():
    nn.Linear(3, 2)


def wrapped():
    return nn.Linear(3, 2), "tokenizer"


async def waits():
    return nn.Linear(3, 2)


def a_class():
    return nn.Linear


def hidden():
    made = nn.Module()
    made.layers = [nn.Linear(3, 2)]
    return made


def moves():
    return nn.Linear(3, 2).to("cuda")


class Registry:
    @staticmethod
    def small():
        return nn.Linear(3, 2)


made = nn.Linear(3, 2)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, with a package of builders that is imported anew in every test."""
    package = tmp_path / "zoo"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "models.py").write_text(BUILDERS)
    (package / "broken.py").write_text("import torch\nfrom torch import no_such_thing\n")
    (package / "needs.py").write_text("import a_package_that_is_not_there\n")
    (package / "quits.py").write_text("raise SystemExit('not on this machine')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "zoo"]:
        del sys.modules[name]


def spec(builder, **settings):
    return ModelSpec(f"zoo.models:{builder}", **settings)


def refusal(asked):
    """What a person reads who asks for this."""
    with pytest.raises(BenchCoreError) as caught:
        load(asked).ready()
    return str(caught.value)


# --------------------------------------------------------------------------------------------------- what is well made


def test_the_current_folder_is_searched_for_modules_after_all_others(folder):
    load(spec("build"))
    assert sys.path[-1] == str(folder)


def test_a_callable_may_be_an_attribute_of_a_class():
    assert isinstance(load(spec("Registry.small")).build(), nn.Linear)


def test_a_layout_or_a_callable_comes_before_a_file_of_its_name_and_a_path_is_always_a_file(folder):
    safetensors.torch.save_file({"weight": torch.ones(2)}, folder / "weights")
    for name, kind in (("mlp", "layout"), ("zoo.models:build", "callable")):
        shutil.copy(folder / "weights", folder / name)
        assert load(ModelSpec(name)).kind == kind
        assert load(ModelSpec(f"./{name}")).kind == "checkpoint"
    assert load(ModelSpec("weights")).kind == "checkpoint"


def test_commands_know_the_names_of_all_layouts():
    assert list(LAYOUT_NAMES) == list(LAYOUTS)


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name == "mlp" or name.endswith("-tiny")])
def test_a_layout_takes_its_example_in_every_dtype(name):
    target = load(ModelSpec(name, dtype="bfloat16"))
    model = target.ready().eval()
    assert torch.isfinite(torch.as_tensor(model(*target.example(model)))).all()


@pytest.mark.parametrize("name", ["build", "lazy", "three_generators"])
def test_a_model_is_the_same_each_time_it_is_built(name):
    target = load(spec(name, input="2x3"))
    first = target.build()
    for draws in (torch.rand, np.random.rand):
        draws(3)
    assert differences(target.build(), first) == ""


def test_a_lazy_model_gets_its_shapes_from_the_first_input_and_no_statistics():
    model = load(spec("lazy", input="8x3")).build()
    assert model[0].weight.shape == (4, 3)
    assert int(model[1].num_batches_tracked) == 0
    assert all(module.training for module in model.modules())


def test_a_lazy_model_is_materialized_on_meta_too():
    target = load(spec("lazy", input="torch.ones(8, 3)"))
    with torch.device("meta"):
        model = target.build()
    assert model[0].weight.shape == (4, 3)
    assert model[0].weight.is_meta


def test_an_example_may_be_an_expression_in_the_module_of_the_builder():
    target = load(spec("build", dtype="float64", input="example()"))
    tensor, other = target.example(target.build())
    assert (tensor.dtype, tensor.tolist(), other) == (torch.float64, [[1.0] * 3] * 2, None)
    assert load(spec("build", input="torch.zeros(size)")).example(target.build())[0].shape == (3,)


def test_an_example_is_always_the_same_and_leaves_the_generator_alone():
    target = load(spec("build", input="2x3"))
    model = target.build()
    first = target.example(model)
    torch.rand(1)
    before = torch.get_rng_state()
    second = target.example(model)
    assert torch.equal(first[0], second[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_an_example_has_values_for_a_model_that_ignores_the_meta_device():
    target = load(spec("on_the_cpu", input="torch.ones(2, 3)"))
    with torch.device("meta"):
        assert target.example(target.build())[0].tolist() == [[1.0] * 3] * 2


def test_a_target_without_an_example_says_so():
    target = load(spec("build"))
    assert target.example(target.build()) is None


def test_a_dtype_is_that_of_floating_point_tensors_alone_and_keeps_ties():
    model = load(spec("Mixed", dtype="bfloat16")).ready()
    assert [each.dtype for each in model.parameters()] == [torch.complex64, torch.bfloat16]
    assert model.count.dtype == torch.int64
    assert model.other is model.weight


def test_a_tie_that_a_model_lost_is_named():
    ties = (("weight", "other"), ("weight", "turn"), ("weight", "gone"))
    target = load(spec("Mixed", ties=ties))
    assert target.lost_ties(target.build()) == (
        "weight, turn should be one parameter, and are several; "
        "weight, gone should be one parameter, and the model has no gone"
    )


# --------------------------------------------------------------------------------------------------- what is not there


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("zoo.models:bild", "unknown callable of zoo.models 'bild'. Did you mean 'build'?"),
        ("zoo.models:Registry.smal", "unknown callable of zoo.models:Registry 'smal'. Did you mean 'small'?"),
        ("zoo.modles:build", "there is no module 'zoo.modles'. Did you mean 'zoo.models'?"),
        ("zoo.models.deep:build", "there is no module 'zoo.models.deep': zoo.models is a module, not a package."),
        ("zoos:build", "there is no module 'zoos'. Did you mean 'zoo'"),
        ("zoo.models.build", "unknown model 'zoo.models.build'. Did you mean 'zoo.models:build'?"),
        ("gpt3", "unknown model 'gpt3'. Did you mean 'gpt2'"),
        ("weights.pt", "there is no file 'weights.pt'. Did you mean 'weight.pt'?"),
        ("./mlp", "there is no file './mlp'."),
        ("nowhere/weights.pt", "there is no file 'nowhere/weights.pt', and no folder 'nowhere'."),
        ("zoo.models:size", "zoo.models:size is a int, not a callable"),
        ("zoo.models:made", "zoo.models:made is a module that has been built already."),
        ("zoo.broken:build", "zoo.broken cannot be imported: ImportError: cannot import name 'no_such_thing'"),
        ("zoo.needs:build", "zoo.needs cannot be imported: ModuleNotFoundError: No module named 'a_package_that"),
        ("zoo.quits:build", "zoo.quits cannot be imported: SystemExit: not on this machine"),
    ],
)
def test_a_target_that_is_not_there_is_named_with_what_is(target, said, folder):
    (folder / "weight.pt").touch()
    assert said in refusal(ModelSpec(target))


def test_a_module_that_cannot_be_imported_is_named_with_the_line(folder):
    assert f"at {folder}/zoo/broken.py:2" in refusal(ModelSpec("zoo.broken:build"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dtype": "bf16"}, "unknown dtype 'bf16'. Did you mean 'bfloat16'"),
        ({"dtype": "int64"}, "the dtype 'int64' has no floating-point numbers. Known: bfloat16, "),
        ({"dtype": "complex64"}, "the dtype 'complex64' has no floating-point numbers"),
        ({"dtype": "Tensor"}, "unknown dtype 'Tensor'"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"device": "meta"}, "tensors on the device 'meta' have no values"),
        ({"device": "cpu:1"}, "there is no device 'cpu:1': this machine has 1 of type cpu."),
        ({"device": "xla"}, "no xla: torch"),
    ],
)
def test_a_dtype_or_device_that_is_not_there_is_refused(settings, said):
    assert said in refusal(spec("build", **settings))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has one")
def test_an_accelerator_that_is_not_there_is_refused():
    assert "no cuda: torch" in refusal(spec("build", device="cuda"))
    said = refusal(spec("moves"))
    assert "zoo.models:moves wants a device that is not there at " in said
    assert "Build the model without moving it; --device says where it shall be." in said


# ------------------------------------------------------------------------------------------------------ what is broken


@pytest.mark.parametrize(
    ("builder", "said"),
    [
        ("with_arguments", "needs arguments: width, bias. Write a callable without any"),
        ("raises", "zoo.models:raises raised KeyError: 'vocab_size' at "),
        ("exits", "zoo.models:exits raised SystemExit: 3 at "),
        ("forgets", "zoo.models:forgets returned None, not an nn.Module. Does it lack a return?"),
        ("wrapped", "returned a tuple, not an nn.Module. Return the module alone."),
        ("waits", "zoo.models:waits is an async function"),
        ("a_class", "returned the class Linear, not an nn.Module. Return an instance of it."),
        ("example", "returned a tuple, not an nn.Module."),
        ("hidden", "returned a Module without parameters, so there is nothing to measure."),
        ("lazy", "zoo.models:lazy is lazy: 0.weight, 0.bias, 1.weight, 1.bias"),
        ("raises_in_torch", "zoo.models:raises_in_torch raised "),
    ],
)
def test_a_builder_that_makes_no_model_is_named_with_what_it_did(builder, said):
    assert said in refusal(spec(builder))


def test_what_a_builder_raised_is_shown_with_the_last_line_of_the_users_code(folder):
    line = BUILDERS.splitlines().index("    return nn.Linear(-1, 2)") + 1
    assert f"at {folder}/zoo/models.py:{line}" in refusal(spec("raises_in_torch"))


@pytest.mark.parametrize(
    ("builder", "given", "said"),
    [
        ("convolution", "2x3", "zoo.models:convolution cannot be called with --input 2x3: "),
        ("Half", "2x3", "and unused.weight, unused.bias are still lazy: the forward pass did not use them."),
        ("lazy", "2x", "--input '2x' is neither a shape such as 2x4 nor an expression"),
        ("lazy", "exampel()", "NameError: name 'exampel' is not defined"),
        ("lazy", "size", "--input 'size' is a int. It must be a tensor, or a tuple"),
        ("lazy", "(1, 2)", "--input '(1, 2)' is a tuple. It must be a tensor"),
        ("lazy", "100000000x100000000x1000", "--input 100000000x100000000x1000 is too large"),
    ],
)
def test_an_example_that_does_not_fit_is_named(builder, given, said):
    assert said in refusal(spec(builder, input=given))


def test_a_dtype_that_torch_cannot_convert_to_is_named(monkeypatch):
    def refuse(*_):
        raise NotImplementedError("no such kernel")

    monkeypatch.setattr(nn.Module, "_apply", refuse)
    assert "cannot be converted to float64: NotImplementedError: no such kernel" in refusal(
        spec("build", dtype="float64")
    )


def test_ctrl_c_in_a_builder_is_no_error_of_it():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loading._called("name", interrupted)
