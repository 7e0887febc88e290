"""Clocks that tell different stories: the cell's own timer, and ours.

A timer of process time counts neither a child process nor waiting. That is what it was chosen for, so its regressions
stand. But what it does not see must not pass unseen.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from bench_core.gate.judge.rule import Rule
from bench_core.gate.judge.sequence import percent
from bench_core.records.gate import Effect, Judgement

FEWEST_WALLS = 3
"""The fewest pairs from which a difference between the two clocks is believed."""


def with_both_clocks(judged: Judgement, effects: Sequence[Effect], rule: Rule) -> Judgement:
    """The judgement on a timed cell. It is inconclusive instead of good if head is slower by our clock, by more than
    the limit beyond what the cell's own timer shows."""
    both = [(one.log_ratio, one.wall) for one in effects if not math.isnan(one.wall)]
    if judged.verdict not in ("pass", "improvement") or len(both) < FEWEST_WALLS:
        return judged
    if statistics.median(wall - own for own, wall in both) <= rule.limit:
        return judged
    own, wall = (percent(statistics.median(values)) for values in zip(*both, strict=True))
    reason = (
        f"clocks: {own} by the cell's own timer, {wall} by the wall clock: it does not count all of the work, such as "
        "that of a child process"
    )
    return replace(judged, verdict="inconclusive", reason=reason)
