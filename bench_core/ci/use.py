"""Which use of the action this is in its job: its own folder and the name of its artifact. Needs the standard library
alone, like the first step."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from bench_core.ci.runner import Runner
from bench_core.errors import BenchCoreError

NAMING = ("suite", "bench", "job", "model", "device", "dtype", "input")
"""The inputs that tell the comments on a pull request apart."""

FILE = "use.json"
"""The file in the folder of a use that later ones in the same job read."""


@dataclass(frozen=True)
class Use:
    """A use of the action in a job.

    Attributes:
        folder: for its environment and its results.
        artifact: the name of the artifact for people.
        of: its values of the inputs in `NAMING`.
    """

    folder: Path
    artifact: str
    of: list[str]

    def note(self) -> None:
        """Let later uses in this job know of this one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / FILE).write_text(json.dumps([self.artifact, self.of]))


def this_use(runner: Runner) -> Use:
    """The use that begins. The first one in a job has the usual names.

    Raises:
        BenchCoreError: if an earlier one would have the same comment.
    """
    first = folder = Path(runner.named("RUNNER_TEMP"), "bench-core")
    artifacts, earlier = set(), []
    while (folder / FILE).exists():
        artifact, of = json.loads((folder / FILE).read_text())
        artifacts.add(artifact)
        earlier.append(of)
        folder = first.with_name(f"{first.name}-{len(earlier) + 1}")
    of = [runner.given(name) for name in NAMING]
    if of in earlier:
        raise BenchCoreError(
            "an earlier step of this job uses the action on the same cells, and both would have one comment. Give each "
            "of the two another `job`, which names its comment and its artifact."
        )
    usual = named(runner.given("artifact"), runner.given("job"))
    artifact = usual if usual not in artifacts else named(usual, f"use-{len(earlier) + 1}")
    return Use(folder, artifact, of)


def named(*parts: str) -> str:
    """The name of an artifact, without the empty parts. GitHub refuses names with ``/``, ``:`` and others."""
    return "-".join(re.sub(r"[^\w.+-]+", "-", part, flags=re.ASCII) for part in parts if part)
