"""Compares two stored results: of commits, machines, versions of torch, or files."""

from __future__ import annotations

import itertools
import math
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench_core import units
from bench_core.analysis.ratios import ratio
from bench_core.analysis.subjects import is_called, subjects
from bench_core.errors import BenchCoreError, shortened
from bench_core.records.report import Compared
from bench_core.records.results import CellResult, Run, Store
from bench_core.results.read import read

BETWEEN_RUNS = 0.10
"""Times of two runs of the same code may differ by this share, whatever their intervals. In the trials of
docs/statistics.md, two successive runs of asv differed by over 5 % in 2 of 120 cells, and by over 10 % in none. Two
reference runs of this suite, an hour apart on a busy machine, differed by over 10 % in 7 of 168 times."""

BETWEEN_READINGS = 0.01
"""As `BETWEEN_RUNS`, for memory and tracked values, which are measured once or exact. In the two reference runs, peak
memory differed by at most 0.13 %, and no tracked value differed."""


@dataclass(frozen=True)
class Stored:
    """A result that can be compared.

    Attributes:
        name: for people, e.g. ``4e6b7ac4 on epyc-2core, torch 2.13.0``.
        machine: asv's name of the machine.
        commit: the full hash; None for the newest values of a machine, which may be of several commits.
        description: asv's description of the machine, and the versions of the installed packages.
        cells: the results by name.
    """

    name: str
    machine: str
    commit: str | None
    description: Mapping[str, str]
    cells: Mapping[str, CellResult]


@dataclass(frozen=True)
class Comparison:
    """Two stored results, compared.

    Attributes:
        cells: the cells in both results, the largest ratio first.
        only_first, only_second: names of cells that only one result has.
        differences: how the two differ beyond the code, e.g. ``torch: 2.12.0, 2.13.0``.
        geometric_mean: the geometric mean of the ratios of times, second over first; NaN without any.
        gate: the command that measures the two side by side; "" if there is none.
        tells: what this gate compares, in words; "" without a gate.
    """

    first: Stored
    second: Stored
    cells: tuple[Compared, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    differences: tuple[str, ...]
    geometric_mean: float
    gate: str
    tells: str

    @property
    def slower(self) -> tuple[Compared, ...]:
        return tuple(cell for cell in self.cells if cell.differs and cell.ratio.low > 1)

    @property
    def faster(self) -> tuple[Compared, ...]:
        return tuple(cell for cell in self.cells if cell.differs and cell.ratio.high < 1)

    @property
    def changed(self) -> tuple[Compared, ...]:
        return tuple(cell for cell in self.cells if cell.changed)

    @property
    def inconclusive(self) -> int:
        return sum(not cell.differs and not cell.changed for cell in self.cells)


def compare(first: Stored, second: Stored) -> Comparison:
    common = [name for name in first.cells if name in second.cells]
    cells = sorted(
        (compared(first.cells[name], second.cells[name]) for name in common),
        key=lambda cell: math.inf if math.isnan(cell.ratio.middle) else -cell.ratio.middle,
    )
    logs = [math.log(cell.ratio.middle) for cell in cells if cell.unit == "seconds" and cell.ratio.middle > 0]
    gate, tells = _gate(first, second)
    return Comparison(
        first=first,
        second=second,
        cells=tuple(cells),
        only_first=tuple(name for name in first.cells if name not in second.cells),
        only_second=tuple(name for name in second.cells if name not in first.cells),
        differences=(*_differences(first.description, second.description), *_protocols(first, second)),
        geometric_mean=math.exp(math.fsum(logs) / len(logs)) if logs else math.nan,
        gate=gate,
        tells=tells,
    )


def _protocols(first: Stored, second: Stored) -> Iterator[str]:
    """How the times were measured, if it was not the same way."""
    named = [
        units.listed(
            sorted(
                {"by asv" if cell.rounds is None else "in rounds" for cell in one.cells.values() if cell.kind == "time"}
            )
        )
        for one in (first, second)
    ]
    if all(named) and named[0] != named[1]:
        yield f"times measured: {named[0]}, {named[1]} (a time in rounds has less noise in it, and so is shorter)"


def compared(first: CellResult, second: CellResult) -> Compared:
    """Compare two values of one cell that were not measured side by side."""
    over = ratio(second.value, first.value)
    differs = over.low > 1 + BETWEEN_RUNS or over.high < 1 / (1 + BETWEEN_RUNS)
    apart = abs(second.value.middle - first.value.middle)
    usual = BETWEEN_RUNS if first.unit == "seconds" else BETWEEN_READINGS
    changed = not (first.value.known and second.value.known) and apart > usual * abs(first.value.middle)
    return Compared(first.name, first.unit, first.value, second.value, over, differs, changed)


def _differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    names = [*first, *(name for name in second if name not in first)]
    pairs = [(name, str(first.get(name, "none")), str(second.get(name, "none"))) for name in names]
    return [f"{name}: {one} → {other}" for name, one, other in pairs if one != other]


def _gate(first: Stored, second: Stored) -> tuple[str, str]:
    """The command of a gate that compares the two, and its subject in words. Both are "" if no gate can: a gate runs on
    one machine, and compares two commits, or two installs of one package with the same code."""
    if first.machine != second.machine:
        return "", ""
    torch = [result.description.get("torch", "").split("+")[0] for result in (first, second)]
    if torch[0] != torch[1]:
        if not all(torch):
            return "", ""
        same = first.commit is not None and first.commit == second.commit
        tells = "the two versions of torch" if same else "the two versions of torch with the same code"
        return f"bench-core gate --versus torch=={torch[0]} torch=={torch[1]}", tells
    if first.commit is None or second.commit is None or first.commit == second.commit:
        return "", ""
    return f"bench-core gate {first.commit[:8]} {second.commit[:8]}", "the two commits"


def chosen(
    store: Store, names: tuple[str, str], *, machine: str | None = None, resolve: Callable[[str], str] = lambda name: ""
) -> tuple[Stored, Stored]:
    """The two results with these names.

    A name is that of a file, of a machine, of a version of torch, or of a commit: the beginning of its hash, or a name
    in git. Of several results, the two that have most in common are chosen.

    Args:
        machine: choose only results of this machine, or files.
        resolve: returns the full hash for a name in git, and "" for any other.

    Raises:
        BenchCoreError: if a name has no result, or is ambiguous.
    """
    first, second = (_named(store, name, machine, resolve) for name in names)
    pairs = [(one, other) for one, other in itertools.product(first, second) if one != other]
    if not pairs:
        raise BenchCoreError(
            f"{names[0]} and {names[1]} are the same result, {first[0].name}. Name two results. {_there_is(store)}"
        )
    distances = [len(_differences(one.description, other.description)) for one, other in pairs]
    nearest = [pair for pair, distance in zip(pairs, distances, strict=True) if distance == min(distances)]
    if len(nearest) > 1:
        found = shortened([f"{one.name}, and {other.name}" for one, other in nearest])
        raise BenchCoreError(
            f"{names[0]} and {names[1]} are ambiguous: {found}. Use --machine, name a commit, or name two files."
        )
    return nearest[0]


def _named(store: Store, name: str, machine: str | None, resolve: Callable[[str], str]) -> list[Stored]:
    path = Path(name)
    if path.is_file():
        return [_file(path)]
    known = [subject for subject in subjects(store) if machine in (None, subject.machine)]
    if machine is not None and not known:
        raise BenchCoreError(f"there are no results of the machine {machine!r}. {_there_is(store)}")
    found = [
        Stored(
            f"{subject.name}, the newest",
            subject.machine,
            None,
            subject.description,
            {name: measured.cell for name, measured in subject.cells.items()},
        )
        for subject in known
        if is_called(subject, name)
    ]
    if not found:
        runs = _runs(store, name, machine, resolve)
        found = [
            Stored(
                f"{str(run.commit)[:8]} on {run.machine}{f', torch {run.torch}' if run.torch else ''}",
                run.machine,
                run.commit,
                run.description,
                {cell.name: cell for cell in run.cells},
            )
            for run in runs
        ]
    if not found:
        raise BenchCoreError(
            f"{name!r} is no file, and no commit, machine or version of torch with results. {_there_is(store)}"
        )
    return found


def run_of(store: Store, name: str, *, resolve: Callable[[str], str] = lambda name: "") -> Run:
    """The last measured run of a commit, or of a machine. For their names see `chosen`.

    Raises:
        BenchCoreError: if there is none, or if the name is ambiguous.
    """
    runs = [run for run in store.runs if run.machine == name] or _runs(store, name, None, resolve)
    if not runs:
        raise BenchCoreError(
            f"{name!r} is no file or folder, and no commit or machine with results. {_there_is(store)}"
        )
    return max(runs, key=lambda run: run.measured)


def _runs(store: Store, name: str, machine: str | None, resolve: Callable[[str], str]) -> list[Run]:
    """The runs of the commit with a name; empty if no commit has it.

    Raises:
        BenchCoreError: if several commits have the name, or its commit has no results.
    """
    runs = [run for run in store.runs if run.commit is not None and machine in (None, run.machine)]
    hashes = {str(run.commit) for run in runs}
    prefix = name.lower() if re.fullmatch(r"[0-9a-fA-F]{4,}", name) else None
    meant = {known for known in hashes if prefix is not None and known.startswith(prefix)}
    if len(meant) > 1:
        raise BenchCoreError(
            f"{name} is the beginning of several commits: {shortened(sorted(meant))}. Use a longer one."
        )
    if not meant:
        commit = resolve(name)
        if commit and commit not in hashes:
            raise BenchCoreError(
                f"the commit {_called(name, commit)} has no results.{_judged(store, commit)} {_there_is(store)}"
            )
        meant = {commit} if commit else set()
    return [run for run in runs if run.commit in meant]


def _called(name: str, commit: str) -> str:
    return commit[:8] if commit.startswith(name.lower()) else f"{name} ({commit[:8]})"


def _judged(store: Store, commit: str) -> str:
    """A sentence on the last gate whose head is this commit; "" without one."""
    for found in reversed(store.gates):
        base, head = found.summary.base, found.summary.head
        if head.commit == commit and base.commit is not None and not (base.changed or head.changed):
            command = shlex.join(["bench-core", "gate", base.commit[:8], commit[:8], *found.summary.asked.options])
            return (
                f" A gate has judged it ({found.summary.verdict} against {base.name}): `{command}` "
                "continues from its evidence."
            )
    return ""


def _file(path: Path) -> Stored:
    file = read(path)
    return Stored(
        name=path.name,
        machine=file.machine.get("machine", ""),
        commit=file.commit,
        description=file.machine,
        cells={cell.name: cell for cell in file.cells},
    )


def _there_is(store: Store) -> str:
    """A sentence that lists the names with results."""
    commits = list(dict.fromkeys(str(run.commit)[:8] for run in store.runs if run.commit is not None))
    torch = sorted({run.torch for run in store.runs if run.torch})
    parts = (("commits", commits), ("machines", list(store.machines)), ("torch", torch))
    return f"There are results of: {'; '.join(f'{what} {shortened(names)}' for what, names in parts if names)}."
