"""A nursery: the parent process of pairs of workers.

It imports once what is heavy and the same for both versions, such as torch. So a pair costs milliseconds instead of two
imports, and both of its workers have the same memory layout and hash seed. A nursery never imports either version. It
reads tasks from standard input, and writes answers to standard output (see `messages`).

If a cell runs on an accelerator, or the versions need two interpreters, workers are spawned instead of forked, and each
imports everything anew.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import connection
from pathlib import Path
from typing import Any

from bench_core import clock
from bench_core.codec import MalformedError
from bench_core.cores import NoCoreError, stay_on, usable
from bench_core.records.gate import SIDES, Side, other_side
from bench_core.workers import child, orphans
from bench_core.workers.loading import import_others, load
from bench_core.workers.messages import (
    NURSERY,
    REPORTS,
    SPAWNED,
    TURNS,
    Alive,
    CellTask,
    CellTimed,
    Lost,
    NurseryAnswer,
    NurseryTask,
    PairDone,
    PairTask,
    Ready,
    SpawnedTask,
    WorkerBroken,
    WorkerDone,
    WorkerRefused,
    read,
)
from bench_core.workers.role import COUNTS_SIZE, PEER_LOST, PIPES_LOST, counts_in, keep_out, perform

CORES = usable()
"""The cores that this process may use when it starts. Later it stays on one, and its workers may still use all."""

LONGEST = 1 << 24
"""The most bytes of a report."""

LOOK_EVERY = 0.1
"""Check after this many seconds without a report that the workers are alive. A check takes 20 us of their core."""


OWN_FILES: list[int] = []
"""File descriptors of the nursery that its workers must not have: through them a version could answer the gate."""


def main() -> None:
    """Serve until standard input ends. The first line is a `NurseryTask`, every other one a `PairTask`."""
    # Standard output becomes standard error, so that the output of benchmarks does not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    OWN_FILES.append(answers.fileno())
    keep_out()

    def pass_on(line: str) -> None:
        answers.write(line + "\n")

    try:
        _serve_all(pass_on)
    except NoCoreError as error:
        raise SystemExit(str(error)) from error


def _serve_all(pass_on: Callable[[str], None]) -> None:
    nursery: NurseryTask | None = None
    for line in sys.stdin:
        match read(NURSERY.tasks, line, "nursery"):
            case NurseryTask() as nursery:
                own = () if nursery.core is None else (nursery.core,)
                stay_on(tuple(set(CORES) - set(own)) if nursery.elsewhere else own)
                orphans.adopt()
                _import_suite(nursery)
                _import(nursery, nursery.preload)
                stay_on(own)
                pass_on(NURSERY.answers.line(Ready()))
            case PairTask() as pair if nursery is not None:
                serve(nursery, pair, pass_on)
            case PairTask():
                raise SystemExit("the nursery was sent a pair before it was told what to compare")


def _import(task: NurseryTask, names: Iterable[str]) -> None:
    """Import modules that belong to neither version, so that workers inherit them."""
    if task.start != "fork":
        return
    packages = _compared(task)
    REPORTS.prepare()
    TURNS.prepare()
    import_others(names, packages)
    gc.collect()
    gc.freeze()


def _import_suite(task: NurseryTask) -> None:
    """Import the suite, if nothing is compared, so that workers inherit it."""
    if task.start == "fork" and len(task.sources) == 1 and not _compared(task):
        (source,) = task.sources.values()
        _ = load(source, task.suite).modules


def _compared(task: NurseryTask) -> set[str]:
    return {name for source in task.sources.values() for name in source.packages}


def serve(task: NurseryTask, pair: PairTask, pass_on: Callable[[str], None]) -> None:
    """Start the workers of one pair, pass their reports on, and leave no process behind. `pass_on` sends a line to the
    gate."""
    sides = [side for side in (pair.first, other_side(pair.first)) if side in pair.versions]
    cores = CORES if pair.free or task.core is None else (task.core,)
    ends = dict(zip(SIDES, connection.Pipe(), strict=True)) if len(sides) > 1 else {}
    workers: dict[Side, _Forked | _Spawned] = {}
    reports: dict[Side, connection.Connection] = {}
    with tempfile.TemporaryFile() as counts:
        counts.truncate(COUNTS_SIZE)
        turns = counts_in(counts.fileno())
        for role in sides:
            ours, theirs = connection.Pipe(duplex=False)
            own = ends.get(role)
            if task.start == "fork":
                others = [*(end for end in ends.values() if end is not own), *reports.values(), ours]
                workers[role] = _Forked(others, role, task, pair, cores, own, theirs, turns)
            else:
                peer = None if own is None else own.fileno()
                files = {"out": theirs.fileno(), "counts": counts.fileno()}
                workers[role] = _Spawned(SpawnedTask(role, task, pair, cores, peer=peer, **files))
            theirs.close()
            reports[role] = ours
    for end in ends.values():
        end.close()
    try:
        watch = _Watch(task, pair, workers, reports, turns, pass_on)
        imported = watch.imported()
    finally:
        for process in workers.values():
            process.end()
        for end in reports.values():
            end.close()
        orphans.end()
    _import(task, imported)
    pass_on(NURSERY.answers.line(PairDone(pair.pair, imported, watch.spent)))


class _Forked:
    """A worker that inherits what this process has imported.

    Args:
        others: ends of pipes that the worker inherits and must close: it would never see the end of a pipe that it
            holds open itself.
        arguments: the arguments of `role.perform`.
    """

    def __init__(self, others: Sequence[connection.Connection], *arguments: Any) -> None:
        self._process = multiprocessing.get_context("fork").Process(target=self._run, args=(others, *arguments))
        self._process.start()

    @staticmethod
    def _run(others: Sequence[connection.Connection], *arguments: Any) -> None:
        for end in others:
            end.close()
        for file in OWN_FILES:
            os.close(file)
        perform(*arguments)

    @property
    def number(self) -> int:
        """The number of the process."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.exitcode

    def end(self) -> None:
        self._process.kill()
        self._process.join()


class _Spawned:
    """A worker that shares only the core with this process. It may have another interpreter. multiprocessing is not
    used, since it has one interpreter for all processes, and starts another process that tracks shared resources."""

    def __init__(self, task: SpawnedTask) -> None:
        pair = task.pair
        python = task.nursery.sources[pair.versions[task.role]].python
        # Both sides of a pair have the same hash seed. Each pair has another, since it counts as its own parent.
        hash_seed = random.Random(f"{pair.seed} hash {pair.pair}").getrandbits(32)
        with tempfile.TemporaryFile("w+") as told:  # not a pipe, since a task may be larger than a pipe holds
            told.write(SPAWNED.line(task))
            told.seek(0)
            self._process = subprocess.Popen(
                child.command("bench_core.workers.role", python, Path(tempfile.gettempdir())),
                stdin=told,
                env=child.variables(python, hash_seed),
                pass_fds=[file for file in (task.peer, task.out, task.counts) if file is not None],
            )

    @property
    def number(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class _Watch:
    """Passes reports on (by `pass_on`) until both workers are done, or one of them cannot go on. `turns` are the counts
    of `turns.Turns`.

    Attributes:
        spent: the seconds of the workers that are done, by what they did.
    """

    def __init__(
        self,
        task: NurseryTask,
        pair: PairTask,
        workers: Mapping[Side, _Forked | _Spawned],
        reports: Mapping[Side, connection.Connection],
        turns: memoryview,
        pass_on: Callable[[str], None],
    ) -> None:
        self._own = {"bench_core", Path(task.suite).name, *_compared(task)}
        self._cells = [cell for group in pair.groups for cell in group.cells]
        self._timeout = pair.timeout
        self._workers = workers
        self._turns = turns
        self._pass_on = pass_on
        self._waiting = dict(reports)
        self._gone: list[Side] = []
        self._last_words: list[WorkerBroken | WorkerRefused] = []
        self._imported: dict[str, None] = {}
        self._unlike = ""
        self.spent: dict[str, float] = {}

    def imported(self) -> tuple[str, ...]:
        """Watch until the end of the pair. Returns the modules that the cells have imported and that belong to neither
        version."""
        seen, since, spoke = list(self._turns), clock.host(), clock.host()
        while self._waiting:
            ready = connection.wait(list(self._waiting.values()), timeout=LOOK_EVERY)
            for role in [role for role, end in self._waiting.items() if end in ready]:
                self._take_report(role)
            now = clock.host()
            if ready or list(self._turns) != seen:
                seen, since = list(self._turns), now
                if now - spoke > self._timeout / 2:
                    self._answer(Alive())
                    spoke = now
            if not ready:
                self._look_for_dead()
                if lost := self._hanging(now - since) or self._stopped():
                    self._answer(lost)
                    return ()
            if self._unlike:
                self._answer(Lost(None, f"the sides do not do the same: {self._unlike}", hangs=False))
                return ()
        for words in self._last_words:
            self._answer(words)
        if not self._last_words and self._gone:
            codes = {role: _exit_status(self._workers[role]) for role in self._gone}
            self._answer(self._lost(*_who_was_lost(codes), hangs=False))
            return ()
        return tuple(self._imported)

    def _lost(self, role: Side | None, cause: str, *, hangs: bool) -> Lost:
        at = self._cell_at(role)
        return Lost(role, cause, hangs, cell=at.reported if at is not None else "")

    def _hanging(self, silent: float) -> Lost | None:
        """What is lost if no worker has shown a sign of life for `silent` seconds, and that is too long."""
        busy = [role for role in self._waiting if not self._waits(role)]
        role = busy[0] if len(busy) == 1 else None
        at = self._cell_at(role)
        allowed = at.timeout if at is not None else 0.0
        longest = allowed or self._timeout
        patience = at.patience if at is not None else 0.0
        if not self._waiting or silent <= min(patience or longest, longest):
            return None
        if 0 < patience < longest:
            return replace(self._lost(role, f"hangs: no answer within {patience:.3g} s", hangs=True), waited=patience)
        if allowed:
            cause = f"longer than the suite's timeout of {allowed:g} s"
            return replace(self._lost(role, cause, hangs=True), timeout=allowed)
        return self._lost(role, f"hangs: no answer within {self._timeout:g} s", hangs=True)

    def _stopped(self) -> Lost | None:
        """What is lost if a signal has stopped a worker: it would never go on."""
        for role in self._waiting:
            # Not by psutil, which may be compared: then its modules are dropped here.
            with suppress(OSError):
                stat = Path(f"/proc/{self._workers[role].number}/stat").read_text()
                if stat.rpartition(")")[2].split()[0] == "T":
                    return Lost(None, f"the worker of {role} was stopped by a signal", hangs=False)
        return None

    def _standing(self, role: Side) -> str:
        """On which cores and with which priority a worker runs; "" if it has ended, or the system does not tell."""
        number = self._workers[role].number
        try:
            cores = list(usable(number))
            return f"cores {', '.join(map(str, cores))} and priority {os.getpriority(os.PRIO_PROCESS, number)}"
        except OSError:
            return ""

    def _compare(self) -> None:
        """Note whether one of two workers that are still running has other cores or another priority."""
        if len(self._workers) == len(self._waiting) == len(SIDES):
            standings = {role: self._standing(role) for role in SIDES}
            if all(standings.values()) and len(set(standings.values())) > 1:
                self._unlike = "; ".join(f"{role} has {standing}" for role, standing in standings.items())

    def _cell_at(self, role: Side | None) -> CellTask | None:
        """The cell that a side is at; None if it is at none."""
        at = 0 if role is None else self._turns[len(SIDES) + SIDES.index(role)]
        return self._cells[at - 1] if at else None

    def _answer(self, message: NurseryAnswer) -> None:
        self._pass_on(NURSERY.answers.line(message))

    def _take_report(self, role: Side) -> None:
        try:
            line = self._waiting[role].recv_bytes(LONGEST)
            report = REPORTS.read(line)
        except MalformedError as error:
            report = WorkerBroken(role, f"its worker wrote a line that is no message: {error}")
        except (EOFError, OSError):
            self._gone.append(role)
            del self._waiting[role]
            return
        if report.role != role:
            report = WorkerBroken(role, f"its worker reports in the name of {report.role}")
        match report:
            case WorkerDone(_, imported, spent):
                for what, seconds in spent.items():
                    self.spent[what] = self.spent.get(what, 0.0) + seconds
                self._imported.update((name, None) for name in imported if name.partition(".")[0] not in self._own)
                del self._waiting[role]
            case WorkerBroken() | WorkerRefused():
                # Passed on at the end, after the other side's reports on earlier cells.
                self._last_words.append(report)
                self._gone.append(role)
                del self._waiting[role]
            case _:
                if isinstance(report, CellTimed):
                    self._compare()
                if not self._unlike:
                    self._pass_on(line.decode())

    def _look_for_dead(self) -> None:
        for role, end in list(self._waiting.items()):
            # The report pipe of a dead worker stays open while a process that it has started holds it. If one side has
            # gone and the other waits for it, neither will report any more.
            dead = self._workers[role].status is not None
            if (dead or (self._gone and self._waits(role))) and not end.poll():
                del self._waiting[role]
                self._gone.extend([role] if dead else [])

    def _waits(self, role: Side) -> bool:
        """Whether the role waits for its turn (see `turns.Turns`)."""
        return bool(self._turns[SIDES.index(role)] % 2)


def _who_was_lost(codes: Mapping[Side, int | None]) -> tuple[Side | None, str]:
    """Of the workers that ended without a report, the one that ended first, and how."""
    culprits = [role for role, code in codes.items() if code != PEER_LOST]
    first = (culprits or list(codes))[0]
    return first if len(culprits) == 1 else None, _death(codes[first])


def _exit_status(process: _Forked | _Spawned) -> int | None:
    """The status of a worker that has closed its pipes; None if it still runs after half a second. `join` is not used,
    since it also waits for a pipe, and could wait forever."""
    until = clock.host() + 0.5  # not a number of waits, which take longer on a busy machine
    while process.status is None and clock.host() < until:
        connection.wait([], timeout=0.01)
    return process.status


def _death(code: int | None) -> str:
    if code is None:
        return "closed its pipes and went on"
    if code == PIPES_LOST:
        return "closed its pipes"
    if code < 0:
        hint = ", as by the system when memory is short" if code == -signal.SIGKILL else ""
        return f"killed by {signal.Signals(-code).name}{hint}"
    return f"ended with exit status {code} before it was done"
