"""The project whose slowdowns are known: forty jobs of equal units of work, and versions with other amounts of it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from trials import repositories
from trials.gates import environment

TEMPLATE = Path(__file__).parent / "template"

SIZES: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("walk", "add", "allocate"), (3, 6, 12, 25, 50, 100, 200, 500, 1000, 2000)),
    **dict.fromkeys(("read", "write"), (1, 2, 4, 8, 16)),
}
"""As in the template's `plants.work`: microseconds a call, and MiB of memory traffic."""

UNITS = 100
"""Of every job in base: one per cent is one unit."""

FIXED_AT_MOST = 0.01
"""The share of a call outside its units up to which the true ratio of a plant is known well enough to hold intervals
against it: then it moves +5 % by 0.05 % at most. Some 50 ns of a call (the end of its loop) show in no call without
units. That leaves out the jobs below 25 us."""

AMOUNTS = "src/plants/amounts.py"


def cell(kind: str, size: int) -> str:
    """asv's name of a job."""
    return f"jobs.{kind.capitalize()}.time_{kind}({size})"


CELLS: Mapping[str, str] = {cell(kind, size): f"{kind} {size}" for kind, sizes in SIZES.items() for size in sizes}
"""Every cell, with the key of its job."""


def amounts(planted: Mapping[str, int], comment: str = "") -> str:
    """A version's table.

    Args:
        planted: cell to the per cent of more work (or less) that it does.
        comment: what else makes this version another one.
    """
    rows = "".join(f'    "{key}": {UNITS + planted.get(name, 0)},\n' for name, key in CELLS.items())
    return f'"""Units of each job."""\n\n{f"# {comment}" if comment else "#"}\n\nUNITS = {{\n{rows}}}\n'


def plan(percent: int, seed: int) -> dict[str, int]:
    """What is planted in which cells: half of them, one of each two neighbouring sizes of a kind, drawn."""
    draw = random.Random(f"{percent} {seed}")
    chosen = []
    for kind, sizes in SIZES.items():
        for place in range(0, len(sizes) - 1, 2):
            chosen.append(cell(kind, draw.choice(sizes[place : place + 2])))
        if len(sizes) % 2:
            # Five sizes have no half: of read and write together one takes the fifth.
            chosen.append(cell(kind, sizes[-1]))
    fifths = [name for name in (cell("read", 16), cell("write", 16)) if name in chosen]
    chosen.remove(draw.choice(fifths))
    return dict.fromkeys(chosen, percent)


def truth(percent: int, fixed: float) -> float:
    """The ratio that a plant makes of a cell: what is outside the units does not grow.

    Args:
        fixed: the share of a call that is outside.
    """
    return 1 + percent / 100 * (1 - fixed)


def fixed_shares() -> dict[str, float]:
    """Cell to the share of its call that lies outside the units, timed here: without units, over the usual number."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _FIXED],
        input=json.dumps(list(CELLS.items())),
        env={**environment(), "PLANTS": str(TEMPLATE / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return {name: float(f"{share:.2g}") for name, share in found.items()}


_FIXED = f"""
import functools, json, os, statistics, sys, types
from bench_core import clock
from bench_core.timing.sampling import choose_number, time_sample
sys.path.insert(0, os.environ["PLANTS"])
sys.modules["plants.amounts"] = types.SimpleNamespace(UNITS={{}})
import plants

class Timed:
    def time_job(self, size):
        self.jobs[size]()

def seconds(kind, size, units):
    timed = Timed()
    timed.jobs = {{size: plants.make(kind, int(size), units)}}
    call = functools.partial(timed.time_job, size)
    number = choose_number(call, clock.host, 1e-3)
    return statistics.median(time_sample(call, number, clock.host) / number for _ in range(9))

found = {{}}
for name, key in json.load(sys.stdin):
    found[name] = seconds(*key.split(), 0) / seconds(*key.split(), {UNITS})
print(json.dumps(found))
"""


def project(root: Path) -> tuple[repositories.Repository, str]:
    """The project with its first version, in which every job has the same number of units.

    Returns:
        The repository, and that version's hash.
    """
    made = repositories.made(root, TEMPLATE)
    return made, made.commit({AMOUNTS: amounts({})}, "Every job has 100 units")


def version(repository: repositories.Repository, planted: Mapping[str, int], comment: str = "") -> str:
    """Commit a version with these plants, and return its hash."""
    return repository.commit({AMOUNTS: amounts(planted, comment)}, comment or "Other amounts")
