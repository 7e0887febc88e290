"""The charts: Vega-Lite specifications, and the rows that they show.

Colours are CSS variables, which browsers resolve inside SVG: the dark view and print need no second drawing. Whatever
has a colour has a shape or a dash of its own, too. Names come as data and as JSON strings, never as a part of an
expression.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench_core import units
from bench_core.records.report import Bound, Crossing, Job, Limit, Series

Spec = dict[str, Any]

AT_ONCE = 6
"""Lines of a chart that are told apart at once; the others are drawn in grey until they are chosen."""

RATES: dict[Bound, str] = {"memory": "B/s", "generator": "numbers/s", "interpreter": "items/s"}
"""The unit of what is achieved under each bound."""

COLOURS = [f"var(--line-{slot})" for slot in range(1, 9)]
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left"]
DASHES = [[1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [12, 4], [4, 2, 1, 2]]

STYLE: Spec = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "aria": False,  # the figure around the chart says it in words
    "view": {"stroke": None},
    "padding": {"left": 2, "right": 22, "top": 8, "bottom": 2},  # the last label of an axis hangs over its end
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "titleFontWeight": "normal",
        "domainColor": "var(--edge)",
        "tickColor": "var(--edge)",
        "gridColor": "var(--grid)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelOverlap": "greedy",
        "labelSeparation": 6,
    },
    "title": {"color": "var(--muted)", "fontSize": 12, "fontWeight": "normal"},
    "legend": {
        "labelColor": "var(--text)",
        "titleColor": "var(--muted)",
        "labelFontSize": 12,
        "labelLimit": 260,
        "orient": "bottom",
        "direction": "vertical",
        "columns": 2,
        "symbolOpacity": 1,
        "symbolSize": 90,
        "symbolStrokeWidth": 0.5,
        "title": None,
    },
    "text": {"color": "var(--muted)", "fontSize": 11},
    "rule": {"color": "var(--muted)"},
}
"""Of every chart: Vega-Lite's ``config``."""


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        spec: with the rows as the data set ``rows``.
        columns: names of the row's values, as the specification uses them; ``cell`` holds a cell's number.
        titles: of the columns, for the table and the download.
        alt: what it shows, in words.
    """

    spec: Spec
    columns: Mapping[str, str]
    rows: Sequence[Sequence[Any]]
    alt: str


def rate(number: float, bound: Bound) -> str:
    """``12.3 GB/s``, ``306 M numbers/s``."""
    return units.rate(number, RATES[bound])


def kept(number: float) -> float | None:
    """A number of a chart's data: five digits, and None where JSON has no number."""
    return float(f"{number:.5g}") if math.isfinite(number) else None


def shown(number: str, unit: str = "unit") -> str:
    """A Vega expression for a number as a person reads it; the page's script defines the function.

    Args:
        number: an expression for it.
        unit: an expression for its unit; by itself the parameter of the specification.
    """
    return f"shown({number}, {unit})"


TICKS = 7
"""Of an axis, at most."""

DECIMAL: list[tuple[float, list[float], int]] = [
    (10.0, [1, 1.5, 2, 3, 5, 7], 1),
    (10.0, [1, 2, 5], 1),
    (10.0, [1, 3], 1),
    (10.0, [1], 1),
    (10.0, [1], 2),
    (10.0, [1], 3),
]
BINARY: list[tuple[float, list[float], int]] = [(2.0, [1.0], step) for step in (1, 2, 3, 4, 5, 10)]


def ticks(values: Iterable[float | None], unit: str = "") -> Spec:
    """Where a logarithmic axis has its ticks: round numbers; nothing, where Vega's own serve as well."""
    known = [value for value in values if value is not None and value > 0]
    for base, factors, step in BINARY if unit == "bytes" else DECIMAL:
        first, last = (math.floor(math.log(end(known, default=1.0), base)) for end in (min, max))
        exponents = range(first - first % step, last + 1, step)
        found = [base**exponent * factor for exponent in exponents for factor in factors]
        found = [value for value in found if min(known, default=1.0) <= value <= max(known, default=1.0)]
        if len(found) <= TICKS:
            return {"values": found} if len(found) > 1 else {}
    return {}


def _interval(unit: str = "unit") -> list[Spec]:
    """Columns for the tooltip: the value, and its interval."""
    return [
        {"calculate": shown("datum.value", unit), "as": "shown"},
        {
            "calculate": f"isValid(datum.low) && isValid(datum.high) ? {shown('datum.low', unit)} + ' to ' + "
            f"{shown('datum.high', unit)} : 'unknown'",
            "as": "range",
        },
    ]


def _log(values: Iterable[float | None]) -> str:
    return "log" if all(value is None or value > 0 for value in values) else "symlog"


def _slots(count: int) -> Spec:
    """Colour and shape for the values of a field; no two are alike in both up to sixty-four."""
    many = len(COLOURS)
    return {
        "colour": [COLOURS[index % many] for index in range(count)],
        "shape": [SHAPES[(index + index // many) % many] for index in range(count)],
    }


UPRIGHT: Spec = {"y": {"value": 0}, "y2": {"value": "height"}}
LEVEL: Spec = {"x": {"value": 0}, "x2": {"value": "width"}}
"""Encodings of a rule from one end of the chart to the other."""


def _row(height: int) -> Spec:
    """Encoding of what stands at the top of the chart, one below the other, by its field ``row``."""
    return {"value": {"expr": f"datum.row * {height}"}}


def _base(height: int, layers: list[Spec], **more: Any) -> Spec:
    return {
        "width": "container",
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"name": "rows"},
        **more,
        "layer": layers,
    }


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
    """Time against size, one line an operation, with a band for the interval.

    Args:
        lines: by what tells them apart.
        caches: a cache's name, the n from which it is too small, and the row of that label.
        domain: of the values, so that charts side by side have the same; None where a logarithm does not know it.
        cells: their numbers.
    """
    rows: list[list[Any]] = [
        [
            name,
            point.label,
            point.n,
            *map(kept, (point.value.middle, point.value.low, point.value.high)),
            cells[point.cell],
        ]
        for name, series in lines.items()
        for point in series.points
    ]
    one = next(iter(lines.values()))
    ends = [n for _, _, n, *_ in rows]
    labels = {n: label for _, label, n, *_ in rows}
    edges = [{"n": at, "name": name, "row": row} for name, at, row in caches if min(ends) < at < max(ends)]
    told_apart: Spec = {"field": "line", "sort": None}
    focus = [{"filter": "datum.chosen"}]
    x_axis: Spec = {"title": f"{one.axis} ({one.counts})" if one.counts != one.axis else one.axis, "grid": False}
    if len(labels) <= 12:
        at, names = zip(*sorted(labels.items()), strict=True)
        x_axis |= {"values": list(at), "labelExpr": f"({json.dumps(names)})[indexof({json.dumps(at)}, datum.value)]"}
    layers: list[Spec] = [
        {
            "data": {"values": edges},
            "mark": {"type": "rule", "strokeDash": [4, 4]},
            "encoding": {"x": {"field": "n", "type": "quantitative"}, **UPRIGHT},
        },
        {
            "data": {"values": edges},
            "mark": {"type": "text", "align": "left", "baseline": "top", "dx": 4},
            "encoding": {"x": {"field": "n", "type": "quantitative"}, "y": _row(13), "text": {"field": "name"}},
        },
        {
            "transform": [{"filter": "!datum.chosen"}],
            "mark": {"type": "line", "strokeWidth": 1, "color": "var(--context)"},
            "encoding": {"detail": {"field": "line"}},
        },
        {
            "transform": [*focus, {"filter": "isValid(datum.low) && isValid(datum.high)"}],
            "mark": {"type": "area", "opacity": 0.18},
            "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}, "color": told_apart},
        },
        {
            "transform": focus,
            "mark": {"type": "line", "strokeWidth": 2},
            "encoding": {"color": told_apart, "strokeDash": told_apart},
        },
        {
            "transform": [*focus, *_interval()],
            "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1, "cursor": "pointer"},
            "encoding": {
                "color": told_apart,
                "shape": {**told_apart, "scale": {"range": SHAPES[:AT_ONCE]}},
                "tooltip": [
                    {"field": "line", "title": "operation"},
                    {"field": "label", "title": one.axis},
                    {"field": "shown", "title": "value"},
                    {"field": "range", "title": "interval"},
                ],
            },
        },
    ]
    values = [number for row in rows for number in row[3:6]]
    y_scale: Spec = {"type": _log(values)}
    if domain is not None and y_scale["type"] == "log":
        y_scale |= {"domain": list(domain)}
    if not edges:
        layers = layers[2:]
    spec = _base(
        320,
        layers,
        params=[{"name": "unit", "value": one.unit}],
        encoding={
            "x": {
                "field": "n",
                "type": "quantitative",
                "scale": {"type": _log(ends), "nice": False, "padding": 12},
                "axis": x_axis,
            },
            "y": {
                "field": "value",
                "type": "quantitative",
                "scale": y_scale,
                "axis": {
                    "title": "time a call" if one.unit == "seconds" else one.unit,
                    "labelExpr": shown("datum.value"),
                }
                | (ticks(values, one.unit) if y_scale["type"] == "log" else {}),
            },
        },
    )
    return Chart(spec, {**COST_COLUMNS, "n": one.counts, "value": one.unit}, rows, alt)


@dataclass(frozen=True)
class Yardstick:
    """A cell that the others are held to: a point of a ceiling.

    Attributes:
        line: its name without its size: a line has all sizes.
        work: bytes, numbers or items of a call.
        rate: of them in a second.
        level: as of a limit.
    """

    line: str
    work: float
    rate: float
    level: str


def roofline(
    bound: Bound,
    rows: Sequence[tuple[Limit, float]],
    yardsticks: Sequence[Yardstick],
    cells: Mapping[str, int],
    alt: str,
) -> Chart:
    """What is achieved against the work of a call, and the ceilings.

    Args:
        rows: limits of one bound and subject, each with its cell's seconds.
        yardsticks: of the same; where they leave a cache, their lines have a step.
    """
    levels = sorted({*(limit.level for limit, _ in rows), *(stick.level for stick in yardsticks)})
    slots = _slots(len(levels))
    work = {"memory": "bytes", "generator": "numbers", "interpreter": "items"}[bound]
    ceilings = [
        {
            "yardstick": stick.line,
            "work": kept(stick.work),
            "achieved": kept(stick.rate),
            "where": _where(stick.level),
        }
        for stick in sorted(yardsticks, key=lambda stick: (stick.line, stick.work))
    ]
    lines = sorted({stick.line for stick in yardsticks})
    points: list[list[Any]] = [
        [
            cells[limit.cell],
            *map(kept, (limit.achieved * seconds, limit.achieved, limit.ceiling)),
            *map(kept, (limit.share.middle, limit.to_gain)),
            _where(limit.level),
        ]
        for limit, seconds in rows
    ]
    unit = json.dumps(RATES[bound])
    told_apart: Spec = {"field": "where", "type": "nominal", "sort": None}
    rate = {"calculate": f"format(datum.achieved, '.3~s') + {unit}", "as": "rate"}
    place_scale = {"domain": [_where(level) for level in levels]}
    place: Spec = {
        "color": {**told_apart, "scale": {**place_scale, "range": slots["colour"]}},
        "shape": {**told_apart, "scale": {**place_scale, "range": slots["shape"]}},
    }
    line: Spec = {"field": "yardstick", "legend": {"title": "ceilings", "symbolStrokeWidth": 2, "symbolSize": 600}}
    spec = _base(
        320 + 11 * len(lines),  # the legend has two columns
        [
            {
                "data": {"values": ceilings},
                "mark": {"type": "line", "strokeWidth": 1.5},
                "encoding": {
                    # Dash and grey together: there are more ceilings than dashes that can be told apart.
                    "strokeDash": {**line, "scale": {"domain": lines, "range": _over(DASHES, lines)}},
                    "stroke": {**line, "scale": {"domain": lines, "range": _greys(lines)}},
                },
            },
            {
                "data": {"values": ceilings},
                "transform": [rate],
                "mark": {"type": "point", "filled": False, "size": 45, "opacity": 1},
                "encoding": {
                    **place,
                    "tooltip": [
                        {"field": "yardstick", "title": "ceiling"},
                        {"field": "rate", "title": "reaches"},
                        {"field": "where", "title": "where"},
                    ],
                },
            },
            {
                "transform": [
                    rate,
                    {"calculate": f"format(datum.ceiling, '.3~s') + {unit}", "as": "most"},
                    {"calculate": "format(datum.share, '.0%')", "as": "percent"},
                    {"calculate": shown("datum.gain", "'seconds'"), "as": "gained"},
                ],
                "mark": {"type": "point", "filled": True, "size": 40, "opacity": 0.75, "cursor": "pointer"},
                "encoding": {
                    **place,
                    "tooltip": [
                        {"field": "name", "title": "cell"},
                        {"field": "rate", "title": "achieved"},
                        {"field": "most", "title": "ceiling"},
                        {"field": "percent", "title": "of the limit"},
                        {"field": "gained", "title": "to gain"},
                    ],
                },
            },
        ],
        encoding={
            "x": {
                "field": "work",
                "type": "quantitative",
                "scale": {"type": "log", "nice": False, "padding": 12},
                "axis": {"title": f"{work} a call", "grid": False}
                | {"labelExpr": shown("datum.value", "'bytes'") if bound == "memory" else "format(datum.value, '~s')"}
                | ticks([*(row[1] for row in points), *(stick.work for stick in yardsticks)], work),
            },
            "y": {
                "field": "achieved",
                "type": "quantitative",
                "scale": {"type": "log"},
                "axis": {"title": RATES[bound], "format": "~s"}
                | ticks([*(rate for row in points for rate in row[2:4]), *(stick.rate for stick in yardsticks)]),
            },
        },
    )
    columns = {
        "cell": "cell",
        "work": work,
        "achieved": RATES[bound],
        "ceiling": "ceiling",
        "share": "share",
        "gain": "seconds to gain",
        "where": "where",
    }
    return Chart(spec, columns, points, alt)


def _over(range_: Sequence[Any], lines: Sequence[str]) -> list[Any]:
    """One of the range for each line, from the start again where it ends."""
    return [range_[index % len(range_)] for index in range(len(lines))]


def _greys(lines: Sequence[str]) -> list[str]:
    """Another one each time that the dashes begin again."""
    greys = ("var(--text)", "var(--muted)", "var(--edge)")
    return [greys[index // len(DASHES) % len(greys)] for index in range(len(lines))]


def _where(level: str) -> str:
    return f"in {level}" if level else "any size"


def law() -> Spec:
    """Measured points and the law through them; the data sets ``rows`` and ``law``, and two parameters, come later."""
    return _base(
        280,
        [
            {
                "data": {"name": "law"},
                "mark": {"type": "line", "strokeWidth": 2, "color": "var(--line-1)"},
            },
            {
                "transform": [{"filter": "isValid(datum.low) && isValid(datum.high)"}],
                "mark": {"type": "rule", "strokeWidth": 1.5, "color": "var(--text)"},
                "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}},
            },
            _departing([*_interval(), {"calculate": shown("datum.fitted"), "as": "law"}], 70),
        ],
        params=_LAW_PARAMS,
        encoding={
            "x": _ALONG,
            "y": {
                "field": "value",
                "type": "quantitative",
                "scale": {"type": "log", "nice": False, "padding": 12},
                "axis": {"title": "a call", "values": {"expr": "ticks"}, "labelExpr": shown("datum.value")},
            },
        },
    )


def residuals() -> Spec:
    """How far each point is from its law, and why."""
    return _base(
        280,
        [
            {"mark": {"type": "rule", "strokeDash": [4, 4]}, "encoding": {"y": {"datum": 0}}},
            {
                "mark": {"type": "rule", "strokeWidth": 1.5, "color": "var(--text)"},
                "encoding": {"y": {"datum": 0}, "y2": {"field": "relative"}},
            },
            _departing([*_interval(), {"calculate": shown("datum.fitted"), "as": "law"}], 70),
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
        "mark": {"type": "point", "filled": True, "size": size, "opacity": 1, "cursor": "pointer"},
        "encoding": {
            "color": {**field, "scale": {"domain": two, "range": [COLOURS[0], COLOURS[1]]}},
            "shape": {**field, "scale": {"domain": two, "range": ["circle", "triangle-up"]}},
            "tooltip": [
                {"field": "label", "title": "at"},
                {"field": "shown", "title": "measured"},
                {"field": "range", "title": "interval"},
                {"field": "law", "title": "law"},
                {"field": "why", "title": "why"},
            ],
        },
    }


def job(one: Job, unit: str, cells: Mapping[str, int], alt: str) -> Chart:
    """Each way's time over that of the best one, with its interval; at every size, where there are several."""
    names = list(dict.fromkeys(rival.name for ranking in one.rankings for rival in ranking.rivals))
    slots = _slots(len(names))
    rows: list[list[Any]] = [
        [
            ranking.label,
            rival.name,
            *map(kept, (rival.ratio.middle, rival.ratio.low, rival.ratio.high)),
            kept(rival.value.middle),
            "tied with the best" if rival.tied else "",
            cells[rival.cell],
        ]
        for ranking in one.rankings
        for rival in ranking.rivals
    ]
    rival: Spec = {"field": "rival", "type": "nominal", "sort": None}
    ratio: Spec = {
        "field": "ratio",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 12},
        "axis": {"title": "times the best", "format": "~g"} | ticks(value for row in rows for value in row[2:5]),
    }
    ordinal: Spec = {"field": "label", "type": "ordinal", "sort": None}
    alone = len(one.rankings) == 1
    across, up, ends = ("y", "x", ("x", "x2")) if alone else ("x", "y", ("y", "y2"))
    encoding: Spec = {across: rival | {"axis": {"title": None, "labelLimit": 140}}, up: ratio}
    if not alone:
        encoding = {across: ordinal | {"axis": {"title": one.axis, "labelAngle": 0}}, up: ratio}
        encoding["xOffset"] = rival
    told_apart = {
        "color": {**rival, "scale": {"domain": names, "range": slots["colour"]}},
        "shape": {**rival, "scale": {"domain": names, "range": slots["shape"]}},
    }
    if alone:
        told_apart = {channel: {**value, "legend": None} for channel, value in told_apart.items()}
    spec = _base(
        40 + 28 * len(names) if alone else 300,
        [
            {
                "mark": {"type": "rule", "strokeDash": [4, 4]},
                "encoding": {up: {"datum": 1}} | (UPRIGHT if alone else LEVEL | {"xOffset": {"value": 0}}),
            },
            {
                "transform": [{"filter": "isValid(datum.low) && isValid(datum.high)"}],
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {ends[0]: {"field": "low"}, ends[1]: {"field": "high"}, "color": told_apart["color"]},
            },
            {
                "transform": [
                    {"calculate": shown("datum.value"), "as": "shown"},
                    {"calculate": "format(datum.ratio, '.3~g') + 'x'", "as": "times"},
                ],
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "cursor": "pointer"},
                "encoding": {
                    **told_apart,
                    "tooltip": [
                        {"field": "rival", "title": one.rivals},
                        {"field": "label", "title": one.axis or "at"},
                        {"field": "shown", "title": "value"},
                        {"field": "times", "title": "times the best"},
                        {"field": "tied", "title": "tied"},
                    ],
                },
            },
        ],
        params=[{"name": "unit", "value": unit}],
        encoding=encoding,
    )
    columns = {
        "label": one.axis or "at",
        "rival": one.rivals,
        "ratio": "times the best",
        "low": "low",
        "high": "high",
        "value": unit,
        "tied": "tied",
        "cell": "cell",
    }
    return Chart(spec, columns, rows, alt)


def crossing(one: Crossing, alt: str) -> Chart:
    """The second value of a parameter over the first one, along the axis."""
    rows: list[list[Any]] = [
        [label, n, *map(kept, (ratio.middle, ratio.low, ratio.high))] for label, n, ratio in one.ratios
    ]
    spec = _base(
        240,
        [
            {"mark": {"type": "rule", "strokeDash": [4, 4]}, "encoding": {"y": {"datum": 1}, **LEVEL}},
            {
                "transform": [{"filter": "isValid(datum.low) && isValid(datum.high)"}],
                "mark": {"type": "rule", "strokeWidth": 2, "color": COLOURS[0]},
                "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}},
            },
            {"mark": {"type": "line", "color": COLOURS[0], "strokeWidth": 1}},
            {
                "transform": [{"calculate": "format(datum.ratio, '.3~g') + 'x'", "as": "times"}],
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "color": COLOURS[0]},
                "encoding": {
                    "tooltip": [{"field": "label", "title": one.axis}, {"field": "times", "title": "second over first"}]
                },
            },
        ],
        encoding={
            "x": {"field": "label", "type": "ordinal", "sort": None, "axis": {"title": one.axis, "labelAngle": 0}},
            "y": {
                "field": "ratio",
                "type": "quantitative",
                "scale": {"type": "log", "nice": False, "padding": 12},
                "axis": {"title": f"{one.second} over {one.first}", "format": "~g"}
                | ticks([1.0, *(value for row in rows for value in row[2:5])]),
            },
        },
    )
    columns = {"label": one.axis, "n": "n", "ratio": f"{one.second} over {one.first}", "low": "low", "high": "high"}
    return Chart(spec, columns, rows, alt)


def track() -> Spec:
    """A cell over the commits; the data sets ``rows`` and ``marks``, and two parameters, come later."""
    at = {"field": "at", "type": "quantitative"}
    words = ["change point", "regression", "improvement", "torch upgrade", "other verdict"]
    colours = [COLOURS[slot] for slot in (1, 5, 2, 3, 6)]
    kind: Spec = {"field": "kind", "type": "nominal"}
    domain: Spec = {"domain": words}
    stacked = _row(16)  # what happened at one commit stands one below the other
    return _base(
        320,
        [
            {
                "transform": [{"filter": "isValid(datum.low) && isValid(datum.high)"}],
                "mark": {"type": "area", "opacity": 0.18, "color": COLOURS[0]},
                "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}},
            },
            {"mark": {"type": "line", "strokeWidth": 2, "color": COLOURS[0]}},
            {
                "transform": _interval(),
                "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1, "color": COLOURS[0]},
                "encoding": {
                    "tooltip": [
                        {"field": "commit", "title": "commit"},
                        {"field": "subject", "title": "subject"},
                        {"field": "shown", "title": "value"},
                        {"field": "range", "title": "interval"},
                    ]
                },
            },
            {
                "data": {"name": "marks"},
                "mark": {"type": "rule", "strokeWidth": 1.5},
                "encoding": {
                    "x": at,
                    **UPRIGHT,
                    "color": {**kind, "scale": {**domain, "range": colours}},
                    "strokeDash": {**kind, "scale": {**domain, "range": DASHES[:5]}},
                },
            },
            {
                "data": {"name": "marks"},
                "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
                "encoding": {
                    "x": at,
                    "y": stacked,
                    "color": {**kind, "scale": {**domain, "range": colours}},
                    "shape": {
                        **kind,
                        "scale": {**domain, "range": ["diamond", "triangle-up", "triangle-down", "square", "circle"]},
                    },
                    "tooltip": [
                        {"field": "commit", "title": "commit"},
                        {"field": "kind", "title": "what"},
                        {"field": "words", "title": "how much"},
                    ],
                },
            },
            {
                "data": {"name": "marks"},
                "transform": [{"filter": "datum.label"}],
                "mark": {"type": "text", "align": "left", "baseline": "middle", "dx": 8},
                "encoding": {"x": at, "y": stacked, "text": {"field": "words"}},
            },
        ],
        params=[{"name": "unit", "value": "seconds"}, {"name": "commits", "value": []}],
        encoding={
            "x": {
                **at,
                "scale": {"nice": False, "zero": False, "padding": 12},
                "axis": {
                    "title": "commit",
                    "grid": False,
                    "values": {"expr": "sequence(0, length(commits))"},
                    "labelExpr": "commits[datum.value] || ''",
                    "labelAngle": -40,
                },
            },
            "y": {
                "field": "value",
                "type": "quantitative",
                "scale": {"zero": False},
                "axis": {"title": "a call", "tickCount": 6, "labelExpr": shown("datum.value")},
            },
        },
    )


SHARED = {"law": law, "residuals": residuals, "track": track}
"""Specifications that many charts share; each is in the page once."""
