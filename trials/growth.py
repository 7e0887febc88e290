"""Measures how a gate's time and memory grow with the number of cells, on this project's cells."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from re import escape
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from trials import repositories
from trials.aa import COMMENTED
from trials.files import Trial
from trials.gates import TOOL, gate

COUNTS = (10, 40, 160)

EVERY = 2.0
"""Seconds between two readings of the memory. A reading walks through the page tables of eight processes, on the cores
that measure: with five readings per second, 40 cells were not done after 54 s."""


class Peak:
    """The peak of the proportional set size of a gate's processes: each shared page is divided among its users.

    Attributes:
        bytes: the peak.
        processes: the number of processes at the peak.
    """

    def __init__(self) -> None:
        self.bytes = self.processes = 0

    def __call__(self, process: subprocess.Popen[str]) -> None:
        """Read the memory repeatedly until the gate has ended."""
        root = psutil.Process(process.pid)
        while process.poll() is None:
            family = [root]
            with suppress(psutil.NoSuchProcess):
                family += root.children(recursive=True)
            sizes = [proportional(one.pid) for one in family]
            if sum(sizes) > self.bytes:
                self.bytes, self.processes = sum(sizes), sum(size > 0 for size in sizes)
            with suppress(subprocess.TimeoutExpired):
                process.wait(EVERY)


def proportional(pid: int) -> int:
    """The proportional set size of a process in bytes; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def spread(names: Sequence[str], count: int) -> list[str]:
    """`count` of the names, evenly spaced."""
    return [names[place * len(names) // count] for place in range(count)]


def cells() -> list[str]:
    """This project's timed cells of the quick profile that run here. The full profile has weights of 256 MiB, which
    would dominate the gate's memory."""
    from bench_core.timing.cells import SuiteDirectory

    suite = SuiteDirectory(TOOL / "benchmarks")
    found = [cell.name for cell in suite.select(quick=True) if cell.kind == "time" and cell.why_not is None]
    suite.close()
    return found


def run(trial: Trial, counts: Iterable[int], say: Callable[[str], None]) -> None:
    """Run a gate for each number of cells that is missing in the file."""
    done = {line["count"] for line in trial.done()}
    missing = [count for count in counts if count not in done]
    if not missing:
        return
    names = cells()
    with TemporaryDirectory(prefix="trials-") as folder:
        clone = repositories.clone_of_tool(Path(folder, "clone"))
        base = clone.commit({}, "Base")
        text = (clone.root / COMMENTED).read_text()
        head = clone.commit({COMMENTED: f"{text}\n# This line is all that differs.\n"}, "Head")
        for count in missing:
            pattern = f"^(?:{'|'.join(escape(name) for name in spread(names, count))})$"
            peak = Peak()
            found = gate(clone.root, base, head, "--bench", pattern, *trial.arguments, seed=4000 + count, watch=peak)
            trial.add(count=count, peak=peak.bytes, processes=peak.processes, **without_effects(found))
            say(f"{count} cells: {found['wall']:.0f} s, {peak.bytes / 2**30:.2f} GiB, {found['counts']}")


def without_effects(found: dict[str, Any]) -> dict[str, Any]:
    """A gate's result without the cells."""
    return {name: value for name, value in found.items() if name not in ("cells", "controls")}
