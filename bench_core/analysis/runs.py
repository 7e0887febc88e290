"""The runs of `bench-core run` that are stored beside one result file of asv. The file itself holds the newest value of
each cell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench_core.analysis.rounds import reading_of
from bench_core.errors import BenchCoreError
from bench_core.records.results import CellResult, ResultFile
from bench_core.records.rounds import Rounds
from bench_core.records.run import Interval
from bench_core.results.asv_files import written_by_asv
from bench_core.results.read import declarations, described


def chosen(file: ResultFile, which: str) -> Rounds:
    """The run with this number, from 1, or the one that began at this date, ISO 8601, UTC, or the beginning of one.

    Raises:
        BenchCoreError: if there is no such run, or several.
    """
    numbered = {str(number): run for number, run in enumerate(file.runs, 1)}
    dated = [run for run in file.runs if run.date.startswith(which.replace(" ", "T")) and "-" in which]
    if which in numbered:
        return numbered[which]
    if len(dated) == 1:
        return dated[0]
    found = f"{len(dated)} runs of {which} are" if dated else f"no run {which} is"
    if not file.runs:
        raise BenchCoreError(f"{found} stored beside {file.path}: `bench-core run` stores runs there.")
    raise BenchCoreError(
        f"{found} stored beside {file.path}. It has the runs 1 to {len(file.runs)}; --list shows their dates."
    )


def of_run(file: ResultFile, run: Rounds) -> ResultFile:
    """What one of its runs has measured, as a result file.

    Raises:
        BenchCoreError: if the declarations of the benchmarks cannot be read.
    """
    declared = declarations(file.path)
    with written_by_asv(file.path):
        return _of_run(file, run, declared)


def _of_run(file: ResultFile, run: Rounds, declared: Sequence[Mapping[str, Any]]) -> ResultFile:
    known = {name: (entry, params) for entry in declared for name, params in _cells(entry)}
    known = {name: (entry, params) for name, (entry, params) in known.items() if entry["name"] not in file.outdated}
    reading = reading_of(run)
    cells = []
    for group in run.groups:
        for name in set(known).intersection(group.cells):
            if reading.seconds(name):
                times = sum(name in visit.seconds for visit in group.visits)
                cell = _result(*known[name], reading.time(name, confidence=0.99), times, group.numbers.get(name, 1))
                cells.append(replace(cell, rounds=run))
    infinite = tuple(name for name, value in run.readings.items() if math.isinf(value))
    for name in set(known).intersection(run.readings).difference(infinite):
        cells.append(_result(*known[name], Interval(-math.inf, run.readings[name], math.inf, 0.99)))
    places = {name: place for place, name in enumerate(known)}
    cells.sort(key=lambda cell: (cell.benchmark, places.get(cell.name, len(places))))
    return replace(file, cells=tuple(cells), failed=(*run.failed, *infinite), infinite=infinite)


def _cells(benchmark: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """The names of a benchmark's cells, and their parameters."""
    for values in itertools.product(*([str(value) for value in values] for values in benchmark["params"] or ())):
        name = f"{benchmark['name']}({', '.join(values)})" if values else benchmark["name"]
        params = dict(zip(benchmark["param_names"], values, strict=True))
        if len(params) < len(values):
            raise ValueError(f"two parameters of {benchmark['name']} have the same name")
        yield name, params


def _result(
    benchmark: Mapping[str, Any], params: Mapping[str, str], value: Interval, samples: int = 1, number: int = 1
) -> CellResult:
    title = str(benchmark.get("pretty_name") or "")
    return CellResult(**described(benchmark, params), value=value, samples=samples, number=number, title=title)
