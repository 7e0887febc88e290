"""The evidence of a gate so far, and the file that keeps it. A later gate on the same two versions continues from
it."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock, Timeout

from bench_core.codec import from_json, loads, require_schema, to_json
from bench_core.errors import BenchCoreError
from bench_core.files import append_line, write_whole
from bench_core.gate.judge.cell import judge_cell
from bench_core.gate.judge.rule import sharing
from bench_core.gate.measure.discover import Found
from bench_core.records.gate import TIMED, CellEvidence, Effect, Exceeded, GateSettings, Judgement, Side
from bench_core.records.version import VersionName
from bench_core.workers.messages import CellTask, SamplingPlan

Versions = tuple[VersionName, VersionName]
"""The versions that the two sides of a pair load."""

SCHEMA = 1
"""The newest readable schema of a line. Lines of earlier versions have none. What a number means is part of the name
of the file, see `bench_core.workers.worker.PROTOCOL`."""

COMPARED: Versions = ("base", "head")
CONTROL: Versions = ("base", "base")
PAST: Versions = ("past", "head")


@dataclass
class Dossier:
    """The growing evidence on one cell.

    Attributes:
        cell: the cell, without evidence.
        plan: how it is sampled; None before the first pair.
        judgement: the latest judgement; None for a control, which is judged at the end.
        closed: whether no further pairs are wanted.
        postponed: the seconds without a sign of life after which it was given up. It gets its next pair after all
            others are done; 0 for other cells.
        strays: failures that did not happen again, each with its side.
        exceeded: see `CellEvidence`.
        spoiled: the number of pairs whose samples do not count.
        asked: how workers are asked for it, see `Found`.
        alone: seconds of a call with a version on both sides, where a failure was repeated so.
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
    postponed: float = 0.0
    strays: list[str] = field(default_factory=list)
    exceeded: Exceeded | None = None
    spoiled: int = 0
    asked: CellTask | None = None
    alone: dict[VersionName, float] = field(default_factory=dict)

    @property
    def control(self) -> bool:
        return self.versions == CONTROL

    def fail(self, cause: str, side: Side | None) -> None:
        """Close the cell with an error. A control has no side to blame, since both have the same version."""
        self.error, self.error_side, self.closed = cause, None if self.control else side, True

    @property
    def waits(self) -> bool:
        """Whether it has to wait until the others are done."""
        return self.postponed > 0 and not self.effects

    def postpone(self, waited: float) -> None:
        """Open the cell again, for when the others are done. `waited` is how long it was waited for."""
        self.error, self.closed, self.postponed = None, False, waited
        self.spent = max(self.spent, waited)

    def exceed(self, found: Exceeded) -> None:
        """Close the cell: it takes longer than the suite allows on one side."""
        self.error, self.exceeded, self.closed = None, found, True

    @property
    def evidence(self) -> CellEvidence:
        return replace(
            self.cell,
            effects=tuple(self.effects),
            spent=self.spent,
            error=self.error,
            error_side=self.error_side,
            strays=tuple(self.strays),
            exceeded=self.exceeded,
        )


@dataclass(frozen=True)
class Earlier:
    """What was loaded from the evidence of earlier gates.

    Attributes:
        effects: the number of effects on cells of this gate.
        pair, parent: the first free numbers, for all cells of the earlier gates.
        family: the largest number of cells that shared the error rate when any of these effects was measured.
    """

    effects: int = 0
    pair: int = 0
    parent: int = 0
    family: int = 0


MOST_LOG, MOST_SECONDS = 1e4, 1e9
"""More than any log ratio of two floats or its scatter, and than any seconds of a pair."""


@dataclass(frozen=True)
class JournalLine:
    """One cell in one pair, as it is stored.

    Attributes:
        cell: the cell's name.
        control: whether base was measured against itself.
        spent: seconds that the pair spent on the cell.
        family: the number of cells that shared the error rate.
    """

    cell: str
    control: bool
    plan: SamplingPlan | None
    spent: float
    family: int
    effect: Effect

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that no pair can have, as a damaged file may have them."""
        one, plan = self.effect, self.plan
        for what, fits in (
            ("samples", one.samples >= 1),
            ("blocks", one.blocks >= 0),
            ("log_ratio", not abs(one.log_ratio) > MOST_LOG),  # a reading may have none (NaN)
            ("within", not (one.within < 0 or one.within > MOST_LOG)),
            ("setups", not (one.setups < 0 or one.setups > MOST_LOG)),
            ("lasted", not (one.lasted < 0 or one.lasted > MOST_SECONDS)),
            ("spent", 0 <= self.spent <= MOST_SECONDS),
            ("plan", plan is None or (min(plan.alternations, plan.blocks, len(plan.places)) >= 1)),
            ("plan's setup", plan is None or 0 <= plan.setup <= MOST_SECONDS),
        ):
            if not fits:
                raise ValueError(f"the {what} of {self.cell} cannot be")


@dataclass(frozen=True)
class StrayLine:
    """A failure of a cell that did not happen again, with its side, as it is stored."""

    cell: str
    stray: str


class Journal:
    """A file with one line for each cell and pair, and for each failure that did not happen again, appended as they
    are measured. Its folder is made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: bytearray | None = None  # grows in place, since a line comes with each cell of each pair
        self._writing = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, dossier: Dossier, effect: Effect, spent: float, family: int) -> None:
        self._write(JournalLine(dossier.cell.name, dossier.control, dossier.plan, spent, family, effect))

    def add_stray(self, dossier: Dossier, stray: str) -> None:
        self._write(StrayLine(dossier.cell.name, stray))

    def _write(self, line: JournalLine | StrayLine) -> None:
        text = json.dumps({"schema": SCHEMA, **to_json(line)}, allow_nan=False)
        with self._writing:
            try:
                append_line(self.path, text)
            except OSError as error:
                raise BenchCoreError(
                    f"{self.path} cannot be written: {error.strerror}. Make room, or make it writable, and run the "
                    "same command again: it continues from the evidence so far."
                ) from error
            if self._written is not None:
                self._written += text.encode() + b"\n"

    def check(self) -> None:
        """Check that the file holds what was loaded and added, and nothing else: code of a version may have written to
        it. If it does not, write it again.

        Raises:
            BenchCoreError: if it does not.
        """
        with self._writing:
            if self._written is None or (self.path.read_bytes() if self.path.exists() else b"") == self._written:
                return
            write_whole(self.path, bytes(self._written))
        raise BenchCoreError(
            f"{self.path}, the evidence, was changed while the gate ran: a version or a benchmark writes there. It is "
            "written anew, with what the gate has measured."
        )

    def controls(self) -> set[str]:
        """The cells for which base was measured against itself."""
        return {line.cell for line in self._entries() if isinstance(line, JournalLine) and line.control}

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Lock out other gates on the same versions. The operating system releases the lock even if the process is
        killed.

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
            self._written = bytearray().join(line + b"\n" for line in self._lines())
            yield

    def forget(self, names: Collection[str]) -> None:
        """Drop the evidence of these cells, and damaged lines."""
        remaining = self.path.with_suffix(".kept")
        with remaining.open("wb") as kept:
            for line in self._lines():
                with contextlib.suppress(ValueError):
                    if _read(line).cell not in names:
                        kept.write(line + b"\n")
        remaining.replace(self.path)
        if self._written is not None:
            self._written = bytearray(self.path.read_bytes())

    def load(self, dossiers: Iterable[Dossier]) -> Earlier:
        """Add the evidence of earlier gates to the cells.

        Raises:
            BenchCoreError: if a line is damaged, or of a newer schema. A last line that was cut off is dropped instead.
        """
        by_name = {(dossier.cell.name, dossier.control): dossier for dossier in dossiers}
        earlier = Earlier()
        for line in self._entries():
            if isinstance(line, StrayLine):
                if (line.cell, False) in by_name:
                    by_name[line.cell, False].strays.append(line.stray)
                continue
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

    def _entries(self) -> Iterator[JournalLine | StrayLine]:
        for number, line in enumerate(self._lines(), start=1):
            try:
                yield _read(line)
            except ValueError as error:
                raise BenchCoreError(
                    f"{self.path}, line {number}, cannot be used: {error}. Delete the line, or start anew with --fresh."
                ) from error

    def _lines(self) -> list[bytes]:
        """The whole lines. A last line that was cut off when a gate was killed is removed from the file."""
        if not self.path.exists():
            return []
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        return whole.splitlines()


KEPT_JOURNALS = 100
"""The evidence of so many pairs of versions is kept. A search with `bench-core bisect` needs one for each commit that
it tries."""


def keep_newest_evidence(folder: Path, besides: str) -> None:
    """Delete the evidence of all but the `KEPT_JOURNALS` pairs of versions that were measured last.

    Args:
        besides: the beginning of the names of files to keep in any case.
    """
    with contextlib.suppress(FileNotFoundError):  # another gate tidies up as well
        found = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in found[KEPT_JOURNALS:]:
            if not old.name.startswith(besides):
                old.unlink()
                old.with_suffix(".lock").unlink(missing_ok=True)


def _read(line: bytes) -> JournalLine | StrayLine:
    """Read a line. Raises ValueError if it is damaged, or of a newer schema."""
    content = loads(line)
    require_schema(content, SCHEMA, older=True)
    is_stray = isinstance(content, dict) and "stray" in content
    return from_json(StrayLine, content) if is_stray else from_json(JournalLine, content)


class Evidence:
    """The evidence on the cells of two versions, and the journal that keeps it.

    Args:
        found: the cells.
        versions: the two versions.
        settings: the settings as asked for.
        journal: keeps every effect as soon as it is measured.
        controls: cells of the same journal that compare a version with itself.

    Attributes:
        dossiers: one for each cell.
        settings: the settings, with at least the family of the loaded evidence.
        earlier: what was loaded.
        skipped: the reasons of cells that their setup skips, by name.
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
        self.dossiers = [Dossier(cell, versions, asked=found.asked.get(cell.name)) for cell in found.cells]
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
    """One timed cell of each family, drawn at random. Over many gates, every cell is a control once in a while."""
    families: dict[str, list[CellEvidence]] = {}
    for cell in cells:
        if cell.kind in TIMED:
            families.setdefault(cell.family, []).append(cell)
    draw = random.Random(f"{seed} sentinels")
    return [draw.choice(members) for members in families.values()]


class Known:
    """All evidence of a gate.

    Attributes:
        main: the evidence on base and head.
        past: the evidence on past and head; None without a past version.
        compared: `main` and `past`.
        controls: the evidence on base against base. Today's sentinels are measured as long as cells are open. The
            evidence of earlier gates' sentinels counts as well.
        dossiers: those of all cells that are compared, without the controls.
        faults: the causes of losses of processes without a cell to blame, after which the gate went on.
        hung: the number of times that a cell was taken for hung although its suite allows more time.
        lock: must be held to change a dossier, or to read several of them.
    """

    def __init__(self, found: Found, settings: GateSettings, journal: Journal, past_journal: Journal | None) -> None:
        self.lock = threading.RLock()
        self.faults: list[str] = []
        self.hung = 0
        today, earlier = sentinels(found.cells, settings.seed), journal.controls()
        others = [cell for cell in found.cells if cell.name in earlier and cell not in today]
        self.controls = [
            *(Dossier(cell, CONTROL, asked=found.asked.get(cell.name)) for cell in today),
            *(Dossier(cell, CONTROL, asked=found.asked.get(cell.name), closed=True) for cell in others),
        ]
        self.main = Evidence(found, COMPARED, settings, journal, self.controls)
        self.past: Evidence | None = None
        if found.past is not None and past_journal is not None:
            self.past = Evidence(found.past, PAST, replace(settings, family=0), past_journal)
        self.compared = [self.main] if self.past is None else [self.main, self.past]
        self.dossiers = [dossier for evidence in self.compared for dossier in evidence.dossiers]

    @property
    def effects(self) -> int:
        """The number of effects, controls included."""
        return sum(len(one.effects) for one in (*self.dossiers, *self.controls))

    def of(self, versions: Versions) -> dict[str, Dossier]:
        """The dossiers on these versions, by cell name."""
        return {one.cell.name: one for one in (*self.dossiers, *self.controls) if one.versions == versions}

    def evidence_of(self, dossier: Dossier) -> Evidence:
        """The evidence that the dossier belongs to. A control belongs to `main`."""
        return self.past if self.past is not None and dossier.versions == PAST else self.main
