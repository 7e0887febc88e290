"""Finds the sizes at which the faster value of a parameter changes: CPU or accelerator, float32 or bfloat16, one thread
or all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench_core import units
from bench_core.analysis.ratios import by_at_least, excludes_one, where, within_run
from bench_core.analysis.series import axes, quantity
from bench_core.records.report import Crossing, Measured, Subject
from bench_core.records.run import Interval

FIRST = {"device": "cpu", "dtype": "float32", "threads": "1"}
"""The parameters whose values are compared, each with the value that all others are compared with."""


def crossings(subject: Subject) -> tuple[Crossing, ...]:
    """Compare the times of every two lines that differ only in one parameter of `FIRST` and have two common sizes."""
    by_benchmark: dict[str, list[Measured]] = {}
    for measured in subject.cells.values():
        if measured.cell.kind.startswith("time") and measured.cell.value.middle > 0:
            by_benchmark.setdefault(measured.cell.benchmark, []).append(measured)
    return tuple(
        found
        for cells in by_benchmark.values()
        for parameter, first in FIRST.items()
        if parameter in cells[0].cell.params
        for axis in axes(measured.cell for measured in cells)
        if axis != parameter
        for found in _pairs(subject.name, cells, parameter, first, axis)
    )


@dataclass(frozen=True)
class _RatioAt:
    """The ratio of second to first at one value of the axis."""

    n: float
    label: str
    ratio: Interval

    @property
    def decided(self) -> bool:
        return excludes_one(self.ratio)


def _pairs(subject: str, cells: Sequence[Measured], parameter: str, first: str, axis: str) -> Iterator[Crossing]:
    lines: dict[tuple[tuple[str, str], ...], dict[str, dict[str, Measured]]] = {}
    for measured in cells:
        params = measured.cell.params
        fixed = tuple((name, value) for name, value in params.items() if name not in (parameter, axis))
        lines.setdefault(fixed, {}).setdefault(params[parameter], {})[params[axis]] = measured
    for fixed, by_value in lines.items():
        start = by_value.get(first, {})
        for second, line in by_value.items():
            common = sorted((label for label in start if label in line), key=lambda label: quantity(label) or 0)
            if second == first or len(common) < 2:
                continue
            places = [_RatioAt(quantity(label) or 0, label, within_run(line[label], start[label])) for label in common]
            found = _crossed(places)
            yield Crossing(
                subject=subject,
                benchmark=cells[0].cell.benchmark,
                parameter=parameter,
                first=first,
                second=second,
                fixed=dict(fixed),
                axis=axis,
                ratios=tuple((place.label, place.n, place.ratio) for place in places),
                crossings=tuple(n for n, _ in found),
                sentence=_sentence(places, found, first, second, axis),
            )


def _crossed(places: Sequence[_RatioAt]) -> list[tuple[float, tuple[_RatioAt, _RatioAt]]]:
    """Each n where the faster value changes, with the two places around it: their intervals exclude 1 on opposite
    sides, and no place between them excludes 1."""
    decided = [index for index, place in enumerate(places) if place.decided]
    return [
        (_interpolated(places[left : right + 1]), (places[left], places[right]))
        for left, right in itertools.pairwise(decided)
        if (places[left].ratio.middle > 1) != (places[right].ratio.middle > 1)
    ]


def _interpolated(places: Sequence[_RatioAt]) -> float:
    """The n at which the line through the estimates, straight on log axes, crosses 1. If it crosses several times, at
    undecided places, the geometric mean."""
    found = []
    for left, right in itertools.pairwise(places):
        before, after = math.log(left.ratio.middle), math.log(right.ratio.middle)
        if before == 0 or before * after < 0:
            start, end = math.log(left.n), math.log(right.n)
            found.append(start + (end - start) * before / (before - after) if before else start)
    return math.exp(math.fsum(found) / len(found))


def _sentence(
    places: Sequence[_RatioAt],
    found: Sequence[tuple[float, tuple[_RatioAt, _RatioAt]]],
    first: str,
    second: str,
    axis: str,
) -> str:
    labels = [place.label for place in places]
    decided = [place for place in places if place.decided]
    if not decided:
        anywhere = where(labels, labels, axis).replace(" every ", " any ")
        return f"No difference between `{first}` and `{second}` was found{anywhere}."
    if found:
        claim = _changes(places, decided, found, first, second, axis)
    else:
        lead = min(max(place.ratio.low, 1 / place.ratio.high) for place in decided) - 1
        sure = where([place.label for place in decided], labels, axis)
        claim = f"`{_faster(decided[0], first, second)}` is faster{sure}{by_at_least(lead)}"
    open_ = [place.label for place in places if not place.decided]
    return f"{claim}{f'; inconclusive{where(open_, labels, axis)}' if open_ else ''}."


def _changes(
    places: Sequence[_RatioAt],
    decided: Sequence[_RatioAt],
    found: Sequence[tuple[float, tuple[_RatioAt, _RatioAt]]],
    first: str,
    second: str,
    axis: str,
) -> str:
    """The faster value at each range of sizes, from the first decided place to the last."""
    opening, last = decided[0], decided[-1]
    winners = [opening, *(after for _, (_, after) in found)]
    starts = [
        f" is faster{'' if opening is places[0] else f' from {opening.label}'}",
        *itertools.repeat(" from there", len(found)),
    ]
    ends = [*(_until(each, axis) for each in found), " on" if last is places[-1] else f" up to {last.label}"]
    return ", ".join(
        f"`{_faster(winner, first, second)}`{start}{end}"
        for winner, start, end in zip(winners, starts, ends, strict=True)
    )


def _faster(place: _RatioAt, first: str, second: str) -> str:
    return first if place.ratio.middle > 1 else second


def _until(found: tuple[float, tuple[_RatioAt, _RatioAt]], axis: str) -> str:
    n, (left, right) = found
    counted = "elements" if "x" in left.label else axis
    return f" up to about {units.about(n)} {counted} (between {left.label} and {right.label})"
