"""Finds the cells that two versions have in common, by probing both before anything is timed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from bench_core import clock
from bench_core.errors import BenchCoreError
from bench_core.gate.measure.matching import match
from bench_core.gate.versions.subjects import Subjects, source
from bench_core.records.gate import SIDES, CellEvidence, other_side
from bench_core.records.version import VersionName
from bench_core.workers import child
from bench_core.workers.messages import PROBE, CellTask, Probed, ProbedCell, ProbeFailed, ProbeTask
from bench_core.workers.probe import TOOLKIT


@dataclass(frozen=True)
class Found:
    """What the probes of both sides have found.

    Attributes:
        cells: the cells that both sides have and that run here.
        left_out: the reasons why other cells or modules are left out, by name.
        failed: cells of modules that do not import on one side.
        preload: modules that belong to neither version.
        declared: what asv stores about each benchmark; head's entry if both sides have one.
        on_accelerator: whether a cell runs on an accelerator.
        unfair: how the environments of the two sides differ, beyond what is compared.
        imported: packages of a version that the suite imports on either side.
        starting: seconds that a process needs to import the suite.
        asked: how workers are asked for each cell, by name.
        renamed: see `GateRecord`.
        past: the same for past and head; None without a past version.
    """

    cells: tuple[CellEvidence, ...]
    left_out: Mapping[str, str]
    failed: tuple[CellEvidence, ...]
    preload: tuple[str, ...]
    declared: list[Mapping[str, Any]]
    on_accelerator: bool
    unfair: tuple[str, ...] = ()
    imported: frozenset[str] = frozenset()
    starting: float = 0.0
    asked: Mapping[str, CellTask] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    past: Found | None = None


class NoCellError(BenchCoreError):
    """Neither version has a cell that is selected."""


def find_cells(subjects: Subjects, pattern: str | None, *, quick: bool, timeout: float = 60.0) -> Found:
    """Probe all versions at once.

    Args:
        timeout: seconds for benchmarks without a `timeout` of their own.

    Raises:
        BenchCoreError: if a version cannot be imported at all.
        NoCellError: if no cell matches.
    """
    names = {name: f"{name} ({version.name})" for name, version in subjects.named.items()}
    brought = {name for version in subjects.named.values() for name in version.packages} if subjects.code else set()
    answers: dict[VersionName, Probed] = {}
    began = clock.host()
    with child.Watchdog() as watchdog, ExitStack() as probes:
        asked: dict[VersionName, child.Child[ProbeTask, Probed | ProbeFailed]] = {}
        for side in names:
            own = source(subjects, side, watchdog.folder)
            flavoured = tuple(name for name in VERSIONS if name in brought)
            asked[side] = child.Child(PROBE, 0, watchdog, python=own.python)
            probes.callback(asked[side].close)
            asked[side].tell(ProbeTask(own, str(subjects.suite), pattern, quick, flavoured, timeout))
        for side in names:
            try:
                answer = asked[side].answer()
            except child.LostError as error:
                raise BenchCoreError(
                    f"the suite cannot be read with {names[side]}: the process that imports it {error}"
                ) from None
            if isinstance(answer, ProbeFailed):
                raise BenchCoreError(f"{names[side]}: {answer.cause}")
            answers[side] = answer
    found = compare(answers["base"], answers["head"])
    may_differ = {*(VERSIONS if subjects.code else ()), *(() if found.on_accelerator else (TOOLKIT,))}
    base, head = (
        {name: what for name, what in answers[side].flavour.items() if name not in may_differ} for side in SIDES
    )
    past = compare(answers["past"], answers["head"], older="past") if "past" in answers else None
    return replace(
        found,
        unfair=unfair(base, head),
        imported=frozenset(name for answer in answers.values() for name in answer.imported),
        starting=clock.host() - began,
        past=past,
    )


VERSIONS = ("torch", "numpy")
"""Flavours that may differ between two installs. They are what is compared, or are reported elsewhere
(`Prepared.besides`)."""


def unfair(base: Mapping[str, str], head: Mapping[str, str]) -> tuple[str, ...]:
    """The known differences between two flavours (see `probe.flavour`), one phrase each."""
    return tuple(
        f"{name}: {base[name]} on base, {head[name]} on head"
        for name in sorted(base.keys() & head.keys())
        if base[name] != head[name]
    )


def compare(base: Probed, head: Probed, *, older: VersionName = "base") -> Found:
    """Find out which cells can be compared, and why the others cannot.

    Args:
        older: what the older side is called.

    Raises:
        NoCellError: if neither side has a selected cell.
    """
    if not base.cells and not head.cells:
        broken = {**base.broken, **head.broken}
        also = "".join(f" {name} {reason}." for name, reason in broken.items() if name not in head.none)
        raise NoCellError(head.none + also)
    declared = {entry["name"]: entry for entry in (*base.declared, *head.declared)}
    matched = match(base, head, older)
    cells, failed = [], [replace(_evidence(cell, declared), error=reason) for cell, reason in matched.unlike]
    left_out = dict(matched.apart)
    for ours, theirs in matched.both:
        evidence = _evidence(theirs, declared)
        if theirs.why_not and not ours.why_not:
            failed.append(replace(evidence, error=f"skips itself: {theirs.why_not}", error_side="head"))
        elif reason := ours.why_not:
            left_out[theirs.name] = reason if theirs.why_not else f"skips itself on {older}: {reason}"
        else:
            cells.append(evidence)
    for cell, side in matched.alone:
        there, answer = (older, head) if side == "base" else ("head", base)
        reasons = [f"{name} {reason}" for name, reason in answer.broken.items() if _declares(name, cell.benchmark)]
        if reasons:
            failed.append(replace(_evidence(cell, declared), error=reasons[0], error_side=other_side(side)))
        else:
            left_out[cell.name] = f"only on {there}"
    for name in base.broken.keys() & head.broken.keys():
        left_out[name] = f"on both sides, it {head.broken[name]}"
    return Found(
        cells=tuple(cells),
        left_out=left_out,
        failed=tuple(failed),
        preload=tuple(dict.fromkeys([*base.preload, *head.preload])),
        declared=list(declared.values()),
        on_accelerator=any(cell.device not in ("cpu", "meta") for cell in head.cells if not cell.why_not),
        asked={theirs.name: _asked(ours, theirs) for ours, theirs in matched.both},
        renamed={theirs.name: ours.name for ours, theirs in matched.both if ours.name != theirs.name},
    )


def _evidence(cell: ProbedCell, declared: Mapping[str, Mapping[str, Any]]) -> CellEvidence:
    unit = declared.get(cell.benchmark, {}).get("unit", "unit")
    return CellEvidence(cell.name, cell.benchmark, cell.params, cell.kind, unit)


def _asked(ours: ProbedCell, theirs: ProbedCell) -> CellTask:
    return CellTask(theirs.name, timeout=theirs.timeout, index=theirs.index if ours.name != theirs.name else None)


def _declares(broken: str, benchmark: str) -> bool:
    """Whether what is broken (``benchmarks.a.b``, with the suite's package) declares a benchmark (``a.b.time_x``)."""
    own = broken.partition(".")[2]
    return not own or benchmark == own or benchmark.startswith(f"{own}.")
