"""Ranks the ways to do a job, finds where the best way changes, and gives advice."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench_core import units
from bench_core.analysis.ratios import by_at_least, where, within_run
from bench_core.analysis.rounds import of_newest_run
from bench_core.analysis.series import axes, quantity
from bench_core.records.report import Measured, RankedJob, Ranking, Rival, Subject
from bench_core.records.results import CellResult
from bench_core.records.run import Interval

LOWER_IS_BETTER = ("time", "peakmem", "mem")
"""Prefixes of the kinds of cells whose lowest value is the best. Tracked values have no declared direction, so their
ways are not ranked."""

CONTEXT = ("device", "dtype", "threads")
"""Parameters of a job's place, not its size. They are never the axis of a job."""


def jobs(subject: Subject) -> tuple[RankedJob, ...]:
    """Every job that has at least two ways with a value, benchmark by benchmark.

    The ways are compared with the way of the lowest estimate by `bench_core.analysis.ratios.within_run`. A way is tied
    with it if this interval does not exclude 1. The intervals contain only the noise of one run: on a shared machine, a
    ratio of two cells that were measured minutes apart can be off by more.
    """
    by_benchmark: dict[str, list[Measured]] = {}
    for measured in subject.cells.values():
        cell = measured.cell
        if cell.rivals in cell.params and cell.kind.startswith(LOWER_IS_BETTER) and cell.value.middle > 0:
            by_benchmark.setdefault(cell.benchmark, []).append(measured)
    return tuple(job for cells in by_benchmark.values() for job in _jobs(subject.name, cells))


def _jobs(subject: str, cells: Sequence[Measured]) -> Iterator[RankedJob]:
    first = cells[0].cell
    rivals = str(first.rivals)
    axis = _axis([measured.cell for measured in cells], rivals)
    groups: dict[tuple[tuple[str, str], ...], list[Measured]] = {}
    for measured in cells:
        fixed = tuple((name, value) for name, value in measured.cell.params.items() if name not in (rivals, axis))
        groups.setdefault(fixed, []).append(measured)
    for fixed, group in groups.items():
        labelled = ((label, _of_one_run(ways)) for label, ways in _by_label(group, axis, rivals))
        places = [_Place(label, ways) for label, ways in labelled if len(ways) > 1]
        if not places:
            continue
        ordered = bool(axis) and all(quantity(place.label) is not None for place in places)
        yield RankedJob(
            subject=subject,
            benchmark=first.benchmark,
            rivals=rivals,
            fixed=dict(fixed),
            axis=axis,
            rankings=tuple(place.ranking for place in places),
            flips=_flips(places) if ordered else (),
            advice=_advice(places, axis, ordered, _MEMORY if first.unit == "bytes" else _TIME),
        )


def _axis(cells: Sequence[CellResult], rivals: str) -> str:
    """The quantity with the most values, the last one of several; or else the last other parameter that varies."""
    values: dict[str, set[str]] = {}
    for cell in cells:
        for name, value in cell.params.items():
            if name != rivals and name not in CONTEXT:
                values.setdefault(name, set()).add(value)
    quantities = [name for name in axes(cells) if name in values]
    if quantities:
        return max(reversed(quantities), key=lambda name: len(values[name]))
    return next((name for name in reversed(values) if len(values[name]) > 1), "")


def _by_label(cells: Iterable[Measured], axis: str, rivals: str) -> Iterator[tuple[str, dict[str, Measured]]]:
    """The ways at each value of the axis, in order; in the suite's order if the axis is no quantity."""
    places: dict[str, dict[str, Measured]] = {}
    for measured in cells:
        params = measured.cell.params
        places.setdefault(params.get(axis, ""), {})[params[rivals]] = measured
    yield from sorted(places.items(), key=lambda item: quantity(item[0]) or 0)


def _of_one_run(ways: Mapping[str, Measured]) -> dict[str, Measured]:
    return {name: ways[name] for name in of_newest_run({name: way.cell for name, way in ways.items()})}


class _Place:
    """The ways to do a job at one value of the axis.

    Attributes:
        ways: the cells by name, the lowest estimate first.
        candidates: the names of ways that may be the best, in the same order.
    """

    def __init__(self, label: str, ways: Mapping[str, Measured]) -> None:
        self.label = label
        self.ways = dict(sorted(ways.items(), key=lambda item: item[1].cell.value.middle))
        self.ranking = Ranking(label, tuple(map(self._rival, self.ways)))
        best, *others = self.ranking.rivals
        self.candidates = [best.name, *(rival.name for rival in others if rival.tied)]

    def _rival(self, name: str) -> Rival:
        best, measured = next(iter(self.ways.values())), self.ways[name]
        over = Interval(1, 1, 1, best.cell.value.confidence) if measured is best else within_run(measured, best)
        tied = measured is not best and not over.low > 1
        return Rival(name, measured.cell.name, measured.cell.value, over, tied, measured.cell.unties)

    @property
    def known(self) -> bool:
        """Whether all ways have intervals."""
        return all(measured.cell.value.known for measured in self.ways.values())

    def lead(self, name: str) -> float:
        """The least relative lead of `name` over every other way; 0 or less if it may not be ahead."""
        others = [measured for other, measured in self.ways.items() if other != name]
        return min(within_run(measured, self.ways[name]).low for measured in others) - 1

    def without(self, names: Iterable[str]) -> _Place | None:
        """The place with the other ways, if there are at least two."""
        left = {name: measured for name, measured in self.ways.items() if name not in names}
        return _Place(self.label, left) if len(left) > 1 else None


@dataclass(frozen=True)
class _Stretch:
    """Neighbouring places. At all of them, each of `names` may be the best way."""

    places: Sequence[_Place]
    names: Sequence[str]


def _stretches(places: Sequence[_Place]) -> list[_Stretch]:
    """As few stretches as possible. A new one begins where no way may be the best in the whole stretch."""
    found: list[_Stretch] = []
    for place in places:
        names = [name for name in found[-1].names if name in place.candidates] if found else []
        if names:
            found[-1] = _Stretch([*found[-1].places, place], names)
        else:
            found.append(_Stretch([place], place.candidates))
    return found


def _flips(places: Sequence[_Place]) -> tuple[str, ...]:
    return tuple(
        f"{_either(before.names)} up to {before.places[-1].label}, {_either(after.names)} from {after.places[0].label}"
        for before, after in itertools.pairwise(_stretches(places))
    )


def _either(names: Sequence[str]) -> str:
    return " or ".join(names) if len(names) < 4 else f"one of {len(names)} ways"


@dataclass(frozen=True)
class _Words:
    """Predicates of a way: it is the best, better than some, or better than all others."""

    best: str
    better: str
    ahead: str


_TIME = _Words("is fastest", "is measurably faster than", "is faster than all others")
_MEMORY = _Words("needs the least memory", "needs measurably less memory than", "needs less memory than all others")


def _advice(places: Sequence[_Place], axis: str, ordered: bool, words: _Words) -> str:
    """One sentence that claims no more than the intervals."""
    if not any(place.known for place in places):
        return f"Each way was measured once, so the order is uncertain: {_read(places, axis)}."
    said = _sentence(places, axis, ordered, words)
    unties = sorted({rival.name for place in places for rival in place.ranking.rivals if rival.unties})
    less = [name for name in unties if f"`{name}`" in said]
    if less:
        one = len(less) == 1
        said += f"; {_quoted(less)} {'leaves' if one else 'leave'} tied parameters untied, so "
        said += f"{'it does' if one else 'they do'} less work"
        rest = [left for place in places if (left := place.without(unties)) is not None]
        said += f"; of the others, {_sentence(rest, axis, ordered, words)}" if rest else ""
    return f"{said[0].upper()}{said[1:]}."


def _sentence(places: Sequence[_Place], axis: str, ordered: bool, words: _Words) -> str:
    if ordered:
        stretches = _stretches(places)
        return "; ".join(_said(one, places, axis, words) for one in stretches)
    # The places have no order, so those with the same candidates share a clause.
    groups: dict[tuple[str, ...], list[_Place]] = {}
    for place in places:
        groups.setdefault(tuple(sorted(place.candidates)), []).append(place)
    everywhere = [name for name in places[0].candidates if all(name in place.candidates for place in places)]
    if everywhere:
        return _said(_Stretch(places, everywhere), places, axis, words)
    return "; ".join(_said(_Stretch(group, names), places, axis, words) for names, group in groups.items())


def _said(stretch: _Stretch, everything: Sequence[_Place], axis: str, words: _Words) -> str:
    labels, known = [place.label for place in stretch.places], [place.label for place in everything]
    names = sorted(stretch.names, key=lambda name: _standing(stretch.places, name))
    best = names[0]
    clear = [place for place in stretch.places if place.lead(best) > 0]
    if len(clear) == len(stretch.places):
        return f"`{best}` {words.best}{where(labels, known, axis)}{_by_at_least(clear, best)}"
    somewhere = where(labels, known, axis).replace(" every ", " any ")
    if not clear and all(set(place.candidates) == set(place.ways) for place in stretch.places):
        return f"no difference between the ways was found{somewhere}"
    said = f"no other way {words.better} {_quoted(names, 'or')}{somewhere}"
    if clear:
        ahead = where([place.label for place in clear], [], axis)
        said += f", and `{best}` {words.ahead}{ahead}{_by_at_least(clear, best)}"
    return said


def _standing(places: Sequence[_Place], name: str) -> float:
    """The lower the better: by the geometric mean."""
    return math.fsum(math.log(place.ways[name].cell.value.middle) for place in places)


def _by_at_least(places: Sequence[_Place], name: str) -> str:
    return by_at_least(min(place.lead(name) for place in places))


def _quoted(names: Sequence[str], last: str = "and") -> str:
    return units.listed([f"`{name}`" for name in names], last)


def _read(places: Sequence[_Place], axis: str) -> str:
    """The order by single measurements, in words."""
    groups: dict[str, list[str]] = {}
    for place in places:
        groups.setdefault(next(iter(place.ways)), []).append(place.label)
    labels = [place.label for place in places]
    return "; ".join(f"`{name}` has the lowest value{where(found, labels, axis)}" for name, found in groups.items())
