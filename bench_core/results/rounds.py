"""The file beside a result file of asv, with what asv cannot hold: the times of each round, and which cells were
sampled in turn. Every line is one run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench_core.codec import from_json, to_json
from bench_core.errors import BenchCoreError
from bench_core.files import write_whole
from bench_core.records.rounds import SCHEMA, Rounds


def beside(path: Path) -> Path:
    """The file for the result file `path`. Its ending is not ``.json``, since asv reads all of those."""
    return path.with_name(f"{path.name.removesuffix('.json')}.rounds.jsonl")


def read_rounds(path: Path) -> tuple[Rounds, ...]:
    """The runs beside the result file `path`, in order. A last line that was cut off is left out.

    Raises:
        BenchCoreError: if another line is damaged, or of a newer schema.
    """
    file = beside(path)
    try:
        lines = file.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise BenchCoreError(f"{file} cannot be read: {error.strerror}.") from error
    return tuple(_read(file, number, line) for number, line in enumerate(lines, 1) if line.endswith(b"\n"))


def _read(file: Path, number: int, line: bytes) -> Rounds:
    try:
        content = json.loads(line)
        schema = content.get("schema") if isinstance(content, dict) else None
        if schema != SCHEMA:
            raise ValueError(f"its schema is {schema!r}, and this version reads {SCHEMA}")
        found = from_json(Rounds, content)
        for visit in (visit for group in found.groups for visit in group.visits):
            for name, seconds in visit.seconds.items():
                if not 0 < seconds < math.inf:
                    raise ValueError(f"{seconds:g} s is no time of {name}")
        return found
    except (ValueError, RecursionError) as error:
        raise BenchCoreError(
            f"{file}, line {number}, cannot be used: {error}. Delete the line, or time that commit again."
        ) from error


def write_rounds(path: Path, runs: Iterable[Rounds]) -> None:
    """Replace the runs beside the result file `path`."""
    lines = [json.dumps(to_json(run), allow_nan=False) + "\n" for run in runs]
    write_whole(beside(path), "".join(lines))


def run_of(name: str, samples: Sequence[float], runs: Sequence[Rounds]) -> Rounds | None:
    """The run that these samples of a cell come from, as asv stores them; None if another tool has measured them."""
    for run in reversed(runs):
        for group in run.groups:
            if name in group.cells:
                if [visit.seconds[name] for visit in group.visits if name in visit.seconds] == list(samples):
                    return run
                break
    return None
