"""The columns of a report: each machine with each environment, and the newest value of every cell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from bench_core.records.report import Measured, RunKey, Subject
from bench_core.records.results import CellResult, Circumstances, Run, Store
from bench_core.results.store import iso_date

HARDWARE = ("machine", "os", "arch", "cpu", "num_cpu", "ram")
"""What asv describes of a machine. The rest of a result's description is the environment's."""

PAUSE = 60 * 60 * 1000
"""Milliseconds between the starts of two benchmarks from which they are of two runs.

Within a run they lie apart by as long as the first one takes, which is minutes; and where a later run of the same
commit has replaced what lay between, by as long as that took: the whole suite takes 21 minutes.
"""


def subjects(store: Store) -> tuple[Subject, ...]:
    """Each machine with each environment, in the order of the machines' names, the newest torch last.

    What was measured outside the history is of no commit, so no column of commits takes it in: it has one of its own.
    A value is the newest by the date of its commit, and not by when it was measured: older commits may be measured
    later. A cell that failed in the newest run that had it has no value.
    """
    runs: dict[_Column, list[Run]] = {}
    for run in store.runs:
        runs.setdefault(_place(run), []).append(run)
    return tuple(
        _subject(_name(place, runs), _by_age(runs[place]), store.circumstances.get(place.machine, ()))
        for place in sorted(runs, key=_order)
    )


@dataclass(frozen=True)
class _Column:
    """What the values of a column share.

    Attributes:
        environment: name and value of all that is described of it, in the order of the names.
        outside: of the history.
    """

    machine: str
    environment: tuple[tuple[str, str], ...]
    outside: bool

    @property
    def torch(self) -> str:
        return dict(self.environment).get("torch", "")


def _place(run: Run) -> _Column:
    described = sorted((name, value) for name, value in run.description.items() if name not in HARDWARE)
    return _Column(run.machine, tuple(described), run.commit is None)


def _order(place: _Column) -> tuple[object, ...]:
    environment = [(name, version_key(value)) for name, value in place.environment]
    return place.machine, version_key(place.torch), environment, place.outside


def _name(place: _Column, places: Collection[_Column]) -> str:
    """The machine and its torch; then what tells it from the machine's other environments with that torch."""
    alike = [
        dict(other.environment) for other in places if (other.machine, other.torch) == (place.machine, place.torch)
    ]
    own = dict(place.environment)
    differing = [
        name
        for name in sorted({name for each in alike for name in each})
        if len({each.get(name) for each in alike}) > 1
    ]
    parts = [
        place.machine,
        *([f"torch {place.torch}"] if place.torch else []),
        *(f"{name} {own[name]}" if name in own else f"no {name}" for name in differing),
        *(["not of a commit"] if place.outside else []),
    ]
    return ", ".join(parts)


def version_key(version: str) -> tuple[tuple[int, str], ...]:
    """Orders versions as people do: 2.9 before 2.13, and before 2.13+cu128."""
    return tuple((int(digits or -1), text) for digits, text in re.findall(r"(\d+)|([^\d.]+)", version))


def reproduce(cell: CellResult) -> str:
    """A shell command that measures the cell again."""
    return f"bench-core run {shlex.quote(f'^{_literal(cell.name)}$')}"


def _literal(name: str) -> str:
    """A regular expression for the name: `re.escape` would escape its blanks and commas as well."""
    return re.sub(r"[.^$*+?{}\[\]\\|()]", r"\\\g<0>", name)


def _by_age(runs: Iterable[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: (run.committed or run.measured, run.measured))


def _subject(name: str, runs: list[Run], circumstances: Collection[Circumstances]) -> Subject:
    """Args:
    runs: of one place, the newest last.
    circumstances: of the machine.
    """
    newest = runs[-1]
    values: dict[str, tuple[Run, CellResult]] = {}
    failed: set[str] = set()
    for run in runs:
        broken = set(run.failed)
        failed -= {cell.name for cell in run.cells} | {cell.benchmark for cell in run.cells}
        failed |= broken
        if broken:
            values = {name: value for name, value in values.items() if not {name, value[1].benchmark} & broken}
        values |= {cell.name: (run, cell) for cell in run.cells}
    keys = {run.path: run_keys(run, circumstances) for run in {id(run): run for run, _ in values.values()}.values()}
    return Subject(
        name=name,
        machine=newest.machine,
        description=newest.description,
        caches=_caches(circumstances),
        cells={name: _measured(cell, run, keys[run.path][cell.begun]) for name, (run, cell) in sorted(values.items())},
        failed=tuple(sorted(failed)),
    )


def _measured(cell: CellResult, run: Run, key: RunKey) -> Measured:
    date = iso_date(cell.begun) or run.measured or run.committed
    return Measured(cell, key, run.commit, date, reproduce(cell))


def run_keys(run: Run, circumstances: Iterable[Circumstances]) -> Mapping[int, RunKey]:
    """The run that a cell is of, by when its benchmark was begun (`CellResult.begun`).

    asv adds to the file of a commit whatever is measured of it, today and next week. `bench-core run` leaves a line on
    the machine's circumstances when it begins. asv leaves none: its runs are told by the pause between them, `PAUSE`.

    asv stores one time for each benchmark: where a later run has measured some of its cells, all count as of that run.

    Args:
        circumstances: of the machine.
    """
    lines = [each.date for each in circumstances if each.commit == run.commit]
    keys: dict[int, RunKey] = {}
    began, previous = "", 0
    for begun in sorted({cell.begun for cell in run.cells}):
        since = max(previous, begun - PAUSE, 0)
        announced = [date for date in lines if iso_date(since) < date <= iso_date(begun)]
        if announced or begun - previous > PAUSE:
            began = max(announced, default=iso_date(begun))
        keys[begun] = RunKey(run.path.name, began)
        previous = begun
    return keys


def _caches(circumstances: Iterable[Circumstances]) -> Mapping[str, int]:
    """As they were stored last."""
    known = [each.caches for each in circumstances if each.caches]
    return dict(sorted(known[-1].items(), key=lambda item: item[1])) if known else {}
