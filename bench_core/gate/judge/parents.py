"""Groups effects by the parent process that their pairs were forked from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from bench_core.records.gate import Effect


def in_order(effects: Sequence[Effect]) -> list[tuple[int, float]]:
    """The parent's number and the log ratio of each effect."""
    return [(effect.parent, effect.log_ratio) for effect in effects]


def by_parent(drawn: Iterable[tuple[int, float]]) -> list[list[float]]:
    """The values of each parent, in the order in which the parents began."""
    parents: dict[int, list[float]] = defaultdict(list)
    for parent, value in drawn:
        parents[parent].append(value)
    return list(parents.values())
