"""Adapts how a cell is sampled to the noise that its pairs have shown.

What a pair costs beyond its samples (setups, and its share of the processes) is spent anyway. So it samples at least
as long, up to the plan of the first pair, and longer if its samples scatter much. A noisy cell then needs as many
pairs as a quiet one. The choice depends on earlier pairs alone, so each pair is as fair as before.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

from bench_core.records.gate import Effect
from bench_core.workers.messages import SamplingPlan
from bench_core.workers.plan import PAIR

SCATTER = 0.01
"""What the samples inside a pair may add to the scatter of its effect: a standard deviation of log ratios. It is the
noise floor: of nine pairs that scatter by 1 %, the median of an unchanged cell is above it in one case of 100."""

FEWEST = 4
"""The fewest alternations, so that each side is first twice."""

FEWEST_LONG = 2
LONG_ALTERNATION = 0.2
"""The fewest alternations if each takes over `LONG_ALTERNATION` seconds, so that each side is first once. Such cells
take most of a gate's time."""

MOST = 4
"""At most this many times the alternations of the first pair."""

LONGEST = 0.3
"""More alternations than those of the first pair take at most this many seconds, on both sides together."""

PAIRS_TO_SCATTER = 3
"""The fewest pairs of a cell that show how much pairs scatter."""

MATTERS = 1.5
"""Setups matter if what they read scatters by more than this many times what samples alone explain."""


def adapted(plan: SamplingPlan, effects: Sequence[Effect], spent: float, between: float = 0.0) -> SamplingPlan:
    """How a timed cell is sampled in its next pair.

    Args:
        plan: that of the first pair.
        effects: of the pairs so far.
        spent: seconds that these pairs took for the cell.
        between: see `scatter_between`. To scatter much less inside pairs than between them would not pay.
    """
    known = [effect for effect in effects if effect.within >= 0 and effect.lasted > 0]
    if not known:
        return plan
    noise = statistics.median(effect.within**2 * effect.samples for effect in known)
    alternation = statistics.median(effect.lasted / effect.samples for effect in known)
    taken = math.fsum(effect.samples for effect in effects) * alternation
    besides = max(0.0, spent - taken) / len(effects)
    wanted = max(noise / max(SCATTER, between) ** 2, min(plan.alternations, besides / alternation))
    most = max(PAIR.fewest, plan.alternations, min(MOST * plan.alternations, LONGEST / alternation))
    fewest = FEWEST if alternation < LONG_ALTERNATION else FEWEST_LONG
    alternations = max(fewest, 2 * math.ceil(min(wanted, most) / 2))  # each side is first equally often
    blocks = plan.blocks if setups_matter(known) else max(1, plan.blocks // 2)
    return replace(plan, alternations=alternations, blocks=min(blocks, alternations // 2))


def scatter_between(cells: Iterable[Sequence[Effect]]) -> float:
    """By how much the effects of a cell scatter from pair to pair beyond what their samples explain: a standard
    deviation of log ratios, the median over the cells. It is what each new pair of processes draws anew.

    Args:
        cells: the effects of each timed cell. Those with fewer than `PAIRS_TO_SCATTER` say nothing.
    """
    found = []
    for effects in cells:
        if len(effects) >= PAIRS_TO_SCATTER and all(effect.within >= 0 for effect in effects):
            inside = statistics.fmean(effect.within**2 for effect in effects)
            found.append(statistics.variance(effect.log_ratio for effect in effects) - inside)
    return math.sqrt(max(0.0, statistics.median(found))) if found else 0.0


def setups_matter(effects: Sequence[Effect]) -> bool:
    """Whether the place of a cell's objects in memory, which each setup draws anew, changes its time: what one setup
    reads scatters by more than samples explain. Unknown counts as yes."""
    ratios = [one.setups / one.within for one in effects if one.within > 0 and not math.isnan(one.setups)]
    return not ratios or statistics.median(ratios) > MATTERS
