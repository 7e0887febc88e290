"""Values as the page shows them: beyond `bench_core.units`, what depends on a unit or on a bound."""

from __future__ import annotations

import math

from bench_core import units
from bench_core.records.report import Bound, Measured
from bench_core.records.run import Interval

RATES: dict[Bound, str] = {"memory": "B/s", "generator": "numbers/s", "interpreter": "items/s"}


def value(number: float, unit: str) -> str:
    """The number with its unit: ``1.23 ms``, ``64 MiB``, ``0.5 ratio``."""
    if unit == "seconds":
        return time(number)
    return units.size(number) if unit == "bytes" else f"{number:.4g} {unit}".strip()


def time(seconds: float) -> str:
    """As of `units.time`, and in picoseconds below one nanosecond: what an element costs, mostly."""
    if 0 < abs(seconds) < 0.9995e-9:
        return f"{seconds * 1e12:.3g} ps"
    return units.time(seconds)


def between(interval: Interval, unit: str) -> str:
    """Both ends, or that they are not known."""
    return f"{value(interval.low, unit)} to {value(interval.high, unit)}" if interval.known else "interval unknown"


def ratio(interval: Interval) -> str:
    """``1.23x (1.20 to 1.27)``."""
    middle = units.ratio(interval.middle)
    if not interval.known:
        return f"{middle} (interval unknown)"
    low, high = (units.ratio(end).removesuffix("x") for end in (interval.low, interval.high))
    return middle if low == high == middle.removesuffix("x") else f"{middle} ({low} to {high})"


def rate(number: float, bound: Bound) -> str:
    """Three digits with a decimal prefix: ``12.3 GB/s``, ``306 M numbers/s``."""
    space = "" if bound == "memory" else " "
    for scale, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * scale:
            return f"{number / scale:.3g} {prefix}{space}{RATES[bound]}"
    return f"{number:.3g} {RATES[bound]}"


def percent(share: float) -> str:
    """``12 %``, never broken across lines."""
    return "?" if math.isnan(share) else f"{100 * share:.{0 if abs(share) >= 0.01 else 1}f}\u00a0%"


def step(ratio: float, unit: str) -> str:
    """What a change point did: ``1.25x faster``, ``2.00x more``."""
    return f"{units.ratio(max(ratio, 1 / ratio))} {units.direction(unit, grew=ratio > 1)}"


def change(relative: float) -> str:
    """With its sign: ``+12 %``."""
    return f"{100 * relative:+.0f} %" if abs(relative) >= 0.1 else f"{100 * relative:+.1f} %"


def count(number: float) -> str:
    """``1,024``; from ten million on ``16.8 M``."""
    for scale, suffix in ((1e9, "G"), (1e6, "M")):
        if number >= 10 * scale:
            return f"{number / scale:.3g} {suffix}"
    return f"{number:,.0f}" if number == round(number) else f"{number:,.4g}"


def sortable(number: float) -> str:
    """What a table sorts by: four digits; "" where there is nothing to sort by."""
    return f"{number:.4g}" if math.isfinite(number) else ""


def kept(number: float) -> float | None:
    """Five digits for the charts' data, and nothing that JSON does not know."""
    return float(f"{number:.5g}") if math.isfinite(number) else None


def spread(measured: Measured) -> str:
    """How uncertain a cell is; "" for what is counted, not timed."""
    return units.uncertainty(measured.cell.value) if measured.cell.kind == "time" else ""
