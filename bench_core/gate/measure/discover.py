"""Finds the cells that two versions have in common, by probing both before anything is timed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from bench_core import clock
from bench_core.errors import BenchCoreError
from bench_core.gate.versions.subjects import Subjects, source
from bench_core.records.gate import SIDES, CellEvidence
from bench_core.records.version import VersionName
from bench_core.workers import child
from bench_core.workers.messages import PROBE, Probed, ProbeFailed, ProbeTask
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
    past: Found | None = None


class NoCellError(BenchCoreError):
    """Neither version has a cell that is selected."""


def find_cells(subjects: Subjects, pattern: str | None, *, quick: bool) -> Found:
    """Probe all versions at once.

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
            asked[side].tell(ProbeTask(own, str(subjects.suite), pattern, quick, flavoured))
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
    past = compare(answers["past"], answers["head"]) if "past" in answers else None
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


def compare(base: Probed, head: Probed) -> Found:
    """Find out which cells can be compared, and why the others cannot.

    Raises:
        NoCellError: if neither side has a selected cell.
    """
    if not base.cells and not head.cells:
        broken = {**base.broken, **head.broken}
        also = "".join(f" {module} does not import: {error}." for module, error in broken.items())
        raise NoCellError(head.none + also)
    declared = {entry["name"]: entry for entry in (*base.declared, *head.declared)}
    on_base, on_head = ({cell.name: cell for cell in answer.cells} for answer in (base, head))
    cells, left_out, failed = [], {}, []
    for name in {**on_base, **on_head}:
        both = [found[name] for found in (on_base, on_head) if name in found]
        cell = both[0]
        unit = declared.get(cell.benchmark, {}).get("unit", "unit")
        evidence = CellEvidence(name, cell.benchmark, cell.params, cell.kind, unit)
        if len(both) == 2:
            if reasons := [one.why_not for one in both if one.why_not]:
                left_out[name] = reasons[0]
            else:
                cells.append(evidence)
            continue
        there, missing, answer = (SIDES[0], SIDES[1], head) if name in on_base else (SIDES[1], SIDES[0], base)
        broken = {module: error for module, error in answer.broken.items() if _declares(module, cell.benchmark)}
        if broken:
            reason = f"its module does not import: {next(iter(broken.values()))}"
            failed.append(replace(evidence, error=reason, error_side=missing))
        else:
            left_out[name] = f"only on {there}"
    for module in base.broken.keys() & head.broken.keys():
        left_out[module] = f"does not import on either side: {head.broken[module]}"
    return Found(
        cells=tuple(cells),
        left_out=left_out,
        failed=tuple(failed),
        preload=tuple(dict.fromkeys([*base.preload, *head.preload])),
        declared=list(declared.values()),
        on_accelerator=any(cell.device not in ("cpu", "meta") for cell in head.cells if not cell.why_not),
    )


def _declares(module: str, benchmark: str) -> bool:
    """Whether the module (``benchmarks.a.b``) declares the benchmark (``a.b.Class.time_x``)."""
    return benchmark.startswith(module.partition(".")[2] + ".")
