"""Checkpoints that somebody has, and files that are none."""

import copy
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from bench_core.errors import BenchCoreError
from bench_core.records.model import ModelSpec
from bench_core.suite import startup
from bench_core.suite.checkpoints import touched
from bench_core.suite.target import checkpoints, describe, load


class Net(nn.Module):
    """Tied weights, a buffer of each kind, and tensors that are not float32."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(6, 4)
        self.block = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embedding.weight
        self.scale = nn.Parameter(torch.tensor(1.5, dtype=torch.bfloat16))
        self.turn = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        self.register_buffer("mask", torch.ones(2, dtype=torch.bool))


@pytest.fixture
def net():
    torch.manual_seed(7)
    return Net()


def save_legacy(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)


WRITERS = {
    "torch": lambda net, path: torch.save(net.state_dict(), path),
    "parameters": lambda net, path: torch.save(net.state_dict(keep_vars=True), path),
    "legacy": lambda net, path: save_legacy(net.state_dict(), path),
    "training": lambda net, path: torch.save({"epoch": 3, "model": net.state_dict(), "optimizer": {"lr": 0.1}}, path),
    "lightning": lambda net, path: torch.save({"state_dict": net.state_dict(), "ema": {"a": torch.ones(1)}}, path),
    "safetensors": lambda net, path: safetensors.torch.save_model(net, str(path)),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_checkpoint_becomes_a_model_with_its_names_shapes_dtypes_values_and_ties(writer, net, tmp_path):
    path = tmp_path / "model"
    WRITERS[writer](net, path)
    target = load(ModelSpec(str(path)))
    model = target.ready()
    expected, found = net.state_dict(), model.state_dict()
    assert (target.kind, target.checkpoint) == ("checkpoint", path)
    assert sorted(found) == sorted(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
    assert {frozenset(group) for group in describe(model).ties} == {frozenset({"embedding.weight", "head.weight"})}
    assert {name for name, _ in model.named_buffers()} == {name for name, _ in net.named_buffers()}


def test_only_the_header_is_read_until_the_values_are_asked_for(net, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(safetensors.torch, "load_file", lambda path: asked.append(path))
    safetensors.torch.save_model(net, str(tmp_path / "model.safetensors"))
    model = load(ModelSpec(str(tmp_path / "model.safetensors"))).build()
    assert not asked
    assert not any(parameter.any() for parameter in model.parameters())


def test_a_container_is_on_the_device_of_the_context(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "model.pt")
    target = load(ModelSpec(str(tmp_path / "model.pt")))
    with torch.device("meta"):
        model = target.build()
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


def test_views_of_one_storage_are_no_ties(tmp_path):
    whole = torch.arange(6.0)
    torch.save({"a": whole[:3], "b": whole[3:], "c": whole[:3]}, tmp_path / "model.pt")
    assert checkpoints.read(tmp_path / "model.pt").aliases == {"c": "a"}


def test_what_others_note_in_a_safetensors_file_is_no_tie(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {"pt": torch.ones(2), "weight": torch.zeros(2)}
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt", "by": "someone", "weight": "pt"})
    assert checkpoints.read(path).aliases == {}


def test_extra_state_is_left_out(tmp_path):
    torch.save({"weight": torch.ones(2), "_extra_state": None}, tmp_path / "model.pt")
    assert list(checkpoints.read(tmp_path / "model.pt").entries) == ["weight"]


# ----------------------------------------------------------------------------------------------------- what is refused


def refusal(path, **settings):
    with pytest.raises(BenchCoreError) as caught:
        load(ModelSpec(str(path), **settings)).ready()
    assert str(path) in str(caught.value)
    return str(caught.value)


class Marker:
    """A pickle of it makes a file when it is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


EVIL = {
    "zip": lambda content, path: torch.save(content, path),
    "legacy": lambda content, path: save_legacy(content, path),
    "protocol 4": lambda content, path: torch.save(content, path, pickle_protocol=4),
}


@pytest.mark.parametrize("kind", EVIL)
def test_a_pickle_that_would_run_code_is_refused_and_has_not_run(kind, tmp_path):
    EVIL[kind]({"weight": torch.ones(2), "evil": Marker(tmp_path / "it-ran")}, tmp_path / "model.pt")
    said = refusal(tmp_path / "model.pt")
    assert "is not read: " in said
    assert "such a pickle can run any code" in said
    assert "--trust" in said
    assert not (tmp_path / "it-ran").exists()


def test_the_refusal_names_what_the_pickle_names(tmp_path):
    torch.save({"weight": torch.ones(2), "net": nn.ReLU()}, tmp_path / "model.pt")
    assert "it names torch.nn.modules.activation.ReLU, which is no part of a state dict" in refusal(
        tmp_path / "model.pt"
    )


@pytest.mark.parametrize("kind", EVIL)
def test_a_pickle_that_is_trusted_runs(kind, tmp_path):
    EVIL[kind]({"weight": torch.ones(2), "evil": Marker(tmp_path / "it-ran")}, tmp_path / "model.pt")
    model = load(ModelSpec(str(tmp_path / "model.pt"), trust=True)).ready()
    assert [name for name, _ in model.named_parameters()] == ["weight"]
    assert (tmp_path / "it-ran").exists()


def test_a_whole_module_is_read_if_it_is_trusted(net, tmp_path):
    torch.save(net, tmp_path / "model.pt")
    assert "it names " in refusal(tmp_path / "model.pt")
    model = load(ModelSpec(str(tmp_path / "model.pt"), trust=True)).ready()
    assert torch.equal(model.get_parameter("head.weight"), net.head.weight)
    assert len(describe(model).ties) == 1


def test_a_plain_pickle_is_not_even_read_if_it_is_trusted(tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Marker(tmp_path / "it-ran")))
    for trust in (False, True):
        assert "it is a pickle that torch.save has not written" in refusal(tmp_path / "model.pkl", trust=trust)
    assert not (tmp_path / "it-ran").exists()


def test_a_trusted_pickle_whose_classes_are_not_there_says_so(tmp_path, monkeypatch):
    made = type("Gone", (), {"__module__": __name__})
    monkeypatch.setitem(globals(), "Gone", made)
    torch.save({"gone": made()}, tmp_path / "model.pt")
    monkeypatch.delitem(globals(), "Gone")
    assert "needs code that is not there: AttributeError" in refusal(tmp_path / "model.pt", trust=True)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_is_cut_off_anywhere_is_refused(writer, net, tmp_path):
    whole, path = tmp_path / "whole", tmp_path / "model"
    WRITERS[writer](net, whole)
    content = whole.read_bytes()
    for length in (*range(1, 40), *range(40, len(content), len(content) // 40), len(content) - 1):
        path.write_bytes(content[:length])
        refusal(path)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "model.pt").touch()
    assert "is empty. A checkpoint is a state dict" in refusal(tmp_path / "model.pt")


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_cut_off_file_is_called_damaged(suffix, net, tmp_path):
    path = tmp_path / f"model.{suffix}"
    WRITERS["safetensors" if suffix == "safetensors" else "torch"](net, path)
    path.write_bytes(path.read_bytes()[:-8])
    said = refusal(path)
    assert "is damaged or cut off: " in said
    assert "Copy or download it again" in said


@pytest.mark.parametrize("writer", ["torch", "legacy", "safetensors"])
def test_a_file_with_a_damaged_byte_is_read_or_refused(writer, net, tmp_path):
    whole, path = tmp_path / "whole", tmp_path / "model"
    WRITERS[writer](net, whole)
    content = bytearray(whole.read_bytes())
    refused = []
    for place in range(0, len(content), len(content) // 120):
        content[place] ^= 0xFF
        path.write_bytes(content)
        try:
            load(ModelSpec(str(path))).ready()
        except BenchCoreError as error:
            refused.append(str(error))
        content[place] ^= 0xFF
    assert len(refused) > 10
    assert all(str(path) in said for said in refused)


def archive(names):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name in names:
            file.writestr(name, b"content")
    return made.getvalue()


def npy():
    made = io.BytesIO()
    np.save(made, np.ones(3))
    return made.getvalue()


FOREIGN = {
    "it is a zip file that torch.save has not written (it holds a.txt)": archive(["a.txt"]),
    "it is a NumPy archive": archive(["a.npy"]),
    "it is a program of TorchScript": archive(["m/data.pkl", "m/constants.pkl", "m/code/x.py"]),
    "it is a NumPy array": npy(),
    "it is a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5\n",
    "it is an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(600),
    "it is a GGUF file": b"GGUF" + bytes(100),
    "it is compressed with gzip": b"\x1f\x8b\x08" + bytes(100),
    "it is a web page or XML": b"\n<!DOCTYPE html><title>404</title>",
    "it is JSON without a weight_map": json.dumps({"weights": {"a": "model-1.safetensors"}}).encode(),
    "no checkpoint: it is JSON": b"[]",
    "it is in none of the formats that are known here": b"\x00\x01\x02\x03" * 50,
}


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("what", FOREIGN)
def test_a_file_of_another_kind_is_named(what, suffix, tmp_path):
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(FOREIGN[what])
    said = refusal(path)
    assert what in said or (suffix == "safetensors" and what.endswith("known here") and "is damaged" in said)


def test_a_safetensors_file_is_known_by_its_content_even_if_its_length_looks_like_text(tmp_path):
    # The first bytes are the length of the header: 0x3c20 would be " <".
    header = json.dumps({"weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode().ljust(0x3C20)
    (tmp_path / "model").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    assert list(checkpoints.read(tmp_path / "model").entries) == ["weight"]


@pytest.mark.parametrize("writer", ["torch", "legacy"])
def test_a_torch_file_with_the_name_of_a_safetensors_file_is_to_be_renamed(writer, net, tmp_path):
    WRITERS[writer](net, tmp_path / "model.safetensors")
    assert "torch.save has written it; rename it" in refusal(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.ones(2)], "it holds a list, and no state dict"),
        (torch.ones(2), "it holds a Tensor, and no state dict"),
        ({}, "it holds a mapping with none, and no state dict"),
        ({"epoch": 3, 4: "x"}, "it holds a mapping with epoch, 4, and no state dict"),
        ({"one": {"a": torch.ones(2)}, "two": {"a": torch.ones(2)}}, "a mapping with one, two, and no state dict"),
        ({"count": torch.ones(2, dtype=torch.int64)}, "holds no parameters"),
        (
            {"a": torch.ones(2), "a.b": torch.ones(2)},
            "holds 'a' and 'a.b': one name cannot be both a tensor and a module",
        ),
        ({"a.b.c": torch.ones(2), "a.b": torch.ones(2)}, "holds 'a.b' and 'a.b.c': one name cannot be both"),
        ({"a..b": torch.ones(2)}, "holds a tensor named 'a..b'"),
        ({"": torch.ones(2)}, "holds a tensor named ''"),
        ({"a.": torch.ones(2)}, "holds a tensor named 'a.'"),
        ({".".join("a" * 100): torch.ones(2)}, "A name is parts with dots between them, at most 64"),
        ({"block.forward": torch.ones(2)}, "'forward' is an attribute of every nn.Module"),
        ({"training": torch.ones(2)}, "'training' is an attribute of every nn.Module"),
        (
            {"a": torch.eye(2).to_sparse()},
            "holds 'a', a Tensor with layout sparse_coo. Only dense tensors with values are measured.",
        ),
    ],
)
def test_a_file_without_a_state_dict_from_which_a_model_can_be_made_is_refused(content, said, tmp_path):
    torch.save(content, tmp_path / "model.pt")
    assert said in refusal(tmp_path / "model.pt")


def test_a_safetensors_file_without_tensors_is_refused(tmp_path):
    safetensors.torch.save_file({}, tmp_path / "model.safetensors")
    assert "it holds no tensors" in refusal(tmp_path / "model.safetensors")


def test_a_folder_is_refused_with_the_files_in_it(net, tmp_path):
    assert "is a folder. A checkpoint is a state dict that" in refusal(tmp_path)
    (tmp_path / "model.pt").touch()
    assert "is a folder. Name one of its files: model.pt." in refusal(tmp_path)
    for name in ("a.safetensors", "b.safetensors"):
        (tmp_path / name).touch()
    assert "is a folder with 2 checkpoints. Name one of its files: a.safetensors, b.safetensors." in refusal(tmp_path)
    (tmp_path / ".metadata").touch()
    assert "dcp_to_torch" in refusal(tmp_path)


def test_a_file_that_lost_a_tensor_since_its_header_was_read_is_refused(net, tmp_path):
    path = tmp_path / "model.pt"
    torch.save(net.state_dict(), path)
    target = load(ModelSpec(str(path)))
    state = copy.deepcopy(net.state_dict())
    del state["scale"]
    torch.save(state, path)
    with pytest.raises(BenchCoreError, match="it no longer holds scale"):
        target.ready()


# ------------------------------------------------------------------------------------------------------- several files

STATE = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2, dtype=torch.bfloat16), "b.weight": torch.ones(4)}

MAP = {"a.weight": "1.safetensors", "a.bias": "1.safetensors", "b.weight": "2.safetensors"}


def write_index(folder, weights=MAP, **files):
    """An index and its files, which hold the tensors that `files` names, else those that the index gives them."""
    held = {"1": ("a.weight", "a.bias"), "2": ("b.weight",), **files}
    for name, tensors in held.items():
        safetensors.torch.save_file({each: STATE[each] for each in tensors}, folder / f"{name}.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 44}, "weight_map": weights}))
    return index


def test_an_index_and_its_folder_are_a_checkpoint_with_the_tensors_of_all_files(tmp_path):
    index = write_index(tmp_path)
    for path in (index, tmp_path):
        found = checkpoints.read(path)
        assert (found.path, found.format) == (index, "safetensors")
        assert {name: (entry.shape, entry.dtype) for name, entry in found.entries.items()} == {
            name: (tuple(tensor.shape), tensor.dtype) for name, tensor in STATE.items()
        }
        state = found.state()
        assert all(torch.equal(state[name], tensor) for name, tensor in STATE.items())


def test_of_an_index_the_headers_alone_are_read_until_the_values_are_asked_for(tmp_path, monkeypatch):
    index = write_index(tmp_path)
    monkeypatch.setattr(safetensors.torch, "load_file", lambda path: pytest.fail("values are read"))
    assert describe(checkpoints.read(index).container()).elements == 12


def test_a_folder_with_one_safetensors_file_is_that_file(tmp_path):
    safetensors.torch.save_file(STATE, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    assert checkpoints.read(tmp_path).path == tmp_path / "model.safetensors"


def test_files_of_an_index_may_be_in_a_folder_below_it(tmp_path):
    (tmp_path / "parts").mkdir()
    safetensors.torch.save_file(STATE, tmp_path / "parts" / "1.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(STATE, "parts/1.safetensors")}))
    assert checkpoints.read(index).state().keys() == STATE.keys()


@pytest.mark.parametrize(
    ("weights", "files", "said"),
    [
        ({"c": "3.safetensors"}, {}, "names '3.safetensors', and there is no such file. Download it too."),
        ({"c": "2.safetensors"}, {}, "says that 2.safetensors holds c, and it does not."),
        ({"a.bias": "2.safetensors"}, {}, "says that 2.safetensors holds a.bias, and it does not."),
        ({}, {"2": ("b.weight", "a.bias")}, "1.safetensors and 2.safetensors both hold a.bias."),
        ({"c": "../3.safetensors"}, {}, "names '../3.safetensors', a file outside of its folder"),
        ({"c": "a/../../3.safetensors"}, {}, "a file outside of its folder"),
        ({"c": "/etc/3.safetensors"}, {}, "names '/etc/3.safetensors', a file outside of its folder"),
        ({"c": "C:\\3.safetensors"}, {}, "a file outside of its folder"),
        ({"c": "..\\3.safetensors"}, {}, "a file outside of its folder"),
        ({"c": "model.safetensors.index.json"}, {}, "Only safetensors files are read by an index"),
        ({"c": 3}, {}, "is JSON without a weight_map"),
    ],
)
def test_an_index_that_does_not_fit_its_files_is_refused(weights, files, said, tmp_path):
    index = write_index(tmp_path, {**MAP, **weights}, **files)
    assert said in refusal(index)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"weight_map": {"a.weight": "1.safetensors", "a.weight": "2.safetensors"}}', "names 'a.weight' twice"),
        (b'{"weight_map": {"a.weight": "1.safe', "is damaged or cut off: JSONDecodeError"),
        (b'{"weight_map": {}}', "its weight_map names no tensors"),
        (b'{"weight_map": {"a": "\xff"}}', "is damaged or cut off: UnicodeDecodeError"),
        (b'{"a":' * 100_000, "is damaged or cut off"),
    ],
)
def test_a_damaged_index_is_refused(content, said, tmp_path):
    index = write_index(tmp_path)
    index.write_bytes(content)
    assert said in refusal(index)


def test_a_damaged_file_of_an_index_is_named(tmp_path):
    index = write_index(tmp_path)
    whole = (tmp_path / "2.safetensors").read_bytes()
    for content, said in ((whole[:-1], "damaged or cut off"), (b"", "empty"), (b"version https://git-lfs", "LFS")):
        (tmp_path / "2.safetensors").write_bytes(content)
        with pytest.raises(BenchCoreError, match=rf"2\.safetensors is .*{said}"):
            checkpoints.read(index)
    (tmp_path / "2.safetensors").write_text(json.dumps({"weight_map": {"b.weight": "2.safetensors"}}))
    with pytest.raises(BenchCoreError, match=r"2\.safetensors is no checkpoint: it is JSON"):
        checkpoints.read(index)
    save_legacy(STATE, tmp_path / "2.safetensors")
    with pytest.raises(BenchCoreError, match=r"2\.safetensors is no checkpoint: .* torch.save has written it"):
        checkpoints.read(index)


OTHERS = {
    "an epoch beside the tensors": lambda net: {**net.state_dict(), "epoch": 3},
    "extra state": lambda net: {"model": {**net.state_dict(), "_extra_state": {"seen": 1}}},
    "a name that is a number": lambda net: {**net.state_dict(), 3: torch.ones(2)},
    "a module": lambda net: net,
    "a module in a mapping": lambda net: {"model": net, "epoch": 3},
}
"""What people save that is more than a state dict."""


@pytest.mark.parametrize("what", OTHERS)
def test_every_way_reads_only_the_tensors_of_what_is_more_than_a_state_dict(what, tmp_path):
    path = tmp_path / "model.pt"
    torch.manual_seed(7)
    net = nn.Linear(2, 2)
    torch.save(OTHERS[what](net), path)
    target = load(ModelSpec(str(path), trust=True))
    assert target.file.entries.keys() == {"weight", "bias"}
    for name in ("eager_copy", "skip_draws_assign_mmap"):
        gone = startup.go(startup.WAYS[name], target.build, "cpu", path, file=target.file)
        assert gone.model.state_dict()["weight"].equal(net.weight), name
    names = {"given": lambda: nn.Linear(2, 2)}
    exec(startup.WAYS["meta_assign_mmap"].code("build = given", "cpu", target.file), names)
    assert names["model"].weight.equal(net.weight)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.pt")
    with pytest.raises(BenchCoreError, match="model.pt is no checkpoint: it is no regular file"):
        load(ModelSpec(str(tmp_path / "model.pt")))


def test_a_dtype_that_safetensors_cannot_make_a_tensor_of_is_named(tmp_path):
    header = json.dumps({"half": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
    with pytest.raises(BenchCoreError, match="holds 'half' with the dtype F4, which safetensors cannot make a tensor"):
        load(ModelSpec(str(path)))


def test_a_tensor_without_values_is_named(tmp_path):
    torch.save({"weight": torch.ones(2, device="meta")}, tmp_path / "model.pt")
    with pytest.raises(BenchCoreError, match="holds 'weight', a tensor on meta. Only dense tensors with values"):
        load(ModelSpec(str(tmp_path / "model.pt")))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.bool, torch.complex64, torch.uint16])
def test_pages_of_every_dtype_are_touched(dtype):
    net = nn.Module()
    net.weight = nn.Parameter(torch.ones(9, dtype=torch.uint8).to(dtype), requires_grad=False)
    assert touched(net) is net
