"""The verdict on one cell, from its effects.

Times are judged by a `confidence_sequence`. Each effect is the log ratio of one pair, and only its sign relative to a
bound counts. The intervals of all cells hold together at every look, so a gate may look after every pair and stop at
any time. Memory and tracked values hardly scatter. A plain rule judges them (see `judge_cell`), and the error rate does
not apply to it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from bench_core import units
from bench_core.gate.judge.parents import by_parent, in_order
from bench_core.gate.judge.rule import MIN_PARENTS, TIMED, Rule, cell_rule, fewest
from bench_core.records.gate import CellEvidence, Effect, GateSettings, Judgement, VerdictName
from bench_core.records.run import Interval
from bench_core.statistics import DEVIATION, confidence_sequence, intraclass_correlation, likeness_p

MIN_READINGS = 3
"""The fewest pairs that suffice for a verdict on memory or a tracked value."""

ALIKE = 0.1
"""Pairs of one parent are tested for likeness if their intraclass correlation is above this. Below it they are nearly
independent, and the permutation test would waste time."""

ALIKE_P = 0.01
"""Pairs of one parent are alike if the probability of such a correlation by chance is below this."""

ALIKE_P_OF_REGRESSION = 0.1
"""As `ALIKE_P`, but for a regression. It is larger because a test of few parents misses much."""

PERMUTATION_SEED = 1
"""The seed of the permutations. With the gate's own seed, one could rerun a gate, without measuring, until the
probability suits."""


def judge_cell(effects: Sequence[Effect], settings: GateSettings, family: int, kind: str) -> Judgement:
    """The verdict on one cell, from the effects that there are so far.

    Times: the interval is a confidence sequence. If its ends exclude each other because the effect moved, the interval
    is everything between them. Above the noise floor the cell is a regression, below minus the noise floor an
    improvement. Below the limit it is a pass, unless the estimate is above the noise floor: such a cell looks slower,
    and gets more pairs. A cell that looks faster is a pass, and gets more pairs until that is proven.

    If pairs of one parent are alike, they do not count separately. The sequence is then made of the parents' medians,
    in the order in which the parents began. The error rate covers neither the median of the last parent, which may
    still move, nor a likeness that the test misses.

    Memory and tracked values (larger is worse): from 3 pairs on, the cell is a regression if every ratio is above the
    noise floor, an improvement if every ratio is below minus the noise floor, and a pass if every ratio is within the
    limit and their median is not above the noise floor. As for times, a regression needs 4 parents: the hash seed of a
    parent affects all of its pairs alike. If the ratios are too far apart for any verdict, the cell is decided as
    inconclusive. Equal values have the ratio 1, even if they are 0. The interval is the range of the ratios. Its
    confidence is 0, since it claims no coverage.

    Args:
        effects: in the order of their arrival.
        family: the number of cells that share the error rate, see `sharing`.
    """
    rule = cell_rule(settings, family)
    if kind in TIMED:
        return judge_sequence(in_order(effects), rule)
    return _judge_readings(effects, rule)


def judge_evidence(cell: CellEvidence, settings: GateSettings, family: int) -> Judgement:
    """As `judge_cell`; a cell that failed has the verdict ``error``."""
    found = judge_cell(cell.effects, settings, family, cell.kind)
    if cell.error is None:
        return found
    reason = cell.error if cell.error_side is None else f"{cell.error_side}: {cell.error}"
    return replace(found, verdict="error", reason=reason, decided=True)


def judge_sequence(drawn: Sequence[tuple[int, float]], rule: Rule) -> Judgement:
    """The verdict on log ratios, each with the number of its parent."""
    parents = by_parent(drawn)
    likeness = intraclass_correlation(parents)
    found = _judge_units([value for _, value in drawn], "pair", len(parents), rule)
    chance = ALIKE_P_OF_REGRESSION if found.verdict == "regression" else ALIKE_P
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
    judgement = _judgement(found, verdict, reason, rule, may_regress=parents >= MIN_PARENTS)
    return replace(judgement, unit=unit)


def _moved(
    claims: Interval, values: Sequence[float], unit: str, parents: int, rule: Rule
) -> tuple[Interval, VerdictName, str]:
    """The verdict if no single ratio fits, because the effect moved while it was measured. A verdict stands if it holds
    for both of the claims that exclude each other and for everything between them."""
    both = replace(claims, low=claims.high, high=claims.low)
    verdict, reason = _outcome(both, values, unit, parents, rule)
    if verdict == "inconclusive":
        moved = f"at least {percent(claims.low)} by some {unit}s, at most {percent(claims.high)} by others"
        reason = f"drift: the effect moved while it was measured: {moved}"
    return both, verdict, reason


def _outcome(found: Interval, values: Sequence[float], unit: str, parents: int, rule: Rule) -> tuple[VerdictName, str]:
    """The verdict on an interval, and its reason."""
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
        return "inconclusive", f"budget: {units.plural(len(values), unit)}, at least {fewest(rule.error)} are needed"
    if found.middle > rule.floor:
        estimate, floor = units.percent(math.expm1(found.middle), 1), units.percent(math.expm1(rule.floor))
        return "inconclusive", f"slower by about {estimate}, not proven to exceed the noise floor of {floor}"
    scatter = DEVIATION * statistics.median(abs(value - found.middle) for value in values)
    spread = units.percent(_ratio(scatter) - 1, 1)
    return "inconclusive", f"noise: {unit}s scatter by {spread}, {units.plural(len(values), unit)}"


def _slower(low: float, parents: int) -> tuple[VerdictName, str]:
    """The verdict on an interval above the noise floor: a regression if it rests on enough parents."""
    if parents >= MIN_PARENTS:
        return "regression", f"at least {percent(low)}"
    few = f"{units.plural(parents, 'parent process', 'parent processes')}, at least {MIN_PARENTS} are needed"
    return "inconclusive", f"parents: at least {percent(low)}, but from {few}"


def _judge_readings(effects: Sequence[Effect], rule: Rule) -> Judgement:
    parents = by_parent(in_order(effects))
    changes = [0.0 if effect.base == effect.head else effect.log_ratio for effect in effects]
    if not changes or any(math.isnan(change) for change in changes):
        found = Interval(-math.inf, math.nan, math.inf, 0.0)
    else:
        found = Interval(min(changes), statistics.median(changes), max(changes), 0.0)
    verdict, reason = _outcome_of_readings(found, changes, len(parents), rule)
    judgement = _judgement(found, verdict, reason, rule, may_regress=len(parents) >= MIN_PARENTS)
    # The range can only grow. So a pass cannot become an improvement, and a range that is neither all above the floor
    # nor within the limit cannot become either.
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
        return "inconclusive", f"budget: {units.plural(len(changes), 'pair')}, at least {MIN_READINGS} are needed"
    if found.low > rule.floor:
        return _slower(found.low, parents)
    if found.high < -rule.floor:
        return "improvement", less(found.high)
    if _farthest(found) <= rule.limit and found.middle <= rule.floor:
        return "pass", "equal" if found.low == found.high == 0 else f"at most {percent(found.high)}"
    return "inconclusive", f"noise: {len(changes)} pairs read from {percent(found.low)} to {percent(found.high)}"


def _farthest(found: Interval) -> float:
    return max(abs(found.low), abs(found.high))


def _judgement(logs: Interval, verdict: VerdictName, reason: str, rule: Rule, may_regress: bool) -> Judgement:
    # A slowdown is a regression if its lower end is above the floor. Later pairs may move the estimate below that end.
    below = max(0.0, logs.middle - logs.low) if logs.low > -math.inf else math.inf
    return Judgement(
        ratio=Interval(_ratio(logs.low), _ratio(logs.middle), _ratio(logs.high), logs.confidence),
        verdict=verdict,
        reason=reason,
        detectable=_ratio(rule.floor + below) - 1 if may_regress else math.inf,
        # A pass that looks faster may still become an improvement.
        decided=verdict != "inconclusive" and not (verdict == "pass" and logs.middle < -rule.floor),
    )


def _ratio(logarithm: float) -> float:
    return math.inf if logarithm > 700 else math.exp(logarithm)  # near e^709 the floats end


def percent(logarithm: float) -> str:
    """A log ratio as a relative change: ``+5.2 %``."""
    return units.signed_percent(_ratio(logarithm) - 1)


def faster(logarithm: float) -> str:
    return f"at least {units.percent(-math.expm1(logarithm), 1)} faster"


def less(logarithm: float) -> str:
    return f"at least {units.percent(-math.expm1(logarithm), 1)} less"
