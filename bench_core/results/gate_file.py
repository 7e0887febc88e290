"""The gate's JSON file (docs/gate-json.md), and each machine's history of verdicts and of controls.

The file contains the record and, for people and scripts, values that follow from it. The record is read back exactly,
so that the verdict can be computed again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_core import codec
from bench_core.codec import MalformedError
from bench_core.errors import BenchCoreError
from bench_core.files import append_line, write_whole
from bench_core.records.gate import SIDES, Effect, GateRecord, GateVerdict, JudgedCell, Judgement, VerdictName
from bench_core.records.results import SideName, Summary, Tally
from bench_core.records.version import Version, flattened
from bench_core.statistics import clopper_pearson

SCHEMA = 1
"""The version of the file's format. It is raised when a key is removed or changes its meaning, but not for new keys,
since readers ignore unknown keys."""

LEDGER = "gate-controls.jsonl"
"""The file of a machine with a line for each gate's controls."""

LEDGER_SCHEMA = 1
"""The newest readable schema of such a line. Lines of earlier versions have none."""

HISTORY = "gates.jsonl"
"""The file of a machine with a line for each gate's verdict. It is no ``*.json``, since asv reads all of these."""


def to_json(record: GateRecord, verdict: GateVerdict, exit_code: int) -> dict[str, Any]:
    """The content of the file, without NaN and infinity, which JSON cannot express."""
    return {"schema": f"bench-core/gate/{SCHEMA}", "exit_code": exit_code, **_content(record, verdict)}


def _content(record: GateRecord, verdict: GateVerdict) -> dict[str, Any]:
    past = None if record.past is None or verdict.past is None else _content(record.past, verdict.past)
    return {
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "date": record.date,
        "seconds": codec.to_json(record.seconds),
        "seed": record.settings.seed,
        "base": codec.to_json(record.base),
        "head": codec.to_json(record.head),
        "machine": codec.to_json(record.machine),
        "settings": codec.to_json(record.settings),
        "code": codec.to_json(record.code),
        "unfair": codec.to_json(record.unfair),
        "besides": codec.to_json(record.besides),
        "identical": record.identical,
        "interrupted": record.interrupted,
        "resumed": record.resumed,
        "first_pair": record.first_pair,
        "spent": codec.to_json(record.spent),
        "suite": None if verdict.suite is None else _judgement(verdict.suite),
        "control": {"rejects": verdict.control_differs, "cells": [_cell(cell) for cell in verdict.controls]},
        "noise": {name: _finite(value) for name, value in vars(verdict.noise).items()},
        "left_out": codec.to_json(record.left_out),
        "cells": [_cell(cell) for cell in verdict.cells],
        "causes": codec.to_json(record.causes),
        "instructions": codec.to_json(record.instructions),
        "creep": past,
        "faults": codec.to_json(record.faults),
        "renamed": codec.to_json(record.renamed),
        "notes": codec.to_json(record.notes),
        "unaffected": codec.to_json(record.unaffected),
        "reached": codec.to_json(record.reached),
        "reaches_all": record.reaches_all,
        "model": codec.to_json(record.model),
        "asked": codec.to_json(record.asked),
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
            f"the gate's result cannot be written to {path}: {error.strerror}. Choose a file in a writable folder with "
            "--json."
        ) from error


def read(path: Path) -> GateRecord:
    """Read the record in a file.

    Raises:
        BenchCoreError: if there is no such file, or it is not a valid file of `write`.
    """
    content = _load(path)
    try:
        return codec.from_json(GateRecord, _as_recorded(content))
    except MalformedError as error:
        raise _damaged(path, error) from error


def _as_recorded(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a file with the field names of a `GateRecord`."""
    past = None if content.get("creep") is None else _as_recorded(_object(content, "creep"))
    return {**content, "controls": _object(content, "control").get("cells"), "past": past}


def stored_verdict(path: Path) -> VerdictName:
    """The verdict in the file, which was computed when the file was written. Raises the same as `read`."""
    content = _load(path)
    try:
        return codec.from_json(_Verdict, content).verdict
    except MalformedError as error:
        raise _damaged(path, error) from error


@dataclass(frozen=True)
class _Verdict:
    """The part of the file that `stored_verdict` reads."""

    verdict: VerdictName


def is_gate(content: Mapping[str, Any]) -> bool:
    """Whether the content of a JSON file is that of a gate, of any schema."""
    return str(content.get("schema")).startswith("bench-core/gate/")


def summary(path: Path, content: Mapping[str, Any]) -> Summary:
    """The summary of a gate, without its effects.

    Args:
        path: the file, for errors.
        content: the content of the file, or of one of its lines.

    Raises:
        BenchCoreError: if the content is not valid.
    """
    try:
        return codec.from_json(Summary, _known(path, content))
    except MalformedError as error:
        raise _damaged(path, error) from error


def append_controls(results: Path, record: GateRecord, verdict: GateVerdict) -> None:
    """Add a line with a gate's controls to the ledger of its machine in asv's results folder. Controls to which the
    gate added no pair are not counted, since an earlier line has them. Without other controls, no line is added.

    Raises:
        BenchCoreError: if the ledger cannot be written.
    """
    own = [
        cell for cell in verdict.controls if any(effect.pair >= record.first_pair for effect in cell.evidence.effects)
    ]
    if not own:
        return
    counted = [cell.judgement for cell in own if cell.judgement.differs or math.isfinite(cell.judgement.detectable)]
    line = {
        "schema": LEDGER_SCHEMA,
        "date": record.date,
        "base": record.base.digest[:12],
        "head": record.head.digest[:12],
        "seed": record.settings.seed,
        "controls": len(counted),
        "rejected": sum(judged.differs for judged in counted),
        "cells": [
            {
                "name": cell.name,
                "verdict": cell.verdict,
                "ratio": _finite(cell.judgement.ratio.middle),
                "pairs": len(cell.evidence.effects),
            }
            for cell in own
        ],
    }
    _append(results / record.machine["machine"] / LEDGER, line, "controls")


def append_summary(results: Path, record: GateRecord, verdict: GateVerdict) -> None:
    """Add a line with a gate's verdicts, which `summary` reads, to the history of its machine in asv's results folder.

    Raises:
        BenchCoreError: if the history cannot be written.
    """
    of = "" if record.model is None else f" of {record.model.target}"  # other models have the same cells
    line = {
        "schema": f"bench-core/gate/{SCHEMA}",
        "base": _named(record.base),
        "head": _named(record.head),
        "machine": codec.to_json(record.machine),
        "date": record.date,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "cells": [{"name": f"{cell.name}{of}", "verdict": cell.verdict} for cell in verdict.cells],
        "strays": codec.to_json(record.strays),
        "asked": codec.to_json(record.asked),
    }
    _append(results / record.machine["machine"] / HISTORY, line, "verdict")


def summaries(path: Path) -> Iterator[Summary | None]:
    """The lines of a history; None for a line that was cut off.

    Raises:
        BenchCoreError: if a line is not valid.
    """
    for line in path.read_bytes().splitlines():
        try:
            content = codec.loads(line)
        except ValueError:
            yield None
            continue
        yield summary(path, content)


def _named(version: Version) -> Any:
    flat = flattened(version)
    return codec.to_json(SideName(flat.name, flat.commit, flat.changed))


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
        machine: count only this machine's gates; None for all machines.

    Raises:
        BenchCoreError: if a line is not valid.
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
    """The part of a line of the ledger that the tally needs."""

    controls: int
    rejected: int


def _ledger(path: Path) -> Iterator[_Counts | None]:
    """The lines of a ledger; None for a line that was cut off."""
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            found = codec.loads(line)
        except ValueError:  # half a line; later gates may have added lines after it
            yield None
            continue
        try:
            codec.require_schema(found, LEDGER_SCHEMA, older=True)
            counts = codec.from_json(_Counts, found)
            if not 0 <= counts.rejected <= counts.controls:
                raise ValueError(f"{counts.rejected} of {counts.controls} rejected")
        except ValueError as error:
            raise BenchCoreError(
                f"{path}, line {number}, is not a line that the gate writes: {error}. Delete that line."
            ) from error
        yield counts


def _cell(cell: JudgedCell) -> dict[str, Any]:
    evidence = cell.evidence
    kept = codec.to_json(evidence)
    return {
        **{name: kept[name] for name in ("name", "benchmark", "params", "kind", "unit")},
        **_judgement(cell.judgement),
        "pairs": len(evidence.effects),
        "samples": sum(effect.samples for effect in evidence.effects),
        "seconds": {side: _finite(evidence.median(side)) for side in SIDES},
        **{name: kept[name] for name in ("spent", "error", "error_side", "strays", "exceeded")},
        "effects": [_effect(effect) for effect in evidence.effects],
    }


def _judgement(judged: Judgement) -> dict[str, Any]:
    ends = (judged.ratio.low if judged.ratio.low > 0 else -math.inf, judged.ratio.high)  # exp(-inf) is 0
    return {
        "verdict": judged.verdict,
        "reason": judged.reason,
        "ratio": _finite(judged.ratio.middle),
        "interval": [_finite(end) for end in ends],
        "confidence": _finite(judged.ratio.confidence),
        "at_most": _finite(judged.at_most.value),
        "at_most_confidence": judged.at_most.confidence,
        "detectable": _finite(judged.detectable),
        "decided_by": judged.unit,
        "likeness": _finite(judged.likeness),
        "decided": judged.decided,
        "of": judged.of,
        "memoized": judged.memoized,
    }


def _effect(effect: Effect) -> dict[str, Any]:
    try:
        ratio = math.exp(effect.log_ratio)
    except OverflowError:
        ratio = math.inf
    kept = codec.to_json(effect)
    return {"pair": kept.pop("pair"), "parent": kept.pop("parent"), "ratio": _finite(ratio), **kept}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _object(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name)
    if not isinstance(found, dict):
        raise MalformedError(f"{name} is no object")
    return found


def _load(path: Path) -> dict[str, Any]:
    try:
        content = codec.loads(path.read_bytes())
    except OSError as error:
        raise BenchCoreError(
            f"{path} cannot be read: {error.strerror}. `bench-core gate --json FILE` writes such a file."
        ) from error
    except MalformedError as error:
        raise BenchCoreError(f"{path} is {error}. `bench-core gate --json FILE` writes one anew.") from error
    return _known(path, content)


def _known(path: Path, content: Any) -> dict[str, Any]:
    """The content of a file, if its schema can be read."""
    schema = content.get("schema") if isinstance(content, dict) else None
    number = re.fullmatch(r"bench-core/gate/([0-9]{1,9})", schema) if isinstance(schema, str) else None
    if number is None:
        raise BenchCoreError(
            f"{path} is not a result of the gate: its schema is {json.dumps(schema)}, not "
            f'"bench-core/gate/{SCHEMA}". `bench-core gate --json FILE` writes one.'
        )
    if int(number[1]) > SCHEMA:
        raise BenchCoreError(
            f"{path} was written by a newer bench_core (schema {number[1]}); this one reads up to {SCHEMA}: upgrade."
        )
    assert isinstance(content, dict)
    return content


def _damaged(path: Path, error: MalformedError) -> BenchCoreError:
    return BenchCoreError(f"{path} is damaged: {error}. `bench-core gate --json FILE` writes it anew.")
