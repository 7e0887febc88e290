"""Finds out which cells of two versions belong together: those of one name, or else those at one position.

asv names a cell by the `repr` of its parameters, which may change with a library: numpy's `0.5` is `np.float64(0.5)`
in numpy 2.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench_core.records.gate import Side
from bench_core.records.version import VersionName
from bench_core.workers.messages import Probed, ProbedCell

ADDRESS = re.compile(r"\b0x[0-9a-fA-F]+")
WORD = re.compile(r"[\w.+-]+")


@dataclass(frozen=True)
class Matched:
    """The cells of two versions.

    Attributes:
        both: cells that belong together, the older one first.
        alone: cells of a benchmark that has no other cells on the other side, and their side.
        unlike: cells of head that the older side has with other parameters, and how they differ. They are on both sides
            and cannot be compared.
        apart: the reasons for cells of the older side that head has with other parameters, by name.
    """

    both: tuple[tuple[ProbedCell, ProbedCell], ...]
    alone: tuple[tuple[ProbedCell, Side], ...]
    unlike: tuple[tuple[ProbedCell, str], ...]
    apart: Mapping[str, str]


def match(base: Probed, head: Probed, older: VersionName) -> Matched:
    """Match cells by name. Where both sides have other names of one benchmark, match the cells at the same position, if
    their values differ only in how they are written. Cells are kept if they are selected, matched ones by either name.
    `older` is what base is called."""
    ours, theirs = ({cell.name: cell for cell in side.cells} for side in (base, head))
    both = [(ours[name], theirs[name]) for name in ours if name in theirs]
    old, new = (_by_benchmark(cells, others) for cells, others in ((ours, theirs), (theirs, ours)))
    alone: list[tuple[ProbedCell, Side]] = []
    unlike: list[tuple[ProbedCell, str]] = []
    apart: dict[str, str] = {}
    for benchmark in {**old, **new}:
        before, after = old.get(benchmark, []), new.get(benchmark, [])
        if not before or not after:
            alone += [(cell, "base") for cell in before] + [(cell, "head") for cell in after]
            continue
        differ = _declared_apart(base.declared, head.declared, benchmark, older)
        at = {cell.index: cell for cell in before}
        for cell in after:
            why = differ or _values_apart(at.get(cell.index), cell, older)
            if why:
                unlike.append((cell, why))
            else:
                both.append((at.pop(cell.index), cell))
        only = f"only on {older}: {differ or 'head has other values'}"
        apart |= {cell.name: only for cell in at.values() if cell.selected}
    return Matched(
        both=tuple((one, other) for one, other in both if one.selected or other.selected),
        alone=tuple((cell, side) for cell, side in alone if cell.selected),
        unlike=tuple((cell, why) for cell, why in unlike if cell.selected),
        apart=apart,
    )


def _by_benchmark(cells: Mapping[str, ProbedCell], others: Mapping[str, ProbedCell]) -> dict[str, list[ProbedCell]]:
    """The cells whose names are not among `others`, by benchmark."""
    found: dict[str, list[ProbedCell]] = {}
    for name, cell in cells.items():
        if name not in others:
            found.setdefault(cell.benchmark, []).append(cell)
    return found


def _declared_apart(
    base: Iterable[Mapping[str, Any]], head: Iterable[Mapping[str, Any]], benchmark: str, older: VersionName
) -> str:
    """How the parameters of a benchmark differ in their names or in the number of their values; "" if they do not."""
    ours, theirs = (next((one for one in side if one["name"] == benchmark), {}) for side in (base, head))
    names, others = (list(one.get("param_names", ())) for one in (ours, theirs))
    if names != others:
        return f"its parameters are {', '.join(names) or 'none'} on {older}, {', '.join(others) or 'none'} on head"
    for name, before, after in zip(names, ours.get("params", ()), theirs.get("params", ()), strict=False):
        if len(before) != len(after):
            return f"{name} has {len(before)} values on {older}, {len(after)} on head"
    return ""


def _values_apart(before: ProbedCell | None, after: ProbedCell, older: VersionName) -> str:
    """Which value differs in more than how it is written; "" if none does."""
    if before is None:
        return f"{older} has another cell at its position"
    for name, value in after.params.items():
        old = before.params.get(name, "")
        if not same_value(old, value):
            return f"{name} is {old} on {older}, {value} on head"
    return ""


def same_value(one: str, other: str) -> bool:
    """Whether two texts may be of one value: apart from addresses in memory, one of them has all words and numbers of
    the other."""
    words, others = (Counter(_words(text)) for text in (one, other))
    return words <= others or others <= words


def _words(text: str) -> Iterator[str]:
    for word in WORD.findall(ADDRESS.sub("", text)):
        try:
            yield str(float(word))
        except ValueError:
            yield from filter(None, word.split("."))
