"""Clocks that tell different stories: the cell's own timer, ours, and the kernel's count of processor time.

A timer of process time counts neither a child process nor waiting. That is what it was chosen for, so its regressions
stand. But what it does not see must not pass unseen. Neither must work that head does not report: the kernel counts it,
whatever head does to its clocks and samples, and base's worker reads the count.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from bench_core.gate.judge.rule import Rule
from bench_core.gate.judge.sequence import percent, percents
from bench_core.records.gate import Effect, Judgement

FEWEST_WALLS = 3
"""The fewest pairs from which a difference between the two clocks is believed."""

PRECISE = 9
"""From so many pairs on, half of the limit is enough to disbelieve the samples of head. The median of fewer pairs
scatters more."""

CONFIRMED = 27
"""A cell whose clocks tell different stories is measured further, up to so many pairs, unless every pair tells them.
Beside other processes, the median of nine pairs is off by more than half of the limit in 4 % of unchanged cells
(docs/accuracy.md)."""

OFTEN = 0.7
"""The share of so many pairs in which head must be slower by the wall clock, beyond the other one. Where the two do not
differ, 19 of 27 pairs say so with a probability of 2.6 %."""


def with_both_clocks(judged: Judgement, effects: Sequence[Effect], rule: Rule) -> Judgement:
    """The judgement on a timed cell. It is inconclusive instead of good if head is slower by our clock, and by more
    than the limit beyond what the cell's own timer, or the count of processor time, shows."""
    both = [(one.log_ratio, one.wall) for one in effects if not math.isnan(one.wall)]
    if judged.verdict not in ("pass", "improvement") or len(both) < FEWEST_WALLS:
        return judged
    apart = [wall - own for own, wall in both]
    own, wall = (statistics.median(values) for values in zip(*both, strict=True))
    by_chance = len(apart) >= CONFIRMED and sum(one > 0 for one in apart) < OFTEN * len(apart)
    if wall <= rule.floor or statistics.median(apart) <= rule.limit or by_chance:
        return judged
    timer, clock = percents(own, wall)
    reason = (
        f"clocks: {timer} by its own timer or in processor time, {clock} by the wall clock: the first "
        "does not count all of the work, such as that of a child process"
    )
    return replace(judged, verdict="inconclusive", reason=reason, decided=is_sure(apart, rule.limit))


def is_sure(values: Sequence[float], tolerated: float) -> bool:
    """Whether a cell whose pairs tell different stories, by more than what is tolerated in the median, is not measured
    further."""
    return len(values) >= CONFIRMED or min(values) > tolerated


def with_the_kernel(judged: Judgement, effects: Sequence[Effect], rule: Rule) -> Judgement:
    """The judgement on a timed cell. It is inconclusive instead of good if head has used more processor time than its
    samples account for, or has worked in the turns of base."""
    if judged.verdict not in ("pass", "improvement"):
        return judged
    reasons, sure = [], False
    hidden = [one.unreported for one in effects if not math.isnan(one.unreported)]
    tolerated = rule.limit / 2 * math.sqrt(max(1.0, PRECISE / len(hidden))) if hidden else math.inf
    if hidden and (most := statistics.median(hidden)) > tolerated:
        how = f"{percent(most)} processor time" if math.isfinite(most) else "another processor time"
        reasons.append(f"the kernel counted {how} against what head reports of its samples")
        sure = is_sure(hidden, tolerated)
    meanwhile = [one.meanwhile for one in effects if not math.isnan(one.meanwhile)]
    if meanwhile and (share := statistics.median(meanwhile)) > (tolerated := math.expm1(rule.limit)):
        reasons.append(f"head used {share:.0%} as much processor time in the turns of base as base itself")
        sure = sure or is_sure(meanwhile, tolerated)
    if not reasons:
        return judged
    reason = f"clocks: {' and '.join(reasons)}: it replaces its clock or its samples, or works outside of them"
    return replace(judged, verdict="inconclusive", reason=reason, decided=sure)
