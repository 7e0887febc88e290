"""A gate from end to end: two names in, a record out."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil

from bench_core import clock
from bench_core.errors import BenchCoreError
from bench_core.gate.judge.rule import pairs_needed, sharing
from bench_core.gate.measure.discover import Found, find_cells
from bench_core.gate.measure.evidence import Evidence, Journal
from bench_core.gate.measure.schedule import PAST_SHARE
from bench_core.gate.measure.supervise import Gate
from bench_core.gate.versions import revisions
from bench_core.gate.versions.installs import environments
from bench_core.gate.versions.store import Store
from bench_core.gate.versions.subjects import Subjects
from bench_core.gate.why.cause import meaning
from bench_core.gate.why.explain import explain
from bench_core.gate.why.instructions import count, require_valgrind
from bench_core.gate.workers.worker import PROTOCOL
from bench_core.records.gate import SIDES, GateRecord, GateSettings, Instructions, Progress
from bench_core.records.version import Version

LEAST_BUDGET, SMALL_SUITE, BUDGET_OF_A_CELL = 50.0, 40, 1.8
"""Seconds of measuring that are allowed by default: the first, which 40 cells need on two lanes, and the last for each
cell beyond the second. With 1.2 s a cell, our 187 quick cells, many of them slow, got 15 of the 17 pairs they need."""


@dataclass(frozen=True)
class Request:
    """What a person asks for.

    Attributes:
        config: the ``asv.conf.json``.
        base, head: names of revisions; None is the working tree.
        pattern: selects cells, as `asv run --bench`; None for all.
        quick: only the quick profile.
        settings: the rest; a budget or a number of lanes of 0 stands for the default.
        force: measure identical content, too.
        fresh: forget what earlier gates have found out about the two versions.
        resume: insist on going on from earlier evidence.
        timeout: seconds without a word after which a worker hangs.
        plant: in a self-test, the slowdown to plant in half of at most `SELF_TEST_CELLS` cells of head; else 0.
        suite: the revision that the benchmarks are taken from; None for head.
        instructions: they will be counted, which needs valgrind.
        versus: two installs of a requirement, or two interpreters, to be compared instead of two revisions; `base` is
            the code of both sides then, and `head` None.
        creep: a third, older revision, which head is compared with, too; or None.
        written: files that the gate will write: no part of the working tree, or the next gate on it would start anew.
    """

    config: Path
    base: str | None
    head: str | None
    pattern: str | None
    quick: bool
    settings: GateSettings
    force: bool = False
    fresh: bool = False
    resume: bool = False
    timeout: float = 60.0
    plant: float = 0.0
    suite: str | None = None
    instructions: bool = False
    versus: tuple[str, str] | None = None
    creep: str | None = None
    written: tuple[Path, ...] = ()


SELF_TEST_CELLS = 12


class Session:
    """Two versions, ready to be measured.

    Args:
        request: what is asked for.
        machine: asv's description of this machine.
        say: takes what is worth telling while versions are built.

    Attributes:
        base, head: the versions.
        code: what both sides have besides, where two installs or interpreters are compared; else None.
        past: the third version; None without one, and where it is no other than base or head.
        found: their cells; None where the content is identical and nothing is to be measured.
        settings: with the defaults filled in.
        plants: the slowdowns that are planted, by cell; none but in a self-test.

    Raises:
        BenchCoreError: if a version is not found or cannot be built, or there is nothing to compare.
    """

    def __init__(self, request: Request, machine: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._began = clock.host()
        self._date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._machine = machine
        self._request = request
        if request.instructions:
            require_valgrind()
        self.project = replace(revisions.project(request.config), written=request.written)
        store = Store(self.project)
        self.code: Version | None = None
        self._besides: tuple[str, ...] = ()
        pythons, compared = ("", ""), frozenset[str]()
        asked = {"base": request.base, "head": request.head} if request.versus is None else {"code": request.base}
        if request.creep is not None:
            asked = {"past": request.creep, **asked}
        found = {what: revisions.resolve(self.project, name) for what, name in asked.items()}
        for what, revision in found.items():
            say(f"{what}: {revision}{_changes(revision.changed)}")
        what, newest = list(found.items())[-1]
        if asked[what] is not None and (changed := revisions.uncommitted(self.project)):
            say(f"note: {newest.name} is a commit; what is not committed is not measured{_changes(changed)}")
        made = dict(zip(found, store.versions(found.values()), strict=True))
        self.past = self._older(made.get("past"), made, say)
        if request.versus is None:
            self.base, self.head = made["base"], made["head"]
        else:
            self.code = made["code"]
            sides = environments(store, request.versus, say)
            self.base, self.head, pythons, self._besides = sides.base, sides.head, sides.pythons, sides.besides
            compared = sides.compared
        self.identical = self._identical()
        self.settings = request.settings
        self.found: Found | None = None
        self.plants: Mapping[str, float] = {}
        if self.identical and not request.force:
            if self.past is None:
                return
            say(f"note: {self.identical}; measured all the same, since {self.past.name} differs")
        suite = newest if request.suite is None else revisions.resolve(self.project, request.suite)
        self._subjects = Subjects(self.base, self.head, store.suite(suite), self.code, pythons, self.past)
        self._benchmarks = revisions.benchmarks_digest(self.project, suite)
        self.found = find_cells(self._subjects, request.pattern, quick=request.quick)
        if compared and not compared & self.found.imported:
            say(
                f"note: the benchmarks import no {', '.join(sorted(compared))} when they are read: a cell that does "
                "not import it later, either, is the same on both sides"
            )
        if not self.found.cells and not self.found.failed:
            reasons = "; ".join(sorted(set(self.found.left_out.values()))[:3])
            raise BenchCoreError(f"none of the {len(self.found.left_out)} cells can be compared here: {reasons}.")
        if request.plant:
            self.found, self.plants = self._planted(self.found)
        self.settings = self._filled(request.settings, self.found)
        evidence = store.folder / "evidence"
        key = self._key()
        self._journal = Journal(evidence / f"{key}.jsonl")
        # Not that of a gate between the two: its controls, which tell whether to believe it, would be in another file.
        self._past_journal = Journal(evidence / f"{key}-{self.past.digest[:16]}.jsonl") if self.past else None
        if request.resume and not self._journal.path.exists():
            raise BenchCoreError(
                "there is nothing to resume: no gate on these two versions has been begun here. Leave --resume out."
            )

    def measure(self, show: Callable[[Progress], None]) -> GateRecord:
        """Measure until all is decided or the time is up; after Ctrl-C, return what there is."""
        if self.found is None:
            return self._record(identical=self.identical)
        with ExitStack() as alone:
            for journal, found in ((self._journal, self.found), (self._past_journal, self.found.past)):
                if journal is None or found is None:
                    continue
                alone.enter_context(journal.alone())
                if self._request.fresh:
                    journal.forget({cell.name for cell in found.cells})
            return self._measured(self.found, show)

    def explained(self, record: GateRecord, ratios: Mapping[str, float], say: Callable[[str], None]) -> GateRecord:
        """The record, with why these cells are slower.

        Args:
            record: this session's, or its `past`.
            ratios: cell to its time, head over base.
            say: is told how it goes.
        """
        subjects = self._subjects if record.base == self.base else replace(self._subjects, base=record.base, past=None)
        return replace(record, causes=tuple(explain(subjects, list(ratios), ratios, say).values()))

    def counted(self, record: GateRecord, ratios: Mapping[str, float], say: Callable[[str], None]) -> GateRecord:
        """The record, with the instructions of these cells; the arguments are those of `explained`.

        Raises:
            BenchCoreError: if they cannot be counted here.
        """
        found = count(self._subjects, list(ratios), say)
        rows = []
        for name, time in ratios.items():
            if name in found.counts:
                base, head = (counts.total for counts in found.counts[name])
                rows.append(Instructions(name, base, head, meaning(time, base, head)))
            else:
                rows.append(Instructions(name, math.nan, math.nan, found.failed[name]))
        return replace(record, instructions=tuple(rows))

    def _measured(self, found: Found, show: Callable[[Progress], None]) -> GateRecord:
        cores = _cores(self.settings.lanes)
        gate = Gate(
            self._subjects,
            found,
            self.settings,
            self._journal,
            timeout=self._request.timeout,
            memory=_memory(len(cores)) if not found.on_accelerator else None,
            cores=cores,
            plants=self.plants,
            past_journal=self._past_journal,
        )
        interrupted = False
        try:
            gate.run(show)
        except KeyboardInterrupt:
            interrupted = True

        def compared(comparison: Evidence, found: Found) -> dict[str, Any]:
            return {
                "cells": (*comparison.cells, *found.failed),
                "left_out": {**found.left_out, **comparison.skipped},
                "interrupted": interrupted,
                "resumed": comparison.earlier.effects,
                "first_pair": gate.first_pair,
                "settings": comparison.settings,
            }

        record = self._record(
            controls=tuple(one.evidence for one in gate.controls),
            **compared(gate.main, found),
        )
        if gate.past is None or found.past is None or self.past is None:
            return record
        return replace(record, past=replace(record, base=self.past, controls=(), **compared(gate.past, found.past)))

    def _planted(self, found: Found) -> tuple[Found, Mapping[str, float]]:
        """Some of the cells, drawn, and the slowdown that every second one gets."""
        timed = [cell for cell in found.cells if cell.kind == "time"]
        draw = random.Random(self._request.settings.seed)
        chosen = draw.sample(timed, min(SELF_TEST_CELLS, len(timed)))
        return replace(found, cells=tuple(chosen)), {cell.name: self._request.plant for cell in chosen[::2]}

    def _record(self, **what: Any) -> GateRecord:
        empty: dict[str, Any] = {"cells": (), "settings": self.settings}
        return GateRecord(
            base=self.base,
            head=self.head,
            code=self.code,
            unfair=self.found.unfair if self.found else (),
            besides=self._besides,
            machine=self._machine,
            date=self._date,
            seconds=clock.host() - self._began,
            **(empty | what),
        )

    def _older(self, past: Version | None, made: Mapping[str, Version], say: Callable[[str], None]) -> Version | None:
        """The third version, where it is one."""
        for side in SIDES:
            if past is not None and made[side].digest == past.digest:
                say(f"note: {past.name} is no other than {side}, so there is nothing that crept in")
                return None
        return past

    def _identical(self) -> str:
        if self.base.digest != self.head.digest:
            return ""
        if self.code is not None:
            return f"{self.base.name} and {self.head.name} are one and the same (--force measures all the same)"
        if self.base.benchmarks != self.head.benchmarks:
            return (
                "the packages are identical, and the benchmarks, which differ, are head's for both sides: there is "
                "nothing to compare (--force measures all the same)"
            )
        return "package, benchmarks and build configuration are identical (--force measures all the same)"

    def _filled(self, settings: GateSettings, found: Found) -> GateSettings:
        start = "spawn" if found.on_accelerator or self.code is not None else settings.start
        family, lanes = sharing((*found.cells, *found.failed)), len(_cores(settings.lanes))
        budget = LEAST_BUDGET + BUDGET_OF_A_CELL * max(0, len(found.cells) - SMALL_SUITE)
        if found.past is not None:
            budget *= 1 + 1 / PAST_SHARE
            settings = replace(settings, error_rate=settings.error_rate / 2)
        if start == "spawn":  # each pair imports anew, twice on one core, and each control; half of the pairs in vain
            budget += 2 * 4 * found.starting * pairs_needed(family, settings) / lanes
        return replace(
            settings,
            budget=settings.budget or budget,
            lanes=lanes,
            seed=settings.seed or random.SystemRandom().randrange(1, 2**31),
            pattern=self._request.pattern,
            profile="quick" if self._request.quick else "full",
            start=start,
            family=family,
        )

    def _key(self) -> str:
        """What evidence belongs together: the same content, measured in the same way, on the same machine."""
        parts = [
            self.base.digest,
            self.head.digest,
            self.code and self.code.digest,
            self._benchmarks,
            str(self.project.suite),
            PROTOCOL,
            self.settings.start,
            self._request.plant and self.settings.seed,  # what is planted is no evidence on the versions
            # The host's name is another one for every job on a CI service.
            sorted((name, value) for name, value in self._machine.items() if name != "machine"),
            sorted({f"{found.metadata['Name']} {found.version}" for found in distributions()}),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _changes(changed: tuple[str, ...]) -> str:
    if not changed:
        return ""
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    files = "1 file" if len(changed) == 1 else f"{len(changed)} files"
    return f", {files} changed: {', '.join(changed[:3])}{more}"


def _cores(lanes: int) -> list[int | None]:
    """One core a lane.

    Raises:
        BenchCoreError: if there are fewer.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [None] * (lanes or 1)
    cores = sorted(os.sched_getaffinity(0))
    if lanes > len(cores):
        raise BenchCoreError(f"--lanes {lanes}: a lane needs a core of its own, and there are {len(cores)} here.")
    return list(cores[: lanes or 2])  # more at once has not been measured


def _memory(lanes: int) -> int:
    """Bytes that each worker may take: its share of nine tenths of what is free."""
    return int(0.9 * psutil.virtual_memory().available / (2 * lanes))
