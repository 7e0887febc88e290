"""Stores the results of trials: a folder per machine, a file per trial, a line per run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench_core.codec import loads, require_schema
from bench_core.errors import BenchCoreError
from bench_core.results.gate_file import is_gate
from trials.gates import tool

Line = Mapping[str, Any]

SCHEMA = 1
"""The newest readable schema of a line. Lines of earlier versions have none."""


@dataclass(frozen=True)
class Raw:
    """The file of one trial."""

    path: Path

    def add(self, **line: Any) -> None:
        """Append a run at once, so that an interruption does not lose it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps({"schema": SCHEMA, **line}, separators=(",", ":")) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Every run; none if there is no file.

        Raises:
            BenchCoreError: if a line is damaged, or of a newer schema.
        """
        if not self.path.exists():
            return []
        lines = []
        for number, line in enumerate(self.path.read_bytes().splitlines(), 1):
            try:
                found = loads(line)
                if not (isinstance(found, dict) and is_gate(found)):  # a whole file of the gate has a schema of its own
                    require_schema(found, SCHEMA, older=True)
                lines.append(found)
            except ValueError as error:
                raise BenchCoreError(
                    f"{self.path}, line {number}, is damaged: {error}. Delete the line, and start the trial again. It "
                    "measures what is missing."
                ) from error
        return lines


@dataclass(frozen=True)
class Trial:
    """A trial of one version of the tool with certain options. Runs of other versions, or with other options, belong to
    another trial.

    Attributes:
        raw: its file.
        tool: the version, see `trials.gates.tool`.
        options: the options that affect the measurement; None for an option that was not given.
    """

    raw: Raw
    tool: str
    options: Mapping[str, str | None]

    def done(self) -> list[dict[str, Any]]:
        """The runs that need not be repeated."""
        return [line for line in self.raw.read() if protocol(line) == (self.tool, self.options)]

    def add(self, **line: Any) -> None:
        """Append a run.

        Raises:
            BenchCoreError: if the tool has changed since the trial began.
        """
        now = tool(dirty=True)
        if now != self.tool:
            raise BenchCoreError(
                f"the checkout was {self.tool} when the trial began and is {now} now. The last run belongs to neither, "
                "and is not kept. Leave the checkout unchanged, and start the trial again."
            )
        self.raw.add(**line, tool=self.tool, options=self.options)

    @property
    def arguments(self) -> list[str]:
        """The options as arguments of the gate."""
        return [word for name, value in self.options.items() if value is not None for word in (f"--{name}", value)]


def protocol(line: Line) -> tuple[str, Mapping[str, str | None] | None]:
    """The tool and the options of a run, which must be equal for runs to be counted together. The options of old lines
    are None."""
    return line["tool"], line.get("options")


def of_one_protocol(lines: Sequence[Line], tool: str | None = None) -> list[Line]:
    """The newest run, and all with the same protocol. With `tool`, only runs of this tool count."""
    own = [line for line in lines if tool in (None, line["tool"])]
    return [line for line in own if protocol(line) == protocol(own[-1])]


def raw(folder: Path, trial: str) -> Raw:
    return Raw(folder / f"{trial}.jsonl")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content) + "\n")


def today() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d")
