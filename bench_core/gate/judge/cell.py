"""The verdict of a gate: pure functions of what is stored, the same while it runs and whenever it is read again.

Times are judged by `confidence_sequence`: each effect is one pair's log ratio, only its sign against a bound counts,
and the intervals of all cells hold at every look at once, so a gate may look after every pair and stop when it likes.
Memory and tracked values hardly scatter, and are judged by a plain rule (see `judge_cell`) to which the error rate
does not apply.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from bench_core.gate.judge.parents import by_parent, in_order
from bench_core.gate.judge.rule import MIN_PARENTS, TIMED, Rule, cell_rule, fewest
from bench_core.records.gate import CellEvidence, Effect, GateSettings, Judgement, VerdictName
from bench_core.records.run import Interval
from bench_core.statistics import DEVIATION, confidence_sequence, intraclass_correlation, likeness_p

MIN_READINGS = 3
"""Pairs that a verdict on memory or a tracked value rests on."""

ALIKE, ALIKE_P, ALIKE_P_OF_RED = 0.1, 0.01, 0.1
"""Pairs of one parent count as alike where their intra-parent correlation is above the first, with a probability of
chance below the second; for a red, below the third, since a test of few parents sees little. Below a correlation of 0.1
the pairs count nearly as they would alone, and permutations are saved."""

PERMUTATION_SEED = 1
"""Not a gate's own: a rerun that measures nothing must not draw the probability of chance again until it suits."""


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
        return judge_sequence(in_order(effects), rule)
    return _judge_readings(effects, rule)


def judge_evidence(cell: CellEvidence, settings: GateSettings, family: int) -> Judgement:
    found = judge_cell(cell.effects, settings, family, cell.kind)
    if cell.error is None:
        return found
    reason = cell.error if cell.error_side is None else f"{cell.error_side}: {cell.error}"
    return replace(found, verdict="error", reason=reason, decided=True)


def judge_sequence(drawn: Sequence[tuple[int, float]], rule: Rule) -> Judgement:
    """Judge log ratios, each with the number of its parent."""
    parents = by_parent(drawn)
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
        moved = f"at least {percent(claims.low)} by some {unit}s, at most {percent(claims.high)} by others"
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
        return "improvement", faster(found.high)
    if found.high < rule.limit and found.middle <= rule.floor:
        return "pass", f"at most {percent(found.high)}"
    if len(values) < fewest(rule.error):
        return "inconclusive", f"budget: {_count(len(values), unit)}, at least {fewest(rule.error)} are needed"
    if found.middle > rule.floor:
        estimate, floor = 100 * math.expm1(found.middle), f"{100 * math.expm1(rule.floor):.3g} %"
        return "inconclusive", f"slower by about {estimate:.1f} %, not proven to exceed the noise floor of {floor}"
    scatter = DEVIATION * statistics.median(abs(value - found.middle) for value in values)
    return "inconclusive", f"noise: {unit}s scatter by {100 * (_ratio(scatter) - 1):.1f} %, {_count(len(values), unit)}"


def _slower(low: float, parents: int) -> tuple[VerdictName, str]:
    """What lies above the noise floor is red, if by enough parents."""
    if parents >= MIN_PARENTS:
        return "regression", f"at least {percent(low)}"
    few = f"{_count(parents, 'parent process', 'es')}, at least {MIN_PARENTS} are needed"
    return "inconclusive", f"parents: at least {percent(low)}, but from {few}"


def _judge_readings(effects: Sequence[Effect], rule: Rule) -> Judgement:
    parents = by_parent(in_order(effects))
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
        return "improvement", less(found.high)
    if _farthest(found) <= rule.limit and found.middle <= rule.floor:
        return "pass", "equal" if found.low == found.high == 0 else f"at most {percent(found.high)}"
    return "inconclusive", f"noise: {len(changes)} pairs read from {percent(found.low)} to {percent(found.high)}"


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


def _ratio(logarithm: float) -> float:
    return math.inf if logarithm > 700 else math.exp(logarithm)  # near e^709 the floats end


def percent(logarithm: float) -> str:
    return f"{round(100 * (_ratio(logarithm) - 1), 1) + 0.0:+.1f} %"  # + 0.0: no "-0.0"


def faster(logarithm: float) -> str:
    return f"at least {-100 * math.expm1(logarithm):.1f} % faster"


def less(logarithm: float) -> str:
    return f"at least {-100 * math.expm1(logarithm):.1f} % less"


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}{plural}"
