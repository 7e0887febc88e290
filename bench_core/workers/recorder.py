"""A recorder: a process that imports one version, and records which code runs in each cell before anything is timed.

Each cell runs in a process of its own, forked after the import, so that no cell sees what another one has left behind.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from multiprocessing import connection
from pathlib import Path
from typing import Any

from bench_core import clock
from bench_core.codec import MalformedError
from bench_core.timing.cells import Cell, SuiteDirectory
from bench_core.timing.discovery import Benchmark
from bench_core.timing.sampling import time_sample
from bench_core.workers import orphans
from bench_core.workers.loading import import_others, load, prove
from bench_core.workers.messages import RECORDER, CellTask, Recorded, RecordTask, read
from bench_core.workers.plan import same_random_numbers
from bench_core.workers.recording import Recording, Trace
from bench_core.workers.role import limit_memory
from bench_core.workers.turns import CellError, attempt, cause

REPEATED = 0.005
"""Calls are repeated for this many seconds of the processor, so that what happens only in some calls is seen, also
beside other work."""

WAITED = 0.1
"""Calls that use no processor are repeated for this many seconds."""

ENDING = 0.1
"""Seconds in which a thread that ends is gone."""

FEWEST_CALLS = 2
"""The fewest calls, however long they take: a cache may answer the second one."""

MOST_CALLS = 10_000
"""The most calls."""


def main() -> None:
    """Read a `RecordTask` from standard input. Write what was recorded of the import, and then of each cell, to
    standard output."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    task = read(RECORDER.tasks, sys.stdin.readline(), "recorder")
    orphans.adopt()

    def answer(recorded: Recorded) -> None:
        answers.write(RECORDER.answers.line(recorded) + "\n")

    _Recorder(task, answer).run()
    answers.close()


@dataclass(frozen=True)
class _Made(Benchmark):
    """A benchmark that is made already: asv_runner reads sources to make one."""

    def make(self) -> Any:
        return self.declared


class _Recorder:
    """Serves a task. `answer` takes what was recorded."""

    def __init__(self, task: RecordTask, answer: Callable[[Recorded], None]) -> None:
        self._task = task
        self._answer = answer
        self._began = clock.host()
        self._caches: dict[str, Recorded] = {}
        self._spoiled = ""
        self._early: Trace | None = None  # how modules were imported for later cells, which these belong to as well
        RECORDER.answers.prepare()
        import_others(task.preload, task.source.packages)
        self._recording = Recording(Path(task.source.paths[0]), Path(task.suite), task.source.packages, task.watched)

    def run(self) -> None:
        found = Trace()
        try:
            suite = self._imported(found)
        except BaseException as error:  # noqa: BLE001 - the version's modules run on import, and may raise anything
            found.fault = cause(error)
        self._answer(_recorded("", found))
        if found.fault:
            return
        for task in self._task.cells:
            gc.collect()
            gc.freeze()
            recorded = self._of(suite, task)
            self._import(recorded.imported)
            self._answer(replace(recorded, imported=()))

    def _import(self, names: Collection[str]) -> None:
        """Import what a cell has imported, so that the processes of later cells inherit it: the first materialization
        of a lazy layer imports 800 modules and takes a second."""
        own = {"bench_core", Path(self._task.suite).name, *self._task.source.packages}
        others = [name for name in names if name.partition(".")[0] not in own]
        if not others:
            return
        with self._recording.started(harness=True) as trace:
            for name in others:
                with suppress(Exception):
                    importlib.import_module(name)
        if any(not text.startswith(("/", "<")) for text in trace.ran):
            self._spoiled = "a module of another package runs the version's code when it is imported"
        self._early = self._early or Trace()
        _add(self._early, Trace(looked=trace.looked, read=trace.read, fault=trace.fault))

    def _imported(self, found: Trace) -> SuiteDirectory:
        """Import the suite, and record it in `found`."""
        suite = load(self._task.source, self._task.suite, self._task.timeout)
        with self._recording.started(harness=True) as imported:  # asv_runner looks for modules
            _ = suite.modules
        with self._recording.started(harness=True) as discovered:
            _ = suite.cells
        for trace in (imported, discovered):
            _add(found, trace)
        prove(self._task.source, suite.path)
        if _other_threads():
            found.fault = "a thread runs after the import"
        return suite

    def _of(self, suite: SuiteDirectory, task: CellTask) -> Recorded:
        if self._spoiled:
            return Recorded(task.name, fault=self._spoiled)
        if clock.host() - self._began > self._task.longest:
            return Recorded(task.name, fault=f"recording all cells takes longer than {self._task.longest:.0f} s")
        cell = _found(suite, task)
        if cell is None:
            return Recorded(task.name, fault="it is not found while the import is recorded")
        key = cell.source.declared.setup_cache_key
        if key is not None and key not in self._caches:
            self._caches[key] = self._apart(key, lambda: self._make_cache(cell))
        found = self._apart(task.name, lambda: self._perform(cell))
        if key is None:
            return found
        trace = Trace()
        for one in (self._caches[key], found):
            _add(trace, one)
        return replace(_recorded(task.name, trace), imported=found.imported)

    def _apart(self, name: str, action: Callable[[], Trace]) -> Recorded:
        """Do `action` in a forked process, for at most the time that a cell has."""
        ours, theirs = connection.Pipe(duplex=False)
        sys.stdout.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns if this process has threads
            process = os.fork()
        if not process:
            ours.close()
            _report(theirs, name, action)
        theirs.close()
        with ours:
            found = Recorded(name, fault=f"takes longer than {self._task.timeout:g} s")
            if ours.poll(self._task.timeout):
                try:
                    found = RECORDER.answers.read(ours.recv_bytes())
                except (EOFError, OSError, MalformedError):
                    found = Recorded(name, fault="its process ends")
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        with suppress(ChildProcessError):  # if a handler of the suite's has waited for it
            os.waitpid(process, 0)  # looking for its own children, which few have, takes longer
        orphans.end()
        return found

    def _make_cache(self, cell: Cell) -> Trace:
        same_random_numbers(self._task.seed)
        with self._recording.started() as trace, cell.suite.importable():
            cell.suite.caches.make(cell.source.declared)
            gc.collect()
        self._belongs(trace)
        return trace

    def _perform(self, cell: Cell) -> Trace:
        limit_memory(self._task.memory)
        same_random_numbers(self._task.seed)
        with self._recording.started() as trace:
            _perform(replace(cell, source=_Made(**vars(cell.source))))
            gc.collect()  # runs the finalizers of cycles
        prove(self._task.source, cell.suite.path)
        self._belongs(trace)
        return trace

    def _belongs(self, trace: Trace) -> None:
        """Add what happened as modules were imported early, which may do otherwise in another environment."""
        if self._early is None:
            return
        _add(trace, self._early)
        if self._recording.environment:
            early = "it changes the environment, and modules that may read it were imported before"
            trace.fault = trace.fault or early


def _other_threads() -> bool:
    """Whether other threads run. On a busy machine, one that only numbers threads (`recording`) may still be ending."""
    began = clock.host()
    while threading.active_count() > 1 or len(sys._current_frames()) > 1:
        if clock.host() - began > ENDING:
            return True
        threading.Event().wait(0.001)
    return False


def _found(suite: SuiteDirectory, task: CellTask) -> Cell | None:
    """The cell of a task, which is not looked for by importing anything, unlike in a worker."""
    named = next((cell for cell in suite.cells if cell.name == task.name), None)
    if named is not None or task.index is None:
        return named
    benchmark = task.name.partition("(")[0]
    return next((cell for cell in suite.cells if (cell.benchmark, cell.index) == (benchmark, task.index)), None)


def _perform(cell: Cell) -> None:
    """Set a cell up, call it as often as fits into `REPEATED`, and once more after another setup, and tear it down. A
    cell that is not timed is read once, as in a pair."""
    with cell.open() as opened:
        if cell.kind != "time":
            attempt("call", opened.read)
            return
        began, used = clock.host(), clock.used()
        for done in range(1, MOST_CALLS + 1):
            attempt("call", lambda: time_sample(opened.call, 1, opened.timer))
            enough = clock.used() - used > REPEATED or clock.host() - began > WAITED
            if done >= FEWEST_CALLS and enough:
                break
            if opened.number and done % opened.number == 0:  # as in a pair, where the object may be used up
                opened.fresh()
        opened.fresh()
        attempt("call", lambda: time_sample(opened.call, 1, opened.timer))


def _report(out: connection.Connection, name: str, action: Callable[[], Trace]) -> None:
    """Do `action`, send its trace, and end this process."""
    own, before = os.getpid(), set(sys.modules)
    try:
        with suppress(OSError), Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)
        found = _recorded(name, action())
        found = replace(found, imported=tuple(name for name in sys.modules if name not in before))
    except CellError as error:
        found = Recorded(name, fault=str(error))
    except BaseException as error:  # noqa: BLE001 - whatever the cell raises
        found = Recorded(name, fault=cause(error))
    if os.getpid() == own:  # else the cell has forked, and this is its child
        with suppress(OSError):
            out.send_bytes(RECORDER.answers.line(found).encode())
    os._exit(0)


def _recorded(name: str, trace: Trace) -> Recorded:
    def sent(value: Any) -> Any:
        return tuple(sorted(value)) if isinstance(value, set) else value

    return Recorded(name, **{one.name: sent(getattr(trace, one.name)) for one in fields(Trace)})


def _add(trace: Trace, other: Trace | Recorded) -> None:
    """Add what another trace holds."""
    sets: Mapping[str, set[str]] = {name: value for name, value in vars(trace).items() if isinstance(value, set)}
    for name, value in sets.items():
        value.update(getattr(other, name))
    trace.lines = trace.lines or other.lines
    trace.finds = trace.finds or other.finds
    trace.fault = trace.fault or other.fault
