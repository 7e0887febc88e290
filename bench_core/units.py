"""Numbers as a person reads them."""

from __future__ import annotations

import math

from bench_core.records.run import Interval

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def time(seconds: float) -> str:
    """Three significant digits with the fitting unit: ``1.23 ms``."""
    if math.isnan(seconds):
        return "n/a"
    scale, unit = next(((scale, unit) for scale, unit in _TIMES if abs(seconds) >= 0.9995 * scale), _TIMES[-1])
    return f"{_three_digits(seconds / scale)} {unit}"


def size(count: float) -> str:
    """Bytes in binary units: ``64 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{_three_digits(count)} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1024
    raise AssertionError("unreachable")


def bandwidth(bytes_a_second: float) -> str:
    """Decimal gigabytes a second, as hardware is specified."""
    return _three_digits(bytes_a_second / 1e9)


def uncertainty(interval: Interval) -> str:
    """Half the width of the interval in percent of its middle; ``?`` where the samples are too few to say."""
    if not interval.known or interval.middle == 0:
        return "?"
    return f"±{100 * (interval.high - interval.low) / 2 / abs(interval.middle):.1f} %"


def ratio(value: float) -> str:
    """Two significant digits at least: ``0.0033x``, ``0.45x``, ``1.23x``, ``12x``."""
    if 0 < value < 0.0995:
        return f"{value:.{1 - math.floor(math.log10(value))}f}x"
    return f"{value:.2f}x" if value < 9.995 else f"{value:.0f}x"


_DIRECTIONS = {"seconds": ("faster", "slower"), "bytes": ("less", "more")}


def direction(unit: str, *, grew: bool) -> str:
    """The word for what a value did: of a tracked one, nobody has said which end is the good one."""
    return _DIRECTIONS.get(unit, ("lower", "higher"))[grew]


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value == 0 or abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")
