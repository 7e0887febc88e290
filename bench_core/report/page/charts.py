"""The charts: Vega-Lite specifications, and the rows that they show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench_core import units
from bench_core.records.report import Bound, Crossing, Limit, RankedJob, Series
from bench_core.records.run import Interval
from bench_core.report.page import vega
from bench_core.report.page.vega import COLOURS, DASHES, KNOWN, LEVEL, LOG, SHAPES, UPRIGHT, Spec, kept, shown, ticks

AT_ONCE = 6
"""The most lines of a chart that are drawn in colour. The others are grey until a reader chooses them."""

RATES: dict[Bound, str] = {"memory": "B/s", "generator": "numbers/s", "interpreter": "items/s"}
"""The unit of the rate under each bound."""


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        spec: the specification. Its data set ``rows`` holds the rows.
        columns: the titles of a row's values, by name. ``cell`` holds a cell's number.
        alt: the text for readers who cannot see the chart.
    """

    spec: Spec
    columns: Mapping[str, str]
    rows: Sequence[Sequence[Any]]
    alt: str


def rate(number: float, bound: Bound) -> str:
    """``12.3 GB/s``, ``306 M numbers/s``."""
    return units.rate(number, RATES[bound])


COST_COLUMNS = {
    "line": "operation",
    "label": "at",
    "n": "n",
    "value": "value",
    "low": "low",
    "high": "high",
    "cell": "cell",
}


def cost(
    lines: Mapping[str, Series],
    caches: Sequence[tuple[str, float, int]],
    domain: tuple[float, float] | None,
    cells: Mapping[str, int],
    alt: str,
) -> Chart:
    """Time against size: a line for each operation, with a band for its interval.

    Args:
        lines: the series by name.
        caches: for each cache its name, the n from which it is too small, and the row of its label.
        domain: the ends of the axis of values, so that charts side by side have the same axis; None if an end is not
            positive.
        cells: the numbers of the cells by name.
    """
    rows: list[list[Any]] = [
        [name, point.label, point.n, *_kept(point.value), cells[point.cell]]
        for name, series in lines.items()
        for point in series.points
    ]
    one = next(iter(lines.values()))
    ns = [n for _, _, n, *_ in rows]
    edges = [{"n": at, "name": name, "row": row} for name, at, row in caches if min(ns) < at < max(ns)]
    values = [number for row in rows for number in row[3:6]]
    y_scale: Spec = {"type": vega.log_or_symlog(values)}
    if domain is not None and y_scale["type"] == "log":
        y_scale |= {"domain": list(domain)}
    y_axis = {"title": "time a call" if one.unit == "seconds" else one.unit, "labelExpr": shown("datum.value")}
    y_axis |= ticks(values, one.unit) if y_scale["type"] == "log" else {}
    x_scale = {"type": vega.log_or_symlog(ns), "nice": False, "padding": 12}
    spec = vega.base(
        320,
        [*(_edges(edges) if edges else []), *_cost_lines(one.axis)],
        params=[{"name": "unit", "value": one.unit}],
        encoding={
            "x": vega.quantity("n", x_scale, _sizes(one, {n: label for _, label, n, *_ in rows})),
            "y": vega.quantity("value", y_scale, y_axis),
        },
    )
    return Chart(spec, {**COST_COLUMNS, "n": one.counts, "value": one.unit}, rows, alt)


def _kept(interval: Interval) -> list[float | None]:
    return [kept(number) for number in (interval.middle, interval.low, interval.high)]


def _sizes(one: Series, labels: Mapping[float, str]) -> Spec:
    """The axis of sizes, with the parameter's labels if there are at most 12."""
    axis: Spec = {"title": f"{one.axis} ({one.counts})" if one.counts != one.axis else one.axis, "grid": False}
    if len(labels) <= 12:
        at, names = zip(*sorted(labels.items()), strict=True)
        axis |= {"values": list(at), "labelExpr": f"({json.dumps(names)})[indexof({json.dumps(at)}, datum.value)]"}
    return axis


def _edges(edges: Sequence[Spec]) -> list[Spec]:
    """A line and the name for each cache, at the size from which it is too small."""
    x: Spec = {"x": {"field": "n", "type": "quantitative"}}
    return [
        {"data": {"values": edges}} | vega.reference({**x, **UPRIGHT}),
        {
            "data": {"values": edges},
            "mark": {"type": "text", "align": "left", "baseline": "top", "dx": 4},
            "encoding": {**x, "y": vega.row(13), "text": {"field": "name"}},
        },
    ]


def _cost_lines(axis: str) -> list[Spec]:
    """The chosen lines with band and points, and the others in grey."""
    told_apart: Spec = {"field": "line", "sort": None}
    focus = {"filter": "datum.chosen"}
    return [
        {
            "transform": [{"filter": "!datum.chosen"}],
            "mark": {"type": "line", "strokeWidth": 1, "color": "var(--context)"},
            "encoding": {"detail": {"field": "line"}},
        },
        {
            "transform": [focus, KNOWN],
            "mark": {"type": "area", "opacity": 0.18},
            "encoding": {**vega.ends(), "color": told_apart},
        },
        {
            "transform": [focus],
            "mark": {"type": "line", "strokeWidth": 2},
            "encoding": {"color": told_apart, "strokeDash": told_apart},
        },
        {
            "transform": [focus, *vega.interval()],
            "mark": vega.points(55),
            "encoding": {
                "color": told_apart,
                "shape": {**told_apart, "scale": {"range": SHAPES[:AT_ONCE]}},
                "tooltip": vega.tooltip({"line": "operation", "label": axis, "shown": "value", "range": "interval"}),
            },
        },
    ]


@dataclass(frozen=True)
class CeilingPoint:
    """A yardstick at one size: a point of a ceiling.

    Attributes:
        line: the yardstick's name without its size.
        work: bytes, numbers or items per call.
        rate: bytes, numbers or items per second.
        level: see `Limit`.
    """

    line: str
    work: float
    rate: float
    level: str


ROOFLINE_COLUMNS = {
    "cell": "cell",
    "work": "work",
    "achieved": "achieved",
    "ceiling": "ceiling",
    "share": "share",
    "gain": "seconds to gain",
    "where": "where",
}


def roofline(
    bound: Bound,
    rows: Sequence[tuple[Limit, float]],
    yardsticks: Sequence[CeilingPoint],
    cells: Mapping[str, int],
    alt: str,
) -> Chart:
    """The achieved rate against the work of a call, and the ceilings.

    Args:
        rows: limits of one bound and subject, each with its cell's seconds.
        yardsticks: those of the same bound and subject. At the edge of a cache, their lines have a step.
    """
    work = {"memory": "bytes", "generator": "numbers", "interpreter": "items"}[bound]
    points: list[list[Any]] = [
        [
            cells[limit.cell],
            *map(kept, (limit.achieved * seconds, limit.achieved, limit.ceiling, limit.share.middle, limit.to_gain)),
            _where(limit.level),
        ]
        for limit, seconds in rows
    ]
    levels = sorted({*(limit.level for limit, _ in rows), *(stick.level for stick in yardsticks)})
    place = vega.told_apart("where", list(map(_where, levels)))
    lines = sorted({stick.line for stick in yardsticks})
    work_label = shown("datum.value", "'bytes'") if bound == "memory" else "format(datum.value, '~s')"
    works = [*(row[1] for row in points), *(stick.work for stick in yardsticks)]
    rates = [*(rate for row in points for rate in row[2:4]), *(stick.rate for stick in yardsticks)]
    spec = vega.base(
        320 + 11 * len(lines),  # the legend has two columns
        [*_ceilings(yardsticks, lines, RATES[bound], place), _achieved(RATES[bound], place)],
        encoding={
            "x": vega.quantity(
                "work", LOG, {"title": f"{work} a call", "grid": False, "labelExpr": work_label} | ticks(works, work)
            ),
            "y": vega.quantity("achieved", {"type": "log"}, {"title": RATES[bound], "format": "~s"} | ticks(rates)),
        },
    )
    return Chart(spec, {**ROOFLINE_COLUMNS, "work": work, "achieved": RATES[bound]}, points, alt)


def _ceilings(yardsticks: Sequence[CeilingPoint], lines: Sequence[str], unit: str, place: Spec) -> list[Spec]:
    """A line through all sizes of each yardstick, with points."""
    values = [
        {"yardstick": stick.line, "work": kept(stick.work), "achieved": kept(stick.rate), "where": _where(stick.level)}
        for stick in sorted(yardsticks, key=lambda stick: (stick.line, stick.work))
    ]
    line: Spec = {"field": "yardstick", "legend": {"title": "ceilings", "symbolStrokeWidth": 2, "symbolSize": 600}}
    return [
        {
            "data": {"values": values},
            "mark": {"type": "line", "strokeWidth": 1.5},
            "encoding": {
                # Dash and grey together, since there are more ceilings than distinguishable dashes.
                "strokeDash": {**line, "scale": {"domain": lines, "range": vega.repeated(DASHES, lines)}},
                "stroke": {**line, "scale": {"domain": lines, "range": vega.greys(lines)}},
            },
        },
        {
            "data": {"values": values},
            "transform": [_rate("achieved", unit, "rate")],
            "mark": {"type": "point", "filled": False, "size": 45, "opacity": 1},
            "encoding": {
                **place,
                "tooltip": vega.tooltip({"yardstick": "ceiling", "rate": "reaches", "where": "where"}),
            },
        },
    ]


def _achieved(unit: str, place: Spec) -> Spec:
    titles = {"name": "cell", "rate": "achieved", "most": "ceiling", "percent": "of the limit", "gained": "to gain"}
    return {
        "transform": [
            _rate("achieved", unit, "rate"),
            _rate("ceiling", unit, "most"),
            {"calculate": "format(datum.share, '.0%')", "as": "percent"},
            {"calculate": shown("datum.gain", "'seconds'"), "as": "gained"},
        ],
        "mark": vega.points(40, opacity=0.75),
        "encoding": {**place, "tooltip": vega.tooltip(titles)},
    }


def _rate(field: str, unit: str, name: str) -> Spec:
    return {"calculate": f"format(datum.{field}, '.3~s') + {json.dumps(unit)}", "as": name}


def _where(level: str) -> str:
    return f"in {level}" if level else "any size"


def law() -> Spec:
    """The measured points and the fitted law. The page adds the data ``rows`` and ``law``, and two parameters."""
    return vega.base(
        280,
        [
            {"data": {"name": "law"}, "mark": {"type": "line", "strokeWidth": 2, "color": "var(--line-1)"}},
            {
                "transform": [KNOWN],
                "mark": {"type": "rule", "strokeWidth": 1.5, "color": "var(--text)"},
                "encoding": vega.ends(),
            },
            _departing([*vega.interval(), {"calculate": shown("datum.fitted"), "as": "law"}], 70),
        ],
        params=_LAW_PARAMS,
        encoding={
            "x": _ALONG,
            "y": {
                "field": "value",
                "type": "quantitative",
                "scale": LOG,
                "axis": {"title": "a call", "values": {"expr": "ticks"}, "labelExpr": shown("datum.value")},
            },
        },
    )


def residuals() -> Spec:
    """The distance of each point from its law, with a possible cause."""
    return vega.base(
        280,
        [
            vega.reference({"y": {"datum": 0}}),
            {
                "mark": {"type": "rule", "strokeWidth": 1.5, "color": "var(--text)"},
                "encoding": {"y": {"datum": 0}, "y2": {"field": "relative"}},
            },
            _departing([*vega.interval(), {"calculate": shown("datum.fitted"), "as": "law"}], 70),
            {
                "transform": [{"filter": "datum.departs"}],
                "mark": {"type": "text", "align": "right", "dx": -8, "dy": -8, "limit": 200},
                "encoding": {"text": {"field": "why"}},
            },
        ],
        params=_LAW_PARAMS,
        encoding={
            "x": _ALONG,
            "y": {
                "field": "relative",
                "type": "quantitative",
                "axis": {"title": "measured over law, less 1", "format": "+.1~%", "tickCount": 5},
            },
        },
    )


_LAW_PARAMS = [{"name": "unit", "value": "seconds"}, {"name": "ticks", "value": None}]
_ALONG = {
    "field": "n",
    "type": "quantitative",
    "scale": {"type": "log", "nice": False, "padding": 14},
    "axis": {"title": "n", "format": "~s", "tickCount": 6, "grid": False},
}


def _departing(transform: list[Spec], size: int) -> Spec:
    two = ["follows the law", "departs from it"]
    field = {"field": "kind", "type": "nominal"}
    return {
        "transform": [{"calculate": f"datum.departs ? '{two[1]}' : '{two[0]}'", "as": "kind"}, *transform],
        "mark": vega.points(size),
        "encoding": {
            "color": {**field, "scale": {"domain": two, "range": [COLOURS[0], COLOURS[1]]}},
            "shape": {**field, "scale": {"domain": two, "range": ["circle", "triangle-up"]}},
            "tooltip": vega.tooltip(
                {"label": "at", "shown": "measured", "range": "interval", "law": "law", "why": "why"}
            ),
        },
    }


JOB_COLUMNS = {
    "label": "at",
    "rival": "way",
    "ratio": "times the best",
    "low": "low",
    "high": "high",
    "value": "value",
    "tied": "tied",
    "cell": "cell",
}


def job(one: RankedJob, unit: str, cells: Mapping[str, int], alt: str) -> Chart:
    """The time of each way over that of the best way, with its interval, at every size."""
    names = list(dict.fromkeys(rival.name for ranking in one.rankings for rival in ranking.rivals))
    rows: list[list[Any]] = [
        [
            ranking.label,
            rival.name,
            *_kept(rival.ratio),
            kept(rival.value.middle),
            "tied with the best" if rival.tied else "",
            cells[rival.cell],
        ]
        for ranking in one.rankings
        for rival in ranking.rivals
    ]
    rival: Spec = {"field": "rival", "type": "nominal", "sort": None}
    axis = {"title": "times the best", "format": "~g"} | ticks(value for row in rows for value in row[2:5])
    ratio = vega.quantity("ratio", LOG, axis)
    told_apart = vega.told_apart("rival", names)
    if len(one.rankings) == 1:  # one way per row, named by the axis
        told_apart = {channel: {**value, "legend": None} for channel, value in told_apart.items()}
        encoding: Spec = {"y": rival | {"axis": {"title": None, "labelLimit": 140}}, "x": ratio}
        height, along, best = 40 + 28 * len(names), "x", {"x": {"datum": 1}, **UPRIGHT}
    else:  # one size per column, with all ways
        sizes: Spec = {"field": "label", "type": "ordinal", "sort": None}
        encoding = {"x": sizes | {"axis": {"title": one.axis, "labelAngle": 0}}, "xOffset": rival, "y": ratio}
        height, along, best = 300, "y", {"y": {"datum": 1}, **LEVEL, "xOffset": {"value": 0}}
    spec = vega.base(
        height,
        [
            vega.reference(best),
            {
                "transform": [KNOWN],
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {**vega.ends(along), "color": told_apart["color"]},
            },
            _ways(one, told_apart),
        ],
        params=[{"name": "unit", "value": unit}],
        encoding=encoding,
    )
    columns = {**JOB_COLUMNS, "label": one.axis or "at", "rival": one.rivals, "value": unit}
    return Chart(spec, columns, rows, alt)


def _ways(one: RankedJob, told_apart: Spec) -> Spec:
    titles = {
        "rival": one.rivals,
        "label": one.axis or "at",
        "shown": "value",
        "times": "times the best",
        "tied": "tied",
    }
    return {
        "transform": [
            {"calculate": shown("datum.value"), "as": "shown"},
            {"calculate": "format(datum.ratio, '.3~g') + 'x'", "as": "times"},
        ],
        "mark": vega.points(60),
        "encoding": {**told_apart, "tooltip": vega.tooltip(titles)},
    }


def crossing(one: Crossing, alt: str) -> Chart:
    """The ratio of the second value of a parameter to the first, along the axis."""
    rows: list[list[Any]] = [[label, n, *_kept(ratio)] for label, n, ratio in one.ratios]
    spec = vega.base(
        240,
        [
            vega.reference({"y": {"datum": 1}, **LEVEL}),
            {
                "transform": [KNOWN],
                "mark": {"type": "rule", "strokeWidth": 2, "color": COLOURS[0]},
                "encoding": vega.ends(),
            },
            {"mark": {"type": "line", "color": COLOURS[0], "strokeWidth": 1}},
            {
                "transform": [{"calculate": "format(datum.ratio, '.3~g') + 'x'", "as": "times"}],
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "color": COLOURS[0]},
                "encoding": {"tooltip": vega.tooltip({"label": one.axis, "times": "second over first"})},
            },
        ],
        encoding={
            "x": {"field": "label", "type": "ordinal", "sort": None, "axis": {"title": one.axis, "labelAngle": 0}},
            "y": {
                "field": "ratio",
                "type": "quantitative",
                "scale": LOG,
                "axis": {"title": f"{one.second} over {one.first}", "format": "~g"}
                | ticks([1.0, *(value for row in rows for value in row[2:5])]),
            },
        },
    )
    columns = {"label": one.axis, "n": "n", "ratio": f"{one.second} over {one.first}", "low": "low", "high": "high"}
    return Chart(spec, columns, rows, alt)


def track() -> Spec:
    """A cell over the commits. The page adds the data sets ``rows`` and ``marks``, and two parameters."""
    axis = {
        "title": "commit",
        "grid": False,
        "values": {"expr": "sequence(0, length(commits))"},
        "labelExpr": "commits[datum.value] || ''",
        "labelAngle": -40,
    }
    return vega.base(
        320,
        [
            {
                "transform": [KNOWN],
                "mark": {"type": "area", "opacity": 0.18, "color": COLOURS[0]},
                "encoding": vega.ends(),
            },
            {"mark": {"type": "line", "strokeWidth": 2, "color": COLOURS[0]}},
            {
                "transform": vega.interval(),
                "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1, "color": COLOURS[0]},
                "encoding": {
                    "tooltip": vega.tooltip(
                        {"commit": "commit", "subject": "subject", "shown": "value", "range": "interval"}
                    )
                },
            },
            *_marks(),
        ],
        params=[{"name": "unit", "value": "seconds"}, {"name": "commits", "value": []}],
        encoding={
            "x": vega.quantity("at", {"nice": False, "zero": False, "padding": 12}, axis),
            "y": vega.quantity(
                "value", {"zero": False}, {"title": "a call", "tickCount": 6, "labelExpr": shown("datum.value")}
            ),
        },
    )


MARKS = {
    "change point": (COLOURS[1], "diamond"),
    "regression": (COLOURS[5], "triangle-up"),
    "improvement": (COLOURS[2], "triangle-down"),
    "torch upgrade": (COLOURS[3], "square"),
    "other verdict": (COLOURS[6], "circle"),
}
"""The colour and shape of each kind of mark at a commit."""


def _marks() -> list[Spec]:
    """The marks at the commits: a vertical line, with stacked symbols and words at the top."""
    colours, shapes = (list(of) for of in zip(*MARKS.values(), strict=True))
    kind: Spec = {"field": "kind", "type": "nominal"}
    domain: Spec = {"domain": list(MARKS)}
    colour: Spec = {**kind, "scale": {**domain, "range": colours}}
    at, stacked = {"field": "at", "type": "quantitative"}, vega.row(16)
    return [
        {
            "data": {"name": "marks"},
            "mark": {"type": "rule", "strokeWidth": 1.5},
            "encoding": {
                "x": at,
                **UPRIGHT,
                "color": colour,
                "strokeDash": {**kind, "scale": {**domain, "range": DASHES[: len(MARKS)]}},
            },
        },
        {
            "data": {"name": "marks"},
            "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
            "encoding": {
                "x": at,
                "y": stacked,
                "color": colour,
                "shape": {**kind, "scale": {**domain, "range": shapes}},
                "tooltip": vega.tooltip({"commit": "commit", "kind": "what", "words": "how much"}),
            },
        },
        {
            "data": {"name": "marks"},
            "transform": [{"filter": "datum.label"}],
            "mark": {"type": "text", "align": "left", "baseline": "middle", "dx": 8},
            "encoding": {"x": at, "y": stacked, "text": {"field": "words"}},
        },
    ]


SHARED = {"law": law, "residuals": residuals, "track": track}
"""Specifications that many charts share. The page contains each once."""
