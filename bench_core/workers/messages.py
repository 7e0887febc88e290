"""All messages between the processes of a gate, one dataclass for each kind.

    gate ── ProbeTask ──────────────> probe      Probed, ProbeFailed ─────────────────> gate
    gate ── NurseryTask, PairTask ──> nursery    Ready, Alive, Lost, PairDone,
                                                 and what its workers report ─────────> gate
    nursery ── SpawnedTask ─────────> worker     CellBegun, CellTimed, CellRead, ... ─> nursery
    worker ── TurnDone, TurnFailed ─> the other worker of its pair
    gate ── RecordTask ─────────────> recorder   Recorded ────────────────────────────> gate
    gate ── InspectorTask ──────────> inspector  Profile, Dumps, NotInspected ────────> gate

The token that two workers hand each other between samples is empty, so that no message is read or written then.
"""

# No `from __future__ import annotations`: a worker drops our modules, so it could not resolve types from their names.

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from bench_core.codec import LATER, MalformedError, Tagged
from bench_core.records.gate import Side
from bench_core.records.model import ModelLayout, ModelSpec
from bench_core.records.version import VersionName

T = TypeVar("T")
Task = TypeVar("Task")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Confinement:
    """Where a confined process may write, and what it may read besides the system and Python. In the first writable
    folder it keeps its temporary files."""

    writable: tuple[str, ...]
    readable: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """How a process imports one version.

    Attributes:
        paths: the version's folders, which come first in the import path, in this order.
        packages: top-level names that must come from these folders.
        caches: the folder for the values of `setup_cache`.
        python: the interpreter; "" for ours.
        confined: how the process is confined before it imports anything of the version; None if it is not.
    """

    paths: tuple[str, ...]
    packages: tuple[str, ...]
    caches: str
    python: str = ""
    confined: Confinement | None = None


@dataclass(frozen=True)
class Effort:
    """How much a group is sampled at one setting up.

    Attributes:
        alternations: the most samples of each place.
        fewest: the fewest samples of each place, however slow the cell is.
        blocks: the most setups. Each gets an equal part of the alternations.
        span: the most seconds that the samples of one place take.
        longer: by how many times a sample is longer than usual; above 1 only for calls that can be repeated.
    """

    alternations: int
    fewest: int
    blocks: int
    span: float
    longer: int = 1


@dataclass(frozen=True)
class Sampling:
    """How one place is sampled.

    Attributes:
        number: calls in a sample.
        warm: whether an untimed call comes before each sample.
    """

    number: int
    warm: bool


@dataclass(frozen=True)
class SamplingPlan:
    """How a group is sampled. Its first look determines the plan.

    Attributes:
        alternations: samples of each place.
        blocks: setups of each place.
        places: one for each place, in the order of `GroupTask`.
        setup: the approximate seconds of one setup at all places together.
    """

    alternations: int
    blocks: int
    places: tuple[Sampling, ...]
    setup: float = field(default=0.0, metadata={LATER: True})


@dataclass(frozen=True)
class ProbeTask:
    """Import a suite (a folder) with one version, and list its cells.

    Attributes:
        pattern, quick: select the cells, see `bench_core.timing.cells.SuiteDirectory.select`.
        flavoured: modules to import for their flavour, even if the suite imports them only when a cell is set up.
        timeout: seconds for benchmarks without a `timeout` of their own.
        model: a model to build and describe; None for none.
    """

    source: Source
    suite: str
    pattern: str | None
    quick: bool
    flavoured: tuple[str, ...]
    timeout: float = 60.0
    model: ModelSpec | None = None


@dataclass(frozen=True)
class ProbedCell:
    """A cell of one version, see `bench_core.timing.cells.Cell`. `device` is ``cpu`` if it has no such parameter.
    `selected` is whether it was asked for; the other version may call it otherwise, under a name that was."""

    name: str
    benchmark: str
    params: Mapping[str, str]
    kind: str
    why_not: str | None
    device: str
    index: int | None = None
    timeout: float = 60.0
    selected: bool = True


@dataclass(frozen=True)
class Probed:
    """What a probe found.

    Attributes:
        cells: all cells.
        none: why no cell is selected, or "".
        broken: parts of the suite that cannot be used, such as modules that do not import, with the reason.
        declared: what asv stores about each benchmark.
        flavour: see `bench_core.workers.probe.flavour`.
        preload: imported modules that belong neither to the version nor to the suite.
        imported: packages of the version that the suite imports.
        left_out: what has no cells although asv does not object to it, with the reason.
        files: the files of the version that the suite imports, relative to the version's folder.
        layout: what the model consists of that was asked for; None without one.
        building: the seconds that building it took, its imports not included.
        unbuilt: why that model cannot be built with this version; "" if it can.
    """

    cells: tuple[ProbedCell, ...]
    none: str
    broken: Mapping[str, str]
    declared: tuple[Mapping[str, Any], ...]
    flavour: Mapping[str, str]
    preload: tuple[str, ...]
    imported: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    layout: ModelLayout | None = None
    building: float = 0.0
    unbuilt: str = ""


@dataclass(frozen=True)
class ProbeFailed:
    """The suite cannot be imported with this version."""

    cause: str


@dataclass(frozen=True)
class NurseryTask:
    """The first message to a nursery, for it and all its workers.

    Attributes:
        preload: modules to import before workers are forked.
        core: the core to stay on; None for any.
        memory: bytes that a worker may allocate beyond what its imports have taken; None for no limit.
        elsewhere: whether the nursery itself imports on the other cores, since something is measured on `core`.
    """

    sources: Mapping[VersionName, Source]
    suite: str
    preload: tuple[str, ...]
    core: int | None
    start: Literal["fork", "spawn"]
    memory: int | None
    elsewhere: bool = False


@dataclass(frozen=True)
class CellTask:
    """A cell to be sampled.

    Attributes:
        plant: the slowdown to add on head, as a share of the time; 0 except in a self-test.
        timer: what takes a sample: "" for us, or the name of another tool (`bench_core.workers.plan.TIMERS`).
        label: its name in reports, if one cell is sampled in several ways; "" for `name`.
        index: its position among the cells of its benchmark, by which a version finds it in which it has another name;
            None if it has the same name everywhere.
        timeout: the seconds that the suite allows; 0 for the `PairTask`'s.
        patience: treat a worker as hung at the cell after this many seconds without a sign of life, if that is less
            than the timeout; 0 for no such limit.
    """

    name: str
    plant: float = 0.0
    timer: str = ""
    label: str = ""
    index: int | None = None
    timeout: float = 0.0
    patience: float = 0.0

    @property
    def reported(self) -> str:
        return self.label or self.name


@dataclass(frozen=True)
class GroupTask:
    """Cells to be sampled in turn, each on each side of the pair: the cell of a gate, or all rivals for one job. One
    cell on one side is a *place*. Places are ordered by side, and then as here.

    Attributes:
        plan: how to sample them; None to find out by a first look.
        effort: what the plan may spend if a first look makes it.
    """

    cells: tuple[CellTask, ...]
    plan: SamplingPlan | None
    effort: Effort


@dataclass(frozen=True)
class PairTask:
    """The work of a pair of workers, or of one worker alone.

    Attributes:
        pair: its number. Every random order is drawn from it and from `seed`.
        first: the side that is started first.
        versions: the version that each side loads; one side alone has a single entry.
        timeout: treat a worker as hung after this many seconds without a turn or a report, unless it is at a cell with
            a timeout of its own.
        free: whether the workers may use all cores, for cells with several threads.
    """

    pair: int
    seed: int
    first: Side
    versions: Mapping[Side, VersionName]
    groups: tuple[GroupTask, ...]
    timeout: float
    free: bool = False


@dataclass(frozen=True)
class Ready:
    """The nursery has imported what it was told to."""


@dataclass(frozen=True)
class Alive:
    """The workers take turns, though none has reported for a while."""


@dataclass(frozen=True)
class Lost:
    """A worker has died, or hangs.

    Attributes:
        role: the side; None if it is unknown which one.
        cell: the cell that it was at; "" if it was at none, or if `role` is unknown.
        timeout: the seconds that the suite allows for the cell, if it took longer; else 0.
        waited: the seconds without a sign of life after which it was given up, if the suite allows more; else 0.
    """

    role: Side | None
    cause: str
    hangs: bool
    cell: str = ""
    timeout: float = 0.0
    waited: float = 0.0


@dataclass(frozen=True)
class PairDone:
    """The pair has ended.

    Attributes:
        imported: modules that its workers have imported, and that nurseries of later pairs should import first.
        spent: the seconds of both workers together, by what they did (see `bench_core.workers.turns.Turns`).
    """

    pair: int
    imported: tuple[str, ...]
    spent: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CellBegun:
    """A worker begins with a cell, or with a group that the cell belongs to."""

    role: Side
    cell: str


@dataclass(frozen=True)
class FirstLook:
    """What one side finds out in the first pair of a cell.

    Attributes:
        seen: descriptions that must be the same on both sides.
        number: the number of calls in a sample that this side would choose.
        call: seconds of a call.
        setup: seconds of a setup.
    """

    seen: Mapping[str, str]
    number: int
    call: float
    setup: float


@dataclass(frozen=True)
class Settled:
    """The plan that follows from the first looks of all places, and what this place has seen."""

    plan: SamplingPlan
    seen: Mapping[str, str]


@dataclass(frozen=True)
class Log:
    """The samples of one place.

    Attributes:
        number: calls in a sample.
        spans: the samples, in seconds of the cell's own timer.
        positions: for each sample, its position among those of its alternation, from 0.
        by_timer: the duration of each block, in seconds of the cell's own timer.
        by_host: the duration of each block, in seconds of our clock.
        lost: for each block, the seconds that others had the core (`bench_core.workers.disturbance`).
        changed: settings of torch that the first calls have changed for all cells, such as ``threads: 1, then 2``.
        walls: the samples in seconds of our clock; empty for `timeraw` and for another tool's timer.
        computing: the samples in seconds without the time in which others had the core; NaN for one that did anything
            but compute in a single thread. Empty without `walls`, and for a cell with a timer of its own.
        spoiled: why the samples do not count, see `bench_core.workers.disturbance`; empty if they do.
        first: seconds of the first call in this process, by the cell's own timer; NaN if it was not timed, as in the
            first look, where a check may come before it.
        untimed: the share of the time of the calls in a sample that comes on top without being timed; NaN if it is
            not known, as with setups between the calls.
        used: processor time of this side for each of its samples, by the kernel's count; NaN where it was not seen
            (`bench_core.workers.witness.Testimony`). Empty for several cells at once.
        others_used: the same of the other side, as this one saw it.
        turns: processor time of this side in its turns.
        meanwhile: processor time of the other side in these turns.
    """

    number: int
    spans: list[float] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    by_timer: list[float] = field(default_factory=list)
    by_host: list[float] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    walls: list[float] = field(default_factory=list)
    computing: list[float] = field(default_factory=list)
    spoiled: list[str] = field(default_factory=list)
    first: float = math.nan
    untimed: float = math.nan
    used: list[float] = field(default_factory=list)
    others_used: list[float] = field(default_factory=list)
    turns: float = 0.0
    meanwhile: float = 0.0


@dataclass(frozen=True)
class CellTimed:
    """A timed cell has been sampled. `settled` is None if the plan was known before."""

    role: Side
    cell: str
    settled: Settled | None
    log: Log


@dataclass(frozen=True)
class CellRead:
    """The value of a memory or tracked cell. If the benchmark returned None, `value` is NaN and `nothing` is true."""

    role: Side
    cell: str
    settled: Settled | None
    value: float
    nothing: bool


@dataclass(frozen=True)
class CellFailed:
    """A cell failed on this side, or skipped itself; see `bench_core.workers.turns.CellError`."""

    role: Side
    cell: str
    cause: str
    stage: str
    skipped: bool


@dataclass(frozen=True)
class CellLeft:
    """This side gave a cell up because another place of its group failed."""

    role: Side
    cell: str


@dataclass(frozen=True)
class WorkerRefused:
    """What a worker imported is not the version that was asked for."""

    role: Side
    cause: str


@dataclass(frozen=True)
class WorkerBroken:
    """A worker cannot go on, and no cell is known to be the cause."""

    role: Side
    cause: str


@dataclass(frozen=True)
class WorkerDone:
    """A worker has finished all cells. They have `imported` these modules, and it has `spent` these seconds, by what it
    did."""

    role: Side
    imported: tuple[str, ...]
    spent: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SpawnedTask:
    """The task of a spawned worker. A forked one inherits it.

    Attributes:
        cores: the cores to stay on, see `bench_core.cores.stay_on`.
        peer: the file descriptor of the connection to the other worker; None without one.
        out: the file descriptor for reports.
        counts: the file descriptor of the counts of `bench_core.workers.turns.Turns`.
    """

    role: Side
    nursery: NurseryTask
    pair: PairTask
    cores: tuple[int, ...]
    peer: int | None
    out: int
    counts: int


@dataclass(frozen=True)
class TurnDone:
    """One side has done its step. `looks` are its results, one for each cell, if the step was the first look."""

    looks: tuple[FirstLook, ...]


@dataclass(frozen=True)
class TurnFailed:
    """One side's step failed. That side reports the cause itself."""


@dataclass(frozen=True)
class RecordTask:
    """Record which code runs when a suite (a folder) is imported with one version, and then in each of some cells.

    Attributes:
        preload: modules that belong to neither version, to import before anything is recorded.
        watched: names to look for, see `bench_core.workers.recording.Trace`.
        seed: the seed of all generators. The two sides have different ones.
        timeout: seconds after which a cell is given up.
        longest: seconds after which no further cell is recorded.
        memory: bytes that a cell may allocate beyond what its imports have taken; None for no limit.
    """

    source: Source
    suite: str
    preload: tuple[str, ...]
    cells: tuple[CellTask, ...]
    watched: tuple[str, ...]
    seed: int
    timeout: float
    longest: float
    memory: int | None = None


@dataclass(frozen=True)
class Recorded:
    """What was recorded of a cell, or of the import of the suite, whose `cell` is "".

    Attributes:
        imported: modules that the cell has imported.

    For the other attributes see `bench_core.workers.recording.Trace`.
    """

    cell: str
    ran: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    looked: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    lines: str = ""
    finds: str = ""
    warned: tuple[str, ...] = ()
    fault: str = ""
    imported: tuple[str, ...] = ()


Mode = Literal["profile", "count"]


@dataclass(frozen=True)
class InspectorTask:
    """Inspect the calls of some cells with one version, by the names that they have there. callgrind writes to
    `folder`."""

    source: Source
    suite: str
    cells: tuple[str, ...]
    mode: Mode
    folder: str


@dataclass(frozen=True)
class CalledFunction:
    """A function in a call of a cell.

    Attributes:
        count: how often it runs.
        own: seconds in the function, without its callees.
        total: seconds in the function and its callees.
        python: whether it is written in Python.
    """

    count: float = 0.0
    own: float = 0.0
    total: float = 0.0
    python: bool = False


@dataclass(frozen=True)
class Operator:
    """An operator of torch in a call of a cell.

    Attributes:
        count: how often it runs.
        seconds: seconds in the operator, without its callees.
        bytes: bytes that it allocates.
        elements: elements of its input tensors.
    """

    count: float = 0.0
    seconds: float = 0.0
    bytes: float = 0.0
    elements: float = 0.0


@dataclass(frozen=True)
class Profile:
    """The profile of one cell on one side.

    Attributes:
        kind: see `bench_core.timing.cells.Cell`.
        calls: the functions, by name.
        bytecodes: how often each bytecode of each Python function is executed; None if there are too many to count,
            and for a cell that is not timed.
        operators: the operators of torch, by name.
        tensors: the peak of torch's memory, in bytes.
        peak: the peak of Python's and numpy's memory, in bytes.
    """

    kind: str
    calls: Mapping[str, CalledFunction]
    bytecodes: Mapping[str, Mapping[str, int]] | None
    operators: Mapping[str, Operator]
    tensors: float
    peak: float

    @property
    def timed(self) -> bool:
        """Whether the cell's value is a time."""
        return self.kind == "time"

    @property
    def seconds(self) -> float:
        return sum(one.own for one in self.calls.values())


@dataclass(frozen=True)
class Dumps:
    """callgrind's files: one for each count of `number` calls, and one for an `empty` count without a call."""

    number: int
    dumps: tuple[str, ...]
    empty: str


@dataclass(frozen=True)
class NotInspected:
    """A cell could not be inspected. If the inspector has died, it is `lost`."""

    cause: str
    lost: bool = False


PassedOn = CellBegun | CellTimed | CellRead | CellFailed | CellLeft | WorkerRefused | WorkerBroken
"""Reports of a worker that the nursery passes on to the gate."""

WorkerReport = PassedOn | WorkerDone
"""All reports of a worker to its nursery."""

NurseryAnswer = Ready | Alive | Lost | PairDone | PassedOn
"""All messages of a nursery to the gate."""

Inspection = Profile | Dumps | NotInspected
"""All answers of an inspector about one cell."""


@dataclass(frozen=True)
class Dialogue(Generic[Task, Answer]):
    """The messages between the gate (`tasks`) and one kind of process (`answers`), and the module that it runs."""

    process: str
    module: str
    tasks: Tagged[Task]
    answers: Tagged[Answer]


PROBE: Dialogue[ProbeTask, Probed | ProbeFailed] = Dialogue(
    "probe", "bench_core.workers.probe", Tagged(ProbeTask), Tagged(Probed | ProbeFailed)
)
NURSERY: Dialogue[NurseryTask | PairTask, NurseryAnswer] = Dialogue(
    "nursery", "bench_core.workers.nursery", Tagged(NurseryTask | PairTask), Tagged(NurseryAnswer)
)
INSPECTOR: Dialogue[InspectorTask, Inspection] = Dialogue(
    "inspector", "bench_core.gate.why.inspector", Tagged(InspectorTask), Tagged(Inspection)
)
RECORDER: Dialogue[RecordTask, Recorded] = Dialogue(
    "recorder", "bench_core.workers.recorder", Tagged(RecordTask), Tagged(Recorded)
)
SPAWNED: Tagged[SpawnedTask] = Tagged(SpawnedTask)
REPORTS: Tagged[WorkerReport] = Tagged(WorkerReport)
TURNS: Tagged[TurnDone | TurnFailed] = Tagged(TurnDone | TurnFailed)


def read(messages: Tagged[T], line: str | bytes, process: str) -> T:
    """The message in a line that this process was sent.

    Raises:
        SystemExit: if the line is no message.
    """
    try:
        return messages.read(line)
    except MalformedError as error:
        raise SystemExit(f"the {process} was sent a line that is no message: {error}") from None
