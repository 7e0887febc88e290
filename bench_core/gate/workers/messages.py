"""Every line that crosses a process border in a gate: one dataclass for each kind, told apart by its type.

    gate ── ProbeTask ──────────────> probe      Probed, ProbeFailed ─────────────────> gate
    gate ── NurseryTask, PairTask ──> nursery    Ready, Alive, Lost, PairDone,
                                                 and what its workers report ─────────> gate
    nursery ── SpawnedTask ─────────> worker     CellBegun, CellTimed, CellRead, ... ─> nursery
    worker ── TurnDone, TurnFailed ─> the other worker of its pair
    gate ── InspectorTask ──────────> inspector  Profile, Dumps, NotInspected ────────> gate

The empty token that two workers hand each other between samples is no message: nothing is read or written then.
"""

# No `from __future__ import annotations`: a worker drops our modules, so types could not be resolved from their names.

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from bench_core.codec import MalformedError, Tagged
from bench_core.records.gate import Side
from bench_core.records.version import VersionName

T = TypeVar("T")
Task = TypeVar("Task")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Source:
    """What a process loads to have one version.

    Attributes:
        paths: the version's folders, put in front of the import path in this order.
        packages: top-level names that must come from these folders.
        caches: the folder that keeps what `setup_cache` returned.
        python: the interpreter to run under; "" for ours.
    """

    paths: tuple[str, ...]
    packages: tuple[str, ...]
    caches: str
    python: str = ""


@dataclass(frozen=True)
class SamplingPlan:
    """How one cell is sampled. Both sides use the same plan. The first pair determines it; later pairs of a noisy cell
    may have more alternations and blocks (`bench_core.gate.measure.schedule.MORE_SAMPLES`).

    Attributes:
        number: calls in a sample.
        alternations: samples of each side in a pair.
        blocks: setups of each side in a pair.
        warm: an untimed call comes before each sample.
    """

    number: int
    alternations: int
    blocks: int
    warm: bool


# Gate and probe.


@dataclass(frozen=True)
class ProbeTask:
    """Import a suite (a folder) with one version, and list its cells.

    Attributes:
        pattern, quick: select the cells, as of `bench_core.timing.cells.SuiteDirectory.select`.
        flavoured: modules to import for their flavour, even if the suite imports them only when a cell is set up.
    """

    source: Source
    suite: str
    pattern: str | None
    quick: bool
    flavoured: tuple[str, ...]


@dataclass(frozen=True)
class ProbedCell:
    """A cell that one version has, as of `bench_core.timing.cells.Cell`; `device` is ``cpu`` if it has none."""

    name: str
    benchmark: str
    params: Mapping[str, str]
    kind: str
    why_not: str | None
    device: str


@dataclass(frozen=True)
class Probed:
    """What a probe found.

    Attributes:
        cells: the selected ones.
        none: why no cell is selected, or "".
        broken: modules that do not import, with the reason.
        declared: what asv stores about each benchmark.
        flavour: see `bench_core.gate.workers.probe.flavour`.
        preload: imported modules that belong neither to the version nor to the suite.
        imported: packages of the version that the suite imports.
    """

    cells: tuple[ProbedCell, ...]
    none: str
    broken: Mapping[str, str]
    declared: tuple[Mapping[str, Any], ...]
    flavour: Mapping[str, str]
    preload: tuple[str, ...]
    imported: tuple[str, ...]


@dataclass(frozen=True)
class ProbeFailed:
    """The suite cannot be imported with this version."""

    cause: str


# Gate and nursery.


@dataclass(frozen=True)
class NurseryTask:
    """What a nursery and all its workers need to know once.

    Attributes:
        preload: modules to import before workers are forked.
        core: the core to stay on; None for any.
        memory: bytes that a worker may allocate beyond what importing has taken; None for no limit.
    """

    sources: Mapping[VersionName, Source]
    suite: str
    preload: tuple[str, ...]
    core: int | None
    start: Literal["fork", "spawn"]
    memory: int | None


@dataclass(frozen=True)
class CellTask:
    """A cell to be sampled in a pair.

    Attributes:
        plan: None in its first pair, which determines it.
        plant: the slowdown to add on head, as a share of the time; 0 except in a self-test.
    """

    name: str
    plan: SamplingPlan | None
    plant: float


@dataclass(frozen=True)
class PairTask:
    """What one pair of workers does.

    Attributes:
        pair: its number. Every random order is drawn from it and from `seed`.
        first: the side that is started first.
        versions: the version that each side loads.
        timeout: a worker hangs after this many seconds without a turn or a report.
    """

    pair: int
    seed: int
    first: Side
    versions: Mapping[Side, VersionName]
    cells: tuple[CellTask, ...]
    timeout: float


@dataclass(frozen=True)
class Ready:
    """The nursery has imported what it was told to."""


@dataclass(frozen=True)
class Alive:
    """The workers take turns, though none has reported for a while."""


@dataclass(frozen=True)
class Lost:
    """A worker has died, or hangs; `role` is None if it cannot be told which one."""

    role: Side | None
    cause: str
    hangs: bool


@dataclass(frozen=True)
class PairDone:
    """The pair has ended. Nurseries of later pairs had better import what its workers have `imported` on the way."""

    pair: int
    imported: tuple[str, ...]


# Worker and nursery. The nursery passes all but the last on to the gate.


@dataclass(frozen=True)
class CellBegun:
    """A worker begins with a cell."""

    role: Side
    cell: str


@dataclass(frozen=True)
class FirstLook:
    """What the first pair of a cell finds out on one side.

    Attributes:
        seen: what must be the same on both sides, in words.
        number: calls in a sample, as this side would choose.
        call: seconds of a call.
        setup: seconds of a setup.
    """

    seen: Mapping[str, str]
    number: int
    call: float
    setup: float


@dataclass(frozen=True)
class Settled:
    """What follows from the first look of both sides: the plan, and what this side has seen."""

    plan: SamplingPlan
    seen: Mapping[str, str]


@dataclass(frozen=True)
class Log:
    """The times that one side took of one cell in one pair.

    Attributes:
        spans: the samples, in seconds of the cell's own timer.
        order: the side that had the first sample of each alternation.
        by_timer: the duration of each block, in seconds of the cell's own timer.
        by_host: the same in seconds of our clock.
    """

    spans: list[float] = field(default_factory=list)
    order: list[Side] = field(default_factory=list)
    by_timer: list[float] = field(default_factory=list)
    by_host: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class CellTimed:
    """A timed cell has been sampled; `settled` is None if the plan was known before."""

    role: Side
    cell: str
    settled: Settled | None
    log: Log


@dataclass(frozen=True)
class CellRead:
    """The value of a memory or tracked cell; if the benchmark returned None, it is NaN, and `nothing` is true."""

    role: Side
    cell: str
    settled: Settled | None
    value: float
    nothing: bool


@dataclass(frozen=True)
class CellFailed:
    """A cell failed on this side, or skipped itself; as of `bench_core.gate.workers.worker.CellError`."""

    role: Side
    cell: str
    cause: str
    stage: str
    skipped: bool


@dataclass(frozen=True)
class CellLeft:
    """This side gave a cell up because it failed on the other side."""

    role: Side
    cell: str


@dataclass(frozen=True)
class WorkerRefused:
    """What a worker imported is not the version that was asked for."""

    role: Side
    cause: str


@dataclass(frozen=True)
class WorkerBroken:
    """A worker cannot go on, for a reason that no single cell is known to cause."""

    role: Side
    cause: str


@dataclass(frozen=True)
class WorkerDone:
    """A worker has gone through its cells, and has `imported` these modules on the way."""

    role: Side
    imported: tuple[str, ...]


@dataclass(frozen=True)
class SpawnedTask:
    """What a spawned worker is told; a forked one inherits it.

    Attributes:
        peer, out, counts: numbers of open files: the connection to the other worker, the one for reports, and the
            counts of `bench_core.gate.workers.worker.Turns`.
    """

    role: Side
    nursery: NurseryTask
    pair: PairTask
    peer: int
    out: int
    counts: int


# Worker and worker.


@dataclass(frozen=True)
class TurnDone:
    """One side has done its step; `look` is what it found out, if that was the step."""

    look: FirstLook | None


@dataclass(frozen=True)
class TurnFailed:
    """One side's step failed; it reports the cause itself."""


# Gate and inspector.


Mode = Literal["profile", "count"]


@dataclass(frozen=True)
class InspectorTask:
    """Look at the calls of some cells with one version; callgrind writes to `folder`."""

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
        own: seconds in it, without those in what it calls.
        total: with them.
        python: it is written in Python.
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
        seconds: in it, without those in what it calls.
        bytes: that it allocates.
        elements: of the tensors that it is given.
    """

    count: float = 0.0
    seconds: float = 0.0
    bytes: float = 0.0
    elements: float = 0.0


@dataclass(frozen=True)
class Profile:
    """What was seen of one cell on one side, without valgrind.

    Attributes:
        kind: the cell's, as of `bench_core.timing.cells.Cell`.
        calls: function to how it runs.
        bytecodes: Python function to its bytecodes by name; None if there are too many to count, and for a cell that
            is not timed.
        operators: name to how it runs.
        tensors: bytes that torch allocates, at most at once.
        peak: bytes that Python and numpy allocate, at most at once.
    """

    kind: str
    calls: Mapping[str, CalledFunction]
    bytecodes: Mapping[str, Mapping[str, int]] | None
    operators: Mapping[str, Operator]
    tensors: float
    peak: float

    @property
    def timed(self) -> bool:
        """Its value is a time. Otherwise it is a size or a tracked value, of which seconds say nothing."""
        return self.kind == "time"

    @property
    def seconds(self) -> float:
        return sum(one.own for one in self.calls.values())


@dataclass(frozen=True)
class Dumps:
    """The files of callgrind: of some counts of `number` calls each, and of an `empty` count of no call."""

    number: int
    dumps: tuple[str, ...]
    empty: str


@dataclass(frozen=True)
class NotInspected:
    """A cell could not be looked at; if the inspector has died, it is `lost`."""

    cause: str
    lost: bool = False


PassedOn = CellBegun | CellTimed | CellRead | CellFailed | CellLeft | WorkerRefused | WorkerBroken
"""What a worker writes to its nursery and the nursery passes on to the gate."""

WorkerReport = PassedOn | WorkerDone
"""What a worker writes to its nursery."""

NurseryAnswer = Ready | Alive | Lost | PairDone | PassedOn
"""What a nursery writes to the gate."""

Inspection = Profile | Dumps | NotInspected
"""What an inspector writes about one cell."""


@dataclass(frozen=True)
class Dialogue(Generic[Task, Answer]):
    """What the gate (`tasks`) and one kind of process (`answers`) write to each other, and the module that it runs."""

    process: str
    module: str
    tasks: Tagged[Task]
    answers: Tagged[Answer]


PROBE: Dialogue[ProbeTask, Probed | ProbeFailed] = Dialogue(
    "probe", "bench_core.gate.workers.probe", Tagged(ProbeTask), Tagged(Probed | ProbeFailed)
)
NURSERY: Dialogue[NurseryTask | PairTask, NurseryAnswer] = Dialogue(
    "nursery", "bench_core.gate.workers.nursery", Tagged(NurseryTask | PairTask), Tagged(NurseryAnswer)
)
INSPECTOR: Dialogue[InspectorTask, Inspection] = Dialogue(
    "inspector", "bench_core.gate.why.inspector", Tagged(InspectorTask), Tagged(Inspection)
)
SPAWNED: Tagged[SpawnedTask] = Tagged(SpawnedTask)
REPORTS: Tagged[WorkerReport] = Tagged(WorkerReport)
TURNS: Tagged[TurnDone | TurnFailed] = Tagged(TurnDone | TurnFailed)


def read(messages: Tagged[T], line: str | bytes, process: str) -> T:
    """The message in a line that this process was sent.

    Raises:
        SystemExit: if there is none, with one sentence.
    """
    try:
        return messages.read(line)
    except MalformedError as error:
        raise SystemExit(f"the {process} was sent a line that is no message: {error}") from None
