"""What `bench-core model --ranks` measures."""

from __future__ import annotations

import os
import threading

import psutil
import pytest
import torch
from torch import nn

from bench_core.errors import BenchCoreError
from bench_core.records.model import ModelSpec
from bench_core.suite import parts, rank_jobs, rank_times, ranks
from bench_core.suite.rank_times import counts, measure_ranks
from bench_core.suite.ranks import RankError

pytestmark = pytest.mark.skipif(ranks.why_not(2) is not None, reason=str(ranks.why_not(2)))


def layers():
    """Two blocks, an example of whose input is not known, and a buffer that no checkpoint holds."""
    model = nn.Sequential(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Sequential(nn.Linear(8, 8), nn.ReLU()))
    model.register_buffer("scale", torch.full((3,), 2.0), persistent=False)
    return model


def another_on_each_rank():
    return nn.Linear(4, 4 + int(os.environ.get("RANK", "0")))


def breaks_on_ranks():
    model = nn.Linear(4, 4)
    if torch.nn.Linear(1, 1).weight.device.type != "meta" and "RANK" in os.environ:
        raise OSError("no such data")
    return model


def scalar():
    model = nn.Linear(4, 4)
    model.scale = nn.Parameter(torch.tensor(2.0))
    return model


def tied_across_blocks():
    """The weight of a block is that of another block, and that of a layer outside."""
    model = nn.Module()
    model.layers = nn.ModuleList([nn.Linear(6, 6) for _ in range(3)])
    model.head = nn.Linear(6, 6)
    model.layers[2].weight = model.layers[0].weight
    model.head.weight = model.layers[1].weight
    return model


def odd():
    """Rows that three ranks cannot share evenly, and fewer rows than ranks."""
    return nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 1), nn.Embedding(2, 3))


def integers():
    """No parameter of floating point."""
    model = nn.Module()
    model.codes = nn.Parameter(torch.ones(6, 4, dtype=torch.int8), requires_grad=False)
    model.register_buffer("flags", torch.zeros(3, dtype=torch.bool))
    return model


def dies_on_rank_1():
    if os.environ.get("RANK") == "1":
        os._exit(3)
    return nn.Linear(4, 4)


def hangs_on_rank_1():
    if os.environ.get("RANK") == "1":
        threading.Event().wait()
    return nn.Linear(4, 4)


def spec(builder, **given):
    return ModelSpec(f"{__name__}:{builder.__name__}", **given)


@pytest.fixture(scope="module")
def measured():
    return measure_ranks(spec(layers), 2, seconds=0.0, timeout=60)


def by_name(found, count=2):
    return {each.name: each for each in found if each.ranks == count}


def test_every_job_is_measured_with_every_number_of_ranks(measured):
    names = [(job.job, job.name) for job in rank_jobs.JOBS]
    assert [(each.ranks, each.job, each.name) for each in measured] == [(n, *name) for n in (1, 2) for name in names]


def test_each_call_has_a_time_of_each_rank(measured):
    for each in measured:
        if not each.why_not:
            assert len(each.seconds) >= rank_times.FEWEST
            assert {len(call) for call in each.seconds} == {each.ranks}
            assert all(span > 0 for call in each.seconds for span in call)


def test_only_what_needs_an_example_is_left_out_without_one(measured):
    left_out = {each.name: each.why_not for each in measured if each.why_not}
    assert left_out == {"forward_backward": "there is no example of a forward pass: give one with --input"}


def test_with_an_example_the_passes_are_measured():
    found = by_name(measure_ranks(spec(layers, input="2x8"), 2, seconds=0.0, timeout=60))
    assert found["forward_backward"].why_not == ""


def test_a_part_is_sharded_alone():
    found = by_name(measure_ranks(spec(layers), 2, block="1", seconds=0.0, timeout=60))
    assert found["forward_backward"].why_not.endswith("a part of a model has none")
    assert {name: each.why_not for name, each in found.items() if name != "forward_backward" and each.why_not} == {}
    assert "same seed (0.weight" in found["shard_then_init"].note


def test_initialization_on_shards_says_what_differs(measured):
    note = by_name(measured)["shard_then_init"].note
    assert "not the numbers of the unsharded model with the same seed (0.0.weight" in note
    assert "all ranks drew the same numbers for 0.0.weight" in note
    assert "scale hold garbage afterwards, and must be computed again" in note
    assert by_name(measured)["init_then_shard"].note == ""
    assert by_name(measured, 1)["shard_then_init"].note == "scale hold garbage afterwards, and must be computed again"


def test_the_peak_of_each_rank_is_known_where_a_model_is_made(measured):
    if ranks.why_no_peak():
        pytest.skip(ranks.why_no_peak())
    for each in measured:
        assert len(each.peak_bytes) == (each.ranks if each.job == "initialize" else 0)


def test_ranks_that_build_different_models_are_named():
    with pytest.raises(RankError, match=r"^rank 1 disagrees .*: it has weight float32 \(5, 4\), the others weight"):
        measure_ranks(spec(another_on_each_rank), 2, seconds=0.0, timeout=60)


def test_a_job_that_fails_costs_only_itself():
    found = by_name(measure_ranks(spec(breaks_on_ranks), 2, seconds=0.0, timeout=60))
    assert "OSError: no such data" in found["init_then_shard"].why_not
    assert found["shard_then_init"].why_not == found["dcp_load"].why_not == ""


def test_a_model_that_cannot_be_sharded_says_why_once_and_why_the_rest_is_left_out():
    found = by_name(measure_ranks(spec(scalar), 2, seconds=0.0, timeout=60))
    assert "scalar parameters" in found["init_then_shard"].why_not
    assert found["state_dict"].why_not == "the model cannot be sharded here"


def left_out(found):
    """Why calls were not measured, without what pytest adds to an assertion."""
    reasons = {name: each.why_not for name, each in found.items() if name != "forward_backward"}
    return {name: reason.splitlines()[0] for name, reason in reasons.items() if reason}


@pytest.mark.parametrize(("builder", "count"), [(odd, 3), (tied_across_blocks, 2)])
def test_odd_shapes_and_shared_parameters_are_measured(builder, count):
    found = by_name(measure_ranks(spec(builder), count, seconds=0.0, timeout=60), count)
    assert left_out(found) == {}


def test_of_a_model_without_parameters_of_floating_point_all_is_measured_that_needs_none():
    assert left_out(by_name(measure_ranks(spec(integers), 2, seconds=0.0, timeout=60))) == {
        "shard_then_init": "rank 0: codes are not initialized by the model's modules",
        "clip_grad_norm_": "rank 0: no parameter of this model needs a gradient",
    }


@pytest.mark.parametrize(
    ("builder", "timeout", "said"),
    [
        (dies_on_rank_1, 60, "rank 1 died: exit code 3. All ranks have been ended"),
        (hangs_on_rank_1, 3, "rank 1 has hung for more than 3 s in threading.py:"),
    ],
)
@pytest.mark.thorough
def test_a_rank_that_is_lost_while_it_builds_is_named_and_no_process_is_left(builder, timeout, said):
    before = psutil.Process().children()  # such as the browser of another test
    found = by_name(measure_ranks(spec(builder), 2, seconds=0.0, timeout=timeout))
    assert found["init_then_shard"].why_not.startswith(said)
    assert found["state_dict"].why_not == "the model cannot be sharded here"
    assert psutil.Process().children() == before


def test_what_does_not_fit_is_not_tried(monkeypatch):
    monkeypatch.setattr(rank_times, "available_bytes", lambda device: 4 << 30)
    found = by_name(measure_ranks(spec(layers), 2, bytes=1 << 30, seconds=0.0, timeout=60))
    assert found["init_then_shard"].why_not == "2 ranks need 4.0 GiB for it, and 4.0 GiB are available"
    assert found["shard_then_init"].why_not == found["state_dict"].why_not == ""


def test_powers_of_two_are_measured_for_a_law():
    assert [counts(most) for most in (1, 2, 3, 4, 6)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4], [1, 2, 4, 6]]


def test_too_many_ranks_are_refused_before_anything_starts():
    with pytest.raises(BenchCoreError, match="^10000 ranks cannot be started here"):
        measure_ranks(ModelSpec("no.such:thing"), 10_000)


def test_blocks_are_the_members_of_the_outermost_lists():
    model = nn.Module()
    model.first = nn.Linear(2, 2)
    model.layers = nn.ModuleList([nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)) for _ in range(2)])
    model.mixed = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert [name for name, _ in parts.blocks(model)] == ["layers.0", "layers.1"]
