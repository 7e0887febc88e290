"""Reads asv's result files into records. Needs neither torch nor the suite."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench_core import codec
from bench_core.codec import MalformedError
from bench_core.errors import BenchCoreError
from bench_core.records.results import CellResult, ResultFile
from bench_core.records.rounds import Rounds
from bench_core.records.run import Interval
from bench_core.results.asv_files import not_of_asv, written_by_asv
from bench_core.results.rounds import RoundsFile, read_rounds, run_of

YEAR_9999 = 253_370_764_800_000
"""The last date that Python supports, in asv's milliseconds since 1970."""

VERSION = 2
"""asv's number for the format of its result files, since asv 0.5."""


def read(path: Path, declared: list[dict[str, Any]] | None = None) -> ResultFile:
    """Read one result file.

    Args:
        declared: the declarations of the benchmarks; None to read them from ``benchmarks.json`` of the results folder.

    Raises:
        BenchCoreError: if a file is missing, or is not a valid file of asv.
    """
    content = load(path)
    return parsed(path, content, declarations(path) if declared is None else declared, read_rounds(path))


def declarations(path: Path) -> list[dict[str, Any]]:
    """The declarations in the ``benchmarks.json`` that belongs to the result file `path`.

    Raises:
        BenchCoreError: if it is missing, or is not a valid file of asv.
    """
    # asv writes results/benchmarks.json and results/<machine>/<file>. Results without a commit have both in one folder.
    own, shared = path.parent / "benchmarks.json", path.parent.parent / "benchmarks.json"
    found = own if own.is_file() else shared
    listing = load(found)
    _require_version(found, listing)
    return [value for name, value in listing.items() if name != "version"]


def parsed(path: Path, content: Mapping[str, Any], declared: list[dict[str, Any]], rounds: RoundsFile) -> ResultFile:
    """Read the content of a result file.

    Args:
        rounds: what lies beside it.

    Raises:
        BenchCoreError: if it is not a valid file of asv.
    """
    _require_version(path, content)
    with written_by_asv(path):
        by_name = {benchmark["name"]: benchmark for benchmark in declared}
        columns = content["result_columns"]
        cells: list[CellResult] = []
        failed: list[str] = []
        outdated: list[str] = []
        infinite: list[str] = []
        for name, row in sorted(content["results"].items()):
            found = dict(zip(columns, row, strict=False))
            if name not in by_name or found.get("version") not in (None, by_name[name].get("version")):
                outdated.append(name)
                continue
            if found.get("result") is None:
                failed.append(name)
                continue
            every = _cells(by_name[name], found, rounds.runs)
            cells += [cell for cell in every if math.isfinite(cell.value.middle)]
            infinite += [cell.name for cell in every if math.isinf(cell.value.middle)]
            failed += _failed(by_name[name], found)
        variables = {f"env-{name}": value for name, value in (content.get("env_vars") or {}).items()}
        return ResultFile(
            path=path,
            commit=_text(content["commit_hash"]) or None,
            machine={name: str(value) for name, value in (content["params"] | variables).items() if value is not None},
            cells=tuple(cells),
            failed=(*failed, *infinite),
            date=_date(content.get("date")),
            environment=_text(content.get("env_name")),
            outdated=tuple(outdated),
            infinite=tuple(infinite),
            runs=rounds.runs,
            damaged=rounds.damaged,
        )


def _require_version(path: Path, content: Mapping[str, Any]) -> None:
    version = content.get("version")
    if version is None:
        raise not_of_asv(path, "it has no version of asv's format")
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        mend = "upgrade bench_core" if newer else "`asv update` brings it up to date"
        raise BenchCoreError(
            f"{path} is in version {version} of asv's format, but only version {VERSION} can be read: {mend}."
        )


def _cells(benchmark: Mapping[str, Any], found: Mapping[str, Any], runs: Sequence[Rounds]) -> list[CellResult]:
    begun = _date(found.get("started_at"))
    cells = []
    for index, values in enumerate(_combinations(found)):
        value = _number(found, "result", index, missing=math.nan)
        if math.isnan(value):
            continue  # it failed, was not selected, or cannot run here
        low, high = (_number(found, f"stats_ci_99_{end}", index, missing=math.nan) for end in "ab")
        cell = CellResult(
            **described(benchmark, dict(zip(benchmark["param_names"], values, strict=True))),
            value=Interval(
                low if math.isfinite(low) else -math.inf,
                value,
                high if math.isfinite(high) else math.inf,
                confidence=0.99,
            ),
            samples=int(_number(found, "stats_repeat", index, missing=1)),
            number=int(_number(found, "stats_number", index, missing=1)),
            begun=begun,
            title=str(benchmark.get("pretty_name") or ""),
        )
        samples = _at(found, "samples", index) if runs else None
        cells.append(replace(cell, rounds=run_of(cell.name, samples, runs)) if samples else cell)
    return cells


def described(benchmark: Mapping[str, Any], params: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a `CellResult` that follow from its declaration.

    Args:
        benchmark: what asv stores about the benchmark.
        params: the values of the cell's parameters by name, as asv prints them.
    """
    draws = benchmark.get("weight_draws", 0)
    rivals = _text(benchmark.get("rivals")) or None
    return {
        "benchmark": benchmark["name"],
        "params": params,
        "kind": _text(benchmark["type"]),
        "unit": str(benchmark["unit"] or ""),
        "reads": int(benchmark.get("weight_reads", 0)),
        "writes": int(benchmark.get("weight_writes", 0)),
        "rivals": rivals,
        "unties": params.get(rivals or "") in benchmark.get("unties", ()),
        "draws": float(max((draws.get(value, 0) for value in params.values()), default=0))
        if isinstance(draws, dict)
        else float(draws),
    }


def _failed(benchmark: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    failed = [values for index, values in enumerate(_combinations(found)) if _at(found, "result", index) is None]
    return [f"{benchmark['name']}({', '.join(values)})" for values in failed]


def _combinations(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    return itertools.product(*([str(value) for value in values] for values in found["params"] or ()))


def _at(found: Mapping[str, Any], column: str, index: int) -> Any:
    values = found.get(column)
    return None if values is None else values[index]


def _number(found: Mapping[str, Any], column: str, index: int, *, missing: float) -> float:
    """A number in a column; `missing` if there is none. Raises ValueError for anything else."""
    value = _at(found, column, index)
    if not isinstance(value, int | float | None):
        raise ValueError(f"{column} has {value!r}, which is no number")
    return missing if value is None else value


def _text(found: Any) -> str:
    """A text; "" for None. Raises ValueError for anything else."""
    if found is not None and not isinstance(found, str):
        raise ValueError(f"{found!r} is no text")
    return found or ""


def _date(found: Any) -> int:
    """asv's milliseconds since 1970; 0 for None. Raises ValueError for anything else, and outside Python's range."""
    if found is not None and not (isinstance(found, int | float) and 0 <= found <= YEAR_9999):
        raise ValueError(f"{found!r} is no date in milliseconds since 1970")
    return int(found or 0)


def load(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        BenchCoreError: if the file cannot be read, or does not contain an object.
    """
    try:
        content = codec.loads(path.read_bytes())
    except OSError as error:
        raise BenchCoreError(f"{path} cannot be read: {error.strerror}. `bench-core run` writes results.") from error
    except MalformedError as error:
        raise BenchCoreError(f"{path} is {error}. If asv wrote it, delete it and time that commit again.") from error
    if not isinstance(content, dict):
        raise BenchCoreError(f"{path} is not a result file of asv: its top level is no object.")
    return content
