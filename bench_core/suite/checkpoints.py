"""Ways to read, load, copy and save the state of a model, and what each does to tied parameters.

Every dictionary maps an idiom, named as in the cells, to a function. The idioms of one dictionary do the same job.
"""

from __future__ import annotations

import copy
import ctypes
import itertools
import mmap
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from bench_core.suite import oracles
from bench_core.suite.axes import dtype_of, shape_of

State = Mapping[str, torch.Tensor]


def layer(size: str, device: str = "cpu", dtype: str = "float32") -> nn.Linear:
    """A linear layer without bias. Its weight counts 0, 1, 2, ..., which is cheaper than drawing. In float32, all
    elements differ up to 4096x4096."""
    rows, columns = shape_of(size)
    made = nn.Linear(columns, rows, bias=False, device="meta", dtype=dtype_of(dtype)).to_empty(device=device)
    with torch.no_grad():
        made.weight.copy_(torch.arange(rows * columns, dtype=torch.float32).view(rows, columns))
    return made


def snapshot(net: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the state of `net`. Tensors that share memory in `net` share memory in the copy, as in a file."""
    return copy.deepcopy(net.state_dict())


def poison(net: nn.Module) -> None:
    """Make every element of every parameter and buffer NaN, so that elements that are not loaded show."""
    for tensor in net.state_dict().values():
        tensor.fill_(torch.nan)


def check_state(net: nn.Module, expected: State, what: str) -> None:
    """The state of `net` is `expected`, name by name and bit for bit, on the same device. No tensor is a view of
    something larger, every parameter gets a gradient, and buffers that no checkpoint holds are on that device too."""
    found = net.state_dict()
    oracles.same(list(found), list(expected), f"{what}: names")
    for name, tensor in expected.items():
        oracles.identical(found[name], tensor, f"{what}: {name}")
        oracles.own_memory(found[name], f"{what}: {name}")
    oracles.trainable(net)
    oracles.all_on(net, {tensor.device for tensor in expected.values()}, what)


# Read the bias of the last layer of nested `Sequential`s, given its name. `attribute` depends on the depth only.

_LAST_BIAS: dict[int, Callable[[Any], torch.Tensor]] = {
    1: lambda net: net[-1].bias,
    2: lambda net: net[-1][-1].bias,
    3: lambda net: net[-1][-1][-1].bias,
}

READ_LAST: dict[str, Callable[[str], Callable[[nn.Module], torch.Tensor]]] = {
    "attribute": lambda name: _LAST_BIAS[name.count(".")],
    "get_parameter": lambda name: lambda net: net.get_parameter(name),
    "named_parameters": lambda name: lambda net: dict(net.named_parameters())[name],
    "state_dict": lambda name: lambda net: net.state_dict()[name],
}

READ_LAYER: dict[str, Callable[[nn.Linear], torch.Tensor]] = {
    "weight": lambda layer: layer.weight,
    "weight.data": lambda layer: layer.weight.data,
    "get_parameter": lambda layer: layer.get_parameter("weight"),
    "parameters": lambda layer: next(layer.parameters()),
    "state_dict": lambda layer: layer.state_dict()["weight"],
}

WALKS: dict[str, Callable[[nn.Module], list[Any]]] = {
    "parameters": lambda net: list(net.parameters()),
    "named_parameters": lambda net: list(net.named_parameters()),
    "named_parameters_with_duplicates": lambda net: list(net.named_parameters(remove_duplicate=False)),
    "named_buffers": lambda net: list(net.named_buffers()),
}


class HookCalls:
    """The cheapest state-dict hook: it counts its calls."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *_: object) -> None:
        self.count += 1


# Get the state of a model. Each is made by a call, since one needs a part of torch that takes long to import:


def _get_model_state_dict() -> Callable[[nn.Module], State]:
    from torch.distributed.checkpoint.state_dict import get_model_state_dict

    def state(net: nn.Module) -> State:
        found: Any = get_model_state_dict(net)
        assert isinstance(found, dict), found
        return found

    return state


MODEL_STATES: dict[str, Callable[[], Callable[[nn.Module], State]]] = {
    "state_dict": lambda: lambda net: net.state_dict(),
    "get_model_state_dict": _get_model_state_dict,
}


def why_no_model_state(idiom: str) -> str | None:
    """Why this torch has no such idiom of `MODEL_STATES`, or None if it has."""
    if idiom == "get_model_state_dict" and not torch.distributed.is_available():
        return f"torch {torch.__version__} is built without torch.distributed"
    return None


# Look up every name of a list:


def _state_dict_once(net: nn.Module, names: Iterable[str]) -> list[torch.Tensor]:
    state = net.state_dict()
    return [state[name] for name in names]


def _named_parameters_once(net: nn.Module, names: Iterable[str]) -> list[torch.Tensor]:
    parameters = dict(net.named_parameters())
    return [parameters[name] for name in names]


LOOK_UP_PARAMETERS: dict[str, Callable[[nn.Module, Iterable[str]], list[torch.Tensor]]] = {
    "state_dict_once": _state_dict_once,
    "state_dict_in_loop": lambda net, names: [net.state_dict()[name] for name in names],
    "named_parameters_once": _named_parameters_once,
    "named_parameters_in_loop": lambda net, names: [dict(net.named_parameters())[name] for name in names],
    "get_parameter": lambda net, names: [net.get_parameter(name) for name in names],
}


def _named_modules_once(net: nn.Module, names: Iterable[str]) -> list[nn.Module]:
    modules = dict(net.named_modules())
    return [modules[name] for name in names]


LOOK_UP_MODULES: dict[str, Callable[[nn.Module, Iterable[str]], list[nn.Module]]] = {
    "named_modules_once": _named_modules_once,
    "named_modules_in_loop": lambda net, names: [dict(net.named_modules())[name] for name in names],
    "get_submodule": lambda net, names: [net.get_submodule(name) for name in names],
}


# Find the modules that a checkpoint with these keys fills wholly, as transformers did before and after #35493:


def _scan_keys(net: nn.Module, keys: Collection[str]) -> list[str]:
    found = []
    for name, module in net.named_modules():
        prefix = f"{name}." if name else ""
        given = {key.removeprefix(prefix) for key in keys if key.startswith(prefix)}
        if given.issuperset(module.state_dict()):
            found.append(name)
    return found


def _prepend_prefix(net: nn.Module, keys: Collection[str]) -> list[str]:
    found = []
    for name, module in net.named_modules():
        prefix = f"{name}." if name else ""
        if all(prefix + key in keys for key in module.state_dict()):
            found.append(name)
    return found


FILLED_MODULES: dict[str, Callable[[nn.Module, Collection[str]], list[str]]] = {
    "scan_keys": _scan_keys,
    "prepend_prefix": _prepend_prefix,
}


# Load a checkpoint that is in memory into a model:


def _targets(net: nn.Module) -> dict[str, torch.Tensor]:
    return dict(itertools.chain(net.named_parameters(), net.named_buffers()))


@torch.no_grad()
def _copy_loop(net: nn.Module, checkpoint: State) -> None:
    for name, tensor in _targets(net).items():
        tensor.copy_(checkpoint[name])


@torch.no_grad()
def _foreach_copy(net: nn.Module, checkpoint: State) -> None:
    targets = _targets(net)
    torch._foreach_copy_(list(targets.values()), [checkpoint[name] for name in targets])


def _whole_dict(net: nn.Module, checkpoint: State) -> None:
    """`load_state_dict` as before pytorch/pytorch#85743: every submodule searches all keys for unexpected ones."""
    complaints: tuple[list[str], list[str], list[str]] = ([], [], [])
    for name, module in net.named_modules():
        module._load_from_state_dict(checkpoint, f"{name}." if name else "", {}, True, *complaints)
    assert not any(complaints), complaints


def _assign_converted(net: nn.Module, checkpoint: State) -> None:
    dtypes = {name: tensor.dtype for name, tensor in net.state_dict().items()}
    net.load_state_dict({name: tensor.to(dtypes[name]) for name, tensor in checkpoint.items()}, assign=True)


LOADS: dict[str, Callable[[nn.Module, State], object]] = {
    "load_state_dict": lambda net, checkpoint: net.load_state_dict(checkpoint),
    "not_strict": lambda net, checkpoint: net.load_state_dict(checkpoint, strict=False),
    "assign": lambda net, checkpoint: net.load_state_dict(checkpoint, assign=True),
    "assign_converted": _assign_converted,
    "copy_loop": _copy_loop,
    "foreach_copy": _foreach_copy,
    "whole_dict": _whole_dict,
}


# Copy a model, given a function that constructs one like it on a device:
Construct = Callable[[str], nn.Module]


def _construct_and_load(net: nn.Module, construct: Construct) -> nn.Module:
    made = construct(str(next(net.parameters()).device))
    made.load_state_dict(net.state_dict())
    return made


def _meta_and_assign(net: nn.Module, construct: Construct) -> nn.Module:
    made = construct("meta")
    made.load_state_dict({name: tensor.clone() for name, tensor in net.state_dict().items()}, assign=True)
    return made


COPIES: dict[str, Callable[[nn.Module, Construct], nn.Module]] = {
    "deepcopy": lambda net, _construct: copy.deepcopy(net),
    "construct_and_load": _construct_and_load,
    "meta_and_assign": _meta_and_assign,
}


# Save and load files:

SAVES: dict[str, Callable[[nn.Module, Path], None]] = {
    "torch_save": lambda net, path: torch.save(net.state_dict(), path),
    "torch_save_module": lambda net, path: torch.save(net, path),
    "safetensors_save_file": lambda net, path: safetensors.torch.save_file(net.state_dict(), path),
    "safetensors_save_model": lambda net, path: safetensors.torch.save_model(net, str(path)),
}


PARTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "view": lambda part: part,
    "clone": lambda part: part.clone(),
}
"""Forms in which a part of a weight is saved."""


@dataclass(frozen=True)
class FileLoad:
    """A way to get a model's parameters from a file.

    Attributes:
        saved_by: the idiom of `SAVES` that writes such a file.
        load: takes a model of the right shape, the file and the device. Returns the model with the file's values, which
            is a new one for `torch_load_module` only. Memory that an idiom leaves mapped is touched, since otherwise an
            idiom that reads nothing would win (`torch.load(mmap=True)` of 64 MiB: 0.2 ms).
    """

    saved_by: str
    load: Callable[[nn.Module, Path, str], nn.Module]


def touched(net: nn.Module) -> nn.Module:
    """Return `net` after reading one element of every page of its parameters in host memory."""
    for parameter in net.parameters():
        if parameter.device.type == "cpu":
            step = max(1, mmap.PAGESIZE // parameter.element_size())
            parameter.detach().reshape(-1)[::step].clone()  # not every dtype can be added
    return net


def _copied(net: nn.Module, state: State) -> nn.Module:
    net.load_state_dict(state)
    return net


def _assigned(net: nn.Module, state: State) -> nn.Module:
    net.load_state_dict(state, assign=True)
    return touched(net)


def _loaded_model(net: nn.Module, path: Path, device: str) -> nn.Module:
    safetensors.torch.load_model(net, path, device=device)
    return net


def _torch_load(path: Path, device: str, *, mmap: bool = False) -> State:
    state: State = torch.load(path, map_location=device, weights_only=True, mmap=mmap)
    return state


FILE_LOADS: dict[str, FileLoad] = {
    "torch_load": FileLoad("torch_save", lambda net, path, device: _copied(net, _torch_load(path, device))),
    "torch_load_assign": FileLoad("torch_save", lambda net, path, device: _assigned(net, _torch_load(path, device))),
    "torch_load_mmap": FileLoad(
        "torch_save", lambda net, path, device: _copied(net, _torch_load(path, device, mmap=True))
    ),
    "torch_load_mmap_assign": FileLoad(
        "torch_save", lambda net, path, device: _assigned(net, _torch_load(path, device, mmap=True))
    ),
    "torch_load_module": FileLoad(
        # Pickle runs code, so this is only for files that one has written oneself.
        "torch_save_module",
        lambda _net, path, device: touched(torch.load(path, map_location=device, weights_only=False)),
    ),
    "safetensors_load_file": FileLoad(
        "safetensors_save_model",
        lambda net, path, device: _copied(net, safetensors.torch.load_file(path, device=device)),
    ),
    "safetensors_load_file_assign": FileLoad(
        "safetensors_save_model",
        lambda net, path, device: _assigned(net, safetensors.torch.load_file(path, device=device)),
    ),
    "safetensors_load_model": FileLoad("safetensors_save_model", _loaded_model),
}

PLAIN_LOAD: dict[str, str] = {
    "torch_save": "torch_load",
    "torch_save_module": "torch_load_module",
    "safetensors_save_file": "safetensors_load_file",
    "safetensors_save_model": "safetensors_load_model",
}
"""The idiom of `FILE_LOADS` that reads a file back, by the idiom of `SAVES` that wrote it."""


def why_no_cold_read() -> str | None:
    """Why this system cannot drop a file from its page cache, or None if it can."""
    if hasattr(os, "posix_fadvise"):
        return None
    return "this system has no posix_fadvise, so a file cannot be dropped from the page cache"


def evict(path: Path) -> str | None:
    """Drop a file from this system's page cache. The cache of a virtual machine's host, or of a network file system's
    server, is out of reach. Returns how much of the file stays in the cache (on a file system in memory, in a sandbox),
    or None if nothing does."""
    with path.open("rb") as file:
        os.fsync(file.fileno())  # a dirty page is not dropped
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    share = cached_share(path)
    return f"{share:.0%} of {path} stays in the page cache" if share else None


def cached_share(path: Path) -> float:
    """The share of a file's pages that are in the page cache, as mincore(2) has it."""
    mapped = np.memmap(path, np.uint8, "r")
    pages = (ctypes.c_ubyte * -(-mapped.size // mmap.PAGESIZE))()
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.mincore(ctypes.c_void_p(mapped.ctypes.data), ctypes.c_size_t(mapped.size), pages)
    if failed:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    return sum(page & 1 for page in pages) / len(pages)


class Tie(str, Enum):
    """What an operation makes of two names of one parameter."""

    ONE_PARAMETER = "one parameter"
    ONE_MEMORY = "two parameters over one memory"
    SEPARATE = "two parameters with a memory each"
    REFUSED = "an error"

    __str__ = str.__str__


def untying(idioms: Iterable[str]) -> list[str]:
    """The idioms that turn one tied parameter into two parameters."""
    return [idiom for idiom in idioms if KEEPS_TIED.get(idiom) in (Tie.ONE_MEMORY, Tie.SEPARATE)]


KEEPS_TIED: dict[str, Tie] = {
    "load_state_dict": Tie.ONE_PARAMETER,
    "not_strict": Tie.ONE_PARAMETER,
    "assign": Tie.ONE_MEMORY,
    "assign_converted": Tie.SEPARATE,
    "copy_loop": Tie.ONE_PARAMETER,
    "foreach_copy": Tie.ONE_PARAMETER,
    "whole_dict": Tie.ONE_PARAMETER,
    "deepcopy": Tie.ONE_PARAMETER,
    "construct_and_load": Tie.ONE_PARAMETER,
    "meta_and_assign": Tie.SEPARATE,
    "torch_save": Tie.ONE_PARAMETER,
    "torch_save_module": Tie.ONE_PARAMETER,
    "safetensors_save_file": Tie.REFUSED,
    "safetensors_save_model": Tie.ONE_PARAMETER,
    "torch_load": Tie.ONE_PARAMETER,
    "torch_load_assign": Tie.ONE_MEMORY,
    "torch_load_mmap": Tie.ONE_PARAMETER,
    "torch_load_mmap_assign": Tie.ONE_MEMORY,
    "torch_load_module": Tie.ONE_PARAMETER,
    "safetensors_load_file": Tie.REFUSED,
    "safetensors_load_file_assign": Tie.REFUSED,
    "safetensors_load_model": Tie.ONE_PARAMETER,
}
"""What each idiom makes of two tied layers, as measured by `tie_after` on torch 2.13 and safetensors 0.8.

The target model ties the layers itself, and the checkpoint holds both names over one memory. `assign` gives each name a
parameter of its own (pytorch/pytorch#188346). While these share the checkpoint's memory, an edit of one shows in the
other, but gradients and optimizer state are kept twice, and Adam moves the weight twice a step. The workaround is to
tie the layers again after the load, or a checkpoint from ``state_dict(keep_vars=True)``, which holds the one parameter
under both names. `safetensors_save_file` refuses memory that two names share. `safetensors_save_model` omits the second
name, which a strict load reports as missing.
"""


def tied_pair(device: str = "cpu") -> nn.Sequential:
    """Two linear layers that share a weight."""
    net = nn.Sequential(nn.Linear(4, 4, device=device), nn.Linear(4, 4, device=device))
    net[1].weight = net[0].weight
    return net


def tie_of(net: nn.Module) -> Tie:
    """How the two layers of a model like `tied_pair` are tied."""
    one, other = (net.get_parameter(name) for name in ("0.weight", "1.weight"))
    if one is other:
        return Tie.ONE_PARAMETER
    return Tie.ONE_MEMORY if one.data_ptr() == other.data_ptr() else Tie.SEPARATE


def tie_after(idiom: str) -> Tie:
    """Try `idiom` on `tied_pair`. A save is followed by its idiom of `PLAIN_LOAD`."""
    net = tied_pair()
    if idiom in LOADS:
        state = snapshot(net)
        if idiom == "assign_converted":
            state = {name: tensor.to(torch.bfloat16) for name, tensor in state.items()}
        LOADS[idiom](net, state)
        return tie_of(net)
    if idiom in COPIES:
        return tie_of(COPIES[idiom](net, tied_pair))
    load = FILE_LOADS[PLAIN_LOAD.get(idiom, idiom)]
    save = SAVES[idiom if idiom in SAVES else load.saved_by]
    with tempfile.TemporaryDirectory(prefix="bench-core-") as folder:
        path = Path(folder) / "checkpoint"
        try:
            save(net, path)
            return tie_of(load.load(tied_pair(), path, "cpu"))
        except RuntimeError:  # shared memory in save_file, a missing key in load_state_dict
            return Tie.REFUSED


def check_tie(idiom: str) -> None:
    """Check that an idiom that should keep parameters tied does. The others are not checked: a later torch may
    mend them."""
    if KEEPS_TIED[idiom] is Tie.ONE_PARAMETER:
        oracles.same(tie_after(idiom), Tie.ONE_PARAMETER, f"{idiom} of two tied layers")
