"""The columns of a report: each machine with each torch, and the newest value of every cell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from bench_core.analysis.records import Measured, Subject
from bench_core.results.read import CellResult
from bench_core.results.store import Circumstances, Run, Store, iso_date


def subjects(store: Store) -> tuple[Subject, ...]:
    """Each machine with each version of torch, in the store's order of machines, the newest torch last.

    A value is the newest by the date of its commit, and not by when it was measured: older commits may be measured
    later. A cell that failed in the newest run that had it has no value.
    """
    runs: dict[tuple[str, str], list[Run]] = {}
    for run in store.runs:
        runs.setdefault((run.machine, run.torch), []).append(run)
    return tuple(
        _subject(_by_age(group), store.circumstances.get(machine, ()))
        for (machine, _), group in sorted(runs.items(), key=lambda item: (item[0][0], version_key(item[0][1])))
    )


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


def _subject(runs: list[Run], circumstances: Iterable[Circumstances]) -> Subject:
    """Args:
    runs: of one machine and torch, the newest last.
    """
    newest = runs[-1]
    values: dict[str, tuple[Run, CellResult]] = {}
    failed: set[str] = set()
    for run in runs:
        broken = set(run.failed)
        failed -= {cell.name for cell in run.cells} | {cell.benchmark for cell in run.cells}
        failed |= broken
        values = {name: value for name, value in values.items() if not {name, value[1].benchmark} & broken}
        values |= {cell.name: (run, cell) for cell in run.cells}
    return Subject(
        name=newest.machine + (f", torch {newest.torch}" if newest.torch else ""),
        machine=newest.machine,
        description=newest.description,
        caches=_caches(circumstances),
        cells={
            name: Measured(cell, run.commit, iso_date(cell.begun) or run.measured or run.committed, reproduce(cell))
            for name, (run, cell) in sorted(values.items())
        },
        failed=tuple(sorted(failed)),
    )


def _caches(circumstances: Iterable[Circumstances]) -> Mapping[str, int]:
    """As they were stored last."""
    known = [each.caches for each in circumstances if each.caches]
    return dict(sorted(known[-1].items(), key=lambda item: item[1])) if known else {}
