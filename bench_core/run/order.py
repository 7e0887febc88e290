"""Finds cells whose time depends on what ran before: on another cell of their group, or on how often the group has run.
Such a cell changes shared state, or leaves caches and allocators in another state, and is no fair neighbour."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping

from bench_core.statistics import UNKNOWN, location_interval
from bench_core.workers.messages import Log

LEAST = 0.05
"""An effect matters if it is certainly above this share of the time."""

FEWEST = 4
"""An effect is judged after at least this many visits."""

ITSELF = ""
"""Stands for the earlier calls of all cells of a group, where the name of one cell may stand."""


class OrderEffects:
    """By how much the cells of a run are slower after each other cell of their group, and late in a visit."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], list[float]] = {}

    def add(self, job: str, logs: Mapping[str, Log]) -> None:
        """Add a visit of the group of a job."""
        for (cell, before), effect in effects(logs):
            self._found.setdefault((job, cell, before), []).append(effect)

    def doubts(self) -> dict[str, str]:
        """Why the ratios of a job are doubtful, for each job that has an effect that is certain, all of them together
        with 95 %."""
        confidence = 1 - 0.05 / max(1, len(self._found))
        doubts: dict[str, str] = {}
        for (job, cell, before), logs in self._found.items():
            if len(logs) < FEWEST:
                continue
            found = location_interval(logs, UNKNOWN, confidence)
            if found.low > math.log1p(LEAST):
                longer = f"{cell} takes {100 * math.expm1(found.middle):.0f} % longer"
                doubts.setdefault(
                    job,
                    f"{longer} right after {before}, so their ratio is doubtful."
                    if before != ITSELF
                    else f"{longer} in the second half of its samples than in the first: its work grows with the calls "
                    f"of {job}, so the ratios are doubtful.",
                )
        return doubts


def effects(logs: Mapping[str, Log]) -> Iterator[tuple[tuple[str, str], float]]:
    """By how much cells are slower after others, as differences of the medians of the logarithms: for each ordered pair
    of cells, how much slower the first is right after the second than after any other or after itself; and for each
    cell and `ITSELF`, how much slower it is in the second half of the visit than in the first."""
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
        half = len(spans) // 2
        if half > 1:
            early, late = ([span for _, span in part] for part in (spans[:half], spans[-half:]))
            yield (name, ITSELF), statistics.median(late) - statistics.median(early)
