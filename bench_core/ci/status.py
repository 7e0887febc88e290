"""What the outcome of a gate means for a job: green or red, and in which words."""

from __future__ import annotations

from dataclasses import dataclass

from bench_core import units
from bench_core.ci.acceptance import Acceptance
from bench_core.ci.outcome import Outcome
from bench_core.errors import BUG

STOPPED = {
    2: "the gate could not run, or measured nothing",
    3: "inconclusive, and the gate is strict",
    BUG: "a bug in bench-core",
    130: "the gate was interrupted",
}
"""What an exit code means that is neither a green nor a regression."""


@dataclass(frozen=True)
class Status:
    """The status of a job.

    Attributes:
        is_green: whether the job succeeds.
        mark: a sign for it.
        title: it in a few words of ours: no text of the suite is in it.
    """

    is_green: bool
    mark: str
    title: str


def can_be_accepted(found: Outcome) -> bool:
    """Whether a label may turn it green: a regression may be worth its price; a cell that fails is broken."""
    return found.exit_code == 1 and found.verdict == "regression" and not found.count("broken")


def status(found: Outcome, accepted: Acceptance | None = None) -> Status:
    """The status of a job. The parts of an outcome must agree for a green."""
    if found.exit_code == 0:
        reds = found.verdict in ("regression", "error") or found.count("broken") or found.count("slower")
        return _red("its figures disagree") if reds else _passed(found)
    if found.exit_code == 1:
        if accepted is not None and can_be_accepted(found):
            return Status(True, "✅", "the regression is accepted")
        return _red(_failed(found))
    return _red(STOPPED.get(found.exit_code, f"the gate ended with exit code {found.exit_code}"))


def _red(title: str) -> Status:
    return Status(False, "❌", title)


def _failed(found: Outcome) -> str:
    slower, broken = found.count("slower"), found.count("broken")
    word = units.slower_or_larger(row.is_timed for row in found.of("slower"))
    parts = [f"{units.plural(slower, 'cell')} {word}"] if slower else []
    parts += [f"a regression, although no single cell is {_any_worse(found)} than base"] if is_of_no_cell(found) else []
    parts += [f"{units.plural(broken, 'cell')} failing with head only"] if broken else []
    return ", ".join(parts)


def is_of_no_cell(found: Outcome) -> bool:
    """Whether there is a regression of all cells together, or since an older version, and none of a cell."""
    return found.verdict == "regression" and not found.count("slower")


def _passed(found: Outcome) -> Status:
    if found.verdict == "inconclusive":
        unknown = found.count("unknown") + found.count("failed")
        return Status(True, "⚠️", f"no regression found, {units.plural(unknown, 'cell')} undecided")
    if found.verdict == "improvement":
        word = units.faster_or_smaller(row.is_timed for row in found.of("faster"))
        return Status(True, "✅", f"no cell {_any_worse(found)}, {found.count('faster')} {word}")
    if not any(found.counts):
        return Status(True, "✅", "the change can reach no cell" if found.unaffected else "nothing to compare")
    return Status(True, "✅", f"no cell {_any_worse(found)}")


def _any_worse(found: Outcome) -> str:
    """What none of the cells is: ``slower``, or a word that suits them."""
    return units.slower_or_larger(row.is_timed for row in found.rows)
