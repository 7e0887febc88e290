"""Groups the records as the page shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from bench_core import units
from bench_core.analysis.compare import compared
from bench_core.analysis.limits import FAMILY, level
from bench_core.analysis.series import quantity
from bench_core.errors import brief
from bench_core.records.report import (
    Answers,
    Bound,
    Compared,
    Crossing,
    Growth,
    History,
    Limit,
    Measured,
    Moment,
    Point,
    RankedJob,
    Ranking,
    Rival,
    Series,
    Subject,
)
from bench_core.records.results import CellResult
from bench_core.records.run import Interval
from bench_core.report.page import charts, vega
from bench_core.report.page.charts import CeilingPoint, Chart

BOUNDS: dict[Bound, str] = {
    "memory": "Bound by memory",
    "generator": "Bound by the random generator",
    "interpreter": "Bound by the interpreter",
}


@dataclass(frozen=True)
class Figure:
    """A chart on the page. `key` is its number among the charts."""

    key: int
    title: str
    chart: Chart


class Figures:
    """Collects the charts of a page, and numbers its cells."""

    def __init__(self, report: Answers) -> None:
        names = dict.fromkeys(name for subject in report.subjects for name in subject.cells)
        names |= dict.fromkeys(track.cell for history in report.histories for track in history.tracks)
        names |= dict.fromkeys(point.cell for series in report.series for point in series.points)
        names |= dict.fromkeys(residual.point.cell for growth in report.growths for residual in growth.residuals)
        names |= dict.fromkeys(limit.cell for limit in report.limits)
        names |= dict.fromkeys(
            rival.cell for job in report.jobs for ranking in job.rankings for rival in ranking.rivals
        )
        self.cells = {name: number for number, name in enumerate(names)}
        self.charts: list[Chart] = []

    def add(self, title: str, chart: Chart) -> Figure:
        self.charts.append(chart)
        return Figure(len(self.charts) - 1, title, chart)


@dataclass(frozen=True)
class CostRow:
    """A line as a row of a table: its values in the order of the labels, or None."""

    name: str
    subject: str
    points: tuple[Point | None, ...]


@dataclass(frozen=True)
class Cost:
    """One benchmark along one axis.

    Attributes:
        common: the parameters that are the same in all lines, as text.
        lines: the names of lines that can be chosen; () if all are shown.
        first: the lines that are chosen at first.
    """

    number: int
    benchmark: str
    family: str
    axis: str
    unit: str
    common: str
    lines: tuple[str, ...]
    first: tuple[str, ...]
    figures: tuple[Figure, ...]
    labels: tuple[str, ...]
    rows: tuple[CostRow, ...]


def costs(report: Answers, figures: Figures) -> list[Cost]:
    order = sorted(report.series, key=lambda one: (one.benchmark, one.axis))
    groups = groupby(order, key=lambda one: (one.benchmark, one.axis))
    return [_cost(number, report, list(group), figures) for number, (_, group) in enumerate(groups)]


def _cost(number: int, report: Answers, group: Sequence[Series], figures: Figures) -> Cost:
    one = group[0]
    varying = [name for name in one.fixed if len({series.fixed.get(name) for series in group}) > 1]
    common = ", ".join(f"{name} {brief(value)}" for name, value in one.fixed.items() if name not in varying)

    def name_of(series: Series) -> str:
        return brief(", ".join(series.fixed[name] for name in varying)) or series.benchmark.rsplit(".", 1)[-1]

    by_subject = {
        subject.name: {name_of(series): series for series in group if series.subject == subject.name}
        for subject in report.subjects
    }
    middles = {name: series.points[-1].value.middle for lines in by_subject.values() for name, series in lines.items()}
    slowest_first = sorted(middles, key=lambda name: -middles[name])
    values = [
        end
        for series in group
        for point in series.points
        for end in (point.value.low, point.value.middle, point.value.high)
        if math.isfinite(end)
    ]
    domain = (min(values) / 1.15, max(values) * 1.15) if values and min(values) > 0 else None
    drawn = []
    for subject in report.subjects:
        lines = {name: by_subject[subject.name][name] for name in slowest_first if name in by_subject[subject.name]}
        if lines:
            caches = _edges(subject.caches, lines.values())
            chart = charts.cost(lines, caches, domain, figures.cells, _cost_in_words(lines))
            drawn.append(figures.add(subject.name if len(report.subjects) > 1 else "", chart))
    labels = {point.label: point.n for series in group for point in series.points}
    in_order = tuple(sorted(labels, key=lambda label: labels[label]))
    rows = tuple(
        CostRow(name, subject, tuple({p.label: p for p in lines[name].points}.get(label) for label in in_order))
        for subject, lines in by_subject.items()
        for name in sorted(lines)
    )
    many = len(slowest_first) > charts.AT_ONCE
    return Cost(
        number,
        one.benchmark,
        one.family,
        one.axis,
        one.unit,
        common,
        tuple(slowest_first) if many else (),
        tuple(_spread_out(slowest_first, charts.AT_ONCE)),
        tuple(drawn),
        in_order,
        rows,
    )


def _spread_out(names: Sequence[str], count: int) -> list[str]:
    """`count` of the names: the first, the last, and evenly spaced ones between."""
    if len(names) <= count:
        return list(names)
    return [names[round(index * (len(names) - 1) / (count - 1))] for index in range(count)]


def _edges(caches: Mapping[str, int], lines: Iterable[Series]) -> list[tuple[str, float, int]]:
    """Caches of the CPU as (name, the n from which a line outgrows it, row). Each element size has a row."""
    on_cpu = (series for series in lines if series.fixed.get("device", "cpu") == "cpu")
    widths = sorted({series.item_bytes for series in on_cpu if series.item_bytes})
    return [
        (f"{name} full" + (f", {width} B each" if len(widths) > 1 else ""), size / width, row)
        for name, size in caches.items()
        for row, width in enumerate(widths)
    ]


def _cost_in_words(lines: Mapping[str, Series]) -> str:
    one = next(iter(lines.values()))
    ends = sorted(lines, key=lambda name: lines[name].points[-1].value.middle)
    last = lines[ends[0]].points[-1]

    def said(name: str) -> str:
        return f"{name} with {units.value(lines[name].points[-1].value.middle, one.unit)}"

    extremes = f"the least is {said(ends[0])}" + (f", the most {said(ends[-1])}" if len(ends) > 1 else "")
    return (
        f"Line chart on logarithmic axes: {one.unit} of {one.benchmark} against {one.axis}, {len(lines)} "
        f"{'lines' if len(lines) > 1 else 'line'}. At {last.label}, {extremes}."
    )


@dataclass(frozen=True)
class Roofline:
    """The cells of one bound."""

    bound: Bound
    title: str
    figures: tuple[Figure, ...]


def rooflines(report: Answers, figures: Figures) -> list[Roofline]:
    found = []
    for bound, title in BOUNDS.items():
        drawn = []
        for subject in report.subjects:
            rows = [
                (limit, subject.cells[limit.cell].cell.value.middle)
                for limit in report.limits
                if limit.bound == bound and limit.subject == subject.name and limit.cell in subject.cells
            ]
            if rows:
                alt = _limits_in_words([limit for limit, _ in rows])
                chart = charts.roofline(bound, rows, list(_yardsticks(subject, bound)), figures.cells, alt)
                drawn.append(figures.add(subject.name if len(report.subjects) > 1 else "", chart))
        if drawn:
            found.append(Roofline(bound, title, tuple(drawn)))
    return found


def _yardsticks(subject: Subject, bound: Bound) -> Iterator[CeilingPoint]:
    """The rates of the subject's yardsticks of this bound."""
    for measured in subject.cells.values():
        cell = measured.cell
        if cell.family == FAMILY and cell.kind == "time" and cell.value.middle > 0:
            known, work, size = _work(cell)
            if known == bound and work:
                cached = bound == "memory" and cell.params.get("device", "cpu") == "cpu"
                where = level(work / (cell.reads + cell.writes), subject.caches) if cached else ""
                line = cell.benchmark.rsplit(".", 1)[-1].removeprefix("time_")
                others = [value for name, value in cell.params.items() if name != size]
                yield CeilingPoint(
                    f"{line}({', '.join(others)})" if others else line, work, work / cell.value.middle, where
                )


def _work(cell: CellResult) -> tuple[Bound, float | None, str]:
    """The bound of a yardstick, the work of a call, and the parameter that sets it."""
    if cell.drawn:
        return "generator", cell.drawn, "size"
    if cell.moved_bytes:
        return "memory", cell.moved_bytes, "size"
    return "interpreter", quantity(cell.params.get("iterations", "")), "iterations"


def _limits_in_words(limits: Sequence[Limit]) -> str:
    shares = sorted(limit.share.middle for limit in limits)
    near = sum(share >= 0.8 for share in shares)
    return (
        f"Scatter chart on logarithmic axes: the rate of {len(limits)} cells against the work of a call, with the "
        f"ceilings as lines. {near} of them reach 80 % of their ceiling or more; the median is "
        f"{units.share(shares[len(shares) // 2])}, the least {units.share(shares[0])}."
    )


@dataclass(frozen=True)
class JobView:
    """A job with its chart. `rows` holds, for each way, the fastest at the largest size first, its rank and rival in
    each ranking, or None."""

    number: int
    job: RankedJob
    title: str
    unit: str
    figure: Figure
    rows: tuple[tuple[str, tuple[tuple[str, Rival] | None, ...]], ...]


def jobs(report: Answers, figures: Figures) -> list[JobView]:
    return [_job(number, job, report, figures) for number, job in enumerate(report.jobs)]


def _places(ranking: Ranking) -> Iterator[tuple[str, tuple[str, Rival]]]:
    """The name of each way, with its place among the others. Ways that cannot be told from the best share its place."""
    shared = any(rival.tied for rival in ranking.rivals)
    for place, rival in enumerate(ranking.rivals, 1):
        first = place == 1 or rival.tied
        yield rival.name, (("1=" if shared else "1.") if first else f"{place}.", rival)


def _job(number: int, job: RankedJob, report: Answers, figures: Figures) -> JobView:
    places = [dict(_places(ranking)) for ranking in job.rankings]
    names = list(dict.fromkeys(rival.name for ranking in reversed(job.rankings) for rival in ranking.rivals))
    rows = tuple((name, tuple(place.get(name) for place in places)) for name in names)
    unit = _unit(report, job.subject, job.rankings[0].rivals[0].cell)
    sizes = f" at {len(places)} values of {job.axis}" if job.axis and len(places) > 1 else ""
    alt = f"Dots with intervals: {len(names)} ways to do {job.benchmark}, times the best{sizes}. {job.advice}"
    return JobView(
        number,
        job,
        with_values(job.benchmark, job.fixed),
        unit,
        figures.add("", charts.job(job, unit, figures.cells, alt)),
        rows,
    )


def _unit(report: Answers, subject: str, cell: str) -> str:
    for one in report.subjects:
        if one.name == subject and cell in one.cells:
            return one.cells[cell].cell.unit
    return "seconds"


def with_values(benchmark: str, fixed: Mapping[str, str]) -> str:
    """``linalg.Solve.time_solve, device cpu``."""
    return ", ".join([benchmark, *(f"{name} {brief(value)}" for name, value in fixed.items())])


@dataclass(frozen=True)
class CrossingView:
    crossing: Crossing
    title: str
    figure: Figure


def crossings(report: Answers, figures: Figures) -> list[CrossingView]:
    found = []
    for one in report.crossings:
        alt = f"Line chart: {one.second} over {one.first} along {one.axis}. {one.sentence}"
        title = with_values(one.benchmark, one.fixed)
        found.append(CrossingView(one, title, figures.add("", charts.crossing(one, alt))))
    return found


@dataclass(frozen=True)
class InSubject:
    """A cell on one machine, and its share of its limit, if it has one."""

    measured: Measured
    share: Interval | None


@dataclass(frozen=True)
class CellRow:
    """A cell in every subject.

    Attributes:
        subjects: one for each subject; None if it has not measured the cell.
        compared: the second subject compared with the first; None unless exactly two have measured it.
        reproduce: the command that measures it again, the same on every machine.
    """

    name: str
    subjects: tuple[InSubject | None, ...]
    compared: Compared | None
    reproduce: str


def cell_rows(report: Answers) -> list[CellRow]:
    shares = {(limit.subject, limit.cell): limit.share for limit in report.limits}
    rows = []
    for name in sorted({name for subject in report.subjects for name in subject.cells}):
        subjects = tuple(
            InSubject(subject.cells[name], shares.get((subject.name, name))) if name in subject.cells else None
            for subject in report.subjects
        )
        known = [one.measured for one in subjects if one is not None]
        both = compared(known[0].cell, known[1].cell) if len(subjects) == len(known) == 2 else None
        rows.append(CellRow(name, subjects, both, known[0].reproduce))
    return rows


def laws(report: Answers, cells: Mapping[str, int]) -> list[dict[str, object]]:
    """The data for the charts of the laws, one for each of the report's growths."""
    return [_law(growth, cells) for growth in report.growths]


def _law(growth: Growth, cells: Mapping[str, int]) -> dict[str, object]:
    series = growth.series
    ends = [end for one in growth.residuals for end in (*_ends(one.point.value), one.fitted) if math.isfinite(end)]
    return {
        "title": with_values(series.benchmark, series.fixed) + f", along {series.axis}",
        "sentence": growth.sentence,
        "unit": series.unit,
        "counts": series.counts,
        "ticks": vega.ticks(ends, series.unit).get("values"),
        "law": [
            *map(vega.kept, (growth.fixed, growth.each)),
            None if growth.bend is None else vega.kept(growth.bend),
            vega.kept(growth.each_beyond),
        ],
        "rows": [
            [
                residual.point.label,
                residual.point.n,
                *map(vega.kept, _ends(residual.point.value)),
                *map(vega.kept, (residual.fitted, residual.relative)),
                residual.departs,
                residual.why,
                cells[residual.point.cell],
            ]
            for residual in growth.residuals
        ],
    }


def _ends(interval: Interval) -> tuple[float, float, float]:
    return interval.middle, interval.low, interval.high


def histories(report: Answers, cells: Mapping[str, int]) -> list[dict[str, object]]:
    """The data for the charts of the history, one for each of the report's histories."""
    return [
        {
            "commits": [moment.commit.hash[:8] for moment in history.moments],
            "subjects": [moment.commit.subject for moment in history.moments],
            "marks": [
                [index, kind, words] for index, moment in enumerate(history.moments) for kind, words in _marks(moment)
            ],
            "tracks": [_track(history, number, cells) for number in range(len(history.tracks))],
        }
        for history in report.histories
    ]


def _marks(moment: Moment) -> list[tuple[str, str]]:
    """The kind and the text of each mark at a commit."""
    upgrade = [("torch upgrade", f"torch {moment.upgraded} to {moment.torch}")] if moment.upgraded else []
    return upgrade + [
        (
            verdict if verdict in ("regression", "improvement") else "other verdict",
            f"{verdict} against {base}: {reason}" if reason else f"{verdict} against {base}",
        )
        for base, verdict, reason in moment.verdicts
    ]


TINIEST = 1e-300
"""The smallest tick: far below every measured value, and large enough to divide by."""


def _track(history: History, number: int, cells: Mapping[str, int]) -> dict[str, object]:
    """A track with its values as multiples of a tick, so that 50,000 values take half a megabyte. The tick is at most a
    thousandth of the smallest value."""
    track = history.tracks[number]
    middles = [interval.middle for _, interval in track.values]
    smallest = min((abs(middle) for middle in middles if middle), default=1.0)
    tick = max(10.0 ** (math.floor(math.log10(smallest)) - 3), TINIEST)
    at = [index for index, _ in track.values]
    content: dict[str, object] = {
        "cell": cells[track.cell],
        "unit": track.unit,
        "tick": tick,
        "value": [round(middle / tick) for middle in middles],
        "less": [_ticks(one.middle - one.low, tick) for _, one in track.values],
        "more": [_ticks(one.high - one.middle, tick) for _, one in track.values],
        "changes": [[change.moment, units.step(change.ratio, track.unit)] for change in track.changes],
    }
    if at != list(range(len(history.moments))):
        content["at"] = at
    return content


def _ticks(width: float, tick: float) -> int | None:
    return round(width / tick) if math.isfinite(width) else None
