"""The process that forks a fresh one for each task, with real ones."""

import json
import os
import signal
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from torch import nn

from bench_core.errors import BenchCoreError
from bench_core.model import keeper, worker
from bench_core.model.messages import (
    Access,
    Check,
    CheckedWay,
    CheckedWays,
    Describe,
    Described,
    Failed,
    FindImports,
    FoundImports,
    Go,
    Import,
    Limits,
    Refused,
    Save,
    Setting,
)
from bench_core.records.model import ModelSpec
from bench_core.suite import parts, startup, startup_check

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # pytest's process has threads

MODULE = """
import os, signal, threading
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Linear(1024, 4096), nn.Linear(4096, 1024))  # 32 MiB

def small():
    return nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))

def dies():
    os.kill(os.getpid(), signal.SIGTERM)

def leaves():
    os._exit(3)

def forks():
    os.fork()
    return small()

def hangs():
    threading.Event().wait()

def raises():
    raise ValueError("no such layer")

def tie():
    return nn.Linear(8, 4)

class Builders:
    complete = staticmethod(tie)

def turning():
    model = tie()
    model.turn = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    return model

def example():
    return (torch.ones(2, 8),)

class Lazy(nn.LazyLinear):
    cls_to_become = None

def lazy():
    model = Lazy(4)
    model.rest = nn.Dropout().eval()
    return model

def not_on_meta():
    model = build()
    if model[0].weight.is_meta:
        raise ValueError("not on meta")
    return model
"""


@pytest.fixture
def setting(tmp_path, monkeypatch):
    (tmp_path / "bench_core_made.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bench_core_made", raising=False)
    return lambda name="build", **more: Setting(ModelSpec(f"bench_core_made:{name}", **more), str(tmp_path), threads=1)


def answered(setting, task):
    return keeper._answer(setting, task)


def test_memory_that_was_free_before_the_way_counts_too(setting):
    large = [torch.ones(3 << 20) for _ in range(20)]  # when it is freed, glibc takes blocks of this size from the heap
    del large
    freed = [torch.ones(1 << 18) for _ in range(400)]
    last = freed.pop()
    del freed  # but what is below the last block stays with the process
    answered(setting(), Save("torch", 60))
    assert answered(setting(), Go("eager_copy", 60)).peak_bytes > 60 << 20
    assert last.sum() == 1 << 18


def test_a_way_is_timed_stage_by_stage_and_its_memory_is_that_of_the_model(setting):
    saved = answered(setting(), Save("torch", 60))
    assert saved.bytes >= 32 << 20
    plain = answered(setting(), Go("eager_copy", 60))
    mapped = answered(setting(), Go("skip_draws_assign_mmap", 60))
    assert len(plain.seconds) == 3
    assert min(plain.seconds) > 0
    assert 60 << 20 < plain.peak_bytes < 120 << 20  # the model, and what was read
    assert 30 << 20 < mapped.peak_bytes < 60 << 20  # pages of the file, which were all touched


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("dies", "its process was ended by SIGTERM"),
        ("leaves", "its process ended with status 3"),
        ("hangs", "it did not end within 2 s"),
    ],
)
def test_a_process_that_dies_or_hangs_is_an_answer(setting, name, cause):
    assert answered(setting(name), Go("eager", 2)) == Failed(cause)


def test_a_builder_that_forks_answers_once(setting):
    for _ in range(5):
        assert isinstance(answered(setting("forks"), Describe(60)), Described)


def test_the_killer_of_large_processes_is_named_as_a_likely_cause():
    status = os.waitpid(os.spawnlp(os.P_NOWAIT, "sh", "sh", "-c", "kill -9 $$"), 0)[1]
    assert keeper._ended(status) == "its process was ended by SIGKILL, as the system does when memory runs out"
    assert signal.SIGKILL == 9


def test_a_builder_that_raises_is_refused_with_its_error(setting):
    found = answered(setting("raises"), Describe(60))
    assert isinstance(found, Refused)
    assert "no such layer" in found.cause


def test_a_model_that_cannot_be_built_on_meta_is_described_and_goes_the_other_ways(setting):
    described = answered(setting("not_on_meta"), Describe(60))
    assert described.layout.parameters == 4
    answered(setting("not_on_meta"), Save("torch", 60))
    checked = answered(setting("not_on_meta"), Check(("eager_copy", "meta_assign", "skip_draws_copy"), 60))
    assert isinstance(checked, CheckedWays)
    assert [(way.name, "not on meta" in way.why_not) for way in checked.ways] == [
        ("eager_copy", False),
        ("meta_assign", True),
        ("skip_draws_copy", False),
    ]


def test_a_tie_that_is_asked_for_and_lost_is_wrong_in_every_way(setting):
    asked = setting(ties=(("0.weight", "1.weight"),))
    answered(asked, Save("torch", 60))
    (found,) = answered(asked, Check(("skip_draws_copy",), 60)).ways
    assert found.wrong == "0.weight, 1.weight should be one parameter, and are several"
    assert answered(setting(), Check(("skip_draws_copy",), 60)).ways == (CheckedWay("skip_draws_copy"),)


@pytest.mark.thorough
def test_a_checkpoint_in_several_files_goes_the_ways_that_load_safetensors(setting, tmp_path):
    for number in range(2):
        safetensors.torch.save_file({f"{number}.weight": torch.full((64, 64), 3.0)}, tmp_path / f"{number}.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {f"{number}.weight": f"{number}.safetensors" for number in range(2)}}))
    asked = replace(setting(), spec=ModelSpec(str(tmp_path)))
    described = answered(asked, Describe(60))
    assert (described.given, described.layout.elements) == ("safetensors", 2 * 64 * 64)
    ways = tuple(way.name for way in described.ways if way.format == "safetensors" and not way.why_not)
    assert len(ways) == 3
    answered(asked, Save("torch", 60))
    assert answered(asked, Check(("eager_copy", *ways), 60)).ways == tuple(
        CheckedWay(name) for name in ("eager_copy", *ways)
    )
    assert len(answered(asked, Go("skip_draws_assign_safetensors", 60)).seconds) == 4
    (code,) = (way.code for way in described.ways if way.name == "eager_safetensors_copy")
    assert f'checkpoint = "{index}"' in code
    names = {"build": worker.load(asked.spec).build}
    exec(code.replace("from my_package import build", ""), names)
    assert all(each.eq(3).all() for each in names["model"].parameters())


def test_a_way_that_does_not_load_is_found_wrong(setting, monkeypatch):
    answered(setting(), Save("torch", 60))
    way = startup.WAYS["skip_draws_copy"]
    broken = replace(way, steps=tuple(step for step in way.steps if step.name != "load"))
    monkeypatch.setitem(startup.WAYS, way.name, broken)
    (found,) = answered(setting(), Check((way.name,), 60)).ways
    assert "0.weight, 0.bias, 1.weight and 1 more: other values" in found.wrong


@pytest.fixture
def library(tmp_path, setting):
    """A setting whose builder imports a library, which takes a while and memory."""
    (tmp_path / "bench_core_library").mkdir()
    (tmp_path / "bench_core_library" / "__init__.py").write_text("from bench_core_library.layers import Layers")
    (tmp_path / "bench_core_library" / "layers.py").write_text(
        "import time, torch\n"
        "ends = time.process_time() + 0.3\n"
        "while time.process_time() < ends: pass\n"
        "table = torch.ones(16 << 20)  # 64 MiB\n"
        "def Layers(): return torch.nn.Linear(8, 8)\n"
    )
    (tmp_path / "bench_core_made.py").write_text(
        f"{MODULE}\ndef imports():\n    import bench_core_library\n    return bench_core_library.Layers()\n"
    )
    return setting("imports")


@pytest.mark.parametrize("block", ["", "whole"])
def test_what_building_imports_is_named_and_neither_timed_nor_counted_as_memory(library, block):
    names = ("bench_core_library", "bench_core_library.layers")
    assert answered(replace(library, block=block), FindImports(60)) == FoundImports(names)
    ready = replace(library, imports=names)
    imported = answered(ready, Import(60))
    assert imported.seconds >= 0.3
    went = answered(ready, Go("eager", 60))
    assert sum(went.seconds) < 0.3
    assert went.peak_bytes < 64 << 20
    assert "bench_core_library" not in sys.modules


def test_a_module_that_cannot_be_imported_alone_is_left_to_the_builder(library):
    ready = replace(library, imports=("no_such_module", "bench_core_library"))
    assert sum(answered(ready, Go("eager", 60)).seconds) < 0.3


def test_layouts_and_checkpoints_import_nothing(setting):
    assert answered(Setting(ModelSpec("mlp"), "", threads=1), FindImports(60)) == FoundImports(())


def test_limits_are_bytes_a_second(setting):
    found = answered(setting(), Limits(1 << 20, 60))
    assert min(found.write, found.copy) > 1e6


def test_the_largest_part_that_fits_is_chosen():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Sequential(nn.Linear(16, 16, bias=False)))
    assert parts.largest_part(model, 2000) == ("1", 1024)
    assert parts.largest_part(model, 1000) == ("0", 256)
    assert parts.largest_part(model, 100) == ("0", 256)


def test_ranks_shard_a_repeated_block_of_a_large_model_or_its_largest_part(monkeypatch):
    with torch.device("meta"):
        blocks = nn.ModuleList([nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)])
        model = nn.ModuleDict({"embedding": nn.Embedding(100, 8), "layers": blocks})
    assert parts.part_for_ranks(model) == ("layers.0", 256)
    monkeypatch.setattr(parts, "LARGEST_PART", 100)
    assert parts.part_for_ranks(model) == ("layers.0", 256)
    del model["layers"]
    monkeypatch.setattr(parts, "LARGEST_PART", 5000)
    assert parts.part_for_ranks(model) == ("embedding", 3200)


def test_ranks_that_are_not_allowed_are_refused_before_the_model_is_built(setting, monkeypatch):
    given = setting()
    monkeypatch.setattr(worker, "load", lambda spec: pytest.fail("the model is loaded"))
    with pytest.raises(BenchCoreError, match="^1000 ranks cannot be started here: 1 to "):
        worker.perform(given, Describe(60, ranks=1000))


def test_only_of_a_large_model_ranks_shard_a_part(setting, monkeypatch):
    assert answered(setting(), Describe(60)).sharded == ""
    monkeypatch.setattr(worker, "LARGEST_PART", 100)
    monkeypatch.setattr(parts, "LARGEST_PART", 100)
    assert answered(setting(), Describe(60)).sharded


def test_a_part_is_built_with_the_initializers_of_its_model():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
            self.apply(self._init_weights)

        def _init_weights(self, module):
            if isinstance(module, nn.Linear):
                nn.init.constant_(module.weight, 3.0)

    with torch.device("meta"):
        model = Model()
    build = parts.part(model, "layers.1")
    assert build().weight.eq(3).all()
    assert (
        startup_check.initialized(startup.go(startup.WAYS["meta_to_empty"], build, "cpu", None).model, build()).wrong
        == ""
    )
    with torch.device("meta"):
        assert build().weight.is_meta


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("build", "from m import build"),
        ("small", "from m import small as build"),
        ("Made.by", "from m import Made\n\nbuild = Made.by"),
    ],
)
def test_code_imports_what_makes_the_model_in_one_line(name, code):
    target = SimpleNamespace(spec=ModelSpec(f"m:{name}"), kind="callable")
    assert worker.opening(target) == code


def test_code_of_a_target_with_a_dtype_runs(setting):
    target = worker.load(setting(dtype="bfloat16").spec)
    names = {}
    exec(startup.WAYS["eager"].code(worker.opening(target), "cpu"), names)
    assert names["model"][0].weight.dtype is torch.bfloat16


def code_of(spec, way="eager"):
    """The names that are left after the code of a way has run."""
    names = {}
    exec(startup.WAYS[way].code(worker.opening(worker.load(spec)), "cpu"), names)
    return names


def test_code_with_a_dtype_leaves_complex_parameters_complex(setting):
    model = code_of(setting("turning", dtype="float64").spec)["model"]
    assert (model.weight.dtype, model.turn.dtype) == (torch.float64, torch.complex64)


@pytest.mark.parametrize("given", ["2x8", "example()", "example()[0]"])
def test_code_of_a_lazy_model_makes_its_example_and_keeps_what_is_in_evaluation_mode(setting, given):
    spec = setting("lazy", input=given).spec
    for way in ("eager", "meta_to_empty"):
        model = code_of(spec, way)["model"]
        assert (model.weight.shape, model.rest.training, model.training) == ((4, 8), False, True)
    assert worker.load(spec).build().weight.shape == (4, 8)


@pytest.mark.parametrize("name", ["tie", "Builders.complete"])
def test_code_of_a_builder_that_is_called_like_what_the_code_uses_runs(setting, name):
    assert code_of(setting(name).spec, "meta_to_empty")["model"].weight.shape == (4, 8)


@pytest.mark.thorough
def test_jobs_on_the_parameters_of_a_model_and_of_a_part_are_measured(setting):
    whole = answered(setting("small"), Access(0.1, 60))
    part = answered(replace(setting("small"), block="0"), Access(0.1, 60))
    for found in (whole, part):
        assert {"state_dict", "clip"} <= {idiom.job for idiom in found.idioms if idiom.seconds}
