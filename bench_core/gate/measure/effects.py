"""Turns the samples of two workers into one effect, or into an error."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Collection, Mapping, Sequence

from bench_core.records.gate import SIDES, Effect, Side
from bench_core.statistics import DEVIATION
from bench_core.workers.messages import Log, SamplingPlan

CLOCKS_APART = 0.005
"""A wall clock may differ from ours by this share over the blocks of a pair, which last at least some 10 ms. A clock
that is wrong by less hides a slowdown of at most this size, which is below the noise floor."""

SIDES_APART = 0.1
"""The two sides may differ by this share on the duration of their common blocks."""

INTERRUPTED = 0.05
"""The two sides may differ by this many seconds in addition. Another process may run on the core between the two
readings of a block's end, for longer on a busy machine. It does not shorten every block of the same side, as a wrong
clock does: which side reads first is drawn for each block."""

INTERRUPTED_IN_FEW, FEW_BLOCKS = 0.5, 2
"""As `INTERRUPTED`, for so few blocks. There, one interruption may shorten all blocks of the same side: at a load of 13
on two cores, by 0.26 s of a single one."""


class CellFaultError(Exception):
    """A cell cannot be compared. The text is the cause. `side` is the side at fault; None if it is not one side
    alone."""

    def __init__(self, cause: str, side: Side | None) -> None:
        super().__init__(cause)
        self.side = side


class SpoiledError(Exception):
    """The samples of a pair do not count, for a cause outside of both versions. The text is the cause."""


def agree(base: Mapping[str, str], head: Mapping[str, str]) -> None:
    """Check that both sides have seen the same (see `FirstLook`).

    Raises:
        CellFaultError: with what differs.
    """
    differ = [
        f"{name}: {base.get(name)} on base, {head.get(name)} on head"
        for name in sorted({*base, *head})
        if base.get(name) != head.get(name)
    ]
    if differ:
        raise CellFaultError(f"the sides do not do the same: {'; '.join(differ)}", None)


def effect(base: Log, head: Log, *, pair: int, parent: int, first: Side) -> Effect:
    """The effect of one pair.

    Args:
        first: the side that was forked first.

    Raises:
        CellFaultError: if a report makes no sense, or a clock is wrong or too coarse.
        SpoiledError: if the samples do not count.
    """
    _complete(base, head)
    if base.spoiled or head.spoiled:
        raise SpoiledError("; ".join(dict.fromkeys([*base.spoiled, *head.spoiled])))
    _same_clock(base, head)
    if min(*base.spans, *head.spans) <= 0:
        raise CellFaultError("a sample took no time by the cell's own timer, which is too coarse for it", None)
    computing = _that_compute(base, head)
    by_processor = computing if _interrupted(base, head, computing) else set()
    ours, theirs = ([seconds / log.number for seconds in _seconds(log, by_processor)] for log in (base, head))
    logs = [math.log(after / before) for before, after in zip(ours, theirs, strict=True)]
    middle = statistics.median(logs)
    # The median's standard error under normal scatter, from the median absolute deviation.
    within = 1.2533 * DEVIATION * statistics.median(abs(log - middle) for log in logs) / math.sqrt(len(logs))
    by_order = [  # base led, or head
        statistics.median(log for log, place in zip(logs, base.positions, strict=True) if place == led)
        for led in (0, 1)
    ]
    return Effect(
        pair=pair,
        parent=parent,
        log_ratio=middle,
        base=statistics.median(ours),
        head=statistics.median(theirs),
        samples=len(logs),
        within=within,
        order=(by_order[0] - by_order[1]) / 2,
        forked_first=first,
        first_base=base.first,
        first_head=head.first,
        wall=_by_the_wall(base, head, middle if by_processor else math.nan),
        setups=_by_setup(logs, len(base.by_host)),
        lasted=math.fsum(base.by_host),
        blocks=len(base.by_host),
        unreported=_unreported(base, head, computing),
        meanwhile=_meanwhile(base),
        total=_total(base, head, computing),
    )


def _complete(base: Log, head: Log) -> None:
    """Check that both sides report as many samples as they took.

    Raises:
        CellFaultError: naming the side that does not.
    """
    sides: Mapping[Side, Log] = {"base": base, "head": head}
    for side, log in sides.items():
        blocks = (log.by_host, log.by_timer)
        numbers = [*log.spans, *log.walls, *itertools.chain(*blocks)]
        whole = (
            log.number > 0
            and len(log.spans) == len(log.positions) > 0
            and len(log.walls) in (0, len(log.spans))
            and len(log.computing) in (0, len(log.walls))
            and len(log.used) in (0, len(log.spans))
            and len(log.others_used) in (0, len(log.spans))
            and len(log.by_host) == len(log.by_timer) == len(base.by_host)
            and all(map(math.isfinite, numbers))
            and min(log.walls, default=1.0) > 0
            and not any(map(math.isinf, log.computing))
            and min(map(math.fsum, blocks)) > 0
        )
        if not whole:
            raise CellFaultError("its report makes no sense: its samples are not those that were asked for", side)
    if len(base.spans) != len(head.spans):
        raise CellFaultError(f"{len(base.spans)} samples on base, {len(head.spans)} on head", None)


def require_plan(base: Log, head: Log, plan: SamplingPlan) -> None:
    """Check that both sides report the calls that they were asked for, from which the time of one follows.

    Args:
        base: the trusted side, which knows whether it has setups between its calls.

    Raises:
        CellFaultError: naming the side that does not.
    """
    for side, log, asked in zip(SIDES, (base, head), plan.places, strict=True):
        untimed = math.nan if math.isnan(base.untimed) else asked.warm / asked.number
        if (log.number, repr(log.untimed)) != (asked.number, repr(untimed)):  # NaN is NaN
            raise CellFaultError("its report makes no sense: its calls are not those that were asked for", side)


def _by_setup(logs: Sequence[float], blocks: int) -> float:
    """What the scatter from setup to setup adds to the effect: the standard error of the mean of their medians."""
    if not 1 < blocks <= len(logs):
        return math.nan
    ends = [block * len(logs) // blocks for block in range(blocks + 1)]
    medians = [statistics.median(logs[start:end]) for start, end in itertools.pairwise(ends)]
    return statistics.stdev(medians) / math.sqrt(blocks)


TAKEN_AWAY = 0.05
"""From this share of the samples' time on, in which others had the core, their processor time counts instead."""

WAITED = 0.25
"""At most this share of a pair's alternations may have a sample that waited by itself. They keep their time by the
clock. With more of them, waiting is a part of what the cell does."""


def _interrupted(base: Log, head: Log, rows: Collection[int]) -> bool:
    """Whether these alternations (see `_that_compute`) are compared by their processor time, and not by the clock.

    Processor time counts where others had the core for a part of the samples, and these do nothing but compute: it is
    then what they would take on an idle core. Samples that last as long as a time slice or longer are all interrupted,
    so that the median of their times is that of the scheduler's decisions.
    """
    if len(rows) < (1 - WAITED) * len(base.spans):
        return False
    passed, computing = (
        math.fsum(spans[row] for spans in sides for row in rows)
        for sides in ((base.spans, head.spans), (base.computing, head.computing))
    )
    return passed - computing > TAKEN_AWAY * passed


ROUNDED = 1 + 1e-6
"""What a sum may be off by from the same sum in another order, as a factor."""


def _that_compute(base: Log, head: Log) -> set[int]:
    """The alternations in which both samples have done nothing but compute, which takes no longer than they last."""
    if not len(base.computing) == len(head.computing) == len(base.spans):
        return set()
    sides = [zip(log.computing, log.spans, strict=True) for log in (base, head)]
    both = [[0 < used < ROUNDED * span for used, span in side] for side in sides]  # not NaN
    return {row for row, compute in enumerate(zip(*both, strict=True)) if all(compute)}


def _total(base: Log, head: Log, rows: Collection[int]) -> float:
    """See `Effect`. A sample that waited has its time by the clock, of which others had a part that nobody can tell."""
    if not base.computing or not head.computing:
        return math.nan
    if len(rows) < (1 - WAITED) * len(base.spans):
        lost = math.fsum((*base.lost, *head.lost))
        if not lost <= TAKEN_AWAY * math.fsum((*base.spans, *head.spans)):
            return math.nan
    ours, theirs = (math.fsum(_seconds(log, rows)) / log.number for log in (base, head))
    return math.log(theirs / ours)


def _by_the_wall(base: Log, head: Log, own: float) -> float:
    """The effect by our clock; NaN if the effect is by a clock that shows the same time, or the samples have no other.

    Args:
        own: the effect by processor time; NaN if it is by the cell's own timer. Of two effects by our clock, the nearer
            one counts: the median scatters least where others interrupt few samples, and the whole time of all of them
            where others interrupt most.
    """
    same = math.isnan(own) and max(abs(_rate(log) - 1) for log in (base, head)) < CLOCKS_APART
    if not base.walls or not head.walls or same:
        return math.nan
    walls = [[wall / log.number for wall in (log.walls if math.isnan(own) else log.spans)] for log in (base, head)]
    middle = statistics.median(math.log(after / before) for before, after in zip(*walls, strict=True))
    whole = math.log(math.fsum(walls[1]) / math.fsum(walls[0]))
    return middle if math.isnan(own) else min(middle, whole, key=lambda one: abs(one - own))


LEAST_KNOWN = 2
"""The fewest samples of each side whose processor time must be known."""

BUSY = 0.5
"""Samples that differ from their processor time by more than this share do something else than computing on one core,
such as waiting."""


def _unreported(base: Log, head: Log, rows: Collection[int]) -> float:
    """See `Effect`. What a turn takes besides its samples is the same on both sides, and is known of base. Each sample
    is compared with what the kernel counted for it, since samples scatter more than what comes besides."""
    ours, theirs = (
        [span * (1 + log.untimed) for span in _seconds(log, rows)]  # NaN if setups come too
        for log in (base, head)
    )
    besides, theirs_besides = (
        [used - sample for used, sample in zip(counts, reported, strict=False) if not math.isnan(used - sample)]
        for counts, reported in ((base.used, ours), (base.others_used, theirs))
    )
    if min(len(besides), len(theirs_besides)) < LEAST_KNOWN:
        return math.nan
    if not abs(statistics.median(besides)) < BUSY * statistics.median(ours):
        return math.nan
    more = statistics.median(theirs_besides) - statistics.median(besides)
    middle = statistics.median(theirs)
    return math.log1p(more / middle) if more > -BUSY * middle else math.inf


def _seconds(log: Log, rows: Collection[int]) -> list[float]:
    """The samples of a side: in processor time in these rows, and by its timer in the others."""
    return [(log.computing if row in rows else log.spans)[row] for row in range(len(log.spans))]


def _meanwhile(base: Log) -> float:
    """See `Effect`."""
    return base.meanwhile / base.turns if base.turns > 0 else math.nan


def _rate(log: Log) -> float:
    """Seconds of the cell's own timer for each second of our clock."""
    return sum(log.by_timer) / sum(log.by_host)


def reading(base: float | None, head: float | None, *, pair: int, parent: int, first: Side) -> Effect:
    """The effect of one pair of memory or tracked values. Without two positive, finite values, its log ratio is NaN.

    Raises:
        CellFaultError: if one side tracks nothing.
    """
    if base is None or head is None:
        sides: Sequence[Side] = [side for side, value in (("base", base), ("head", head)) if value is None]  # type: ignore[misc]
        raise CellFaultError("tracks nothing (None)", sides[0] if len(sides) == 1 else None)
    positive = base > 0 and head > 0 and math.isfinite(base) and math.isfinite(head)
    log = math.nan
    if positive:
        quotient = head / base
        fits = 0 < quotient < math.inf  # of the largest and the smallest floats, it may not
        log = math.log(quotient) if fits else math.log(head) - math.log(base)
    return Effect(pair, parent, log, base, head, samples=1, forked_first=first)


def _same_clock(base: Log, head: Log) -> None:
    """Check the cell's own timer against our clock in the same process, and our clock against that of the other side,
    whose blocks began and ended at the same time.

    A timer of process time, which is no wall clock, cannot be checked against our clock.

    Raises:
        CellFaultError: naming the side whose clock is wrong.
    """
    rates: dict[Side, float] = {"base": _rate(base), "head": _rate(head)}
    near, far = sorted(rates, key=lambda role: abs(rates[role] - 1))
    # Two processes on one core share its time, so the sum of their own times does not exceed the time that passed.
    walls = sum(rates.values()) > 1 + CLOCKS_APART
    if walls and abs(rates[near] - 1) < CLOCKS_APART < abs(rates[far] - 1):
        raise CellFaultError(f"its clock is wrong: it counts {rates[far]:.3f} s per second", far)
    lasted: dict[Side, list[float]] = {"base": base.by_host, "head": head.by_host}
    shorter, longer = sorted(SIDES, key=lambda side: sum(lasted[side]))
    short, long = sum(lasted[shorter]), sum(lasted[longer])
    in_every_block = all(
        one < (1 - SIDES_APART) * other for one, other in zip(lasted[shorter], lasted[longer], strict=True)
    )
    interrupted = INTERRUPTED if len(base.by_host) > FEW_BLOCKS else INTERRUPTED_IN_FEW
    if in_every_block and short < (1 - SIDES_APART) * long - interrupted:
        raise CellFaultError(
            f"its clock is wrong: it reports {short:.3f} s for a time in which the other side's reports {long:.3f} s",
            shorter,
        )
