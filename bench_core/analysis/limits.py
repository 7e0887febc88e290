"""Compares cells with the limits of the hardware or the interpreter.

The yardsticks are cells of the family `limits`, timed in the same way on the same machine. A cell is compared with the
time that a yardstick takes for the same amount of work:

- memory: the bytes that the job must move (`bench_core.suite.traffic`). The yardstick is a fill if the job only writes,
  and the fastest of update in place, copy and triad if it also reads. It has the same device, number of threads and
  size of the weight, so each cache, and memory, has its own ceiling. This is the roofline of Williams, Waterman &
  Patterson (Commun. ACM 52, 2009) with the ceiling of the data's level.
- generator: the random numbers that the job must draw (`bench_core.suite.Suite.draws`). The yardstick is the fastest
  generator on the same device, of any distribution. It has one thread, as torch's CPU generator has.
- interpreter: the modules, parameters or tensors of the job. The yardstick is an empty Python loop of the same length.
  It does not apply if the job is faster than the loop at some length, since then the job does not loop over them. No
  job can reach an empty loop, so nothing is "to gain" here.

Between two sizes of a yardstick, the logarithm of its time is interpolated over the logarithm of the size. Below the
smallest size the time is constant. Above the largest it grows in proportion. The share has no interval outside the
sizes and, for memory, between two sizes that are not known to be in one cache. Of several limits, a cell gets the one
with the largest share, since it cannot reach any other before.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from bench_core.analysis.ratios import ratio, unsure
from bench_core.analysis.rounds import reading_of
from bench_core.analysis.series import quantity
from bench_core.records.report import Bound, Limit, Subject
from bench_core.records.results import CellResult
from bench_core.records.run import Interval

FAMILY = "limits"
WRITERS = ("limits.Memory.time_fill",)
READERS = ("limits.Memory.time_update", "limits.Memory.time_copy", "limits.Memory.time_triad")
GENERATOR = "limits.Generators.time_draw"
LOOP = "limits.EmptyLoop.time_loop"
STICKS = (*WRITERS, *READERS, GENERATOR, LOOP)

ONE_BY_ONE = ("modules", "parameters", "tensors", "keys")
"""Parameters that count what Python code loops over."""


def limits(subject: Subject) -> tuple[Limit, ...]:
    """The limit of every timed cell that has one. The share has no interval if the yardsticks were measured in another
    run (see `bench_core.analysis.ratios.within_run`)."""
    found = limits_of((measured.cell for measured in subject.cells.values()), subject.name, subject.caches)
    return tuple(
        limit
        if len({subject.cells[name].run for name in (limit.cell, *limit.yardsticks)}) == 1
        else replace(limit, share=unsure(limit.share))
        for limit in found
    )


def limits_of(
    cells: Iterable[CellResult], subject: str = "", caches: Mapping[str, int] | None = None
) -> tuple[Limit, ...]:
    """The limits of cells that were measured together.

    Args:
        subject: the name of their subject.
        caches: the sizes of the caches in bytes by name, smallest first; None if unknown.
    """
    timed = [cell for cell in cells if cell.kind == "time" and cell.value.middle > 0]
    sticks = _Sticks(timed, caches or {})
    bounds = [(cell, held) for cell in timed if cell.family != FAMILY for held in sticks.held(cell)]
    skips = {
        _line(cell) for cell, held in bounds if held.bound == "interpreter" and cell.value.middle < held.best.middle
    }
    nearest: dict[str, Limit] = {}
    for cell, held in bounds:
        if held.bound == "interpreter" and _line(cell) in skips:
            continue
        limit = _limit(cell, held, subject, caches or {})
        if cell.name not in nearest or nearest[cell.name].share.middle < limit.share.middle:
            nearest[cell.name] = limit
    return tuple(nearest.values())


NEAR = 0.2
"""A cell that reaches at least this share of its limit is sampled in turn with the yardsticks."""


def yardsticks_of(cells: Iterable[CellResult]) -> dict[str, tuple[str, ...]]:
    """The yardsticks of each cell that is near its limit."""
    return {limit.cell: limit.yardsticks for limit in limits_of(cells) if limit.share.middle >= NEAR}


@dataclass(frozen=True)
class _Held:
    """A cell compared with a yardstick.

    Attributes:
        amount: bytes, numbers or items.
        best: the time of the yardstick for this amount; without ends if it was not timed at such a size.
        cells: the cells of the yardstick that this time comes from, each with its weight.
        factor: the amount of work relative to theirs.
    """

    bound: Bound
    amount: float
    best: Interval
    cells: tuple[tuple[CellResult, float], ...]
    factor: float

    @property
    def yardsticks(self) -> tuple[str, ...]:
        return tuple(cell.name for cell, _ in self.cells)


@dataclass(frozen=True)
class _Stick:
    """A yardstick along its sizes.

    Attributes:
        passes: the work per unit of size: the number of times that it moves its weight; 1 for numbers and iterations.
        sizes: bytes of the weight, numbers, or iterations, ascending.
        cells: one for each size.
        caches: the caches that may hold its weight; empty if they are unknown, and on other devices than the CPU.
    """

    passes: float
    sizes: tuple[float, ...]
    cells: tuple[CellResult, ...]
    caches: Mapping[str, int]

    def held(self, bound: Bound, size: float, amount: float) -> _Held:
        """Compare a cell that does `amount` at `size` with this yardstick."""
        factor = amount / size / self.passes
        index = bisect.bisect_left(self.sizes, size)
        if index == len(self.sizes):
            cell, factor = self.cells[-1], factor * size / self.sizes[-1]
            return _Held(bound, amount, unsure(_scaled(cell.value, factor)), ((cell, 1.0),), factor)
        if self.sizes[index] == size:
            cell = self.cells[index]
            return _Held(bound, amount, _scaled(cell.value, factor), ((cell, 1.0),), factor)
        if index == 0:
            cell = self.cells[0]
            return _Held(bound, amount, unsure(_scaled(cell.value, factor)), ((cell, 1.0),), factor)
        one, other = self.cells[index - 1 : index + 1]
        weight = math.log(size / self.sizes[index - 1]) / math.log(self.sizes[index] / self.sizes[index - 1])
        best = _scaled(_between(one.value, other.value, weight), factor)
        before, after = (level(each, self.caches) for each in self.sizes[index - 1 : index + 1])
        alike = bound != "memory" or before == after != ""
        return _Held(bound, amount, best if alike else unsure(best), ((one, 1 - weight), (other, weight)), factor)


class _Sticks:
    """The yardsticks among some cells."""

    def __init__(self, cells: Iterable[CellResult], caches: Mapping[str, int]) -> None:
        groups: dict[tuple[str, ...], list[CellResult]] = {}
        for cell in cells:
            if cell.benchmark not in STICKS or math.isnan(_size(cell)):  # another suite may declare them differently
                continue
            if cell.benchmark == GENERATOR:
                groups.setdefault((GENERATOR, _place(cell)[0], cell.params.get("generator", "")), []).append(cell)
            else:
                groups.setdefault((cell.benchmark, *_place(cell)), []).append(cell)
        self._sticks = {key: _stick(group, caches) for key, group in groups.items()}

    def held(self, cell: CellResult) -> Iterator[_Held]:
        """The cell compared with the fastest yardstick of each kind that applies to it."""
        device, threads = _place(cell)
        weight = _size(cell)
        counted = _counted(cell)
        if cell.moved_bytes:
            suitable = {(name, device, threads) for name in (READERS if cell.reads else WRITERS)}
            yield from self._fastest("memory", weight, cell.moved_bytes, lambda key: key in suitable)
        if cell.drawn:
            numbers = cell.drawn
            yield from self._fastest("generator", numbers, numbers, lambda key: key[:2] == (GENERATOR, device))
        if counted:
            yield from self._fastest("interpreter", counted, counted, lambda key: key[0] == LOOP)

    def _fastest(
        self, bound: Bound, size: float, amount: float, suitable: Callable[[tuple[str, ...]], bool]
    ) -> Iterator[_Held]:
        held = [stick.held(bound, size, amount) for key, stick in self._sticks.items() if suitable(key)]
        if held:
            yield min(held, key=lambda each: each.best.middle)


def _stick(cells: Iterable[CellResult], caches: Mapping[str, int]) -> _Stick:
    ordered = sorted(cells, key=_size)
    passes = ordered[0].reads + ordered[0].writes if ordered[0].benchmark in (*WRITERS, *READERS) else 1
    own = caches if _place(ordered[0])[0] == "cpu" else {}
    return _Stick(passes, tuple(map(_size, ordered)), tuple(ordered), own)


def _size(cell: CellResult) -> float:
    """The size of a yardstick, or of a cell that moves bytes: bytes of the weight, numbers, or iterations."""
    if cell.benchmark == LOOP:
        return quantity(cell.params.get("iterations", "")) or math.nan
    if cell.benchmark == GENERATOR:
        return cell.drawn or math.nan
    return (cell.moved_bytes or math.nan) / ((cell.reads + cell.writes) or math.nan)


def _place(cell: CellResult) -> tuple[str, str]:
    """Device and threads; without such a parameter, the CPU and one thread."""
    return cell.params.get("device", "cpu"), cell.params.get("threads", "1")


def _counted(cell: CellResult) -> float | None:
    """The number of things that the cell's Python code loops over; None if no parameter counts them."""
    return next((quantity(cell.params[name]) for name in ONE_BY_ONE if name in cell.params), None)


def _line(cell: CellResult) -> tuple[str, ...]:
    """A key that is equal for all cells that differ only in the parameters of `ONE_BY_ONE`."""
    return cell.benchmark, *(value for name, value in cell.params.items() if name not in ONE_BY_ONE)


def _limit(cell: CellResult, held: _Held, subject: str, caches: Mapping[str, int]) -> Limit:
    of_caches = held.bound == "memory" and _place(cell)[0] == "cpu"
    return Limit(
        subject=subject,
        cell=cell.name,
        bound=held.bound,
        achieved=held.amount / cell.value.middle,
        ceiling=held.amount / held.best.middle,
        share=_share(cell, held),
        yardsticks=held.yardsticks,
        level=level(_size(cell), caches) if of_caches else "",
        to_gain=0.0 if held.bound == "interpreter" else max(0.0, cell.value.middle - held.best.middle),
    )


def _share(cell: CellResult, held: _Held) -> Interval:
    """The time of the yardstick over that of the cell: from the rounds that have read both, if there are any."""
    if any(stick.rounds is not cell.rounds for stick, _ in held.cells):
        return unsure(ratio(held.best, cell.value))
    if cell.rounds is None:
        return ratio(held.best, cell.value)
    reading = reading_of(cell.rounds)
    powers = {stick.name: weight for stick, weight in held.cells} | {cell.name: -1.0}
    found = _scaled(reading.product(powers, reading.group_of(cell.name)), held.factor)
    if math.isnan(found.middle):  # no round has read them all
        return unsure(ratio(held.best, cell.value))
    return found if held.best.known else unsure(found)


def level(size: float, caches: Mapping[str, int]) -> str:
    """The smallest cache with more room than `size` bytes, or ``memory``; "" if no caches are known."""
    if not caches:
        return ""
    return next((name for name, room in sorted(caches.items(), key=lambda item: item[1]) if size < room), "memory")


def _scaled(value: Interval, factor: float) -> Interval:
    return Interval(value.low * factor, value.middle * factor, value.high * factor, value.confidence)


def _between(one: Interval, other: Interval, weight: float) -> Interval:
    """Interpolate the logarithms. An end that is unknown in one interval is unknown in the result."""

    def end(name: str, unknown: float) -> float:
        first, second = getattr(one, name), getattr(other, name)
        if not (0 < first < math.inf and 0 < second < math.inf):
            return unknown
        return math.exp((1 - weight) * math.log(first) + weight * math.log(second))

    both = max(0.0, one.confidence + other.confidence - 1)
    return Interval(end("low", -math.inf), end("middle", math.nan), end("high", math.inf), both)
