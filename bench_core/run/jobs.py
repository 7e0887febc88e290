"""Which cells are sampled in turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench_core.timing.cells import Cell
from bench_core.workers.messages import CellTask

TIMED = ("time", "timeraw")


@dataclass(frozen=True)
class Job:
    """Cells that are opened side by side in one process and sampled in turn.

    Attributes:
        name: the benchmark with the parameters that all cells share; the name of the cell if it has no rivals.
        cells: the names of the cells.
        timed: whether they are timed. Memory and tracked values are read once, each cell by itself.
        free: whether they may use all cores, since they have several threads.
        alone: whether each cell needs a process of its own.
        timer: another tool that also takes samples of the first cell (`bench_core.workers.plan.TIMERS`), under the name
            of the second; "" for none.
    """

    name: str
    cells: tuple[str, ...]
    timed: bool = True
    free: bool = False
    alone: bool = False
    timer: str = ""

    def task(self, name: str) -> CellTask:
        """How a worker samples the cell of this name."""
        if self.timer and name == self.cells[1]:
            return CellTask(self.cells[0], timer=self.timer, label=name)
        return CellTask(name)


def jobs_of(cells: Iterable[Cell]) -> list[Job]:
    """The jobs that these cells do, in the order of their first cells."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(_shared(cell), []).append(cell)
    return [_job(shared, group) for shared, group in groups.items()]


def rivals_of(cell: Cell) -> str | None:
    """The parameter whose values are the ways to do the cell's job, if the suite names one."""
    named = getattr(cell.owner, "rivals", None)
    return named if isinstance(named, str) and named in cell.params else None


def _shared(cell: Cell) -> tuple[str, ...]:
    """What all ways to do a job have in common: the benchmark, and the values of the other parameters. The name of a
    cell that has no rivals, or is not timed."""
    rivals = rivals_of(cell)
    if rivals is None or cell.kind not in TIMED:
        return (cell.name,)
    return (cell.benchmark, *(value for name, value in cell.params.items() if name != rivals))


def _job(shared: Sequence[str], cells: Sequence[Cell]) -> Job:
    what, *values = shared
    return Job(
        name=f"{what}({', '.join(values)})" if values else what,
        cells=tuple(cell.name for cell in cells),
        timed=cells[0].kind in TIMED,
        free=any(cell.threaded for cell in cells),
        alone=cells[0].kind == "peakmemory",  # the peak is that of a process
    )
