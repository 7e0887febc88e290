"""The verdict on a sequence of log ratios, by a `confidence_sequence` and by what no noise explains.

Only the sign of a ratio relative to a bound counts. The intervals of all cells hold together at every look, so a gate
may look after every pair and stop at any time.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from bench_core import units
from bench_core.gate.judge.parents import by_parent
from bench_core.gate.judge.rule import MIN_PARENTS, NOISE, Rule, fewest
from bench_core.records.gate import Judgement, VerdictName
from bench_core.records.run import Interval
from bench_core.statistics import DEVIATION, confidence_sequence, intraclass_correlation, likeness_p

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
    low, high = _sure(values, rule)
    if low > rule.floor or high < -rule.floor:  # no verdict comes from the wide interval of a smaller effect
        found = replace(found, low=max(found.low, low), high=min(found.high, high))
        parents = max(parents, MIN_PARENTS)  # the memory layout of one parent makes no such factor
    if found.low > found.high:
        found, verdict, reason = _moved(found, values, unit, parents, rule)
    else:
        verdict, reason = _outcome(found, values, unit, parents, rule)
    if math.isnan(found.low):
        found = replace(found, low=-math.inf, high=math.inf)
    judged = judgement(found, verdict, reason, rule, may_regress=parents >= MIN_PARENTS)
    return replace(judged, unit=unit)


def _sure(values: Sequence[float], rule: Rule) -> tuple[float, float]:
    """The ends of an interval outside of which the effect is only if noise of at least `NOISE` has hit every one of the
    first `rule.sure` values; infinite if there are fewer values. They are those of a test martingale: each such value
    multiplies the evidence by 1 / `NOISE_PROBABILITY`, and any other one ends it."""
    first = values[: rule.sure]
    if not rule.sure or len(first) < rule.sure:
        return -math.inf, math.inf
    return min(first) - NOISE, max(first) + NOISE


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
        return slower(found.low, parents)
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


def slower(low: float, parents: int) -> tuple[VerdictName, str]:
    """The verdict on an interval above the noise floor: a regression if it rests on enough parents."""
    if parents >= MIN_PARENTS:
        return "regression", f"at least {percent(low)}"
    few = f"{units.plural(parents, 'parent process', 'parent processes')}, at least {MIN_PARENTS} are needed"
    return "inconclusive", f"parents: at least {percent(low)}, but from {few}"


def judgement(logs: Interval, verdict: VerdictName, reason: str, rule: Rule, may_regress: bool) -> Judgement:
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
