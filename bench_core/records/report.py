"""The content of a report: records that the analyses compute and the pages show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench_core.records.accepted import AcceptedRegression
from bench_core.records.commit import LoggedCommit
from bench_core.records.gate import VerdictName
from bench_core.records.model import ModelRecord
from bench_core.records.results import CellResult, Tally, Tried
from bench_core.records.run import Interval, LeftOut


@dataclass(frozen=True)
class RunKey:
    """Identifies a run. Cells with the same key were measured together.

    Attributes:
        file: the name of the result file, which holds all runs of one commit in one environment.
        began: when the run began, ISO 8601, UTC; "" if that was not stored. Then the whole file counts as one run.
    """

    file: str
    began: str


@dataclass(frozen=True)
class Measured:
    """The newest stored value of a cell in one subject.

    Attributes:
        run: the run that measured it.
        commit: the full hash of the measured commit; None outside the history.
        date: when it was measured, ISO 8601, UTC.
        reproduce: a shell command that measures it again.
    """

    cell: CellResult
    run: RunKey
    commit: str | None
    date: str
    reproduce: str


@dataclass(frozen=True)
class Subject:
    """One machine with one environment: a column of the report. Results without a commit have their own column.

    Attributes:
        name: a short name, unique in the report, e.g. ``epyc-2core, torch 2.13.0+cpu``.
        machine: asv's name of the machine.
        description: asv's description of the machine, and the versions of the installed packages.
        caches: the sizes of the caches in bytes, the smallest first, e.g. ``{"L1d": 32768}``; empty if not stored.
        cells: the cells by name.
        failed: cells without a value because they failed.
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
        n: the position on the axis: a number of elements, modules, parameters, ...
        label: the parameter's value as stored, e.g. ``256x256``.
        value: seconds (or the unit of the series) per call.
    """

    cell: str
    n: float
    label: str
    value: Interval


@dataclass(frozen=True)
class Series:
    """One operation along one axis: a line of a chart.

    Attributes:
        benchmark, unit: those of the cells.
        fixed: the other parameters.
        axis: the parameter that varies, e.g. ``size``.
        counts: what `Point.n` counts: ``elements``, ``modules``, ``parameters``, ``tensors``, ``uses``, ...
        item_bytes: the bytes of an element, if the axis counts elements of a known dtype; else None.
        points: at least two points, ordered by `n`.
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
        """The values of the fixed parameters, which distinguish the lines of one benchmark."""
        return ", ".join(self.fixed.values())


Bound = Literal["memory", "generator", "interpreter"]


@dataclass(frozen=True)
class Limit:
    """How far a cell is from what the hardware, or the interpreter, can do.

    Attributes:
        bound: what limits the cell at best.
        achieved, ceiling: bytes per second, numbers per second, or (interpreter) items per second.
        share: achieved over ceiling, from both intervals. Above 1 the cell is better than the yardstick. The ends are
            unknown if the cell and its yardsticks were measured in two runs, or if the yardsticks do not cover the
            cell's size: it is outside their sizes, or a cache ends between them.
        yardsticks: the cell, or the two cells of neighbouring sizes, whose time gives the ceiling.
        level: where the data are, e.g. ``L2`` or ``memory``; "" if the caches are unknown or do not matter.
        to_gain: the seconds per call that the cell would gain at its ceiling; 0 at the ceiling and above. It is always
            0 for the interpreter, whose ceiling, an empty loop, no job can reach.
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
    """The difference between a point and its law.

    Attributes:
        relative: measured over fitted, less 1.
        departs: whether the difference is larger than the uncertainty of the point and of the law.
        why: a possible cause: ``cache edge: no longer fits in L2``, ``unknown``; "" if the point does not depart.
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
        fixed: the seconds per call that do not depend on n.
        each: the seconds for each element, module, ...
        bend: the n where the cost of a further element changes; None for a straight law.
        each_beyond: the seconds for each element beyond the bend; equal to `each` without a bend.
        exponent: the local slope of log time over log n at the largest n: 1 is linear, 2 quadratic.
        follows: whether the points follow the law. If not, use `exponent` instead of `fixed` and `each`.
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
        ratio: its value over that of the best way to do the same job; exactly 1 for the best way itself.
        tied: whether no difference from the best way could be shown.
        unties: whether it leaves tied parameters untied, and so does less work.
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
class RankedJob:
    """A job that can be done in several ways: one benchmark, one device, ..., at every size.

    Attributes:
        rivals: the parameter whose values are the ways.
        fixed: the parameters that are the same in all rankings.
        axis: the parameter that differs between the rankings; "" if there is only one.
        rankings: one for each value of the axis, in its order.
        flips: where the best way changes, in words: ``data up to 64x64, no_grad from 256x256``; () if it does not.
        advice: one sentence that claims no more than the intervals allow.
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
    """Two values of a parameter, compared along an axis: cpu and cuda, float32 and bfloat16, 1 and all threads.

    Attributes:
        parameter: the parameter, e.g. ``device``.
        first, second: its two values, e.g. ``cpu`` and ``cuda``.
        fixed: the other parameters.
        ratios: for each point of the axis its label, its n, and the ratio of the second value to the first.
        crossings: each n where the faster value changes, in order; () if one value is faster at every size.
        sentence: the result in words.
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
        commit: subject and author are "" if git does not know the commit.
        link: the address of its page; "" if there is none.
        torch: the version of torch.
        upgraded: the version that torch was upgraded from at this commit; "" if it was not upgraded.
        verdicts: (name of base, verdict, reason) of each gate whose head is this commit.
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
        changes: the steps that the method finds; () also if there are too few values.
    """

    cell: str
    unit: str
    values: tuple[tuple[int, Interval], ...]
    changes: tuple[ChangePoint, ...]


@dataclass(frozen=True)
class Apart:
    """A gate whose head is no commit, but a working tree or an install. `date` is when it began, ISO 8601, UTC."""

    date: str
    base: str
    head: str
    verdict: VerdictName
    reason: str


@dataclass(frozen=True)
class History:
    """A machine's cells over the commits that it has measured or judged in a gate, the oldest first.

    Attributes:
        method: sentences on how change points are found, how many may be false, and which are missed.
        apart: the gates that have no place on the axis.
    """

    machine: str
    moments: tuple[Moment, ...]
    tracks: tuple[Track, ...]
    method: str
    apart: tuple[Apart, ...] = ()


@dataclass(frozen=True)
class TrustedRun:
    """A run that measured some of a subject's values.

    Attributes:
        commit: see `Measured`.
        cells: the number of values that it measured.
        doctor: the findings of `bench-core doctor` when the run began: (level, sentence, what to do); None if they were
            not stored.
    """

    run: RunKey
    commit: str | None
    cells: int
    doctor: tuple[tuple[str, str, str], ...] | None


@dataclass(frozen=True)
class Trust:
    """How reliable a subject's figures are.

    Attributes:
        noise: the quartiles of the relative half widths of the 99 % intervals.
        known: the number of cells with an interval.
        unknown: the number of cells without an interval.
        unsure: the cells whose half width is over 10 %.
        runs: the runs that measured the values, the latest first.
        controls: the tally of the gates on this machine; None without gates.
        method: sentences on how the figures are measured.
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
class Answers:
    """The content of a report.

    Attributes:
        date: when the report was made, ISO 8601, UTC.
        version: the version of bench_core.
        tried: the trials of the gate on these machines.
        left_out: files and parts of files that could not be used, and why.
        published: the address of asv's own pages, relative to the report; "" if `asv publish` has not been run.
        accepted: the regressions that somebody has accepted in a pull request, oldest first.
        models: the newest record of each model on each machine.
    """

    date: str
    version: str
    subjects: tuple[Subject, ...]
    series: tuple[Series, ...]
    limits: tuple[Limit, ...]
    growths: tuple[Growth, ...]
    jobs: tuple[RankedJob, ...]
    crossings: tuple[Crossing, ...]
    histories: tuple[History, ...]
    trust: tuple[Trust, ...]
    tried: tuple[Tried, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    published: str = ""
    accepted: tuple[AcceptedRegression, ...] = ()
    models: tuple[ModelRecord, ...] = ()


@dataclass(frozen=True)
class Compared:
    """A cell in two results.

    Attributes:
        ratio: second over first, from both intervals. They are from different runs, so only large changes show.
        differs: whether the interval excludes 1 by more than two runs of the same code usually differ.
        changed: whether there is no interval, but the values differ by more than two readings of the same code do.
    """

    cell: str
    unit: str
    first: Interval
    second: Interval
    ratio: Interval
    differs: bool
    changed: bool
