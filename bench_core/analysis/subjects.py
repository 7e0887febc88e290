"""Makes the columns of a report: each machine with each environment, with the newest value of every cell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from bench_core.errors import brief
from bench_core.records.report import Measured, RunKey, Subject
from bench_core.records.results import CellResult, Circumstances, Run, Store
from bench_core.results.store import iso_date

HARDWARE = ("machine", "os", "arch", "cpu", "num_cpu", "ram")
"""asv's keys for a machine. The other keys of a result's description belong to the environment."""

PAUSE = 60 * 60 * 1000
"""Two benchmarks whose starts are more than this many milliseconds apart belong to different runs. Within a run, two
successive starts are minutes apart. If a later run of the same commit replaced the benchmarks between them, they are
further apart, but not more than the 21 minutes of the whole suite."""


def subjects(store: Store) -> tuple[Subject, ...]:
    """Each machine with each environment, by the machines' names, the newest torch last. Results without a commit have
    a separate column. The newest value is that of the latest commit, not the one measured last, since older commits may
    be measured later. A cell that failed in its newest run has no value."""
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
        environment: (name, value) of each part of its description, ordered by name.
        outside: whether its results have no commit.
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
    """The machine, its torch, and the differences from the machine's other environments with this torch."""
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
    """A key to sort versions by: 2.9 comes before 2.13, and 2.13 before 2.13+cu128."""
    return tuple((int(digits or -1), text) for digits, text in re.findall(r"(\d+)|([^\d.]+)", version))


def reproduce(cell: CellResult) -> str:
    """A shell command that measures the cell again. A long name is cut, and still selects its cell."""
    name = brief(cell.name)
    return f"bench-core run {shlex.quote(f'^{_literal(name)}$' if name == cell.name else name)}"


def _literal(name: str) -> str:
    """A regular expression that matches the name. Unlike `re.escape`, it leaves spaces and commas readable."""
    return re.sub(r"[.^$*+?{}\[\]\\|()]", r"\\\g<0>", name)


def _by_age(runs: Iterable[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: (run.committed or run.measured, run.measured))


def _subject(name: str, runs: list[Run], circumstances: Collection[Circumstances]) -> Subject:
    """The subject of the runs of one column, the newest last."""
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
    """The run of each cell, by the start of its benchmark (`CellResult.begun`).

    asv adds all measurements of a commit to one file, even weeks later. `bench-core run` stores the machine's
    circumstances when it begins. asv does not, so its runs are separated by the pause between them (`PAUSE`). asv
    stores one start per benchmark: if a later run measured some of its cells, all count as cells of that run.
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
    """The sizes that were stored last, smallest first."""
    known = [each.caches for each in circumstances if each.caches]
    return dict(sorted(known[-1].items(), key=lambda item: item[1])) if known else {}


def is_called(subject: Subject, name: str) -> bool:
    """Whether a name is that of the subject, of its machine, or of its torch. ``torch==2.13.0`` and ``2.13.0`` mean
    every build of torch, ``2.13.0+cpu`` only one."""
    torch = subject.description.get("torch", "")
    version = name.removeprefix("torch==")
    return name in (subject.name, subject.machine) or (bool(torch) and version in (torch, torch.split("+")[0]))
