"""The jobs of `bench-core model --ranks`: what ranks do with the model of a target. Each runs on every rank."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench_core.records.model import ModelSpec
from bench_core.suite import sharding, startup_code
from bench_core.suite.parts import Part, blocks, part
from bench_core.suite.ranks import Rank
from bench_core.suite.target import Target, describe, load


@dataclass(frozen=True)
class RankJob:
    """A call that is measured.

    Attributes:
        job, name: as in `bench_core.records.model.RankTimes`.
        run: the timed call.
        check: looks at the outcome of a call, and fails or returns what a person should know of it; None without one.
        before: what happens before each call and is not timed.
        copies: how many whole models all ranks hold at once: a number for each rank, and one for all together.
        makes: whether the call makes the model that the other jobs work on.
    """

    job: str
    name: str
    run: Callable[[Rank], object]
    check: Callable[[Rank], str] | None
    before: Callable[[Rank], object] | None = None
    copies: tuple[float, float] = (0.0, 2.0)
    makes: bool = False


def load_target(rank: Rank, spec: ModelSpec, block: str = "") -> list[str]:
    """Load the target, and describe its parameters and buffers, a line each, without memory if it can be built so.
    Ranks with different models would wait for each other for ever.

    Args:
        block: the name of the part that is sharded; "" for the whole.
    """
    whole = load(spec)
    try:
        with torch.device("meta"):
            model = whole.build()
    except Exception:  # noqa: BLE001 - a builder need not work on meta
        model = whole.build()
    rank.kept["target"] = whole
    if block:
        rank.kept["target"] = Part(part(model, block), spec.device)
        model = model.get_submodule(block)
    layout = describe(model)
    rank.kept["tied"] = {name for group in layout.ties for name in group}
    return [f"{name} {str(each.dtype).removeprefix('torch.')} {tuple(each.shape)}" for name, each in _state(model)]


def _state(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _target(rank: Rank) -> Target | Part:
    target: Target | Part = rank.kept["target"]
    return target


def shard(rank: Rank, model: nn.Module) -> nn.Module:
    """Shard the parameters of any model: each repeated block of a list is a group, such as the layers of a transformer,
    and so is the rest. A block with a parameter that is tied to one outside stays in the rest, since torch refuses a
    parameter in two groups."""
    from torch.distributed.fsdp import fully_shard

    for name, block in blocks(model):
        own = {f"{name}.{each}" for each, _ in block.named_parameters(remove_duplicate=False)}
        if own and not own & rank.kept["tied"]:
            fully_shard(block, mesh=rank.mesh)
    fully_shard(model, mesh=rank.mesh)
    return model


def _own(rank: Rank, tensor: torch.Tensor) -> torch.Tensor:
    """A copy of the rows that are this rank's."""
    rows = -(-len(tensor) // rank.count)
    start = min(rank.number * rows, len(tensor))
    return tensor.detach()[start : start + rows].clone()


def _shards(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: sharding.local(each) for name, each in model.named_parameters(remove_duplicate=False)}


# Initialize:


def drop(rank: Rank) -> None:
    """Free the model of the last call."""
    rank.kept.pop("model", None)


def init_then_shard(rank: Rank) -> None:
    rank.kept["model"] = shard(rank, _target(rank).build().to(rank.device))


def check_init_then_shard(rank: Rank) -> str:
    """The shards are the rows of the unsharded model, and so are the buffers."""
    model = _target(rank).build().to(rank.device)
    rows = {name: _own(rank, each) for name, each in model.named_parameters(remove_duplicate=False)}
    buffers = {name: each.clone() for name, each in model.named_buffers(remove_duplicate=False)}
    del model
    rank.kept["unsharded"] = {name: _digest(each) for name, each in rows.items()}
    found = rank.kept["model"]
    wrong = [name for name, each in _shards(found).items() if not _equal(each, rows[name])]
    wrong += [name for name, each in found.named_buffers(remove_duplicate=False) if not _equal(each, buffers[name])]
    assert not wrong, f"{_some(wrong)} differ from the unsharded model"
    return ""


def shard_then_init(rank: Rank) -> None:
    with torch.device("meta"):
        model = _target(rank).build()
    model = shard(rank, model)
    model.to_empty(device=rank.device)
    _reinitialize(model)
    rank.kept["model"] = model


def _reinitialize(model: nn.Module) -> None:
    torch.manual_seed(sharding.SEED)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="DTensor random operators may not have complete support")
        startup_code.reinitialize(model)


@torch.no_grad()
def check_shard_then_init(rank: Rank) -> str:
    """Every parameter is written by the model's own initializers. Returns what else a person should know: whether the
    ranks drew the same numbers, and which buffers are not written."""
    model = rank.kept["model"]
    drawn, numbers = _alike(rank, model), _numbers(rank, model)
    buffers = dict(model.named_buffers(remove_duplicate=False))
    for each in (*_shards(model).values(), *buffers.values()):
        each.fill_(_unlikely(each))
    _reinitialize(model)
    unwritten = [name for name, each in _shards(model).items() if bool((each == _unlikely(each)).any())]
    assert not unwritten, f"{_some(unwritten)} are not initialized by the model's modules"
    said = [numbers] if numbers else []
    if drawn:
        said.append(f"with one seed, all ranks drew the same numbers for {_some(drawn)}")
    garbage = [name for name, each in buffers.items() if each.numel() and bool((each == _unlikely(each)).all())]
    if garbage:
        said.append(f"{_some(garbage)} hold garbage afterwards, and must be computed again")
    return "; ".join(said)


def _numbers(rank: Rank, model: nn.Module) -> str:
    """What the numbers are not; "" if they are those of the unsharded model. All ranks are asked, since rank 0 has the
    right rows even if all ranks draw the same."""
    unsharded = rank.kept.get("unsharded")
    if unsharded is None:
        return "whether the numbers are those of the unsharded model was not checked, since that did not fit"
    own = [name for name, each in _shards(model).items() if _digest(each) != unsharded[name]]
    every: list[list[str]] = [[] for _ in range(rank.count)]
    torch.distributed.all_gather_object(every, own)
    differ = [name for name in unsharded if any(name in each for each in every)]
    return f"not the numbers of the unsharded model with the same seed ({_some(differ)})" if differ else ""


def _unlikely(tensor: torch.Tensor) -> float:
    """A value that no initializer writes."""
    if tensor.dtype == torch.bool:
        return True
    return sharding.POISON if tensor.is_floating_point() else 77


def _alike(rank: Rank, model: nn.Module) -> list[str]:
    """The parameters of which all ranks have the same numbers, apart from constants."""
    own = {}
    for name, each in model.named_parameters(remove_duplicate=False):
        rows = -(-len(each) // rank.count)
        in_all = max(0, len(each) - rows * (rank.count - 1))  # the last rank may have fewer
        own[name] = _digest(sharding.local(each)[:in_all])
    found: list[dict[str, str]] = [{} for _ in range(rank.count)]
    torch.distributed.all_gather_object(found, own)
    return [name for name, one in own.items() if one and rank.count > 1 and all(each[name] == one for each in found)]


def _digest(tensor: torch.Tensor) -> str:
    """A hash of the numbers; "" for a constant."""
    if not tensor.numel() or not bool((tensor != tensor.flatten()[0]).any()):
        return ""
    return hashlib.sha256(tensor.contiguous().view(torch.uint8).cpu().numpy().tobytes()).hexdigest()


def _equal(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return found.shape == expected.shape and torch.equal(found.detach().nan_to_num(), expected.nan_to_num())


def _some(names: Any) -> str:
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@torch.no_grad()
def remember(rank: Rank) -> None:
    """Keep a copy of the shards, which later checks compare with."""
    rank.kept["shards"] = {name: each.clone() for name, each in _shards(rank.kept["model"]).items()}


@torch.no_grad()
def spoil(rank: Rank) -> None:
    for each in rank.kept["model"].parameters():
        sharding.local(each).fill_(_unlikely(each))


def check_shards(rank: Rank) -> str:
    wrong = [name for name, each in _shards(rank.kept["model"]).items() if not _equal(each, rank.kept["shards"][name])]
    assert not wrong, f"{_some(wrong)} differ from what was saved"
    return ""


# State dicts:


def _distributed_state(rank: Rank, **given: bool) -> dict[str, Any]:
    from torch.distributed.checkpoint import state_dict

    options: Any = state_dict.StateDictOptions
    return state_dict.get_model_state_dict(rank.kept["model"], options=options(**given))


def state_dict(rank: Rank) -> None:
    rank.kept["made"] = rank.kept["model"].state_dict()


def full_state_dict(rank: Rank) -> None:
    rank.kept["made"] = _distributed_state(rank, full_state_dict=True)


def full_state_dict_rank0(rank: Rank) -> None:
    rank.kept["made"] = _distributed_state(rank, full_state_dict=True, cpu_offload=True)


def check_state(rank: Rank) -> str:
    """The state holds this rank's rows. Rank 0 may have it all, and the others nothing."""
    made, shards = rank.kept.pop("made"), rank.kept["shards"]
    assert made or rank.number, "rank 0 got nothing"
    for name in shards if made else ():
        assert name in made, f"{name} is missing"
        found = made[name]
        own = sharding.local(found) if hasattr(found, "to_local") else _own(rank, found)
        assert _equal(own.to(rank.device), shards[name]), f"{name} differs"
    return ""


def forget(rank: Rank) -> None:
    rank.kept.pop("made", None)


# Files:


def folder(rank: Rank, path: str) -> None:
    rank.kept["path"] = path


def dcp_save(rank: Rank) -> None:
    from torch.distributed.checkpoint import state_dict_saver

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about its storage
        state_dict_saver.save(_distributed_state(rank), checkpoint_id=rank.kept["path"])


def dcp_async_save(rank: Rank) -> None:
    from torch.distributed.checkpoint import state_dict_saver

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rank.kept["future"] = state_dict_saver.async_save(_distributed_state(rank), checkpoint_id=rank.kept["path"])


def finish(rank: Rank) -> None:
    """Wait for an asynchronous save, and remove its files."""
    sharding.finish(rank)
    if rank.number == 0:
        shutil.rmtree(rank.kept["path"], ignore_errors=True)
    torch.distributed.barrier()


def dcp_load(rank: Rank) -> None:
    from torch.distributed.checkpoint import state_dict as states
    from torch.distributed.checkpoint import state_dict_loader

    state = _distributed_state(rank)
    state_dict_loader.load(state, checkpoint_id=rank.kept["path"])
    states.set_model_state_dict(rank.kept["model"], state)


def save_first(rank: Rank) -> None:
    """Leave a checkpoint to load, once, and nothing of its values in the model."""
    if not rank.kept.get("saved"):
        finish(rank)  # of a job before
        dcp_save(rank)
        rank.kept["saved"] = True
    torch.distributed.barrier()
    spoil(rank)


def check_saved(rank: Rank) -> str:
    """What was saved is loaded as it was."""
    sharding.finish(rank)
    spoil(rank)
    dcp_load(rank)
    return check_shards(rank)


# Training:


def forward_backward(rank: Rank) -> None:
    model = rank.kept["model"]
    total = sum(each.float().sum() for each in _tensors(model(*rank.kept["example"])))
    assert isinstance(total, torch.Tensor), "the forward pass returns no floating-point tensor"
    total.backward()


def _tensors(outcome: Any) -> Iterator[torch.Tensor]:
    from torch.utils import _pytree as pytree

    for each in pytree.tree_leaves(outcome):
        if isinstance(each, torch.Tensor) and each.is_floating_point():
            yield each


def give_example(rank: Rank) -> bool:
    """Keep the example of a forward pass. Returns whether there is one."""
    example = _target(rank).example(rank.kept["model"])
    rank.kept["example"] = example
    return example is not None


def _trained(rank: Rank) -> list[nn.Parameter]:
    """The parameters that get gradients.

    Raises:
        AssertionError: if there are none.
    """
    found = [each for each in rank.kept["model"].parameters() if each.requires_grad]
    assert found, "no parameter of this model needs a gradient"
    return found


def no_gradients(rank: Rank) -> None:
    _trained(rank)
    rank.kept["model"].zero_grad()


def check_has_gradients(rank: Rank) -> str:
    assert any(each.grad is not None for each in rank.kept["model"].parameters()), "no parameter has a gradient"
    return ""


@torch.no_grad()
def gradients(rank: Rank) -> None:
    """Give every parameter a gradient of ones, sharded like it."""
    for each in _trained(rank):
        each.grad = torch.ones_like(each)


def clip(rank: Rank) -> None:
    norm = nn.utils.clip_grad_norm_(list(rank.kept["model"].parameters()), 1.0, foreach=True)
    rank.kept["norm"] = float(sharding.whole(norm))


def check_clipped(rank: Rank) -> str:
    """Of ones, the norm is the root of the number of elements."""
    elements = sum(each.numel() for each in _trained(rank))
    found = rank.kept["norm"]
    assert abs(found - elements**0.5) <= 1e-2 * elements**0.5, f"a norm of {found} for {elements} ones"
    return ""


JOBS: tuple[RankJob, ...] = (
    RankJob("initialize", "init_then_shard", init_then_shard, check_init_then_shard, drop, (1.0, 2.0), makes=True),
    RankJob("initialize", "shard_then_init", shard_then_init, check_shard_then_init, drop, makes=True),
    RankJob("state_dict", "state_dict", state_dict, check_state, forget),
    RankJob("state_dict", "full_state_dict", full_state_dict, check_state, forget, copies=(1.0, 2.0)),
    RankJob("state_dict", "full_state_dict_rank0", full_state_dict_rank0, check_state, forget, copies=(0.0, 3.0)),
    RankJob("checkpoint", "dcp_save", dcp_save, check_saved),
    RankJob("checkpoint", "dcp_async_save", dcp_async_save, check_saved, finish, copies=(0.0, 3.0)),
    RankJob("checkpoint", "dcp_load", dcp_load, check_shards, save_first),
    RankJob("train", "forward_backward", forward_backward, check_has_gradients, no_gradients, copies=(0.0, 4.0)),
    RankJob("clip", "clip_grad_norm_", clip, check_clipped, gradients, copies=(0.0, 4.0)),
)

NOTES: Mapping[str, str] = {
    "dcp_async_save": "the time until the ranks may go on; the files are written meanwhile",
    "full_state_dict_rank0": "on rank 0 alone, in host memory",
}
