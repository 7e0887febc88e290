"""Checkpoints that somebody has: what a file holds, without running code that it contains."""

from __future__ import annotations

import json
import pickle
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.serialization import MAGIC_NUMBER

from bench_core.errors import BenchCoreError, brief, named, shortened
from bench_core.suite.startup_code import tensors_in
from bench_core.suite.target import memory

State = dict[str, torch.Tensor]

FORMATS = "a state dict that torch.save or safetensors has written, or the index of several safetensors files"

INDEX = ".safetensors.index.json"
"""How the name of such an index ends."""

NESTED = ("state_dict", "model_state_dict", "model", "module", "net")
"""Under which of its keys a training checkpoint holds the state of its model, the usual first."""

DEEPEST = 64
"""The most dots in a name. Real models have about ten."""


@dataclass(frozen=True)
class Entry:
    """A tensor of a checkpoint, without its values."""

    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds, or several safetensors files with an index.

    Attributes:
        path: the file, or the index.
        format: ``safetensors``, ``torch``, or ``torch (legacy)``, which cannot be mapped.
        entries: its tensors by name, also under names that `aliases` has.
        aliases: names of tensors that are another entry, by name.
        key: the key of the mapping in which the tensors are; "" if the file holds them at its top.
        trust: whether it is unpickled with all that it names.
        module: whether there is a whole module, of which the state dict is taken.
        mixed: whether there are entries besides the tensors, such as an epoch or extra state. They are left out.
        files: the files that the index names; empty without one.
    """

    path: Path
    format: str
    entries: Mapping[str, Entry]
    aliases: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    trust: bool = False
    module: bool = False
    mixed: bool = False
    files: tuple[Path, ...] = ()

    def state(self) -> State:
        """Read the values, on the CPU, into memory of their own. Neither torch nor safetensors compares checksums, so
        a damaged value is a value like any other.

        Raises:
            BenchCoreError: if the file is damaged, or is no longer what it was.
        """
        if self.format == "safetensors":
            state: State = {}
            for file in self.files or (self.path,):
                state |= _safetensors_state(file)
        else:
            state = _state_in(self.path, _torch_load(self.path, mmap=False, trust=self.trust)).state
        if missing := sorted(self.entries.keys() - state.keys() - self.aliases.keys()):
            raise BenchCoreError(f"{_shown(self.path)} has changed: it no longer holds {shortened(missing)}.")
        return {name: state[self.aliases.get(name, name)] for name in self.entries}

    def container(self) -> nn.Module:
        """A module with parameters of these names, shapes and dtypes, all zeros, on torch's default device.

        A state dict does not say what is a parameter. Floating-point and complex tensors become parameters, other
        tensors and the running statistics of batch normalization become buffers. Names that are one tensor in the file
        become one parameter.
        """
        root = nn.Module()
        for name, entry in self.entries.items():
            *path, last = name.split(".")
            owner = root
            for part in path:
                if part not in owner._modules:
                    owner.add_module(part, nn.Module())
                owner = owner.get_submodule(part)
            if name in self.aliases:
                continue
            values = torch.zeros(entry.shape, dtype=entry.dtype)
            if is_parameter(name, entry.dtype):
                owner.register_parameter(last, nn.Parameter(values))
            else:
                owner.register_buffer(last, values)
        for name, kept in self.aliases.items():
            prefix, _, last = name.rpartition(".")
            owner = root.get_submodule(prefix)
            if is_parameter(kept, self.entries[kept].dtype):
                owner.register_parameter(last, root.get_parameter(kept))
            else:
                owner.register_buffer(last, root.get_buffer(kept))
        return root


def is_parameter(name: str, dtype: torch.dtype) -> bool:
    """Whether a tensor of a checkpoint is taken for a parameter."""
    return (dtype.is_floating_point or dtype.is_complex) and not name.endswith(("running_mean", "running_var"))


def read(path: Path, *, trust: bool = False) -> Checkpoint:
    """Read what a file holds: names, shapes, dtypes and ties. Values are not read from a file that can be mapped.

    Args:
        path: the file; an index of Hugging Face for several safetensors files; or a folder with one of these.
        trust: whether a pickle may name what torch does not know to be harmless, and so run any code.

    Raises:
        BenchCoreError: if the file is no checkpoint, is damaged, or needs `trust`.
    """
    path = _in_folder(path) if path.is_dir() else path
    found = _indexed(path) if _begins_like_json(_head(path)) else _read(path, trust=trust)
    _check_names(path, found)
    return found


def _read(path: Path, *, trust: bool) -> Checkpoint:
    head = _head(path)
    mapped = head.startswith(b"PK\x03\x04")
    if mapped:
        _check_zip(path)
    if mapped or _LEGACY in head:
        if path.suffix == ".safetensors":  # torch.load would take it for one
            raise _no_checkpoint(
                path, "its name is that of a safetensors file, and torch.save has written it; rename it"
            )
        return _torch_checkpoint(path, "torch" if mapped else "torch (legacy)", trust=trust)
    if _begins_like_safetensors(head) or (path.suffix == ".safetensors" and not _foreign(head)):
        return _safetensors_checkpoint(path)
    raise _no_checkpoint(path, _foreign(head) or "it is in none of the formats that are known here")


def _head(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # the other end of a pipe may never come
        raise _no_checkpoint(path, "it is no regular file")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise BenchCoreError(f"{_shown(path)} cannot be read: {error.strerror}.") from error
    if not head:
        raise BenchCoreError(f"{_shown(path)} is empty. A checkpoint is {FORMATS}.")
    return head


def _in_folder(path: Path) -> Path:
    """The checkpoint in a folder: the only index, or without one the only safetensors file."""
    if (path / ".metadata").exists():
        raise BenchCoreError(
            f"{_shown(path)} is a checkpoint of torch.distributed in several files. Make one file of it: python -m "
            f"torch.distributed.checkpoint.format_utils dcp_to_torch {_shown(path)} model.pt"
        )
    try:
        names = sorted(each.name for each in path.iterdir())
    except OSError as error:
        raise BenchCoreError(f"{_shown(path)} cannot be read: {error.strerror}.") from error
    indices = [name for name in names if name.endswith(INDEX)]
    found = indices or [name for name in names if name.endswith(".safetensors")]
    if len(found) == 1:
        return path / found[0]
    inside = found or [name for name in names if name.endswith((".pt", ".pth", ".bin"))]
    cure = f"Name one of its files: {shortened(inside)}." if inside else f"A checkpoint is {FORMATS}."
    raise BenchCoreError(f"{_shown(path)} is a folder{f' with {len(found)} checkpoints' if found else ''}. {cure}")


def _shown(path: Path) -> str:
    return brief(str(path))


def _no_checkpoint(path: Path, why: str) -> BenchCoreError:
    return BenchCoreError(f"{_shown(path)} is no checkpoint: {why}. A checkpoint is {FORMATS}.")


def _damaged(path: Path, error: BaseException) -> BenchCoreError:
    return BenchCoreError(
        f"{_shown(path)} is damaged or cut off: {brief(named(error))}. Copy or download it again, and compare its size "
        "with the original's."
    )


_LEGACY = MAGIC_NUMBER.to_bytes(10, "little")
"""What is near the beginning of a file that torch.save has written before version 1.6."""

_BEGINNINGS: Mapping[bytes, str] = {
    b"version https://git-lfs": "it is a pointer of Git LFS; `git lfs pull` fetches the file itself",
    b"\x89HDF": "it is an HDF5 file",
    b"GGUF": "it is a GGUF file",
    b"\x93NUMPY": "it is a NumPy array",
    b"\x80": "it is a pickle that torch.save has not written",
    b"\x1f\x8b": "it is compressed with gzip",
    b"<": "it is a web page or XML, perhaps the answer to a download that failed",
    b"{": "it is JSON",
    b"[": "it is JSON",
}
"""What files of other kinds begin with."""


def _foreign(head: bytes) -> str:
    return next((what for beginning, what in _BEGINNINGS.items() if head.lstrip().startswith(beginning)), "")


# --------------------------------------------------------------------------------------------------------- safetensors

# A file is the length of the header in 8 bytes, little-endian, the header as JSON, and the values
# (https://github.com/huggingface/safetensors#format). Its library refuses headers of more than 100 MB.

_LONGEST_HEADER = 100_000_000


def _begins_like_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LONGEST_HEADER


def _begins_like_json(head: bytes) -> bool:
    return head.lstrip().startswith(b"{") and not _begins_like_safetensors(head)


def _safetensors_checkpoint(path: Path) -> Checkpoint:
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            entries = {name: _entry(path, file, name) for name in file.keys()}  # noqa: SIM118 - no dict
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    # `save_model` omits all but one name of each tied parameter, and notes the others beside what a user notes.
    aliases = {name: kept for name, kept in metadata.items() if kept in entries and name not in entries}
    aliases.pop("format", None)  # what others than save_model note: the framework
    entries.update({name: entries[kept] for name, kept in aliases.items()})
    return Checkpoint(path, "safetensors", entries, aliases)


def _entry(path: Path, file: Any, name: str) -> Entry:
    part = file.get_slice(name)
    shape = tuple(part.get_shape())
    try:
        # An empty slice has the dtype and reads no values. A tensor without dimensions cannot be sliced.
        return Entry(shape, (part[:0] if shape else file.get_tensor(name)).dtype)
    except (RuntimeError, AttributeError, TypeError) as error:  # of 4 bits, for instance
        raise BenchCoreError(
            f"{_shown(path)} holds {brief(name)!r} with the dtype {part.get_dtype()}, which safetensors cannot make a "
            f"tensor of: {brief(named(error))}."
        ) from error


def _safetensors_state(path: Path) -> State:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


# --------------------------------------------------------------------------------------------------------------- index

# What Hugging Face writes beside a checkpoint in several files: {"metadata": {...}, "weight_map": {name: file, ...}}
# (https://huggingface.co/docs/transformers/en/big_models#sharded-checkpoints).


def _indexed(path: Path) -> Checkpoint:
    """What all files of an index hold together. Tensors that the index does not name are a part of it, since whoever
    loads the files gets them."""
    weights = _weight_map(path)
    entries: dict[str, Entry] = {}
    aliases: dict[str, str] = {}
    holder: dict[str, str] = {}
    for name in dict.fromkeys(weights.values()):
        found = _part(path, name)
        if twice := sorted(holder.keys() & found.entries.keys()):
            raise BenchCoreError(
                f"{_shown(path)}: {brief(holder[twice[0]])} and {brief(name)} both hold {shortened(twice)}. Remove the "
                "file that does not belong to this checkpoint."
            )
        holder |= dict.fromkeys(found.entries, name)
        entries |= found.entries
        aliases |= found.aliases
    for name in dict.fromkeys(weights.values()):
        if missing := [one for one, file in weights.items() if file == name and holder.get(one) != name]:
            raise BenchCoreError(
                f"{_shown(path)} says that {brief(name)} holds {shortened(missing)}, and it does not. Download the "
                "index and the files of one version."
            )
    files = tuple(path.parent / name for name in dict.fromkeys(weights.values()))
    return Checkpoint(path, "safetensors", entries, aliases, files=files)


def _weight_map(path: Path) -> Mapping[str, str]:
    """The file of each tensor, by its name."""
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise BenchCoreError(f"{_shown(path)} cannot be read: {error.strerror}.") from error
    weights = content.get("weight_map")
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights.values()):
        raise _no_checkpoint(path, "it is JSON without a weight_map, which is what an index has")
    if not weights:
        raise _no_checkpoint(path, "its weight_map names no tensors")
    return weights


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    (name, times), *_ = Counter(name for name, _ in pairs).most_common(1) or [("", 0)]
    if times > 1:
        raise ValueError(f"it names {brief(name)!r} twice")
    return dict(pairs)


def _part(index: Path, name: str) -> Checkpoint:
    """What one of the files of an index holds."""
    if ".." in name.replace("\\", "/").split("/") or PurePosixPath(name).root or PureWindowsPath(name).anchor:
        raise BenchCoreError(f"{_shown(index)} names {brief(name)!r}, a file outside of its folder, which is not read.")
    path = index.parent / name
    if not path.is_file():
        raise BenchCoreError(f"{_shown(index)} names {brief(name)!r}, and there is no such file. Download it too.")
    if not name.endswith(".safetensors"):
        raise BenchCoreError(
            f"{_shown(index)} names {brief(name)!r}. Only safetensors files are read by an index: save the model with "
            "safe_serialization=True."
        )
    return _read(path, trust=False)


# --------------------------------------------------------------------------------------------------------------- torch


def _check_zip(path: Path) -> None:
    """Refuse a zip file that torch.save did not write, and one without its end, where its table of contents is."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception as error:  # zipfile raises six kinds of them
        raise _damaged(path, error) from error
    inside = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inside:
        raise _no_checkpoint(path, "it is a program of TorchScript; save the state dict of torch.jit.load(...)")
    if "data.pkl" in inside:
        return
    if any(name.endswith(".npy") for name in names):
        raise _no_checkpoint(path, "it is a NumPy archive")
    raise _no_checkpoint(path, f"it is a zip file that torch.save has not written (it holds {shortened(names)})")


def _torch_checkpoint(path: Path, kind: str, *, trust: bool) -> Checkpoint:
    found = _state_in(path, _torch_load(path, mmap=kind == "torch", trust=trust))
    for name, tensor in found.state.items():
        if what := _unusual(tensor):
            raise BenchCoreError(
                f"{_shown(path)} holds {brief(name)!r}, {what}. Only dense tensors with values are measured."
            )
    entries = {name: Entry(tuple(tensor.shape), tensor.dtype) for name, tensor in found.state.items()}
    aliases = dict(_same_tensor(found.state))
    return Checkpoint(path, kind, entries, aliases, found.key, trust, found.module, found.mixed)


def _unusual(tensor: torch.Tensor) -> str:
    """What a tensor is that is not measured; "" for one that is."""
    if type(tensor) not in (torch.Tensor, nn.Parameter) or tensor.layout is not torch.strided:
        return f"a {type(tensor).__name__} with layout {str(tensor.layout).removeprefix('torch.')}"
    if tensor.is_meta:
        return "a tensor on meta"
    return "a quantized tensor" if tensor.is_quantized else ""


def _torch_load(path: Path, *, mmap: bool, trust: bool) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of another protocol of pickle, which is an error below if it is one
            return torch.load(path, map_location="cpu", weights_only=not trust, mmap=mmap)
    except KeyboardInterrupt:
        raise
    except pickle.UnpicklingError as error:
        if trust:
            raise _damaged(path, error) from error
        raise BenchCoreError(
            f"{_shown(path)} is not read: {_refused(str(error))}, and such a pickle can run any code. Save a state "
            "dict instead, torch.save(model.state_dict(), path), or add --trust if you trust whoever made the file."
        ) from error
    except (AttributeError, ImportError) as error:
        if not trust:
            raise _damaged(path, error) from error
        raise BenchCoreError(
            f"{_shown(path)} needs code that is not there: {brief(named(error))}. Install the package that has it."
        ) from error
    except (Exception, SystemExit) as error:
        raise _damaged(path, error) from error


_GLOBAL = re.compile(r"GLOBAL (\S+)")


def _refused(message: str) -> str:
    """What torch's unpickler for weights refuses, from its message."""
    if names := sorted(set(_GLOBAL.findall(message))):
        return f"it names {shortened(names)}, which is no part of a state dict"
    reason = message.rpartition("WeightsUnpickler error:")[2].strip().splitlines()[0]
    return f"torch's unpickler for weights stops at {brief(reason)!r}"


@dataclass(frozen=True)
class _Found:
    """The tensors of what was loaded. The other attributes are as in `Checkpoint`."""

    state: State
    key: str = ""
    module: bool = False
    mixed: bool = False


def _state_in(path: Path, loaded: object) -> _Found:
    if (found := _tensors_of(loaded)).state:
        return found
    if isinstance(loaded, Mapping):
        inner = {key: _tensors_of(value, key) for key, value in loaded.items() if isinstance(key, str)}
        filled = {key: each for key, each in inner.items() if each.state}
        known = [key for key in NESTED if key in filled] or list(filled)
        if len(known) == 1 or (known and known[0] in NESTED):
            return filled[known[0]]
        holds = f"a mapping with {shortened([brief(str(key)) for key in loaded])}"
    else:
        holds = f"a {type(loaded).__name__}"
    raise _no_checkpoint(path, f"it holds {holds}, and no state dict")


def _tensors_of(loaded: object, key: str = "") -> _Found:
    """The tensors of a state dict, or of a module; without any, empty."""
    module = isinstance(loaded, nn.Module)
    value = loaded.state_dict() if isinstance(loaded, nn.Module) else loaded
    if not isinstance(value, Mapping):
        return _Found({})
    state = tensors_in(value)
    return _Found(state, key, module, len(state) < len(value))


def _same_tensor(state: State) -> Iterator[tuple[str, str]]:
    """Names that have the memory, shape and strides of an earlier name: what tied parameters become in a file."""
    first: dict[object, str] = {}
    for name, tensor in state.items():
        place = memory.region(tensor)
        if place is None:
            continue
        key = (place, tensor.shape, tensor.stride(), tensor.dtype)
        if key in first:
            yield name, first[key]
        else:
            first[key] = name


# --------------------------------------------------------------------------------------------------------------- names


def _check_names(path: Path, found: Checkpoint) -> None:
    """Refuse names from which no module can be made."""
    if not found.entries:
        raise _no_checkpoint(path, "it holds no tensors")
    if not any(is_parameter(name, entry.dtype) for name, entry in found.entries.items()):
        raise BenchCoreError(f"{_shown(path)} holds no parameters: none of its tensors has floating-point numbers.")
    prefixes: dict[str, str] = {}
    for name in found.entries:
        parts = name.split(".")
        if not all(parts) or len(parts) > DEEPEST:
            raise BenchCoreError(
                f"{_shown(path)} holds a tensor named {brief(name)!r}. A name is parts with dots between them, at "
                f"most {DEEPEST}, none of them empty."
            )
        for end in range(1, len(parts)):
            prefixes.setdefault(".".join(parts[:end]), name)
        if taken := [part for part in parts if hasattr(nn.Module, part) or part in _OWN]:
            raise BenchCoreError(
                f"{_shown(path)} holds a tensor named {brief(name)!r}, and {taken[0]!r} is an attribute of every "
                "nn.Module. Rename it."
            )
    for name in found.entries:
        if name in prefixes:
            raise BenchCoreError(
                f"{_shown(path)} holds {brief(name)!r} and {brief(prefixes[name])!r}: one name cannot be both a tensor "
                "and a module. Rename one of them."
            )


_OWN = frozenset(vars(nn.Module()))
"""The attributes that every module has."""
