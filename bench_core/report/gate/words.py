"""The parts that all forms of a gate's report share: the cells by their verdicts, and the sentences."""

from __future__ import annotations

import math
import re
import shlex
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench_core import units
from bench_core.errors import brief, brief_in
from bench_core.records.gate import PART, SIDES, GateRecord, GateVerdict, JudgedCell, Noise, VerdictName
from bench_core.records.model import ModelSpec
from bench_core.records.results import Tally
from bench_core.records.run import Interval
from bench_core.records.version import Commit, Install, Interpreter, Version, WorkingTree

LONGEST = 20
"""The most rows of a list. The others are only counted."""

LARGEST = "Largest estimates; none is a regression by itself"

FEW = 6
"""The most packages that are named in a line."""

CONTROL_DIFFERS = (
    "A control found a difference between base and itself. The machine caused it, so no regression of this gate can be "
    "believed."
)

MORE = "more; --json FILE keeps them all"


@dataclass(frozen=True)
class GateCommands:
    """The commands that measure the cells of a record again, with every option except ``--bench``. `past` is the
    command for the comparison with the past version; "" without one."""

    gate: str
    past: str = ""


@dataclass(frozen=True)
class Groups:
    """The cells of a gate in groups. Each group begins with the most important cell.

    Attributes:
        broken: cells that fail with head only.
        unknown: inconclusive cells.
        unreached: inconclusive cells of which nothing was measured.
        failed: cells that fail otherwise.
    """

    broken: tuple[JudgedCell, ...]
    slower: tuple[JudgedCell, ...]
    unknown: tuple[JudgedCell, ...]
    unreached: tuple[JudgedCell, ...]
    faster: tuple[JudgedCell, ...]
    passed: tuple[JudgedCell, ...]
    failed: tuple[JudgedCell, ...]

    @property
    def all(self) -> tuple[JudgedCell, ...]:
        return self.broken + self.slower + self.unknown + self.unreached + self.failed + self.faster + self.passed


def grouped(cells: Iterable[JudgedCell]) -> Groups:
    cells = tuple(cells)

    def those(name: VerdictName, key: Callable[[JudgedCell], float]) -> tuple[JudgedCell, ...]:
        return tuple(sorted((cell for cell in cells if cell.verdict == name), key=key))

    def order(cell: JudgedCell, sign: int = -1) -> float:
        return math.inf if math.isnan(cell.judgement.ratio.middle) else sign * cell.judgement.ratio.middle

    errors, unknown = those("error", lambda cell: 0), those("inconclusive", order)
    return Groups(
        broken=tuple(cell for cell in errors if cell.evidence.error_side == "head"),
        slower=those("regression", lambda cell: -cell.judgement.ratio.low),
        unknown=tuple(cell for cell in unknown if cell.evidence.effects),
        unreached=tuple(cell for cell in unknown if not cell.evidence.effects),
        faster=those("improvement", lambda cell: order(cell, 1)),
        passed=those("pass", lambda cell: -cell.judgement.at_most.value),
        failed=tuple(cell for cell in errors if cell.evidence.error_side != "head"),
    )


def worse(cells: Iterable[JudgedCell]) -> str:
    """What these regressions are: ``slower``, ``larger``, or ``slower or larger``."""
    return units.slower_or_larger(cell.evidence.is_timed for cell in cells)


def better(cells: Iterable[JudgedCell]) -> str:
    """What these improvements are: ``faster``, ``smaller``, or ``faster or smaller``."""
    return units.faster_or_smaller(cell.evidence.is_timed for cell in cells)


def headline(verdict: GateVerdict) -> str:
    """The verdict in one sentence, with long names of cells cut."""
    return shortened(verdict.reason, verdict)


def shortened(text: str, verdict: GateVerdict) -> str:
    """A text of the verdict, with long names of its cells cut."""
    return brief_in(text, (cell.name for cell in (*verdict.cells, *(verdict.past.cells if verdict.past else ()))))


def effect(ratio: Interval) -> str:
    """A ratio with its interval: ``+5.2 % (+4.1 … +6.3 %)``, ``25x (8.26x … 76x)``. An infinite end is left out."""
    if not math.isfinite(ratio.middle):
        return "n/a" if math.isnan(ratio.middle) else "infinite"
    bounded_below, bounded_above = ratio.low > 0, math.isfinite(ratio.high)
    middle, low, high = units.changes(ratio.middle, ratio.low if bounded_below else math.nan, ratio.high)
    if bounded_below and bounded_above:
        ends = f"{low.removesuffix(' %')} … {high}"
    elif bounded_below or bounded_above:
        ends = f"at least {low}" if bounded_below else f"at most {high}"
    else:
        ends = "no interval yet"
    return f"{middle} ({ends})"


def change(cell: JudgedCell) -> str:
    """The estimate with its interval, or that of a pass with the bound that it follows from. Of values that have no
    finite ratio it is their difference."""
    judged, evidence = cell.judgement, cell.evidence
    if evidence.is_reading and not math.isfinite(judged.ratio.middle):
        return units.difference(evidence.median("base"), evidence.median("head"), evidence.unit)
    if judged.verdict == "pass":
        middle, bound = units.changes(judged.ratio.middle, judged.at_most.value)
        return f"{middle} (at most {bound})"
    return ("first call: " if judged.of == "first call" else "") + effect(judged.ratio)


def times(cell: JudgedCell) -> tuple[str, str]:
    """The times of base and head, see `units.before_and_after`. Memory and tracked values are shown as they were read,
    since they do not depend on the machine's speed."""
    evidence = cell.evidence
    value_of = evidence.first if cell.judgement.of == "first call" else evidence.median
    base, head = (value_of(side) for side in SIDES)
    if evidence.exceeded is not None:
        both = {side: units.time(evidence.exceeded.other) for side in SIDES}
        both[evidence.exceeded.side] = f"over {evidence.exceeded.timeout:g} s"
        return both["base"], both["head"]
    if not evidence.is_timed:
        return units.value(base, evidence.unit), units.value(head, evidence.unit)
    return units.before_and_after(base, head, cell.judgement.ratio.middle, cell.evidence.unit)


def pairs(cell: JudgedCell) -> str:
    """``12 pairs``, and the number of parents, if the cell was judged by parents."""
    text = units.plural(len(cell.evidence.effects), "pair")
    if cell.judgement.unit == "parent":
        parents = len({effect.parent for effect in cell.evidence.effects})
        text += f", judged as {units.plural(parents, 'parent process', 'parent processes')}"
    return text


def measured(cell: JudgedCell) -> str:
    """``+5.2 % (+4.1 … +6.3 %), 1.23 µs → 1.30 µs, 12 pairs``."""
    if cell.evidence.exceeded is not None:
        return f"{cell.judgement.reason}: {' → '.join(times(cell))}"
    return f"{change(cell)}, {' → '.join(times(cell))}, {pairs(cell)}"


def undecided(cell: JudgedCell) -> str:
    """What is known of an inconclusive cell: of a time the estimate, of memory and tracked values also the values."""
    return measured(cell) if cell.evidence.is_reading else change(cell)


def detectable(cell: JudgedCell) -> str:
    """The smallest slowdown that would have been a regression."""
    found = cell.judgement.detectable
    return units.change(1 + found) if math.isfinite(found) else "none"


def reproducing(command: str, name: str) -> str:
    """The command that measures one cell again, without the existing evidence. `command` measures all cells, with every
    option except ``--bench``."""
    if brief(name) != name:
        return f"{command} --fresh --bench {shlex.quote(brief(name))}"
    # re.escape also escapes spaces and hyphens, which only matter in verbose patterns. Unescaped, they read better.
    pattern = re.sub(r"\\([ \-])", r"\1", re.escape(name))
    return f"{command} --fresh --bench {shlex.quote(f'^{pattern}$')}"


def to_reproduce(command: str, cells: Iterable[JudgedCell]) -> list[str]:
    """The commands that measure these cells again. A part of the suite that cannot be used has none."""
    return [reproducing(command, cell.name) for cell in cells if cell.evidence.kind != PART]


def version(version: Version) -> str:
    match version:
        case Commit(name, hash) if not hash.startswith(name):
            return f"{name} {hash[:8]}"
        case Commit(hash=hash):
            return hash[:8]
        case WorkingTree(changed=changed) if changed:
            return f"{version.name} ({units.plural(len(changed), 'file')} changed)"
        case WorkingTree(below=hash):
            return f"{version.name} {hash[:8]}"
        case Install() | Interpreter():
            return version.name


def model_of(asked: ModelSpec) -> str:
    """``gpt2 (cuda, bfloat16)``: a model, with what is not as usual."""
    usual = ModelSpec("")
    unusual = [value for value, other in ((asked.device, usual.device), (asked.dtype, usual.dtype)) if value != other]
    return f"{asked.target} ({', '.join(unusual)})" if unusual else asked.target


def circumstances(record: GateRecord) -> str:
    """The two versions, the time that the gate took, and its seed."""
    code = "" if record.code is None else f", with {version(record.code)}"
    model = "" if record.model is None else f", model {model_of(record.model)}"
    compared = f"head {version(record.head)} against base {version(record.base)}{code}{model}"
    drawn = f", seed {record.settings.seed}" if has_order(record) else ""
    return f"{compared}, {units.time(record.seconds)}{drawn}"


def has_order(record: GateRecord) -> bool:
    """Whether anything was measured, in an order that the seed has drawn."""
    return any(cell.effects or cell.exceeded for cell in (*record.cells, *record.controls))


def besides(record: GateRecord) -> str:
    """The other packages that differ, at most `FEW` by name."""
    more = f", and {len(record.besides) - FEW} {MORE}" if len(record.besides) > FEW else ""
    return f"other packages that differ: {', '.join(record.besides[:FEW])}{more}"


def explained_alone(found: Groups, record: GateRecord) -> tuple[JudgedCell, ...]:
    """The cells that are explained but are no regressions, the largest estimate first."""
    explained = {one.cell for one in record.causes}
    cells = [cell for cell in found.all if cell.name in explained and cell.verdict != "regression"]
    return tuple(sorted(cells, key=lambda cell: -cell.judgement.ratio.middle))


def passed(found: Groups) -> str:
    """``34 pass, each at most +2.9 % (99 %)``. The confidence is that of each bound by itself, and only timed cells
    have one: the bounds of memory and tracked values are the largest that were read."""
    timed = [cell for cell in found.passed if cell.evidence.is_timed]
    others = [cell for cell in found.passed if not cell.evidence.is_timed]
    if not timed or not others:
        return f"{len(found.passed)} pass, {_at_most(found.passed)}"
    times, values = units.plural(len(timed), "timed one"), units.plural(len(others), "other")
    return f"{len(found.passed)} pass, {times} {_at_most(timed)}, {values} {_at_most(others)}"


def _at_most(cells: Sequence[JudgedCell]) -> str:
    """The largest bound of these cells, which are all timed or none of them: ``each at most +2.9 % (99 %)``."""
    bounds = [cell.judgement.at_most for cell in cells]
    held = f" ({units.percent(max(bound.confidence for bound in bounds))})" if cells[0].evidence.is_timed else ""
    return f"{'each ' if len(cells) > 1 else ''}at most {units.change(max(bound.value for bound in bounds))}{held}"


def since(record: GateRecord) -> str:
    """The title of the comparison with the past version, the record's base: ``since v1.2 1a2b3c4d``."""
    return f"since {version(record.base)}"


def closing(record: GateRecord, verdict: GateVerdict, tally: Tally | None) -> Iterator[str]:
    """The lines about the whole gate."""
    yield from _together(verdict)
    if record.past is not None and verdict.past is not None:
        yield from _since_past(record.past, verdict.past)
    yield from _unfinished(record, verdict)
    yield from _asides(record, verdict)
    if record.controls:
        yield _control(verdict, tally)
    if verdict.control_differs or any(cell.verdict == "inconclusive" for cell in verdict.cells):
        yield from _noise(verdict.noise, record.settings.noise_floor)
    yield from _reach(record)
    if taken_over := _earlier_pairs(record):
        yield f"continued from earlier gates on these versions: {units.plural(taken_over, 'pair')}"
    yield from _left_out(record)
    yield from (f"note: {note}" for note in record.notes)


def _earlier_pairs(record: GateRecord) -> int:
    """The number of pairs that were taken over, each counted once, however many cells it measured."""
    cells = (*record.cells, *record.controls, *(record.past.cells if record.past else ()))
    numbers = {effect.pair for cell in cells for effect in cell.effects}
    return sum(number < record.first_pair for number in numbers)


def _unfinished(record: GateRecord, verdict: GateVerdict) -> Iterator[str]:
    """How many cells are not decided, and about how long that would take."""
    waiting = [cell for cell in verdict.cells if cell.verdict == "inconclusive" and not cell.judgement.decided]
    if not waiting or not verdict.missing:
        return
    unreached = [cell for cell in waiting if not cell.evidence.effects]
    them = f"{len(unreached)} of them " if len(unreached) < len(waiting) else ""
    said = f", {them}not reached, such as {brief(unreached[0].name)}" if unreached else ""
    more = math.ceil(verdict.missing)
    yield (
        f"not decided: {units.plural(len(waiting), 'cell')}{said}; the same command goes on from here, and needs at "
        f"least {more} s more (or --budget {math.ceil(record.settings.budget) + more}s at once)"
    )
    floor, limit = record.settings.noise_floor, record.settings.limit
    between = [
        cell for cell in waiting if cell.judgement.ratio.known and floor < cell.judgement.ratio.middle - 1 < limit
    ]
    slight = [cell.judgement.ratio.middle - 1 for cell in between]
    if slight:
        seems, them = ("seems", "it") if len(slight) == 1 else ("seem", "them")
        middle = units.change(1 + statistics.median(slight))
        seems = f"{units.plural(len(slight), 'cell')} {seems} {worse(between)}"
        yield (
            f"of these, {seems} by between the noise floor and the limit ({middle} in the median), which may take many "
            f"times as long to decide; a higher --noise-floor lets {them} pass"
        )


def _left_out(record: GateRecord) -> Iterator[str]:
    """A line for each reason, with the first name and the number of the others."""
    names: dict[str, list[str]] = {}
    for name, reason in record.left_out.items():
        names.setdefault(reason, []).append(name)
    reasons = sorted(names, key=lambda reason: -len(names[reason]))
    for reason in reasons[:LONGEST]:
        first, *others = names[reason]
        yield f"left out: {brief(first)}{f' and {len(others):,} more' if others else ''}: {reason}"
    if len(reasons) > LONGEST:
        yield f"left out for {len(reasons) - LONGEST} more reasons; --json FILE keeps them all"


def _asides(record: GateRecord, verdict: GateVerdict) -> Iterator[str]:
    """What a reader should know of cells whatever their verdicts."""
    if memoized := [cell for cell in verdict.cells if cell.judgement.memoized]:
        most = max(memoized, key=lambda cell: cell.judgement.memoized)
        yield (
            f"a cache answers all calls but the first: {units.plural(len(memoized), 'cell')}, such as "
            f"{brief(most.name)}, whose first call takes {most.judgement.memoized:,.0f} times as long; first calls are "
            "compared, too"
        )
    if record.renamed:
        name, before = next(iter(record.renamed.items()))
        count = units.plural(len(record.renamed), "cell")
        yield (
            f"matched by position, since the older version calls them otherwise: {count}, such as {brief(name)} "
            f"({brief(before)})"
        )
    yield from _strays(record, verdict)


def _strays(record: GateRecord, verdict: GateVerdict) -> Iterator[str]:
    found = [shortened(stray, verdict) for stray in record.strays]
    yield from (f"failed once and not again: {stray}" for stray in found[:LONGEST])
    if len(found) > LONGEST:
        yield f"failed once and not again: {len(found) - LONGEST} {MORE}"


def _reach(record: GateRecord) -> Iterator[str]:
    """Which cells the change can reach, and through what."""
    if record.unaffected:
        count = units.plural(len(record.unaffected), "cell")
        them = "it" if len(record.unaffected) == 1 else "them"
        yield f"unaffected: {count} that this change cannot reach (--all measures {them})"
    if record.reaches_all:
        yield f"all cells count as affected: {record.reaches_all}"
    if record.reached:
        ways = Counter(record.reached.values()).most_common()
        yield from (f"affected: {units.plural(count, 'cell')}: {why}" for why, count in ways[:FEW])
        if len(ways) > FEW:
            yield f"affected in {len(ways) - FEW} other ways; --json FILE keeps them all"


def _together(verdict: GateVerdict) -> Iterator[str]:
    """The judgement of all cells together. It is omitted if it has no interval and all cells are decided."""
    if verdict.suite is None:
        return
    bounded = verdict.suite.ratio.low > 0 or math.isfinite(verdict.suite.ratio.high)
    if bounded or not all(cell.judgement.decided for cell in verdict.cells):
        yield f"all cells together: {effect(verdict.suite.ratio)}, {verdict.suite.verdict}"


def _since_past(record: GateRecord, verdict: GateVerdict) -> Iterator[str]:
    """The comparison with the past version, in lines."""
    found = grouped(verdict.cells)
    groups = (
        (worse(found.slower), found.slower),
        ("inconclusive", (*found.unknown, *found.unreached)),
        (better(found.faster), found.faster),
    )
    parts = [f"{len(cells)} {what}" for what, cells in groups if cells]
    parts += [passed(found)] if found.passed else []
    yield f"{since(record)}: {', '.join(parts) or 'nothing could be compared'}"
    yield from (f"  {line}" for line in (*_together(verdict), *_strays(record, verdict)))
    missing = len(record.left_out) + len(found.broken) + len(found.failed)
    if missing:
        yield f"  {units.plural(missing, 'cell')} cannot be compared with it; --json FILE lists the reasons"


LEAST_TALLY = 20
"""The controls of all gates are counted from this many on. The share of fewer may be anything: of 3, at most 71 %."""


def _control(verdict: GateVerdict, tally: Tally | None) -> str:
    differing = sum(cell.judgement.differs for cell in verdict.controls)
    failed = sum(cell.verdict == "error" for cell in verdict.controls)
    found = f"{differing} found a difference" if differing else "no difference found"
    text = f"control: {units.plural(len(verdict.controls), 'cell')} of base against itself, {found}"
    text += f", {failed} failed" if failed else ""
    if tally is not None and tally.controls >= max(LEAST_TALLY, len(verdict.controls) + 1):
        bounds = f"{100 * tally.low:.1f} to {units.percent(tally.high, 1)}"
        bounds = bounds if tally.rejected else f"at most {units.percent(tally.high, 1)}"
        text += f"; in all gates here, {tally.rejected} of {tally.controls} found one ({bounds})"
    if tally is not None and tally.damaged:
        text += f", {units.plural(tally.damaged, 'line')} of the ledger cut off"
    return text


@dataclass(frozen=True)
class _Disturbance:
    """A cause of noise.

    Attributes:
        name: its name in the list of sizes.
        size: its size as a standard deviation of log ratios, without the share of other causes.
        meaning: what it means if this cause is the largest one.
        advice: what helps against it.
    """

    name: str
    size: Callable[[Noise], float]
    meaning: str
    advice: str


_DISTURBANCES = (
    _Disturbance(
        "within a pair",
        lambda noise: noise.within,
        "samples scatter inside a pair",
        "something else uses this machine, and `bench-core doctor` names what it can see; a larger --budget helps",
    ),
    _Disturbance(
        "between pairs",
        lambda noise: _beyond(noise.between_pairs, noise.within),
        "each process has its own speed",
        "more pairs help (a larger --budget, or fewer cells), longer samples do not",
    ),
    _Disturbance(
        "between parents",
        lambda noise: noise.between_parents,
        "all pairs of one parent process share its speed",
        "only more parent processes help (a larger --budget, or fewer cells)",
    ),
    _Disturbance(
        "order",
        lambda noise: noise.order,
        "the side that is sampled second differs from the one that is sampled first",
        "each side is first equally often, so no side gains; pinning and a fixed frequency (`bench-core doctor`) help",
    ),
    _Disturbance(
        "forked first",
        lambda noise: noise.forked_first,
        "the side that is forked first differs from the one that is forked second",
        "each side is first equally often, so no side gains; a larger --budget evens it out",
    ),
)


def _beyond(whole: float, part: float) -> float:
    """The rest of a standard deviation without one of its parts; NaN if either is NaN."""
    left = whole**2 - part**2
    return math.nan if math.isnan(left) else math.sqrt(max(0.0, left))


def _noise(noise: Noise, floor: float) -> Iterator[str]:
    """The sizes of the causes of noise, and what to do about the largest one if it is above the noise floor."""
    known = [(cause.size(noise), cause) for cause in _DISTURBANCES if not math.isnan(cause.size(noise))]
    if not known:
        return
    sizes = ", ".join(f"{cause.name} {units.percent(size, 1)}" for size, cause in known)
    alike = "" if math.isnan(noise.likeness) else f"; correlation of pairs of one parent {noise.likeness:.2f}"
    yield f"noise: {sizes}{alike}"
    largest, cause = max(known, key=lambda found: found[0])
    if largest > floor:
        yield f"  {cause.meaning}: {cause.advice}"
