"""What trials of the gate on a machine have found: ``trials/<machine>/summary.jsonl`` below the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench_core.errors import BenchCoreError
from bench_core.records.results import Trial, TrialFigure, Tried
from bench_core.results.read import load

SUMMARY = "summary.jsonl"
"""One line, and no ``.json``: asv takes every one of those below results for its own."""

SCHEMA = 1


def read_trials(path: Path) -> Tried:
    """Read a summary of trials.

    Raises:
        BenchCoreError: if it is none, or of a newer schema.
    """
    content = load(path)
    try:
        if content["schema"] > SCHEMA:
            raise BenchCoreError(f"a newer bench_core wrote {path} (schema {content['schema']}): upgrade.")
        trials = tuple(_trial(name, origin, content["figures"]) for name, origin in content["trials"].items())
        return Tried(str(content["machine"]["name"]), trials)
    except (KeyError, TypeError, AttributeError) as error:
        raise BenchCoreError(
            f"{path} is no summary of trials: {error!r}. `python -m trials summary` writes one."
        ) from error


def _trial(name: str, origin: dict[str, Any], figures: list[dict[str, Any]]) -> Trial:
    return Trial(
        title=str(origin["title"]),
        command=str(origin["command"]),
        date=str(origin["date"]),
        tool=str(origin["tool"]),
        figures=tuple(
            TrialFigure(str(each["what"]), str(each["value"]), _bound(each["low"]), _bound(each["high"]))
            for each in figures
            if each["trial"] == name
        ),
    )


def _bound(value: Any) -> float | None:
    if value is not None and not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is no bound")
    return value
