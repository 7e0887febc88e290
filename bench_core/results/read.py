"""Reads asv's result files into records. Neither torch nor the suite is needed."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_core.errors import BenchCoreError
from bench_core.records import Interval


@dataclass(frozen=True)
class CellResult:
    """What is stored of one cell.

    Attributes:
        benchmark: asv's name of it, without parameters.
        params: parameter name to value, as asv prints them.
        kind: ``time``, ``peakmem``, ``track`` and so on.
        unit: of the value; seconds for times, bytes for memory.
        value: the median with asv's 99 % interval; NaN where the benchmark failed.
        samples: how many there are.
        number: calls in each.
        reads, writes: how often the job reads and writes its weight (see `bench_core.suite.traffic`); 0 if undeclared.
        rivals: the parameter whose values do the same job, if the benchmark names one.
        unties: this way of doing the job leaves tied parameters untied.
        draws: random numbers that the job must draw for each element of its weight; 0 if undeclared.
        begun: when asv began to measure the benchmark, in milliseconds since 1970; 0 where it did not store that.
    """

    benchmark: str
    params: Mapping[str, str]
    kind: str
    unit: str
    value: Interval
    samples: int
    number: int
    reads: int
    writes: int
    rivals: str | None
    unties: bool = False
    draws: float = 0
    begun: int = 0

    @property
    def name(self) -> str:
        return f"{self.benchmark}({', '.join(self.params.values())})" if self.params else self.benchmark

    @property
    def family(self) -> str:
        return self.benchmark.split(".", 1)[0]

    @property
    def elements(self) -> int | None:
        """Elements of its weight, where a parameter `size` such as ``8x4`` says so."""
        return math.prod(map(int, self.params["size"].split("x"))) if "size" in self.params else None

    @property
    def drawn(self) -> float | None:
        """Random numbers that the job cannot do without drawing, where they are declared."""
        return self.draws * self.elements if self.draws and self.elements is not None else None

    @property
    def moved_bytes(self) -> int | None:
        """Bytes that the job cannot do without moving, where they are declared."""
        if not self.reads + self.writes or self.elements is None:
            return None
        return (self.reads + self.writes) * self.elements * ITEM_BYTES[self.params.get("dtype", "float32")]

    @property
    def bandwidth(self) -> float | None:
        """Bytes a second, where bytes are declared."""
        moved = self.moved_bytes
        return None if moved is None or not self.value.middle > 0 else moved / self.value.middle


ITEM_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class ResultFile:
    """One asv result file: what one machine and environment measured of one commit.

    Attributes:
        machine: asv's description of the machine, and the versions of what the environment holds.
        failed: cells, or benchmarks as a whole, that have no value because they failed.
        date: of the commit, in milliseconds since 1970; 0 without a commit.
        environment: asv's name of it.
        outdated: benchmarks that the suite no longer has, or has in another version; their values are not read.
    """

    path: Path
    commit: str | None
    machine: Mapping[str, str]
    cells: tuple[CellResult, ...]
    failed: tuple[str, ...]
    date: int = 0
    environment: str = ""
    outdated: tuple[str, ...] = ()


VERSION = 2
"""asv's number for the format of its result files, since 0.5."""


def read(path: Path, declared: list[dict[str, Any]] | None = None) -> ResultFile:
    """Read one result file.

    Args:
        declared: the benchmarks' declarations; None to take them from ``benchmarks.json`` of the results folder.

    Raises:
        BenchCoreError: if a file is missing, or is not one that asv wrote.
    """
    content = load(path)
    return parsed(path, content, declarations(path) if declared is None else declared)


def declarations(path: Path) -> list[dict[str, Any]]:
    """What ``benchmarks.json`` declares for the result file `path`.

    Raises:
        BenchCoreError: if it is missing, or is not one that asv wrote.
    """
    # asv's folders: results/benchmarks.json and results/<machine>/<file>; without a commit both stand together.
    own, shared = path.parent / "benchmarks.json", path.parent.parent / "benchmarks.json"
    found = own if own.is_file() else shared
    listing = load(found)
    _require_version(found, listing)
    return [value for name, value in listing.items() if name != "version"]


def parsed(path: Path, content: Mapping[str, Any], declared: list[dict[str, Any]]) -> ResultFile:
    """Take a result file's content apart.

    Raises:
        BenchCoreError: if asv does not write such a file.
    """
    _require_version(path, content)
    try:
        by_name = {benchmark["name"]: benchmark for benchmark in declared}
        columns = content["result_columns"]
        cells: list[CellResult] = []
        failed: list[str] = []
        outdated: list[str] = []
        for name, row in sorted(content["results"].items()):
            found = dict(zip(columns, row, strict=False))
            if name not in by_name or found.get("version") not in (None, by_name[name].get("version")):
                outdated.append(name)
                continue
            if found.get("result") is None:
                failed.append(name)
                continue
            cells += _cells(by_name[name], found)
            failed += _failed(by_name[name], found)
        return ResultFile(
            path=path,
            commit=content["commit_hash"] or None,
            machine=content["params"],
            cells=tuple(cells),
            failed=tuple(failed),
            date=content.get("date") or 0,
            environment=content.get("env_name", ""),
            outdated=tuple(outdated),
        )
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise BenchCoreError(f"{path} is not a result file that asv 0.6 writes: {error!r}.") from error


def _require_version(path: Path, content: Mapping[str, Any]) -> None:
    version = content.get("version", VERSION)
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        mend = "upgrade bench_core" if newer else "`asv update` brings it up to date"
        raise BenchCoreError(
            f"{path} is in version {version} of asv's format, and version {VERSION} is what is read here: {mend}."
        )


def newest(folder: Path) -> Path:
    """The result file below `folder` that was written last.

    Raises:
        BenchCoreError: if there is none.
    """
    others = {"benchmarks.json", "machine.json"}
    # A gate's times are stored for asv's pages; they belong to a pair, and its own summary shows them.
    files = [path for path in folder.rglob("*.json") if path.name not in others and "-gate-" not in path.name]
    if not files:
        raise BenchCoreError(f"there are no results in {folder}. `make bench` writes some.")
    return max(files, key=lambda path: path.stat().st_mtime)


def _cells(benchmark: Mapping[str, Any], found: Mapping[str, Any]) -> list[CellResult]:
    params = found["params"] or []
    combinations = list(itertools.product(*params))
    draws = benchmark.get("weight_draws", 0)
    begun = found.get("started_at") or 0
    cells = []
    for index, values in enumerate(combinations):
        value = _at(found, "result", index)
        if value is None or math.isnan(value):
            continue  # failed; or not selected, or not runnable here
        named = dict(zip(benchmark["param_names"], values, strict=False))
        low, high = _at(found, "stats_ci_99_a", index), _at(found, "stats_ci_99_b", index)
        cells.append(
            CellResult(
                benchmark=benchmark["name"],
                params=named,
                kind=benchmark["type"],
                unit=benchmark["unit"],
                value=Interval(
                    -math.inf if low is None else low,
                    value,
                    math.inf if high is None else high,
                    confidence=0.99,
                ),
                samples=_at(found, "stats_repeat", index) or 1,
                number=_at(found, "stats_number", index) or 1,
                reads=benchmark.get("weight_reads", 0),
                writes=benchmark.get("weight_writes", 0),
                rivals=benchmark.get("rivals"),
                unties=named.get(benchmark.get("rivals", "")) in benchmark.get("unties", ()),
                draws=max((draws.get(value, 0) for value in values), default=0) if isinstance(draws, dict) else draws,
                begun=begun,
            )
        )
    return cells


def _failed(benchmark: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    combinations = itertools.product(*(found["params"] or []))
    failed = [values for index, values in enumerate(combinations) if _at(found, "result", index) is None]
    return [f"{benchmark['name']}({', '.join(values)})" for values in failed]


def _at(found: Mapping[str, Any], column: str, index: int) -> Any:
    values = found.get(column)
    return None if values is None else values[index]


def load(path: Path) -> dict[str, Any]:
    """The object that a JSON file of asv's holds.

    Raises:
        BenchCoreError: if it cannot be read, or holds none.
    """
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise BenchCoreError(f"{path} cannot be read: {error.strerror}. `make bench` writes results.") from error
    except ValueError as error:
        raise BenchCoreError(
            f"{path} is not JSON: {error}. If asv wrote it, delete it and time that commit again."
        ) from error
    if not isinstance(content, dict):
        raise BenchCoreError(f"{path} is not a result file of asv: its top level is no object.")
    return content
