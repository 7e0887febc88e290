"""What happens in few samples: it changes their whole time, and not the median that a cell is judged by."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from bench_core.gate.judge.clocks import FEWEST_WALLS, is_sure
from bench_core.gate.judge.rule import Rule
from bench_core.gate.judge.sequence import percents
from bench_core.records.gate import Effect, Judgement


def with_the_total(judged: Judgement, effects: Sequence[Effect], rule: Rule) -> Judgement:
    """The judgement on a timed cell. It is inconclusive instead of good if all of head's samples together take longer
    by more than the limit, as where every third call takes four times as long."""
    totals = [one.total for one in effects if not math.isnan(one.total)]
    if judged.verdict not in ("pass", "improvement") or len(totals) < FEWEST_WALLS:
        return judged
    if (middle := statistics.median(totals)) <= rule.limit:
        return judged
    typical, whole = percents(math.log(judged.ratio.middle), middle)
    reason = (
        f"rare: {typical} in the median of its samples, {whole} in all of them together: some samples take "
        "much longer with head"
    )
    return replace(judged, verdict="inconclusive", reason=reason, decided=is_sure(totals, rule.limit))
