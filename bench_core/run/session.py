"""Measures cells, and stores what each round adds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from bench_core.analysis.limits import yardsticks_of
from bench_core.analysis.rounds import Reading
from bench_core.asv_config import asv_config
from bench_core.errors import InterruptedBeforeError
from bench_core.records.results import CellResult
from bench_core.records.rounds import Rounds, RoundsProgress
from bench_core.records.run import Interval
from bench_core.results.asv_run import ResultsOfRun, StoredTime, StoredValues
from bench_core.results.read import described
from bench_core.results.rounds import require_rounds, write_rounds
from bench_core.run.jobs import jobs_of
from bench_core.run.measure import Measurement
from bench_core.run.parents import measuring
from bench_core.timing.cells import Cell, SuiteDirectory

SECONDS = 17.0
SECONDS_A_CELL = 0.2
"""The default budget, and what each cell adds to it: 60 s for the quick profile of our own suite. Starting a round
takes 2 s if it imports torch, and eight rounds are wanted."""

ROUNDS = 2
"""Without a budget, every cell is timed in this many rounds, however long it takes: a ratio needs two."""


@dataclass(frozen=True)
class RunRequest:
    """What is asked of a run.

    Attributes:
        config: the ``asv.conf.json``.
        cells: the cells, which run here.
        commit: the hash to store the results under; None to keep them out of the history.
        machine: asv's name for this machine; None for asv's default.
        budget: seconds of timing; None for a default that grows with the number of cells.
        timeout: treat a worker as hung after this many seconds without a sample; None for what the suite allows.
        seed: all random orders are drawn from it; None for a random one.
    """

    config: Path
    suite: SuiteDirectory
    cells: Sequence[Cell]
    commit: str | None
    machine: str | None = None
    budget: float | None = None
    timeout: float | None = None
    seed: int | None = None

    @property
    def seconds(self) -> float:
        return self.budget or SECONDS + SECONDS_A_CELL * len(self.cells)


@dataclass(frozen=True)
class Finished:
    """A run that has ended.

    Attributes:
        path: the result file; None if no cell has a value, so that nothing is stored.
    """

    path: Path | None
    rounds: Rounds


def run(request: RunRequest, show: Callable[[RoundsProgress], None]) -> Finished:
    """Measure the cells. What was measured before Ctrl-C is stored.

    Args:
        show: takes the progress from time to time.

    Raises:
        BenchCoreError: if the results cannot be stored, or if workers cannot be started.
        InterruptedBeforeError: if nothing was measured before Ctrl-C.
    """
    stored = ResultsOfRun(
        request.config, request.suite.declared, request.cells, commit=request.commit, machine=request.machine
    )
    require_rounds(stored.path)
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    launch = asv_config(request.config).launch_method
    how = measuring(request.suite, request.cells, request.seconds, request.timeout, request.seed, launch)
    if request.budget is None:
        how = replace(how, rounds=ROUNDS)
    measurement = Measurement(jobs_of(request.cells), how, lambda times: held(request, times))

    def record() -> Rounds:
        return Rounds(
            machine=stored.machine,
            environment=stored.environment,
            commit=request.commit,
            date=date,
            seconds=measurement.seconds,
            budget=request.seconds,
            rounds=measurement.round,
            groups=tuple(group for group in measurement.groups if group.visits),
            readings=dict(measurement.readings),  # copies, since the measurement goes on to fill them
            failed=dict(measurement.failed),
            skipped=dict(measurement.skipped),
            unreached=measurement.unreached,
            notes=measurement.notes,
            interrupted=measurement.interrupted,
        )

    last: Rounds | None = None

    def store() -> Rounds:
        nonlocal last
        found = record()
        if found.groups or found.readings:
            # In this order, since a process that is killed in between leaves rounds that asv's file does not have yet:
            # its samples are then found among the first ones.
            write_rounds(stored.path, found, last, alone=request.commit is None)
            stored.put(measured(found))
            last = found
        return found

    measurement.run(show, after_round=store)
    found = record()
    if measurement.interrupted and not (found.groups or found.readings or found.failed):
        raise InterruptedBeforeError("interrupted before anything was timed; nothing is stored.")
    found = store()
    return Finished(stored.path if last else None, found)


def measured(found: Rounds) -> StoredValues:
    """What asv stores of a run."""
    reading = Reading(found.groups)
    times = {
        cell: StoredTime(
            value=reading.time(cell, confidence=0.99),
            samples=tuple(visit.seconds[cell] for visit in group.visits if cell in visit.seconds),
            number=group.numbers.get(cell, 1),
        )
        for group in found.groups
        for cell in group.cells
        if reading.seconds(cell)
    }
    return StoredValues(times, found.readings, found.failed, found.skipped)


def held(request: RunRequest, times: Mapping[str, float]) -> Mapping[str, Collection[str]]:
    """The yardsticks that each cell is to be sampled in turn with (see `bench_core.analysis.limits.yardsticks_of`)."""
    declared = {entry["name"]: entry for entry in request.suite.declared}
    results = [
        CellResult(
            **described(declared[cell.benchmark], cell.params),
            value=Interval(times[cell.name], times[cell.name], times[cell.name], confidence=0.0),
            samples=1,
            number=1,
        )
        for cell in request.cells
        if cell.name in times
    ]
    return yardsticks_of(results)
