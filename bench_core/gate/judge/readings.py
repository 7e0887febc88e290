"""The verdict on memory and tracked values, which hardly scatter. A plain rule judges them, see `judge_cell`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench_core import units
from bench_core.gate.judge.parents import by_parent
from bench_core.gate.judge.rule import MIN_PARENTS, MIN_READINGS, Rule
from bench_core.gate.judge.sequence import NOT_REACHED, as_ratio, judgement, less, percent, percents, slower
from bench_core.records.gate import Bound, Effect, Judgement, VerdictName
from bench_core.records.run import Interval
from bench_core.statistics import intraclass_correlation


@dataclass(frozen=True)
class _Reading:
    """What one pair read.

    Attributes:
        log_ratio: log(head / base); infinite if only one of them is 0 or infinite, NaN if one of them is negative.
        change: what is judged: the log ratio if it is finite. Otherwise it is the difference as a share of the value
            with the larger magnitude, on the scale of log ratios: a share of 0.01 counts as much as a ratio of 1.01.
        difference: head - base.
    """

    log_ratio: float
    change: float
    difference: float


def judge_readings(effects: Sequence[Effect], rule: Rule) -> Judgement:
    """The verdict on the readings of one cell, in the order of their arrival."""
    readings = [_reading(effect) for effect in effects]
    changes = [one.change for one in readings]
    parents = by_parent((effect.parent, change) for effect, change in zip(effects, changes, strict=True))
    found = _range(changes)
    verdict, reason = _outcome(found, readings, len(parents), rule)
    judged = judgement(found, verdict, reason, rule, may_regress=len(parents) >= MIN_PARENTS)
    # The range can only grow. So a pass cannot become an improvement, and a range that is neither all above the floor
    # nor within the limit cannot become either.
    is_too_wide = len(changes) >= MIN_READINGS and found.low <= rule.floor and _farthest(found) > rule.limit
    decided = verdict != "inconclusive" or is_too_wide
    bound = Bound(judged.ratio.high)
    if not _have_ratios(readings):
        logs = _range([one.log_ratio for one in readings])
        judged = replace(judged, ratio=Interval(as_ratio(logs.low), as_ratio(logs.middle), as_ratio(logs.high), 0.0))
        bound = bound if verdict == "pass" else Bound(judged.ratio.high)
    return replace(judged, likeness=intraclass_correlation(parents), decided=decided, at_most=bound)


def _reading(effect: Effect) -> _Reading:
    base, head = effect.base, effect.head
    log = _log_ratio(effect)
    if math.isfinite(log):
        return _Reading(log, log, head - base)
    most = max(abs(base), abs(head))
    share = 1.0 if math.isinf(most) else abs(head / most - base / most)
    return _Reading(log, math.copysign(math.log1p(share), head - base), head - base)


def _log_ratio(effect: Effect) -> float:
    base, head = effect.base, effect.head
    if base == head:
        return 0.0
    if min(base, head) < 0:
        return math.nan
    if base == 0 or math.isinf(head):
        return math.inf
    if head == 0 or math.isinf(base):
        return -math.inf
    return effect.log_ratio


def _have_ratios(readings: Sequence[_Reading]) -> bool:
    """Whether all ratios are finite."""
    return all(math.isfinite(one.log_ratio) for one in readings)


def _range(values: Sequence[float]) -> Interval:
    if not values or any(map(math.isnan, values)):
        return Interval(-math.inf, math.nan, math.inf, 0.0)
    return Interval(min(values), statistics.median(values), max(values), 0.0)


def _outcome(found: Interval, readings: Sequence[_Reading], parents: int, rule: Rule) -> tuple[VerdictName, str]:
    if not readings:
        return "inconclusive", NOT_REACHED
    if math.isnan(found.middle):
        return "inconclusive", "a value is not a number"
    if len(readings) < MIN_READINGS:
        return "inconclusive", f"budget: {units.plural(len(readings), 'pair')}, at least {MIN_READINGS} are needed"
    by_ratio = _have_ratios(readings)
    ends = [end(one.difference for one in readings) for end in (min, max)]
    least, most = (units.value(one, "") for one in ends)
    if found.low > rule.floor:
        return slower(f"at least {percent(found.low)}" if by_ratio else f"larger by at least {least}", parents)
    if found.high < -rule.floor:
        return "improvement", less(found.high) if by_ratio else f"smaller by at least {units.value(-ends[1], '')}"
    if _farthest(found) <= rule.limit and found.middle <= rule.floor:
        if found.low == found.high == 0:
            return "pass", "equal"
        larger = f"larger by at most {most}" if ends[1] > 0 else "equal or smaller"
        return "pass", f"at most {percent(found.high)}" if by_ratio else larger
    pairs = units.plural(len(readings), "pair")
    if by_ratio:
        low, high = percents(found.low, found.high)
        return "inconclusive", f"noise: {pairs} read from {low} to {high}"
    return "inconclusive", f"noise: {pairs} read differences from {least} to {most}"


def _farthest(found: Interval) -> float:
    return max(abs(found.low), abs(found.high))
