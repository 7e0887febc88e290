"""The records of a gate: settings, evidence and verdict."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bench_core.codec import LATER
from bench_core.records.model import ModelSpec
from bench_core.records.run import Interval
from bench_core.records.version import Version

Side = Literal["base", "head"]

SIDES: tuple[Side, Side] = ("base", "head")

PART = "part"
"""The kind of what is no cell: a module, class or function of the suite that head cannot use, and of which no cell is
known."""

TIMED = ("time", "timeraw")
"""The kinds of cells whose times are measured. They are judged by statistics, other values by a plain rule."""

MOST = 100
"""Noise floors and limits are below this: it would be 100 times the time in addition."""

LEAST = 1e-12
"""Error rates are above this. Smaller ones need thousands of pairs, and to find out how many takes long."""

MOST_CELLS = 1_000_000_000
"""So many cells are in no suite."""

VerdictName = Literal["regression", "improvement", "pass", "inconclusive", "error"]


def other_side(side: Side) -> Side:
    return "head" if side == "base" else "base"


@dataclass(frozen=True)
class GateSettings:
    """The settings of a gate. Together with the effects they determine its verdict.

    Attributes:
        noise_floor: relative effects up to this size are ignored; 0.01 is 1 %.
        limit: a relative slowdown of this size must not pass.
        error_rate: the largest probability of any false regression in the gate, and of any false improvement. So all
            intervals hold together with a confidence of 1 - 2 `error_rate`. A gate with a past version makes two
            comparisons, and each has half of the rate.
        seed: the seed of every random order.
        budget: the seconds that measuring may take.
        lanes: the number of cores that measure at once.
        pattern: the regular expression that chose the cells, or None.
        profile: ``"quick"`` or ``"full"``.
        start: how workers start: ``"fork"`` or ``"spawn"``.
        family: the number of timed cells that share the error rate: the largest number in any gate that measured a part
            of this evidence. 0 stands for the number of timed cells in the record.
        pass_error: the largest probability that a timed cell passes although head is slower by `limit` or more. It is
            that of each cell by itself, however many there are, and in each of two comparisons.
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
    pass_error: float = field(default=0.01, metadata={LATER: True})

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that nothing can be judged by, as a damaged file may have them."""
        for name, fits, allowed in (
            ("noise_floor", 0 <= self.noise_floor < MOST, f"between 0 and {MOST}"),
            ("limit", 0 < self.limit < MOST, f"between 0 and {MOST}"),
            ("error_rate", LEAST < self.error_rate <= 0.5, f"between {LEAST:g} and 0.5"),
            ("pass_error", LEAST < self.pass_error <= 0.5, f"between {LEAST:g} and 0.5"),
            ("budget", self.budget >= 0, "a number of seconds"),
            ("lanes", self.lanes >= 0, "a number of cores"),
            ("family", 0 <= self.family < MOST_CELLS, "a number of cells"),
        ):
            if not fits:
                raise ValueError(f"{name} is {getattr(self, name)!r}, not {allowed}")


@dataclass(frozen=True)
class Effect:
    """What one pair of workers measured of one cell. The statistics see nothing else.

    Attributes:
        pair: the number of the pair in its gate. All cells that the pair sampled have the same number.
        parent: the number of the process that both workers were forked from.
        log_ratio: log(head / base), the median over the pair's alternations; NaN if a value is not positive or not
            finite.
        base, head: the median time of a call in seconds; for memory and tracked values, the value.
        samples: the number of alternations.
        within: the standard error of `log_ratio`, computed from the scatter inside the pair.
        order: half of the difference in median log ratio between alternations that begin with base and those that
            begin with head.
        forked_first: the side that was forked first.
        first_base, first_head: seconds of the cell's first call in each process; NaN if it was not timed.
        setups: what the scatter from setup to setup adds to `log_ratio`, a standard error; NaN with a single setup.
        blocks: the number of setups of each side; 0 if it is not known.
        lasted: the seconds that the samples of both sides took, with their setups; NaN if they were not timed.
        wall: as `log_ratio`, but by our clock; NaN if the cell's timer is one that shows the same time.
        unreported: the logarithm of the processor time that the samples of head took by the kernel's count, over what
            head reports of them. Base's worker reads the count. Infinite if the kernel counted far less, NaN if it
            cannot be compared.
        meanwhile: the processor time that head used in the turns of base, as a share of what base used in them; NaN if
            it is not known.
        total: the log ratio of the whole time of all samples, which what happens in few of them is a part of; NaN if it
            is not known, as with samples that others interrupted while they waited.
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
    first_base: float = field(default=math.nan, metadata={LATER: True})
    first_head: float = field(default=math.nan, metadata={LATER: True})
    wall: float = field(default=math.nan, metadata={LATER: True})
    setups: float = field(default=math.nan, metadata={LATER: True})
    lasted: float = field(default=math.nan, metadata={LATER: True})
    blocks: int = field(default=0, metadata={LATER: True})
    unreported: float = field(default=math.nan, metadata={LATER: True})
    meanwhile: float = field(default=math.nan, metadata={LATER: True})
    total: float = field(default=math.nan, metadata={LATER: True})

    @property
    def first_log_ratio(self) -> float:
        """log(head / base) of the first calls; NaN if one of them has no time."""
        timed = self.first_base > 0 and self.first_head > 0
        return math.log(self.first_head / self.first_base) if timed else math.nan


@dataclass(frozen=True)
class Exceeded:
    """A cell that takes longer than the suite allows on one side only.

    Attributes:
        timeout: the seconds that the suite allows.
        other: the seconds of a call on the other side.
    """

    side: Side
    timeout: float
    other: float


@dataclass(frozen=True)
class CellEvidence:
    """All that a gate measured of one cell.

    Attributes:
        name, benchmark, params: see `bench_core.timing.cells.Cell`.
        kind: the same, or `PART`.
        unit: ``seconds``, ``bytes``, or the unit of a tracked value.
        effects: one for each pair, in the order of their arrival.
        spent: the seconds that measuring the cell took.
        error: why the cell has no verdict, or None.
        error_side: the side that failed; None if both failed, or if the two sides do not agree.
        strays: failures that did not happen again, each with its side.
        exceeded: whether it takes longer than the suite allows on one side; None if it does on neither, or on both.
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
    strays: tuple[str, ...] = field(default=(), metadata={LATER: True})
    exceeded: Exceeded | None = field(default=None, metadata={LATER: True})

    @property
    def is_timed(self) -> bool:
        return self.kind in TIMED

    @property
    def family(self) -> str:
        return self.benchmark.split(".", 1)[0]

    @property
    def is_reading(self) -> bool:
        """Whether it is memory or a tracked value, and was read."""
        return bool(self.effects) and not self.is_timed

    def median(self, side: Side) -> float:
        """The median over the pairs of one side's time or value; NaN without pairs, or if one is NaN."""
        values = [getattr(effect, side) for effect in self.effects]
        return math.nan if not values or any(map(math.isnan, values)) else statistics.median(values)

    def first(self, side: Side) -> float:
        """The median over the pairs of one side's first call; NaN if none was timed."""
        values = [getattr(effect, f"first_{side}") for effect in self.effects]
        values = [value for value in values if not math.isnan(value)]
        return statistics.median(values) if values else math.nan


@dataclass(frozen=True)
class Bound:
    """An upper bound of a ratio.

    Attributes:
        value: the bound; inf if there is none.
        confidence: the bound holds with at least this probability, by itself; 0 if it claims no coverage.
    """

    value: float = math.inf
    confidence: float = 0.0


@dataclass(frozen=True)
class Judgement:
    """The verdict on one cell, or on all timed cells together.

    Attributes:
        ratio: head over base: the median of the effects with its interval. All intervals of the gate hold together
            with the confidence. Regressions and improvements follow from them. Of values that are not all positive, it
            is infinite, 0 or NaN, and the verdict follows from the differences.
        reason: the reason in words; "" if the verdict needs none.
        detectable: the smallest slowdown that would have been a regression, as a ratio less 1; inf if none would. Of
            values that have no ratio, it is a share of the larger magnitude, and so is `at_most`, less 1.
        unit: ``pair``, or ``parent`` if the pairs of one parent process are too alike to count separately.
        likeness: the intra-parent correlation of the effects; NaN if it cannot be computed.
        decided: whether no further pairs are needed. A pair that another lane has begun still counts, and may change
            this.
        of: what `ratio` compares: the ``calls``, or the ``first call`` of each process, if that is what decides.
        memoized: how many times as long as the others the first call takes, on the side where that is more; 0 if it is
            not known, or not so long that a cache must answer the others.
        at_most: the bound of `ratio` that a pass follows from. It is that of this cell by itself.
    """

    ratio: Interval
    verdict: VerdictName
    reason: str
    detectable: float
    unit: Literal["pair", "parent"] = "pair"
    likeness: float = math.nan
    decided: bool = False
    of: Literal["calls", "first call"] = "calls"
    memoized: float = 0.0
    at_most: Bound = Bound()

    @property
    def differs(self) -> bool:
        """Whether a difference was found."""
        return self.verdict in ("regression", "improvement")


@dataclass(frozen=True)
class JudgedCell:
    """The evidence of a cell with the judgement that follows from it."""

    evidence: CellEvidence
    judgement: Judgement

    @property
    def name(self) -> str:
        return self.evidence.name

    @property
    def verdict(self) -> VerdictName:
        return self.judgement.verdict


@dataclass(frozen=True)
class Noise:
    """What disturbed the effects, by cause: standard deviations of log ratios, each the median over the cells.

    Attributes:
        within: what the scatter inside a pair adds to its effect.
        between_pairs: the scatter from pair to pair of one parent process, `within` included.
        between_parents: the scatter from parent to parent beyond `between_pairs`; 0 if there is no more.
        order: what a side gains or loses by being sampled first.
        forked_first: what a side gains or loses by being forked first.
        likeness: the intra-parent correlation.
    """

    within: float
    between_pairs: float
    between_parents: float
    order: float
    forked_first: float
    likeness: float


@dataclass(frozen=True)
class Change:
    """Something that is counted or read in one call of a cell, on both sides.

    Attributes:
        name: the name of a function, or of an operator of torch.
        unit: ``calls``, ``bytecodes``, ``instructions``, ``seconds``, ``bytes``, or ``elements`` of the tensors that an
            operator is given.
        base, head: the amount in one call.
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
    """Why a cell is slower, as far as it can be observed from outside.

    Attributes:
        cell: the name of the cell.
        sentence: what differs, with the numbers of base and head; the most likely culprit first.
        instructions: instructions in one call of base and of head; None if they were not counted.
        functions: machine-code functions, with their instructions.
        operators: operators of torch, with everything about them that differs.
        calls: functions of Python, and those of C that Python calls: how often they run, and how many bytecodes run in
            them.
        without: why something is missing, or "".

    Each list holds the largest differences, those that add most first.
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
    """The number of instructions that one call of a cell executes.

    Attributes:
        base, head: instructions in one call; NaN if they could not be counted.
        meaning: what the counts and the time say together; or why there are no counts.
    """

    cell: str
    base: float
    head: float
    meaning: str

    @property
    def known(self) -> bool:
        return not math.isnan(self.base)


@dataclass(frozen=True)
class Asked:
    """What a gate was asked for besides its settings. A command that measures its cells again asks for the same.

    Attributes:
        isolated: whether head was confined, since it may be a stranger's.
        everything: whether cells were measured that the change cannot reach.
        handed_on: names of environment variables that the versions got besides those that they get anyway.
        timeout: the seconds after which a worker counts as hung; None for what the suite allows.
        lanes: the number of cores that measure at once; None for the default.
    """

    isolated: bool = False
    everything: bool = False
    handed_on: tuple[str, ...] = ()
    timeout: float | None = None
    lanes: int | None = None

    @property
    def options(self) -> list[str]:
        """The options of a command that ask for it."""
        words = [*["--all"] * self.everything, *["--isolated"] * self.isolated]
        words += [word for name in self.handed_on for word in ("--env", name)]
        words += [] if self.timeout is None else ["--timeout", f"{self.timeout:.15g}s"]
        return words + ([] if self.lanes is None else ["--lanes", str(self.lanes)])


@dataclass(frozen=True)
class GateRecord:
    """A gate, finished or interrupted. It is what is stored, and every report is drawn from it.

    Attributes:
        base, head: the two versions.
        machine: asv's description of the machine, and the versions of the installed packages.
        date: when the gate began, ISO 8601, UTC.
        seconds: how long the gate took, from the first look at the versions to the report.
        cells: the evidence.
        controls: the evidence of base against base, for some of the cells.
        left_out: the reasons why cells could not be compared, or parts of the suite not used, by name.
        identical: why nothing had to be measured; "" if something was.
        interrupted: whether Ctrl-C ended the gate.
        resumed: the number of effects that were taken over from earlier gates on the same versions, controls included.
        first_pair: the number of the first pair that this gate measured. Pairs with lower numbers were taken over.
        spent: seconds of all lanes together, by what they were spent on (`bench_core.gate.measure.spent.Spent`).
        causes: with ``--explain``, why the cells that are regressions are slower. If only all cells together are a
            regression, the causes are those of the cells with the largest estimates.
        instructions: with ``--instructions``, the counts of all timed cells.
        code: the version of the project if base and head are two installs or two interpreters; else None.
        unfair: differences between the environments that make the comparison unfair; () for a fair pair.
        besides: other packages that differ between two installs or interpreters.
        past: with ``--creep``, the comparison of the same head with a third, older version, which is its `base`. Many
            small slowdowns since then may add up to a regression. It has no controls of its own.
        faults: losses of processes without a cell to blame, after which the gate went on.
        renamed: the names that cells have on base, by their names, where the two differ and position tells which cells
            belong together.
        notes: how the environment differs from those of the configuration.
        unaffected: the names of the cells that the change cannot reach. They are not measured.
        reached: through what the change reaches other cells, by name, as far as it is known.
        reaches_all: why all cells count as affected, whatever they run; "" if they do not.
        model: the model that the benchmarks work on, with base's ties, if they are not the project's own; else None.
        asked: what was asked for besides the settings.
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
    causes: tuple[Cause, ...] = field(default=(), metadata={LATER: True})
    instructions: tuple[Instructions, ...] = field(default=(), metadata={LATER: True})
    code: Version | None = field(default=None, metadata={LATER: True})
    unfair: tuple[str, ...] = field(default=(), metadata={LATER: True})
    besides: tuple[str, ...] = field(default=(), metadata={LATER: True})
    past: GateRecord | None = field(default=None, metadata={LATER: True})
    faults: tuple[str, ...] = field(default=(), metadata={LATER: True})
    renamed: Mapping[str, str] = field(default_factory=dict, metadata={LATER: True})
    spent: Mapping[str, float] = field(default_factory=dict, metadata={LATER: True})
    notes: tuple[str, ...] = field(default=(), metadata={LATER: True})
    unaffected: tuple[str, ...] = field(default=(), metadata={LATER: True})
    reached: Mapping[str, str] = field(default_factory=dict, metadata={LATER: True})
    reaches_all: str = field(default="", metadata={LATER: True})
    model: ModelSpec | None = field(default=None, metadata={LATER: True})
    asked: Asked = field(default=Asked(), metadata={LATER: True})

    @property
    def strays(self) -> tuple[str, ...]:
        """The failures that did not happen again, each with its cell and its side, or of a process without a cell."""
        cells = (f"{cell.name}, {cause}" for cell in self.cells for cause in cell.strays)
        return (*cells, *(f"a process, {cause}" for cause in self.faults))

    @property
    def untouched(self) -> bool:
        """Whether the change can reach none of the cells."""
        return bool(self.unaffected) and not self.cells


@dataclass(frozen=True)
class GateVerdict:
    """What follows from a `GateRecord`, and from nothing else.

    Attributes:
        verdict: the verdict of the gate.
        reason: the verdict in one sentence.
        cells, controls: the record's evidence with its judgements, in the same order.
        suite: the judgement of all timed cells together; None if there are too few.
        control_differs: whether a control found a difference between base and itself, so that no regression can be
            believed.
        noise: what disturbed the effects.
        past: what follows from the record's `past`. A regression there is a regression of the gate.
        missing: about how many more seconds decide the cells that are not decided, at the pace of the pairs so far; 0
            if no pair has shown it.
    """

    verdict: VerdictName
    reason: str
    cells: tuple[JudgedCell, ...]
    controls: tuple[JudgedCell, ...]
    suite: Judgement | None
    control_differs: bool
    noise: Noise
    past: GateVerdict | None = None
    missing: float = 0.0


@dataclass(frozen=True)
class Progress:
    """The progress of a running gate.

    Attributes:
        pairs, parents: the numbers measured so far.
        decided, open, errors: numbers of cells.
        worst: the open cells with the largest estimates, at most 5: (name, ratio, lower end, upper end).
        seconds: the time since the gate began.
        left: the seconds that the gate will still take at most.
        needed: about how many more seconds decide all cells, at the pace of the pairs so far; None if it is not known.
        lanes: what each lane is doing.
    """

    pairs: int
    parents: int
    decided: int
    open: int
    errors: int
    worst: tuple[tuple[str, float, float, float], ...]
    seconds: float
    left: float
    needed: float | None
    lanes: tuple[str, ...]
