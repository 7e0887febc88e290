"""The newest values of a report in the formats of other tools: https://bencher.dev/docs/reference/bencher-metric-format
and the custom format of https://github.com/benchmark-action/github-action-benchmark."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from bench_core.errors import BenchCoreError
from bench_core.records.report import Answers, Subject
from bench_core.records.results import CellResult

LONGEST_BENCHMARK = 1024
"""The most bytes of a benchmark's name in Bencher."""

LONGEST_MEASURE = 64
"""The most bytes of a measure's name in Bencher."""

NANOSECOND = 1e-9
"""The unit of Bencher's own measure `latency`."""


def bencher(report: Answers) -> str:
    """The Bencher Metric Format. Each cell has one measure: ``latency`` in nanoseconds, ``memory`` in bytes, or that of
    its own unit. The ends of an interval are left out if they are not known.

    Raises:
        BenchCoreError: if the report has several subjects, or two cells have the same name.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for cell in _cells(report):
        scale, unit = _scaled(cell)
        measure = {"ns": "latency", "bytes": "memory"}.get(unit, unit) or "value"
        ends = {"value": cell.value.middle, "lower_value": cell.value.low, "upper_value": cell.value.high}
        values = {name: scale * end for name, end in ends.items() if math.isfinite(end)}
        found[_cut(cell.name, LONGEST_BENCHMARK)] = {_cut(measure, LONGEST_MEASURE): values}
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def github_action_benchmark(report: Answers) -> str:
    """``customSmallerIsBetter``: a list of values. The range is half of the interval.

    Raises:
        BenchCoreError: as for `bencher`.
    """
    found: list[dict[str, Any]] = []
    for cell in _cells(report):
        scale, unit = _scaled(cell)
        half = scale * (cell.value.high - cell.value.low) / 2
        entry = {"name": cell.name, "unit": unit, "value": scale * cell.value.middle}
        if math.isfinite(half):
            entry["range"] = f"± {half:.3g}" if half < 1000 else f"± {half:.0f}"
        found.append(entry)
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def _cells(report: Answers) -> list[CellResult]:
    """The cells that have a value."""
    if not report.subjects:
        raise BenchCoreError("this format holds cells, and there are none. `bench-core run` measures some.")
    subject, *others = report.subjects
    if others:
        names = ", ".join(repr(one.name) for one in report.subjects)
        raise BenchCoreError(f"this format holds one machine, and there are {names}: choose one with --machine.")
    return _of(subject)


def _of(subject: Subject) -> list[CellResult]:
    return [one.cell for one in subject.cells.values() if math.isfinite(one.cell.value.middle)]


def _scaled(cell: CellResult) -> tuple[float, str]:
    """What a value is multiplied with, and its unit then."""
    return (1 / NANOSECOND, "ns") if cell.unit == "seconds" else (1.0, cell.unit)


def _cut(name: str, longest: int) -> str:
    """A name of at most `longest` bytes. A name that is cut ends in a part of its hash."""
    whole = name.encode(errors="replace")
    if len(whole) <= longest:
        return whole.decode()
    kept = whole[: longest - 11].decode(errors="ignore")
    return f"{kept}...{hashlib.sha256(whole).hexdigest()[:8]}"
