"""What disturbs samples from outside: how much of the time something else had the core, and what spoils them (Linux;
elsewhere nothing is known)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bench_core import clock, cores, units

WAITING = Path("/proc/self/schedstat")
"""Nanoseconds on a core, nanoseconds of waiting for one, and the number of time slices (kernel, sched-stats.rst)."""

CORES = Path("/proc/stat")
"""For each core, its time in several states; the eighth is stolen by other virtual machines (proc_stat(5))."""


SUSPENDED = 0.1
"""The machine was suspended if its two clocks move apart by more than this many seconds. On a busy machine, so much may
pass between the readings of the two."""


@dataclass(frozen=True)
class Surroundings:
    """What must not change while samples are taken.

    Attributes:
        suspended: see `bench_core.clock.suspended`.
        cores: the cores that this process may use. The system gives it others if its core is taken offline, or if its
            control group changes.
    """

    suspended: float
    cores: frozenset[int]

    @classmethod
    def now(cls) -> Surroundings:
        return cls(clock.suspended(), frozenset(cores.usable()))

    def spoiled(self, later: Surroundings) -> list[str]:
        """Why samples between this moment and a later one do not count; empty if they do."""
        asleep = later.suspended - self.suspended
        found = [f"the machine was suspended for {units.time(asleep)}"] if asleep > SUSPENDED else []
        if self.cores != later.cores:
            before, after = (", ".join(map(str, sorted(both))) for both in (self.cores, later.cores))
            found.append(f"its core changed from {before} to {after}")
        return found


def lost_so_far() -> float:
    """The seconds that this process could have run, but another process or virtual machine had its core. Only
    differences have a meaning. 0 if the system does not tell."""
    return _waited() + _stolen()


def _waited() -> float:
    try:
        return int(WAITING.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _stolen() -> float:
    """Seconds stolen from the core that this process stays on; 0 if it may use several."""
    allowed = cores.usable()
    if len(allowed) != 1:
        return 0.0
    try:
        lines = {line.split()[0]: line.split() for line in CORES.read_text().splitlines() if line.startswith("cpu")}
        return int(lines[f"cpu{allowed[0]}"][8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, KeyError, IndexError, ValueError):
        return 0.0
