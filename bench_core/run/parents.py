"""Starts the parents of a run: one nursery for each round, on the core that measures."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench_core import clock
from bench_core.analysis.rounds import LOST
from bench_core.cores import stay_on, usable
from bench_core.records.gate import Side
from bench_core.timing.cell import TIMEOUT, Cell
from bench_core.timing.cells import SuiteDirectory
from bench_core.workers import child
from bench_core.workers.messages import NURSERY, NurseryTask, Source

ROLE: Side = "head"
"""The side of a worker that has no peer."""


@dataclass(frozen=True)
class Measuring:
    """What is measured, and how.

    Attributes:
        suite: the folder of the suite.
        budget: seconds for all rounds.
        timeout: treat a worker as hung after this many seconds without a sample.
        cores: the cores that may be used. Each round stays on the one that is idlest as it begins; empty for any.
        memory: bytes that a worker may allocate beyond its imports; None for no limit.
        spawn: whether each worker starts a new interpreter, as accelerators need it.
        seed: all random orders are drawn from it.
        rounds: every job is visited in this many rounds, even if that takes longer than the budget.
    """

    suite: Path
    budget: float
    timeout: float
    cores: tuple[int, ...]
    memory: int | None
    spawn: bool
    seed: int
    rounds: int = 0


def measuring(
    suite: SuiteDirectory,
    cells: Collection[Cell],
    budget: float,
    timeout: float | None,
    seed: int | None,
    launch_method: str | None = None,
) -> Measuring:
    """How to measure these cells on this machine. The arguments are those of `Measuring`; without a seed, it is
    random. Without a timeout, it is the longest of these cells' own, as the suite declares them. asv's `launch_method`
    ``spawn`` is kept: a suite that starts threads when it is imported cannot be forked."""
    devices = {cell.device for cell in cells if cell.why_not is None}
    accelerated = not devices <= {"cpu", "meta"}
    spawn = accelerated or launch_method == "spawn"
    memory = None if accelerated else child.memory_for_each(1)
    drawn = random.SystemRandom().getrandbits(32) if seed is None else seed
    longest = max((cell.timeout for cell in cells), default=TIMEOUT)
    return Measuring(suite.path, budget, timeout or longest, usable(), memory, spawn, drawn)


LISTEN = 0.1
"""When a core is chosen, the cores are watched for this many seconds."""


def idlest(cores: Sequence[int]) -> int | None:
    """The core that other processes use least; of several, the last. None if there is no choice."""
    if len(cores) < 2:
        return cores[0] if cores else None
    busy = psutil.cpu_percent(interval=LISTEN, percpu=True)
    return max(cores, key=lambda core: (-busy[core] if core < len(busy) else -math.inf, core))


def stay_off(core: int | None, cores: Collection[int]) -> None:
    """Keep this process and its later threads off a core that measures, if there is another one."""
    stay_on(set(cores) - {core})


class Parents:
    """The nurseries of a run, one after the other. If there is another core, the next one imports there while a round
    is measured, since importing torch takes as long as a round of half the quick profile.

    Args:
        how: what is measured.
        order: the seeds of hashes are drawn from it.
        preload: modules that a nursery imports before it forks.
    """

    def __init__(
        self, how: Measuring, watchdog: child.Watchdog, order: random.Random, preload: Mapping[str, None]
    ) -> None:
        self._how = how
        self._watchdog = watchdog
        self._order = order
        self._preload = preload
        self._core: int | None = None
        self._chosen = False
        self._next: child.Nursery | None = None
        self._began = 0.0  # when the newest one was started
        self._started = 0.0  # seconds that one takes, if nothing else is measured
        self._waited_for = False
        self._elsewhere = 0.0  # seconds that one takes on another core

    @property
    def wait(self) -> float:
        """The seconds until the next parent is ready, as far as is known."""
        if self._next is None:
            return self._started
        return 0.0 if self._next.has_answered else max(0.0, self._started - (clock.host() - self._began))

    def next(self) -> child.Nursery:
        """The next parent, which may still have to answer that it is ready."""
        self._waited_for = self._next is None
        nursery = self._start(elsewhere=False) if self._next is None else self._next
        self._next = None
        return nursery

    def is_ready(self, visits: float) -> None:
        """Record that the parent has answered, and start the next one already if that saves time: not if the other
        cores are so busy that waiting for it takes longer than starting it later.

        Args:
            visits: seconds that the round will take; 0 if there is none after it.
        """
        if self._waited_for:
            self._started = clock.host() - self._began
        saves = max(visits, self._elsewhere) < visits + self._started
        if visits and saves and len(self._how.cores) > 1:
            self._next = self._start(elsewhere=True)

    def still_waits(self) -> bool:
        """Whether a next parent has been started that is not ready yet."""
        if self._next is None:
            return False
        self._elsewhere = clock.host() - self._began
        return not self._next.has_answered

    def judge(self, lost: Sequence[float]) -> None:
        """Choose another core for later parents if others had this one for too long. `lost` are the shares of the time
        that they had it."""
        if lost and statistics.median(lost) > LOST:
            self._chosen = False

    def close(self) -> None:
        if self._next is not None:
            self._next.close()
        stay_off(None, self._how.cores)

    def _start(self, *, elsewhere: bool) -> child.Nursery:
        if not self._chosen:
            self._core, self._chosen = idlest(self._how.cores), True
        self._began = clock.host()
        stay_off(None, self._how.cores)  # a process may use the cores that it was started on
        nursery = child.Child(NURSERY, self._order.getrandbits(32), self._watchdog)
        stay_off(self._core, self._how.cores)
        nursery.tell(
            NurseryTask(
                sources={ROLE: Source(paths=(), packages=(), caches=str(self._watchdog.folder / "caches"))},
                suite=str(self._how.suite),
                preload=tuple(self._preload),
                core=self._core,
                start="spawn" if self._how.spawn else "fork",
                memory=self._how.memory,
                elsewhere=elsewhere,
            )
        )
        return nursery
