"""What a gate's report says in every form: the cells by their verdicts, and the sentences around them."""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench_core import units
from bench_core.records.gate import SIDES, CellEvidence, GateRecord, GateVerdict, Judgement, Noise, VerdictName
from bench_core.records.results import Tally
from bench_core.records.run import Interval
from bench_core.records.version import Commit, Install, Interpreter, Version, WorkingTree
from bench_core.results.gate_file import middle

LONGEST = 20
"""Rows of a list; the rest is counted."""

LARGEST = "Largest estimates, none of them red alone"

FEW = 6
"""Packages that are named."""


@dataclass(frozen=True)
class Commands:
    """What measures the cells of a record again, with every option but ``--bench``.

    Attributes:
        creep: those against the third version; "" without one.
    """

    gate: str
    creep: str = ""


@dataclass(frozen=True)
class Row:
    """A cell with its judgement."""

    cell: CellEvidence
    judged: Judgement

    @property
    def change(self) -> str:
        return effect(self.judged.ratio)

    @property
    def times(self) -> tuple[str, str]:
        """Base and head."""
        base, head = (value(middle(self.cell, side), self.cell.unit) for side in SIDES)
        return base, head

    @property
    def pairs(self) -> str:
        text = _count(len(self.cell.effects), "pair")
        if self.judged.unit == "parent":
            parents = len({pair.parent for pair in self.cell.effects})
            text += f", judged as {_count(parents, 'parent process', 'es')}"
        return text

    @property
    def detectable(self) -> str:
        """The smallest slowdown that would have been red."""
        return percent(1 + self.judged.detectable) if math.isfinite(self.judged.detectable) else "none"


@dataclass(frozen=True)
class Groups:
    """The cells by what they mean, each list with the most important first.

    Attributes:
        broken: those that fail with head only.
        failed: those that fail otherwise.
    """

    broken: tuple[Row, ...]
    slower: tuple[Row, ...]
    unknown: tuple[Row, ...]
    faster: tuple[Row, ...]
    passed: tuple[Row, ...]
    failed: tuple[Row, ...]

    @property
    def all(self) -> tuple[Row, ...]:
        return self.broken + self.slower + self.unknown + self.failed + self.faster + self.passed


def percent(ratio: float) -> str:
    """A ratio as the change that it is: ``+5.2 %``; from 10 on as itself, ``12x``."""
    if not math.isfinite(ratio):
        return "n/a"
    if ratio >= 10:
        return units.ratio(ratio)
    return f"{round(100 * (ratio - 1), 1) + 0.0:+.1f} %"  # + 0.0: no "-0.0"


def effect(ratio: Interval) -> str:
    """``+5.2 % (+4.1 … +6.3 %)``; an end that the pairs cannot tell is left out."""
    if math.isnan(ratio.middle):
        return "n/a"
    bounded_below, bounded_above = ratio.low > 0, math.isfinite(ratio.high)
    low, high = percent(ratio.low), percent(ratio.high)
    if bounded_below and bounded_above:
        shared = low.endswith(" %") and high.endswith(" %")
        ends = f"{low.removesuffix(' %') if shared else low} … {high}"
    elif bounded_below or bounded_above:
        ends = f"at least {low}" if bounded_below else f"at most {high}"
    else:
        ends = "?"
    return f"{percent(ratio.middle)} ({ends})"


def value(found: float, unit: str) -> str:
    """A time, a size or a tracked value, with its unit."""
    if math.isnan(found):
        return "n/a"
    if unit == "seconds":
        return units.time(found)
    return units.size(found) if unit == "bytes" else f"{found:.4g} {unit}"


def reproducing(command: str, name: str) -> str:
    """The command that measures one cell alone, and anew: in the evidence that there is, it is decided.

    Args:
        command: what measures them all, with every option but ``--bench``.
    """
    # re.escape guards against verbose patterns, which ours are not; spaces and hyphens are read more easily bare.
    pattern = re.sub(r"\\([ \-])", r"\1", re.escape(name))
    return f"{command} --fresh --bench {shlex.quote(f'^{pattern}$')}"


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number:,} {what}{'' if number == 1 else plural}"


def grouped(record: GateRecord, verdict: GateVerdict) -> Groups:
    rows = [Row(*both) for both in zip(record.cells, verdict.cells, strict=True)]

    def those(name: VerdictName, key: Callable[[Row], float]) -> tuple[Row, ...]:
        return tuple(sorted((row for row in rows if row.judged.verdict == name), key=key))

    def order(row: Row) -> float:
        return math.inf if math.isnan(row.judged.ratio.middle) else -row.judged.ratio.middle

    errors = those("error", lambda row: 0)
    return Groups(
        broken=tuple(row for row in errors if row.cell.error_side == "head"),
        slower=those("regression", order),
        unknown=those("inconclusive", order),
        faster=those("improvement", lambda row: row.judged.ratio.middle),
        passed=those("pass", lambda row: -row.judged.ratio.high),
        failed=tuple(row for row in errors if row.cell.error_side != "head"),
    )


def version(version: Version) -> str:
    match version:
        case Commit(name, hash) if not hash.startswith(name):
            return f"{name} {hash[:8]}"
        case Commit(hash=hash):
            return hash[:8]
        case WorkingTree(changed=changed) if changed:
            return f"{version.name} ({_count(len(changed), 'file')} changed)"
        case WorkingTree(below=hash):
            return f"{version.name} {hash[:8]}"
        case Install() | Interpreter():
            return version.name


def _compared(record: GateRecord) -> str:
    code = "" if record.code is None else f", with {version(record.code)}"
    return f"head {version(record.head)} against base {version(record.base)}{code}"


def besides(record: GateRecord) -> str:
    """What else differs, as far as two lines hold it."""
    more = f", and {len(record.besides) - FEW} more; --json FILE keeps them all" if len(record.besides) > FEW else ""
    return f"differs, too: {', '.join(record.besides[:FEW])}{more}"


def circumstances(record: GateRecord) -> str:
    return f"{_compared(record)}, {units.time(record.seconds)}, seed {record.settings.seed}"


def explained_alone(found: Groups, record: GateRecord) -> tuple[Row, ...]:
    """Cells that are explained and not red, the largest estimate first."""
    explained = {one.cell for one in record.causes}
    rows = [row for row in found.all if row.cell.name in explained and row.judged.verdict != "regression"]
    return tuple(sorted(rows, key=lambda row: -row.judged.ratio.middle))


def passed(found: Groups) -> str:
    return f"{len(found.passed)} pass, each at most {percent(found.passed[0].judged.ratio.high)}"


def closing(record: GateRecord, verdict: GateVerdict, tally: Tally | None) -> Iterator[str]:
    """One line each: what holds for the gate and not for a cell."""
    if verdict.suite is not None:
        yield f"suite as a whole: {effect(verdict.suite.ratio)}, {verdict.suite.verdict}"
    if record.creep is not None and verdict.creep is not None:
        yield from _crept(record.creep, verdict.creep)
    if record.controls:
        yield _control(record, verdict, tally)
    yield from _noise(verdict.noise, record.settings.noise_floor)
    if record.resumed:
        yield f"taken over from earlier gates on these versions: {_count(record.resumed, 'pair')}"
    reasons = Counter(record.left_out.values()).most_common()
    yield from (f"left out: {_count(count, 'cell')}: {reason}" for reason, count in reasons[:LONGEST])
    if len(reasons) > LONGEST:
        yield f"left out for {len(reasons) - LONGEST} more reasons; --json FILE keeps them all"


def _crept(record: GateRecord, verdict: GateVerdict) -> Iterator[str]:
    """What small steps since the third version add up to, whatever each of them was."""
    since = f"since {version(record.base)}"
    found = grouped(record, verdict)
    groups = (("slower", found.slower), ("inconclusive", found.unknown), ("faster", found.faster))
    parts = [f"{len(rows)} {what}" for what, rows in groups if rows]
    parts += [passed(found)] if found.passed else []
    yield f"{since}: {', '.join(parts) or 'nothing could be compared'}"
    if verdict.suite is not None:
        yield f"  suite as a whole: {effect(verdict.suite.ratio)}, {verdict.suite.verdict}"
    missing = len(record.left_out) + len(found.broken) + len(found.failed)
    if missing:
        yield f"  {_count(missing, 'cell')} cannot be compared with it; --json FILE says why"


def _control(record: GateRecord, verdict: GateVerdict, tally: Tally | None) -> str:
    rejecting = sum(judged.rejects for judged in verdict.controls)
    failed = sum(judged.verdict == "error" for judged in verdict.controls)
    text = f"control: {_count(len(record.controls), 'cell')} of base against itself, {rejecting or 'none'} rejects"
    text += f", {failed} failed" if failed else ""
    if tally is not None and tally.controls:
        bounds = f"{100 * tally.low:.1f} to {100 * tally.high:.1f} %"
        text += f"; {_count(tally.controls, 'control')} so far, {tally.rejected} rejected ({bounds})"
        text += f", {_count(tally.damaged, 'line')} of the ledger cut off" if tally.damaged else ""
    return text


_CAUSES: tuple[tuple[str, str, Callable[[Noise], float], str], ...] = (
    (
        "within a pair",
        "samples scatter inside a pair",
        lambda noise: noise.within,
        "something else uses this machine, and `bench-core doctor` names what it can see; a larger --budget helps",
    ),
    (
        "between pairs",
        "each process settles at a speed of its own",
        lambda noise: _beyond(noise.between_pairs, noise.within),
        "longer samples would not help, more pairs do (a larger --budget, or fewer cells)",
    ),
    (
        "between parents",
        "all pairs of one parent process share its speed",
        lambda noise: noise.between_parents,
        "only more parent processes help (a larger --budget, or fewer cells)",
    ),
    (
        "order",
        "what is sampled second differs from what is sampled first",
        lambda noise: noise.order,
        "each side is first equally often, so no side gains; pinning and a fixed frequency (`bench-core doctor`) help",
    ),
    (
        "forked first",
        "what is forked first differs from what is forked second",
        lambda noise: noise.forked_first,
        "each side is first equally often, so no side gains; a larger --budget evens it out",
    ),
)


def _beyond(whole: float, part: float) -> float:
    """What a standard deviation holds beyond another; NaN if either is."""
    left = whole**2 - part**2
    return math.nan if math.isnan(left) else math.sqrt(max(0.0, left))


def _noise(noise: Noise, floor: float) -> Iterator[str]:
    """The causes with their sizes, and what to do about the largest; what a cause includes of another is taken off."""
    sizes = [(size(noise), name, what, advice) for name, what, size, advice in _CAUSES]
    known = [found for found in sizes if not math.isnan(found[0])]
    if not known:
        return
    alike = "" if math.isnan(noise.likeness) else f"; pairs of one parent are alike by {noise.likeness:.2f} of 1"
    yield f"noise: {', '.join(f'{name} {100 * size:.1f} %' for size, name, _, _ in known)}{alike}"
    largest, _, what, advice = max(known, key=lambda found: found[0])
    if largest > floor:
        yield f"  {what}: {advice}"
