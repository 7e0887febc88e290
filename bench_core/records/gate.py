"""A gate, from what it is asked for to its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bench_core.records.run import Interval
from bench_core.records.version import Version

ADDED_LATER = {"later": True}
"""Marks a field that the first files do not have, as `bench_core.codec.LATER` does. It is spelled out because workers
import this module, and must not import the codec's library."""

Side = Literal["base", "head"]

SIDES: tuple[Side, Side] = ("base", "head")


def other_side(side: Side) -> Side:
    return "head" if side == "base" else "base"


VerdictName = Literal["regression", "improvement", "pass", "inconclusive", "error"]


@dataclass(frozen=True)
class GateSettings:
    """What a gate was asked for; with the effects, all that its verdict depends on.

    Attributes:
        noise_floor: the relative effect that is not worth a red, however certain; 0.01 is 1 %.
        limit: the slowdown that must not slip through.
        error_rate: the probability of any false red in the whole comparison, at most; as much again for a false
            pass, so that all intervals together hold with 95 %. A gate with a third version makes two comparisons,
            and gives each of them half.
        seed: what every order was drawn from.
        budget: seconds that measuring may take.
        lanes: cores that measure at once.
        pattern: the regular expression that chose the cells, or None.
        profile: ``"quick"`` or ``"full"``.
        start: how workers start: ``"fork"`` or ``"spawn"``.
        family: timed cells that share the error rate; the most that any gate with a part of this evidence had. 0 for
            those that are judged.
    """

    noise_floor: float = 0.01
    limit: float = 0.05
    error_rate: float = 0.025
    seed: int = 0
    budget: float = 60.0
    lanes: int = 1
    pattern: str | None = None
    profile: str = "full"
    start: str = "fork"
    family: int = 0


@dataclass(frozen=True)
class Effect:
    """What one pair of workers says of one cell; the only numbers that the statistics see.

    Attributes:
        pair: the pair's number in this gate; all cells that it sampled share it.
        parent: the number of the process that both workers were forked from.
        log_ratio: log(head / base): the median over its alternations.
        base, head: the median time of a call in seconds; for memory and tracked values, the value.
        samples: alternations behind it.
        within: the standard error of `log_ratio` from the scatter inside the pair.
        order: the median log ratio of the alternations with base first minus that with head first, over 2.
        forked_first: the side that was forked first.
    """

    pair: int
    parent: int
    log_ratio: float
    base: float
    head: float
    samples: int
    within: float = math.nan
    order: float = math.nan
    forked_first: Side = "base"


@dataclass(frozen=True)
class CellEvidence:
    """All that a gate has found out about one cell.

    Attributes:
        name, benchmark, params, kind: as of `bench_core.timing.cells.Cell`.
        unit: ``seconds``, ``bytes``, or the unit of a tracked value.
        effects: one a pair, in the order in which they arrived.
        spent: seconds that measuring it took.
        error: why it has no verdict, or None.
        error_side: the side that failed, or None where both did, or they do not agree.
    """

    name: str
    benchmark: str
    params: Mapping[str, str]
    kind: str
    unit: str
    effects: tuple[Effect, ...] = ()
    spent: float = 0.0
    error: str | None = None
    error_side: Side | None = None

    @property
    def family(self) -> str:
        return self.benchmark.split(".", 1)[0]


@dataclass(frozen=True)
class Judgement:
    """The verdict on one cell, or on the suite as a whole.

    Attributes:
        ratio: head over base: the median of its effects with its interval; the confidence is that of the whole gate.
        verdict: see `VerdictName`.
        reason: in words; "" where the verdict says all.
        detectable: the smallest slowdown that would have been red, as a ratio less 1; inf where none would.
        unit: ``pair``, or ``parent`` where pairs of one parent are too alike to count each.
        likeness: the intra-parent correlation of its effects; NaN where it cannot be told.
        decided: no further pairs are asked for. One that another lane has begun still counts, and may undo it.
    """

    ratio: Interval
    verdict: VerdictName
    reason: str
    detectable: float
    unit: Literal["pair", "parent"] = "pair"
    likeness: float = math.nan
    decided: bool = False

    @property
    def rejects(self) -> bool:
        """Head was told apart from base; of a control, base from itself."""
        return self.verdict in ("regression", "improvement")


@dataclass(frozen=True)
class Noise:
    """What disturbed the effects, by cause: standard deviations of log ratios, each the median over the cells.

    Attributes:
        within: what the scatter inside a pair leaves in the pair's effect.
        between_pairs: from pair to pair of one parent, the former included.
        between_parents: from parent to parent, beyond that; 0 where there is no more.
        order: the size of what the first sampled side gains or loses against the second.
        forked_first: the size of what the side that is forked first gains or loses.
        likeness: the intra-parent correlation, pooled over the cells.
    """

    within: float
    between_pairs: float
    between_parents: float
    order: float
    forked_first: float
    likeness: float


@dataclass(frozen=True)
class Change:
    """Something that is counted or read in a call of a cell, on both sides.

    Attributes:
        name: of a function, or of an operator of torch.
        unit: ``calls``, ``bytecodes``, ``instructions``, ``seconds``, ``bytes``, or ``elements`` of the tensors that an
            operator is given.
        base, head: a call of the cell.
    """

    name: str
    unit: str
    base: float
    head: float

    @property
    def added(self) -> float:
        return self.head - self.base


@dataclass(frozen=True)
class Cause:
    """Why a cell is slower, as far as it can be told from outside.

    Attributes:
        cell: its name.
        sentence: what differs, with base's and head's numbers; the most likely culprit first.
        instructions: executed in a call by base and by head; None where they were not counted.
        functions: of the machine's code, with their instructions.
        operators: of torch, with whatever of them differs.
        calls: Python's functions, and C's that Python calls: how often they run, and Python's bytecodes in them.
        without: why something is missing, or "".

    Of each list the largest differences, those first that add most.
    """

    cell: str
    sentence: str
    instructions: tuple[float, float] | None = None
    functions: tuple[Change, ...] = ()
    operators: tuple[Change, ...] = ()
    calls: tuple[Change, ...] = ()
    without: str = ""


@dataclass(frozen=True)
class Instructions:
    """Instructions that a call of a cell executes, beside its time.

    Attributes:
        base, head: a call; NaN where they could not be counted.
        meaning: what they and the time mean together; or why they could not be counted.
    """

    cell: str
    base: float
    head: float
    meaning: str

    @property
    def known(self) -> bool:
        return not math.isnan(self.base)


@dataclass(frozen=True)
class GateRecord:
    """A gate, finished or interrupted: what is stored, and what every report is drawn from.

    Attributes:
        base, head: the two versions.
        machine: asv's description of the machine, with the versions of what the environment holds.
        date: when it began, ISO 8601, UTC.
        seconds: how long it took, everything included.
        cells: the evidence.
        controls: the evidence of base against base for the sentinel cells.
        left_out: cells that cannot run here, on either side: name to reason.
        identical: why nothing had to be measured, or "".
        interrupted: it was ended by Ctrl-C.
        resumed: pairs that were taken over from earlier gates on the same two versions.
        first_pair: the number of the first pair of its own; those below were taken over.
        causes: why its red cells are slower, or those with the largest estimates where only the suite as a whole is
            red; where that was asked for.
        instructions: of all timed cells, where they were asked for.
        code: the project's version, on both sides, where base and head are two installs of what it needs, or two
            interpreters; else None.
        unfair: in what the two sides' environments differ beyond what is compared; () for a fair pair.
        besides: packages that differ between the two installs, too, though they were not asked for.
        creep: the same head against a third, older version, whose steps to head may each be too small to be red. Its
            pairs ran among this gate's own; it has no controls of its own.
    """

    base: Version
    head: Version
    settings: GateSettings
    machine: Mapping[str, str]
    date: str
    seconds: float
    cells: tuple[CellEvidence, ...]
    controls: tuple[CellEvidence, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    identical: str = ""
    interrupted: bool = False
    resumed: int = 0
    first_pair: int = 0
    causes: tuple[Cause, ...] = field(default=(), metadata=ADDED_LATER)
    instructions: tuple[Instructions, ...] = field(default=(), metadata=ADDED_LATER)
    code: Version | None = field(default=None, metadata=ADDED_LATER)
    unfair: tuple[str, ...] = field(default=(), metadata=ADDED_LATER)
    besides: tuple[str, ...] = field(default=(), metadata=ADDED_LATER)
    creep: GateRecord | None = field(default=None, metadata=ADDED_LATER)


@dataclass(frozen=True)
class GateVerdict:
    """What follows from a `GateRecord`, and from nothing else.

    Attributes:
        verdict: of the gate.
        reason: one sentence.
        cells, controls: a judgement for each of the record's, in their order.
        suite: the judgement on the cells as a whole, or None where they are too few.
        control_rejects: a control was found to differ from itself: no red of this gate can be believed.
        noise: what disturbed it.
        creep: what follows from the record's `creep`; its red is the gate's.
    """

    verdict: VerdictName
    reason: str
    cells: tuple[Judgement, ...]
    controls: tuple[Judgement, ...]
    suite: Judgement | None
    control_rejects: bool
    noise: Noise
    creep: GateVerdict | None = None


@dataclass(frozen=True)
class Progress:
    """Where a gate stands.

    Attributes:
        pairs, parents: measured so far.
        decided, open, errors: cells.
        worst: name, effect and its interval (ratios) of the open cells that look slowest, at most 5.
        seconds: since it began.
        left: that it will take yet, at most.
        lanes: what each lane does now.
    """

    pairs: int
    parents: int
    decided: int
    open: int
    errors: int
    worst: tuple[tuple[str, float, float, float], ...]
    seconds: float
    left: float
    lanes: tuple[str, ...]
