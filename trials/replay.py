"""Judges recorded gates again, and compares the verdicts with the recorded ones.

Trials keep effects to six digits, and without the numbers of their pairs. So an end of an interval may differ in its
sixth digit, and the verdict on all cells together cannot be computed again.

Gates without `pass_error` were recorded when a pass shared the error rate with all cells of its gate, and when all
cells together had a larger share of it. The intervals, regressions and improvements of their cells must be the same
today. A cell that was inconclusive may pass, and the other way around: these are counted.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench_core import units
from bench_core.errors import BenchCoreError
from bench_core.gate.judge.gate import judge
from bench_core.records.gate import CellEvidence, Effect, GateRecord, GateSettings
from bench_core.records.version import Commit
from bench_core.results import gate_file
from trials import looks, ranks
from trials.files import Line, Raw, of_one_protocol
from trials.gates import kept

ROUNDING = 1.1e-6
"""The largest absolute and relative difference between two ends of an interval that rounding can cause: ratios and log
ratios are kept to 1e-6."""

OPEN = {"pass", "inconclusive"}
"""The verdicts between which the rule of a pass decides."""

ALONE = "no cell alone"
"""The beginning of the reason of a gate that was decided by all its cells together."""

DECIMALS = re.compile(r"[0-9]+(?:\.[0-9]+)?")


@dataclass(frozen=True)
class Replay:
    """The result of judging the gates of one file again.

    Attributes:
        gates: the number of gates whose verdict was computed again.
        cells: the number of cells and controls that were judged again.
        skipped: the number of gates that were decided by all cells together and cannot be judged again.
        reworded: the number of reasons with the same numbers in other words.
        differences: a line for each verdict that differs.
        moved: the cells that were recorded with another rule for a pass and have another verdict by today's, counted by
            both.
    """

    gates: int
    cells: int
    skipped: int
    reworded: int
    differences: tuple[str, ...]
    moved: Counter[tuple[str, str]] = field(default_factory=Counter)


def run(folder: Path, say: Callable[[str], None]) -> bool:
    """Replay all trials of a machine. Of A/A gates and of gates with known slowdowns, also tell after how many pairs
    their cells would have been decided, and what a second statistic says.

    Returns:
        Whether all verdicts equal the recorded ones.

    Raises:
        BenchCoreError: if the folder contains no gate.
    """
    found = {path.name: replayed(path) for path in sorted(folder.glob("*.jsonl"))}
    found = {name: one for name, one in found.items() if one.cells}
    if not found:
        raise BenchCoreError(f"{folder} contains no recorded gate. `python -m trials aa` records some.")
    for name, one in found.items():
        say(
            f"{name}: {one.gates} gates and {one.cells} cells judged again, {len(one.differences)} differ; "
            f"{one.skipped} gates decided by all cells together left out; {one.reworded} reasons in other words"
        )
        for (before, now), count in sorted(one.moved.items()):
            say(f"  {units.plural(count, 'cell')} with another rule for a pass: {before} then, {now} now")
        for difference in one.differences:
            say(f"  {difference}")
    for name in ("aa.jsonl", "aa-noisy.jsonl", "detect.jsonl", "detect-busy.jsonl"):
        if name in found:
            say(f"{name}, decided after every pair, and by a second statistic:")
            for line in again(of_one_protocol(Raw(folder / name).read())):
                say(line)
    return not any(one.differences for one in found.values())


def again(lines: Sequence[Line]) -> Iterator[str]:
    """What two rules for a pass, and a second statistic, say of the effects of these gates."""
    groups = looks.groups(lines)
    for what, cells in sorted(groups.items()):
        yield from looks.told(what, cells)
        yield ranks.told(what, cells)
    yield from ranks.pooled(cell for cells in groups.values() for cell in cells if not cell.planted)


def replayed(path: Path) -> Replay:
    """Judge every gate of a file again."""
    gates = cells = skipped = reworded = 0
    moved: Counter[tuple[str, str]] = Counter()
    differences: list[str] = []
    for number, line in enumerate(Raw(path).read(), 1):
        for recorded, again, is_whole in _both(path, line):
            alone = not is_whole and recorded["reason"].startswith(ALONE)
            other_rule = "pass_error" not in recorded["settings"]
            skipped += alone
            gates += not alone
            pairs = [] if alone else [("the gate", recorded, again)]
            for kind in ("cells", "controls"):
                pairs += [(name, cell, again[kind][name]) for name, cell in recorded[kind].items()]
                cells += len(recorded[kind])
            if is_whole and recorded["suite"]:
                pairs.append(("all cells together", recorded["suite"], again["suite"]))
            for what, old, new in pairs:
                is_cell = what not in ("the gate", "all cells together")
                if other_rule and (not is_cell or {old["verdict"], new["verdict"]} <= OPEN):
                    difference = _difference_of_bounds(old, new, is_cell)
                    if is_cell and old["verdict"] != new["verdict"]:
                        moved[old["verdict"], new["verdict"]] += 1
                else:
                    reworded += old["reason"] != new["reason"]
                    difference = _difference(old, new)
                if difference:
                    differences.append(f"line {number}, {what}: {difference}")
    return Replay(gates, cells, skipped, reworded, tuple(differences), moved)


def _both(path: Path, line: Line) -> Iterator[tuple[Line, Line, bool]]:
    """A gate as recorded and as judged again, both in the form of `kept`; then the same for the comparison with the
    past version, if it has one. The third value is whether everything was stored, the numbers of the pairs included."""
    if gate_file.is_gate(line):
        yield kept(dict(line)), _kept(gate_file.read(path)), True
    elif isinstance(line.get("cells"), Mapping) and "control_rejects" in line:
        record = _record(line)
        again = _kept(record)
        yield line, again, False
        if "creep" in line:
            yield line["creep"], again["creep"], False


def _kept(record: GateRecord) -> dict[str, Any]:
    return kept(json.loads(json.dumps(gate_file.to_json(record, judge(record), exit_code=0))))


def _record(line: Line, comparisons: int = 1) -> GateRecord:
    """The part of a record that the verdicts depend on. `comparisons` is the number of comparisons that share the error
    rate: two in a gate with a past version."""
    past = line.get("creep")
    comparisons = 2 if past else comparisons
    asked = line["settings"]
    settings = GateSettings(
        noise_floor=asked["noise_floor"],
        limit=asked["limit"],
        error_rate=GateSettings.error_rate / comparisons,
        pass_error=asked.get("pass_error", GateSettings.pass_error),
    )
    named = re.match("since (.+?), ", line["reason"])  # the only place where the past version's name is kept
    sides = [Commit(name, "", "", "") for name in (named[1] if named else "base", "head")]
    return GateRecord(
        *sides,
        settings=settings,
        machine={},
        date=line["date"],
        seconds=line["seconds"],
        cells=tuple(_cells(line["cells"], 0)),
        controls=tuple(_cells(line["controls"], len(line["cells"]))),
        past=None if past is None else _record(past, comparisons),
    )


def _cells(found: Mapping[str, Line], place: int) -> Iterator[CellEvidence]:
    for number, (name, cell) in enumerate(found.items(), place):
        error = cell["error"]
        side = None if error is None else next((s for s in ("base", "head") if cell["reason"] == f"{s}: {error}"), None)
        # The numbers of the pairs are not known. Each gets another number, so none counts for all cells together.
        effects = tuple(
            Effect(
                pair=1_000_000 * number + pair,
                parent=parent,
                log_ratio=math.nan if log is None else float(log),
                base=1.0,
                head=math.nan if log is None else math.exp(float(log)),
                samples=samples,
                forked_first="base" if first == "b" else "head",
            )
            for pair, (log, parent, first, samples) in enumerate(cell["effects"])
        )
        benchmark = name.partition("(")[0]
        unit = "seconds" if cell["kind"] in ("time", "timeraw") else ""
        yield CellEvidence(name, benchmark, {}, cell["kind"], unit, effects, error=error, error_side=side)


def _difference(old: Line, new: Line) -> str:
    """The difference between two kept judgements; "" without one."""
    if old["verdict"] != new["verdict"] or old.get("unit") != new.get("unit"):
        return f"{old['verdict']} ({old['reason']}), now {new['verdict']} ({new['reason']})"
    if DECIMALS.findall(old["reason"]) != DECIMALS.findall(new["reason"]):
        return f"{old['reason']!r}, now {new['reason']!r}"
    return _difference_of_intervals(old, new)


def _difference_of_bounds(old: Line, new: Line, is_cell: bool) -> str:
    """The difference between two kept judgements that another rule for a pass does not explain; "" without one. A cell
    that passes by one of the rules may be judged by its parents, and have their interval."""
    if (old["verdict"] == "regression") != (new["verdict"] == "regression"):
        return f"{old['verdict']} ({old['reason']}), now {new['verdict']} ({new['reason']})"
    return _difference_of_intervals(old, new) if is_cell and old["unit"] == new["unit"] else ""


def _difference_of_intervals(old: Line, new: Line) -> str:
    if not all(map(_same, old.get("interval", ()), new.get("interval", ()))):
        return f"interval {old['interval']}, now {new['interval']}"
    return ""


def _same(old: float | None, new: float | None) -> bool:
    if old is None or new is None:
        return old is new
    return math.isclose(old, new, rel_tol=ROUNDING, abs_tol=ROUNDING)
