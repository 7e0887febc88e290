"""What a gate knows so far, pair by pair, and its file: a later gate on the same two versions goes on from it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench_core.errors import BenchCoreError
from bench_core.records.gate import CellEvidence, Effect, Judgement, Side
from bench_core.records.version import VersionName

Versions = tuple[VersionName, VersionName]
"""What the roles base and head of a pair load."""

COMPARED: Versions = ("base", "head")
CONTROL: Versions = ("base", "base")
CREEP: Versions = ("past", "head")


@dataclass
class Dossier:
    """One cell's evidence while it grows.

    Attributes:
        cell: what is known.
        versions: what is compared.
        plan: how it is sampled, once that is known.
        judgement: the latest; None for a control, which is judged at the end.
        closed: no further pairs are wanted.
        strays: failures that did not come again.
    """

    cell: CellEvidence
    versions: Versions = COMPARED
    plan: dict[str, int] | None = None
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
        self.error, self.error_side, self.closed = cause, side, True

    @property
    def evidence(self) -> CellEvidence:
        return CellEvidence(
            name=self.cell.name,
            benchmark=self.cell.benchmark,
            params=self.cell.params,
            kind=self.cell.kind,
            unit=self.cell.unit,
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
        pair, parent: the first numbers that are free, whichever cells the gates before had.
        family: the most cells that shared the error rate in a gate that saw a part of this evidence.
    """

    effects: int = 0
    pair: int = 0
    parent: int = 0
    family: int = 0


class Journal:
    """A file of lines, one a cell and pair, appended as they are measured.

    Args:
        path: the file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, dossier: Dossier, effect: Effect, spent: float, family: int) -> None:
        line = {
            "cell": dossier.cell.name,
            "control": dossier.control,
            "plan": dossier.plan,
            "spent": spent,
            "family": family,
            "effect": asdict(effect),
        }
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def controls(self) -> set[str]:
        """The cells that base was measured against itself with."""
        return {entry["cell"] for entry in self._entries() if entry["control"]}

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other gates on the same versions from measuring at the same time, where the system can.

        Raises:
            BenchCoreError: if one does so now.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        with self.path.with_suffix(".lock").open("w") as lock:  # given back however we end
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BenchCoreError(
                    "another gate on the same two versions is running here, and both would write the same evidence. "
                    "Wait for it to end."
                ) from error
            yield

    def forget(self, names: Collection[str]) -> None:
        """Drop what is known of these cells, and what is damaged."""
        remaining = self.path.with_suffix(".kept")
        with remaining.open("wb") as kept:
            for line in self._lines():
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    if json.loads(line)["cell"] not in names:
                        kept.write(line + b"\n")
        remaining.replace(self.path)

    def load(self, dossiers: Iterable[Dossier]) -> Earlier:
        """Give each cell what earlier gates have found out about it.

        Raises:
            BenchCoreError: if the file is damaged, but for a last line that was cut off.
        """
        by_name = {(dossier.cell.name, dossier.control): dossier for dossier in dossiers}
        earlier = Earlier()
        for entry in self._entries():
            effect: Effect = entry["effect"]
            dossier = by_name.get((entry["cell"], entry["control"]))
            if dossier is not None:
                dossier.plan, dossier.spent = entry["plan"], dossier.spent + entry["spent"]
                dossier.effects.append(effect)
            earlier = Earlier(
                effects=earlier.effects + (dossier is not None),
                pair=max(earlier.pair, effect.pair + 1),
                parent=max(earlier.parent, effect.parent + 1),
                family=max(earlier.family, entry["family"]) if dossier is not None else earlier.family,
            )
        return earlier

    def _entries(self) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(self._lines(), start=1):
            try:
                entry = json.loads(line)
                yield {
                    **{name: entry[name] for name in ("cell", "control", "plan", "spent", "family")},
                    "effect": Effect(**entry["effect"]),
                }
            except (ValueError, TypeError, KeyError) as error:
                raise BenchCoreError(
                    f"{self.path}, line {number}, is damaged: {type(error).__name__}: {error}. Start anew with --fresh."
                ) from error

    def _lines(self) -> list[bytes]:
        """Whole lines. One that was cut off when a gate was killed goes: what comes next starts a line."""
        if not self.path.exists():
            return []
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        return whole.splitlines()
