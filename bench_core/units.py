"""Formats numbers as text: digits, units, signs and plurals. The text has no markup. NaN becomes ``n/a``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from bench_core.records.run import Interval

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"), (1e-12, "ps"))
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def time(seconds: float, significant: int = 3) -> str:
    """A time with that many significant digits, from picoseconds to seconds: ``1.23 ms``."""
    if math.isnan(seconds):
        return "n/a"
    if seconds == 0:
        return "0 ns"
    rounds_up = 1 - 0.5 * 10**-significant
    scale, unit = next(((scale, unit) for scale, unit in _TIMES if abs(seconds) >= rounds_up * scale), _TIMES[-1])
    return f"{digits(seconds / scale, significant)} {unit}"


def size(count: float) -> str:
    """Bytes in binary units: ``64.0 MiB``."""
    if math.isnan(count):
        return "n/a"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{digits(count)} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1024
    raise AssertionError("unreachable")


def value(number: float, unit: str) -> str:
    """A time, a size or a tracked value with its unit: ``1.23 ms``, ``64.0 MiB``, ``12,915 characters``."""
    if unit == "seconds":
        return time(number)
    if unit == "bytes":
        return size(number)
    return "n/a" if math.isnan(number) else f"{_tracked(number)} {unit}".strip()


WHOLE = 1e15
"""Whole numbers below this are written out. From about 9e15 on, not every whole number is one of the computer's."""


def _tracked(number: float) -> str:
    """``12,915``, ``0.1235``: a whole number has all its digits, another one at least four."""
    is_written_out = number % 1 == 0 or abs(number) >= 1_000
    return f"{number:,.0f}" if is_written_out and abs(number) < WHOLE else f"{number:.4g}"


def difference(before: float, after: float, unit: str) -> str:
    """How much larger the second value is, with its sign: ``+5 misses``."""
    sign = "-" if after < before else "+"
    return "n/a" if math.isnan(after - before) else sign + value(abs(after - before), unit)


def before_and_after(before: float, after: float, change: float, unit: str) -> tuple[str, str]:
    """Two values that were compared in pairs, as text that agrees with the change shown beside them.

    If the machine changes its speed while it measures, the two medians may change in the opposite direction from the
    median ratio of the pairs. So the second text is computed from `before` and the ratio.

    Args:
        change: the median ratio of the pairs. If it is no positive number, `after` is shown.
    """
    follows = before > 0 and 0 < change < math.inf
    return value(before, unit), value(before * change if follows else after, unit)


def bandwidth(bytes_a_second: float) -> str:
    """Decimal gigabytes a second, as hardware is specified, without the unit."""
    return digits(bytes_a_second / 1e9)


def rate(number: float, unit: str) -> str:
    """Three digits with a decimal prefix: ``12.3 GB/s``, ``306 M numbers/s``."""
    space = "" if unit == "B/s" else " "
    for scale, prefix in _PREFIXES:
        if abs(number) >= 0.9995 * scale:
            return f"{number / scale:.3g} {prefix}{space}{unit}"
    return f"{number:.3g} {unit}"


def count(number: float) -> str:
    """``1,024``; from ten million on ``16.8 M``."""
    for scale, suffix in ((1e9, "G"), (1e6, "M")):
        if number >= 10 * scale:
            return f"{number / scale:.3g} {suffix}"
    return f"{number:,.0f}" if number == round(number) else f"{number:,.4g}"


def about(number: float) -> str:
    """A positive number to two significant digits, written out: ``1,200``."""
    decimals = 1 - math.floor(math.log10(number))
    return f"{round(number, decimals):,.{max(0, decimals)}f}"


def percent(share: float, decimals: int | None = None) -> str:
    """``12.3 %``, with `decimals` digits after the point; with None, three significant digits without trailing
    zeros."""
    if math.isnan(share):
        return "n/a"
    return f"{100 * share:.3g} %" if decimals is None else f"{100 * share:.{decimals}f} %"


def bounds(low: float | None, high: float | None) -> str:
    """Bounds on a share: ``0.5 % to 2 %``; "" without them."""
    return "" if low is None or high is None else f"{percent(low)} to {percent(high)}"


def share(part: float) -> str:
    """A part of a limit, in whole percents, and with one decimal below 1 %: ``73 %``, ``0.4 %``."""
    return percent(part, 0 if abs(part) >= 0.01 else 1)


def signed_percent(share: float, decimals: int = 1) -> str:
    """A share with its sign: ``+5.2 %``. Never ``-0.0 %``."""
    return "n/a" if math.isnan(share) else f"{round(100 * share, decimals) + 0.0:+.{decimals}f} %"


def change(found: float) -> str:
    """A ratio as a relative change: ``+5.2 %``. A ratio of 10 or more is shown as ``12x``."""
    return changes(found)[0]


def changes(*found: float) -> list[str]:
    """Ratios that are read together, in one notation: as relative changes, or as ratios if one is 10 or more."""
    say = ratio if any(10 <= one < math.inf for one in found) else lambda one: signed_percent(one - 1)
    return [say(one) if math.isfinite(one) else "n/a" for one in found]


def ratio(found: float) -> str:
    """A ratio with at least two significant digits: ``0.0033x``, ``0.45x``, ``1.23x``, ``12x``."""
    if math.isnan(found):
        return "n/a"
    if 0 < found < 0.0995:
        return f"{found:.{1 - math.floor(math.log10(found))}f}x"
    return f"{found:.2f}x" if found < 9.995 else f"{found:.0f}x"


def step(found: float, unit: str) -> str:
    """A ratio in words: ``1.25x faster``, ``2.00x more``."""
    return f"{ratio(max(found, 1 / found))} {direction(unit, grew=found > 1)}"


def estimate(found: Interval) -> str:
    """A ratio with its interval: ``1.23x (1.20 to 1.27)``. Ends that look the same are left out."""
    middle = ratio(found.middle)
    if not found.known:
        return f"{middle} (interval unknown)"
    return middle if ends(found) == f"{middle} to {middle}".replace("x", "") else f"{middle} ({ends(found)})"


def ends(found: Interval) -> str:
    """The ends of a ratio's interval: ``1.20 to 1.27``; ``?`` if they are unknown."""
    if not found.known:
        return "?"
    return " to ".join(ratio(end).removesuffix("x") for end in (found.low, found.high))


def uncertainty(interval: Interval) -> str:
    """Half the width of the interval in percent of its middle: ``±1.5 %``; ``?`` with too few samples."""
    if not interval.known or interval.middle == 0:
        return "?"
    return f"±{percent((interval.high - interval.low) / 2 / abs(interval.middle), 1)}"


_DIRECTIONS = {"seconds": ("faster", "slower"), "bytes": ("less", "more")}


def direction(unit: str, *, grew: bool) -> str:
    """``faster`` or ``slower``, ``less`` or ``more``. For a tracked value ``lower`` or ``higher``, since neither is
    known to be better."""
    return _DIRECTIONS.get(unit, ("lower", "higher"))[grew]


def slower_or_larger(are_times: Iterable[bool]) -> str:
    """What values are that grew: ``slower`` if all are times, ``larger`` if none is, and else ``slower or larger``.

    Args:
        are_times: of each value, whether it is a time.
    """
    return _of_both(are_times, "slower", "larger")


def faster_or_smaller(are_times: Iterable[bool]) -> str:
    """What values are that fell, see `slower_or_larger`."""
    return _of_both(are_times, "faster", "smaller")


def _of_both(are_times: Iterable[bool], of_times: str, of_others: str) -> str:
    kinds = set(are_times)
    if len(kinds) == 2:
        return f"{of_times} or {of_others}"
    return of_others if kinds == {False} else of_times


def plural(number: int, noun: str, several: str = "") -> str:
    """``1 cell``, ``1,024 cells``. `several` is the plural, if it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"


def listed(names: Sequence[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``; "" without a name."""
    return f" {last} ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def joined(*parts: str | None) -> str:
    """The non-empty parts, separated by commas."""
    return ", ".join(part for part in parts if part)


def spans(numbers: Iterable[int]) -> str:
    """Whole numbers in order, with neighbours as a range: ``0-2,5``."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def digits(number: float, significant: int = 3) -> str:
    """A number with that many significant digits, without an exponent: ``1.20``, ``1234``."""
    if number == 0 or abs(number) >= 10**significant - 0.5:
        return f"{number:.0f}"
    return f"{number:#.{significant}g}".rstrip(".")
