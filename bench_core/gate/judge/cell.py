"""The verdict on one cell, from its effects.

Times are judged by a `confidence_sequence`. Each effect is the log ratio of one pair, and only its sign relative to a
bound counts. The intervals of all cells hold together at every look, so a gate may look after every pair and stop at
any time. A pass follows from a bound of the cell by itself, which holds at every look too. Memory and tracked values
hardly scatter. A plain rule judges them (see `judge_cell`), and the error rate does not apply to it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from bench_core import units
from bench_core.gate.judge.clocks import with_both_clocks, with_the_kernel
from bench_core.gate.judge.first_calls import with_first_calls
from bench_core.gate.judge.parents import by_parent, in_order
from bench_core.gate.judge.rule import MIN_PARENTS, MIN_READINGS, Rule, cell_rule
from bench_core.gate.judge.sequence import NOT_REACHED, judge_sequence, judgement, less, percent, percents, slower
from bench_core.gate.judge.total import with_the_total
from bench_core.records.gate import TIMED, Bound, CellEvidence, Effect, Exceeded, GateSettings, Judgement, VerdictName
from bench_core.records.run import Interval
from bench_core.statistics import intraclass_correlation


def judge_cell(effects: Sequence[Effect], settings: GateSettings, family: int, kind: str) -> Judgement:
    """The verdict on one cell, from the effects that there are so far.

    Times: the interval is a confidence sequence. If its ends exclude each other because the effect moved, the interval
    is everything between them. Above the noise floor the cell is a regression, below minus the noise floor an
    improvement. With a bound below the limit it is a pass, unless the estimate is above the noise floor: such a cell
    looks slower, and gets more pairs. A cell that looks faster is a pass, and gets more pairs until that is proven.

    If pairs of one parent are alike, they do not count separately. The sequence is then made of the parents' medians,
    in the order in which the parents began. The error rate covers neither the median of the last parent, which may
    still move, nor a likeness that the test misses.

    Where a cache answers all calls but the first, first calls are judged as well, see `with_first_calls`. Where the
    cell's own timer does not show the time that has passed, see `with_both_clocks`. Where head does not report what the
    kernel counts, see `with_the_kernel`. Where few of head's samples are slow, see `with_the_total`.

    Memory and tracked values (larger is worse): from 3 pairs on, the cell is a regression if every ratio is above the
    noise floor, an improvement if every ratio is below minus the noise floor, and a pass if every ratio is within the
    limit and their median is not above the noise floor. As for times, a regression needs 4 parents: the hash seed of a
    parent affects all of its pairs alike. If the ratios are too far apart for any verdict, the cell is decided as
    inconclusive. Equal values have the ratio 1, even if they are 0. The interval is the range of the ratios. Its
    confidence is 0, since it claims no coverage.

    Args:
        effects: in the order of their arrival.
        family: the number of cells that share the error rate, see `sharing`. Passes do not share it.
    """
    rule = cell_rule(settings, family)
    if kind in TIMED:
        judged = with_both_clocks(judge_sequence(in_order(effects), rule), effects, rule)
        judged = with_the_total(with_the_kernel(judged, effects, rule), effects, rule)
        return with_first_calls(judged, effects, settings, family)
    return _judge_readings(effects, rule)


def judge_evidence(cell: CellEvidence, settings: GateSettings, family: int) -> Judgement:
    """As `judge_cell`; a cell that failed has the verdict ``error``."""
    if cell.exceeded is not None:
        return _judge_exceeded(cell.exceeded)
    found = judge_cell(cell.effects, settings, family, cell.kind)
    if cell.error is None:
        return found
    reason = cell.error if cell.error_side is None else f"{cell.error_side}: {cell.error}"
    return replace(found, verdict="error", reason=reason, decided=True)


def _judge_exceeded(exceeded: Exceeded) -> Judgement:
    """A side that takes longer than the suite allows is slow, by at least the ratio of the timeout to the other."""
    least = exceeded.timeout / exceeded.other
    slower = exceeded.side == "head"
    return Judgement(
        ratio=Interval(least, least, math.inf, 0.0) if slower else Interval(0.0, 1 / least, 1 / least, 0.0),
        verdict="regression" if slower else "improvement",
        reason=f"longer than the suite's timeout of {exceeded.timeout:g} s{'' if slower else ' on base'}",
        detectable=math.inf,
        decided=True,
    )


def _judge_readings(effects: Sequence[Effect], rule: Rule) -> Judgement:
    parents = by_parent(in_order(effects))
    changes = [0.0 if effect.base == effect.head else effect.log_ratio for effect in effects]
    if not changes or any(math.isnan(change) for change in changes):
        found = Interval(-math.inf, math.nan, math.inf, 0.0)
    else:
        found = Interval(min(changes), statistics.median(changes), max(changes), 0.0)
    verdict, reason = _outcome_of_readings(found, changes, len(parents), rule)
    judged = judgement(found, verdict, reason, rule, may_regress=len(parents) >= MIN_PARENTS)
    # The range can only grow. So a pass cannot become an improvement, and a range that is neither all above the floor
    # nor within the limit cannot become either.
    is_too_wide = len(changes) >= MIN_READINGS and found.low <= rule.floor and _farthest(found) > rule.limit
    decided = verdict != "inconclusive" or is_too_wide
    bound = Bound(judged.ratio.high)
    return replace(judged, likeness=intraclass_correlation(parents), decided=decided, at_most=bound)


def _outcome_of_readings(
    found: Interval, changes: Sequence[float], parents: int, rule: Rule
) -> tuple[VerdictName, str]:
    if not changes:
        return "inconclusive", NOT_REACHED
    if math.isnan(found.middle):
        return "inconclusive", "values that are not positive have no ratio"
    if len(changes) < MIN_READINGS:
        return "inconclusive", f"budget: {units.plural(len(changes), 'pair')}, at least {MIN_READINGS} are needed"
    if found.low > rule.floor:
        return slower(found.low, parents)
    if found.high < -rule.floor:
        return "improvement", less(found.high)
    if _farthest(found) <= rule.limit and found.middle <= rule.floor:
        return "pass", "equal" if found.low == found.high == 0 else f"at most {percent(found.high)}"
    low, high = percents(found.low, found.high)
    return "inconclusive", f"noise: {len(changes)} pairs read from {low} to {high}"


def _farthest(found: Interval) -> float:
    return max(abs(found.low), abs(found.high))
