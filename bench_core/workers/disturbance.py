"""How much of the time something else had the core (Linux; elsewhere nothing is known)."""

from __future__ import annotations

import os
from pathlib import Path

from bench_core import cores

WAITING = Path("/proc/self/schedstat")
"""Nanoseconds on a core, nanoseconds of waiting for one, and the number of time slices (kernel, sched-stats.rst)."""

CORES = Path("/proc/stat")
"""For each core, its time in several states; the eighth is stolen by other virtual machines (proc_stat(5))."""


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
