"""Which cells two versions have in common, asked of both before anything is timed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from bench_core import clock
from bench_core.errors import BenchCoreError
from bench_core.gate.versions.subjects import Subjects, source
from bench_core.gate.workers import child
from bench_core.gate.workers.probe import TOOLKIT
from bench_core.records.gate import SIDES, CellEvidence
from bench_core.records.version import VersionName


@dataclass(frozen=True)
class Found:
    """What the probes of both sides say.

    Attributes:
        cells: that both have and that run here.
        left_out: name to reason.
        failed: cells of modules that do not import on one side.
        preload: modules that belong to neither version.
        declared: what asv keeps of each benchmark; head's, where both have it.
        on_accelerator: some cell runs on one.
        unfair: in what the two sides' environments differ, beyond what is compared.
        imported: packages that belong to a version and that either side's suite imports.
        starting: seconds that a process of either side takes until it has imported the suite.
        past: the same of head and a third version, in the place of base.
    """

    cells: tuple[CellEvidence, ...]
    left_out: Mapping[str, str]
    failed: tuple[CellEvidence, ...]
    preload: tuple[str, ...]
    declared: list[dict[str, Any]]
    on_accelerator: bool
    unfair: tuple[str, ...] = ()
    imported: frozenset[str] = frozenset()
    starting: float = 0.0
    past: Found | None = None


class NoCellError(BenchCoreError):
    """No version has a cell that is selected."""


def find_cells(subjects: Subjects, pattern: str | None, *, quick: bool) -> Found:
    """Ask all versions for their cells, at once.

    Raises:
        BenchCoreError: if one cannot be imported at all; `NoCellError` if no cell matches.
    """
    names = {name: f"{name} ({version.name})" for name, version in subjects.named.items()}
    brought = {name for version in subjects.named.values() for name in version.packages} if subjects.code else set()
    answers: dict[VersionName, dict[str, Any]] = {}
    began = clock.host()
    with child.Watchdog() as watchdog, ExitStack() as probes:
        asked: dict[VersionName, child.Child] = {}
        for side in names:
            own = source(subjects, side, watchdog.folder)
            spec = {
                "source": own,
                "suite": str(subjects.suite),
                "pattern": pattern,
                "quick": quick,
                "flavoured": [name for name in VERSIONS if name in brought],
            }
            asked[side] = child.Child("bench_core.gate.workers.probe", 0, watchdog, python=own["python"])
            probes.callback(asked[side].close)
            asked[side].tell(spec)
        for side in names:
            try:
                answers[side] = asked[side].answer()
            except child.LostError as error:
                raise BenchCoreError(
                    f"the suite cannot be read with {names[side]}: the process that imports it {error}"
                ) from None
            if "error" in answers[side]:
                raise BenchCoreError(f"{names[side]}: {answers[side]['error']}")
    found = compare(answers["base"], answers["head"])
    may_differ = {*(VERSIONS if subjects.code else ()), *(() if found.on_accelerator else (TOOLKIT,))}
    base, head = (
        {name: what for name, what in answers[side]["flavour"].items() if name not in may_differ} for side in SIDES
    )
    past = compare(answers["past"], answers["head"]) if "past" in answers else None
    return replace(
        found,
        unfair=unfair(base, head),
        imported=frozenset(name for answer in answers.values() for name in answer["imported"]),
        starting=clock.host() - began,
        past=past,
    )


VERSIONS = ("torch", "numpy")
"""What may differ between two installs: it is what was asked for, or is named among what else differs."""


def unfair(base: Mapping[str, str], head: Mapping[str, str]) -> tuple[str, ...]:
    """In what two flavours (see `probe.flavour`) are known to differ: one sentence each."""
    return tuple(
        f"{name}: {base[name]} on base, {head[name]} on head"
        for name in sorted(base.keys() & head.keys())
        if base[name] != head[name]
    )


def compare(base: Mapping[str, Any], head: Mapping[str, Any]) -> Found:
    """Which cells can be compared, and what becomes of the others.

    Raises:
        NoCellError: if neither side has any that is selected.
    """
    if not base["cells"] and not head["cells"]:
        broken = {**base["broken"], **head["broken"]}
        also = "".join(f" {module} does not import: {error}." for module, error in broken.items())
        raise NoCellError(head["none"] + also)
    declared = {entry["name"]: entry for entry in (*base["declared"], *head["declared"])}
    by_side = {
        side: {cell["name"]: cell for cell in answer["cells"]} for side, answer in (("base", base), ("head", head))
    }
    cells, left_out, failed = [], {}, []
    for name in {**by_side["base"], **by_side["head"]}:
        on_base, on_head = by_side["base"].get(name), by_side["head"].get(name)
        cell = on_base or on_head
        assert cell is not None
        evidence = CellEvidence(
            name=name,
            benchmark=cell["benchmark"],
            params=cell["params"],
            kind=cell["kind"],
            unit=declared.get(cell["benchmark"], {}).get("unit", "unit"),
        )
        if on_base and on_head:
            reasons = [found["why_not"] for found in (on_base, on_head) if found["why_not"]]
            if reasons:
                left_out[name] = reasons[0]
            else:
                cells.append(evidence)
            continue
        there, missing = SIDES if on_base else reversed(SIDES)
        answer = head if missing == "head" else base
        broken = {module: error for module, error in answer["broken"].items() if _declares(module, cell["benchmark"])}
        if broken:
            reason = f"its module does not import: {next(iter(broken.values()))}"
            failed.append(replace(evidence, error=reason, error_side=missing))
        else:
            left_out[name] = f"only on {there}"
    for module in base["broken"].keys() & head["broken"].keys():
        left_out[module] = f"does not import on either side: {head['broken'][module]}"
    return Found(
        cells=tuple(cells),
        left_out=left_out,
        failed=tuple(failed),
        preload=tuple(dict.fromkeys([*base["preload"], *head["preload"]])),
        declared=list(declared.values()),
        on_accelerator=any(cell["device"] not in ("cpu", "meta") for cell in head["cells"] if not cell["why_not"]),
    )


def _declares(module: str, benchmark: str) -> bool:
    """Whether the module (``benchmarks.a.b``) is the one of the benchmark (``a.b.Class.time_x``)."""
    return benchmark.startswith(module.partition(".")[2] + ".")
