"""The section of the page on models: the ways to start each one up, and the jobs on its parameters."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench_core import units, version
from bench_core.analysis.model_advice import advice
from bench_core.analysis.models import Job, Placed, T, rank_calls, ranked
from bench_core.errors import brief
from bench_core.records.model import Idiom, ModelRecord, Way
from bench_core.records.report import Answers
from bench_core.report.model import (
    COLOURS,
    TITLES,
    call_figures,
    circumstances,
    gain,
    initials,
    marked,
    model_lines,
    rank_remarks,
    standing,
    together,
)
from bench_core.report.page import vega
from bench_core.report.page.charts import Chart
from bench_core.report.page.vega import Spec, kept, shown
from bench_core.report.page.views import Figure, Figures

BEYOND = 1.25
"""The axis of times ends at this many times the slowest way, so that there is room for the time after its bar."""


@dataclass(frozen=True)
class Row:
    """A way or an idiom in a table.

    Attributes:
        name, title: as in the record.
        time: the time with its uncertainty, and the same as a number of seconds; NaN without one.
        place: its place among the others, or why it has none.
    """

    name: str
    title: str
    time: str
    seconds: float
    place: str
    best: bool
    peak: float
    moved: float
    share: float


Remarks = tuple[tuple[str, str], ...]
"""What is wrong, extrapolated, needed or worth knowing: names, and what holds for all of them. Beside the rows, they
would be wider than the figures."""


@dataclass(frozen=True)
class StartView:
    """The ways to do a job of starting up.

    Attributes:
        code: the lines of the fastest correct way; empty if it is the plain one.
    """

    title: str
    figure: Figure | None
    rows: tuple[Row, ...]
    remarks: Remarks
    code: tuple[str, ...]
    coded: str


@dataclass(frozen=True)
class AccessView:
    """The idioms of a job on parameters."""

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class CallRow:
    """A call of all ranks: its name, the number of ranks, its time, uncertainty, spread and peak as text, empty without
    a time."""

    name: str
    ranks: int
    figures: tuple[str, ...]


@dataclass(frozen=True)
class ModelView:
    """A model.

    Attributes:
        lines: what it is, its ties and buffers, a sentence each.
        where: how and where it was measured, a sentence each.
    """

    key: str
    name: str
    lines: tuple[str, ...]
    advice: tuple[str, ...]
    notes: tuple[str, ...]
    start: tuple[StartView, ...]
    access: tuple[AccessView, ...]
    access_remarks: Remarks
    figure: Figure | None
    calls: tuple[CallRow, ...]
    call_remarks: Remarks
    where: tuple[str, ...]


def answers(records: Sequence[ModelRecord]) -> Answers:
    """A report of these models alone."""
    date = max((record.date for record in records), default="")
    return Answers(date, version(), (), (), (), (), (), (), (), (), models=tuple(records))


def models(report: Answers, figures: Figures) -> list[ModelView]:
    return [_model(f"model-{number}", record, figures) for number, record in enumerate(report.models)]


def _model(key: str, record: ModelRecord, figures: Figures) -> ModelView:
    found = ranked(record)
    first, *others = model_lines(record)
    name = brief(record.spec.target)
    slowest = max((one.seconds.middle for job in found.start for one in job.placed), default=0.0)
    idioms = [(job, one) for job in found.access for one in job.placed]
    return ModelView(
        key=key,
        name=name,
        lines=(f"{name}{first}", *others),
        advice=advice(record, found),
        notes=record.notes,
        start=tuple(_start(job, name, slowest, figures) for job in found.start),
        access=tuple(AccessView(brief(job.name), tuple(_rows(job))) for job in found.access),
        access_remarks=tuple(
            together((f"{job.name}.{name}", said) for job in found.access for name, said in _of_rows(job))
        ),
        figure=figures.add("Time of a call", access_chart(idioms, f"Times of the jobs on the parameters of {name}"))
        if idioms
        else None,
        calls=tuple(_calls(record)),
        call_remarks=tuple(together(_of_calls(record))),
        where=tuple(circumstances(record)),
    )


def _start(job: Job[Way], name: str, slowest: float, figures: Figures) -> StartView:
    title = TITLES.get(job.name, brief(job.name))
    best = job.best
    coded = best is not None and job.gains and bool(best.of.code)
    said = _in_words(job, f"{title}, {name}")
    return StartView(
        title=title,
        figure=figures.add("Time of each stage", waterfall(job, slowest, said)) if job.placed else None,
        rows=tuple(_rows(job)),
        remarks=tuple(together(_of_rows(job))),
        code=tuple(best.of.code.strip("\n").split("\n")) if best is not None and coded else (),
        coded=f"{title}{gain(job)}: {best.of.title or best.of.name}" if best is not None and coded else "",
    )


def _in_words(job: Job[Way], title: str) -> str:
    best = job.best
    if best is None:
        return f"{title}: no correct way."
    return (
        f"{title}: the fastest correct way is {brief(best.of.name)} with {units.time(best.seconds.middle)}{gain(job)}."
    )


def _rows(job: Job[T]) -> list[Row]:
    return [*(_row(one, job) for one in job.placed), *(_missing(one) for one in job.missing)]


def _row(one: Placed[T], job: Job[T]) -> Row:
    of: Way | Idiom = one.of
    place = standing(one, job)
    if one.ratio.known and not one.tied and place != "wrong":
        place = units.estimate(one.ratio)
    return Row(
        name=brief(of.name),
        title=_title(of),
        time=f"{units.time(one.seconds.middle)} {units.uncertainty(one.seconds)}",
        seconds=one.seconds.middle,
        place=place,
        best=marked(one, job)[0] in "*=",
        peak=_peak(of),
        moved=_moved(of) or math.nan,
        share=one.share,
    )


def _title(of: Way | Idiom) -> str:
    return of.title if isinstance(of, Way) else ""


def _peak(of: Way | Idiom) -> float:
    return statistics.median(of.peak_bytes) if isinstance(of, Way) and of.peak_bytes else math.nan


def _moved(of: Way | Idiom) -> int:
    return sum(stage.bytes for stage in of.stages) if isinstance(of, Way) else of.bytes


def _of_rows(job: Job[T]) -> Iterator[tuple[str, str]]:
    """The remarks on each row of a job, with its name."""
    yield from ((one.of.name, said) for one in job.placed for said in _remarks(one.of))
    yield from ((one.name, f"Not measured: {one.why_not.rstrip('.')}.") for one in job.missing)


def _remarks(of: Way | Idiom) -> Iterator[str]:
    if of.wrong:
        yield f"Wrong: {of.wrong.rstrip('.')}."
    if isinstance(of, Idiom):
        yield from (of.note,) if of.note else ()
        return
    if of.law:
        yield f"Extrapolated: {of.law.rstrip('.')}."
    yield from of.needs


def _missing(one: Way | Idiom) -> Row:
    unknown = math.nan
    return Row(brief(one.name), _title(one), "", unknown, "", False, unknown, unknown, unknown)


def _calls(record: ModelRecord) -> Iterator[CallRow]:
    """A row for each call of ranks."""
    for call in rank_calls(record):
        yield CallRow(brief(f"{call.of.job}.{call.of.name}"), call.of.ranks, call_figures(call))
    for one in record.ranks:
        if one.why_not:
            yield CallRow(brief(f"{one.job}.{one.name}"), one.ranks, ("", "", "", ""))


def _of_calls(record: ModelRecord) -> Iterator[tuple[str, str]]:
    """The remarks on calls of ranks, with their names."""
    yield from ((name, said) for name, sentences in rank_remarks(record).items() for said in sentences)
    for one in record.ranks:
        if one.why_not:
            yield f"{one.job}.{one.name}", f"Not measured with {one.ranks} ranks: {one.why_not.rstrip('.')}."


WATERFALL = {
    "way": "way",
    "stage": "stage",
    "letter": "letter",
    "start": "start",
    "end": "end",
    "seconds": "seconds",
    "whole": "whole way",
    "fate": "model",
}


def waterfall(job: Job[Way], slowest: float, alt: str) -> Chart:
    """A bar for each way, made of its stages one after the other. Letters tell the stages apart where colours do not.

    Args:
        slowest: the end of the axis, the same for all jobs.
    """
    letters = initials(stage.name for one in job.placed for stage in one.of.stages)
    rows = []
    for one in job.placed:
        end = 0.0
        for stage in one.of.stages:
            seconds = statistics.median(stage.seconds)
            begin, end = end, end + seconds
            numbers = map(kept, (begin, end, seconds, one.seconds.middle))
            rows.append([brief(one.of.name), stage.name, letters[stage.name], *numbers, _fate(one, job)])
    ways: Spec = {"field": "way", "type": "nominal", "sort": None}
    inside = "scale('x', datum.end) - scale('x', datum.start) > 14 ? 1 : 0"
    spec = vega.base(
        40 + 30 * len(job.placed),
        [
            _bars(letters, slowest),
            {
                "transform": [{"calculate": "(datum.start + datum.end) / 2", "as": "middle"}],
                "mark": {"type": "text", "color": "var(--ground)", "fontWeight": 600, "opacity": {"expr": inside}},
                "encoding": {"x": {"field": "middle", "type": "quantitative"}, "text": {"field": "letter"}},
            },
            {
                "transform": [
                    {"filter": "datum.last"},
                    {"calculate": f"{shown('datum.whole')} + (datum.fate ? ', ' + datum.fate : '')", "as": "words"},
                ],
                "mark": {"type": "text", "align": "left", "dx": 6, "color": "var(--text)"},
                "encoding": {"x": {"field": "end", "type": "quantitative"}, "text": {"field": "words"}},
            },
        ],
        params=[{"name": "unit", "value": "seconds"}],
        transform=[
            {"joinaggregate": [{"op": "max", "field": "end", "as": "furthest"}], "groupby": ["way"]},
            {"calculate": "datum.end === datum.furthest", "as": "last"},
        ],
        encoding={"y": ways | {"axis": {"title": None}}},
    )
    return Chart(spec, WATERFALL, rows, alt)


def _bars(letters: Mapping[str, str], slowest: float) -> Spec:
    """The layer with the bar of each stage."""
    colours = [vega.COLOURS[_slot(name)] for name in letters]
    stages: Spec = {"field": "stage", "type": "nominal", "sort": list(letters)}
    x_axis = {"title": "time until the model is ready", "labelExpr": shown("datum.value"), "tickCount": 6}
    limits = {"domain": [0, kept(slowest * BEYOND)], "nice": False}
    return {
        "transform": [
            {"calculate": shown("datum.seconds"), "as": "long"},
            {"calculate": shown("datum.whole"), "as": "together"},
        ],
        "mark": {"type": "bar", "height": {"band": 0.74}, "stroke": "var(--ground)", "strokeWidth": 1},
        "encoding": {
            "x": vega.quantity("start", limits, x_axis),
            "x2": {"field": "end"},
            "color": {**stages, "scale": {"domain": list(letters), "range": colours}},
            "opacity": {"condition": {"test": "datum.fate === 'wrong'", "value": 0.4}, "value": 1},
            "tooltip": vega.tooltip(
                {"way": "way", "stage": "stage", "long": "time", "together": "whole way", "fate": "model"}
            ),
        },
    }


def _slot(stage: str) -> int:
    """The place of a stage's colour; those with another name have the last one."""
    return list(COLOURS).index(stage) if stage in COLOURS else len(vega.COLOURS) - 1


def _fate(one: Placed[T], job: Job[T]) -> str:
    if one.of.wrong:
        return "wrong"
    mark, _ = marked(one, job)
    return {"*": "fastest", "=": "may be the fastest"}.get(mark, "")


ACCESS = {"idiom": "job and idiom", "value": "seconds", "low": "low", "high": "high", "kind": "place"}

KINDS = ("fastest", "slower", "wrong")
"""What an idiom can be among the others."""


def access_chart(found: Sequence[tuple[Job[Idiom], Placed[Idiom]]], alt: str) -> Chart:
    """The time of a call of each idiom, on a logarithmic axis, the idioms of a job below each other."""
    rows = [
        [
            f"{brief(job.name)}: {brief(one.of.name)}",
            *map(kept, (one.seconds.middle, one.seconds.low, one.seconds.high)),
            "wrong" if one.of.wrong else "fastest" if one.tied else "slower",
        ]
        for job, one in found
    ]
    values = [number for row in rows for number in row[1:4] if isinstance(number, float)]
    kinds: Spec = vega.told_apart("kind", list(KINDS))
    axis = {"title": "time a call", "labelExpr": shown("datum.value")} | vega.ticks(values)
    spec = vega.base(
        70 + 22 * len(rows),
        [
            {"transform": [vega.KNOWN], "mark": {"type": "rule", "strokeWidth": 2}, "encoding": vega.ends("x")},
            {
                "transform": vega.interval(),
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {
                    **kinds,
                    "tooltip": vega.tooltip({"idiom": "idiom", "shown": "time", "range": "interval", "kind": "place"}),
                },
            },
        ],
        params=[{"name": "unit", "value": "seconds"}],
        encoding={
            "y": {"field": "idiom", "type": "nominal", "sort": None, "axis": {"title": None}},
            "x": vega.quantity("value", vega.LOG, axis),
        },
    )
    return Chart(spec, ACCESS, rows, alt)
