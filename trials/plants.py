"""A project with known slowdowns: forty jobs of equal units of work, and versions with other numbers of units."""

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
"""The sizes of the jobs, see the template's `plants.work`: microseconds per call, or MiB of memory traffic."""

UNITS = 100
"""The units of every job in base. One unit is one per cent."""

FIXED_AT_MOST = 0.01
"""Intervals are compared with the true ratio only if at most this share of a call is outside its units. Then the share
changes +5 % by at most 0.05 %. Some 50 ns of a call (the end of its loop) are missing in a call without units. This
leaves out the jobs below 25 us."""

AMOUNTS = "src/plants/amounts.py"


def cell(kind: str, size: int) -> str:
    """asv's name of a job."""
    return f"jobs.{kind.capitalize()}.time_{kind}({size})"


CELLS: Mapping[str, str] = {cell(kind, size): f"{kind} {size}" for kind, sizes in SIZES.items() for size in sizes}
"""The keys of the jobs, by cell."""


def amounts(planted: Mapping[str, int], comment: str = "") -> str:
    """The table of a version.

    Args:
        planted: the additional work in per cent, by cell.
        comment: a comment that makes this version differ from others.
    """
    rows = "".join(f'    "{key}": {UNITS + planted.get(name, 0)},\n' for name, key in CELLS.items())
    return f'"""Units of each job."""\n\n{f"# {comment}" if comment else "#"}\n\nUNITS = {{\n{rows}}}\n'


def plan(percent: int, seed: int) -> dict[str, int]:
    """The additional work of half of the cells. Of each two neighbouring sizes of a kind, one is drawn."""
    draw = random.Random(f"{percent} {seed}")
    chosen = []
    for kind, sizes in SIZES.items():
        for place in range(0, len(sizes) - 1, 2):
            chosen.append(cell(kind, draw.choice(sizes[place : place + 2])))
        if len(sizes) % 2:
            # Five sizes cannot be halved, so only one of read and write keeps the fifth.
            chosen.append(cell(kind, sizes[-1]))
    fifths = [name for name in (cell("read", 16), cell("write", 16)) if name in chosen]
    chosen.remove(draw.choice(fifths))
    return dict.fromkeys(chosen, percent)


def truth(percent: int, fixed: float) -> float:
    """The true ratio of a cell with a slowdown. `fixed` is the share of a call outside the units, which does not
    grow."""
    return 1 + percent / 100 * (1 - fixed)


def fixed_shares() -> dict[str, float]:
    """The share of a call outside the units, by cell: the time without units over the usual time."""
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
    """The repository of the project, and the hash of its first version, in which every job has `UNITS` units."""
    made = repositories.made(root, TEMPLATE)
    return made, made.commit({AMOUNTS: amounts({})}, "Every job has 100 units")


def version(repository: repositories.Repository, planted: Mapping[str, int], comment: str = "") -> str:
    """Commit a version with this additional work, and return its hash."""
    return repository.commit({AMOUNTS: amounts(planted, comment)}, comment or "Other amounts")
