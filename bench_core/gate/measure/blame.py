"""Decides which side is to blame for a failed cell. A single failure proves nothing: it must happen again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench_core.errors import BenchCoreError
from bench_core.gate.measure.evidence import Dossier, Known
from bench_core.records.gate import SIDES, Exceeded, Side, other_side
from bench_core.records.version import VersionName
from bench_core.workers.messages import CellFailed, Lost, NurseryAnswer, WorkerBroken, WorkerRefused

MOST_STRAYS = 2
"""The cell is given up after more than this many failures that did not happen again."""

CLEARLY_LONGER = 2.0
"""A cell that gave no sign of life is tried again with this many times the patience. Its side hangs, and is not only
slow, if a whole pair of the other version takes less than the first patience."""

SCARCE = 3.0
"""A cell that gave no sign of life is tried again when the other cells are done, or when only this many times as long
is left until the budget ends."""

SHORT_TIMEOUT = 10.0
"""A cell that takes longer than the suite allows is tried again if the suite allows at most this many seconds."""

MOST_SPOILED = 3
"""The cell is given up after more than this many pairs whose samples do not count: it is the cause itself."""

MOST_FAULTS = 3
"""The gate gives up after more than this many faults in a row without a cell to blame."""


@dataclass(frozen=True)
class FailedCell:
    """A cell that failed on one side. It is not known yet whether it fails again, or on the other side.

    Attributes:
        side: the side on which it failed.
        hangs: whether it ran out of time.
        skips: whether it skipped itself.
        timeout: the seconds that the suite allows, if it took longer; else 0.
        waited: see `bench_core.workers.messages.Lost`.
    """

    dossier: Dossier
    cause: str
    side: Side
    hangs: bool
    skips: bool
    timeout: float = 0.0
    waited: float = 0.0

    @property
    def try_again(self) -> bool:
        """Whether its side is tried again. A version that exceeds the suite's timeout is not, unless that is quick, or
        it worked before."""
        return not self.hangs or self.waited > 0 or 0 < self.timeout <= SHORT_TIMEOUT or bool(self.dossier.effects)


class Blame:
    """Decides what failures mean for the cells, and for the gate."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._suspects: list[FailedCell] = []
        self._faults = 0

    @property
    def has_suspects(self) -> bool:
        return bool(self._suspects)

    def next_suspect(self, left: float = 0.0) -> FailedCell | None:
        """The next cell to try again; None if there is none, or if that can wait. `left` is the time until the budget
        ends."""
        with self._known.lock:
            is_open = any(not (one.closed or one.waits) for one in self._known.dossiers)
            due = [one for one in self._suspects if not (is_open and one.waited and left > SCARCE * one.waited)]
            if not due:
                return None
            self._suspects.remove(due[-1])
            return due[-1]

    def suspect(
        self,
        dossier: Dossier,
        cause: str,
        side: Side | None,
        *,
        hangs: bool = False,
        skips: bool = False,
        timeout: float = 0.0,
        waited: float = 0.0,
    ) -> None:
        """Record a failure without a side to blame; `confirm` may find the side later."""
        with self._known.lock:
            dossier.fail(cause, None)
            if side is not None and not dossier.control:
                self._suspects.append(FailedCell(dossier, cause, side, hangs, skips, timeout, waited))

    def lost(
        self,
        unfinished: Sequence[Dossier],
        cause: str,
        side: Side | None,
        *,
        hangs: bool = False,
        timeout: float = 0.0,
        waited: float = 0.0,
    ) -> None:
        """Record that a worker or its parent was lost.

        Args:
            unfinished: cells that the pair has begun and not finished, in order. The first one is the suspect.

        Raises:
            BenchCoreError: if there is no such cell, see `fault`.
        """
        if not unfinished:
            self.fault(cause, side)
        elif unfinished[0].error is None:  # otherwise the same cell has cost another lane a worker
            self._known.hung += bool(waited)
            self.suspect(unfinished[0], cause, side, hangs=hangs, timeout=timeout, waited=waited)

    def confirm(self, suspect: FailedCell, tried: Callable[[VersionName], float | None]) -> None:
        """Run the suspect with each version against itself. A side is to blame only if its version fails again and the
        other version does not, now or before. A cell that only needs more time than it got is postponed.

        Args:
            tried: the seconds that a pair with a version on both sides takes; None if the cell fails.
        """
        dossier, versions = suspect.dossier, dict(zip(SIDES, suspect.dossier.versions, strict=True))
        if suspect.try_again and (seconds := tried(versions[suspect.side])) is not None:
            if seconds > suspect.waited > 0:
                with self._known.lock:
                    dossier.postpone(suspect.waited)
            else:
                self._reopen(suspect)
            return
        other = versions[other_side(suspect.side)]
        seconds = tried(other)
        with self._known.lock:
            call = dossier.alone.get(other, 0.0)
            if seconds is None or any(stray.startswith(f"{other_side(suspect.side)}: ") for stray in dossier.strays):
                dossier.fail(suspect.cause, None)
            elif suspect.timeout > call > 0:
                dossier.exceed(Exceeded(suspect.side, suspect.timeout, call))
            elif seconds > suspect.waited > 0:
                dossier.fail(f"{suspect.cause}; it needs a larger --budget", None)
            else:
                dossier.fail(suspect.cause, suspect.side)

    def _reopen(self, suspect: FailedCell) -> None:
        """Measure a cell further whose failure did not happen again, unless there were too many."""
        with self._known.lock:
            dossier = suspect.dossier
            stray = f"{suspect.side}: {suspect.cause}"
            dossier.strays.append(stray)
            self._known.evidence_of(dossier).journal.add_stray(dossier, stray)
            if len(dossier.strays) <= MOST_STRAYS:
                dossier.error, dossier.closed = None, False
            else:
                dossier.fail(f"now and then: {suspect.cause}", None)

    def fault(self, error: object, side: Side | None = None) -> None:
        """Record a lost parent, or a version that does not load, if no cell is to blame.

        Raises:
            BenchCoreError: after too many faults in a row.
        """
        with self._known.lock:
            self._faults += 1
            where = f" on {side}" if side else ""
            self._known.faults.append(f"{error}{where}")
            if self._faults > MOST_FAULTS:
                raise BenchCoreError(f"workers cannot be started{where}: {error}")

    def spoiled(self, dossier: Dossier, cause: str, spent: float) -> None:
        """Record that a pair of a cell does not count. The cell is as open as before, unless that has happened too
        often."""
        with self._known.lock:
            dossier.spent += spent
            dossier.spoiled += 1
            if dossier.spoiled > MOST_SPOILED:
                dossier.fail(cause, None)
            else:
                self._known.faults.append(f"{cause}, so a pair of {dossier.cell.name} does not count")

    def no_fault(self) -> None:
        """Forget earlier faults: a cell was measured, so processes start as they should."""
        self._faults = 0


def survived(answers: Iterable[NurseryAnswer], *, skips: bool) -> bool:
    """Whether a pair over one cell shows no failure. With `skips`, a cell that skips itself counts as failed."""
    for answer in answers:
        match answer:
            case Lost() | WorkerBroken() | WorkerRefused():
                return False
            case CellFailed(skipped=skipped) if skips or not skipped:
                return False
    return True
