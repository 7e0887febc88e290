"""The state-dict family: what its cells rest on, beyond the check that each of them has."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench_core.suite import averages, checkpoints, lazy
from bench_core.suite.checkpoints import KEEPS_TIED, Tie
from bench_core.timing.cells import SkippedError, SuiteDirectory

SUITE = SuiteDirectory(Path(__file__).parents[2] / "benchmarks")
with SUITE.importable():
    state_dict = importlib.import_module("benchmarks.state_dict")

TIE_CLASSES = [
    state_dict.LoadByModules,
    state_dict.LoadTwentyThousandKeys,
    state_dict.LoadBySize,
    state_dict.LoadAcrossDtypes,
    state_dict.Copy,
    state_dict.SaveFile,
    state_dict.WarmFile,
    state_dict.ColdFile,
]


def idioms(owner):
    return [str(idiom) for idiom in owner.params[owner.param_names.index("idiom")]]


def cell(name):
    (found,) = [cell for cell in SUITE.cells if cell.name == f"state_dict.{name}"]
    return found


cold_reads = pytest.mark.skipif(
    checkpoints.why_no_cold_read() is not None, reason="the page cache cannot be dropped on this system"
)


def evicted(path):
    reason = checkpoints.evict(path)
    if reason:
        pytest.skip(reason)


# Tied parameters


@pytest.mark.parametrize("idiom", KEEPS_TIED)
def test_an_idiom_does_to_tied_parameters_what_keeps_tied_says(idiom):
    assert checkpoints.tie_after(idiom) is KEEPS_TIED[idiom]


def test_every_idiom_that_loads_copies_or_saves_is_in_keeps_tied():
    every = [*checkpoints.LOADS, *checkpoints.COPIES, *checkpoints.SAVES, *checkpoints.FILE_LOADS]
    assert sorted(every) == sorted(KEEPS_TIED)


@pytest.mark.parametrize("owner", TIE_CLASSES, ids=lambda owner: owner.__name__)
def test_an_idiom_that_does_not_keep_parameters_tied_is_marked_so_where_it_is_compared(owner):
    text = " ".join(owner.__doc__.split())
    words = {
        Tie.ONE_MEMORY: "two parameters over one memory",
        Tie.SEPARATE: "memory of its own",
        Tie.REFUSED: "refuse",
    }
    broken = [idiom for idiom in idioms(owner) if KEEPS_TIED[idiom] is not Tie.ONE_PARAMETER]
    assert broken
    for idiom in broken:
        assert f"`{idiom}`" in text
        assert words[KEEPS_TIED[idiom]] in text


def test_a_check_sees_an_idiom_that_stops_keeping_parameters_tied(monkeypatch):
    monkeypatch.setitem(checkpoints.LOADS, "load_state_dict", checkpoints.LOADS["assign"])
    with (
        cell("LoadBySize.time_load(cpu, load_state_dict, 8x4)").open() as opened,
        pytest.raises(AssertionError, match="tied"),
    ):
        opened.check()


def test_tying_again_or_keep_vars_is_the_way_round_assign():
    net = checkpoints.tied_pair()
    net.load_state_dict(checkpoints.snapshot(net), assign=True)
    net[1].weight = net[0].weight
    assert checkpoints.tie_of(net) is Tie.ONE_PARAMETER

    net = checkpoints.tied_pair()
    net.load_state_dict(checkpoints.tied_pair().state_dict(keep_vars=True), assign=True)
    assert checkpoints.tie_of(net) is Tie.ONE_PARAMETER


@pytest.mark.parametrize(("optimizer", "moves"), [(torch.optim.Adam, 2.0), (torch.optim.SGD, 1.0)])
def test_adam_moves_a_weight_twice_that_assign_has_untied_and_plain_sgd_does_not(optimizer, moves):
    steps = []
    for assign in (False, True):
        torch.manual_seed(0)
        net = checkpoints.tied_pair()
        for parameter in net.parameters():
            nn.init.ones_(parameter)  # so that both layers' gradients have the same sign
        net.load_state_dict(checkpoints.snapshot(net), assign=assign)
        before = net[0].weight.detach().clone()
        net(torch.ones(1, 4)).sum().backward()
        optimizer(net.parameters(), lr=1e-3).step()
        steps.append(before - net[0].weight.detach())
    torch.testing.assert_close(steps[1], moves * steps[0])


# Reading


class Dispatched(TorchDispatchMode):
    """Record the operators that reach torch's dispatcher."""

    def __init__(self):
        super().__init__()
        self.operators = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.operators.append(function)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("idiom", checkpoints.READ_LAYER)
def test_reading_does_the_same_whatever_the_size_and_never_copies(idiom):
    seen = []
    for size in ("8x4", "4096x4096"):
        layer = checkpoints.layer(size)
        with Dispatched() as dispatched:
            found = checkpoints.READ_LAYER[idiom](layer)
        assert found.data_ptr() == layer.weight.data_ptr()
        seen.append(dispatched.operators)
    assert seen[0] == seen[1]
    assert set(seen[0]) <= {torch.ops.aten.detach.default, torch.ops.aten.alias.default}


# Loading


def test_assign_alone_leaves_the_model_in_the_dtype_of_the_checkpoint():
    net = checkpoints.layer("8x4", dtype="float32")
    net.load_state_dict(checkpoints.snapshot(checkpoints.layer("8x4", dtype="bfloat16")), assign=True)
    assert net.weight.dtype is torch.bfloat16


def without_gradient(layer):
    layer.weight.requires_grad_(False)


def of_another_dtype(layer):
    layer.to(torch.float64)


def on_another_device(layer):
    layer.to("meta")


def with_a_buffer_on_meta(layer):
    layer.register_buffer("angles", torch.empty(4, device="meta"), persistent=False)


def a_view_of_something_larger(layer):
    layer.weight = nn.Parameter(torch.cat([layer.weight.detach()] * 2)[: len(layer.weight)])


@pytest.mark.filterwarnings("ignore:for weight. copying from a non-meta parameter")
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (without_gradient, "weight: class and requires_grad"),
        (of_another_dtype, "weight: device, dtype and shape: .*float64"),
        (on_another_device, "weight: device, dtype and shape: found .'meta'"),
        (with_a_buffer_on_meta, "angles': 'meta'"),
        (a_view_of_something_larger, r"weight: \d+ bytes are a view of \d+"),
    ],
)
@pytest.mark.parametrize(
    "name",
    [
        "LoadByModules.time_load(cpu, load_state_dict, nested, 10)",
        "LoadBySize.time_load(cpu, load_state_dict, 8x4)",
        "LoadAcrossDtypes.time_load(cpu, load_state_dict, float32_to_bfloat16, 8x4)",
        "Copy.time_copy(cpu, deepcopy, 8x4)",
        "SaveFile.time_save(cpu, torch_save, 8x4)",
        "WarmFile.time_load(cpu, torch_load, 8x4)",
    ],
)
def test_a_model_with_a_tensor_that_is_not_as_before_fails_the_check(name, fault, message):
    with cell(name).open() as opened:
        opened.check()
        case, method = opened.benchmark.func.__self__, name.partition("(")[0].split(".")[1]
        original = getattr(case, method)

        def faulty(*values):
            found = original(*values)
            net = found if isinstance(found, nn.Module) else case.net
            fault(next(module for module in net.modules() if isinstance(module, nn.Linear)))
            return found

        setattr(case, method, faulty)
        with pytest.raises(AssertionError, match=message):
            opened.check()


def test_deepcopy_alone_copies_a_buffer_that_no_state_dict_holds():
    model = lazy.Mlp((4, 4), angles=True)
    net = model.plain("cpu")
    net[-1].angles.fill_(42.0)
    found = {idiom: copy(net, model.plain)[-1].angles for idiom, copy in checkpoints.COPIES.items()}
    assert found["deepcopy"].equal(net[-1].angles)
    assert found["construct_and_load"].equal(model.plain("cpu")[-1].angles)
    assert found["meta_and_assign"].is_meta


def test_a_loop_of_copies_loads_buffers_too():
    for idiom in ("copy_loop", "foreach_copy", "whole_dict"):
        source, net = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
        source(torch.arange(12.0).view(4, 3))
        checkpoints.LOADS[idiom](net, checkpoints.snapshot(source))
        checkpoints.check_state(net, source.state_dict(), idiom)


def test_strict_false_passes_over_keys_that_do_not_match_and_strict_raises():
    net, wanted = checkpoints.layer("8x4"), checkpoints.layer("8x4").state_dict()
    checkpoints.poison(net)
    found = checkpoints.LOADS["not_strict"](net, {**wanted, "extra": torch.ones(1)})
    assert (found.missing_keys, found.unexpected_keys) == ([], ["extra"])
    checkpoints.check_state(net, wanted, "not_strict")
    for idiom in ("load_state_dict", "assign"):
        with pytest.raises(RuntimeError, match="extra"):
            checkpoints.LOADS[idiom](net, {**wanted, "extra": torch.ones(1)})


def test_whole_dict_reports_a_missing_key():
    net = checkpoints.layer("8x4")
    with pytest.raises(AssertionError, match="weight"):
        checkpoints.LOADS["whole_dict"](net, {})


# Files


def test_a_file_is_synced_before_it_is_dropped_since_a_dirty_page_stays(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(os, "POSIX_FADV_DONTNEED", "DONTNEED", raising=False)
    monkeypatch.setattr(os, "fsync", lambda _: calls.append("fsync"))
    monkeypatch.setattr(os, "posix_fadvise", lambda *arguments: calls.append(arguments[1:]), raising=False)
    monkeypatch.setattr(checkpoints, "cached_share", lambda _: 0.25)
    (tmp_path / "file").write_bytes(b"x")
    assert "25%" in checkpoints.evict(tmp_path / "file")
    assert calls == ["fsync", (0, 0, "DONTNEED")]


@cold_reads
def test_an_evicted_file_is_out_of_the_page_cache_and_reading_brings_it_back(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    assert checkpoints.cached_share(path) == 1
    evicted(path)
    assert checkpoints.cached_share(path) == 0
    path.read_bytes()
    assert checkpoints.cached_share(path) == 1


@cold_reads
def test_torch_load_with_mmap_alone_reads_next_to_nothing(tmp_path):
    path = tmp_path / "checkpoint"
    checkpoints.SAVES["torch_save"](checkpoints.layer("4096x4096"), path)
    evicted(path)
    state = torch.load(path, mmap=True, weights_only=True)
    assert checkpoints.cached_share(path) < 0.5  # the kernel reads some pages ahead
    assert state["weight"].shape == (4096, 4096)


@cold_reads
@pytest.mark.parametrize("idiom", checkpoints.FILE_LOADS)
def test_every_file_load_has_read_the_whole_file_when_it_returns(idiom, tmp_path):
    path, net = tmp_path / "checkpoint", checkpoints.layer("1024x1024")
    load = checkpoints.FILE_LOADS[idiom]
    checkpoints.SAVES[load.saved_by](net, path)
    evicted(path)
    load.load(net, path, "cpu")
    assert checkpoints.cached_share(path) == 1


def test_a_cold_read_is_not_available_without_posix_fadvise(monkeypatch):
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    reason = cell("ColdFile.time_load(cpu, torch_load, 1024x1024)").why_not
    assert "posix_fadvise" in reason


@cold_reads
def test_a_cold_read_is_not_available_where_the_file_stays_in_the_page_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "posix_fadvise", lambda *_: None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with (
        pytest.raises(SkippedError, match=r"100% of .* stays in the page cache"),
        cell("ColdFile.time_load(cpu, torch_load, 1024x1024)").open(),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "time",
    [state_dict.SaveFile.time_save, state_dict.WarmFile.time_load, state_dict.ColdFile.time_load],
    ids=["save", "warm", "cold"],
)
def test_a_job_on_files_has_no_memory_limit(time):
    assert not hasattr(time, "weight_reads")
    assert hasattr(state_dict.Copy.time_copy, "weight_reads")


@pytest.mark.parametrize(
    "name", ["SaveFile.time_save(cpu, torch_save, 8x4)", "WarmFile.time_load(cpu, torch_load, 8x4)"]
)
def test_a_cell_on_files_leaves_none_behind(name, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with cell(name).open() as opened:
        opened.call()
        assert list(tmp_path.rglob("checkpoint"))
    assert list(tmp_path.iterdir()) == []


# Moving averages


@pytest.mark.parametrize("idiom", averages.MOVING_AVERAGES)
def test_two_state_dicts_average_a_tied_weight_twice_and_no_other_idiom_does(idiom):
    net, average = checkpoints.tied_pair(), checkpoints.tied_pair()
    with torch.no_grad():
        net[0].weight.fill_(0.0)
        average[0].weight.fill_(1.0)
    averages.MOVING_AVERAGES[idiom](average, net)()
    share = averages.DECAY**2 if idiom == "state_dicts" else averages.DECAY
    assert torch.equal(average[0].weight, torch.full((4, 4), share))
    assert average[0].weight is average[1].weight


# Parts of a weight


@pytest.mark.parametrize(("idiom", "share"), [("view", 1), ("clone", 8)])
def test_a_view_is_saved_with_the_whole_weight(idiom, share):
    with cell(f"SaveView.time_save(cpu, {idiom}, 1024x1024)").open() as opened:
        case = opened.benchmark.func.__self__
        assert case.path.stat().st_size == pytest.approx(4 * 1024 * 1024 / share, rel=0.01)


def test_a_clone_that_is_none_fails_the_check_of_what_is_saved():
    with cell("SaveView.time_save(cpu, clone, 1024x1024)").open() as opened:
        opened.benchmark.func.__self__.form = checkpoints.PARTS["view"]
        with pytest.raises(AssertionError, match="are a view of"):
            opened.check()
