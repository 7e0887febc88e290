"""A worker: a process that has one version loaded, and samples cells, alone or in turn with another worker."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from bench_core import clock
from bench_core.timing.cells import Cell, OpenCell, SuiteDirectory
from bench_core.timing.sampling import time_sample
from bench_core.workers import heap
from bench_core.workers.disturbance import Surroundings, lost_so_far
from bench_core.workers.loading import find_cell, prove
from bench_core.workers.messages import (
    CellBegun,
    CellFailed,
    CellLeft,
    CellRead,
    CellTask,
    CellTimed,
    FirstLook,
    GroupTask,
    Log,
    PairTask,
    Sampling,
    SamplingPlan,
    Settled,
    Source,
    WorkerReport,
)
from bench_core.workers.plan import agreed, freshly, keeping, prepare, same_random_numbers, sampler, state
from bench_core.workers.turns import CellError, PeerFailedError, Place, Turns, attempt
from bench_core.workers.witness import Testimony

T = TypeVar("T")

PROTOCOL = 4
"""A part of the evidence's key. Raise it whenever a change here or in `plan` gives effects another meaning, so that
earlier evidence is not used."""


def work(
    source: Source,
    suite: SuiteDirectory,
    known: Mapping[str, Cell],
    pair: PairTask,
    turns: Turns,
    report: Callable[[WorkerReport], None],
) -> tuple[str, ...]:
    """Go through the groups of a pair, together with the peer if there is one, and report each cell.

    Args:
        known: see `bench_core.workers.loading.find`.

    Returns:
        The modules that the cells have imported as they ran. The nursery then imports them for all later pairs: the
        first materialization of a lazy layer imports 800 modules and takes a second.
    """
    prove(source, suite.path)
    before = set(sys.modules)
    gc.collect()
    gc.freeze()  # imported modules are never garbage; otherwise every collection walks through all of them
    role, done = turns.role, 0
    afresh = keeping()

    def find(task: CellTask) -> Cell:
        return known.get(task.name) or find_cell(suite, task)

    for group in pair.groups:
        names = [task.reported for task in group.cells]
        for name in names:
            report(CellBegun(role, name))
        turns.begin(done)
        done += len(names)
        order = random.Random(f"{pair.seed} {pair.pair} {' '.join(names)}".encode(errors="surrogatepass"))
        failed = ""
        try:
            found = _Group(group, find, order, turns, afresh).measured()
        except CellError as error:
            failed = names[error.index]
            report(CellFailed(role, failed, str(error), error.stage, error.skipped))
        except PeerFailedError:
            failed = "on the other side"
        else:
            for one in found:
                report(one)
        if failed:
            for name in names:
                if name != failed:
                    report(CellLeft(role, name))
    return tuple(name for name in sys.modules if name not in before)


class _Group:
    """A group that is measured.

    Args:
        find: finds the cell of a task.
        order: all random orders are drawn from it.
        afresh: gives torch the settings that it had before any cell was set up.
    """

    def __init__(
        self,
        task: GroupTask,
        find: Callable[[CellTask], Cell],
        order: random.Random,
        turns: Turns,
        afresh: Callable[[], None],
    ) -> None:
        self._task = task
        self._find = find
        self._order = order
        self._turns = turns
        self._afresh = afresh
        self._role = turns.role
        self._places = [(side, index) for side in turns.sides for index in range(len(task.cells))]
        self._seed = order.getrandbits(32)
        self._stacks: dict[int, contextlib.ExitStack] = {}
        self._opened: dict[int, OpenCell] = {}
        self._settings: dict[int, Callable[[], None]] = {}
        self._changed: dict[int, list[str]] = {}
        self._first: dict[int, float] = {}
        self._walls: dict[int, list[tuple[float, float]]] = {index: [] for index in range(len(task.cells))}

    def measured(self) -> list[CellTimed | CellRead]:
        lead = self._order.sample(self._places, len(self._places))
        plan, seen, values = self._task.plan, {}, None
        try:
            self._turns.each(lead, "setup", self._open)
            if all(opened.cell.kind == "peakmemory" for opened in self._opened.values()):
                # Before the check, whose memory would be part of the peak of the process.
                values = self._values(lead)
            if plan is None:
                looks = self._turns.each(lead, "check", self._look)
                found = {place: look for place, look in looks.items() if isinstance(look, FirstLook)}
                # Both sides know all looks, so their plans are the same.
                plan = agreed([found[place] for place in self._places], len(self._task.cells), self._task.effort)
                seen = {index: Settled(plan, found[self._role, index].seen) for index in self._opened}
            else:
                self._turns.each(lead, "call", self._warm_up)
            reports = self._reports(lead, plan, seen, values)
            # In the reverse order, since each leaves its working directory for that of the one before.
            self._turns.each(lead[::-1], "teardown", self._close)
            return reports
        finally:
            gc.enable()  # another place may have failed while it was off
            for stack in reversed(self._stacks.values()):
                with contextlib.suppress(Exception):  # only after a failure, which is reported already
                    stack.close()

    def _at(self, index: int) -> OpenCell:
        """A cell, in its own working directory and with the settings of torch that it had after its setup. Another cell
        may have changed them."""
        opened = self._opened[index]
        if len(self._opened) > 1:
            os.chdir(opened.folder)
            self._settings[index]()
        return opened

    def _values(self, lead: Sequence[Place]) -> dict[int, float | None]:
        found = self._turns.each(lead, "call", lambda index: self._at(index).read())
        return {
            index: value
            for (side, index), value in found.items()
            if side == self._role and not isinstance(value, FirstLook)
        }

    def _reports(
        self,
        lead: Sequence[Place],
        plan: SamplingPlan,
        seen: Mapping[int, Settled],
        values: Mapping[int, float | None] | None,
    ) -> list[CellTimed | CellRead]:
        names = [task.reported for task in self._task.cells]
        if all(opened.cell.kind in ("time", "timeraw") for opened in self._opened.values()):
            logs = self._sampled(plan)
            return [CellTimed(self._role, names[index], seen.get(index), log) for index, log in logs.items()]
        return [
            CellRead(self._role, names[index], seen.get(index), math.nan if value is None else value, value is None)
            for index, value in (self._values(lead) if values is None else values).items()
        ]

    def _open(self, index: int) -> None:
        self._stacks[index] = contextlib.ExitStack()
        same_random_numbers(self._seed)
        self._afresh()
        cell = attempt("import", lambda: self._find(self._task.cells[index]))
        self._opened[index] = self._stacks[index].enter_context(cell.open())
        self._settings[index] = keeping()

    def _close(self, index: int) -> None:
        self._at(index)
        self._stacks[index].close()

    def _watched(self, index: int, action: Callable[[], T]) -> T:
        """Do `action`, which makes the first calls of a cell, and record which settings of torch it changes."""
        before = state()
        done = action()
        after = state()
        self._changed[index] = [
            f"{name}: {value}, then {after[name]}" for name, value in before.items() if value != after[name]
        ]
        return done

    def _look(self, index: int) -> FirstLook:
        opened = self._at(index)
        return self._watched(index, lambda: prepare(opened, self._seed, self._turns.alive))

    def _warm_up(self, index: int) -> None:
        """Make the first call in this process, which may import, allocate, and choose kernels."""
        opened = self._at(index)
        if opened.cell.kind != "time":
            return
        self._first[index] = self._watched(index, lambda: time_sample(opened.call, 1, opened.timer))
        if opened.number:  # the call has used up its object
            freshly(opened)

    def _sampled(self, plan: SamplingPlan) -> dict[int, Log]:
        sampling = dict(zip(self._places, plan.places, strict=True))
        logs = {
            index: Log(
                sampling[self._role, index].number,
                changed=self._changed.get(index, []),
                first=self._first.get(index, math.nan),
                untimed=_untimed(self._opened[index], sampling[self._role, index]),
            )
            for index in self._opened
        }
        # A `timeraw` cell is timed by a clock in another process.
        timers = {
            index: clock.host if opened.cell.kind == "timeraw" else opened.timer
            for index, opened in self._opened.items()
        }
        before = Surroundings.now()
        for block, (lead, rows) in enumerate(blocks(plan, self._places, self._order)):
            if block:
                # All places free their memory before any allocates again. Otherwise each gets the same pages back,
                # whose addresses change the time by up to 10 % for as long as the pair lives.
                self._turns.each(lead, "teardown", lambda index: self._let_go(index, lead))  # noqa: B023 - called at once
                self._turns.each(lead, "setup", self._set_up)
            samplers: dict[int, Callable[[], float]] = {}

            def get_ready(index: int) -> None:
                samplers[index] = self._ready(index, sampling[self._role, index])  # noqa: B023 - called at once

            self._turns.each(lead, "setup", get_ready)
            lost = lost_so_far()
            began = {index: _at_once(timer) for index, timer in timers.items()}

            def take(index: int, position: int) -> None:
                log = logs[index]
                self._at(index)
                log.spans.append(samplers[index]())  # noqa: B023 - called in this block
                if passed := self._walls[index]:
                    walls, computing = zip(*passed, strict=True)
                    log.walls.append(sum(walls))
                    if timers[index] is clock.host:
                        log.computing.append(sum(computing))
                    passed.clear()
                log.positions.append(position)

            failure = self._turns.sample(rows, take)
            self._turns.each(lead, "call", lambda index: _end_of_block(failure, index))  # noqa: B023 - called at once
            lost_now = lost_so_far()
            if len(logs) == 1:  # of several cells, nothing tells which one has used it
                logs[0] = _with(logs[0], self._turns.seen)
            for index, timer in timers.items():  # after all have ended, so that the block lasts equally long for all
                ended = _at_once(timer)
                logs[index].by_host.append(ended[0] - began[index][0])
                logs[index].by_timer.append(ended[1] - began[index][1])
                logs[index].lost.append(lost_now - lost)
        spoiled = before.spoiled(Surroundings.now())
        for log in logs.values():
            log.spoiled.extend(spoiled)
        return logs

    def _let_go(self, index: int, lead: Sequence[Place]) -> None:
        self._at(index).tear_down()
        if index == [one for side, one in lead if side == self._role][-1]:
            heap.give_back()

    def _set_up(self, index: int) -> None:
        opened = self._at(index)
        same_random_numbers(self._seed)
        self._afresh()
        opened.set_up()
        self._settings[index] = keeping()

    def _ready(self, index: int, sampling: Sampling) -> Callable[[], float]:
        """The function that takes a sample. The garbage collector is off from here to the end of the block, since a
        collection would count for the place that happens to run."""
        task = self._task.cells[index]
        plant = task.plant if self._role == "head" else 0.0

        def passed(seconds: float, computing: float) -> None:
            self._walls[index].append((seconds, computing))

        sample = sampler(self._at(index), sampling, plant=plant, timer=task.timer, passed=passed)
        same_random_numbers(self._seed)
        if gc.isenabled():
            gc.collect()
            gc.disable()
        return sample


def blocks(
    plan: SamplingPlan, places: Sequence[Place], order: random.Random
) -> Iterator[tuple[list[Place], list[list[Place]]]]:
    """For each block, the order in which places set up, and their order in each alternation. All are drawn at random,
    and balanced over the blocks."""
    leads = balanced(plan.blocks, places, order)
    rows = balanced(plan.alternations, places, order)
    for block, lead in enumerate(leads):
        yield (
            lead,
            rows[block * plan.alternations // plan.blocks : (block + 1) * plan.alternations // plan.blocks],
        )


def balanced(count: int, places: Sequence[Place], order: random.Random) -> list[list[Place]]:
    """`count` orders of the places. Every so many as there are places are the rows of a cyclic Latin square, drawn
    anew: each place comes at each position once. All of them are then shuffled."""
    rows: list[list[Place]] = []
    while len(rows) < count:
        base = order.sample(places, len(places))
        square = [base[start:] + base[:start] for start in range(len(base))]
        rows += order.sample(square, min(len(square), count - len(rows)))
    order.shuffle(rows)
    return rows


def _end_of_block(failure: CellError | None, index: int) -> None:
    gc.enable()
    if failure is not None and failure.index == index:
        raise failure


def _untimed(opened: OpenCell, sampling: Sampling) -> float:
    """See `Log`."""
    if opened.cell.kind != "time" or opened.number:
        return math.nan
    return 1 / sampling.number if sampling.warm else 0.0


def _with(log: Log, seen: Testimony) -> Log:
    return replace(
        log,
        used=log.used + seen.own,
        others_used=log.others_used + seen.others,
        turns=log.turns + seen.turns,
        meanwhile=log.meanwhile + seen.meanwhile,
    )


def _at_once(timer: clock.Clock) -> tuple[float, float]:
    """Our clock and `timer`, read at the same time. The shortest of five attempts counts, since one may be
    interrupted."""
    readings = []
    for _ in range(5):
        before = clock.host()
        by_timer = timer()
        after = clock.host()
        readings.append((after - before, (before + after) / 2, by_timer))
    _, by_host, by_timer = min(readings)
    return by_host, by_timer
