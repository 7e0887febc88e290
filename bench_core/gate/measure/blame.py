"""Which side is to blame for a cell that failed. One failure proves nothing: it has to happen again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench_core.errors import BenchCoreError
from bench_core.gate.measure.evidence import Dossier, Known
from bench_core.gate.workers.messages import CellFailed, Lost, NurseryAnswer, WorkerBroken, WorkerRefused
from bench_core.records.gate import SIDES, Side, other_side
from bench_core.records.version import VersionName

MOST_STRAYS = 2
"""Failures of a cell that did not happen again, at most. With one more the cell is not measured further."""

MOST_FAULTS = 3
"""Parents in a row that may be lost without a cell to blame. With one more the gate gives up."""


@dataclass(frozen=True)
class FailedCell:
    """A cell that failed on one side. Whether it fails again, and on the other side, is not known yet.

    Attributes:
        side: where it failed.
        hangs: it ran out of time.
        skips: it skipped itself there.
    """

    dossier: Dossier
    cause: str
    side: Side
    hangs: bool
    skips: bool


class Blame:
    """Decides what failures mean for the cells, and for the gate."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._suspects: list[FailedCell] = []
        self._faults = 0

    @property
    def has_suspects(self) -> bool:
        return bool(self._suspects)

    def next_suspect(self) -> FailedCell | None:
        with self._known.lock:
            return self._suspects.pop() if self._suspects else None

    def suspect(
        self, dossier: Dossier, cause: str, side: Side | None, *, hangs: bool = False, skips: bool = False
    ) -> None:
        """Count a failure as one of neither side, until `confirm` knows better."""
        with self._known.lock:
            dossier.fail(cause, None)
            if side is not None and not dossier.control:
                self._suspects.append(FailedCell(dossier, cause, side, hangs, skips))

    def lost(self, unfinished: Sequence[Dossier], cause: str, side: Side | None, *, hangs: bool = False) -> None:
        """A worker or its parent was lost.

        Args:
            unfinished: cells that the pair has begun and not finished, in order. The first one is the suspect.

        Raises:
            BenchCoreError: as of `fault`, if there is none.
        """
        if not unfinished:
            self.fault(cause, side)
        elif unfinished[0].error is None:  # otherwise another lane has lost a worker over it, too
            self.suspect(unfinished[0], cause, side, hangs=hangs)

    def confirm(self, suspect: FailedCell, survives: Callable[[VersionName], bool]) -> None:
        """Let each version do, against itself, what one side failed at. That side is to blame only if its version fails
        again and the other version does not.

        Args:
            survives: whether the cell works with a version on both sides.
        """
        versions = dict(zip(SIDES, suspect.dossier.versions, strict=True))
        # A hang is not waited for a second time.
        if not suspect.hangs and survives(versions[suspect.side]):
            self._reopen(suspect)
        elif survives(versions[other_side(suspect.side)]):
            with self._known.lock:
                suspect.dossier.fail(suspect.cause, suspect.side)

    def _reopen(self, suspect: FailedCell) -> None:
        """Measure a cell further that failed once, but not again and again."""
        with self._known.lock:
            dossier = suspect.dossier
            dossier.strays += 1
            if dossier.strays <= MOST_STRAYS:
                dossier.error, dossier.closed = None, False
            else:
                dossier.fail(f"now and then: {suspect.cause}", None)

    def fault(self, error: object, side: Side | None = None) -> None:
        """A parent is lost, or a version does not load, and no cell is to blame.

        Raises:
            BenchCoreError: if that has happened too often.
        """
        with self._known.lock:
            self._faults += 1
            if self._faults > MOST_FAULTS:
                where = f" on {side}" if side else ""
                raise BenchCoreError(f"workers cannot be started{where}: {error}")

    def no_fault(self) -> None:
        """A cell was measured: processes start as they should."""
        self._faults = 0


def survived(answers: Iterable[NurseryAnswer], *, skips: bool) -> bool:
    """Whether a pair over one cell shows no failure.

    Args:
        skips: a cell that skips itself counts as failed.
    """
    for answer in answers:
        match answer:
            case Lost() | WorkerBroken() | WorkerRefused():
                return False
            case CellFailed(skipped=skipped) if skips or not skipped:
                return False
    return True
