"""The file beside a result file of asv, with what asv cannot hold: the times of each round, and which cells were
sampled in turn. Every line is one run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_core.codec import from_json, loads, require_schema, to_json
from bench_core.errors import BenchCoreError
from bench_core.files import try_write, write_whole
from bench_core.records.rounds import SCHEMA, Rounds


@dataclass(frozen=True)
class RoundsFile:
    """What lies beside a result file.

    Attributes:
        runs: the runs, in order.
        damaged: what cannot be used, and how to mend it, a sentence each.
    """

    runs: tuple[Rounds, ...] = ()
    damaged: tuple[str, ...] = ()


def beside(path: Path) -> Path:
    """The file for the result file `path`. Its ending is not ``.json``, since asv reads all of those."""
    return path.with_name(f"{path.name.removesuffix('.json')}.rounds.jsonl")


def read_rounds(path: Path) -> RoundsFile:
    """The runs beside the result file `path`. What cannot be used is named, and everything else is read."""
    runs: list[Rounds] = []
    damaged: list[str] = []
    try:
        lines = _lines(path)
    except OSError as error:
        return RoundsFile(damaged=(f"it cannot be read: {error.strerror}. Make it a readable file, or remove it.",))
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            runs.append(_run(line))
        except ValueError as error:
            damaged.append(f"line {number} cannot be used: {error}. Restore the line from a copy, or delete it.")
    return RoundsFile(tuple(runs), tuple(damaged))


def _lines(path: Path) -> list[bytes]:
    """The lines beside the result file `path`, without their ends. Raises OSError if the file cannot be read."""
    try:
        return beside(path).read_bytes().splitlines()
    except FileNotFoundError:
        return []


def _run(line: bytes) -> Rounds:
    """The run of a line. Raises ValueError if it is damaged, or of another schema."""
    content = loads(line)
    require_schema(content, SCHEMA)
    found = from_json(Rounds, content)
    for visit in (visit for group in found.groups for visit in group.visits):
        for name, seconds in visit.seconds.items():
            if not 0 < seconds < math.inf:
                raise ValueError(f"{seconds:g} s is no time of {name}")
    return found


def write_rounds(path: Path, run: Rounds, instead: Rounds | None = None, *, alone: bool = False) -> None:
    """Add a run beside the result file `path`. All other lines stay as they are, also those that cannot be used.

    Args:
        instead: the run that it replaces; None to add it.
        alone: replace everything.

    Raises:
        BenchCoreError: if the file cannot be read or written. It is then unchanged.
    """
    try:
        others = [] if alone else [line for line in _lines(path) if instead is None or not _holds(line, instead)]
        lines = [*others, json.dumps(to_json(run), allow_nan=False).encode()]
        write_whole(beside(path), b"".join(line + b"\n" for line in lines))
    except OSError as error:
        raise _unusable(path, error) from error


def require_rounds(path: Path) -> None:
    """Check that `write_rounds` will work, before minutes of measuring.

    Raises:
        BenchCoreError: if it will not.
    """
    try:
        _lines(path)
        if beside(path).exists():
            try_write(beside(path))
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> BenchCoreError:
    return BenchCoreError(
        f"{beside(path)} cannot be read and written: {error.strerror}. Make it a writable file, or remove it."
    )


def _holds(line: bytes, run: Rounds) -> bool:
    try:
        return _run(line) == run
    except ValueError:
        return False


def run_of(name: str, samples: Sequence[float], runs: Sequence[Rounds]) -> Rounds | None:
    """The run that these samples of a cell come from, as asv stores them; None if another tool has measured them. A run
    that was killed while it stored a round has one sample more."""
    for run in reversed(runs):
        for group in run.groups:
            if name in group.cells:
                known = [visit.seconds[name] for visit in group.visits if name in visit.seconds]
                if len(known) - len(samples) in (0, 1) and known[: len(samples)] == list(samples):
                    return run
                break
    return None
