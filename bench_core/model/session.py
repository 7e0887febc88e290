"""Measures a model, and returns its record."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import TypeVar

from bench_core import clock, cores
from bench_core.errors import BenchCoreError, InterruptedBeforeError
from bench_core.model.merging import merged
from bench_core.model.messages import (
    KEEPER,
    Access,
    Accessed,
    Answer,
    Check,
    CheckedWay,
    CheckedWays,
    Describe,
    Described,
    Failed,
    FindImports,
    FoundImports,
    FoundLimits,
    Go,
    Import,
    Imported,
    Limits,
    Planned,
    Refused,
    Save,
    Saved,
    Setting,
    Shard,
    Sharded,
    Task,
    Went,
)
from bench_core.records.model import Idiom, ModelProgress, ModelRecord, ModelSpec, RankTimes, Stage, Way
from bench_core.units import plural
from bench_core.units import size as size_text
from bench_core.units import time as time_text
from bench_core.watchdog import Watchdog
from bench_core.workers.child import GRACE, Child, LostError

T = TypeVar("T")

Show = Callable[[ModelProgress], None]

ROUNDS = 2
"""Every way is gone in this many rounds, however long it takes: a comparison needs two."""

START_SECONDS, ROUND_COUNT = 20.0, 40
"""Without a budget, a measurement takes these seconds, and so many times the plain start-up: 94 s for GPT-2 on two
cores."""

START_SHARE = 0.7
"""The share of the budget after which no further round of the ways to start up begins. The rest is for other jobs."""

PROCESSES, MOST_PROCESSES = 2, 8
"""The jobs on the parameters share the time that is left among this many processes, since an address that a process
draws once may decide a time. There are more if time is left, and only one if that takes all of it."""

LEAST_SAMPLES = 1.0
"""The least seconds for the samples of all these jobs in a process."""

MOST_SECONDS = 900.0
"""A budget that is chosen is not larger than this."""

RANK_SECONDS, RANK_SHARE = 1.0, 0.01
"""Each job of ranks is called for these seconds, or this share of a budget. There are ten, each several times."""

RANK_TIMEOUT = 3600.0
"""The most seconds that all ranks may take. One that hangs is noticed before."""

TIMEOUT = 600.0
"""The most seconds that anything may take whose usual time is unknown."""

LEAST_TIMEOUT, TIMES_PLAIN = 60.0, 10.0
"""A way may take these seconds, or so many times the time of the plain one."""

SHARE = 0.9
"""The share of the free disk that may be used."""

LEAST_LIMIT, LARGEST_LIMIT = 1 << 20, 1 << 30
"""The bandwidth of memory is measured on as many bytes as the model has, but at least and at most on these."""

OTHERS = "The same seed gives other random numbers than the plain way."
"""What is said of a way to initialize a model that draws in another order."""

NOTED_IMPORTS = 0.01
"""Name the time of the builder's imports if it is at least these seconds."""

UNREACHED = "the measurement ended before it"
"""Why a way has no times after Ctrl-C."""


class _Course:
    """A way that is being measured.

    Attributes:
        went: what its processes have found, a round each.
        others: see `CheckedWay`.
    """

    def __init__(self, plan: Planned) -> None:
        self.plan = plan
        self.why_not = plan.why_not
        self.wrong = ""
        self.others = False
        self.went: list[Went] = []

    @property
    def open(self) -> bool:
        return not self.why_not


def measure(
    spec: ModelSpec,
    *,
    budget: float | None,
    seed: int | None,
    commit: str,
    machine: Mapping[str, str],
    ranks: int,
    show: Show,
    timer: clock.Clock = clock.host,
) -> ModelRecord:
    """Measure a model. What was measured before Ctrl-C is returned.

    Args:
        budget: seconds in all; None for a default that grows with the model. At least `ROUNDS` rounds are measured.
        seed: all random orders are drawn from it; None for a random one.
        commit: the hash of the project's commit; "" outside of a repository.
        machine: asv's description of the machine.
        ranks: measure the sharded model with this many processes; 0 for not.
        show: takes the progress.
        timer: what the budget is counted with.

    Raises:
        BenchCoreError: if the model cannot be measured.
        InterruptedBeforeError: if nothing was measured before Ctrl-C.
    """
    with Watchdog() as watchdog:
        measurement = Measurement(spec, budget, random.Random(seed), watchdog, show, timer, ranks)
        try:
            measurement.run()
        except KeyboardInterrupt:
            if not any(course.went for course in measurement.courses):
                raise InterruptedBeforeError("interrupted before anything was timed; nothing is stored.") from None
            measurement.interrupted = True
        finally:
            measurement.close()
        return measurement.record(commit, machine)


class Measurement:
    """A measurement of one model."""

    def __init__(
        self,
        spec: ModelSpec,
        budget: float | None,
        order: random.Random,
        watchdog: Watchdog,
        show: Show,
        timer: clock.Clock,
        ranks: int = 0,
    ) -> None:
        self.setting = Setting(spec, str(watchdog.folder), cores.count())
        self.budget = budget
        self.courses: list[_Course] = []
        self.interrupted = False
        self._date = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._timer = timer
        self._began = timer()
        self._order = order
        self._watchdog = watchdog
        self._show = show
        self._round = 0
        self._first_way = 0.0
        self._plain_seconds = TIMEOUT
        self._limits: list[FoundLimits] = []
        self._accessed: list[tuple[Idiom, ...]] = []
        self._rank_count = ranks
        self._rank_times: tuple[RankTimes, ...] = ()
        self._rank_seconds = 0.0
        self._notes: list[str] = [*cores.notes()]
        self._keeper: Child[Setting | Task, Answer] | None = None
        self._described: Described | None = None

    # ------------------------------------------------------------------------------------------------------ the course

    def run(self) -> None:
        self._describe()
        if self._rank_count:
            self._shard(self._rank_count)
        self._import()
        self._save()
        self._check()
        self._measure_limits()
        self._measure_ways()
        self._measure_limits()
        self._measure_idioms()

    def _describe(self) -> None:
        described = self._expect(Described, Describe(TIMEOUT, self._rank_count), "build the model")
        self._described = described
        self.setting = replace(self.setting, block=described.block)
        self.courses = [_Course(plan) for plan in described.ways]

    def _import(self) -> None:
        """Find what building the model imports, and import it where no time is taken."""
        self._tell(self.setting)
        found = self._ask(FindImports(TIMEOUT), "find what building the model imports")
        modules = found.modules if isinstance(found, FoundImports) else ()
        self._tell(replace(self.setting, imports=modules))
        imported = self._ask(Import(TIMEOUT), "import what building the model imports")
        if not isinstance(found, FoundImports) or not isinstance(imported, Imported):
            failed = imported if isinstance(found, FoundImports) else found
            self._notes.append(f"What building the model imports counts in its construction: {_cause(failed)}.")
            self._tell(replace(self.setting, imports=()))
            return
        self._tell(replace(self.setting, preload=not imported.threads and not imported.accelerator))
        if imported.seconds >= NOTED_IMPORTS:
            self._notes.append(
                f"Building the model imports {plural(len(modules), 'module')}, which takes "
                f"{time_text(imported.seconds)} once in a process. No time includes this, since every way needs it."
            )

    def _shard(self, ranks: int) -> None:
        """Measure the sharded model. This comes first: what is refused is refused at once."""
        began, layout, block = self._timer(), self.described.layout, self.described.sharded
        whole = layout.bytes + layout.buffer_bytes
        bytes = self.described.sharded_bytes if block else whole
        doing = f"{ranks} ranks, with `{block}` alone" if block else f"{ranks} ranks"
        seconds = RANK_SECONDS if self.budget is None else min(RANK_SECONDS, RANK_SHARE * self.budget)
        found = self._ask(Shard(ranks, bytes, seconds, RANK_TIMEOUT, block), doing)
        if isinstance(found, Refused):
            raise BenchCoreError(found.cause)
        if isinstance(found, Sharded):
            self._rank_times = found.times
            if block:
                self._notes.append(
                    f"The ranks sharded `{block}` alone, {size_text(bytes)} of {size_text(whole)}. All of it would "
                    "take them many minutes. Their times are of this part, and not extrapolated."
                )
            if ranks > cores.count():
                self._notes.append(f"{ranks} ranks shared {cores.count()} cores: with a core each, they are faster.")
        else:
            self._notes.append(f"The sharded model could not be measured: {_cause(found)}.")
        self._rank_seconds = self._timer() - began

    def _save(self) -> None:
        described = self.described
        bytes = described.block_bytes or described.layout.bytes + described.layout.buffer_bytes
        disk = described.disk
        for format in dict.fromkeys(course.plan.format for course in self.courses if course.plan.format):
            if format == described.given and not described.block:
                continue
            if bytes > SHARE * disk:
                why = f"a checkpoint of {size_text(bytes)} does not fit on the disk, with {size_text(disk)} free"
            else:
                found = self._ask(Save(format, TIMEOUT), f"write a checkpoint, {format}")
                why = "" if isinstance(found, Saved) else f"no checkpoint can be written: {_cause(found)}"
                disk -= found.bytes if isinstance(found, Saved) else 0
            for course in self.courses:
                if why and course.plan.format == format and course.open:
                    course.why_not = why

    def _check(self) -> None:
        for job in dict.fromkeys(course.plan.job for course in self.courses):
            waiting = [course for course in self.courses if course.plan.job == job and course.open]
            began = self._timer()
            if waiting and not self._check_together(waiting):
                for course in waiting:
                    self._check_together([course])
            if job == "load" and waiting:
                self._plain_seconds = min(TIMEOUT, self._timer() - began)

    def _check_together(self, courses: list[_Course]) -> bool:
        """Check these ways in one process. Returns whether it did; a single way is to blame if it did not."""
        names = tuple(course.plan.name for course in courses)
        found = self._ask(Check(names, TIMEOUT), f"check {courses[0].plan.job}")
        if isinstance(found, CheckedWays):
            by_name: dict[str, CheckedWay] = {each.name: each for each in found.ways}
            for course in courses:
                result = by_name[course.plan.name]
                course.why_not, course.wrong, course.others = result.why_not, result.wrong, result.others
        elif len(courses) == 1:
            courses[0].why_not = _cause(found)
        return isinstance(found, CheckedWays)

    def _measure_limits(self) -> None:
        described = self.described
        whole = described.block_bytes or described.layout.bytes
        bytes = min(max(whole, LEAST_LIMIT), LARGEST_LIMIT, described.available // 4)
        found = self._ask(Limits(bytes, TIMEOUT), "memory bandwidth")
        if isinstance(found, FoundLimits):
            self._limits.append(found)

    def _measure_ways(self) -> None:
        lasts = 0.0
        self._first_way = self._timer()
        while self._round < ROUNDS or self._timer() + lasts < self._began + START_SHARE * (self._ends - self._began):
            ways = [course for course in self.courses if course.open]
            if not ways:
                return
            self._order.shuffle(ways)
            self._round += 1
            began = self._timer()
            for course in ways:
                self._go(course)
            lasts = self._timer() - began

    def _measure_idioms(self) -> None:
        """Measure the jobs on the parameters in several processes, as the budget has room for."""
        costs = least = 0.0
        for number in range(1, MOST_PROCESSES + 1):
            left = self._ends - self._timer()
            if number > 1 and left < costs + least:
                return
            began = self._timer()
            samples = max(LEAST_SAMPLES, left / max(1, PROCESSES + 1 - number) - costs)
            found = self._ask(Access(samples, TIMEOUT + samples), f"jobs on the parameters, process {number}")
            if not isinstance(found, Accessed):
                self._notes.append(f"The jobs on the parameters were not measured: {_cause(found)}.")
                return
            self._accessed.append(found.idioms)
            costs, least = found.seconds, self._timer() - began - found.seconds

    def _go(self, course: _Course) -> None:
        plan = course.plan
        found = self._ask(Go(plan.name, self._timeout), f"{plan.job}, {plan.name}")
        if not isinstance(found, Went):
            course.why_not = _cause(found)
            return
        course.went.append(found)

    @property
    def _timeout(self) -> float:
        return max(LEAST_TIMEOUT, TIMES_PLAIN * self._plain_seconds)

    @property
    def _ends(self) -> float:
        """When the measurement shall end."""
        if self.budget is not None:
            return self._began + self.budget
        plain = [sum(course.went[0].seconds) for course in self.courses if course.went][:1]
        seconds = START_SECONDS + ROUND_COUNT * (plain[0] if plain else 0.0)
        return self._began + self._rank_seconds + min(MOST_SECONDS, seconds)

    def _needed(self, now: float) -> float:
        """The seconds until every way was gone in the fewest rounds, at the pace so far; 0 before the first one."""
        gone = [len(course.went) for course in self.courses if course.open]
        missing = sum(max(0, ROUNDS - count) for count in gone)
        return missing * (now - self._first_way) / sum(gone) if any(gone) else 0.0

    # ----------------------------------------------------------------------------------------------------- the process

    def _expect(self, kind: type[T], task: Task, doing: str) -> T:
        found = self._ask(task, doing)
        if not isinstance(found, kind):
            raise BenchCoreError(f"{self.setting.spec.target} cannot be measured: {_cause(found)}.")
        return found

    def _ask(self, task: Task, doing: str) -> Answer:
        """Let a task be done. A process that is lost is an answer, and the next task gets a new one.

        Raises:
            BenchCoreError: if the user's request cannot be met.
        """
        now = self._timer()
        round = self._round if isinstance(task, Go) else 0
        self._show(ModelProgress(doing, round, now - self._began, max(0.0, self._ends - now), self._needed(now)))
        if self._keeper is None:
            self._tell(self.setting)
        assert self._keeper is not None
        self._keeper.forget_words()
        try:
            self._keeper.tell(task)
            found = self._keeper.answer(task.timeout + GRACE)
        except LostError as error:
            self.close()
            return Failed(str(error))
        if isinstance(found, Refused) and isinstance(task, Describe):
            raise BenchCoreError(found.cause)
        return found

    def _tell(self, setting: Setting) -> None:
        self.setting = setting
        if self._keeper is None:
            self._keeper = Child(KEEPER, self._order.getrandbits(32), self._watchdog)
        self._keeper.tell(setting)

    def close(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    # ------------------------------------------------------------------------------------------------------ the record

    @property
    def described(self) -> Described:
        assert self._described is not None
        return self._described

    def record(self, commit: str, machine: Mapping[str, str]) -> ModelRecord:
        described = self.described
        whole = described.layout.bytes + described.layout.buffer_bytes
        scale = whole / described.block_bytes if described.block else 1.0
        law = ""
        if described.block:
            law = (
                f"Measured on `{described.block}`, {size_text(described.block_bytes)} of {size_text(whole)}, and "
                f"multiplied by {scale:.3g}: time and memory are taken to grow linearly with the bytes, and the "
                "checkpoint to be in the page cache."
            )
        count = max(1, min((len(course.went) for course in self.courses if course.open), default=0))
        return ModelRecord(
            spec=self.setting.spec,
            layout=described.layout,
            machine=machine,
            versions=described.versions,
            date=self._date,
            seconds=self._timer() - self._began,
            commit=commit,
            ways=tuple(_way(course, count, scale, law) for course in self.courses),
            write_limit=max((found.write for found in self._limits), default=0.0),
            copy_limit=max((found.copy for found in self._limits), default=0.0),
            idioms=merged(self._accessed),
            ranks=self._rank_times,
            notes=(*self._notes, *described.notes),
            interrupted=self.interrupted,
        )


def _cause(found: Answer) -> str:
    if isinstance(found, Failed | Refused):  # refused is a builder that raises on meta alone, for instance
        return found.cause
    return f"its process answered with {type(found).__name__}"


def _way(course: _Course, count: int, scale: float, law: str) -> Way:
    """What was found of a way.

    Args:
        count: the rounds that are complete, at least 1. Of a later one nothing is kept, since ways are compared by
            round.
        scale: the size of the whole model, divided by that of what was measured.
    """
    plan = course.plan
    found = course.went[:count] if course.open else []
    measured = bool(law) and plan.whole_construct
    scales = [1.0 if measured and stage.name == "construct" else scale for stage in plan.stages]
    stages = tuple(
        Stage(stage.name, tuple(went.seconds[place] * scales[place] for went in found), stage.bytes)
        for place, stage in enumerate(plan.stages)
    )
    return Way(
        job=plan.job,
        name=plan.name,
        title=plan.title,
        stages=stages if found else (),
        peak_bytes=tuple(int(went.peak_bytes * scale) for went in found if went.peak_bytes >= 0),
        wrong=course.wrong,
        why_not=course.why_not or ("" if found else UNREACHED),
        needs=(*plan.needs, *([OTHERS] if course.others else [])),
        code=plan.code,
        law=(f"{law} Building on meta was measured on the whole model." if measured else law) if found else "",
    )
