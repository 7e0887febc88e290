"""Runs the lanes, each with one nursery at a time, until every cell is decided or the budget is used up."""

from __future__ import annotations

import math
import statistics
import threading
from collections.abc import Callable, Mapping, Sequence

from bench_core import clock
from bench_core.errors import BenchCoreError
from bench_core.gate.measure.blame import CLEARLY_LONGER, Blame, FailedCell, survived
from bench_core.gate.measure.discover import Found
from bench_core.gate.measure.evidence import Dossier, Journal, Known
from bench_core.gate.measure.schedule import Schedule, is_enough
from bench_core.gate.measure.settle import CellReport, settle
from bench_core.gate.measure.spent import OVERHEAD, PARENTS, RETRIES, Spent
from bench_core.gate.versions.subjects import Subjects, source
from bench_core.records.gate import SIDES, GateSettings, Progress, Side, other_side
from bench_core.records.version import VersionName
from bench_core.workers import child
from bench_core.workers.interrupt import interruptible
from bench_core.workers.messages import (
    NURSERY,
    CellBegun,
    CellFailed,
    CellLeft,
    CellRead,
    CellTimed,
    Lost,
    NurseryAnswer,
    NurseryTask,
    PairDone,
    PairTask,
    WorkerBroken,
    WorkerRefused,
)

OVERRUN = 60.0
"""End a pair that takes this many seconds longer than the budget. One cell in it is usually done within seconds."""


class Gate:
    """Measures until every cell is decided or the budget is used up.

    Args:
        subjects: the versions.
        found: their cells.
        settings: the settings as asked for.
        journal: keeps every effect of base and head as soon as it is measured.
        timeout: treat a worker as hung after this many seconds without a turn or a report; None for what the suite
            allows for each cell.
        memory: bytes that a worker may allocate, beyond what importing the suite takes; None for no limit.
        cores: one for each lane; None where processes cannot be pinned.
        plants: slowdowns to add to cells of head, by name: 0.05 is 5 %.
        past_journal: the journal of past and head; None without a past version.
        untouched: raises BenchCoreError if something else has changed the versions. Called before each parent starts,
            and at the end.

    Attributes:
        main, past, controls, dossiers, faults: see `Known`.
        settings: those of `main`.
        preload: modules that nurseries import before they fork.
        first_pair: the number of this gate's first pair.
        spent: where the time went.
    """

    def __init__(
        self,
        subjects: Subjects,
        found: Found,
        settings: GateSettings,
        journal: Journal,
        *,
        timeout: float | None,
        memory: int | None,
        cores: Sequence[int | None],
        plants: Mapping[str, float] | None = None,
        past_journal: Journal | None = None,
        untouched: Callable[[], None] = lambda: None,
    ) -> None:
        self._untouched = untouched
        self.subjects = subjects
        self.memory = memory
        self.cores = cores
        self.preload = dict.fromkeys(found.preload)
        self._known = known = Known(found, settings, journal, past_journal)
        self.main, self.past, self.controls, self.dossiers = known.main, known.past, known.controls, known.dossiers
        self.faults = known.faults
        self.settings = known.main.settings
        self._schedule = Schedule(known, timeout, len(cores), plants or {})
        self._blame = Blame(known)
        self.first_pair = self._schedule.pairs
        self._began = clock.host()
        self._stop = threading.Event()
        self._doing = ["" for _ in cores]
        self._failures: list[BaseException] = []
        self._had = known.effects
        self._nurseries: dict[int, child.Nursery] = {}
        self._taking: dict[int, _Taking] = {}
        self.spent = Spent()

    def run(self, show: Callable[[Progress], None], every: float = 0.25) -> None:
        """Measure. However it ends, no process is left behind.

        Args:
            show: takes the progress.
            every: seconds between two calls of `show`, approximately.

        Raises:
            KeyboardInterrupt: after Ctrl-C, SIGTERM or SIGHUP. What was measured is in the dossiers and in the journal.
            BenchCoreError: if nurseries or workers cannot be started.
        """
        with interruptible(), child.Watchdog() as watchdog:
            threads = [
                threading.Thread(target=self._guarded, args=(index, watchdog), daemon=True)
                for index in range(len(self.cores))
            ]
            try:
                for thread in threads:
                    thread.start()
                go_on = True
                while go_on:
                    for thread in threads:
                        thread.join(timeout=every / len(threads))
                    go_on = any(thread.is_alive() for thread in threads)
                    show(self.progress())
                    if clock.host() - self._began > self.settings.budget + OVERRUN:
                        self._give_up()
            finally:
                self._stop.set()
                for nursery in self._running():
                    nursery.kill()
                for thread in threads:
                    thread.join()
        if self._failures:
            raise self._failures[0]
        self._untouched()

    def _give_up(self) -> None:
        """End the pairs that have begun. What they were at gets an error."""
        self._stop.set()
        with self._known.lock:
            for taking in self._taking.values():
                for dossier in taking.unfinished[:1]:
                    if not dossier.control and not dossier.effects:
                        spent = clock.host() - self._began
                        dossier.fail(f"a pair of it was not done after {spent:.0f} s: it needs a larger --budget", None)
        for nursery in self._running():
            nursery.kill()

    def _running(self) -> list[child.Nursery]:
        with self._known.lock:
            return list(self._nurseries.values())

    def progress(self) -> Progress:
        with self._known.lock:
            open_cells = [dossier for dossier in self.dossiers if not dossier.closed]
            judged = [(one.cell.name, one.judgement.ratio) for one in open_cells if one.effects and one.judgement]
            known = [found for found in judged if not math.isnan(found[1].middle)]  # NaN has no place in an order
            slowest = sorted(known, key=lambda found: -found[1].middle)[:5]
            spent = clock.host() - self._began
            errors = sum(dossier.error is not None for dossier in self.dossiers)
            return Progress(
                pairs=self._schedule.pairs,
                parents=self._schedule.parents,
                decided=len(self.dossiers) - len(open_cells) - errors,
                open=len(open_cells),
                errors=errors,
                worst=tuple((name, ratio.middle, ratio.low, ratio.high) for name, ratio in slowest),
                seconds=spent,
                left=self._left,
                needed=self._schedule.needed(),
                lanes=tuple(self._doing),
            )

    def _guarded(self, lane: int, watchdog: child.Watchdog) -> None:
        try:
            self._measure(lane, watchdog)
        except BaseException as error:  # noqa: BLE001 - handed to `run`, which raises it in the main thread
            self._failures.append(error)
            self._stop.set()

    def _measure(self, lane: int, watchdog: child.Watchdog) -> None:
        while self._wanted() or (self._blame.has_suspects and not self._stop.is_set()):
            self._untouched()
            parent = self._schedule.next_parent()
            self._doing[lane] = f"parent {parent} imports"
            began = clock.host()
            nursery = child.Child(
                NURSERY, self._schedule.hash_seed(parent), watchdog, environment=self.subjects.environment
            )
            with self._known.lock:
                self._nurseries[lane] = nursery
            try:
                if self._stop.is_set():  # `run` may have ended all nurseries before this one was among them
                    return
                with self.spent.on(PARENTS):
                    nursery.tell(self._task(lane, watchdog))
                    nursery.answer()
                self._confirm(lane, nursery)
                self._take_pairs(lane, nursery, parent, clock.host() - began)
            except child.LostError as error:
                if not self._stop.is_set():
                    self._blame.fault(error)
            finally:
                with self._known.lock:
                    del self._nurseries[lane]
                nursery.close()
        self._doing[lane] = "done"

    def _task(self, lane: int, watchdog: child.Watchdog) -> NurseryTask:
        caches = watchdog.folder / "caches"
        return NurseryTask(
            sources={name: source(self.subjects, name, caches) for name in self.subjects.named},
            suite=str(self.subjects.suite),
            preload=tuple(self.preload),
            core=self.cores[lane],
            start="spawn" if self.settings.start == "spawn" else "fork",
            memory=self.memory,
        )

    def _wanted(self) -> bool:
        with self._known.lock:
            if any(not (dossier.closed or dossier.waits) for dossier in self.dossiers):
                # However small the budget, one effect is measured, so each repetition of a command gets further.
                in_time = self._left > 0 or self._known.effects == self._had
            else:
                in_time = self._schedule.has_time_for_postponed(self._left)
        return in_time and not self._stop.is_set()

    @property
    def _left(self) -> float:
        """Seconds until the budget ends."""
        return max(0.0, self.settings.budget - (clock.host() - self._began))

    def _take_pairs(self, lane: int, nursery: child.Nursery, parent: int, starting: float) -> None:
        """Run the pairs of one parent, which took `starting` seconds to get ready."""
        started = clock.host()
        first = self._schedule.first_of(parent)
        taken = 0
        while self._wanted():
            pairs = self._schedule.pairs_of(lane, first, self._left * len(self.cores))
            if not pairs:  # other lanes run the first pairs of the remaining cells
                self._stop.wait(0.05)
                continue
            taken += 1
            if taken > 1 and self.settings.start == "spawn":  # nothing is inherited, so each pair counts as a parent
                parent = self._schedule.next_parent()
            if not all(self._take_pair(lane, nursery, parent, pair) for pair in pairs):
                return
            self._confirm(lane, nursery)
            if is_enough(taken, clock.host() - started, starting):
                return
            first = other_side(first)

    def _take_pair(self, lane: int, nursery: child.Nursery, parent: int, pair: PairTask) -> bool:
        """Run one pair of workers. Returns whether to go on: the nursery is alive, and there is time left."""
        self._doing[lane] = f"pair {pair.pair} of parent {parent}: {len(pair.groups)} cells"
        taking = self._taking[lane] = _Taking(pair, parent, self._known, self._blame)
        try:
            with self.spent.on(OVERHEAD):
                return self._follow(nursery, pair, taking)
        except child.LostError as error:
            if not self._stop.is_set():
                self._blame.lost(taking.unfinished, f"its parent {error}", None)
            return False

    def _follow(self, nursery: child.Nursery, pair: PairTask, taking: _Taking) -> bool:
        """Take in the answers on a pair. Returns whether there is time left."""
        for answer in child.run_pair(nursery, pair):
            if isinstance(answer, PairDone):
                with self._known.lock:
                    self.preload.update(dict.fromkeys(answer.imported))
                self.spent.stages(answer.spent)
            elif isinstance(answer, WorkerRefused):
                version = pair.versions[answer.role]
                raise BenchCoreError(f"{version} ({self.subjects.named[version].name}): {answer.cause}")
            elif taking.enter(answer) and (self._stop.is_set() or clock.host() - self._began > self.settings.budget):
                return False
        return True

    def _confirm(self, lane: int, nursery: child.Nursery) -> None:
        """Retry a cell that failed on one side, if there is one. Raises LostError if the nursery has died."""
        suspect = None if self._stop.is_set() else self._blame.next_suspect(self._left)
        if suspect is not None:
            self._doing[lane] = f"retries {suspect.dossier.cell.name}, one version at a time"
            with self.spent.on(RETRIES):
                self._blame.confirm(suspect, lambda version: self._tried(nursery, suspect, version))

    def _tried(self, nursery: child.Nursery, suspect: FailedCell, version: VersionName) -> float | None:
        """The seconds that a pair with this version on both sides takes; None if it shows a failure."""
        began = clock.host()
        patience = CLEARLY_LONGER * suspect.waited
        pair = self._schedule.pair_of([suspect.dossier], suspect.side, (version, version), patience=patience)
        answers = list(child.run_pair(nursery, pair))
        calls = [span / one.log.number for one in answers if isinstance(one, CellTimed) for span in one.log.spans]
        if calls:
            suspect.dossier.alone[version] = statistics.median(calls)
        return clock.host() - began if survived(answers, skips=suspect.skips) else None


class _Taking:
    """A running pair. Each worker reports through its own pipe, so one may be a step ahead."""

    def __init__(self, pair: PairTask, parent: int, known: Known, blame: Blame) -> None:
        self._pair, self._parent = pair, parent
        self._known, self._blame = known, blame
        base, head = (pair.versions[side] for side in SIDES)
        self._dossiers = known.of((base, head))
        self._begun: set[str] = set()
        self._reports: dict[str, dict[Side, CellReport]] = {
            cell.name: {} for group in pair.groups for cell in group.cells
        }
        self._since = clock.host()

    @property
    def unfinished(self) -> list[Dossier]:
        """The cells that a side has begun and that not both sides have finished."""
        return [self._dossiers[name] for name in self._reports if name in self._begun]

    def enter(self, answer: NurseryAnswer) -> bool:
        """Process an answer of the nursery. Returns whether both sides have finished with a cell."""
        match answer:
            case CellBegun():
                self._begun.add(answer.cell)
            case CellTimed() | CellRead() | CellFailed() | CellLeft():
                reports = self._reports.get(answer.cell)
                if reports is None:
                    cause = "its worker reports on a cell that it was not asked for, or that it has reported on before"
                    self._blame.lost(self.unfinished, cause, answer.role)
                    return False
                reports[answer.role] = answer
                if len(reports) == len(SIDES):
                    del self._reports[answer.cell]
                    self._settle(answer.cell, reports)
                    return True
            case WorkerBroken():
                self._blame.lost(self.unfinished, answer.cause, answer.role)
            case Lost():
                self._blame.lost(
                    self.unfinished,
                    answer.cause,
                    answer.role,
                    hangs=answer.hangs,
                    timeout=answer.timeout,
                    waited=answer.waited,
                )
        return False

    def _settle(self, cell: str, reports: Mapping[Side, CellReport]) -> None:
        spent = clock.host() - self._since
        settle(self._dossiers[cell], reports, self._pair, self._parent, spent, self._known, self._blame)
        self._since = clock.host()
