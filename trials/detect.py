"""Measures how many known slowdowns the gate finds, and how often it judges other cells wrongly."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from trials import plants
from trials.files import Trial
from trials.gates import gate
from trials.neighbours import other_core_busy

GATES: dict[int, int] = {3: 5, 5: 5, 2: 2, 10: 2, -5: 2}
"""The number of gates for each slowdown in per cent. Each gate has 20 slower cells, so there are 100 slowdowns of 3 and
5 %, and 40 of the others."""


def run(trial: Trial, gates: dict[int, int], say: Callable[[str], None], *, busy: bool = False) -> None:
    """Run the gates that are missing in the file. With `busy`, another process keeps the last core busy."""
    done = {(line["percent"], line["gate"]) for line in trial.done()}
    wanted = [(percent, index) for percent, count in gates.items() for index in range(count)]
    missing = [one for one in wanted if one not in done]
    if not missing:
        return
    fixed = plants.fixed_shares()
    with TemporaryDirectory(prefix="trials-") as folder:
        repository, base = plants.project(Path(folder, "plants"))
        for percent, index in missing:
            planted = plants.plan(percent, index)
            head = plants.version(repository, planted, f"{percent:+d} % in half of the cells, draw {index}")
            with other_core_busy() if busy else contextlib.nullcontext():
                found = gate(repository.root, base, head, *trial.arguments, seed=2000 + 100 * abs(percent) + index)
            trial.add(percent=percent, gate=index, planted=sorted(planted), fixed=fixed, **found)
            say(f"{percent:+d} %, gate {index}: {found['verdict']}, {found['counts']}, {found['wall']:.0f} s")
