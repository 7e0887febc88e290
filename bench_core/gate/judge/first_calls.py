"""First calls: where a cache answers all later ones, they are the only calls that do the work.

Each worker is a new process, so each pair has one first call a side. In most cells it warms up caches, and says
nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from bench_core.gate.judge.rule import FIRST_SHARE, cell_rule
from bench_core.gate.judge.sequence import judge_sequence
from bench_core.records.gate import SIDES, Effect, GateSettings, Judgement
from bench_core.records.run import is_memoized

FEWEST_FIRST = 2
"""The fewest first calls, on each side, from which a cell is taken for memoized."""

FIRST_FLOOR = math.log(1.1)
"""The noise floor of first calls, a log ratio. It is larger than for other calls, which are timed many times in each
process."""

FIRST_LIMIT = math.log(1.25)
"""A slowdown of first calls of this size, a log ratio, must not pass."""


def memoized(effects: Sequence[Effect]) -> float:
    """See `Judgement`."""
    timed = [effect for effect in effects if not math.isnan(effect.first_log_ratio)]
    if len(timed) < FEWEST_FIRST:
        return 0.0
    times = 0.0
    for side in SIDES:
        first = statistics.median(getattr(effect, f"first_{side}") for effect in timed)
        later = statistics.median(getattr(effect, side) for effect in timed)
        if is_memoized(first, later):
            times = max(times, first / later)
    return times


def with_first_calls(judged: Judgement, effects: Sequence[Effect], settings: GateSettings, family: int) -> Judgement:
    """The judgement on a timed cell, with that on its first calls if the cell is memoized. First calls that are slower
    make it a regression. If they look slower, it gets more pairs, and does not pass."""
    times = memoized(effects)
    if not times or judged.verdict == "regression":
        return replace(judged, memoized=times)
    rule = cell_rule(settings, family)
    rule = replace(
        rule, error=FIRST_SHARE * settings.error_rate / family, floor=FIRST_FLOOR, limit=FIRST_LIMIT, sure=()
    )
    drawn = [(one.parent, one.first_log_ratio) for one in effects if not math.isnan(one.first_log_ratio)]
    first = replace(judge_sequence(drawn, rule), of="first call", memoized=times)
    said = f"a cache answers all calls but the first, which takes {times:,.0f} times as long"
    if first.verdict == "regression":
        return replace(first, reason=f"{first.reason} in the first call ({said})")
    if first.verdict == "inconclusive" and math.log(first.ratio.middle) > FIRST_FLOOR:
        return replace(first, decided=False, reason=f"its first call: {first.reason} ({said})")
    return replace(judged, memoized=times, reason=f"{judged.reason}; {said}")
