"""What is done to a model whose parameters are sharded over ranks: ways to initialize, read, load, save and clip it.

The functions run on every rank, as jobs of `bench_core.suite.ranks`. Each dictionary maps an idiom, named as in the
cells, to a job. What a rank keeps between jobs stands in `Rank.kept`: the model as ``net``, and what a job made as
``made``.
"""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench_core.suite import oracles
from bench_core.suite.axes import shape_of
from bench_core.suite.ranks import Rank

BLOCKS = 4
"""Blocks between the embedding and the output layer."""

TOKENS = 64
"""Tokens that each rank predicts."""

SEED = 0
"""The seed of the parameters, which is the same on all ranks unless an idiom says otherwise."""

POISON = 777.0
"""Written before a check, so that elements that are not written show."""


def vocabulary(width: int) -> int:
    """Four ranks cannot share it evenly: tied weights had wrong gradients then (pytorch/pytorch#176076)."""
    return 4 * width + 2


def build(width: int, sharing: str = "untied", device: str | torch.device = "cpu") -> nn.Sequential:
    """A language model without attention: an embedding, `BLOCKS` blocks, and an output layer as large as the embedding,
    which shares its weight if it is tied. It is constructed as its modules construct themselves, from `SEED`."""
    torch.manual_seed(SEED)
    embedding = nn.Embedding(vocabulary(width), width, device=device)
    blocks = [
        nn.Sequential(nn.Linear(width, 4 * width, device=device), nn.GELU(), nn.Linear(4 * width, width, device=device))
        for _ in range(BLOCKS)
    ]
    output = nn.Linear(width, vocabulary(width), bias=False, device=device)
    net = nn.Sequential(embedding, *blocks, output)
    if sharing == "tied":
        output.weight = embedding.weight
    return net


def parameter_bytes(width: int) -> int:
    """The memory of the parameters of the untied model, in float32."""
    block = 2 * width * 4 * width + 4 * width + width  # two layers with biases
    return 4 * (2 * vocabulary(width) * width + BLOCKS * block)


def shard(rank: Rank, net: nn.Sequential, grouping: str = "together") -> nn.Sequential:
    """`net` with its parameters sharded: each block is a group, and so is the rest, as `grouping` says.

    Args:
        grouping: ``together`` puts the embedding and the output layer in one group; ``root`` leaves them to that of the
            whole model; ``apart`` gives each a group.
    """
    from torch.distributed.fsdp import fully_shard

    first, *blocks, last = net
    for block in blocks:
        fully_shard(block, mesh=rank.mesh)
    for group in {"together": [[first, last]], "apart": [[first], [last]], "root": []}[grouping]:
        fully_shard(group, mesh=rank.mesh)
    fully_shard(net, mesh=rank.mesh)
    return net


def refused(sharing: str, grouping: str) -> str | None:
    """Why this torch shards no such model, or None if it does."""
    if (sharing, grouping) != ("tied", "apart"):
        return None
    from torch.distributed.fsdp._fully_shard import _fsdp_state

    state: Any = _fsdp_state.FSDPState
    if not hasattr(state, "_validate_no_duplicate_params"):
        return None
    return (
        f"torch {torch.__version__} refuses tied parameters in two groups at the first forward "
        "(pytorch/pytorch#176225): put both modules into one, fully_shard([embedding, output])"
    )


def make(rank: Rank, width: int, sharing: str = "untied", grouping: str = "together") -> None:
    """Keep a sharded model that is initialized as the unsharded one is."""
    rank.kept["net"] = shard(rank, build(width, sharing).to(rank.device), grouping)
    rank.kept["plain"] = (width, sharing)


def plain(rank: Rank) -> nn.Sequential:
    """The unsharded model of `make`, made anew."""
    return build(*rank.kept["plain"])


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a sharded tensor, on every rank."""
    full = getattr(tensor, "full_tensor", None)
    return (tensor if full is None else full()).detach()


def local(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a sharded tensor that this rank has."""
    to_local = getattr(tensor, "to_local", None)
    return (tensor if to_local is None else to_local()).detach()


@torch.no_grad()
def poison(rank: Rank) -> None:
    """Overwrite the parameters of the kept model, and forget what the last job made."""
    for parameter in rank.kept["net"].parameters():
        local(parameter).fill_(POISON)
    rank.kept.pop("made", None)


def from_rank0(rank: Rank, judge: Callable[[], Any]) -> Any:
    """What `judge` returns on rank 0, on every rank. Only this rank makes the unsharded model to compare with, which is
    most of the cost of a check.

    Raises:
        AssertionError: on every rank, if `judge` raised it.
    """
    outcome: list[Any] = [None]
    if rank.number == 0:
        try:
            outcome = [judge()]
        except AssertionError as error:
            outcome = [AssertionError(str(error))]
    distributed: Any = torch.distributed
    distributed.broadcast_object_list(outcome, src=0)
    if isinstance(outcome[0], AssertionError):
        raise outcome[0]
    return outcome[0]


def check_values(rank: Rank) -> None:
    """The kept model is the plain one: names, values, ties, and that each rank has its share alone."""
    net = rank.kept["net"]
    found = dict(net.named_parameters(remove_duplicate=False))
    for name, parameter in found.items():
        most = -(-len(parameter) // rank.count) * parameter.numel() // len(parameter)
        assert local(parameter).numel() <= most, f"{name}: {local(parameter).numel()} elements are not a share"
    values = {name: whole(parameter).cpu() for name, parameter in found.items()}

    def judge() -> None:
        expected = plain(rank)
        wanted = dict(expected.named_parameters(remove_duplicate=False))
        oracles.same(list(values), list(wanted), "names")
        for name, parameter in wanted.items():
            oracles.identical(values[name], parameter.detach(), name)
        oracles.same(oracles.tied_names(net), oracles.tied_names(expected), "ties")

    from_rank0(rank, judge)


# Initialize one weight in place, on its shards:


def weight(rank: Rank, size: str) -> None:
    """Keep a sharded weight of zeros, so that its memory is touched."""
    from torch.distributed.tensor import Shard, distribute_tensor

    sharded = distribute_tensor(torch.zeros(shape_of(size), device=rank.device), rank.mesh, [Shard(0)])
    rank.kept["weight"] = nn.Parameter(sharded)


def in_place(rank: Rank, initializer: str) -> None:
    with warnings.catch_warnings():  # the CPU's generator is not set up for shards; `numbers` says what that means
        warnings.filterwarnings("ignore", message="DTensor random operators may not have complete support")
        getattr(nn.init, initializer)(rank.kept["weight"])


def numbers(found: torch.Tensor, expected: torch.Tensor, count: int) -> str:
    """How a sharded weight that was drawn relates to the unsharded one from the same seed.

    ``same``: bit for bit. ``repeated``: each rank drew the numbers that the unsharded one begins with, so that all
    shards are alike. ``others``: other numbers.
    """
    if torch.equal(found, expected):
        return "same"
    shards = found.chunk(count)
    begins = all(torch.equal(one, shards[0][: len(one)]) for one in shards)
    return "repeated" if begins and len(shards) > 1 else "others"


def check_in_place(rank: Rank, initializer: str) -> str:
    """The weight is drawn from the right distribution on each rank. Returns how its numbers relate to the unsharded."""
    found = whole(rank.kept["weight"])

    def judge() -> str:
        expected = torch.empty_like(found)
        torch.manual_seed(SEED)
        getattr(nn.init, initializer)(expected)
        assert not (found == POISON).any(), f"{initializer}: elements were not written"
        for part in found.chunk(rank.count):
            _like(part, expected, initializer)
        return numbers(found, expected, rank.count)

    return str(from_rank0(rank, judge))


def _like(found: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    """Require the same mean and standard deviation as that of other draws, within six standard errors of both."""
    scale = float(expected.double().std())
    error = 6 * scale / math.sqrt(min(found.numel(), expected.numel()))
    for name in ("mean", "std"):
        one, other = (float(getattr(tensor.double(), name)()) for tensor in (found, expected))
        assert abs(one - other) <= 2 * error + 1e-12, (
            f"{what}: {name} {one:.4g}, expected {other:.4g} ± {2 * error:.2g}"
        )


@torch.no_grad()
def poison_weight(rank: Rank) -> None:
    local(rank.kept["weight"]).fill_(POISON)
    torch.manual_seed(SEED)


# Ways to a sharded model that is initialized:


def _init_then_shard(rank: Rank, width: int) -> nn.Sequential:
    return shard(rank, build(width, device=rank.device))


def _reset(net: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="DTensor random operators may not have complete support")
        for module in net.modules():
            if isinstance(module, (nn.Embedding, nn.Linear)):
                module.reset_parameters()


def _shard_then_init(rank: Rank, width: int, seed: int = SEED) -> nn.Sequential:
    net = shard(rank, build(width, device="meta"))
    net.to_empty(device=rank.device)
    torch.manual_seed(seed)
    _reset(net)
    return net


def _shard_then_init_by_rank(rank: Rank, width: int) -> nn.Sequential:
    return _shard_then_init(rank, width, SEED + rank.number)


def _broadcast_from_rank0(rank: Rank, width: int) -> nn.Sequential:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    state = build(width, device=rank.device).state_dict() if rank.number == 0 else {}
    net = shard(rank, build(width, device="meta"))
    net.to_empty(device=rank.device)
    set_model_state_dict(net, state, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True))
    return net


INITIALIZE: Mapping[str, Callable[[Rank, int], nn.Sequential]] = {
    "init_then_shard": _init_then_shard,
    "shard_then_init": _shard_then_init,
    "shard_then_init_seed_by_rank": _shard_then_init_by_rank,
    "broadcast_from_rank0": _broadcast_from_rank0,
}

NUMBERS: Mapping[str, tuple[str, ...]] = {
    "init_then_shard": ("same",),
    "shard_then_init": ("same", "repeated"),
    "shard_then_init_seed_by_rank": ("others", "same"),  # on one rank, it is the same seed
    "broadcast_from_rank0": ("same",),
}
"""How the numbers of each way may relate to those of the unsharded model: see `numbers`. On the CPU,
`shard_then_init` repeats them, since torch shares the generator's state among ranks on CUDA alone."""


def initialize(rank: Rank, idiom: str, width: int) -> None:
    rank.kept["net"] = INITIALIZE[idiom](rank, width)


def check_initialized(rank: Rank, width: int) -> str:
    """The kept model is initialized as its modules do it. Returns how its numbers relate to the unsharded ones."""
    found = dict(rank.kept["net"].named_parameters(remove_duplicate=False))
    for name, parameter in found.items():
        oracles.same(local(parameter).device.type, rank.device.type, f"{name}: device")
    values = {name: whole(parameter) for name, parameter in found.items()}

    def judge() -> str:
        expected = build(width, device=rank.device)
        related = set()
        oracles.same(list(values), [name for name, _ in expected.named_parameters()], "names")
        for name, parameter in expected.named_parameters():
            oracles.same(tuple(values[name].shape), tuple(parameter.shape), f"{name}: shape")
            assert not values[name].isnan().any(), f"{name}: not initialized"
            _like(values[name], parameter.detach(), name)
            related.add(numbers(values[name], parameter.detach(), rank.count))
        # Where the shards are not even, the ranks' generators are apart after the first weight.
        return next(one for one in ("repeated", "others", "same") if one in related)

    return str(from_rank0(rank, judge))


# Ways to the state of a sharded model:


def _options(**given: bool) -> Any:
    from torch.distributed.checkpoint import state_dict

    options: Any = state_dict.StateDictOptions
    return options(**given)


def _distributed_state(rank: Rank, **given: bool) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import get_model_state_dict

    return get_model_state_dict(rank.kept["net"], options=_options(**given))


SHARDED_STATE: Mapping[str, Callable[[Rank], dict[str, Any]]] = {
    "state_dict": lambda rank: rank.kept["net"].state_dict(),
    "get_model_state_dict": lambda rank: _distributed_state(rank),
}

FULL_STATE: Mapping[str, Callable[[Rank], dict[str, Any]]] = {
    "full_tensor_loop": lambda rank: {
        name: tensor.full_tensor() for name, tensor in rank.kept["net"].state_dict().items()
    },
    "full_state_dict": lambda rank: _distributed_state(rank, full_state_dict=True),
    "full_state_dict_rank0": lambda rank: _distributed_state(rank, full_state_dict=True, cpu_offload=True),
}


def read(rank: Rank, idiom: str) -> None:
    rank.kept["made"] = {**SHARDED_STATE, **FULL_STATE}[idiom](rank)


def check_read(rank: Rank, idiom: str) -> None:
    """What was read is the plain model's state: shards of it, or all of it, on rank 0 alone where the idiom says so."""
    found, expected = rank.kept.get("made"), plain(rank).state_dict()
    assert isinstance(found, dict), f"found {found!r}"
    if idiom.endswith("rank0") and rank.number:
        oracles.same(list(found), [], "names on another rank than 0")
        return
    oracles.same(list(found), list(expected), "names")
    for name, tensor in expected.items():
        oracles.same(hasattr(found[name], "to_local"), idiom in SHARDED_STATE, f"{name} is a DTensor")
        oracles.identical(whole(found[name]).cpu(), tensor, name)


def forget(rank: Rank) -> None:
    rank.kept.pop("made", None)


# Ways to load a checkpoint that is in memory, on every rank or on rank 0, into a sharded model:


def _load_each(rank: Rank, state: dict[str, Any]) -> None:
    from torch.distributed.checkpoint.state_dict import set_model_state_dict

    # It replaces the tensors of the dictionary by shards, so it gets one of its own.
    set_model_state_dict(rank.kept["net"], dict(state), options=_options(full_state_dict=True))


def _load_broadcast(rank: Rank, state: dict[str, Any]) -> None:
    from torch.distributed.checkpoint.state_dict import set_model_state_dict

    given = dict(state) if rank.number == 0 else {}
    set_model_state_dict(rank.kept["net"], given, options=_options(full_state_dict=True, broadcast_from_rank0=True))


@torch.no_grad()
def _load_own_rows(rank: Rank, state: dict[str, Any]) -> None:
    for name, parameter in rank.kept["net"].named_parameters():
        own = local(parameter)
        start = min(rank.number * -(-len(parameter) // rank.count), len(parameter))
        own.copy_(state[name][start : start + len(own)])


LOAD: Mapping[str, Callable[[Rank, dict[str, Any]], None]] = {
    "full_state_dict": _load_each,
    "broadcast_from_rank0": _load_broadcast,
    "copy_own_rows": _load_own_rows,
}


def hold_state(rank: Rank) -> None:
    """Keep the plain model's state on every rank."""
    rank.kept["state"] = plain(rank).state_dict()


def load(rank: Rank, idiom: str) -> None:
    LOAD[idiom](rank, rank.kept["state"])


# Ways to save to files, and to load from them:


def _sharded_state(rank: Rank) -> dict[str, Any]:
    return _distributed_state(rank)


def _dcp_save(rank: Rank, path: str) -> None:
    from torch.distributed.checkpoint import state_dict_saver

    state_dict_saver.save(_sharded_state(rank), checkpoint_id=path)


def _dcp_async_save(rank: Rank, path: str) -> None:
    from torch.distributed.checkpoint import state_dict_saver

    rank.kept["future"] = state_dict_saver.async_save(_sharded_state(rank), checkpoint_id=path)


def _dcp_async_save_to_the_end(rank: Rank, path: str) -> None:
    _dcp_async_save(rank, path)
    finish(rank)


def _torch_save_from_rank0(rank: Rank, path: str) -> None:
    state = _distributed_state(rank, full_state_dict=True, cpu_offload=True)
    if rank.number == 0:
        Path(path).mkdir(exist_ok=True)
        torch.save(state, Path(path, "full.pt"))


SAVE: Mapping[str, Callable[[Rank, str], None]] = {
    "dcp_save": _dcp_save,
    "dcp_async_save": _dcp_async_save,
    "dcp_async_save_to_the_end": _dcp_async_save_to_the_end,
    "torch_save_from_rank0": _torch_save_from_rank0,
}


def save(rank: Rank, idiom: str, path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about its storage
        SAVE[idiom](rank, path)


def finish(rank: Rank) -> None:
    """Wait until an asynchronous save has ended."""
    future = rank.kept.pop("future", None)
    if future is not None:
        getattr(future, "upload_completion", future).result()
    torch.distributed.barrier()


def remove(rank: Rank, path: str) -> None:
    if rank.number == 0:
        shutil.rmtree(path, ignore_errors=True)
    torch.distributed.barrier()


def restore(rank: Rank, path: str) -> None:
    """Load a checkpoint of torch.distributed.checkpoint, which other ranks may have saved."""
    from torch.distributed.checkpoint import state_dict_loader
    from torch.distributed.checkpoint.state_dict import set_model_state_dict

    state = _sharded_state(rank)
    state_dict_loader.load(state, checkpoint_id=path)
    set_model_state_dict(rank.kept["net"], state)


def check_saved(rank: Rank, idiom: str, path: str) -> None:
    """The files hold the plain model."""
    assert Path(path).is_dir(), f"{path}: nothing was saved"
    if idiom == "torch_save_from_rank0":
        found, expected = torch.load(Path(path, "full.pt"), weights_only=True), plain(rank).state_dict()
        oracles.same(list(found), list(expected), "names in the file")
        for name, tensor in expected.items():
            oracles.identical(found[name], tensor, name)
        return
    assert Path(path, ".metadata").is_file(), f"{path}: no metadata"
    poison(rank)
    restore(rank, path)
    check_values(rank)


# A training step's parts:


def tokens(rank: Rank, number: int) -> torch.Tensor:
    """The tokens of rank `number`. Each rank has others."""
    width, _ = rank.kept["plain"]
    return (7 * torch.arange(TOKENS + 1) + 13 * number) % vocabulary(width)


def loss_of(net: nn.Module, numbers: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(net(numbers[:-1]), numbers[1:])


def forward_backward(rank: Rank) -> None:
    """A forward and a backward pass. Each group of parameters is gathered for them, and the gradients are averaged over
    the ranks. They are added to those that are there."""
    loss_of(rank.kept["net"], tokens(rank, rank.number).to(rank.device)).backward()


def drop_gradients(rank: Rank) -> None:
    rank.kept["net"].zero_grad()


def expected_gradients(rank: Rank) -> dict[str, torch.Tensor]:
    """The plain model's gradients, averaged over the tokens of all ranks."""
    net = plain(rank)
    for number in range(rank.count):
        (loss_of(net, tokens(rank, number)) / rank.count).backward()
    return {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}


def gradients(rank: Rank) -> dict[str, torch.Tensor]:
    """The whole gradients of the kept model, by name.

    Raises:
        AssertionError: if a parameter has none.
    """
    found = {}
    for name, parameter in rank.kept["net"].named_parameters():
        assert parameter.grad is not None, f"{name}: no gradient"
        found[name] = whole(parameter.grad)
    return found


def check_gradients(rank: Rank) -> None:
    found = gradients(rank)

    def judge() -> None:
        for name, gradient in expected_gradients(rank).items():
            _near(found[name], gradient, name, relative=1e-4, absolute=1e-6)

    from_rank0(rank, judge)


def _near(found: torch.Tensor, expected: torch.Tensor, what: str, *, relative: float, absolute: float) -> None:
    torch.testing.assert_close(found.cpu(), expected, rtol=relative, atol=absolute, msg=lambda text: f"{what}: {text}")


MOST_NORM = 0.01
"""What gradients are clipped to."""


def clip(rank: Rank, implementation: str) -> float:
    """Clip the gradients by their norm over all ranks, which each rank gets as a number."""
    parameters = list(rank.kept["net"].parameters())
    norm = nn.utils.clip_grad_norm_(parameters, MOST_NORM, foreach=implementation == "foreach")
    return float(whole(norm))


def check_clipped(rank: Rank, norm: object) -> None:
    """The norm is that of the gradients before, and they have been scaled."""
    assert isinstance(norm, float), f"found {norm!r}, expected a norm"
    found = gradients(rank)

    def judge() -> None:
        expected = expected_gradients(rank)
        right = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in expected.values()))
        assert math.isclose(norm, right, rel_tol=1e-4), f"norm: found {norm}, expected {right}"
        for name, gradient in expected.items():
            _near(found[name], gradient * (MOST_NORM / right), name, relative=1e-3, absolute=1e-8)

    from_rank0(rank, judge)


def step_again(rank: Rank) -> None:
    """Fresh gradients, as before a step."""
    drop_gradients(rank)
    forward_backward(rank)


def alike(values: list[Any], what: str) -> Any:
    """What all ranks found alike.

    Raises:
        AssertionError: if they did not.
    """
    assert len(set(values)) == 1, f"{what}: the ranks found {values}"
    return values[0]
