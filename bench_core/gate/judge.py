"""The verdict of a gate: pure functions of what is stored, the same while it runs and whenever it is read again.

Times are judged by `confidence_sequence`: each effect is one pair's log ratio, only its sign against a bound counts,
and the intervals of all cells hold at every look at once, so a gate may look after every pair and stop when it likes.
Memory and tracked values hardly scatter, and are judged by a plain rule (see `judge_cell`) to which the error rate
does not apply.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench_core.records import (
    CellEvidence,
    Effect,
    GateRecord,
    GateSettings,
    GateVerdict,
    Interval,
    Judgement,
    Noise,
    VerdictName,
)
from bench_core.statistics import confidence_sequence, intraclass_correlation, least_successes, likeness_p

TIMED = ("time", "timeraw")
"""The kinds of cells that are judged by statistics."""

CELLS_SHARE = 0.8
"""Of the error rate, what the cells have together; the suite as a whole has the rest, so that both sum to it. With 200
cells at 2.5 % it costs them no pair (17 either way), and the suite is told from 11 on."""

MIN_PARENTS = 4
"""Parent processes that a red rests on, at least: what one process does to a time, by where its memory lies, it does
to all of its pairs, so a cell is never red on one parent process alone."""

MIN_READINGS = 3
"""Pairs that a verdict on memory or a tracked value rests on."""

MIN_CELLS = 5
"""Timed cells below which there is no suite to speak of."""

SAMPLED = 0.75
"""Of the timed cells, what a pair must have sampled to count for the suite as a whole: the median over other cells
is another median."""

SUITE_FLOOR = 0.5
"""Of the noise floor, for the suite as a whole: the noise of many cells averages out, so less of it is resolved, and
is worth knowing: a small slowdown of everything is one that no cell alone can prove."""

ALIKE, ALIKE_P, ALIKE_P_OF_RED = 0.1, 0.01, 0.1
"""Pairs of one parent count as alike where their intra-parent correlation is above the first, with a probability of
chance below the second; for a red, below the third, since a test of few parents sees little. Below a correlation of 0.1
the pairs count nearly as they would alone, and permutations are saved."""

PERMUTATION_SEED = 1
"""Not a gate's own: a rerun that measures nothing must not draw the probability of chance again until it suits."""

DEVIATION = 1.4826
"""A standard deviation over the median absolute deviation, where the noise is normal."""


@dataclass(frozen=True)
class Rule:
    """What a sequence of log ratios is held against.

    Attributes:
        error: the probability of missing the effect, on each side.
        floor, limit: of a slowdown, as logarithms.
        confidence: of the whole gate.
    """

    error: float
    floor: float
    limit: float
    confidence: float


def sharing(cells: Iterable[CellEvidence]) -> int:
    """The number of cells that share the error rate: the timed ones, measured or not, since which ones fail is not
    known when the first is judged; at least 1."""
    return max(1, sum(cell.kind in TIMED for cell in cells))


def cell_rule(settings: GateSettings, family: int) -> Rule:
    """What a timed cell is held against, as one of `family` that share the error rate."""
    return Rule(
        error=CELLS_SHARE * settings.error_rate / family,
        floor=math.log1p(settings.noise_floor),
        limit=math.log1p(settings.limit),
        confidence=1 - 2 * settings.error_rate,
    )


def pairs_needed(family: int, settings: GateSettings) -> int:
    """The fewest pairs after which a timed cell can be decided: when they all say the same."""
    return _fewest(cell_rule(settings, family).error)


def judge(record: GateRecord) -> GateVerdict:
    """The verdict on a gate.

    The cells share the error rate with all those that shared it when some of the evidence was taken
    (`GateSettings.family`): a cell that was chosen because it looked slow among 40 is still the slowest of 40.

    If a control differs from itself, the machine makes differences of its own: no regression is believed, of a cell
    or of the suite, and each becomes inconclusive. The gate's verdict is the first that applies: regression (of a
    cell or of the suite), error (head fails where base does not, or nothing was measured), inconclusive (a cell is,
    or could not be measured for another reason), improvement, pass. That the suite is inconclusive changes nothing.

    Against a third version head is judged in the same way, with the same controls. Only a regression there, or cells
    that are inconclusive, make the gate's verdict worse: what the third version lacks or fails at is no news.
    """
    shared, controlled = max(record.settings.family, sharing(record.cells)), sharing(record.controls)
    controls = tuple(_judge_evidence(cell, record.settings, controlled) for cell in record.controls)
    cells = tuple(_judge_evidence(cell, record.settings, shared) for cell in record.cells)
    suite = suite_shift(record.cells, record.settings)
    rejecting = [control for control in controls if control.rejects]
    doubt = ""
    if rejecting:
        worst = max((math.log(control.ratio.middle) for control in rejecting), key=abs)
        doubt = f"control: base against itself read {_percent(worst)} on this machine today"
        cells = tuple(_doubted(judgement, doubt) for judgement in cells)
        suite = None if suite is None else _doubted(suite, doubt)
    verdict, reason = _of_gate(record, cells, suite, doubt)
    if record.unfair:
        reason += f"; not a fair pair: {'; '.join(record.unfair)}"
    creep = None
    if record.creep is not None:
        creep = judge(replace(record.creep, controls=record.controls))
        creep = replace(creep, controls=(), reason=f"since {record.creep.base.name}, {creep.reason}")
        if _worsens(creep, verdict):
            verdict, reason = creep.verdict, creep.reason
    return GateVerdict(verdict, reason, cells, controls, suite, bool(rejecting), noise(record), creep)


def _worsens(creep: GateVerdict, verdict: VerdictName) -> bool:
    """Whether what crept in since the third version says more than the gate's own verdict."""
    if creep.verdict == "regression":
        return verdict != "regression"
    unsure = any(judged.verdict == "inconclusive" for judged in creep.cells)
    return creep.verdict == "inconclusive" and unsure and verdict in ("pass", "improvement")


def judge_cell(effects: Sequence[Effect], settings: GateSettings, family: int, kind: str) -> Judgement:
    """The verdict on one cell, from the effects that there are so far.

    Times: the interval is a confidence sequence; where its ends exclude each other, since the effect moved, all that
    lies between them. Above the noise floor it is a regression, below it an improvement.
    Below the limit it is a pass, unless the estimate lies above the noise floor: that cell is slower as far as one
    can tell, and gets more pairs; so does one that looks faster, and is a pass until that is proven. If pairs of one
    parent are alike, they do not count each: the sequence is that of the parents' medians, in the order in which the
    parents began. (The last one may still move. That is not covered by the error rate, and neither is likeness that
    the test does not see.)

    Memory and tracked values, of which more is worse: from 3 pairs on, a regression if every ratio is above the noise
    floor, an improvement if every one is below it, a pass if every one is within the limit and their median does not
    exceed the noise floor. As for times, a regression needs 4 parents: what hangs on a parent's hash seed is the same
    in all of its pairs. Once the ratios lie too far apart for any verdict, the cell is decided as inconclusive. Equal
    values have the ratio 1 whatever they are. The interval is the range of the ratios, and its confidence is 0: it
    claims no coverage.

    Args:
        effects: in the order in which they arrived.
        family: the number of cells that share the error rate, see `sharing`.
        kind: the cell's.
    """
    rule = cell_rule(settings, family)
    if kind in TIMED:
        return _judge_sequence(_drawn(effects), rule)
    return _judge_readings(effects, rule)


def suite_shift(cells: Sequence[CellEvidence], settings: GateSettings) -> Judgement | None:
    """The verdict on the timed cells as a whole: on the median over the cells, one for each pair of workers.

    It is judged as a cell is, with its own share of the error rate and half the noise floor, which is its limit too.

    Returns:
        The judgement; None with fewer than 5 timed cells without error.
    """
    timed = [cell for cell in cells if cell.kind in TIMED and cell.error is None]
    if len(timed) < MIN_CELLS:
        return None
    sampled: dict[tuple[int, int], list[float]] = defaultdict(list)
    for cell in timed:
        for effect in cell.effects:
            sampled[effect.pair, effect.parent].append(effect.log_ratio)
    shifts = [
        (parent, _median(found)) for (_, parent), found in sorted(sampled.items()) if len(found) >= SAMPLED * len(timed)
    ]
    floor = math.log1p(SUITE_FLOOR * settings.noise_floor)
    error = (1 - CELLS_SHARE) * settings.error_rate
    return _judge_sequence(shifts, replace(cell_rule(settings, 1), error=error, floor=floor, limit=floor))


def exit_code(verdict: GateVerdict, record: GateRecord, strict: bool) -> int:
    """The exit code of a gate.

    Args:
        strict: an inconclusive gate is not green.

    Returns:
        1 for a regression, or a cell that fails with head only; 130 if interrupted without one; 2 if no cell was
        measured, unless because the versions are identical; 3 if strict and inconclusive, be it only because a cell
        could not be measured; else 0.
    """
    if verdict.verdict == "regression" or _failing_with_head(record):
        return 1
    if record.interrupted:
        return 130
    if not _was_measured(record):
        return 0 if record.identical else 2
    return 3 if strict and verdict.verdict == "inconclusive" else 0


def noise(record: GateRecord) -> Noise:
    """What disturbed the effects of the timed cells, by cause; NaN where it cannot be told.

    Scatter is taken from the differences of neighbours: the median of their sizes, over that of a normal law. That
    resists far values, and unlike the scatter around a mean it is not too small where groups are.
    """
    effects = [cell.effects for cell in record.cells if cell.kind in TIMED and cell.error is None]
    cells = [_by_parent(_drawn(found)) for found in effects]
    return Noise(
        within=_median(effect.within for found in effects for effect in found),
        between_pairs=_median(_scatter(parents) for parents in cells),
        between_parents=_median(_scatter_of_parents(parents) for parents in cells),
        order=_median(abs(_median(effect.order for effect in found)) for found in effects),
        forked_first=_median(abs(_forked(found, "base") - _forked(found, "head")) / 2 for found in effects),
        likeness=_median(intraclass_correlation(parents) for parents in cells),
    )


def _judge_evidence(cell: CellEvidence, settings: GateSettings, family: int) -> Judgement:
    found = judge_cell(cell.effects, settings, family, cell.kind)
    if cell.error is None:
        return found
    reason = cell.error if cell.error_side is None else f"{cell.error_side}: {cell.error}"
    return replace(found, verdict="error", reason=reason, decided=True)


def _judge_sequence(drawn: Sequence[tuple[int, float]], rule: Rule) -> Judgement:
    """Judge log ratios, each with the number of its parent."""
    parents = _by_parent(drawn)
    likeness = intraclass_correlation(parents)
    found = _judge_units([value for _, value in drawn], "pair", len(parents), rule)
    chance = ALIKE_P_OF_RED if found.verdict == "regression" else ALIKE_P
    if found.decided and _are_alike(parents, likeness, chance):
        found = _judge_units([statistics.median(values) for values in parents], "parent", len(parents), rule)
    return replace(found, likeness=likeness)


def _are_alike(parents: Sequence[Sequence[float]], likeness: float, chance: float) -> bool:
    repeated = sum(len(values) > 1 for values in parents)
    enough = len(parents) >= MIN_PARENTS and 2 * repeated > len(parents)
    return enough and likeness > ALIKE and likeness_p(parents, PERMUTATION_SEED) < chance


def _judge_units(values: Sequence[float], unit: Literal["pair", "parent"], parents: int, rule: Rule) -> Judgement:
    found = replace(confidence_sequence(values, rule.error), confidence=rule.confidence)
    if found.low > found.high:
        found, verdict, reason = _moved(found, values, unit, parents, rule)
    else:
        verdict, reason = _outcome(found, values, unit, parents, rule)
    if math.isnan(found.low):
        found = replace(found, low=-math.inf, high=math.inf)
    judgement = _judgement(found, verdict, reason, rule, could_be_red=parents >= MIN_PARENTS)
    return replace(judgement, unit=unit)


def _moved(
    claims: Interval, values: Sequence[float], unit: str, parents: int, rule: Rule
) -> tuple[Interval, VerdictName, str]:
    """The verdict where no one ratio fits: the effect moved while it was measured. What holds for both of the claims
    that exclude each other, and all between, stands; where they say different things, there is none."""
    both = replace(claims, low=claims.high, high=claims.low)
    verdict, reason = _outcome(both, values, unit, parents, rule)
    if verdict == "inconclusive":
        moved = f"at least {_percent(claims.low)} by some {unit}s, at most {_percent(claims.high)} by others"
        reason = f"drift: the effect moved while it was measured: {moved}"
    return both, verdict, reason


def _outcome(found: Interval, values: Sequence[float], unit: str, parents: int, rule: Rule) -> tuple[VerdictName, str]:
    """The verdict with its reason."""
    if not values:
        return "inconclusive", "budget: never measured"
    if math.isnan(found.low):
        return "inconclusive", "values that are not positive have no ratio"
    if found.low > rule.floor:
        return _slower(found.low, parents)
    if found.high < -rule.floor:
        return "improvement", _faster(found.high)
    if found.high < rule.limit and found.middle <= rule.floor:
        return "pass", f"at most {_percent(found.high)}"
    if len(values) < _fewest(rule.error):
        return "inconclusive", f"budget: {_count(len(values), unit)}, at least {_fewest(rule.error)} are needed"
    if found.middle > rule.floor:
        estimate, floor = 100 * math.expm1(found.middle), f"{100 * math.expm1(rule.floor):.3g} %"
        return "inconclusive", f"slower by about {estimate:.1f} %, not proven to exceed the noise floor of {floor}"
    scatter = DEVIATION * statistics.median(abs(value - found.middle) for value in values)
    return "inconclusive", f"noise: {unit}s scatter by {100 * (_ratio(scatter) - 1):.1f} %, {_count(len(values), unit)}"


def _slower(low: float, parents: int) -> tuple[VerdictName, str]:
    """What lies above the noise floor is red, if by enough parents."""
    if parents >= MIN_PARENTS:
        return "regression", f"at least {_percent(low)}"
    few = f"{_count(parents, 'parent process', 'es')}, at least {MIN_PARENTS} are needed"
    return "inconclusive", f"parents: at least {_percent(low)}, but from {few}"


def _judge_readings(effects: Sequence[Effect], rule: Rule) -> Judgement:
    parents = _by_parent(_drawn(effects))
    changes = [0.0 if effect.base == effect.head else effect.log_ratio for effect in effects]
    if not changes or any(math.isnan(change) for change in changes):
        found = Interval(-math.inf, math.nan, math.inf, 0.0)
    else:
        found = Interval(min(changes), statistics.median(changes), max(changes), 0.0)
    verdict, reason = _outcome_of_readings(found, changes, len(parents), rule)
    judgement = _judgement(found, verdict, reason, rule, could_be_red=len(parents) >= MIN_PARENTS)
    # A range only grows: a pass becomes no improvement, and what is neither all above the floor nor within the limit
    # becomes nothing else.
    is_too_wide = len(changes) >= MIN_READINGS and found.low <= rule.floor and _farthest(found) > rule.limit
    decided = verdict != "inconclusive" or is_too_wide
    return replace(judgement, likeness=intraclass_correlation(parents), decided=decided)


def _outcome_of_readings(
    found: Interval, changes: Sequence[float], parents: int, rule: Rule
) -> tuple[VerdictName, str]:
    if not changes:
        return "inconclusive", "budget: never measured"
    if math.isnan(found.middle):
        return "inconclusive", "values that are not positive have no ratio"
    if len(changes) < MIN_READINGS:
        return "inconclusive", f"budget: {_count(len(changes), 'pair')}, at least {MIN_READINGS} are needed"
    if found.low > rule.floor:
        return _slower(found.low, parents)
    if found.high < -rule.floor:
        return "improvement", _less(found.high)
    if _farthest(found) <= rule.limit and found.middle <= rule.floor:
        return "pass", "equal" if found.low == found.high == 0 else f"at most {_percent(found.high)}"
    return "inconclusive", f"noise: {len(changes)} pairs read from {_percent(found.low)} to {_percent(found.high)}"


def _farthest(found: Interval) -> float:
    return max(abs(found.low), abs(found.high))


def _judgement(logs: Interval, verdict: VerdictName, reason: str, rule: Rule, could_be_red: bool) -> Judgement:
    # At this scatter, a slowdown is red once its lower end clears the floor. The estimate may have sunk below that end.
    below = max(0.0, logs.middle - logs.low) if logs.low > -math.inf else math.inf
    return Judgement(
        ratio=Interval(_ratio(logs.low), _ratio(logs.middle), _ratio(logs.high), logs.confidence),
        verdict=verdict,
        reason=reason,
        detectable=_ratio(rule.floor + below) - 1 if could_be_red else math.inf,
        # A pass that looks faster may yet become an improvement.
        decided=verdict != "inconclusive" and not (verdict == "pass" and logs.middle < -rule.floor),
    )


def _doubted(judgement: Judgement, doubt: str) -> Judgement:
    if judgement.verdict != "regression":
        return judgement
    return replace(judgement, verdict="inconclusive", reason=doubt, decided=False)


def _of_gate(
    record: GateRecord, cells: Sequence[Judgement], suite: Judgement | None, doubt: str
) -> tuple[VerdictName, str]:
    """The gate's verdict, and one sentence."""
    found: dict[VerdictName, list[int]] = defaultdict(list)
    for index, judgement in enumerate(cells):
        found[judgement.verdict].append(index)

    def say(indices: Sequence[int], what: str, example: int) -> str:
        total = _count(len(cells), "cell")
        return f"{len(indices)} of {total} {what}: {record.cells[example].name}, {cells[example].reason}"

    if slower := found["regression"]:
        return "regression", say(slower, "slower, most of all", max(slower, key=lambda i: cells[i].ratio.low))
    if suite is not None and suite.verdict == "regression":
        return "regression", f"no cell alone, but the suite as a whole is slower by {suite.reason}"
    if failing := _failing_with_head(record):
        return "error", say(failing, "failing with head only, first", failing[0])
    if not _was_measured(record):
        if record.identical:
            return "pass", record.identical
        why = f": {record.cells[0].name}, {cells[0].reason}" if cells else ""
        return "error", f"nothing was measured{why}"
    if doubt and any(cells[index].reason == doubt for index in found["inconclusive"]):
        return "inconclusive", doubt
    if unsure := found["inconclusive"]:
        return "inconclusive", say(unsure, "inconclusive, first", unsure[0])
    if failed := found["error"]:
        return "inconclusive", say(failed, "not measured, first", failed[0])
    if faster := found["improvement"]:
        return "improvement", say(faster, "faster, most of all", min(faster, key=lambda i: cells[i].ratio.high))
    if suite is not None and suite.verdict == "improvement":
        return "improvement", f"no cell alone, but the suite as a whole is {suite.reason}"
    return "pass", f"{_count(len(cells), 'cell')}, none slower by {100 * record.settings.limit:.3g} %"


def _failing_with_head(record: GateRecord) -> list[int]:
    return [i for i, cell in enumerate(record.cells) if cell.error is not None and cell.error_side == "head"]


def _was_measured(record: GateRecord) -> bool:
    return any(cell.effects and cell.error is None for cell in record.cells)


def _fewest(error: float) -> int:
    return next(n for n in itertools.count(1) if least_successes(n, 1 / error) is not None)


def _drawn(effects: Sequence[Effect]) -> list[tuple[int, float]]:
    return [(effect.parent, effect.log_ratio) for effect in effects]


def _by_parent(drawn: Iterable[tuple[int, float]]) -> list[list[float]]:
    """The values of each parent, in the order in which the parents began."""
    parents: dict[int, list[float]] = defaultdict(list)
    for parent, value in drawn:
        parents[parent].append(value)
    return list(parents.values())


def _scatter(groups: Iterable[Sequence[float]]) -> float:
    """The standard deviation inside the groups. That of a difference of two values is sqrt(2) times theirs."""
    steps = (abs(b - a) for group in groups for a, b in itertools.pairwise(group))
    return DEVIATION / math.sqrt(2) * _median(steps)


def _scatter_of_parents(parents: Sequence[Sequence[float]]) -> float:
    """The standard deviation of the parents, beyond what their pairs leave in the mean of each."""
    left = _scatter(parents) ** 2 * statistics.fmean(1 / len(values) for values in parents) if parents else math.nan
    beyond = _scatter([[statistics.fmean(values) for values in parents]]) ** 2 - left
    return math.nan if math.isnan(beyond) else math.sqrt(max(0.0, beyond))


def _forked(effects: Sequence[Effect], side: str) -> float:
    return _median(effect.log_ratio for effect in effects if effect.forked_first == side)


def _median(values: Iterable[float]) -> float:
    """The median of those that could be told; NaN if none could."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


def _ratio(logarithm: float) -> float:
    return math.inf if logarithm > 700 else math.exp(logarithm)  # near e^709 the floats end


def _percent(logarithm: float) -> str:
    return f"{round(100 * (_ratio(logarithm) - 1), 1) + 0.0:+.1f} %"  # + 0.0: no "-0.0"


def _faster(logarithm: float) -> str:
    return f"at least {-100 * math.expm1(logarithm):.1f} % faster"


def _less(logarithm: float) -> str:
    return f"at least {-100 * math.expm1(logarithm):.1f} % less"


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}{plural}"
