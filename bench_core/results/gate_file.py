"""The gate's JSON file (docs/gate-json.md), and the ledger of its controls. Needs neither torch nor the suite.

The file is the record and what follows from it, side by side: the record is read back exactly, so that the verdict can
be computed again anywhere; what follows is for people and scripts.
"""

from __future__ import annotations

import json
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from bench_core.errors import BenchCoreError
from bench_core.files import append_line, write_whole
from bench_core.records.gate import CellEvidence, Effect, GateRecord, GateVerdict, Judgement, Side, VerdictName
from bench_core.records.results import SideName, Summary, Tally
from bench_core.records.version import FlatVersion, Version, flattened, unflattened
from bench_core.statistics import clopper_pearson, median_interval

SCHEMA = 1
"""Raised when a key goes, or changes its meaning. Keys may be added without: readers ignore what they do not know."""

LATER: Mapping[str, Any] = {"causes": [], "instructions": [], "code": None, "unfair": [], "besides": [], "creep": None}
"""Keys that the first files did not have."""

LEDGER = "gate-controls.jsonl"

HISTORY = "gates.jsonl"
"""What every gate has found, a line each: no ``.json``, since asv takes every one of those for its own."""


def middle(cell: CellEvidence, side: Side) -> float:
    """The median over the pairs of one side's time of a call, or value; NaN without pairs."""
    return median_interval([getattr(effect, side) for effect in cell.effects]).middle


def to_json(record: GateRecord, verdict: GateVerdict, exit_code: int) -> dict[str, Any]:
    """The content of the file: nothing but what JSON knows, so neither NaN nor infinity."""
    return {"schema": f"bench-core/gate/{SCHEMA}", "exit_code": exit_code, **_content(record, verdict)}


def _content(record: GateRecord, verdict: GateVerdict) -> dict[str, Any]:
    creep = None if record.creep is None or verdict.creep is None else _content(record.creep, verdict.creep)
    return {
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "date": record.date,
        "seconds": as_json(record.seconds),
        "seed": record.settings.seed,
        "base": as_json(record.base),
        "head": as_json(record.head),
        "machine": as_json(record.machine),
        "settings": as_json(record.settings),
        "code": as_json(record.code),
        "unfair": as_json(record.unfair),
        "besides": as_json(record.besides),
        "identical": record.identical,
        "interrupted": record.interrupted,
        "resumed": record.resumed,
        "first_pair": record.first_pair,
        "suite": None if verdict.suite is None else _judgement(verdict.suite),
        "control": {
            "rejects": verdict.control_rejects,
            "cells": [_cell(*both) for both in zip(record.controls, verdict.controls, strict=True)],
        },
        "noise": {name: _finite(value) for name, value in vars(verdict.noise).items()},
        "left_out": as_json(record.left_out),
        "cells": [_cell(*both) for both in zip(record.cells, verdict.cells, strict=True)],
        "causes": as_json(record.causes),
        "instructions": as_json(record.instructions),
        "creep": creep,
    }


def write(path: Path, record: GateRecord, verdict: GateVerdict, exit_code: int) -> None:
    """Write the file, whole or not at all.

    Raises:
        BenchCoreError: if it cannot be written.
    """
    text = json.dumps(to_json(record, verdict, exit_code), indent=1, allow_nan=False) + "\n"
    try:
        write_whole(path, text)
    except OSError as error:
        raise BenchCoreError(
            f"the gate's result cannot be written to {path}: {error.strerror}. Name a file in a folder that is "
            "writable with --json."
        ) from error


def read(path: Path) -> GateRecord:
    """The record that a file holds.

    Raises:
        BenchCoreError: if there is no such file, or it is not one that `write` writes.
    """
    content = _load(path)
    try:
        found: GateRecord = _read_as(GateRecord, _as_recorded(content), "")
    except ValueError as error:
        raise _damaged(path, error) from error
    return found


def _as_recorded(content: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from the record has been added to it in the file."""
    creep = None if content.get("creep") is None else _as_recorded(_object(content, "creep"))
    return {**LATER, **content, "controls": _object(content, "control").get("cells"), "creep": creep}


def stored_verdict(path: Path) -> VerdictName:
    """The verdict that was reached when the file was written.

    Raises:
        BenchCoreError: as of `read`.
    """
    content = _load(path)
    try:
        verdict: VerdictName = _read_as(VerdictName, content.get("verdict"), "verdict")
    except ValueError as error:
        raise _damaged(path, error) from error
    return verdict


def is_gate(content: Mapping[str, Any]) -> bool:
    """The content of a JSON file is a gate's, of whatever schema."""
    return str(content.get("schema")).startswith("bench-core/gate/")


def summary(path: Path, content: Mapping[str, Any]) -> Summary:
    """The summary of a file that has been parsed already: of a long gate, `read` takes seconds.

    Raises:
        BenchCoreError: if `write` does not write such a file.
    """
    try:
        found: Summary = _read_as(Summary, _known(path, content), "")
    except ValueError as error:
        raise _damaged(path, error) from error
    return found


def append_controls(results: Path, record: GateRecord, verdict: GateVerdict) -> None:
    """Add a gate's controls to the ledger of its machine: those that it gave pairs of its own, since the others stand
    there already. Without any, nothing is added.

    Args:
        results: asv's results folder.

    Raises:
        BenchCoreError: if the ledger cannot be written.
    """
    own = [
        (cell, judged)
        for cell, judged in zip(record.controls, verdict.controls, strict=True)
        if any(effect.pair >= record.first_pair for effect in cell.effects)
    ]
    if not own:
        return
    counted = [judged for _, judged in own if judged.rejects or math.isfinite(judged.detectable)]
    line = {
        "date": record.date,
        "base": record.base.digest[:12],
        "head": record.head.digest[:12],
        "seed": record.settings.seed,
        "controls": len(counted),
        "rejected": sum(judged.rejects for judged in counted),
        "cells": [
            {
                "name": cell.name,
                "verdict": judged.verdict,
                "ratio": _finite(judged.ratio.middle),
                "pairs": len(cell.effects),
            }
            for cell, judged in own
        ],
    }
    _append(results / record.machine["machine"] / LEDGER, line, "controls")


def append_summary(results: Path, record: GateRecord, verdict: GateVerdict) -> None:
    """Add what a gate has found to the history of its machine: what `summary` reads of its file, in a line.

    Args:
        results: asv's results folder.

    Raises:
        BenchCoreError: if the history cannot be written.
    """
    line = {
        "schema": f"bench-core/gate/{SCHEMA}",
        "base": _named(record.base),
        "head": _named(record.head),
        "machine": as_json(record.machine),
        "date": record.date,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "cells": [
            {"name": cell.name, "verdict": judged.verdict}
            for cell, judged in zip(record.cells, verdict.cells, strict=True)
        ],
    }
    _append(results / record.machine["machine"] / HISTORY, line, "verdict")


def summaries(path: Path) -> Iterator[Summary | None]:
    """What `append_summary` has written, line by line; None for one that was cut off.

    Raises:
        BenchCoreError: if a line is none that it writes.
    """
    for line in path.read_bytes().splitlines():
        try:
            content = json.loads(line)
        except ValueError:
            yield None
            continue
        yield summary(path, content)


def _named(version: Version) -> Any:
    flat = flattened(version)
    return as_json(SideName(flat.name, flat.commit, flat.changed))


def _append(path: Path, line: Mapping[str, Any], what: str) -> None:
    try:
        append_line(path, json.dumps(line, allow_nan=False))
    except OSError as error:
        raise BenchCoreError(
            f"the gate's {what} cannot be added to {path}: {error.strerror}. Make the file writable, or set "
            "results_dir in asv.conf.json to a folder that is."
        ) from error


def tally(results: Path, machine: str | None = None) -> Tally:
    """Count the controls of all gates below asv's results folder.

    Args:
        machine: only this one's; None for those of every machine.

    Raises:
        BenchCoreError: if a ledger holds a line that `append_controls` does not write.
    """
    gates = controls = rejected = damaged = 0
    for path in sorted(results.glob(f"{'*' if machine is None else machine}/{LEDGER}")):
        for line in _ledger(path):
            if line is None:
                damaged += 1
                continue
            gates += 1
            controls += line.controls
            rejected += line.rejected
    return Tally(gates, controls, rejected, *clopper_pearson(rejected, controls, confidence=0.95), damaged)


@dataclass(frozen=True)
class _Counts:
    """What the tally needs of a line."""

    controls: int
    rejected: int


def _ledger(path: Path) -> Iterator[_Counts | None]:
    """Line by line; None for one that was cut off."""
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            found = json.loads(line)
        except ValueError:  # half a line, also one that a later gate has gone on after
            yield None
            continue
        try:
            counts: _Counts = _read_as(_Counts, found, "the line")
            if not 0 <= counts.rejected <= counts.controls:
                raise ValueError(f"{counts.rejected} of {counts.controls} rejected")
        except ValueError as error:
            raise BenchCoreError(
                f"{path}, line {number}, is not a line that the gate writes: {error}. Delete that line."
            ) from error
        yield counts


def _cell(cell: CellEvidence, judged: Judgement) -> dict[str, Any]:
    kept = as_json(cell)
    kept["effects"] = [_effect(effect) for effect in cell.effects]
    return {
        **{name: kept[name] for name in ("name", "benchmark", "params", "kind", "unit")},
        **_judgement(judged),
        "pairs": len(cell.effects),
        "samples": sum(effect.samples for effect in cell.effects),
        "seconds": {"base": _finite(middle(cell, "base")), "head": _finite(middle(cell, "head"))},
        **{name: kept[name] for name in ("spent", "error", "error_side", "effects")},
    }


def _judgement(judged: Judgement) -> dict[str, Any]:
    ends = (judged.ratio.low if judged.ratio.low > 0 else -math.inf, judged.ratio.high)  # exp(-inf) is 0
    return {
        "verdict": judged.verdict,
        "reason": judged.reason,
        "ratio": _finite(judged.ratio.middle),
        "interval": [_finite(end) for end in ends],
        "confidence": _finite(judged.ratio.confidence),
        "detectable": _finite(judged.detectable),
        "decided_by": judged.unit,
        "likeness": _finite(judged.likeness),
        "decided": judged.decided,
    }


def _effect(effect: Effect) -> dict[str, Any]:
    try:
        ratio = math.exp(effect.log_ratio)
    except OverflowError:
        ratio = math.inf
    kept = as_json(effect)
    return {"pair": kept.pop("pair"), "parent": kept.pop("parent"), "ratio": _finite(ratio), **kept}


def _finite(value: float) -> float | None:
    """What follows from the record: null where there is no number."""
    return value if math.isfinite(value) else None


def as_json(value: Any) -> Any:
    """What the record holds, so that `_read_as` finds it again: NaN as null, infinity as a text."""
    if isinstance(value, Version):
        return as_json(flattened(value))
    if is_dataclass(value):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: as_json(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _read_as(hint: Any, value: Any, where: str) -> Any:
    """The inverse of `as_json`, by the type that is wanted.

    Args:
        where: the place in the file, for the error.

    Raises:
        ValueError: if `value` is not of that type.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint == Version:
        return unflattened(_read_as(FlatVersion, value, where))
    if origin in (typing.Union, types.UnionType):  # all of ours are optional
        wanted = Version if hint == Version | None else next(one for one in arguments if one is not type(None))
        return None if value is None else _read_as(wanted, value, where)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list):
        return tuple(_read_as(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        return {name: _read_as(arguments[1], item, f"{where}.{name}") for name, item in value.items()}
    if is_dataclass(hint) and isinstance(value, dict):
        hints = typing.get_type_hints(hint)
        missing = sorted(hints.keys() - value.keys())
        if missing:
            raise ValueError(f"{where or 'its top level'} lacks {', '.join(missing)}")
        return hint(**{name: _read_as(hints[name], value[name], f"{where}.{name}".lstrip(".")) for name in hints})  # type: ignore[operator]
    if hint is float:
        if value is None:
            return math.nan
        if value in ("inf", "-inf") or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            return float(value)
    elif type(value) is hint:
        return value
    name = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise ValueError(f"{where} is {json.dumps(value)[:40]}, and not of type {name}")


def _object(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name)
    if not isinstance(found, dict):
        raise ValueError(f"{name} is no object")
    return found


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise BenchCoreError(
            f"{path} cannot be read: {error.strerror}. `bench-core gate --json FILE` writes such a file."
        ) from error
    except ValueError as error:
        raise BenchCoreError(f"{path} is not JSON: {error}. `bench-core gate --json FILE` writes one anew.") from error
    return _known(path, content)


def _known(path: Path, content: Any) -> dict[str, Any]:
    """The content, if it is of a schema that can be read."""
    schema = content.get("schema") if isinstance(content, dict) else None
    number = re.fullmatch(r"bench-core/gate/(\d+)", schema) if isinstance(schema, str) else None
    if number is None:
        raise BenchCoreError(
            f"{path} is not a result of the gate: its schema is {json.dumps(schema)}, and not "
            f'"bench-core/gate/{SCHEMA}". `bench-core gate --json FILE` writes one.'
        )
    if int(number[1]) > SCHEMA:
        raise BenchCoreError(
            f"{path} was written by a newer bench_core (schema {number[1]}); this one reads up to {SCHEMA}: upgrade."
        )
    assert isinstance(content, dict)
    return content


def _damaged(path: Path, error: ValueError) -> BenchCoreError:
    return BenchCoreError(f"{path} is damaged: {error}. `bench-core gate --json FILE` writes it anew.")
