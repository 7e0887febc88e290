"""Fits a law to the growth of a cost with size, with a possible bend, and finds the points that depart from it.

The law is ``a + b n``. Neither number is negative. It is fitted by least squares of the relative deviations, since
sizes span decades and absolute deviations would count only the largest sizes. Each point is weighted by its interval
and by `SLACK`.

Two things may be added to the law: a bend, beyond which each further unit has another cost (a hinge with a free knot,
Hudson, J. Am. Stat. Assoc. 61, 1966), and one outlying point (a mean shift; Cook & Weisberg, Residuals and Influence in
Regression, 1982, section 2.2.2). They are added where they improve the corrected Akaike information criterion,
chi^2 + 2 K + 2 K (K + 1) / (n - K - 1) of K fitted numbers (Hurvich & Tsai, Biometrika 76, 1989; Burnham & Anderson,
Model Selection and Multimodel Inference, 2nd ed., 2002, section 2.4). A bend and an outlier are two numbers each, so
either needs at least six points.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench_core import units
from bench_core.records.report import Growth, Point, Residual, RunKey, Series, Subject

SLACK = 0.05
"""The assumed relative standard deviation of points from their law, caused by alignment, layout, and the division of
the work among vectors."""

UNSURE = 0.25
"""The assumed relative standard deviation of a point whose interval is unknown."""

NORMAL_99 = 2.5758
"""Half the width of a 99 % interval in standard deviations."""

KNOTS = 8
"""The number of positions between two neighbouring points at which a bend is tried."""

RIDGE = 1e-13
"""This is added to the diagonal of the normal equations, which is 1, so that they can be solved even if two columns are
nearly equal."""

FEWEST = 3
"""The fewest points that a law is fitted to. A law always fits two points."""

SLOWEST_MEMORY = 1e-9
"""Seconds per byte. A larger cost is not explained by a cache, since memory alone is not as slow."""


def growths(series: Iterable[Series], subject: Subject) -> tuple[Growth, ...]:
    """The law of each series of times with at least `FEWEST` points. Only points of the run with most of them are used:
    a difference between runs would look like a bend, or like an outlier."""
    times = (line for line in series if line.unit == "seconds" and line.subject == subject.name)
    return tuple(
        growth(line, subject.caches)
        for line in (replace(line, points=_together(line.points, subject)) for line in times)
        if len(line.points) >= FEWEST and all(point.value.middle > 0 for point in line.points)
    )


def _together(points: Iterable[Point], subject: Subject) -> tuple[Point, ...]:
    """The points of the run that has most of them."""
    by_run: dict[RunKey, list[Point]] = {}
    for point in points:
        by_run.setdefault(subject.cells[point.cell].run, []).append(point)
    most: list[Point] = max(by_run.values(), key=len)
    return tuple(most)


def growth(line: Series, caches: Mapping[str, int]) -> Growth:
    """The law of one series. `caches` are the sizes of the CPU's caches in bytes, by name."""
    points = line.points
    law = _law(points)
    fitted = [law.at(point.n) for point in points]
    off = [_departs(point, value) for point, value in zip(points, fitted, strict=True)]
    # A law must describe more points than it has parameters, and at least three quarters of them.
    kept = len(points) - sum(off)
    follows = kept > law.numbers and 4 * kept >= 3 * len(points)
    edges = caches if line.item_bytes and line.fixed.get("device", "cpu") == "cpu" else {}
    residuals = tuple(
        Residual(
            point=point,
            fitted=value,
            relative=point.value.middle / value - 1,
            departs=off[index] and follows,
            why=_why(line, index, value, edges) if off[index] and follows else "",
        )
        for index, (point, value) in enumerate(zip(points, fitted, strict=True))
    )
    exponent = _exponent(points)
    return Growth(
        series=line,
        fixed=law.fixed,
        each=law.each,
        bend=law.bend,
        each_beyond=law.each_beyond,
        exponent=exponent,
        follows=follows,
        residuals=residuals,
        sentence=_sentence(line, law, edges, residuals) if follows else _without_law(points, exponent),
    )


@dataclass(frozen=True)
class _Law:
    """``fixed + each n`` up to the bend, and `each_beyond` for every unit after it."""

    fixed: float
    each: float
    bend: float | None
    each_beyond: float

    @property
    def numbers(self) -> int:
        return 2 if self.bend is None else 4

    def at(self, n: float) -> float:
        if self.bend is None or n <= self.bend:
            return self.fixed + self.each * n
        return self.fixed + self.each * self.bend + self.each_beyond * (n - self.bend)


def _law(points: Sequence[Point]) -> _Law:
    """The best law by the criterion. An outlier does not affect it."""
    n = np.array([point.n for point in points])
    y = np.array([point.value.middle for point in points])
    weights = 1 / np.array([math.hypot(deviation(point), SLACK) for point in points])
    kept = np.vstack([np.ones_like(n), 1 - np.eye(len(n))])  # all points, and all but each one
    best, found = math.inf, None
    for bend in [None, *_knots(n)]:
        numbers = 2 if bend is None else 4
        penalties = np.array([_penalty(numbers, len(n)), *[_penalty(numbers + 2, len(n))] * len(n)])
        tried = np.isfinite(penalties)
        if not tried.any():
            continue
        parts = (
            [np.ones_like(n), n] if bend is None else [np.ones_like(n), np.minimum(n, bend), np.maximum(n - bend, 0)]
        )
        design = np.stack(parts, axis=1) * (weights / y)[:, None]
        coefficients, chi2 = _nonnegative(kept[tried, :, None] * design, kept[tried] * weights)
        criteria = chi2 + penalties[tried]
        chosen = int(np.argmin(criteria))
        if found is None or criteria[chosen] < best:
            fixed, each, *beyond = coefficients[chosen].tolist()
            best, found = float(criteria[chosen]), _Law(fixed, each, bend, beyond[0] if beyond else each)
    assert found is not None, "the straight law with all points is always tried"
    return found


def _penalty(numbers: int, points: int) -> float:
    """The criterion's penalty for the number of parameters; infinite if there are too few points. With three points the
    straight law is the only candidate, so its penalty does not matter."""
    spare = points - numbers - 1
    if spare < 1 and numbers > 2:
        return math.inf
    return 2 * numbers + 2 * numbers * (numbers + 1) / max(spare, 1)


def _knots(n: np.ndarray) -> Iterator[float]:
    """The positions of a bend that are tried. Each has at least two points on either side."""
    places = sorted(set(n.tolist()))
    for low, high in itertools.pairwise(places[1:-1]):
        for step in range(KNOTS):
            yield low * (high / low) ** (step / KNOTS)


def _nonnegative(designs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Non-negative least squares of many designs at once.

    With two or three columns, every subset of non-zero coefficients is tried. The solution is the best subset whose own
    least-squares coefficients are not negative (Lawson & Hanson, Solving Least Squares Problems, 1974, chapter 23). The
    normal equations are those of columns scaled to length 1.

    Args:
        designs: design, point, column.
        targets: design, point.

    Returns:
        The coefficients (design, column), and the residual sums of squares (design).
    """
    lengths = np.maximum(np.linalg.norm(designs, axis=1), np.finfo(float).tiny)
    columns_of_one = designs / lengths[:, None, :]
    turned = columns_of_one.swapaxes(1, 2)
    gram, right = turned @ columns_of_one, turned @ targets[:, :, None]
    best, found = (targets**2).sum(axis=1), np.zeros_like(lengths)
    every = range(designs.shape[2])
    sets = itertools.chain.from_iterable(itertools.combinations(every, len(every) - fewer) for fewer in every)
    for chosen in sets:
        columns = np.array(chosen)
        normal = gram[:, columns[:, None], columns] + RIDGE * np.eye(len(columns))
        part = np.linalg.solve(normal, right[:, columns])[:, :, 0]
        squares = ((targets - (columns_of_one[:, :, columns] @ part[:, :, None])[:, :, 0]) ** 2).sum(axis=1)
        better = (part >= 0).all(axis=1) & (squares < best)
        best[better], found[better] = squares[better], 0
        found[np.ix_(better, columns)] = part[better]
        if len(chosen) == len(every) and better.all():
            break  # no subset is better than all columns
    return found / lengths, best


def deviation(point: Point) -> float:
    """A point's relative standard deviation, from its 99 % interval."""
    value = point.value
    return (value.high - value.low) / 2 / NORMAL_99 / value.middle if value.known else UNSURE


def _departs(point: Point, fitted: float) -> bool:
    """Whether the law lies outside the point's interval, widened by `SLACK` at 99 %."""
    low, high = (point.value.low, point.value.high) if point.value.known else (0.0, math.inf)
    return not low * (1 - NORMAL_99 * SLACK) <= fitted <= high * (1 + NORMAL_99 * SLACK)


def _exponent(points: Sequence[Point]) -> float:
    """The slope of log time over log n at the last two different n; NaN where all n are the same."""
    last = points[-1]
    before = next((point for point in reversed(points) if point.n < last.n), None)
    if before is None:
        return math.nan
    return math.log(last.value.middle / before.value.middle) / math.log(last.n / before.n)


def _why(line: Series, index: int, fitted: float, caches: Mapping[str, int]) -> str:
    """A possible cause of a departure."""
    point = line.points[index]
    if index and point.value.middle > fitted:
        left = _left(line, line.points[index - 1], point, (point.value.middle - fitted) / point.n, caches)
        if left:
            return f"cache edge: no longer fits in {left}"
    # torch chooses kernels by size or alignment, not by the number of modules. A disturbance of the machine while the
    # point was measured looks the same.
    return "unknown, perhaps a kernel switch" if line.counts == "elements" else "unknown"


def _left(line: Series, before: Point, after: Point, more: float, caches: Mapping[str, int]) -> str:
    """The largest cache that holds the weight of `before` but not that of `after`, if it may be the cause of `more`
    seconds per element; else ""."""
    item = line.item_bytes or 1
    if not 0 < more < SLOWEST_MEMORY * item:
        return ""
    # A weight as large as the cache does not fit: the cache holds other data, too.
    left = [name for name, size in caches.items() if before.n * item < size <= after.n * item]
    return max(left, key=lambda name: caches[name], default="")


def _sentence(line: Series, law: _Law, caches: Mapping[str, int], residuals: Sequence[Residual]) -> str:
    each = line.counts.removesuffix("s") if line.counts.endswith("s") else f"unit of {line.counts}"
    last = line.points[-1].n
    if law.at(last) <= (1 + SLACK) * law.fixed:
        counted = f"number of {line.counts}" if line.counts.endswith("s") else line.counts
        said = f"{_time(law.fixed)}, independent of the {counted}"
    elif law.fixed == 0:
        said = f"{_time(law.each)} per {each}, without a measurable fixed cost"
    else:
        said = f"{_time(law.fixed)} plus {_time(law.each)} per {each}"
    if law.bend is not None:
        said += f"; beyond about {units.about(law.bend)} it is {_time(law.each_beyond)}{_at_edge(line, law, caches)}"
    apart = [residual for residual in residuals if residual.departs]
    if apart:
        shown = (f"{residual.point.label} {_by(residual.relative)} ({residual.why})" for residual in apart)
        said += f"; except: {', '.join(shown)}"
    return f"{said}."


def _without_law(points: Sequence[Point], exponent: float) -> str:
    last = points[-1].label
    return f"No law a + b n fits. Up to the last point, {last}, the time grows as n to the power {exponent:.2g}."


def _at_edge(line: Series, law: _Law, caches: Mapping[str, int]) -> str:
    """The cache that the weight outgrows between the points around the bend."""
    assert law.bend is not None
    before = max((point for point in line.points if point.n <= law.bend), key=lambda point: point.n)
    after = min((point for point in line.points if point.n > law.bend), key=lambda point: point.n)
    left = _left(line, before, after, law.each_beyond - law.each, caches)
    return f", where the weight no longer fits in {left}" if left else ""


def _by(relative: float) -> str:
    if relative >= 1:
        return f"takes {1 + relative:.1f} times as long"
    return f"takes {units.percent(abs(relative), 0)} {'more' if relative > 0 else 'less'}"


def _time(seconds: float) -> str:
    return units.time(seconds, 2)
