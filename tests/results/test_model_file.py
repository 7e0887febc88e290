"""The file of a model is read back as it was, and refused by name if it is another or a newer one."""

import json
import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from made_models import gpt2, hostile

from bench_core.errors import BenchCoreError
from bench_core.records.model import SCHEMA, Idiom, ModelLayout, ModelSpec, RankTimes, Stage, Way
from bench_core.results import model_file
from bench_core.results.store import read_store

HOSTILE = replace(hostile("\x1b\n\ud800|"), machine={"machine": "box"})


@pytest.mark.parametrize("record", [gpt2(ranks=True), HOSTILE, gpt2(ways=(), idioms=())])
def test_a_record_is_read_back_as_it_was_stored(tmp_path, record):
    path = model_file.store(record, tmp_path)
    assert model_file.read(path) == record
    assert path.suffix == ".jsonl"  # asv reads every .json below its results
    assert path.read_text().count("\n") == 1


@pytest.mark.parametrize("number", [-1, 0, math.inf, math.nan])
def test_a_time_is_positive(number):
    with pytest.raises(ValueError, match=f"the time of read is {number}, not a positive number of seconds"):
        Idiom("clip", "read", seconds=(1.0, number))
    with pytest.raises(ValueError, match="the time of read is"):
        RankTimes("clip", "read", 2, seconds=((1.0, number),))


@pytest.mark.parametrize("number", [-1, math.inf, math.nan])
def test_a_size_is_a_number_from_0_on(number):
    for name, makes in {
        "seconds": lambda **one: Stage("read", (1.0, one["seconds"])),
        "bytes": partial(Stage, "read", (1.0,)),
        "peak_bytes": lambda **one: Way("load", "copy", "copy", peak_bytes=(1, one["peak_bytes"], 1)),
        "tied_bytes": partial(ModelLayout, 1, 1, 1, 1),
        "write_limit": gpt2,
    }.items():
        with pytest.raises(ValueError, match=f"{name} is {number}, not a number from 0 on"):
            makes(**{name: number})


def test_a_stage_may_take_no_time_and_a_way_takes_some():
    with pytest.raises(ValueError, match="the time of copy is 0"):
        Way("load", "copy", "copy", (Stage("read", (0,)), Stage("load", (0,))))
    assert Way("load", "copy", "copy", (Stage("read", (0,)), Stage("load", (1,)))).seconds == (1,)


def test_the_stages_of_a_way_are_from_the_same_processes(tmp_path):
    content = model_file.to_json(gpt2())
    content["ways"][0]["stages"][0]["seconds"].append(1.0)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(content))
    with pytest.raises(BenchCoreError, match=r"ways\[0\].*the stages of .* have different numbers of times"):
        model_file.read(path)


def write(path, **changed):
    content = {**model_file.to_json(gpt2()), **changed}
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    return path


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"schema": f"bench-core/model/{SCHEMA + 1}"}, "a newer bench_core wrote it .* upgrade"),
        ({"schema": "bench-core/model/0"}, "its schema is 0"),
        ({"schema": "bench-core/model/x"}, 'its schema is "x"'),
        ({"schema": "bench-core/gate/1"}, "no file of a model: its schema is not"),
        ({"schema": None}, "no file of a model"),
        ({"layout": 3}, "layout: 3 is not of type ModelLayout"),
        ({"spec": None}, "lacks spec"),
    ],
)
def test_a_file_that_is_no_record_is_refused_with_its_name_and_the_reason(tmp_path, changed, said):
    path = write(tmp_path / "model.json", **changed)
    with pytest.raises(BenchCoreError, match=said) as caught:
        model_file.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"null"])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "model.json"
    path.write_bytes(content)
    assert not model_file.is_file_of_model(path)
    with pytest.raises(BenchCoreError, match="model.json"):
        model_file.read(path)


def test_keys_of_later_versions_are_ignored(tmp_path):
    assert model_file.read(write(tmp_path / "model.json", later=1)) == gpt2()


def test_the_name_of_a_file_has_the_model_and_nothing_that_a_folder_would_not_take(tmp_path):
    spec = ModelSpec("../pkg.models:build small", "cuda:0", "bfloat16")
    path = model_file.store(gpt2(spec=spec, machine={"machine": "box"}), tmp_path)
    assert path == tmp_path / "box" / "models" / "pkg.models-build-small-cuda-0-bfloat16-2026-11-30T202501.jsonl"


def test_the_newest_record_has_the_name_of_its_model_and_older_ones_are_counted_back(tmp_path):
    for seed in (2, 1, 3):
        model_file.store(gpt2(seed), tmp_path)
    model_file.store(gpt2(9, spec=ModelSpec("weights/a.safetensors")), tmp_path)
    known, left_out = model_file.stored(tmp_path)
    assert left_out == []
    assert [one.record.date[-8:-6] for one in known] == ["01", "02", "03", "09"]
    assert model_file.named(known, "gpt2").record == gpt2(3)
    assert model_file.named(known, "gpt2~2").record == gpt2(1)
    assert model_file.named(known, "a.safetensors").record.date == gpt2(9).date
    assert model_file.named(known, "bert-base") is None
    model_file.store(gpt2(8, spec=ModelSpec("/weights/gpt2")), tmp_path)
    known, _ = model_file.stored(tmp_path)
    assert model_file.named(known, "gpt2").record == gpt2(3)
    assert model_file.named(known, "/weights/gpt2").record.date == gpt2(8).date
    with pytest.raises(BenchCoreError, match=r"no gpt2~3: gpt2 has 3 stored records, so the oldest one is gpt2~2"):
        model_file.named(known, "gpt2~3")


def test_a_file_that_cannot_be_read_is_left_out_and_the_others_are_read(tmp_path):
    path = model_file.store(gpt2(1), tmp_path)
    model_file.store(gpt2(2), tmp_path)
    path.write_text("{")
    known, (left_out,) = model_file.stored(tmp_path)
    assert [one.record for one in known] == [gpt2(2)]
    assert left_out.source == f"box/models/{path.name}"
    assert str(tmp_path) not in left_out.reason


def test_a_folder_without_other_results_is_a_store_of_models(tmp_path):
    model_file.store(gpt2(1), tmp_path)
    model_file.store(gpt2(2, machine={"machine": "other"}), tmp_path)
    (tmp_path / "box" / "machine.json").write_text(json.dumps({"machine": "box"}))
    assert [model.machine["machine"] for model in read_store(tmp_path).models] == ["box", "other"]
    assert [model.machine["machine"] for model in read_store(tmp_path, ["box"]).models] == ["box"]


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path):
    (tmp_path / "box").write_text("a file")
    with pytest.raises(BenchCoreError, match="cannot be stored"):
        model_file.require_folder(tmp_path, {"machine": "box"})
    with pytest.raises(BenchCoreError, match="cannot be stored as"):
        model_file.store(replace(gpt2(), machine={"machine": "box"}), tmp_path)


def test_every_key_is_documented():
    page = Path(__file__).parents[2].joinpath("docs", "model-json.md").read_text()

    def keys(found, name=""):
        if isinstance(found, dict) and name not in ("machine", "versions", "dtypes"):  # whose keys are data
            yield from found
            for inner, each in found.items():
                yield from keys(each, inner)
        elif isinstance(found, list):
            for each in found:
                yield from keys(each)

    assert {name for name in keys(model_file.to_json(gpt2(ranks=True))) if f"`{name}`" not in page} == set()
    assert re.search(r"`schema` is `(.*?)`", page)[1] == f"bench-core/model/{SCHEMA}"
