"""Searches the commit, one of 32, that made a cell slower by 5 %; and searches 32 commits without a slowdown."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from bench_core import clock
from bench_core.errors import BenchCoreError
from trials import plants
from trials.files import Trial, today
from trials.gates import environment

COMMITS = 32
"""The number of commits of a search."""

PERCENT = 5
"""The slowdown in per cent."""


def run(trial: Trial, searches: int, without: int, say: Callable[[str], None]) -> None:
    """Run the searches that are missing in the file. Each draws a cell and a commit.

    Args:
        searches: the number of searches with a slowdown.
        without: the number of searches without one.
    """
    done = {(line.get("without", False), line["search"]) for line in trial.done()}
    for index in range(searches):
        draw = random.Random(f"bisect {index}")
        cell, planted = draw.choice(list(plants.CELLS)), draw.randint(1, COMMITS)
        if (False, index) not in done:
            found = _search(cell, planted, seed=5000 + index)
            trial.add(search=index, date=today(), cell=cell, planted=planted, **found)
            say(f"search {index + 1} of {searches}: {'right' if found['right'] else 'wrong'}, {found['wall']:.0f} s")
    for index in range(without):
        cell = random.Random(f"bisect without {index}").choice(list(plants.CELLS))
        if (True, index) not in done:
            found = _search(cell, None, seed=5500 + index)
            trial.add(search=index, date=today(), cell=cell, without=True, **found)
            outcome = "refused" if found["refused"] else "not refused"
            say(f"search {index + 1} of {without} without a difference: {outcome}, {found['wall']:.0f} s")


def _search(cell: str, planted: int | None, seed: int) -> dict[str, object]:
    """Make a history, and search it. `planted` is the number of the first slower commit; None without one."""
    with TemporaryDirectory(prefix="trials-") as folder:
        repository, good = plants.project(Path(folder, "plants"))
        slower = planted or COMMITS + 1
        commits = [
            plants.version(repository, {cell: PERCENT} if number >= slower else {}, f"Commit {number}")
            for number in range(1, COMMITS + 1)
        ]
        stored = Path(folder, "found.json")
        command = [sys.executable, "-P", "-m", "bench_core", "bisect", good, commits[-1], cell]
        began = clock.host()
        done = subprocess.run(
            [*command, "--seed", str(seed), "--json", str(stored)],
            cwd=repository.root,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        wall = round(clock.host() - began, 1)
        if not stored.exists():
            last = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
            if "is no slower than" in last:
                return {"right": planted is None, "refused": True, "tested": 0, "wall": wall}
            raise BenchCoreError(f"the search ended with status {done.returncode}. Its last lines:\n{last}")
        found = json.loads(stored.read_text())
        culprits = [commit["hash"] for commit in found["culprits"]]
        return {
            "right": culprits == commits[slower - 1 : slower],
            "refused": False,
            "culprits": len(culprits),
            "tested": len(found["steps"]),
            "pairs": [found["ends"]["pairs"], *(step["pairs"] for step in found["steps"])],
            "wall": wall,
        }
