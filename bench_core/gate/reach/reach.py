"""Decides which cells a change can reach, from what differs and from what was recorded on both sides.

A cell is unaffected if both sides have run the same code, and nothing of what differs was looked at in another way:
then both sides have done the same, step by step. Whatever cannot be followed makes a cell affected.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench_core import units
from bench_core.compat import WITH_QUALNAMES
from bench_core.gate.measure.discover import Found
from bench_core.gate.reach.changes import Changes, compare
from bench_core.gate.versions.subjects import Subjects, source
from bench_core.records.gate import SIDES, CellEvidence, Side
from bench_core.workers import child
from bench_core.workers.messages import RECORDER, Recorded, RecordTask
from bench_core.workers.recording import EXISTS, MODULE

CELL_TIMEOUT = 10.0
"""The most seconds for recording a cell. A cell that takes longer is affected."""

SECONDS = 20.0
"""The most seconds for recording all cells, before `SECONDS_OF_A_CELL`. Importing torch takes 3 s of them."""

SECONDS_OF_A_CELL = 0.2
"""Seconds that the limit grows by for each cell. Measuring a cell takes about 1.8 s."""

IMPORT = "the import of the suite"

INSTALLED = re.compile(r"^/.*/(?:(?:site|dist)-packages|python3\.\d+)/")
"""The folder of the file of another package, or of Python's library."""

CACHED = "__pycache__/"
"""A part of the place of every compiled file."""


@dataclass(frozen=True)
class Reach:
    """What a change reaches.

    Attributes:
        unaffected: the cells that it cannot reach.
        through: for other cells, through what it reaches them, as the rest of a sentence.
        everything: why all cells count as affected; "" if they do not.
    """

    unaffected: tuple[str, ...] = ()
    through: Mapping[str, str] = field(default_factory=dict)
    everything: str = ""


def can_record() -> bool:
    """Whether this interpreter can record which functions run, by their qualified names."""
    return WITH_QUALNAMES and hasattr(os, "fork") and sys.implementation.name == "cpython"


def reach(subjects: Subjects, found: Found, say: Callable[[str], None]) -> Reach:
    """Find the cells that the change from base to head cannot reach.

    Args:
        say: takes a line on each step.
    """
    if not can_record():
        return Reach(everything="what runs can be recorded only by CPython 3.11 or newer on a system that forks")
    changes = compare(Path(subjects.base.path), Path(subjects.head.path))
    if why := _everything(changes, found):
        return Reach(everything=why)
    inside = [cell for cell in found.cells if cell.kind != "timeraw"]  # which runs in a process of its own
    if not inside:
        return Reach()
    say(f"recording what {units.plural(len(inside), 'cell runs', 'cells run')}")
    return judged(changes, inside, recorded(subjects, found, changes, inside))


def _everything(changes: Changes, found: Found) -> str:
    """Why a recording cannot help; "" if it can."""
    if found.on_accelerator:
        return "cells run on an accelerator, which is not recorded"
    if changes.whole:
        return changes.whole
    return next((how for file, how in changes.scopes.items() if file in found.files), "")


Records = Mapping[Side, Mapping[str, Recorded]]
"""What was recorded of each cell on each side. The key "" stands for the import of the suite."""


def recorded(subjects: Subjects, found: Found, changes: Changes, cells: Iterable[CellEvidence]) -> Records:
    """Record the cells on both sides at once."""
    tasks = tuple(found.asked[cell.name] for cell in cells)
    answers: dict[Side, dict[str, Recorded]] = {side: {} for side in SIDES}
    longest = SECONDS + SECONDS_OF_A_CELL * len(tasks)
    with child.Watchdog() as watchdog, ExitStack() as stack:
        asked: dict[Side, child.Child[RecordTask, Recorded]] = {}
        for number, side in enumerate(SIDES, 1):
            own = source(subjects, side, watchdog.folder)
            # Other hashes and random numbers: what depends on them runs other code, and is seen by that.
            asked[side] = child.Child(RECORDER, number, watchdog, python=own.python, environment=subjects.environment)
            stack.callback(asked[side].close)
            task = RecordTask(
                source=own,
                suite=str(subjects.suite),
                preload=found.preload,
                cells=tasks,
                watched=tuple(sorted(_names(changes.functions))),
                seed=number,
                timeout=CELL_TIMEOUT,
                longest=longest,
                memory=child.memory_for_each(len(SIDES)),
            )
            with suppress(child.LostError):  # reported when the answer is missing
                asked[side].tell(task)
        for name in ("", *(task.name for task in tasks)):
            for side in SIDES:
                if "" in answers[side] and answers[side][""].fault:
                    continue
                try:
                    answers[side][name] = asked[side].answer(child.START_TIMEOUT if not name else longest)
                except child.LostError as error:
                    answers[side][""] = Recorded("", fault=f"its recorder {error}")
    return answers


def judged(changes: Changes, cells: Iterable[CellEvidence], records: Records) -> Reach:
    """What the change reaches. `records` may lack cells, which are then affected."""
    imported = [records[side].get("", Recorded("", fault="it was not recorded")) for side in SIDES]
    for side, one in zip(SIDES, imported, strict=True):
        if one.fault:
            return Reach(everything=f"{IMPORT} with {side}: {one.fault}")
    if why := _reached(changes, *imported):
        return Reach(everything=f"{IMPORT} {why}")
    unaffected, through = [], {}
    for cell in cells:
        base, head = (records[side].get(cell.name, Recorded("", fault="it was not recorded")) for side in SIDES)
        faults = {side: one.fault for side, one in zip(SIDES, (base, head), strict=True) if one.fault}
        if faults:
            side, fault = next(iter(faults.items()))
            through[cell.name] = fault if len(faults) == len(SIDES) else f"with {side}, {fault}"
        elif why := (
            _reached(changes, base, head) or _imports(changes, cell.kind, base, head) or _may_call(changes, base, head)
        ):
            through[cell.name] = why
        else:
            unaffected.append(cell.name)
    return Reach(tuple(unaffected), through)


def _reached(changes: Changes, base: Recorded, head: Recorded) -> str:
    """Through what a change reaches what was recorded, as the rest of a sentence; "" if through nothing."""
    # Two functions of one name may have changed places: then both sides run the same set of code.
    if known := sorted({one.rpartition(" ")[0] for one in (*base.ran, *head.ran)} & changes.functions):
        return f"runs {_shown(known)}"
    if differing := {*base.ran} ^ {*head.ran}:
        places = {one.rpartition(" ")[0] for one in differing}
        scopes = sorted(place for place in places if place.partition(":")[0] in changes.scopes)
        if scopes:
            return f"runs {_shown(scopes)}"
        return f"runs other code each time, such as {_shown(sorted(places))}"
    both = (base, head)
    unlike, listed = changes.files, ("/*", "/") if changes.alone else ("/*",)
    if looked := {one for side in both for one in side.looked if one.partition(":")[0] in unlike}:
        return f"looks at the code of {_shown(sorted(looked & changes.functions or looked))}"
    sought = {f"{name}{EXISTS}" for name in changes.alone}
    files = {one for side in both for one in side.read}
    if read := {one for one in files if one in unlike | sought or one.endswith(listed) or CACHED in one}:
        return f"reads {min(read)}"
    if warned := {one for side in both for one in side.warned} & unlike:
        return f"issues a warning in {sorted(warned)[0]}, where lines may have moved"
    moved = sorted({place.partition(":")[0] for place in base.ran} & unlike)
    if (lines := base.lines or head.lines) and moved:
        return f"runs {_shown([lines])}, which can tell the lines of code, and those in {moved[0]} may have moved"
    if changes.alone and (finds := base.finds or head.finds):
        return f"runs {_shown([finds])}, which can look for modules, and only one side has {min(changes.alone)}"
    return ""


def _imports(changes: Changes, kind: str, base: Recorded, head: Recorded) -> str:
    """Which file that differs a cell may measure the import of: its time and memory grow with all code in the file. In
    a timed call that is repeated, only a module that is imported again takes time."""
    if kind == "time":
        files = {*base.again, *head.again}
    elif kind == "memory":  # the size of an object
        return ""
    else:
        code = (one.rpartition(" ")[0] for one in (*base.ran, *head.ran))
        files = {one.partition(":")[0] for one in code if one.endswith(f":{MODULE}")}
    differing = sorted(files & changes.files)
    return f"imports {_shown(differing)}, which differs" if differing else ""


def _may_call(changes: Changes, base: Recorded, head: Recorded) -> str:
    """Which function that differs a cell may call in another run, since a function that it runs names it."""
    named = {*base.named, *head.named}
    outer = [place for place in changes.functions if "<locals>" not in place]
    functions = sorted(place for place in outer if named & _names([place]))
    if functions:
        return f"may call {_shown(functions)}"
    files = {one.partition(":")[0] for one in (*base.ran, *head.ran)}
    nameless = sorted(place for place in outer if not _names([place]) and place.partition(":")[0] in files)
    return f"may call {_shown(nameless)}" if nameless else ""


def _names(functions: Iterable[str]) -> set[str]:
    """The names by which other functions can call these. A method such as ``__len__`` is called without its name, by
    whoever has an object of the class, so its class must be named. A lambda has no name."""
    found = set()
    for place in functions:
        *around, name = place.partition(":")[2].split(".")
        if name.startswith("__") and name.endswith("__") and around:
            name = around[-1]
        if not name.startswith("<"):
            found.add(name)
    return found


def _outermost(places: Iterable[str]) -> list[str]:
    """The places without functions that are in others of them."""
    every = list(places)
    return [one for one in every if not any(one.startswith(f"{other}.<locals>.") for other in every)]


def _shown(places: Iterable[str]) -> str:
    """The first place, as ``thing.work.slow``, and how many more there are."""
    first, *others = places = _outermost(places)
    file, _, name = first.partition(":")
    file = INSTALLED.sub("", file)
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    shown = module if name in ("", MODULE) else f"{module}.{name}" if file.endswith(".py") else name
    return f"{shown} and {len(others)} more" if others else shown
