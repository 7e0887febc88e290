"""The names of tests: the same in every process, so that pytest-xdist, `--lf` and stored results find them again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from bench_core import texts
from bench_core.timing.cells import Cell


def stable_names(cells: Iterable[Cell]) -> list[tuple[str, Cell]]:
    """Each cell with its test's name: its own, so that it can be typed back. Cells that then have the same name are
    numbered."""
    named = [(_readable(cell.name), cell) for cell in cells]
    same = Counter(name for name, _ in named)
    seen: Counter[str] = Counter()
    result = []
    for name, cell in named:
        result.append((f"{name} ({seen[name]})" if same[name] > 1 else name, cell))
        seen[name] += 1
    return result


def _readable(name: str) -> str:
    """`name` as text on one line, and without pytest's separator ``::``."""
    return texts.logged(name.replace("::", ": :"))
