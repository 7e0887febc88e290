"""Chooses what the next round visits. Starts no process and reads no clock."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench_core.analysis.rounds import LOST, Reading
from bench_core.records.rounds import Group, Visit
from bench_core.run.jobs import Job
from bench_core.workers.messages import Effort, SamplingPlan

EFFORT = Effort(alternations=8, fewest=2, blocks=1, span=0.012)
"""The effort for one visit of a group. Rounds differ by more than the samples of one visit, since each has its own
process: so a round is short, and there are many (docs/decisions.md has the figures)."""

AGAINST_OTHERS = Effort(alternations=8, fewest=4, blocks=1, span=0.1, longer=33)
"""The effort beside another tool's timer, whose samples last 10 ms. In our first calls the caches still hold its code,
which shows in samples of 0.3 ms."""

FEW = 4
"""Every group is visited in this many rounds before any gets more for its noise."""

PRECISE = 0.02
"""Half the interval of a time, and of a ratio to the best, that is precise enough. Such a group is visited no more."""

CHUNK = 2.0
"""A worker visits groups that take about this many seconds together, and the next worker the next ones."""


@dataclass
class Course:
    """A job as it is measured.

    Attributes:
        yardsticks: cells of the family of limits that the job is held to.
        plan: how it is sampled; None before its first visit, and after its composition has changed.
        apart: the cell that failed beside the others, and the cause; None if none has. Its cells are then taken in turn
            by process.
        suspected: whether it may have ended a process that visited other jobs too. It is then visited by itself.
        visits: by round.
        passes: the logarithms of the times that each pass of a round has read, by round and cell.
        lost: the share of each pass of a round in which others had the core.
        numbers: calls in a sample, by cell.
        cost: seconds that its last visit took.
    """

    job: Job
    cells: tuple[str, ...]
    yardsticks: tuple[str, ...] = ()
    plan: SamplingPlan | None = None
    apart: tuple[str, str] | None = None
    suspected: bool = False
    visits: dict[int, Visit] = field(default_factory=dict)
    passes: dict[tuple[int, str], list[float]] = field(default_factory=dict)
    lost: dict[int, list[float]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    cost: float = 0.0

    @property
    def alone(self) -> bool:
        """Whether each cell is visited by a process of its own."""
        return self.job.alone or self.apart is not None

    @property
    def members(self) -> tuple[str, ...]:
        return (*self.cells, *self.yardsticks)

    @property
    def closed(self) -> bool:
        return not self.cells

    @property
    def group(self) -> Group:
        samples = self.plan.alternations if self.plan is not None else 0
        return Group(
            self.job.name, self.cells, self.yardsticks, tuple(self.visits.values()), dict(self.numbers), samples
        )

    def enter(self, number: int, seconds: Mapping[str, float], lost: float) -> None:
        """Add what a pass of a round has read, in seconds > 0. Passes of one round are averaged."""
        for cell, value in seconds.items():
            self.passes.setdefault((number, cell), []).append(math.log(value))
        self.lost.setdefault(number, []).append(lost)
        self.suspected = False
        merged = {cell: math.exp(statistics.fmean(logs)) for (at, cell), logs in self.passes.items() if at == number}
        self.visits[number] = Visit(number, merged, statistics.fmean(self.lost[number]))

    def leave_out(self, cell: str) -> None:
        """Go on without a cell that failed. If it failed by itself, it did not fail because of the others: they are
        visited side by side again."""
        self.cells = tuple(name for name in self.cells if name != cell)
        self.yardsticks = tuple(name for name in self.yardsticks if name != cell)
        self.plan = self.apart = None


def doubts(courses: Sequence[Course]) -> dict[str, float]:
    """How far each job is from being precise: the half width of its widest interval as a multiple of `PRECISE`;
    infinite if it is not known. At most 1 is precise enough."""
    reading = Reading([course.group for course in courses])
    return {course.job.name: _doubt(reading, course.group) for course in courses if not course.closed}


def _doubt(reading: Reading, group: Group) -> float:
    intervals = [reading.level(cell, group) for cell in group.cells if reading.seconds(cell, group)]
    if len(intervals) < len(group.cells):
        return math.inf
    intervals += [way.ratio for way in reading.ways(group)]
    widths = [
        math.log(found.high / found.low) / 2 if found.low > 0 and math.isfinite(found.high) else math.inf
        for found in intervals
    ]
    return max(widths) / PRECISE


def chosen(
    courses: Sequence[Course], doubt: Mapping[str, float], left: float, order: random.Random, least: int = 1
) -> list[Course]:
    """The jobs of the next round, in drawn order: those that are not precise, as many as there is time for. If there is
    too little, those with the fewest visits come first, and then those in the greatest doubt.

    Args:
        doubt: see `doubts`.
        left: seconds for the round.
        least: jobs with fewer visits are chosen even if there is no time left.
    """

    def calm(course: Course) -> int:
        return sum(visit.lost <= LOST for visit in course.visits.values())

    wanted = [course for course in courses if not course.closed and (calm(course) < FEW or doubt[course.job.name] > 1)]
    wanted.sort(key=lambda course: (min(calm(course), FEW), -doubt[course.job.name]))
    taken: list[Course] = []
    for course in wanted:
        if len(course.visits) < least or course.cost <= left:
            taken.append(course)
            left -= course.cost
    order.shuffle(taken)
    return taken


def chunks(courses: Iterable[Course], longest: float = CHUNK) -> list[list[Course]]:
    """The jobs of each worker. A job that needs a process of its own, and one that may use all cores, is by itself."""
    found: list[list[Course]] = []
    filled = math.inf
    for course in courses:
        single = course.alone or course.job.free or course.suspected
        cost = course.cost or 0.3
        if single or filled + cost > longest:
            found.append([])
            filled = 0.0
        found[-1].append(course)
        filled = math.inf if single else filled + cost
    return found
