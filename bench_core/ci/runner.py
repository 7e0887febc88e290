"""What GitHub's runner hands to a step, and what a step hands back. Needs the standard library alone, since the first
step runs before anything is installed."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from bench_core.errors import BenchCoreError
from bench_core.texts import workflow_command

PREFIX = "BENCH_CORE_"
"""What the names of the variables begin with in which the action passes its inputs to its steps."""

LARGEST_SUMMARY = 1_000_000
"""The most bytes that are added to a job's summary. GitHub refuses more than 1 MiB in a step."""


@dataclass(frozen=True)
class Runner:
    """The variables of a step.

    Attributes:
        variables: the environment of the step.
        out: where workflow commands are written.
    """

    variables: Mapping[str, str]
    out: TextIO

    def named(self, name: str) -> str:
        """A variable that GitHub's runner sets.

        Raises:
            BenchCoreError: if it is not set.
        """
        found = self.variables.get(name, "")
        if not found:
            raise BenchCoreError(
                f"{name} is not set, which GitHub's runner sets for each step. `bench-core ci` is for workflows of "
                "GitHub; elsewhere, use `bench-core gate`."
            )
        return found

    def given(self, name: str) -> str:
        """An input of the action, such as ``noise-floor``; "" if it is not given."""
        return self.variables.get(PREFIX + name.upper().replace("-", "_"), "").strip()

    @property
    def folder(self) -> Path:
        """The folder of the action's files, of this use of it in the job. It is outside of the repository, and is
        made."""
        found = Path(self.variables.get("FOLDER") or Path(self.named("RUNNER_TEMP"), "bench-core"))
        found.mkdir(parents=True, exist_ok=True)
        return found

    def give(self, **outputs: str) -> None:
        """Hand outputs to later steps. A line end in a value begins no other output: the value ends at a delimiter that
        nobody can guess. In the names, ``_`` stands for ``-``."""
        with Path(self.named("GITHUB_OUTPUT")).open("a", encoding="utf-8") as file:
            for name, value in outputs.items():
                end = f"end-{secrets.token_hex(16)}"
                file.write(f"{name.replace('_', '-')}<<{end}\n{value}\n{end}\n")

    def summarize(self, markdown: str) -> None:
        """Add to the job's summary."""
        with Path(self.named("GITHUB_STEP_SUMMARY")).open("a", encoding="utf-8") as file:
            file.write(markdown.encode()[:LARGEST_SUMMARY].decode(errors="ignore") + "\n")

    def say(self, *lines: str) -> None:
        for line in lines:
            self.out.write(f"{line}\n")
        self.out.flush()

    def notice(self, text: str, kind: str = "notice") -> None:
        """Write an annotation of the whole job: a ``notice``, ``warning`` or ``error``."""
        self.say(workflow_command(kind, text, title="bench-core"))

    @contextmanager
    def without_commands(self) -> Iterator[None]:
        """Within this, GitHub's runner takes no line of the log for a workflow command: the code that is measured may
        print some."""
        word = f"bench-core-{secrets.token_hex(16)}"
        self.say(f"::stop-commands::{word}")
        try:
            yield
        finally:
            self.say("", f"::{word}::")


def here() -> Runner:
    return Runner(os.environ, sys.stdout)


def is_yes(name: str, value: str) -> bool:
    """The value of an input that is true or false; "" is false.

    Raises:
        BenchCoreError: if it is neither.
    """
    if value.lower() not in ("", "true", "false"):
        raise BenchCoreError(f"the input {name} is {value!r}, and not true or false.")
    return value.lower() == "true"
