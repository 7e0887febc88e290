"""Ten commits of +1 % each, judged one by one, and together against the version before them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from trials import plants
from trials.files import Trial
from trials.gates import gate

STEPS = 10

KINDS = ("walk", "add")
"""The kinds of the twenty cells, half of which get slower. Jobs that go through memory are not used: one of their
hundred units costs between 0.5 and 1.5 %, so a step is no known +1 %."""


def run(trial: Trial, runs: int, say: Callable[[str], None]) -> None:
    """Run what is missing in the file: ten gates per run, the last one with a past version."""
    done = {(line["run"], line["step"]) for line in trial.done()}
    for index in range(runs):
        creeping = [name for name in plants.plan(1, index) if _chosen(name)]
        with TemporaryDirectory(prefix="trials-") as folder:
            repository, first = plants.project(Path(folder, "plants"))
            before = first
            for step in range(1, STEPS + 1):
                after = plants.version(repository, dict.fromkeys(creeping, step), f"Step {step}")
                if (index, step) not in done:
                    options = ["--bench", f"time_({'|'.join(KINDS)})"]
                    options += ["--creep", first] if step == STEPS else []
                    found = gate(repository.root, before, after, *options, seed=7000 + 100 * index + step)
                    trial.add(run=index, step=step, creeping=creeping, **found)
                    say(f"run {index + 1} of {runs}, step {step}: {found['verdict']}, {found['reason']}")
                before = after


def _chosen(name: str) -> bool:
    return any(f"time_{kind}(" in name for kind in KINDS)
