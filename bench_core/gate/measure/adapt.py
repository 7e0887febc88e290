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

CALM = 0.02
"""As `SCATTER`, for a cell that seems no slower than the noise floor, which passes after hardly more pairs, nine
or ten; and for one that is so much slower that its pairs are above the noise floor all the same. Such pairs cost less
(docs/decisions.md)."""

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

FEWEST_BLOCKS, MOST_BLOCKS = 2, 16
"""The fewest and the most setups of each side in a pair. A single one does not show whether setups matter, and is left
to cells whose setup takes longer than their samples."""

BLOCK = 0.002
"""The approximate seconds that a block takes on both sides beyond its samples and setups: garbage collections, the
return of free memory, and messages."""


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
    target = max(_wanted(statistics.median(effect.log_ratio for effect in known)), between)
    wanted = max(noise / target**2, min(plan.alternations, besides / alternation))
    most = max(PAIR.fewest, plan.alternations, min(MOST * plan.alternations, LONGEST / alternation))
    fewest = FEWEST if alternation < LONG_ALTERNATION else FEWEST_LONG
    deviation = setup_deviation(known)
    blocks = plan.blocks
    if not math.isnan(deviation):
        block = plan.setup + BLOCK
        without = (spent - block * sum(effect.blocks for effect in effects)) / len(effects)
        blocks = blocks_for(deviation / target, max(without, taken / len(effects)), block)
        blocks = max(blocks, min(plan.blocks, FEWEST_BLOCKS))
        wanted = max(wanted, 2 * blocks)
    alternations = max(fewest, 2 * math.ceil(min(wanted, most) / 2))  # each side is first equally often
    return replace(plan, alternations=alternations, blocks=min(blocks, alternations // 2))


def _wanted(middle: float) -> float:
    """What pairs with this median may scatter by: if they seem slower than the noise floor, half of the distance to it,
    between `SCATTER` and `CALM`. A regression is proven by pairs above the noise floor."""
    return CALM if middle <= SCATTER else min(CALM, max(SCATTER, (middle - SCATTER) / 2))


def blocks_for(deviation: float, pair: float, block: float) -> int:
    """How many setups buy the most information for their time: of n setups, what a pair scatters by is, squared,
    proportional to 1 + deviation² / n, and its seconds to pair + n * block. The product is least at this n. Setups take
    no longer than the rest of the pair, since samples that drift look like setups that differ.

    Args:
        deviation: by how much one setup scatters, in units of what the pair scatters by otherwise.
        pair, block: seconds of a pair without its setups, and of a setup on both sides.
    """
    best = min(deviation * math.sqrt(pair / block), pair / block)
    return max(1, min(MOST_BLOCKS, round(best)))


def setup_deviation(effects: Sequence[Effect]) -> float:
    """By how much an effect that is read in a single setup differs from one in another setup: a standard deviation of
    log ratios. The addresses of a cell's objects, which each setup draws anew, change its time. It follows from the
    scatter inside pairs with several setups, and from what pairs scatter by beyond their samples, as if setups were the
    only cause. The smaller one counts.

    Args:
        effects: of one cell, with known `within`.

    Returns:
        NaN if it is not known.
    """
    found = []
    if len(effects) >= PAIRS_TO_SCATTER:
        beyond = statistics.variance(one.log_ratio for one in effects)
        beyond -= statistics.median(one.within**2 for one in effects)
        found.append(beyond * statistics.fmean(max(1, one.blocks) for one in effects))
    several = [one for one in effects if one.blocks > 1]
    if len(several) >= PAIRS_TO_SCATTER or (several and not found):
        found.append(statistics.median(one.blocks * (one.setups**2 - one.within**2) for one in several))
    return math.sqrt(max(0.0, min(found))) if found else math.nan


def scatter_between(cells: Iterable[Sequence[Effect]]) -> float:
    """By how much the effects of a cell scatter from pair to pair beyond what their samples explain: a standard
    deviation of log ratios, the median over the cells. It is what each new pair of processes draws anew.

    Args:
        cells: the effects of each timed cell. Those with fewer than `PAIRS_TO_SCATTER` say nothing.
    """
    found = []
    for effects in cells:
        if len(effects) >= PAIRS_TO_SCATTER and all(effect.within >= 0 for effect in effects):
            inside = statistics.fmean(_inside(effect) for effect in effects)
            found.append(statistics.variance(effect.log_ratio for effect in effects) - inside)
    return math.sqrt(max(0.0, statistics.median(found))) if found else 0.0


def _inside(effect: Effect) -> float:
    """What samples and setups add to the scatter of an effect, squared."""
    return effect.within**2 if math.isnan(effect.setups) else max(effect.within, effect.setups) ** 2
