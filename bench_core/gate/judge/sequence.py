"""The verdict on a sequence of log ratios, by a `confidence_sequence` and by what no noise explains.

Only the sign of a ratio relative to a bound counts. The intervals of all cells hold together at every look, so a gate
may look after every pair and stop at any time. So does the bound of a pass, but for each cell by itself.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from bench_core import units
from bench_core.gate.judge.parents import by_parent
from bench_core.gate.judge.rule import MIN_PARENTS, Rule, fewest
from bench_core.records.gate import Bound, Judgement, VerdictName
from bench_core.records.run import Interval
from bench_core.statistics import DEVIATION, confidence_sequence, intraclass_correlation, likeness_p

NOT_REACHED = "not reached: the budget ended before its first pair"
"""Why nothing is known of a cell."""

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
    at_most = confidence_sequence(values, rule.pass_error).high
    sure = _sure(values, parents, rule)
    if sure is not None:
        found = replace(found, low=max(found.low, sure.low), high=min(found.high, sure.high))
        at_most = min(at_most, sure.high)
        parents = max(parents, MIN_PARENTS)
    at_most = max(at_most, found.low)  # nothing passes by a bound that the interval excludes
    if found.low > found.high:
        found, verdict, reason = _moved(found, at_most, values, unit, parents, rule)
    else:
        verdict, reason = _outcome(found, at_most, values, unit, parents, rule)
    if math.isnan(found.low):
        found, at_most = replace(found, low=-math.inf, high=math.inf), math.inf
    judged = judgement(found, verdict, reason, rule, may_regress=parents >= MIN_PARENTS)
    return replace(judged, unit=unit, at_most=Bound(as_ratio(at_most), 1 - rule.pass_error))


def _sure(values: Sequence[float], parents: int, rule: Rule) -> Interval | None:
    """The interval of an effect that no noise explains; None if noise may explain it. The effect is outside only if
    noise beyond a tail hit every one of the first values. The evidence is a test martingale: each such value multiplies
    it by 1 / `Tail.probability`, and any other one ends it. Intervals that decide nothing are left out: they are wide.
    """
    ends = [
        (min(values[:count]) - tail.factor, max(values[:count]) + tail.factor)
        for count, tail in rule.sure
        if len(values) >= count and parents >= tail.parents
    ]
    deciding = [(low, high) for low, high in ends if low > rule.floor or high < -rule.floor]
    if not deciding:
        return None
    lows, highs = zip(*deciding, strict=True)
    return Interval(max(lows), statistics.median(values), min(highs), rule.confidence)


def _moved(
    claims: Interval, at_most: float, values: Sequence[float], unit: str, parents: int, rule: Rule
) -> tuple[Interval, VerdictName, str]:
    """The verdict if no single ratio fits, because the effect moved while it was measured. A verdict stands if it holds
    for both of the claims that exclude each other and for everything between them."""
    both = replace(claims, low=claims.high, high=claims.low)
    verdict, reason = _outcome(both, at_most, values, unit, parents, rule)
    if verdict == "inconclusive":
        least, most = percents(claims.low, claims.high)
        moved = f"at least {least} by some {unit}s, at most {most} by others"
        reason = f"drift: the effect moved while it was measured: {moved}"
    return both, verdict, reason


def _outcome(
    found: Interval, at_most: float, values: Sequence[float], unit: str, parents: int, rule: Rule
) -> tuple[VerdictName, str]:
    """The verdict on an interval and the bound of a pass, and its reason."""
    if not values:
        return "inconclusive", NOT_REACHED
    if math.isnan(found.low):
        return "inconclusive", "values that are not positive have no ratio"
    if found.low > rule.floor:
        return slower(f"at least {percent(found.low)}", parents)
    if found.high < -rule.floor:
        return "improvement", faster(found.high)
    if at_most < rule.limit and found.middle <= rule.floor:
        return "pass", f"at most {percent(at_most)} ({units.percent(1 - rule.pass_error)})"
    counted = units.plural(len(values), unit)
    if len(values) < rule.fewest:
        return "inconclusive", f"budget: {counted}, at least {rule.fewest} are needed"
    if found.middle > rule.floor:
        estimate, floor = units.percent(as_ratio(found.middle) - 1, 1), units.percent(math.expm1(rule.floor))
        if len(values) < fewest(rule.error):
            needed = f"at least {fewest(rule.error)} are needed to prove it"
            return "inconclusive", f"budget: slower by about {estimate} in {counted}, {needed}"
        return "inconclusive", f"slower by about {estimate}, not proven to exceed the noise floor of {floor}"
    scatter = DEVIATION * statistics.median(abs(value - found.middle) for value in values)
    spread = units.percent(as_ratio(scatter) - 1, 1)
    return "inconclusive", f"noise: {unit}s scatter by {spread}, {counted}"


def slower(by: str, parents: int) -> tuple[VerdictName, str]:
    """The verdict on an interval above the noise floor, which `by` describes: a regression if it rests on enough
    parents."""
    if parents >= MIN_PARENTS:
        return "regression", by
    few = f"{units.plural(parents, 'parent process', 'parent processes')}, at least {MIN_PARENTS} are needed"
    return "inconclusive", f"parents: {by}, but from {few}"


def judgement(logs: Interval, verdict: VerdictName, reason: str, rule: Rule, may_regress: bool) -> Judgement:
    # A slowdown is a regression if its lower end is above the floor. Later pairs may move the estimate below that end.
    below = max(0.0, logs.middle - logs.low) if logs.low > -math.inf else math.inf
    return Judgement(
        ratio=Interval(as_ratio(logs.low), as_ratio(logs.middle), as_ratio(logs.high), logs.confidence),
        verdict=verdict,
        reason=reason,
        detectable=as_ratio(rule.floor + below) - 1 if may_regress else math.inf,
        # A pass that looks faster may still become an improvement.
        decided=verdict != "inconclusive" and not (verdict == "pass" and logs.middle < -rule.floor),
    )


def as_ratio(logarithm: float) -> float:
    """The ratio of a log ratio; infinite beyond the largest float."""
    return math.inf if logarithm > 700 else math.exp(logarithm)  # near e^709 the floats end


def percent(logarithm: float) -> str:
    """A log ratio as a relative change: ``+5.2 %``, ``3017x``."""
    return percents(logarithm)[0]


def percents(*logarithms: float) -> list[str]:
    """Log ratios that are read together, see `units.changes`."""
    return units.changes(*map(as_ratio, logarithms))


def faster(logarithm: float) -> str:
    return f"at least {units.percent(-math.expm1(logarithm), 1)} faster"


def less(logarithm: float) -> str:
    return f"at least {units.percent(-math.expm1(logarithm), 1)} less"
