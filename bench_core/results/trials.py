"""What trials of the gate on a machine have found: ``trials/<machine>/summary.jsonl`` below the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_core.errors import BenchCoreError
from bench_core.results.read import load

SUMMARY = "summary.jsonl"
"""One line, and no ``.json``: asv takes every one of those below results for its own."""

SCHEMA = 1


@dataclass(frozen=True)
class TrialFigure:
    """One figure of a trial.

    Attributes:
        what: in words.
        value: as it is printed; of a count, ``k of n``.
        low, high: the bounds of a share, Clopper-Pearson 95 %; None for what is no count.
    """

    what: str
    value: str
    low: float | None
    high: float | None

    @property
    def bounds(self) -> str:
        return bounds(self.low, self.high)


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        command: that measures it again.
        date: ISO 8601, or two with ``to`` between them.
        tool: the version of bench_core that was tried.
    """

    title: str
    command: str
    date: str
    tool: str
    figures: tuple[TrialFigure, ...]


@dataclass(frozen=True)
class Tried:
    """All trials on one machine."""

    machine: str
    trials: tuple[Trial, ...]


def bounds(low: float | None, high: float | None) -> str:
    """``0.5 % to 2 %``; "" where there are none."""
    return "" if low is None or high is None else f"{in_percent(low)} to {in_percent(high)}"


def in_percent(share: float) -> str:
    return f"{100 * share:.3g} %"


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
