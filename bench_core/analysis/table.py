"""The rows of the first table: every cell with its time, its place among its rivals, and its share of the limit."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench_core.analysis.limits import limits_of
from bench_core.analysis.ratios import ratio, unsure
from bench_core.analysis.rounds import LOST, of_newest_run, reading_of
from bench_core.analysis.trust import UNSURE_ABOVE
from bench_core.records.results import CellResult
from bench_core.records.rounds import Rounds
from bench_core.records.run import Interval


@dataclass(frozen=True)
class Row:
    """One cell.

    Attributes:
        value: its value. The interval of a time covers what another run reads (95 %); it is asv's interval of the
            median (99 %) if asv has measured it.
        job: the name of what it does, with its rivals; None without rivals that were measured.
        ratio: its time over that of the best way to do the job; None without a job. Its ends are unknown if the rivals
            were not sampled in turn.
        tied: whether it is the best way or cannot be told from it; None if that is unknown.
        alone: whether it is the best way, and all others are certainly slower.
        share: of the limit; None without one.
        doubt: why nothing is known about `ratio` although it was measured; "" otherwise.
    """

    cell: CellResult
    value: Interval
    job: str | None = None
    ratio: Interval | None = None
    tied: bool | None = None
    alone: bool = False
    share: Interval | None = None
    doubt: str = ""

    @property
    def wide(self) -> bool:
        """Whether its time is uncertain."""
        return self.cell.kind == "time" and not self.value.high - self.value.low <= 2 * UNSURE_ABOVE * self.value.middle


def rows(cells: Sequence[CellResult]) -> tuple[Row, ...]:
    """The rows of these cells, in their order."""
    shares = {limit.cell: limit.share for limit in limits_of(cells)}
    jobs: dict[tuple[str, ...], dict[str, CellResult]] = {}
    for cell in cells:
        if cell.rivals in cell.params and cell.kind == "time":
            jobs.setdefault(job_of(cell), {})[cell.name] = cell
    ranked = {job: of_newest_run(ways) for job, ways in jobs.items()}
    return tuple(_row(cell, ranked.get(job_of(cell), {}), shares.get(cell.name)) for cell in cells)


def job_of(cell: CellResult) -> tuple[str, ...]:
    """What is equal for all ways to do one job."""
    return (cell.benchmark, *(value for name, value in cell.params.items() if name != cell.rivals))


def _row(cell: CellResult, ways: Mapping[str, CellResult], share: Interval | None) -> Row:
    value = cell.value if cell.rounds is None else reading_of(cell.rounds).time(cell.name)
    benchmark, *shared = job_of(cell)
    job = f"{benchmark}({', '.join(shared)})" if shared else benchmark
    if len(ways) < 2 or cell.name not in ways:
        return Row(cell, value, share=share)
    if cell.rounds is None:
        best = min(ways.values(), key=lambda way: way.value.middle)
        return Row(cell, value, job, unsure(ratio(cell.value, best.value)), share=share)
    reading = reading_of(cell.rounds)
    group = reading.group_of(cell.name)
    ranked = [way for way in reading.ways(group) if way.cell in ways]
    own = next(way for way in ranked if way.cell == cell.name)
    alone = own is ranked[0] and not any(way.tied for way in ranked[1:])
    return Row(cell, value, job, own.ratio, own.tied, alone and len(ranked) > 1, share, group.doubt)


@dataclass(frozen=True)
class Lead:
    """What is certain about a job: one or several ways are the best, and another is slower.

    Attributes:
        best: ways that may be the best: one, or several that cannot be told apart.
        slowest: the slowest way.
        ratio: its time over that of each of them. The interval holds for all of them.
    """

    job: str
    best: tuple[str, ...]
    slowest: str
    ratio: Interval


CLEAR = 1.05
"""A finding is worth a sentence if the slowest way takes at least this many times as long as the best."""

FINDINGS = 2
"""The most findings of a family."""


def findings(found: Iterable[Row]) -> tuple[Lead, ...]:
    """Of the jobs of a family, those with the largest certain ratio; of each benchmark at most one."""
    jobs: dict[str, list[Row]] = {}
    for row in found:
        if row.job is not None and row.tied is not None and not row.cell.unties:
            jobs.setdefault(row.job, []).append(row)
    largest: dict[str, Lead] = {}
    for job, ways in jobs.items():
        slowest = max(ways, key=lambda row: row.ratio.middle if row.ratio else 0.0)
        tied = [(row.ratio, row) for row in ways if row.tied and row.ratio and row.ratio.known and not row.doubt]
        if not tied or slowest.ratio is None or slowest.ratio.low < CLEAR:
            continue
        ratio = _over_all(slowest.ratio, [one for one, _ in tied])
        if ratio.low < CLEAR:
            tied, ratio = [min(tied, key=lambda one: one[0].middle)], slowest.ratio
        finding = Lead(job, tuple(_way(row) for _, row in tied), _way(slowest), ratio)
        benchmark = slowest.cell.benchmark
        if benchmark not in largest or largest[benchmark].ratio.low < finding.ratio.low:
            largest[benchmark] = finding
    return tuple(sorted(largest.values(), key=lambda one: -one.ratio.low)[:FINDINGS])


def _over_all(slowest: Interval, tied: Sequence[Interval]) -> Interval:
    """The ratio of the slowest way to each of those that are tied, from the ratios of all of them to the same way. It
    holds with theirs."""
    low, high = slowest.low / max(one.high for one in tied), slowest.high / min(one.low for one in tied)
    return Interval(low, slowest.middle, high, slowest.confidence)


def _way(row: Row) -> str:
    return row.cell.params[row.cell.rivals or ""]


def undecided(found: Iterable[Row]) -> tuple[str, ...]:
    """The jobs whose best way cannot be told."""
    known = [row for row in found if row.job is not None and row.tied is not None]
    alone = {row.job for row in known if row.alone}
    return tuple(dict.fromkeys(row.job for row in known if row.job and row.job not in alone))


@dataclass(frozen=True)
class Mood:
    """What the machine was like during a run.

    Attributes:
        noise: by how much a time differs from round to round (`Reading.noise`).
        lost: the share of the time in which other processes had the core.
        disturbed, visits: visits of jobs, and how many of them were disturbed.
    """

    noise: float
    lost: float
    disturbed: int
    visits: int


def mood(run: Rounds) -> Mood:
    lost = [visit.lost for group in run.groups for visit in group.visits]
    return Mood(
        noise=reading_of(run).noise,
        lost=statistics.fmean(lost) if lost else math.nan,
        disturbed=sum(share > LOST for share in lost),
        visits=len(lost),
    )
