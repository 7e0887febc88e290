"""Makes the lines of the charts: cells that differ only in one parameter, which is a quantity."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from bench_core.records.report import Point, Series, Subject
from bench_core.records.results import ITEM_BYTES, CellResult

_PRODUCT = re.compile(r"\d+(x\d+)+")


def series(subject: Subject) -> tuple[Series, ...]:
    """Every line of the subject, benchmark by benchmark. A parameter is an axis if all its values, in all cells of the
    benchmark, are positive numbers or products such as ``8x4``. This holds for any asv suite. A benchmark with two such
    parameters has lines along both."""
    by_benchmark: dict[str, list[CellResult]] = {}
    for measured in subject.cells.values():
        by_benchmark.setdefault(measured.cell.benchmark, []).append(measured.cell)
    return tuple(
        line for cells in by_benchmark.values() for axis in axes(cells) for line in _along(subject.name, axis, cells)
    )


def axes(cells: Iterable[CellResult]) -> tuple[str, ...]:
    """The parameters of one benchmark's cells that are quantities, with at least two values."""
    values: dict[str, set[str]] = {}
    for cell in cells:
        for name, value in cell.params.items():
            values.setdefault(name, set()).add(value)
    return tuple(
        name for name, found in values.items() if len(found) > 1 and all(quantity(value) is not None for value in found)
    )


def quantity(value: str) -> float | None:
    """The number of a value: 100 for ``"100"`` and 32 for ``"8x4"``; None if it is not a positive number."""
    text = value.strip("'\"")  # asv's values are `repr`s
    if _PRODUCT.fullmatch(text):
        return float(math.prod(map(int, text.split("x")))) or None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


def _along(subject: str, axis: str, cells: Iterable[CellResult]) -> Iterator[Series]:
    lines: dict[tuple[str, ...], list[CellResult]] = {}
    for cell in cells:
        lines.setdefault(tuple(value for name, value in cell.params.items() if name != axis), []).append(cell)
    for line in lines.values():
        points = sorted((_point(cell, axis) for cell in line), key=lambda point: point.n)
        if len(points) < 2:
            continue
        first = line[0]
        fixed = {name: value for name, value in first.params.items() if name != axis}
        elements = all(_PRODUCT.fullmatch(cell.params[axis].strip("'\"")) for cell in line)
        yield Series(
            subject=subject,
            benchmark=first.benchmark,
            unit=first.unit,
            fixed=fixed,
            axis=axis,
            counts="elements" if elements else axis,
            item_bytes=_item_bytes(first, fixed) if elements else None,
            points=tuple(points),
        )


def _point(cell: CellResult, axis: str) -> Point:
    n = quantity(cell.params[axis])
    assert n is not None, "`axes` names only quantities"
    return Point(cell.name, n, cell.params[axis], cell.value)


def _item_bytes(cell: CellResult, fixed: Mapping[str, str]) -> int | None:
    if "dtype" in fixed:
        return ITEM_BYTES.get(fixed["dtype"])
    return ITEM_BYTES["float32"] if cell.reads or cell.writes or cell.draws else None
