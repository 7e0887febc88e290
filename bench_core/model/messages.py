"""The messages between `bench-core model` and the process that loads the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench_core.codec import Tagged
from bench_core.records.model import Idiom, ModelLayout, ModelSpec, RankTimes
from bench_core.workers.messages import Dialogue


@dataclass(frozen=True)
class Setting:
    """What all tasks have in common. It is the first line, and later ones replace it.

    Attributes:
        folder: where the checkpoints are.
        threads: how many threads torch may use.
        block: the name of the part of the model that is measured instead; "" for the whole.
        imports: the modules that building the model imports, in their order. Each process has them before it times
            anything: a start-up imports a module once, whatever the way.
        preload: whether to import the target and these modules once, before the processes are forked.
    """

    spec: ModelSpec
    folder: str
    threads: int
    block: str = ""
    imports: tuple[str, ...] = ()
    preload: bool = False


@dataclass(frozen=True)
class Describe:
    """Load and build the model, and say what it consists of.

    Attributes:
        ranks: how many processes shall shard it later, which is refused first; 0 for none.
    """

    timeout: float
    ranks: int = 0


@dataclass(frozen=True)
class FindImports:
    """Build the model, and name the modules that this imports."""

    timeout: float


@dataclass(frozen=True)
class Import:
    """Import the target and the modules of the setting."""

    timeout: float


@dataclass(frozen=True)
class Save:
    """Write a checkpoint of the model, with other values than those of its constructor."""

    format: str
    timeout: float


@dataclass(frozen=True)
class Check:
    """Go these ways, and compare the models with that of the plain way."""

    ways: tuple[str, ...]
    timeout: float


@dataclass(frozen=True)
class Go:
    """Go a way, and time its stages."""

    way: str
    timeout: float


@dataclass(frozen=True)
class Limits:
    """Measure how fast this machine writes and copies memory of so many bytes."""

    bytes: int
    timeout: float


@dataclass(frozen=True)
class Access:
    """Measure the jobs on the parameters of the model that is ready.

    Attributes:
        budget: about how many seconds the samples take.
    """

    budget: float
    timeout: float


@dataclass(frozen=True)
class Shard:
    """Measure the sharded model on local processes.

    Attributes:
        bytes: the memory of what is sharded.
        seconds: how long each job is called, with each number of ranks.
        block: the name of the part that is sharded; "" for the whole.
    """

    ranks: int
    bytes: int
    seconds: float
    timeout: float
    block: str = ""


Task = Describe | FindImports | Import | Save | Check | Go | Limits | Access | Shard


@dataclass(frozen=True)
class PlannedStage:
    """A stage before it is measured. See `bench_core.records.model.Stage`."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Planned:
    """A way before it is measured. See `bench_core.records.model.Way`.

    Attributes:
        format: of the checkpoint that it reads.
        copies: how many times it holds the whole model at once.
        whole_construct: whether its first stage needs no memory, so that it can be gone by a model that does not fit.
    """

    job: str
    name: str
    title: str
    stages: tuple[PlannedStage, ...]
    format: str
    copies: int
    needs: tuple[str, ...]
    code: str
    why_not: str
    whole_construct: bool = False


@dataclass(frozen=True)
class Described:
    """What a target is.

    Attributes:
        given: the format of the checkpoint that was given as the target; "" without one.
        available: the memory that is free, in bytes.
        disk: the free bytes in the folder of the checkpoints.
        block: the name of the largest part of which several copies fit into memory; "" if the whole does.
        block_bytes: its size.
        notes: what applies to this model: see `bench_core.suite.surprises`.
        sharded: the name of the part that ranks shard instead of a large model; "" for the whole.
        sharded_bytes: its size.
    """

    layout: ModelLayout
    versions: Mapping[str, str]
    ways: tuple[Planned, ...]
    given: str
    available: int
    disk: int
    block: str
    block_bytes: int
    notes: tuple[str, ...] = ()
    sharded: str = ""
    sharded_bytes: int = 0


@dataclass(frozen=True)
class FoundImports:
    """The modules that building the model imports, in their order; none of those that importing the target imports."""

    modules: tuple[str, ...]


@dataclass(frozen=True)
class Imported:
    """The target and the modules of the setting have been imported.

    Attributes:
        seconds: how long the modules of the setting took.
        threads: how many threads this has left, besides the first.
        accelerator: whether this has started an accelerator.
    """

    seconds: float
    threads: int
    accelerator: bool


@dataclass(frozen=True)
class Saved:
    """A checkpoint has been written."""

    bytes: int


@dataclass(frozen=True)
class CheckedWay:
    """What the check of a way has found. See `bench_core.suite.startup_check.Checked`.

    Attributes:
        why_not: the error that the way ends with; "" if it can be gone.
    """

    name: str
    wrong: str = ""
    others: bool = False
    why_not: str = ""


@dataclass(frozen=True)
class CheckedWays:
    ways: tuple[CheckedWay, ...]


@dataclass(frozen=True)
class Went:
    """A way was gone.

    Attributes:
        seconds: of each stage.
        peak_bytes: how much more memory the process held at the most than before; -1 if the system does not tell.
    """

    seconds: tuple[float, ...]
    peak_bytes: int


@dataclass(frozen=True)
class FoundLimits:
    """Bytes a second. A copy reads and writes each byte, and counts twice."""

    write: float
    copy: float


@dataclass(frozen=True)
class Accessed:
    """The jobs on the parameters.

    Attributes:
        seconds: how long it took besides the samples: building the model, and the checks.
    """

    idioms: tuple[Idiom, ...]
    seconds: float


@dataclass(frozen=True)
class Sharded:
    """The times of ranks."""

    times: tuple[RankTimes, ...]


@dataclass(frozen=True)
class Failed:
    """The process of a task raised an error, died or hung."""

    cause: str


@dataclass(frozen=True)
class Refused:
    """The user's request cannot be met: the text of a `BenchCoreError`."""

    cause: str


Answer = (
    Described
    | FoundImports
    | Imported
    | Saved
    | CheckedWays
    | Went
    | FoundLimits
    | Accessed
    | Sharded
    | Failed
    | Refused
)

KEEPER: Dialogue[Setting | Task, Answer] = Dialogue(
    "model's process", "bench_core.model.keeper", Tagged(Setting | Task), Tagged(Answer)
)
