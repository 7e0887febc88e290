"""Finds the cells that two versions have in common, by probing both before anything is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from bench_core import clock
from bench_core.errors import BenchCoreError, advised
from bench_core.gate.measure.matching import match
from bench_core.gate.versions.subjects import Subjects, source
from bench_core.records.gate import PART, SIDES, CellEvidence, other_side
from bench_core.records.model import ModelLayout, ModelSpec
from bench_core.records.version import VersionName
from bench_core.workers import child
from bench_core.workers.messages import PROBE, CellTask, Probed, ProbedCell, ProbeFailed, ProbeTask, Source
from bench_core.workers.probe import TOOLKIT


@dataclass(frozen=True)
class Found:
    """What the probes of both sides have found.

    Attributes:
        cells: the cells that both sides have and that run here.
        left_out: the reasons why other cells, or parts of the suite, are left out, by name.
        failed: cells of parts of the suite that cannot be used on one side, cells that cannot be compared, and parts
            that head cannot use and of which no cell is known (kind `PART`).
        preload: modules that belong to neither version.
        declared: what asv stores about each benchmark; head's entry if both sides have one.
        on_accelerator: whether a cell runs on an accelerator.
        unfair: how the environments of the two sides differ, beyond what is compared.
        imported: packages of a version that the suite imports on either side.
        files: files of a version that the suite imports on either side, relative to the version's folder.
        starting: seconds that a process needs to import the suite.
        asked: how workers are asked for each cell, by name.
        renamed: see `GateRecord`.
        past: the same for past and head; None without a past version.
        layout: what the model that was asked for consists of on base; None without one.
        building: seconds that building this model takes, on the side where that is longer.
    """

    cells: tuple[CellEvidence, ...]
    left_out: Mapping[str, str]
    failed: tuple[CellEvidence, ...]
    preload: tuple[str, ...]
    declared: list[Mapping[str, Any]]
    on_accelerator: bool
    unfair: tuple[str, ...] = ()
    imported: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    starting: float = 0.0
    asked: Mapping[str, CellTask] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    past: Found | None = None
    layout: ModelLayout | None = None
    building: float = 0.0


class NoCellError(BenchCoreError):
    """Neither version has a cell that is selected."""


def find_cells(
    subjects: Subjects,
    pattern: str | None,
    *,
    quick: bool,
    timeout: float = 60.0,
    explain: Callable[[str], str] = lambda error: "",
    model: ModelSpec | None = None,
) -> Found:
    """Probe all versions at once.

    Args:
        timeout: seconds for benchmarks without a `timeout` of their own.
        explain: what to add to an error of the suite, see `AsvConfig.explain`.
        model: the model that the benchmarks work on, which is built on each side; None if they have their own.

    Raises:
        BenchCoreError: if no version can be imported at all, or one was imported from elsewhere, or the model cannot be
            built with another version than head.
        NoCellError: if no cell matches.
    """
    names = {name: f"{name} ({version.name})" for name, version in subjects.named.items()}
    brought = {name for version in subjects.named.values() for name in version.packages} if subjects.code else set()
    flavoured = tuple(name for name in VERSIONS if name in brought)

    def task(own: Source) -> ProbeTask:
        return ProbeTask(own, str(subjects.suite), pattern, quick, flavoured, timeout, model)

    began = clock.host()
    answers = _asked(subjects, list(names), task)
    starting = clock.host() - began
    if lost := [name for name, answer in answers.items() if isinstance(answer, child.LostError)]:
        # A single failure proves nothing. If none has answered, the suite ends its process whatever it is run with.
        if len(lost) == len(answers):
            raise BenchCoreError(
                f"the suite cannot be read with {names[lost[0]]}: the process that imports it {answers[lost[0]]}"
            )
        answers |= _asked(subjects, lost, task)
    probed: dict[VersionName, Probed] = {}
    for name, answer in answers.items():
        if isinstance(answer, ProbeFailed):
            raise BenchCoreError(f"{names[name]}: {answer.cause}")
        if isinstance(answer, child.LostError):
            why = f"cannot be imported: the process that imports it {answer}"
            answer = Probed((), f"{subjects.suite.name} {why}.", {subjects.suite.name: why}, (), {}, (), ())
        probed[name] = _explained(answer, explain)
    if model is not None:
        _require_built(model, probed, names)
    found = _found(probed, pattern, installs=subjects.code is not None, starting=starting)
    return found if model is None else _of_model(model, found, probed)


def _require_built(model: ModelSpec, answers: Mapping[VersionName, Probed], names: Mapping[VersionName, str]) -> None:
    """Raises BenchCoreError if a model cannot be built with a version, unless it is head alone, which is head's
    failure."""
    unbuilt = {name: answer.unbuilt for name, answer in answers.items() if answer.unbuilt}
    if not unbuilt or list(unbuilt) == ["head"]:
        return
    name, why = next(iter(unbuilt.items()))
    if len(unbuilt) == len(answers):
        raise BenchCoreError(f"{model.target} can be built with no version. With {names[name]}: {why}")
    raise BenchCoreError(
        f"{model.target} cannot be built with {names[name]}, so there is nothing to compare with: {why}"
    )


def _of_model(model: ModelSpec, found: Found, answers: Mapping[VersionName, Probed]) -> Found:
    """The same, for benchmarks of a model. If head cannot build it, that is the one failure, and no cell is known."""
    found = replace(
        found,
        layout=answers["base"].layout,
        building=max(answers[side].building for side in SIDES),
        on_accelerator=model.device not in ("cpu", "meta"),
    )
    if not (why := answers["head"].unbuilt):
        return found
    failure = CellEvidence(model.target, model.target, {}, PART, "", error=why, error_side="head")
    return replace(found, cells=(), failed=(failure,), left_out={}, past=None)


def _asked(
    subjects: Subjects, names: Sequence[VersionName], task: Callable[[Source], ProbeTask]
) -> dict[VersionName, Probed | ProbeFailed | child.LostError]:
    """What the probes of these versions answer, or how they were lost."""
    answers: dict[VersionName, Probed | ProbeFailed | child.LostError] = {}
    with child.Watchdog() as watchdog, ExitStack() as probes:
        asked: dict[VersionName, child.Child[ProbeTask, Probed | ProbeFailed]] = {}
        for name in names:
            own = source(subjects, name, watchdog.folder)
            asked[name] = child.Child(PROBE, 0, watchdog, python=own.python, environment=subjects.environment)
            probes.callback(asked[name].close)
            asked[name].tell(task(own))
        for name in names:
            try:
                answers[name] = asked[name].answer()
            except child.LostError as error:
                answers[name] = error
    return answers


def _explained(answer: Probed, explain: Callable[[str], str]) -> Probed:
    broken = {name: advised(reason, explain(reason.partition(": ")[2])) for name, reason in answer.broken.items()}
    return replace(answer, broken=broken)


def _found(answers: Mapping[VersionName, Probed], pattern: str | None, *, installs: bool, starting: float) -> Found:
    """What the answers of all versions say. `installs` is whether two installs or interpreters are compared."""
    whole = pattern is None
    found = compare(answers["base"], answers["head"], whole=whole)
    may_differ = {*(VERSIONS if installs else ()), *(() if found.on_accelerator else (TOOLKIT,))}
    base, head = (
        {name: what for name, what in answers[side].flavour.items() if name not in may_differ} for side in SIDES
    )
    past = compare(answers["past"], answers["head"], older="past", whole=whole) if "past" in answers else None
    return replace(
        found,
        unfair=unfair(base, head),
        imported=frozenset(name for answer in answers.values() for name in answer.imported),
        files=frozenset(name for answer in answers.values() for name in answer.files),
        starting=starting,
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


def compare(base: Probed, head: Probed, *, older: VersionName = "base", whole: bool = True) -> Found:
    """Find out which cells can be compared, and why the others cannot.

    Args:
        older: what the older side is called.
        whole: whether the whole suite was asked for, and not only what a pattern selects.

    Raises:
        NoCellError: if neither side has a selected cell.
    """
    if not any(cell.selected for side in (base, head) for cell in side.cells):
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
    left_out |= dict(_without_cells(base, head, older))
    for name, reason in _unnamed(base, head, tuple(failed), older):
        part = CellEvidence(name, name, {}, PART, "")
        if name not in head.broken or not whole:
            left_out[name] = reason
        elif name in base.broken:
            failed.append(replace(part, error=reason))
        else:
            failed.append(replace(part, error=head.broken[name], error_side="head"))
    return Found(
        cells=tuple(cells),
        left_out=left_out,
        failed=tuple(failed),
        preload=tuple(dict.fromkeys([*base.preload, *head.preload])),
        declared=list(declared.values()),
        on_accelerator=any(theirs.device not in ("cpu", "meta") for _, theirs in matched.both if not theirs.why_not),
        asked={theirs.name: _task(ours, theirs) for ours, theirs in matched.both},
        renamed={theirs.name: ours.name for ours, theirs in matched.both if ours.name != theirs.name},
    )


def _unnamed(
    base: Probed, head: Probed, failed: Sequence[CellEvidence], older: VersionName
) -> Iterator[tuple[str, str]]:
    """The parts of the suite that cannot be used on one side or both, without those that a failed cell names."""
    for name in {**base.broken, **head.broken}:
        if name in base.broken and name in head.broken:
            yield name, f"on both sides, it {head.broken[name]}"
        elif not any(_declares(name, cell.benchmark) for cell in failed):
            there, side = (older, base) if name in base.broken else ("head", head)
            yield name, f"on {there}, it {side.broken[name]}"


def _without_cells(base: Probed, head: Probed, older: VersionName) -> Iterator[tuple[str, str]]:
    """What has no cells although asv does not object to it, with the side if it is one."""
    for name in {**base.left_out, **head.left_out}:
        if name in base.left_out and name in head.left_out:
            yield name, head.left_out[name]
        else:
            there, side = (older, base) if name in base.left_out else ("head", head)
            yield name, f"on {there}, {side.left_out[name]}"


def _evidence(cell: ProbedCell, declared: Mapping[str, Mapping[str, Any]]) -> CellEvidence:
    unit = declared.get(cell.benchmark, {}).get("unit", "unit")
    return CellEvidence(cell.name, cell.benchmark, cell.params, cell.kind, unit)


def _task(ours: ProbedCell, theirs: ProbedCell) -> CellTask:
    return CellTask(theirs.name, timeout=theirs.timeout, index=theirs.index if ours.name != theirs.name else None)


def _declares(broken: str, benchmark: str) -> bool:
    """Whether what is broken (``benchmarks.a.b``, with the suite's package) declares a benchmark (``a.b.time_x``)."""
    own = broken.partition(".")[2]
    return not own or benchmark == own or benchmark.startswith(f"{own}.")
