"""Measures jobs in rounds over all of them, until each is precise or the budget is used up.

Each round has its own nursery, which has imported the suite. It forks workers one after the other, each of which goes
through some of the jobs.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from bench_core import clock
from bench_core.analysis.rounds import Reading
from bench_core.errors import BenchCoreError
from bench_core.records.rounds import Group, RoundsProgress
from bench_core.records.run import is_memoized
from bench_core.run.jobs import Job
from bench_core.run.order import OrderEffects
from bench_core.run.parents import ROLE, Measuring, Parents
from bench_core.run.schedule import AGAINST_OTHERS, EFFORT, Course, chosen, chunks, doubts
from bench_core.workers import child
from bench_core.workers.messages import (
    CellBegun,
    CellFailed,
    CellLeft,
    CellRead,
    CellTimed,
    Effort,
    GroupTask,
    Log,
    Lost,
    NurseryAnswer,
    PairDone,
    PairTask,
    WorkerBroken,
    WorkerRefused,
)

SHOW_EVERY = 0.25
"""The progress is shown at most every so many seconds."""

PROCESSES_TO_MEMOIZE = 2
"""A first call that takes much longer is believed if it was seen in so many processes: one may have been disturbed."""

MOST_SPOILED = 3
"""A cell is left out after more than this many visits whose samples do not count: it is the cause itself."""

MOST_FAULTS = 3
"""Measuring ends after more than this many lost processes without a cell to blame."""


Yardsticks = Callable[[Mapping[str, float]], Mapping[str, Collection[str]]]
"""Takes the time of each cell in seconds, and returns the yardsticks of each cell that is to be sampled in turn with
them."""


class Measurement:
    """A run of some jobs.

    Args:
        yardsticks: chooses the yardsticks after the first round.

    Attributes:
        courses: the timed jobs.
        readings: memory and tracked values, by cell.
        failed, skipped: causes and reasons, by cell.
        round: the number of rounds that have begun.
        interrupted: whether Ctrl-C has ended it.
    """

    def __init__(self, jobs: Sequence[Job], how: Measuring, yardsticks: Yardsticks = lambda times: {}) -> None:
        self.courses = [Course(job, job.cells) for job in jobs if job.timed]
        self.readings: dict[str, float] = {}
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self._order_effects = OrderEffects()
        self._shown = -SHOW_EVERY
        self.round = 0
        self.interrupted = False
        self._unread = [Course(job, job.cells) for job in jobs if not job.timed]
        self._doubt: dict[str, float] = {}
        self._changes: dict[str, None] = {}
        self._memoized: dict[str, int] = {}
        self._spoiled: dict[str, int] = {}
        self._how = how
        self._yardsticks = yardsticks
        self._order = random.Random(how.seed)
        self._preload: dict[str, None] = {}
        self._began = clock.host()
        self._pairs = 0
        self._faults = 0
        self._taking: _Visiting | None = None
        self._untimed = False
        self._took: float | None = None

    @property
    def seconds(self) -> float:
        """The seconds of timing so far."""
        return clock.host() - self._began if self._took is None else self._took

    @property
    def _left(self) -> float:
        return self._how.budget - self.seconds

    def run(self, show: Callable[[RoundsProgress], None], after_round: Callable[[], object] = lambda: None) -> None:
        """Measure. What was measured before Ctrl-C is kept.

        Args:
            show: takes the progress after every job.
            after_round: called after every round.

        Raises:
            BenchCoreError: if workers cannot be started.
        """
        self._began = clock.host()
        with child.Watchdog() as watchdog:
            self._parents = Parents(self._how, watchdog, self._order, self._preload)
            try:
                while not self._over(self._parents.wait) and (todo := self._chosen(self._left - self._parents.wait)):
                    self._take_round(todo, show)
                    after_round()
                self._read_the_rest(show)
            except KeyboardInterrupt:
                self.interrupted = True
            finally:
                self._parents.close()

    def _over(self, reserve: float = 0.0) -> bool:
        """Whether the budget is used up, less some seconds. However small it is, something is found out, if only about
        one cell."""
        known = self.readings or self.failed or self.skipped or any(course.visits for course in self.courses)
        visited = min((len(one.visits) for one in self.courses if not one.closed), default=self._how.rounds)
        return self._left <= reserve and bool(known) and not self._untimed and visited >= self._how.rounds

    def _read_the_rest(self, show: Callable[[RoundsProgress], None]) -> None:
        """Read memory and tracked values, each once. This is no timing, so the budget does not count it."""
        self._untimed, self._took = True, self.seconds
        while todo := [course for course in self._unread if not course.closed]:
            self._take_round(todo, show)

    def _chosen(self, left: float) -> list[Course]:
        self._doubt = doubts(self.courses)
        return chosen(self.courses, self._doubt, left, self._order, max(1, self._how.rounds))

    def _take_round(self, todo: list[Course], show: Callable[[RoundsProgress], None]) -> None:
        """Visit the jobs with a new parent."""
        number = self.round
        self.round += not self._untimed
        self._taking = None
        nursery = self._parents.next()
        try:
            nursery.answer()
            self._parents.is_ready(0.0 if self._untimed or not number else math.fsum(one.cost for one in todo))
            self._visit(todo, nursery, number, show)
            # As long as the next parent is not ready, the same jobs are visited once more.
            while self._parents.still_waits() and not self._over() and (todo := self._chosen(self._left)):
                self._visit(todo, nursery, number, show)
        except child.LostError as error:
            self._lose(f"its parent {error}")
        finally:
            nursery.close()
        self._parents.judge([course.visits[number].lost for course in self.courses if number in course.visits])
        self._add_yardsticks(number)

    def _visit(
        self, todo: Sequence[Course], nursery: child.Nursery, number: int, show: Callable[[RoundsProgress], None]
    ) -> None:
        """Visit the jobs, chunk by chunk, until all are visited or the budget is used up."""
        waiting = list(todo)
        while waiting and not self._over():
            chunk = chunks(waiting)[0]
            waiting = waiting[len(chunk) :]
            left_over: dict[str, Course] = {}
            for courses, groups in self._tasks(chunk):
                unfinished = self._take_pair(courses, groups, nursery, number, show)
                left_over.update((course.job.name, course) for course in unfinished)
                if self._over():
                    return
            waiting = [*left_over.values(), *waiting]

    def _tasks(self, chunk: Sequence[Course]) -> Iterator[tuple[list[Course], list[GroupTask]]]:
        """The work of each worker: all jobs of the chunk, or each cell of a job by itself."""
        course = chunk[0]
        if course.alone:
            suspect = course.apart and course.apart[0]
            for cell in sorted(course.members, key=lambda cell: cell != suspect):
                if course.alone:  # otherwise the suspect has failed by itself
                    yield [course], [GroupTask((course.job.task(cell),), None, effort(course.job))]
        else:
            yield (
                list(chunk),
                [GroupTask(tuple(map(one.job.task, one.members)), one.plan, effort(one.job)) for one in chunk],
            )

    def _take_pair(
        self,
        courses: Sequence[Course],
        groups: Sequence[GroupTask],
        nursery: child.Nursery,
        number: int,
        show: Callable[[RoundsProgress], None],
    ) -> list[Course]:
        """Let one worker visit the jobs. Returns those that it did not come to, or did not finish."""
        pair = PairTask(
            self._pairs, self._how.seed, ROLE, {ROLE: ROLE}, tuple(groups), self._how.timeout, courses[0].job.free
        )
        self._pairs += 1
        taking = self._taking = _Visiting(courses, groups)
        for answer in child.run_pair(nursery, pair):
            match answer:
                case PairDone():
                    self._preload.update(dict.fromkeys(answer.imported))
                case WorkerRefused():
                    raise BenchCoreError(answer.cause)
                case WorkerBroken():
                    self._lose(answer.cause)
                case Lost():
                    self._lose(answer.cause, answer.cell, hangs=answer.hangs)
                case _:
                    self._enter(taking, answer, number)
                    if self.seconds - self._shown >= SHOW_EVERY:  # not for every cell, since it takes time
                        self._shown = self.seconds
                        show(self.progress())
            if self._over():
                break
        return [course for course in taking.unfinished if not course.closed]

    def _enter(self, taking: _Visiting, answer: NurseryAnswer, number: int) -> None:
        match answer:
            case CellBegun():
                taking.begin()
            case CellRead():
                course = taking.finish(answer.cell)
                course.leave_out(answer.cell)
                if answer.nothing:
                    self.failed[answer.cell] = "it tracks nothing (None)"
                else:
                    self.readings[answer.cell] = answer.value
            case CellTimed():
                self._enter_time(taking, answer, number)
            case CellFailed():
                course = taking.finish(answer.cell)
                self._fail(course, answer.cell, answer.cause, answer.stage, skipped=answer.skipped)
                taking.take_again()
            case CellLeft():
                taking.finish(answer.cell)
                taking.take_again()

    def _enter_time(self, taking: _Visiting, answer: CellTimed, number: int) -> None:
        course = taking.finish(answer.cell)
        if answer.log.spoiled:
            self._spoil(taking, course, answer)
            return
        seconds = lower_quartile(answer.log)
        if 0 < seconds < math.inf:
            taking.logs.setdefault(course.job.name, {})[answer.cell] = answer.log
            course.numbers[answer.cell] = answer.log.number
            self._faults = 0
            self._note(answer.cell, answer.log, seconds)
        else:
            cause = f"its clock read {seconds:g} s for a sample, which is no time"
            self._leave(course, answer.cell, cause, self.failed)
        if answer.settled is not None and len(answer.settled.plan.places) == len(course.members):
            course.plan = None if course.alone else answer.settled.plan
        if not taking.expects(course) and (logs := taking.logs.get(course.job.name)):
            self._order_effects.add(course.job.name, logs)
            course.enter(number, {name: lower_quartile(log) for name, log in logs.items()}, lost_share(logs))
            course.cost = taking.spent() * (len(course.members) if course.alone else 1)

    def _spoil(self, taking: _Visiting, course: Course, answer: CellTimed) -> None:
        """Visit a job again whose samples do not count, unless that has happened too often."""
        self._spoiled[answer.cell] = self._spoiled.get(answer.cell, 0) + 1
        if self._spoiled[answer.cell] > MOST_SPOILED:
            self._leave(course, answer.cell, answer.log.spoiled[0], self.failed)
        self._changes[f"{answer.log.spoiled[0]}, so a visit of {course.job.name} does not count."] = None
        taking.take_again()

    def _lose(self, cause: str, cell: str = "", *, hangs: bool = False) -> None:
        """Blame the cell that a lost worker or nursery was at. If it is unknown, the jobs that were not finished are
        visited one by one, and then cell by cell, until a single one is left to blame."""
        taking = self._taking
        if taking is None or not taking.unfinished:
            self._fault(cause)
        elif cell and taking.course is not None:
            self._fail(taking.course, cell, cause, "hangs" if hangs else "dies")
        elif len(taking.unfinished) > 1:
            self._fault(cause)
            for course in taking.unfinished:
                course.suspected = True
        else:
            (course,) = taking.unfinished
            cells = taking.cells_of(course)
            self._fail(course, cells[0] if len(cells) == 1 else "", cause, "dies")

    def _fail(self, course: Course, cell: str, cause: str, stage: str, *, skipped: bool = False) -> None:
        """Leave a cell out, unless it may have failed only because of the others beside it."""
        said = cause if stage in ("hangs", "dies") else f"{stage}: {cause}"
        if skipped:
            self._leave(course, cell, cause, self.skipped)
        elif len(course.members) > 1 and not course.alone and stage != "hangs":
            course.apart, course.plan = (cell, said), None
        else:
            self._leave(course, cell, said, self.failed)

    def _leave(self, course: Course, cell: str, cause: str, causes: dict[str, str]) -> None:
        if cell in course.cells:  # a yardstick is timed by itself too
            causes[cell] = cause
        course.leave_out(cell)

    @property
    def notes(self) -> tuple[str, ...]:
        """What makes a comparison doubtful, one sentence each."""
        apart = [(course.job.name, *course.apart) for course in self.courses if course.apart is not None]
        return (
            *self._changes,
            *self._order_effects.doubts().values(),
            *(
                f"{cell or 'A cell'} fails beside its rivals ({cause}), so {job} is taken in turn by process."
                for job, cell, cause in apart
            ),
        )

    def _note(self, cell: str, log: Log, seconds: float) -> None:
        if is_memoized(log.first, seconds):
            self._memoized[cell] = self._memoized.get(cell, 0) + 1
            if self._memoized[cell] == PROCESSES_TO_MEMOIZE:
                self._changes[
                    f"{cell}: its first call in a process takes over 1,000 times as long as the others: a cache "
                    "answers these, or the first one starts something. The time is that of the others."
                ] = None
        for changed in log.changed:
            self._changes[f"{cell} changes a setting for all cells after it ({changed})."] = None

    def _fault(self, error: object) -> None:
        self._faults += 1
        if self._faults > MOST_FAULTS:
            raise BenchCoreError(f"workers cannot be started: {error}")

    def _add_yardsticks(self, number: int) -> None:
        """Sample the cells that are near a limit in turn with its yardsticks, from the round after their first one."""
        new = [course for course in self.courses if not course.alone and list(course.visits)[:1] == [number]]
        held = self._yardsticks(self._times()) if new else {}
        for course in new:
            wanted = {name for cell in course.cells for name in held.get(cell, ())} - set(course.cells)
            if wanted:
                course.yardsticks = tuple(sorted(wanted))
                course.plan = None

    def _times(self) -> dict[str, float]:
        groups = [course.group for course in self.courses]
        reading = Reading(groups)
        return {cell: reading.time(cell).middle for group in groups for cell in group.cells if reading.seconds(cell)}

    @property
    def groups(self) -> tuple[Group, ...]:
        """What was measured of each timed job, and why its ratios are doubtful."""
        doubts = self._order_effects.doubts()
        return tuple(replace(course.group, doubt=doubts.get(course.job.name, "")) for course in self.courses)

    @property
    def unreached(self) -> tuple[str, ...]:
        times = self._times()
        timed = [cell for course in self.courses for cell in course.cells if cell not in times]
        return (*timed, *(cell for course in self._unread for cell in course.cells))

    def progress(self) -> RoundsProgress:
        counts: dict[str, list[int]] = {}
        for course in (*self.courses, *self._unread):
            timed = {cell for visit in course.visits.values() for cell in visit.seconds}
            precise = timed if self._doubt.get(course.job.name, math.inf) <= 1 else set()
            for cell in course.job.cells:
                family = counts.setdefault(cell.split(".", 1)[0], [0, 0, 0])
                family[0] += cell in timed or cell in self.readings
                family[1] += cell in precise or cell in self.readings
                family[2] += 1
        return RoundsProgress(
            round=self.round,
            read={name: (found[0], found[1], found[2]) for name, found in counts.items()},
            seconds=self.seconds,
            left=max(0.0, self._left, self._owed),
        )

    @property
    def _owed(self) -> float:
        """About how many seconds the rounds take that every job gets, however long they take."""
        known = [course.cost for course in self.courses if course.cost]
        usual = statistics.fmean(known) if known else 0.0
        return math.fsum(
            max(0, self._how.rounds - len(course.visits)) * (course.cost or usual)
            for course in self.courses
            if not course.closed
        )


def effort(job: Job) -> Effort:
    return AGAINST_OTHERS if job.timer else EFFORT


def lower_quartile(log: Log) -> float:
    """The time of a call from the samples of a visit, in seconds.

    Disturbances only make a sample longer. Of the lowest sample, the lower decile, the lower quartile and the median,
    the quartile was chosen by trial (docs/decisions.md).
    """
    if len(log.spans) < 2:
        return log.spans[0] / log.number
    return statistics.quantiles(log.spans, n=4, method="inclusive")[0] / log.number


def lost_share(logs: Mapping[str, Log]) -> float:
    """The share of a visit's time in which others had the core."""
    first = next(iter(logs.values()))
    lasted = math.fsum(first.by_host)
    return math.fsum(first.lost) / lasted if lasted > 0 else 0.0


class _Visiting:
    """The jobs that a running worker visits, one after the other. Jobs may have a cell in common, such as a
    yardstick."""

    def __init__(self, courses: Sequence[Course], groups: Sequence[GroupTask]) -> None:
        self._places = [
            (course, task.reported) for course, group in zip(courses, groups, strict=True) for task in group.cells
        ]
        self._begun = 0
        self._open = {(course.job.name, cell) for course, cell in self._places}
        self._again: set[str] = set()
        self._since = clock.host()
        self.logs: dict[str, dict[str, Log]] = {}

    @property
    def unfinished(self) -> list[Course]:
        """The jobs that must be visited again, and those that the worker did not finish."""
        names = self._again | {name for name, _ in self._open}
        return list({course.job.name: course for course, _ in self._places if course.job.name in names}.values())

    def begin(self) -> None:
        """The worker begins with the next cell, or with a job that it belongs to."""
        self._begun += 1

    @property
    def course(self) -> Course | None:
        """The job that the worker is at; None before the first one."""
        return self._places[self._begun - 1][0] if self._begun else None

    def cells_of(self, course: Course) -> list[str]:
        return [cell for other, cell in self._places if other is course]

    def expects(self, course: Course) -> bool:
        return any(name == course.job.name for name, _ in self._open)

    def finish(self, cell: str) -> Course:
        """The worker has reported this cell of the job that it is at."""
        course = self._places[self._begun - 1][0]
        self._open.discard((course.job.name, cell))
        return course

    def take_again(self) -> None:
        """The job that the worker is at must be visited again."""
        self._again.add(self._places[self._begun - 1][0].job.name)

    def spent(self) -> float:
        """The seconds since the last job was finished."""
        now = clock.host()
        spent, self._since = now - self._since, now
        return spent
