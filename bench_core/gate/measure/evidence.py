"""What a gate knows so far, pair by pair, and its file: a later gate on the same two versions continues from it."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock, Timeout

from bench_core.codec import MalformedError, from_json, to_json
from bench_core.errors import BenchCoreError
from bench_core.gate.judge.cell import judge_cell
from bench_core.gate.judge.rule import TIMED, sharing
from bench_core.gate.measure.discover import Found
from bench_core.gate.workers.messages import SamplingPlan
from bench_core.records.gate import CellEvidence, Effect, GateSettings, Judgement, Side
from bench_core.records.version import VersionName

Versions = tuple[VersionName, VersionName]
"""What the roles base and head of a pair load."""

COMPARED: Versions = ("base", "head")
CONTROL: Versions = ("base", "base")
PAST: Versions = ("past", "head")


@dataclass
class Dossier:
    """One cell's evidence while it grows.

    Attributes:
        cell: what is known of it beforehand.
        versions: what is compared.
        plan: how it is sampled, once that is known.
        judgement: the latest; None for a control, which is judged at the end.
        closed: no further pairs are wanted.
        strays: failures that did not happen again.
    """

    cell: CellEvidence
    versions: Versions = COMPARED
    plan: SamplingPlan | None = None
    effects: list[Effect] = field(default_factory=list)
    spent: float = 0.0
    error: str | None = None
    error_side: Side | None = None
    judgement: Judgement | None = None
    closed: bool = False
    strays: int = 0

    @property
    def control(self) -> bool:
        return self.versions == CONTROL

    def fail(self, cause: str, side: Side | None) -> None:
        """No verdict for this cell; a control fails on neither side, since both have the same version."""
        self.error, self.error_side, self.closed = cause, None if self.control else side, True

    @property
    def evidence(self) -> CellEvidence:
        return replace(
            self.cell,
            effects=tuple(self.effects),
            spent=self.spent,
            error=self.error,
            error_side=self.error_side,
        )


@dataclass(frozen=True)
class Earlier:
    """What earlier gates have left.

    Attributes:
        effects: how many were taken over.
        pair, parent: the first numbers that are free, whichever cells the earlier gates had.
        family: the most cells that shared the error rate in a gate that saw a part of this evidence.
    """

    effects: int = 0
    pair: int = 0
    parent: int = 0
    family: int = 0


@dataclass(frozen=True)
class JournalLine:
    """One cell in one pair, as it is stored.

    Attributes:
        cell: its name.
        control: base was measured against itself.
        spent: seconds that the pair took for it.
        family: the cells that shared the error rate.
    """

    cell: str
    control: bool
    plan: SamplingPlan | None
    spent: float
    family: int
    effect: Effect


class Journal:
    """A file with one line for each cell and pair, appended as they are measured.

    Args:
        path: the file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, dossier: Dossier, effect: Effect, spent: float, family: int) -> None:
        line = JournalLine(dossier.cell.name, dossier.control, dossier.plan, spent, family, effect)
        with self.path.open("a") as file:
            file.write(json.dumps(to_json(line), allow_nan=False) + "\n")

    def controls(self) -> set[str]:
        """The cells for which base was measured against itself."""
        return {line.cell for line in self._entries() if line.control}

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other gates on the same versions from measuring at the same time.

        The operating system releases the lock when the process ends, however it ends.

        Raises:
            BenchCoreError: if another gate on the same versions is running, or the evidence cannot be written here.
        """
        lock = FileLock(self.path.with_suffix(".lock"), timeout=0)
        try:
            held = lock.acquire()
        except Timeout as error:
            raise BenchCoreError(
                "another gate on the same two versions is running here, and both would write the same evidence. "
                "Wait for it to end."
            ) from error
        except OSError as error:
            raise BenchCoreError(f"{lock.lock_file} cannot be locked: {error.strerror}. Make it writable.") from error
        with held:
            yield

    def forget(self, names: Collection[str]) -> None:
        """Drop the evidence of these cells, and damaged lines."""
        remaining = self.path.with_suffix(".kept")
        with remaining.open("wb") as kept:
            for line in self._lines():
                with contextlib.suppress(ValueError):
                    if from_json(JournalLine, json.loads(line)).cell not in names:
                        kept.write(line + b"\n")
        remaining.replace(self.path)

    def load(self, dossiers: Iterable[Dossier]) -> Earlier:
        """Give each cell what earlier gates have found out about it.

        Raises:
            BenchCoreError: if a line is damaged. A last line that was cut off is dropped instead.
        """
        by_name = {(dossier.cell.name, dossier.control): dossier for dossier in dossiers}
        earlier = Earlier()
        for line in self._entries():
            dossier = by_name.get((line.cell, line.control))
            if dossier is not None:
                dossier.plan, dossier.spent = line.plan, dossier.spent + line.spent
                dossier.effects.append(line.effect)
            earlier = Earlier(
                effects=earlier.effects + (dossier is not None),
                pair=max(earlier.pair, line.effect.pair + 1),
                parent=max(earlier.parent, line.effect.parent + 1),
                family=max(earlier.family, line.family) if dossier is not None else earlier.family,
            )
        return earlier

    def _entries(self) -> Iterator[JournalLine]:
        for number, line in enumerate(self._lines(), start=1):
            try:
                yield from_json(JournalLine, json.loads(line))
            except (ValueError, MalformedError) as error:
                raise BenchCoreError(
                    f"{self.path}, line {number}, is damaged: {error}. Start anew with --fresh."
                ) from error

    def _lines(self) -> list[bytes]:
        """Whole lines. A last line that was cut off when a gate was killed is removed, so that the next one starts a
        line."""
        if not self.path.exists():
            return []
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        return whole.splitlines()


class Evidence:
    """What is known of the cells of two versions, and the journal that keeps it.

    Args:
        found: the cells.
        versions: the two versions.
        settings: what was asked for.
        journal: takes every effect at once.
        controls: cells of the same journal that compare a version with itself.

    Attributes:
        dossiers: of the cells.
        settings: as asked for, with the family that the evidence demands.
        earlier: what earlier gates have left.
        skipped: cells that their setup skips: name to reason.
    """

    def __init__(
        self,
        found: Found,
        versions: Versions,
        settings: GateSettings,
        journal: Journal,
        controls: Sequence[Dossier] = (),
    ) -> None:
        self.journal = journal
        self.dossiers = [Dossier(cell, versions) for cell in found.cells]
        self.earlier = journal.load([*self.dossiers, *controls])
        own = settings.family or sharing(found.cells)
        self.settings = replace(settings, family=max(own, self.earlier.family))
        self.skipped: dict[str, str] = {}
        for dossier in self.dossiers:
            self.judge(dossier)

    @property
    def cells(self) -> tuple[CellEvidence, ...]:
        """The evidence, without cells that skip themselves."""
        return tuple(one.evidence for one in self.dossiers if one.cell.name not in self.skipped)

    def judge(self, dossier: Dossier) -> None:
        dossier.judgement = judge_cell(dossier.effects, self.settings, self.settings.family, dossier.cell.kind)
        dossier.closed = dossier.judgement.decided


def sentinels(cells: Sequence[CellEvidence], seed: int) -> list[CellEvidence]:
    """One timed cell of each family, drawn at random. Over many gates, every cell is a control at some time."""
    families: dict[str, list[CellEvidence]] = {}
    for cell in cells:
        if cell.kind in TIMED:
            families.setdefault(cell.family, []).append(cell)
    draw = random.Random(f"{seed} sentinels")
    return [draw.choice(members) for members in families.values()]


class Known:
    """Everything that a gate knows: the evidence on its versions, and on base against itself.

    Args:
        past_journal: of past and head; None without a past version.

    Attributes:
        main: base and head.
        past: past and head, or None.
        compared: both.
        controls: base against base. Today's sentinels are measured for as long as cells are open. The evidence of
            earlier gates' sentinels counts as well.
        dossiers: of all cells that are compared; without the controls.
        lock: to be held by whoever changes a dossier, or reads several of them.
    """

    def __init__(self, found: Found, settings: GateSettings, journal: Journal, past_journal: Journal | None) -> None:
        self.lock = threading.RLock()
        today, earlier = sentinels(found.cells, settings.seed), journal.controls()
        others = [cell for cell in found.cells if cell.name in earlier and cell not in today]
        self.controls = [
            *(Dossier(cell, CONTROL) for cell in today),
            *(Dossier(cell, CONTROL, closed=True) for cell in others),
        ]
        self.main = Evidence(found, COMPARED, settings, journal, self.controls)
        self.past: Evidence | None = None
        if found.past is not None and past_journal is not None:
            self.past = Evidence(found.past, PAST, replace(settings, family=0), past_journal)
        self.compared = [self.main] if self.past is None else [self.main, self.past]
        self.dossiers = [dossier for evidence in self.compared for dossier in evidence.dossiers]

    @property
    def effects(self) -> int:
        """How many there are, of whatever versions."""
        return sum(len(one.effects) for one in (*self.dossiers, *self.controls))

    def of(self, versions: Versions) -> dict[str, Dossier]:
        """The cells for which these versions are measured, by name."""
        return {one.cell.name: one for one in (*self.dossiers, *self.controls) if one.versions == versions}

    def evidence_of(self, dossier: Dossier) -> Evidence:
        """Where the dossier belongs; a control belongs to base and head."""
        return self.past if self.past is not None and dossier.versions == PAST else self.main
