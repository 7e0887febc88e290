"""The verdict on one cell, from its effects.

Times are judged by a `confidence_sequence`. Each effect is the log ratio of one pair, and only its sign relative to a
bound counts. The intervals of all cells hold together at every look, so a gate may look after every pair and stop at
any time. A pass follows from a bound of the cell by itself, which holds at every look too. Memory and tracked values
hardly scatter. A plain rule judges them (see `judge_cell`), and the error rate does not apply to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from bench_core.gate.judge.clocks import with_both_clocks, with_the_kernel
from bench_core.gate.judge.first_calls import with_first_calls
from bench_core.gate.judge.parents import in_order
from bench_core.gate.judge.readings import judge_readings
from bench_core.gate.judge.rule import cell_rule
from bench_core.gate.judge.sequence import judge_sequence
from bench_core.gate.judge.total import with_the_total
from bench_core.records.gate import TIMED, CellEvidence, Effect, Exceeded, GateSettings, Judgement
from bench_core.records.run import Interval


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

    Other values that are 0, negative or infinite have no finite ratio. Such a pair counts with its difference, head
    less base, as a share of the value with the larger magnitude (an infinite difference is a share of 1), and the noise
    floor and the limit are shares, too. So from 0 to any positive value is a regression, and back an improvement. The
    ratio is then infinite or 0, and NaN if a value is negative.

    Args:
        effects: in the order of their arrival.
        family: the number of cells that share the error rate, see `sharing`. Passes do not share it.
    """
    rule = cell_rule(settings, family)
    if kind in TIMED:
        judged = with_both_clocks(judge_sequence(in_order(effects), rule), effects, rule)
        judged = with_the_total(with_the_kernel(judged, effects, rule), effects, rule)
        return with_first_calls(judged, effects, settings, family)
    return judge_readings(effects, rule)


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
