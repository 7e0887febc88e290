"""Where trials keep what they measured: a folder a machine, a file a trial, a line a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench_core.errors import BenchCoreError


@dataclass(frozen=True)
class Raw:
    """The file of one trial."""

    path: Path

    def add(self, **line: Any) -> None:
        """Append a run, at once: what was measured outlives an interruption."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Every run; none where there is no file.

        Raises:
            BenchCoreError: if a line is damaged.
        """
        if not self.path.exists():
            return []
        lines = []
        for number, line in enumerate(self.path.read_text().splitlines(), 1):
            try:
                lines.append(json.loads(line))
            except ValueError as error:
                raise BenchCoreError(
                    f"{self.path}, line {number}, is damaged: {error}. Delete the line, and start the trial again: it "
                    "measures what is missing."
                ) from error
        return lines


def raw(folder: Path, trial: str) -> Raw:
    return Raw(folder / f"{trial}.jsonl")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")
