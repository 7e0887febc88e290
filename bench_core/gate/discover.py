"""Which cells two versions have in common, asked of both before anything is timed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench_core.errors import BenchCoreError
from bench_core.gate import lane
from bench_core.records import SIDES, CellEvidence, Side, Version


@dataclass(frozen=True)
class Subjects:
    """What is compared, as workers need it.

    Attributes:
        suite: the folder of the benchmarks, head's for both.
    """

    base: Version
    head: Version
    suite: Path


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
    """

    cells: tuple[CellEvidence, ...]
    left_out: Mapping[str, str]
    failed: tuple[CellEvidence, ...]
    preload: tuple[str, ...]
    declared: list[dict[str, Any]]
    on_accelerator: bool


def find_cells(subjects: Subjects, pattern: str | None, *, quick: bool) -> Found:
    """Ask both sides for their cells, at once.

    Raises:
        BenchCoreError: if one side cannot be imported at all, or no cell matches.
    """
    names: dict[Side, str] = {side: f"{side} ({getattr(subjects, side).name})" for side in SIDES}
    answers: dict[Side, dict[str, Any]] = {}
    with lane.Watchdog() as watchdog, ExitStack() as probes:
        asked: dict[Side, lane.Child] = {}
        for side in SIDES:
            spec = {
                "source": source(subjects, side, watchdog.folder),
                "suite": str(subjects.suite),
                "pattern": pattern,
                "quick": quick,
            }
            asked[side] = lane.Child("bench_core.gate.probe", 0, watchdog)
            probes.callback(asked[side].close)
            asked[side].tell(spec)
        for side in SIDES:
            try:
                answers[side] = asked[side].answer()
            except lane.LostError as error:
                raise BenchCoreError(
                    f"the suite cannot be read with {names[side]}: the process that imports it {error}"
                ) from None
            if "error" in answers[side]:
                raise BenchCoreError(f"{names[side]}: {answers[side]['error']}")
    return compare(answers["base"], answers["head"])


def compare(base: Mapping[str, Any], head: Mapping[str, Any]) -> Found:
    """Which cells can be compared, and what becomes of the others.

    Raises:
        BenchCoreError: if neither side has any that is selected.
    """
    if not base["cells"] and not head["cells"]:
        broken = {**base["broken"], **head["broken"]}
        also = "".join(f" {module} does not import: {error}." for module, error in broken.items())
        raise BenchCoreError(head["none"] + also)
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


def source(subjects: Subjects, side: Side, caches: Path) -> dict[str, Any]:
    version = subjects.base if side == "base" else subjects.head
    packages = sorted({*subjects.base.packages, *subjects.head.packages})
    return {"path": version.path, "packages": packages, "caches": str(caches / side)}
