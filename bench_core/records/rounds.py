"""The record of a run of `bench-core run`: what each round has read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench_core.codec import LATER

SCHEMA = 1
"""Raise it whenever a number gets another meaning."""


@dataclass(frozen=True)
class Visit:
    """What one round has read of a group of cells, which were sampled in turn in one process.

    Attributes:
        round: its number. Each round has its own parent process.
        seconds: the time of a call of each cell, by name: the geometric mean over the passes of the round, each the
            lower quartile of the samples.
        lost: the share of the time in which other processes had the core.
    """

    round: int
    seconds: Mapping[str, float]
    lost: float = 0.0


@dataclass(frozen=True)
class Group:
    """Cells that were sampled in turn: all ways to do one job, or a cell without rivals; and the yardsticks that they
    are held to.

    Attributes:
        job: the name of the job; that of the cell if it has no rivals.
        cells: the names of the cells.
        yardsticks: the names of the yardsticks.
        visits: one for each round that has visited the group.
        numbers: calls in a sample, by cell.
        samples: samples of each cell in a pass.
        doubt: why the ratios of its cells are doubtful, a sentence; "" if nothing speaks against them.
    """

    job: str
    cells: tuple[str, ...]
    yardsticks: tuple[str, ...] = ()
    visits: tuple[Visit, ...] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)
    samples: int = 0
    doubt: str = field(default="", metadata={LATER: True})


@dataclass(frozen=True)
class Rounds:
    """A run: one line of the file beside asv's results.

    Attributes:
        machine: asv's name of the machine.
        environment: asv's name of the environment.
        commit: the full hash; None outside the history.
        date: when the run began, ISO 8601, UTC.
        seconds: how long the timing took.
        budget: how long it was allowed to take, in seconds.
        rounds: the number of rounds.
        groups: the timed cells.
        readings: memory in bytes, and tracked values, by cell. Each was read once.
        failed: the causes of cells that failed, by name.
        skipped: the reasons of cells that skipped themselves, by name.
        unreached: cells that the budget did not reach.
        notes: what makes a comparison doubtful, one sentence each, such as a cell that slows others down.
        interrupted: whether Ctrl-C ended the run.
    """

    machine: str
    environment: str
    commit: str | None
    date: str
    seconds: float
    budget: float
    rounds: int
    groups: tuple[Group, ...]
    readings: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    unreached: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    schema: int = SCHEMA

    __hash__ = object.__hash__  # so that what is computed from a run can be cached


@dataclass(frozen=True)
class RoundsProgress:
    """A run that goes on, for the live display.

    Attributes:
        round: the number of the round, from 1.
        read: by family, the numbers of cells that have a time, that are precise enough, and that there are.
        seconds, left: seconds since the run began, and until it ends at the latest, as far as it is known.
    """

    round: int
    read: Mapping[str, tuple[int, int, int]]
    seconds: float
    left: float
