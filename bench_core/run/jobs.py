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
        rivals = rivals_of(cell)
        shared = [value for name, value in cell.params.items() if name != rivals]
        groups.setdefault((cell.benchmark, *shared) if rivals and cell.kind in TIMED else (cell.name,), []).append(cell)
    return [_job(group) for group in groups.values()]


def rivals_of(cell: Cell) -> str | None:
    """The parameter whose values are the ways to do the cell's job, if the suite names one."""
    named = getattr(cell.owner, "rivals", None)
    return named if isinstance(named, str) and named in cell.params else None


def _job(cells: Sequence[Cell]) -> Job:
    first = cells[0]
    rivals = rivals_of(first)
    shared = [value for name, value in first.params.items() if name != rivals]
    alone = first.kind == "peakmemory"  # the peak is that of a process
    return Job(
        name=f"{first.benchmark}({', '.join(shared)})"
        if rivals and first.kind in TIMED and shared
        else first.benchmark
        if rivals and first.kind in TIMED
        else first.name,
        cells=tuple(cell.name for cell in cells),
        timed=first.kind in TIMED,
        free=any(cell.params.get("threads", "1").strip("'") != "1" for cell in cells),
        alone=alone,
    )
