"""Measuring: lanes of nurseries, until every cell is decided or the time is up."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from bench_core import clock
from bench_core.errors import BenchCoreError
from bench_core.gate.judge.cell import judge_cell
from bench_core.gate.judge.rule import TIMED, pairs_needed, sharing
from bench_core.gate.measure.discover import Found
from bench_core.gate.measure.effects import CellFaultError, agree, effect, reading
from bench_core.gate.measure.evidence import COMPARED, CONTROL, CREEP, Dossier, Journal, Versions
from bench_core.gate.versions.subjects import Subjects, source
from bench_core.gate.workers import child
from bench_core.gate.workers.plan import FEWEST_ALTERNATIONS
from bench_core.records.gate import SIDES, CellEvidence, GateSettings, Progress, Side, other_side
from bench_core.records.version import VersionName

PAIRS_OF_A_PARENT, MOST_PAIRS_OF_A_PARENT = 4, 8
"""Pairs that are forked from one parent: an even number, so that each side is forked first as often; more where they
are so short that importing for the next parent would take longer than measuring."""

FEW_CELLS, LONGER, LONG_PAIR = 12, 3, 1.0
"""A cell that is not decided with the fewest pairs that could gets that many times as many samples in later ones, once
so few cells are left that starting a pair takes as long as sampling; unless that takes more seconds than the third."""

CREEP_SHARE = 2
"""By what part of the samples a pair of the third version and head is shorter. The pairs scatter more than what is
inside them, so as many of them are needed, and their price is half."""

MOST_STRAYS = 2
"""Failures of a cell that did not come again, after which it is not measured further."""

MOST_FAULTS = 3
"""Parents that may be lost without a cell to blame before the gate gives up."""


def sentinels(cells: Sequence[CellEvidence], seed: int) -> list[CellEvidence]:
    """One timed cell of each family, drawn: over many gates, the controls go over all cells."""
    families: dict[str, list[CellEvidence]] = {}
    for cell in cells:
        if cell.kind in TIMED:
            families.setdefault(cell.family, []).append(cell)
    draw = random.Random(f"{seed} sentinels")
    return [draw.choice(members) for members in families.values()]


@dataclass(frozen=True)
class Suspect:
    """A cell that failed on one side; whether it does so again, and on the other side, is not known yet.

    Attributes:
        side: where it was.
        hangs: it ran out of time.
        skips: it skipped itself there.
    """

    dossier: Dossier
    cause: str
    side: Side
    hangs: bool
    skips: bool


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does, where signals arrive, and unless they are ignored, as under nohup."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    both = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)}
    heard = {one: handler for one, handler in both.items() if handler is not signal.SIG_IGN}
    for one in heard:
        signal.signal(one, signal.default_int_handler)
    try:
        yield
    finally:
        for one, handler in heard.items():
            signal.signal(one, handler)


class Comparison:
    """Two versions in a gate: what is known of their cells, and where it goes.

    Args:
        found: their cells.
        versions: which they are.
        settings: what was asked for.
        journal: where every effect goes at once.
        controls: cells of the same journal that hold a version against itself.

    Attributes:
        dossiers: of the cells.
        settings: as asked for, with the family that the evidence demands.
        earlier: what earlier gates had left.
        skipped: cells that their setup skips: name to reason.
    """

    def __init__(
        self,
        found: Found,
        versions: Versions,
        settings: GateSettings,
        journal: Journal,
        controls: Sequence[Dossier] = (),
    ) -> None:
        self.journal = journal
        self.dossiers = [Dossier(cell, versions) for cell in found.cells]
        self.earlier = journal.load([*self.dossiers, *controls])
        own = settings.family or sharing(found.cells)
        self.settings = replace(settings, family=max(own, self.earlier.family))
        self.skipped: dict[str, str] = {}
        for dossier in self.dossiers:
            self.judge(dossier)

    @property
    def cells(self) -> tuple[CellEvidence, ...]:
        """The evidence, without cells that skip themselves."""
        return tuple(one.evidence for one in self.dossiers if one.cell.name not in self.skipped)

    def judge(self, dossier: Dossier) -> None:
        dossier.judgement = judge_cell(dossier.effects, self.settings, self.settings.family, dossier.cell.kind)
        dossier.closed = dossier.judgement.decided


class Gate:
    """Measures until every cell is decided or the time is up.

    Args:
        subjects: the two versions.
        found: their cells.
        settings: what was asked for.
        journal: where every effect goes at once.
        timeout: seconds without a turn or a word after which a worker hangs.
        memory: bytes that a worker may take, beyond what the suite's imports do; None for no limit.
        cores: one a lane; None where processes cannot be pinned.
        plants: slowdowns to add to cells of head, by name: 0.05 is 5 %.
        past_journal: the journal of the third version and head, where there is one.

    Attributes:
        main: base and head.
        creep: the third version and head, or None.
        controls: of the sentinels, base against base.
        first_pair: the first pair that is this gate's own.
    """

    def __init__(
        self,
        subjects: Subjects,
        found: Found,
        settings: GateSettings,
        journal: Journal,
        *,
        timeout: float,
        memory: int | None,
        cores: Sequence[int | None],
        plants: Mapping[str, float] | None = None,
        past_journal: Journal | None = None,
    ) -> None:
        self.subjects = subjects
        self.timeout = timeout
        self.memory = memory
        self.cores = cores
        self.plants = plants or {}
        self.preload = dict.fromkeys(found.preload)
        self.controls = self._controls(found.cells, settings.seed, journal)
        self.main = Comparison(found, COMPARED, settings, journal, self.controls)
        self.creep: Comparison | None = None
        if found.past is not None and past_journal is not None:
            self.creep = Comparison(found.past, CREEP, replace(settings, family=0), past_journal)
        earlier = [one.earlier for one in self._comparisons]
        self.first_pair = max(one.pair for one in earlier)
        self._began = clock.host()
        self._lock = threading.Lock()
        self._pairs, self._parents = self.first_pair, max(one.parent for one in earlier)
        self._stop = threading.Event()
        self._doing = ["" for _ in cores]
        self._failures: list[BaseException] = []
        self._faults = 0
        self._found = 0
        self._suspects: list[Suspect] = []
        self._nurseries: dict[int, child.Child] = {}

    @property
    def _comparisons(self) -> list[Comparison]:
        return [self.main] if self.creep is None else [self.main, self.creep]

    @property
    def dossiers(self) -> list[Dossier]:
        """Of all comparisons; without the controls."""
        return [dossier for comparison in self._comparisons for dossier in comparison.dossiers]

    @property
    def settings(self) -> GateSettings:
        """As asked for, with the family that the evidence of base and head demands."""
        return self.main.settings

    def _comparison(self, dossier: Dossier) -> Comparison:
        """Whose it is; a control belongs to base and head."""
        return self.creep if self.creep is not None and dossier.versions == CREEP else self.main

    @staticmethod
    def _controls(cells: Sequence[CellEvidence], seed: int, journal: Journal) -> list[Dossier]:
        """Today's sentinels, which are measured as long as there are open cells; and those of earlier gates on the same
        versions, whose evidence counts with that of their gates."""
        today = sentinels(cells, seed)
        earlier = journal.controls()
        others = [cell for cell in cells if cell.name in earlier and cell not in today]
        return [
            *(Dossier(cell, CONTROL) for cell in today),
            *(Dossier(cell, CONTROL, closed=True) for cell in others),
        ]

    def run(self, show: Callable[[Progress], None], every: float = 0.25) -> None:
        """Measure. On any way out no process is left behind.

        Raises:
            KeyboardInterrupt: after Ctrl-C, SIGTERM or SIGHUP; what was measured is in the dossiers and in the journal.
            BenchCoreError: if the workers' parents do not come up.
        """
        with interruptible(), child.Watchdog() as watchdog:
            threads = [
                threading.Thread(target=self._guarded, args=(index, watchdog), daemon=True)
                for index in range(len(self.cores))
            ]
            try:
                for thread in threads:
                    thread.start()
                while any(thread.is_alive() for thread in threads):
                    for thread in threads:
                        thread.join(timeout=every / len(threads))
                    show(self.progress())
            finally:
                self._stop.set()
                for nursery in self._running():
                    nursery.kill()
                for thread in threads:
                    thread.join()
        if self._failures:
            raise self._failures[0]

    def _running(self) -> list[child.Child]:
        with self._lock:
            return list(self._nurseries.values())

    def progress(self) -> Progress:
        with self._lock:
            open_cells = [dossier for dossier in self.dossiers if not dossier.closed]
            judged = [(one.cell.name, one.judgement.ratio) for one in open_cells if one.effects and one.judgement]
            slowest = sorted(judged, key=lambda found: -found[1].middle)[:5]
            spent = clock.host() - self._began
            errors = sum(dossier.error is not None for dossier in self.dossiers)
            return Progress(
                pairs=self._pairs,
                parents=self._parents,
                decided=len(self.dossiers) - len(open_cells) - errors,
                open=len(open_cells),
                errors=errors,
                worst=tuple((name, ratio.middle, ratio.low, ratio.high) for name, ratio in slowest),
                seconds=spent,
                left=max(0.0, self.settings.budget - spent),
                lanes=tuple(self._doing),
            )

    # ---- one lane

    def _guarded(self, index: int, watchdog: child.Watchdog) -> None:
        try:
            self._measure(index, watchdog)
        except BaseException as error:  # noqa: BLE001 - handed to `run`, which raises it in the main thread
            self._failures.append(error)
            self._stop.set()

    def _measure(self, index: int, watchdog: child.Watchdog) -> None:
        while self._wanted() or (self._suspects and not self._stop.is_set()):
            parent = self._next_parent()
            self._doing[index] = f"parent {parent} imports"
            began = clock.host()
            nursery = child.Child("bench_core.gate.workers.nursery", self._hash_seed(parent), watchdog)
            with self._lock:
                self._nurseries[index] = nursery
            try:
                if self._stop.is_set():  # since before `run` could see this one, to end it
                    return
                nursery.tell(self._spec(index, watchdog))
                nursery.answer()
                self._confirm(index, nursery)
                self._take_pairs(index, nursery, parent, clock.host() - began)
            except child.LostError as error:
                if not self._stop.is_set():
                    self._fault(error)
            finally:
                with self._lock:
                    del self._nurseries[index]
                nursery.close()
        self._doing[index] = "done"

    def _next_parent(self) -> int:
        with self._lock:
            parent, self._parents = self._parents, self._parents + 1
        return parent

    def _take_pairs(self, index: int, nursery: child.Child, parent: int, starting: float) -> None:
        """What one parent is good for.

        Args:
            starting: seconds that it took until it was ready.
        """
        started = clock.host()
        for taken, jobs in enumerate(self._pairs_of(index, parent), start=1):
            if taken > 1 and self.settings.start == "spawn":  # nothing is inherited: each pair counts as one
                parent = self._next_parent()
            go_on = all(self._take_pair(index, nursery, parent, job) for job in jobs)
            if go_on:
                self._confirm(index, nursery)
            long_enough = clock.host() - started > starting or taken >= MOST_PAIRS_OF_A_PARENT
            if not go_on or (taken % 2 == 0 and taken >= PAIRS_OF_A_PARENT and long_enough):
                return

    def _pairs_of(self, index: int, parent: int) -> Iterator[list[dict[str, Any]]]:
        """What one parent does: again and again a pair over all open cells of each comparison, and one of base with
        base over the controls. Peak memory is a process's own, so each such cell gets a pair for itself."""
        draw = random.Random(f"{self.settings.seed} parent {parent}")
        first: Side = draw.choice(SIDES)
        lanes = len(self.cores)
        while self._wanted():
            with self._lock:
                *compared, controls = (
                    # Finding out how to sample a cell takes as long as several pairs of it: one lane does it.
                    [one for place, one in enumerate(all_) if not one.closed and (one.plan or place % lanes == index)]
                    for all_ in (*(one.dossiers for one in self._comparisons), self.controls)
                )
            groups: list[list[Dossier]] = []
            for wanted in compared:
                alone = [dossier for dossier in wanted if dossier.cell.kind == "peakmemory"]
                groups += [[dossier for dossier in wanted if dossier not in alone], *([one] for one in alone)]
            groups.append(controls)
            jobs = [self._job(group, first) for group in groups if group]
            if not jobs:
                self._stop.wait(0.05)
                continue
            yield jobs
            first = other_side(first)

    def _job(self, dossiers: list[Dossier], first: Side) -> dict[str, Any]:
        with self._lock:
            pair, self._pairs = self._pairs, self._pairs + 1
            few = sum(not dossier.closed for dossier in self.dossiers) <= FEW_CELLS
        order = list(dossiers)
        random.Random(f"{self.settings.seed} pair {pair}").shuffle(order)
        return {
            "pair": pair,
            "seed": self.settings.seed,
            "first": first,
            "versions": dict(zip(SIDES, dossiers[0].versions, strict=True)),
            "cells": [
                {
                    "name": one.cell.name,
                    "plan": self._plan(one, few=few),
                    "plant": 0.0 if one.control else self.plants.get(one.cell.name, 0.0),
                }
                for one in order
            ],
            "timeout": self.timeout,
        }

    def _plan(self, dossier: Dossier, *, few: bool) -> dict[str, Any] | None:
        """How a cell is sampled in the next pair; longer where it is noisy, and where starting the workers takes as
        long since there are `few` cells."""
        plan, settings = dossier.plan, self._comparison(dossier).settings
        if plan is None:
            return None
        if dossier.versions == CREEP:
            alternations = max(FEWEST_ALTERNATIONS, plan["alternations"] // CREEP_SHARE // 2 * 2)
            plan = {**plan, "alternations": alternations, "blocks": max(1, plan["blocks"] // CREEP_SHARE)}
        pairs = len(dossier.effects)
        noisy = pairs >= pairs_needed(settings.family, settings) and not dossier.control
        if not few or not noisy or dossier.spent / pairs > LONG_PAIR:
            return plan
        return {**plan, **{name: LONGER * plan[name] for name in ("alternations", "blocks")}}

    def _take_pair(self, index: int, nursery: child.Child, parent: int, job: Mapping[str, Any]) -> bool:
        """Let one pair of workers go through its job.

        Returns:
            Whether to go on: the nursery lives, and there is time left.
        """
        asked = tuple(job["versions"][role] for role in SIDES)
        everything = (*self.dossiers, *self.controls)
        by_name = {dossier.cell.name: dossier for dossier in everything if dossier.versions == asked}
        self._doing[index] = f"pair {job['pair']} of parent {parent}: {len(job['cells'])} cells"
        # The roles report through pipes of their own, and one may be a step ahead of the other.
        started: set[str] = set()
        reported: dict[str, dict[str, Any]] = {entry["name"]: {} for entry in job["cells"]}
        began = clock.host()
        try:
            for answer in nursery.run(job):
                with self._lock:
                    self.preload.update(dict.fromkeys(answer.get("imported", ())))
                if "start" in answer:
                    started.add(answer["start"])
                elif "cell" in answer:
                    name = answer["cell"]
                    reported[name][answer["role"]] = answer
                    if len(reported[name]) == len(SIDES):
                        self._settle(by_name[name], reported.pop(name), job, parent, clock.host() - began)
                        began = clock.host()
                        if self._stop.is_set() or began - self._began > self.settings.budget:
                            return False
                elif "refused" in answer:
                    version = job["versions"][answer["role"]]
                    raise BenchCoreError(f"{version} ({getattr(self.subjects, version).name}): {answer['refused']}")
                elif "lost" in answer or "broken" in answer:
                    cause, side = answer.get("broken") or answer["cause"], answer.get("role") or answer["lost"]
                    unfinished = [name for name in reported if name in started]
                    self._blame(by_name, unfinished, cause, side, hangs=answer.get("hangs", False))
        except child.LostError as error:
            if self._stop.is_set():
                return False
            self._blame(by_name, [name for name in reported if name in started], f"its parent {error}", None)
            return False
        return True

    def _blame(
        self,
        by_name: Mapping[str, Dossier],
        unfinished: Sequence[str],
        cause: str,
        side: Side | None,
        *,
        hangs: bool = False,
    ) -> None:
        """The first cell that was begun and not finished is the one that a worker was lost over."""
        if not unfinished:
            self._fault(cause, side)
            return
        dossier = by_name[unfinished[0]]
        if dossier.error is not None:  # another lane has lost one over it, too
            return
        self._suspect(dossier, cause, side, hangs=hangs)

    def _suspect(
        self, dossier: Dossier, cause: str, side: Side | None, *, hangs: bool = False, skips: bool = False
    ) -> None:
        """An error of neither side, until `_confirm` knows better."""
        self._fail(dossier, cause, None)
        if side is not None and not dossier.control:
            with self._lock:
                self._suspects.append(Suspect(dossier, cause, side, hangs, skips))

    def _confirm(self, index: int, nursery: child.Child) -> None:
        """Let each version do, against itself, what one side failed over: it is to blame only if it fails again, and
        the other version does not.

        Raises:
            LostError: if the nursery has died.
        """
        with self._lock:
            suspect = self._suspects.pop() if self._suspects and not self._stop.is_set() else None
        if suspect is None:
            return
        self._doing[index] = f"{suspect.dossier.cell.name} once more, one version at a time"
        # A hang is not waited for again.
        versions = dict(zip(SIDES, suspect.dossier.versions, strict=True))
        if not suspect.hangs and self._survives(nursery, suspect, versions[suspect.side]):
            self._reopen(suspect)
        elif self._survives(nursery, suspect, versions[other_side(suspect.side)]):
            self._fail(suspect.dossier, suspect.cause, suspect.side)

    def _survives(self, nursery: child.Child, suspect: Suspect, version: VersionName) -> bool:
        job = self._job([suspect.dossier], suspect.side) | {"versions": dict.fromkeys(SIDES, version)}
        for answer in list(nursery.run(job)):
            if answer.keys() & {"lost", "broken", "refused"}:
                return False
            if "failed" in answer and (suspect.skips or not answer["skipped"]):
                return False
        return True

    def _reopen(self, suspect: Suspect) -> None:
        """It was lost over nothing that it does each time; but not again and again."""
        with self._lock:
            dossier = suspect.dossier
            dossier.strays += 1
            if dossier.strays <= MOST_STRAYS:
                dossier.error, dossier.closed = None, False
            else:
                dossier.fail(f"now and then: {suspect.cause}", None)

    def _settle(
        self, dossier: Dossier, reported: Mapping[str, Any], job: Mapping[str, Any], parent: int, spent: float
    ) -> None:
        """Turn what both sides report of a cell into an effect, or an error."""
        failed = [role for role in SIDES if "failed" in reported[role]]
        if failed:
            raised = [role for role in failed if not reported[role]["skipped"]]
            first = reported[(raised or failed)[0]]
            if len(failed) == 1 or len(raised) == 1:
                what = first["stage"] if raised else "skips itself"
                self._suspect(dossier, f"{what}: {first['failed']}", (raised or failed)[0], skips=not raised)
            elif raised:
                self._fail(dossier, f"{first['stage']}: {first['failed']}", None)
            else:
                with self._lock:
                    dossier.closed = True
                    self._comparison(dossier).skipped[dossier.cell.name] = first["failed"]
            return
        base, head = reported["base"], reported["head"]
        forked: Side = job["first"]
        try:
            if "print" in base:
                agree(base["print"], head["print"])
            dossier.plan = plan = dossier.plan or base["plan"]
            if dossier.cell.kind in TIMED:
                found = effect(base, head, number=plan["number"], pair=job["pair"], parent=parent, first=forked)
            else:
                found = reading(base["value"], head["value"], pair=job["pair"], parent=parent, first=forked)
        except CellFaultError as fault:
            self._fail(dossier, str(fault), fault.side)
            return
        with self._lock:
            if dossier.error is not None:  # another lane found out in the meantime
                return
            dossier.effects.append(found)
            dossier.spent += spent
            self._found += 1
            self._faults = 0
            comparison = self._comparison(dossier)
            comparison.journal.add(dossier, found, spent, comparison.settings.family)
            if not dossier.control:  # those are judged at the end
                comparison.judge(dossier)

    def _fail(self, dossier: Dossier, cause: str, side: Side | None) -> None:
        with self._lock:
            dossier.fail(cause, None if dossier.control else side)

    def _fault(self, error: object, side: Side | None = None) -> None:
        """A parent is lost, or a version does not load, and no cell is to blame: a few times this may happen."""
        with self._lock:
            self._faults += 1
            if self._faults > MOST_FAULTS and not self._stop.is_set():
                where = f" on {side}" if side else ""
                raise BenchCoreError(f"workers cannot be started{where}: {error}")

    def _wanted(self) -> bool:
        with self._lock:
            is_open = any(not dossier.closed for dossier in self.dossiers)
            # However small the budget, something is found out: so the same command again gets further each time.
            in_time = clock.host() - self._began < self.settings.budget or not self._found
        return is_open and in_time and not self._stop.is_set()

    def _spec(self, index: int, watchdog: child.Watchdog) -> dict[str, Any]:
        return {
            "sources": {name: source(self.subjects, name, watchdog.folder / "caches") for name in self.subjects.named},
            "suite": str(self.subjects.suite),
            "preload": list(self.preload),
            "core": self.cores[index],
            "start": self.settings.start,
            "memory": self.memory,
        }

    def _hash_seed(self, parent: int) -> int:
        return random.Random(f"{self.settings.seed} hash {parent}").getrandbits(32)
