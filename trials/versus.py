"""Compares two releases of numpy, on a suite without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from trials import plants
from trials.files import Trial
from trials.gates import gate

RELEASES = ("numpy==2.0.2", "numpy==2.4.6")

KINDS = ("walk", "add", "allocate")
"""The kinds of jobs. A walk does not call numpy. The others do from 50 us (add) or 200 us (allocate) on."""


def run(trial: Trial, runs: int, say: Callable[[str], None]) -> None:
    """Run the gates that are missing in the file. Each installs both releases into an empty folder."""
    done = len(trial.done())
    with TemporaryDirectory(prefix="trials-") as folder:
        for index in range(done, runs):
            repository, code = plants.project(Path(folder, str(index)))
            options = ["--versus", *RELEASES, "--bench", f"time_({'|'.join(KINDS)})"]
            found = gate(repository.root, code, *options, seed=8000 + index)
            trial.add(run=index, releases=RELEASES, **found)
            say(f"run {index + 1} of {runs}: {found['verdict']}, {found['reason']}")


def without_numpy(name: str) -> bool:
    """Whether the cell does not call numpy."""
    kind, size = plants.CELLS[name].split()
    return kind == "walk" or int(size) <= {"add": 25, "allocate": 100}[kind]
