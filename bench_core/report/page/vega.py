"""Parts of Vega-Lite specifications that several charts share: style, scales, ticks, marks.

Colours are CSS variables, which browsers resolve inside SVG, so the dark view and print need no second drawing. No two
marks differ by colour alone: they also differ by shape or dash. Names are data or JSON strings, never parts of an
expression.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Spec = dict[str, Any]

COLOURS = [f"var(--line-{slot})" for slot in range(1, 9)]
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left"]
DASHES = [[1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [12, 4], [4, 2, 1, 2]]

STYLE: Spec = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "aria": False,  # the figure around the chart has a text
    "view": {"stroke": None},
    "padding": {"left": 2, "right": 22, "top": 8, "bottom": 2},  # the last label of an axis extends beyond its end
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
    "axisY": {"labelLimit": 220},
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
"""Vega-Lite's ``config`` for all charts."""


def kept(number: float) -> float | None:
    """A number for a chart's data: a whole one as it is, another one with five digits; None for NaN and infinity."""
    if not math.isfinite(number):
        return None
    return float(number) if number % 1 == 0 else float(f"{number:.5g}")


def shown(number: str, unit: str = "unit") -> str:
    """A Vega expression that formats a number. The page's script defines the function.

    Args:
        number: an expression for the number.
        unit: an expression for its unit; by default the specification's parameter.
    """
    return f"shown({number}, {unit})"


KNOWN: Spec = {"filter": "isValid(datum.low) && isValid(datum.high)"}
"""A transform that keeps the rows whose interval is known."""

LOG: Spec = {"type": "log", "nice": False, "padding": 12}
"""A logarithmic scale."""

TICKS = 7
"""The most ticks of an axis."""

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
    """The ticks of a logarithmic axis, at round numbers; empty for Vega's own ticks."""
    known = [value for value in values if value is not None and value > 0]
    for base, factors, step in BINARY if unit == "bytes" else DECIMAL:
        first, last = (math.floor(math.log(end(known, default=1.0), base)) for end in (min, max))
        exponents = range(first - first % step, last + 1, step)
        found = [base**exponent * factor for exponent in exponents for factor in factors]
        found = [value for value in found if min(known, default=1.0) <= value <= max(known, default=1.0)]
        if len(found) <= TICKS:
            return {"values": found} if len(found) > 1 else {}
    return {}


def interval(unit: str = "unit") -> list[Spec]:
    """Transforms that add the value and its interval as text for the tooltip."""
    return [
        {"calculate": shown("datum.value", unit), "as": "shown"},
        {
            "calculate": f"isValid(datum.low) && isValid(datum.high) ? {shown('datum.low', unit)} + ' to ' + "
            f"{shown('datum.high', unit)} : 'unknown'",
            "as": "range",
        },
    ]


def log_or_symlog(values: Iterable[float | None]) -> str:
    return "log" if all(value is None or value > 0 for value in values) else "symlog"


def told_apart(field: str, values: Sequence[str]) -> Spec:
    """Colour and shape for the values of a field. Up to 64 values, no two have the same colour and shape."""
    many = len(COLOURS)
    colours = [COLOURS[index % many] for index in range(len(values))]
    shapes = [SHAPES[(index + index // many) % many] for index in range(len(values))]
    named: Spec = {"field": field, "type": "nominal", "sort": None}
    return {
        "color": {**named, "scale": {"domain": values, "range": colours}},
        "shape": {**named, "scale": {"domain": values, "range": shapes}},
    }


UPRIGHT: Spec = {"y": {"value": 0}, "y2": {"value": "height"}}
"""The encoding of a vertical rule over the whole chart."""

LEVEL: Spec = {"x": {"value": 0}, "x2": {"value": "width"}}
"""The encoding of a horizontal rule over the whole chart."""


def row(height: int) -> Spec:
    """The vertical position of stacked labels at the top of the chart, by their field ``row``."""
    return {"value": {"expr": f"datum.row * {height}"}}


def base(height: int, layers: list[Spec], **more: Any) -> Spec:
    return {
        "width": "container",
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"name": "rows"},
        **more,
        "layer": layers,
    }


def repeated(range_: Sequence[Any], lines: Sequence[str]) -> list[Any]:
    """A value of the range for each line, repeating the range."""
    return [range_[index % len(range_)] for index in range(len(lines))]


def greys(lines: Sequence[str]) -> list[str]:
    """A grey for each line. It changes when `DASHES` start again."""
    shades = ("var(--text)", "var(--muted)", "var(--edge)")
    return [shades[index // len(DASHES) % len(shades)] for index in range(len(lines))]


def tooltip(fields: Mapping[str, str]) -> list[Spec]:
    """The tooltip with the titles of fields. vega-tooltip makes a heading of what is titled ``title``, and an image of
    ``image``; ``__proto__`` would be lost. A parameter of such a name gets a colon."""
    own = ("title", "image", "__proto__")
    return [{"field": field, "title": f"{title}:" if title in own else title} for field, title in fields.items()]


def points(size: int, **more: Any) -> Spec:
    """The mark of points that link to a cell."""
    return {"type": "point", "filled": True, "size": size, "opacity": 1, "cursor": "pointer", **more}


def ends(along: str = "y") -> Spec:
    """The encoding of an interval along an axis."""
    return {along: {"field": "low"}, f"{along}2": {"field": "high"}}


def reference(encoding: Spec) -> Spec:
    """A dashed line that values are compared with."""
    return {"mark": {"type": "rule", "strokeDash": [4, 4]}, "encoding": encoding}


def quantity(field: str, scale: Spec, axis: Spec) -> Spec:
    """The encoding of a number along an axis."""
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis}
