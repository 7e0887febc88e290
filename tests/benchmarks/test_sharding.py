"""The sharding family: its checks catch the bugs that they are there for, and what torch does is what the texts say.

The ranks are forked, so that what a test puts in place of a function is in their place, too.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest
import torch

from bench_core.suite import ranks, sharding
from bench_core.suite.ranks import RankError, Ranks
from bench_core.timing.cells import SuiteDirectory

pytestmark = pytest.mark.skipif(
    ranks.why_not(2) is not None or not sys.platform.startswith("linux"), reason="needs forked ranks"
)

SUITE = SuiteDirectory(Path(__file__).parents[2] / "benchmarks")


def cell(name):
    (found,) = [cell for cell in SUITE.cells if cell.name == f"sharding.{name}"]
    return found


def check_fails(name, match):
    with cell(name).open() as opened, pytest.raises(AssertionError, match=match):
        opened.check()


@pytest.fixture(scope="module")
def two():
    with Ranks(2, timeout=60) as started:
        yield started


@pytest.mark.parametrize("width", [16, 64])
def test_the_memory_of_the_model_is_that_of_its_parameters(width):
    assert sharding.parameter_bytes(width) == 4 * sum(one.numel() for one in sharding.build(width).parameters())


# What torch does


def relation(rank, idiom, width):
    sharding.initialize(rank, idiom, width)
    return sharding.check_initialized(rank, width)


@pytest.mark.parametrize(
    ("idiom", "numbers"),
    [
        ("init_then_shard", "same"),
        ("broadcast_from_rank0", "same"),
        ("shard_then_init", "repeated"),
        ("shard_then_init_seed_by_rank", "others"),
    ],
)
def test_the_orders_of_sharding_and_initializing_give_these_numbers_on_the_cpu(two, idiom, numbers):
    assert two.do(relation, idiom, 16) == [numbers, numbers]


def sizes_of_files(rank, sharing, path):
    sharding.make(rank, 16, sharing)
    sharding.save(rank, "dcp_save", path)
    return sum(file.stat().st_size for file in Path(path).glob("*.distcp"))


def test_a_tied_weight_is_written_once_for_each_of_its_names(two, tmp_path):
    tied, untied = (two.do(sizes_of_files, sharing, str(tmp_path / sharing))[0] for sharing in ("tied", "untied"))
    assert tied == pytest.approx(untied, rel=0.02)


def given_afterwards(rank):
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    sharding.make(rank, 16)
    state = sharding.plain(rank).state_dict()
    set_model_state_dict(rank.kept["net"], state, options=StateDictOptions(full_state_dict=True))
    return {type(tensor).__name__ for tensor in state.values()}


def test_a_dictionary_that_was_loaded_holds_shards_afterwards(two):
    assert two.do(given_afterwards) == [{"DTensor"}, {"DTensor"}]


def pass_apart(rank):
    sharding.make(rank, 16, "tied", "apart")
    sharding.forward_backward(rank)
    sharding.check_gradients(rank)


def test_a_tied_weight_in_two_groups_is_refused_where_the_cell_says_so():
    """pytorch/pytorch#176225: an earlier torch took it."""
    reason = sharding.refused("tied", "apart")
    with Ranks(2, timeout=60) as started:
        if reason is None:
            started.do(pass_apart)
        else:
            assert "(pytorch/pytorch#176225)" in reason
            with pytest.raises(RankError, match="already managed by another FSDP group"):
                started.do(pass_apart)
    assert sharding.refused("untied", "apart") is sharding.refused("tied", "root") is None


# What the checks catch


def test_a_way_that_draws_other_numbers_fails_its_check(monkeypatch):
    monkeypatch.setitem(sharding.INITIALIZE, "init_then_shard", sharding.INITIALIZE["shard_then_init"])
    check_fails("Initialize.time_initialize(cpu, init_then_shard, 64, 2)", "found repeated, expected same")


def test_a_seed_by_rank_that_is_lost_fails_its_check(monkeypatch):
    monkeypatch.setitem(sharding.INITIALIZE, "shard_then_init_seed_by_rank", sharding.INITIALIZE["shard_then_init"])
    check_fails(
        "Initialize.time_initialize(cpu, shard_then_init_seed_by_rank, 64, 2)",
        "found repeated, expected others or same",
    )


def test_parameters_that_stay_whole_on_each_rank_fail_the_check(monkeypatch):
    monkeypatch.setattr(sharding, "shard", lambda rank, net, grouping="together": net)
    check_fails("LoadFullState.time_load(cpu, full_state_dict, 64, 2)", "are not a share")


def test_a_tie_that_is_lost_fails_the_check(monkeypatch):
    shard = sharding.shard

    def untied(rank, net, grouping="together"):
        net[-1].weight = torch.nn.Parameter(net[0].weight.detach().clone())
        return shard(rank, net, grouping)

    monkeypatch.setattr(sharding, "shard", untied)
    check_fails("LoadFullState.time_load(cpu, broadcast_from_rank0, 64, 2)", "^rank 0: ties: found")


def test_rows_of_another_rank_fail_the_check(monkeypatch):
    @torch.no_grad()
    def first_rows(rank, state):
        for name, parameter in rank.kept["net"].named_parameters():
            own = sharding.local(parameter)
            own.copy_(state[name][: len(own)])

    monkeypatch.setitem(sharding.LOAD, "copy_own_rows", first_rows)
    check_fails("LoadFullState.time_load(cpu, copy_own_rows, 64, 2)", "elements differ")


def pass_alone(rank):
    rank.kept["net"] = sharding.plain(rank)
    sharding.loss_of(rank.kept["net"], sharding.tokens(rank, rank.number)).backward()


def test_gradients_of_ones_own_tokens_alone_fail_the_check(monkeypatch):
    monkeypatch.setattr(sharding, "forward_backward", pass_alone)
    check_fails("ForwardBackward.time_forward_backward(cpu, tied, root, 64, 2)", "^rank 0: 0.weight: ")


def norm_alone(rank, _implementation):
    gradients = [sharding.local(each.grad) for each in rank.kept["net"].parameters()]
    return float(torch.nn.utils.get_total_norm(gradients))


def test_a_norm_of_ones_own_shards_fails_the_check(monkeypatch):
    monkeypatch.setattr(sharding, "clip", norm_alone)
    check_fails("ClipGradNorm.time_clip(cpu, foreach, 64, 2)", "^norm: the ranks found")


def test_a_checkpoint_of_one_rank_alone_fails_the_check(monkeypatch):
    def first(rank, path):
        if rank.number == 0:
            torch.save(sharding.plain(rank).state_dict(), Path(path).with_suffix(".pt"))

    monkeypatch.setitem(sharding.SAVE, "dcp_save", first)
    check_fails("SaveCheckpoint.time_save(cpu, dcp_save, 64, 2)", "nothing was saved")


def test_the_timer_of_a_cell_is_the_clock_of_its_ranks():
    with cell("FullState.time_read(cpu, full_state_dict, 64, 2)").open() as opened:
        assert opened.timer == opened.benchmark.func.__self__.ranks.clock


def test_a_cell_leaves_no_ranks():
    with cell("FullState.time_read(cpu, full_state_dict, 64, 2)").open() as opened:
        agent = opened.benchmark.func.__self__.ranks._agent
        assert agent.is_alive()
    assert not agent.is_alive()


def test_a_cell_with_ranks_may_use_all_cores():
    assert cell("FullState.time_read(cpu, full_state_dict, 64, 2)").threaded
    assert not cell("FullState.time_read(cpu, full_state_dict, 64, 1)").threaded


def test_the_quick_profile_has_none_of_these_cells():
    # Two ranks on two cores, both of which measure: in a gate, two such cells took a fifth of the time of all 241.
    assert not [one.name for one in SUITE.cells if one.in_quick_profile and one.name.startswith("sharding.")]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_numbers_are_told_apart(count):
    plain = torch.arange(12.0).view(6, 2)
    repeated = torch.cat([plain[: -(-6 // count)]] * count)[:6]
    assert sharding.numbers(plain.clone(), plain, count) == "same"
    assert sharding.numbers(plain + 1, plain, count) == "others"
    assert sharding.numbers(repeated, plain, count) == ("same" if count == 1 else "repeated")


def test_nothing_here_warns_of_the_fork():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Ranks(1, timeout=60):
            pass
