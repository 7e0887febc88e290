"""What a gate knows so far, pair by pair, and its file: a later gate on the same two versions goes on from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench_core.errors import BenchCoreError
from bench_core.records import CellEvidence, Effect, Side


@dataclass
class Dossier:
    """One cell's evidence while it grows.

    Attributes:
        plan: how it is sampled, once that is known.
        cell: what is known.
        control: base is compared with itself.
        closed: no further pairs are wanted.
    """

    cell: CellEvidence
    control: bool = False
    plan: dict[str, int] | None = None
    effects: list[Effect] = field(default_factory=list)
    spent: float = 0.0
    error: str | None = None
    error_side: Side | None = None
    closed: bool = False

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


class Journal:
    """A file of lines, one a cell and pair, appended as they are measured.

    Args:
        path: the file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, dossier: Dossier, effect: Effect, spent: float) -> None:
        line = {
            "cell": dossier.cell.name,
            "control": dossier.control,
            "plan": dossier.plan,
            "spent": spent,
            "effect": asdict(effect),
        }
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)

    def load(self, dossiers: Iterable[Dossier]) -> int:
        """Give each cell what earlier gates have found out about it.

        Returns:
            The number of pairs, over all cells.

        Raises:
            BenchCoreError: if the file is damaged, but for a last line that was cut off.
        """
        by_name = {(dossier.cell.name, dossier.control): dossier for dossier in dossiers}
        taken = 0
        for line in self._lines():
            dossier = by_name.get((line["cell"], line["control"]))
            if dossier is not None:
                dossier.plan = line["plan"]
                dossier.effects.append(Effect(**line["effect"]))
                dossier.spent += line["spent"]
                taken += 1
        return taken

    def _lines(self) -> Iterator[Mapping[str, Any]]:
        if not self.path.exists():
            return
        lines = self.path.read_text().splitlines()
        for position, line in enumerate(lines):
            try:
                yield json.loads(line)
            except ValueError as error:
                if position == len(lines) - 1:  # the gate was killed while it wrote: what comes next starts a line
                    self.path.write_text("".join(f"{whole}\n" for whole in lines[:-1]))
                    return
                raise BenchCoreError(
                    f"{self.path}, line {position + 1}, is damaged: {error}. Start anew with --fresh."
                ) from error
