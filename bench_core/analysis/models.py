"""Ranks the ways to start a model up, and the idioms of each job on its parameters; and compares two records.

The ways of one job take turns in rounds, each in a process of its own, so the times of one round are paired, as in
`bench_core.analysis.rounds`, which has the statistics.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Generic, TypeVar

from bench_core.analysis.compare import Stored
from bench_core.analysis.rounds import CONFIDENCE, Reading
from bench_core.records.model import Idiom, ModelRecord, RankTimes, Stage, Way
from bench_core.records.results import CellResult
from bench_core.records.rounds import Group, Visit
from bench_core.records.run import Interval
from bench_core.statistics import median_interval

T = TypeVar("T", Way, Idiom)

UNKNOWN = Interval(-math.inf, math.nan, math.inf, 0.0)

WRITING = ("construct", "initialize")
"""The stages that only write: they are held to the bandwidth of writing, all others to that of a copy."""


@dataclass(frozen=True)
class Placed(Generic[T]):
    """A way or an idiom that was measured.

    Attributes:
        seconds: its time, with the interval of what another run reads.
        ratio: its time over that of the fastest right one; unknown if none is right.
        tied: whether it is right, and is the fastest or cannot be told from it.
        share: the least time that the bytes of a way need on this machine, as a share of its time; NaN if that is
            unknown, and for an idiom.
    """

    of: T
    seconds: Interval
    ratio: Interval
    tied: bool
    share: float


@dataclass(frozen=True)
class Job(Generic[T]):
    """Ways to do one job.

    Attributes:
        placed: those with a time, the fastest first, right and wrong ones.
        missing: those that this model cannot go, or that failed.
        plain: the first way of the job in the record, which the others are compared with; None if it has no time.
        saves: the time of the plain way over that of the fastest right one; unknown without both.
    """

    name: str
    placed: tuple[Placed[T], ...]
    missing: tuple[T, ...]
    plain: Placed[T] | None
    saves: Interval

    @property
    def best(self) -> Placed[T] | None:
        """The fastest right one; None if none is right."""
        return next((one for one in self.placed if not one.of.wrong), None)

    @property
    def gains(self) -> bool:
        """Whether the fastest right one is certainly faster than the plain one, or there is no plain one."""
        return self.best is not None and (self.plain is None or self.saves.low > 1)

    @property
    def alone(self) -> bool:
        """Whether the fastest right one is certainly the fastest."""
        return sum(one.tied for one in self.placed) == 1

    @property
    def wrong(self) -> tuple[T, ...]:
        return tuple(one.of for one in self.placed if one.of.wrong)


@dataclass(frozen=True)
class Ranked:
    """What a record says of the model, ranked: the ways to start it up, and the jobs on its parameters."""

    start: tuple[Job[Way], ...]
    access: tuple[Job[Idiom], ...]


def ranked(record: ModelRecord, confidence: float = CONFIDENCE) -> Ranked:
    """The jobs of a record, each in the order of the record.

    Args:
        confidence: of the interval of each time.
    """
    return Ranked(tuple(_jobs(record.ways, record, confidence)), tuple(_jobs(record.idioms, record, confidence)))


def _jobs(found: Sequence[T], record: ModelRecord, confidence: float) -> Iterator[Job[T]]:
    by_job: dict[str, list[T]] = {}
    for each in found:
        by_job.setdefault(each.job, []).append(each)
    reading = Reading([_group(job, members) for job, members in by_job.items()])
    for group in reading.groups:
        yield _job(group, by_job[group.job], reading, record, confidence)


def name_of(one: Way | Idiom) -> str:
    """The name of a way among all jobs: ``load.meta_assign``."""
    return f"{one.job}.{one.name}"


def _group(job: str, members: Sequence[T]) -> Group:
    """The ways of a job as cells that took turns. Wrong ones are no rivals, but are compared with the others."""
    times = {name_of(one): one.seconds for one in members if one.seconds}
    visits = tuple(
        Visit(number, {name: seconds for name, seconds in zip(times, each, strict=True) if seconds})
        for number, each in enumerate(zip_longest(*times.values()))
    )
    right, wrong = (
        tuple(name_of(one) for one in members if bool(one.wrong) == is_wrong and name_of(one) in times)
        for is_wrong in (False, True)
    )
    return Group(job, right, wrong, visits)


def _job(group: Group, members: Sequence[T], reading: Reading, record: ModelRecord, confidence: float) -> Job[T]:
    ways = {way.cell: way for way in reading.ways(group)}
    seconds = {name: reading.time(name, group, confidence) for name in (*group.cells, *group.yardsticks)}
    best = min(ways, key=lambda name: seconds[name].middle, default="")
    placed = []
    for one in members:
        if (name := name_of(one)) not in seconds:
            continue
        if name in ways:
            ratio, tied = ways[name].ratio, ways[name].tied
        else:
            ratio, tied = reading.ratio(name, best, group) if best else UNKNOWN, False
        placed.append(Placed(one, seconds[name], ratio, tied, _share(one, seconds[name].middle, record)))
    plain = next((one for one in placed if one.of is members[0]), None)
    return Job(
        name=group.job,
        placed=tuple(sorted(placed, key=lambda one: one.seconds.middle)),
        missing=tuple(one for one in members if name_of(one) not in seconds),
        plain=plain,
        saves=UNKNOWN if plain is None else plain.ratio,
    )


def _share(one: Way | Idiom, seconds: float, record: ModelRecord) -> float:
    if isinstance(one, Idiom):  # most of them read more than they write, which is faster than a copy
        return math.nan
    least = math.fsum(_least(stage.bytes, limit_of(stage, record)) for stage in one.stages)
    return least / seconds if least else math.nan


def limit_of(stage: Stage, record: ModelRecord) -> float:
    """The bytes a second that a stage is held to; 0 if they are unknown."""
    return record.write_limit if stage.name in WRITING else record.copy_limit


def _least(moved: int, limit: float) -> float:
    """The least seconds that bytes take; NaN if the limit is unknown."""
    if not moved:
        return 0.0
    return moved / limit if limit > 0 else math.nan


@dataclass(frozen=True)
class RankedCall:
    """A call in which every rank takes part.

    Attributes:
        seconds: the time of the call, which is that of its slowest rank.
        spread: by how much the slowest rank is slower than the fastest one, as a share: the median over the calls.
    """

    of: RankTimes
    seconds: Interval
    spread: float


def rank_calls(record: ModelRecord) -> tuple[RankedCall, ...]:
    """The calls that were measured on ranks."""
    return tuple(
        RankedCall(
            one,
            median_interval([max(each) for each in one.seconds]),
            statistics.median(max(each) / min(each) - 1 for each in one.seconds),
        )
        for one in record.ranks
        if one.seconds
    )


def as_stored(record: ModelRecord, name: str) -> Stored:
    """A record as a result that can be compared (`bench_core.analysis.compare`): a cell for each time and peak of
    memory. The layout, what is wrong and what could not be measured are parts of the description, so that a comparison
    names what differs in them."""
    found = ranked(record, STORED_CONFIDENCE)
    cells = [
        *(_cell(name_of(one.of), "time", "seconds", one.seconds) for job in found.start for one in job.placed),
        *(_cell(f"{name_of(way)}.peak", "peakmemory", "bytes", _once(_middle(way.peak_bytes))) for way in record.ways),
        *(_cell(name_of(one.of), "time", "seconds", one.seconds) for job in found.access for one in job.placed),
        *(
            _cell(f"{one.of.job}.{one.of.name}.{one.of.ranks}_ranks", "time", "seconds", one.seconds)
            for one in rank_calls(record)
        ),
    ]
    everything: list[Way | Idiom] = [*record.ways, *record.idioms]
    faults = {
        name_of(one): f"wrong: {one.wrong}" if one.wrong else f"not measured: {one.why_not}"
        for one in everything
        if one.wrong or one.why_not
    }
    spec = {"model": record.spec.target, "device": record.spec.device, "dtype": record.spec.dtype or "as built"}
    layout = {field.replace("_", " "): f"{getattr(record.layout, field):,}" for field in LAYOUT}
    return Stored(
        name,
        record.machine.get("machine", ""),
        record.commit or None,
        {**record.machine, **record.versions, **spec, **layout, "ties": _ties(record), **faults},
        {cell.name: cell for cell in cells if not math.isnan(cell.value.middle)},
    )


STORED_CONFIDENCE = 0.99
"""Of the intervals of stored times, as in asv's results."""

LAYOUT = ("modules", "parameters", "elements", "bytes", "buffers", "buffer_bytes", "tied_bytes")
"""The figures of a layout that are compared."""


def _ties(record: ModelRecord) -> str:
    return ", ".join(" = ".join(names) for names in record.layout.ties) or "none"


def _middle(values: Sequence[int]) -> float:
    return statistics.median(values) if values else math.nan


def _once(value: float) -> Interval:
    return Interval(-math.inf, value, math.inf, 0.99)


def _cell(name: str, kind: str, unit: str, value: Interval) -> CellResult:
    return CellResult(name, {}, kind, unit, value, 1, 1, 0, 0, None)
