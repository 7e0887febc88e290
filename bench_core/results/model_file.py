"""The file of `bench-core model` (docs/model-json.md), and the records that are stored on this machine.

A stored record is one line of JSON in a ``.jsonl`` file, since asv reads every ``.json`` below its results.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_core import codec, units
from bench_core.asv_config import OWN
from bench_core.codec import MalformedError
from bench_core.errors import BenchCoreError, require_writable
from bench_core.files import write_whole
from bench_core.records.model import SCHEMA, ModelRecord
from bench_core.records.run import LeftOut

PREFIX = "bench-core/model/"
"""How the schema of such a file begins. The rest is its number."""

FOLDER = "models"
"""The folder with the records of a machine, beside its results."""

OUTSIDE = Path(OWN)
"""Where the records are stored if there is no suite."""


@dataclass(frozen=True)
class StoredModel:
    """A record, and its file."""

    path: Path
    record: ModelRecord


def to_json(record: ModelRecord) -> dict[str, Any]:
    """The content of the file. NaN becomes null, and infinity a text."""
    return {**codec.to_json(record), "schema": f"{PREFIX}{SCHEMA}"}


def is_model(content: Any) -> bool:
    """Whether the content of a JSON file is that of a model, of any schema."""
    return isinstance(content, Mapping) and str(content.get("schema")).startswith(PREFIX)


def read(path: Path) -> ModelRecord:
    """Read the file of a model.

    Raises:
        BenchCoreError: if it cannot be read, is another file, or was written by a newer version.
    """
    try:
        content = codec.loads(path.read_bytes())
    except OSError as error:
        raise BenchCoreError(f"{path} cannot be read: {error.strerror}.") from error
    except MalformedError as error:
        raise BenchCoreError(f"{path} is {error}. Restore it from a copy, or measure the model again.") from error
    return parsed(path, content)


def parsed(path: Path, content: Any) -> ModelRecord:
    """The record in the content of a file. Arguments and errors as for `read`."""
    if not is_model(content):
        raise BenchCoreError(
            f'{path} is no file of a model: its schema is not "{PREFIX}{SCHEMA}". `bench-core model TARGET --json '
            "FILE` writes one."
        )
    number = str(content["schema"]).removeprefix(PREFIX)
    try:
        content = {**content, "schema": int(number) if re.fullmatch("[0-9]{1,9}", number) else number}
        codec.require_schema(content, SCHEMA)
        return codec.from_json(ModelRecord, content)
    except MalformedError as error:
        raise BenchCoreError(f"{path} cannot be read as the record of a model: {error}.") from error


def is_file_of_model(path: Path) -> bool:
    """Whether a file is one of a model, of any schema, as far as it can be read."""
    try:
        return path.is_file() and is_model(codec.loads(path.read_bytes()))
    except (OSError, MalformedError):
        return False


def store(record: ModelRecord, results: Path) -> Path:
    """Store a record below a results folder, and return its file.

    Raises:
        BenchCoreError: if it cannot be written.
    """
    path = folder(results, record.machine) / file_name(record)
    try:
        write_whole(path, json.dumps(to_json(record), allow_nan=False) + "\n")
    except OSError as error:
        raise BenchCoreError(
            f"the record cannot be stored as {path}: {error.strerror}. Make the folder writable, or set results_dir in "
            "asv.conf.json to one that is."
        ) from error
    return path


def require_folder(results: Path, machine: Mapping[str, str]) -> None:
    """Check that `store` will work, before minutes of measuring.

    Raises:
        BenchCoreError: if it will not.
    """
    require_writable(folder(results, machine))


def folder(results: Path, machine: Mapping[str, str]) -> Path:
    """Where the records of a machine are stored."""
    return results / (machine.get("machine") or "unknown") / FOLDER


def file_name(record: ModelRecord) -> str:
    """``gpt2-cpu-2026-11-30T202500.jsonl``. The same model, device and dtype make the same beginning."""
    spec = record.spec
    words = (Path(spec.target).name, spec.device, spec.dtype, re.sub("[:]", "", record.date[:19]))
    return "-".join(re.sub("[^A-Za-z0-9_.]+", "-", word).strip("-.")[:80] for word in words if word) + ".jsonl"


def files(results: Path) -> list[Path]:
    """The files of the stored records, those of each folder in the order of their names."""
    return sorted(results.glob(f"*/{FOLDER}/*.jsonl"))


def stored(results: Path) -> tuple[list[StoredModel], list[LeftOut]]:
    """The records below a results folder, the oldest first; and the files that cannot be read."""
    found, left_out = [], []
    for path in files(results):
        try:
            found.append(StoredModel(path, read(path)))
        except BenchCoreError as error:
            name = path.relative_to(results).as_posix()
            left_out.append(LeftOut(name, str(error).replace(str(path), path.name)))
    return sorted(found, key=lambda one: one.record.date), left_out


def named(known: Sequence[StoredModel], name: str) -> StoredModel | None:
    """The stored record with a name; None if no record has it.

    Args:
        known: the records, the oldest first.
        name: a target, or the name of a file that was one, for its newest record; or ``gpt2~1`` for the one before it,
            ``gpt2~2`` and so on.

    Raises:
        BenchCoreError: if the target has fewer records.
    """
    target, back = name, 0
    if counted := re.fullmatch(r"(.+)~([0-9]{1,6})", name):
        target, back = counted[1], int(counted[2])
    found = [one for one in known if one.record.spec.target == target]
    found = found or [one for one in known if Path(one.record.spec.target).name == target]
    if found and back >= len(found):
        raise BenchCoreError(
            f"there is no {name}: {target} has {units.plural(len(found), 'stored record')}, so the oldest one is "
            f"{target}~{len(found) - 1}."
        )
    return found[-1 - back] if found else None
