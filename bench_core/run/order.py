"""Finds cells that are slower right after another one of their group: a cell that changes shared state, or leaves
caches and allocators in another state, is no fair neighbour."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping

from bench_core.statistics import UNKNOWN, mean_interval
from bench_core.workers.messages import Log

LEAST = 0.05
"""An effect is worth a note if it is certainly above this share of the time."""

FEWEST = 4
"""An effect is judged after at least this many visits."""


class OrderEffects:
    """By how much the cells of a run are slower after each other cell of their group."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[float]] = {}

    def add(self, logs: Mapping[str, Log]) -> None:
        """Add a visit of a group."""
        for pair, effect in effects(logs):
            self._found.setdefault(pair, []).append(effect)

    def notes(self) -> Iterator[str]:
        """A sentence for each effect that is certain, all of them together with 95 %."""
        confidence = 1 - 0.05 / max(1, len(self._found))
        for (cell, before), logs in self._found.items():
            if len(logs) < FEWEST:
                continue
            found = mean_interval(logs, UNKNOWN, confidence)
            if found.low > math.log1p(LEAST):
                longer = f"{100 * math.expm1(found.middle):.0f} %"
                yield f"{cell} takes {longer} longer right after {before}, so their ratio is doubtful."


def effects(logs: Mapping[str, Log]) -> Iterator[tuple[tuple[str, str], float]]:
    """For each ordered pair of cells, by how much the first is slower right after the second than after any other, or
    after itself: the difference of the medians of the logarithms."""
    rows = [
        [name for _, name in sorted((log.positions[number], name) for name, log in logs.items())]
        for number in range(min(len(log.positions) for log in logs.values()))
    ]
    sequence = [name for row in rows for name in row]
    before: dict[str, list[str]] = {name: [] for name in logs}
    for place, name in enumerate(sequence):
        before[name].append(sequence[place - 1] if place else "")
    for name, log in logs.items():
        neighbours = zip(before[name], log.spans, strict=False)
        spans = [(neighbour, math.log(span)) for neighbour, span in neighbours if span > 0]
        for other in logs:
            after = [span for neighbour, span in spans if neighbour == other]
            rest = [span for neighbour, span in spans if neighbour not in (other, "")]
            if other != name and len(after) > 1 and len(rest) > 1:
                yield (name, other), statistics.median(after) - statistics.median(rest)
