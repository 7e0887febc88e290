"""What a report says: the records between the analyses, which compute them, and the pages, which show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench_core.records.commit import LoggedCommit
from bench_core.records.gate import VerdictName
from bench_core.records.results import CellResult, Tally, Tried
from bench_core.records.run import Interval, LeftOut


@dataclass(frozen=True)
class RunKey:
    """What tells one run of the suite from the others: cells with the same key were measured together.

    Attributes:
        file: the name of its result file, which gathers all runs of one commit in one environment.
        began: ISO 8601, UTC; "" where that was not stored, and the file then counts as one run.
    """

    file: str
    began: str


@dataclass(frozen=True)
class Measured:
    """The newest stored value of a cell in one subject.

    Attributes:
        run: that it was measured in.
        commit: that it was measured of, in full; None outside the history.
        date: when, ISO 8601, UTC.
        reproduce: a shell command that measures it again.
    """

    cell: CellResult
    run: RunKey
    commit: str | None
    date: str
    reproduce: str


@dataclass(frozen=True)
class Subject:
    """One machine with one environment, of commits or outside the history: a column of the report.

    Attributes:
        name: short and unique in the report, e.g. ``epyc-2core, torch 2.13.0+cpu``.
        machine: asv's name of it.
        description: asv's description of the machine, and the versions of what the environment holds.
        caches: name to bytes, smallest first, e.g. ``{"L1d": 32768}``; empty where they were not stored.
        cells: by name.
        failed: cells that have no value because they failed.
    """

    name: str
    machine: str
    description: Mapping[str, str]
    caches: Mapping[str, int]
    cells: Mapping[str, Measured]
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Point:
    """A cell on an axis.

    Attributes:
        n: elements, modules, parameters, ...: the value of the axis.
        label: the parameter's value as stored, e.g. ``256x256``.
        value: seconds (or the unit of the series) a call.
    """

    cell: str
    n: float
    label: str
    value: Interval


@dataclass(frozen=True)
class Series:
    """One operation along one axis: a line of a chart.

    Attributes:
        benchmark, unit: as of the cells.
        fixed: the other parameters.
        axis: the parameter that varies, e.g. ``size``.
        counts: what `Point.n` counts: ``elements``, ``modules``, ``parameters``, ``tensors``, ``uses``, ...
        item_bytes: of an element, where the axis counts elements of a known dtype; else None.
        points: in the order of `n`; at least two.
    """

    subject: str
    benchmark: str
    unit: str
    fixed: Mapping[str, str]
    axis: str
    counts: str
    item_bytes: int | None
    points: tuple[Point, ...]

    @property
    def family(self) -> str:
        return self.benchmark.split(".", 1)[0]

    @property
    def label(self) -> str:
        """The values of the fixed parameters: what tells it from the other lines of its benchmark."""
        return ", ".join(self.fixed.values())


Bound = Literal["memory", "generator", "interpreter"]


@dataclass(frozen=True)
class Limit:
    """How far a cell is from what the hardware, or the interpreter, can do.

    Attributes:
        bound: by what it is limited at best.
        achieved, ceiling: bytes a second, numbers a second, or (interpreter) items a second.
        share: achieved over ceiling, from both intervals; above 1 it does better than the yardstick. Its ends are not
            known where the cell and its yardsticks are of two runs, or where the yardsticks do not
            tell of the cell's size: it lies outside of theirs, or a cache ends between theirs.
        yardsticks: the cell, or the two of neighbouring sizes, that the ceiling was measured with.
        level: where the data lie, e.g. ``L2`` or ``memory``; "" where caches are unknown or do not matter.
        to_gain: seconds a call between the cell and its ceiling; 0 at the ceiling or above it, and always for the
            interpreter: no job can be the empty loop that it is held to.
    """

    subject: str
    cell: str
    bound: Bound
    achieved: float
    ceiling: float
    share: Interval
    yardsticks: tuple[str, ...]
    level: str
    to_gain: float

    @property
    def yardstick(self) -> str:
        """The yardsticks in words."""
        return " and ".join(self.yardsticks)


@dataclass(frozen=True)
class Residual:
    """How a point departs from its law.

    Attributes:
        relative: measured over fitted, less 1.
        departs: by more than its own uncertainty and what the law leaves open.
        why: what may be behind it: ``cache edge: leaves L2``, ``not known``; "" if it does not depart.
    """

    point: Point
    fitted: float
    relative: float
    departs: bool
    why: str


@dataclass(frozen=True)
class Growth:
    """The fitted law of a series: ``fixed + each n``, and ``each_beyond`` for every unit beyond the bend.

    Attributes:
        fixed: seconds a call that do not depend on n.
        each: seconds for each element, module, ...
        bend: the n where the cost of a further one changes; None for a straight law.
        each_beyond: seconds for each one beyond the bend; equal to `each` without one.
        exponent: the local slope of log time over log n at the largest n: 1 is linear, 2 quadratic.
        follows: the law describes the points; where it does not, `exponent` says more than `fixed` and `each`.
        sentence: the law in words.
    """

    series: Series
    fixed: float
    each: float
    bend: float | None
    each_beyond: float
    exponent: float
    follows: bool
    residuals: tuple[Residual, ...]
    sentence: str


@dataclass(frozen=True)
class Rival:
    """One way to do a job.

    Attributes:
        ratio: its value over that of the best one of the same job; 1 with interval 1 to 1 for the best itself.
        tied: it cannot be told from the best.
        unties: it leaves tied parameters untied, so it does less.
    """

    name: str
    cell: str
    value: Interval
    ratio: Interval
    tied: bool
    unties: bool


@dataclass(frozen=True)
class Ranking:
    """The ways to do one job at one size, the best first."""

    label: str
    rivals: tuple[Rival, ...]


@dataclass(frozen=True)
class Job:
    """A job of the suite that has rivals: one benchmark, one device, ..., at every size.

    Attributes:
        rivals: the parameter whose values are the ways.
        fixed: parameters that are the same in all rankings.
        axis: the parameter that tells the rankings apart; "" where there is one ranking.
        rankings: in the order of the axis.
        flips: where the best way changes, in words: ``data up to 64x64, no_grad from 256x256``; () where it does not.
        advice: one sentence, never stronger than the intervals allow.
    """

    subject: str
    benchmark: str
    rivals: str
    fixed: Mapping[str, str]
    axis: str
    rankings: tuple[Ranking, ...]
    flips: tuple[str, ...]
    advice: str


@dataclass(frozen=True)
class Crossing:
    """Two values of a parameter against each other along an axis: cpu and cuda, float32 and bfloat16, 1 and all.

    Attributes:
        parameter, first, second: e.g. ``device``, ``cpu``, ``cuda``.
        fixed: the other parameters.
        ratios: at each label its n, and second over first.
        crossings: the n where the faster one changes, in the order of n; () where one is faster at every size.
        sentence: in words.
    """

    subject: str
    benchmark: str
    parameter: str
    first: str
    second: str
    fixed: Mapping[str, str]
    axis: str
    ratios: tuple[tuple[str, float, Interval], ...]
    crossings: tuple[float, ...]
    sentence: str


@dataclass(frozen=True)
class Moment:
    """A commit on the axis of the history.

    Attributes:
        commit: subject and author are "" where git does not know it.
        link: to its page; "" without.
        torch: the version that was measured with.
        upgraded: from which version torch was upgraded here; "" where it was not.
        verdicts: of gates whose head is this commit: (base's name, verdict, reason).
    """

    commit: LoggedCommit
    link: str
    torch: str
    upgraded: str
    verdicts: tuple[tuple[str, VerdictName, str], ...] = ()


@dataclass(frozen=True)
class ChangePoint:
    """A step in a cell's history.

    Attributes:
        moment: the index of the first moment after the step.
        ratio: the level after over the level before.
    """

    moment: int
    ratio: float


@dataclass(frozen=True)
class Track:
    """One cell over the commits.

    Attributes:
        values: (index of the moment, value), in order.
        changes: what the method finds; () also where there are too few values to tell.
    """

    cell: str
    unit: str
    values: tuple[tuple[int, Interval], ...]
    changes: tuple[ChangePoint, ...]


@dataclass(frozen=True)
class Apart:
    """A gate whose head is no commit: a working tree, or an install.

    Attributes:
        date: ISO 8601, UTC.
        base, head: their names.
    """

    date: str
    base: str
    head: str
    verdict: VerdictName
    reason: str


@dataclass(frozen=True)
class History:
    """A machine's cells over the commits that it has measured, or that a gate on it has judged, oldest first.

    Attributes:
        method: how change points are found, how many of them may be none, and what is missed, in sentences.
        apart: gates that have no place on the axis.
    """

    machine: str
    moments: tuple[Moment, ...]
    tracks: tuple[Track, ...]
    method: str
    apart: tuple[Apart, ...] = ()


@dataclass(frozen=True)
class TrustedRun:
    """A run that values of a subject are of.

    Attributes:
        commit: as of `Measured`.
        cells: how many of the values are of it.
        doctor: what `bench-core doctor` said when it began, (level, sentence, what to do) each; None where that was
            not stored.
    """

    run: RunKey
    commit: str | None
    cells: int
    doctor: tuple[tuple[str, str, str], ...] | None


@dataclass(frozen=True)
class Trust:
    """How far to believe a subject's figures.

    Attributes:
        noise: quartiles of the cells' relative half widths (of 99 % intervals), of cells that have one.
        known: cells that have an interval.
        unknown: cells that have none.
        unsure: cells uncertain by over 10 %.
        runs: that the values are of, the latest first.
        controls: the tally of the gates on this machine; None without gates.
        method: how a figure is measured, in sentences.
    """

    subject: str
    noise: tuple[float, float, float]
    known: int
    unknown: int
    unsure: tuple[str, ...]
    runs: tuple[TrustedRun, ...]
    controls: Tally | None
    method: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Everything that a report says, in whatever form.

    Attributes:
        date: when it was made, ISO 8601, UTC.
        version: of bench_core.
        tried: trials of the gate on these machines.
        left_out: files and parts of them that could not be used, and why.
        published: the address of asv's own pages, relative to the report; "" where `asv publish` has not been run.
    """

    date: str
    version: str
    subjects: tuple[Subject, ...]
    series: tuple[Series, ...]
    limits: tuple[Limit, ...]
    growths: tuple[Growth, ...]
    jobs: tuple[Job, ...]
    crossings: tuple[Crossing, ...]
    histories: tuple[History, ...]
    trust: tuple[Trust, ...]
    tried: tuple[Tried, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    published: str = ""


@dataclass(frozen=True)
class Compared:
    """A cell in two results.

    Attributes:
        ratio: second over first, from both intervals; they are not of one run, so it tells only of large changes.
        differs: the interval excludes 1 by more than a difference of layout or machine state usually makes.
        changed: there is no interval, and the values are further apart than two readings of the same code usually are.
    """

    cell: str
    unit: str
    first: Interval
    second: Interval
    ratio: Interval
    differs: bool
    changed: bool
