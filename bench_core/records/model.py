"""The record of `bench-core model`: what a model consists of, and what its start-up and its parameters cost."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

SCHEMA = 1
"""Raise it whenever a number gets another meaning."""

VARIABLE = "BENCH_CORE_MODEL"
"""The environment variable that names a model to benchmarks that take theirs from a command: a `ModelSpec` as JSON."""

LAYOUT_NAMES = (
    "mlp",
    "resnet50",
    "vit-b16",
    "gpt2",
    "bert-base",
    "llama-135m",
    "llama-1b",
    "llama-3b",
    "llama-8b",
    "resnet50-tiny",
    "vit-b16-tiny",
    "gpt2-tiny",
    "bert-base-tiny",
    "llama-1b-tiny",
    "llama-8b-tiny",
)
"""The names of `bench_core.suite.layouts.LAYOUTS`, for commands that run without torch."""

CALLABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
"""``package.module:callable``."""


def _check_times(name: str, seconds: Iterable[float]) -> None:
    """Raises ValueError for times that nothing can be computed from, as a damaged file may have them."""
    if wrong := [one for one in seconds if not (math.isfinite(one) and one > 0)]:
        raise ValueError(f"the time of {name} is {wrong[0]!r}, not a positive number of seconds")


def _check_counts(**counts: float) -> None:
    """Raises ValueError for a number that is none of bytes, or of anything else that is counted."""
    if wrong := [f"{name} is {count!r}" for name, count in counts.items() if not 0 <= count < math.inf]:
        raise ValueError(f"{wrong[0]}, not a number from 0 on")


@dataclass(frozen=True)
class ModelSpec:
    """Which model is asked for, and how it is made.

    Attributes:
        target: ``package.module:callable``, the name of a layout such as ``gpt2``, or the path of a checkpoint.
        device: where its parameters shall be.
        dtype: the dtype of its floating-point parameters; "" for what the builder makes.
        input: the example that a lazy model is called with: a shape such as ``2x4``, or an expression in the builder's
            module; "" without one.
        trust: whether a checkpoint that may run code is unpickled.
        ties: groups of names that must share one parameter: a model that lost one fails its check.
    """

    target: str
    device: str = "cpu"
    dtype: str = ""
    input: str = ""
    trust: bool = False
    ties: tuple[tuple[str, ...], ...] = ()

    @property
    def kind(self) -> Literal["layout", "callable", "checkpoint"]:
        """What the target names. It is no file if it can be the name of something else: ``./gpt2`` is one."""
        if self.target in LAYOUT_NAMES:
            return "layout"
        return "callable" if CALLABLE.fullmatch(self.target) else "checkpoint"

    @property
    def options(self) -> list[str]:
        """The options by which a command with ``--model`` asks for it, without `ties`."""
        words = ["--model", self.target]
        words += [] if self.device == ModelSpec.device else ["--device", self.device]
        words += ["--dtype", self.dtype] if self.dtype else []
        words += ["--input", self.input] if self.input else []
        return [*words, "--trust"] if self.trust else words


@dataclass(frozen=True)
class ModelLayout:
    """What a model consists of. Sizes are in bytes, and count memory that several names share once.

    Attributes:
        modules: the number of modules.
        parameters, elements, bytes: the parameters: tensors, their elements, their memory.
        buffers, buffer_bytes: the buffers.
        largest: the name of the largest parameter.
        largest_bytes: its size.
        dtypes: the elements of parameters by dtype, such as ``{"float32": 124439808}``.
        non_persistent: the buffers that no checkpoint holds.
        ties: groups of names of one parameter.
        tied_bytes: the memory that tying saves.
        lazy: the parameters that get a shape from the first input.
    """

    modules: int
    parameters: int
    elements: int
    bytes: int
    buffers: int = 0
    buffer_bytes: int = 0
    largest: str = ""
    largest_bytes: int = 0
    dtypes: Mapping[str, int] = field(default_factory=dict)
    non_persistent: tuple[str, ...] = ()
    ties: tuple[tuple[str, ...], ...] = ()
    tied_bytes: int = 0
    lazy: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for a count below 0."""
        names = ("modules", "parameters", "elements", "bytes", "buffers", "buffer_bytes", "largest_bytes", "tied_bytes")
        _check_counts(**{name: getattr(self, name) for name in names}, **self.dtypes)


@dataclass(frozen=True)
class Stage:
    """A part of a way to start a model up.

    Attributes:
        name: ``construct``, ``initialize``, ``read``, ``load``, ``finish`` (tie again, compute buffers again) or
            ``move``.
        seconds: its time in each process that went this way, in their order.
        bytes: the least memory traffic that it needs: bytes read and written.
    """

    name: str
    seconds: tuple[float, ...]
    bytes: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for times and sizes that a damaged file may have."""
        for one in self.seconds:
            _check_counts(seconds=one)
        _check_counts(bytes=self.bytes)


@dataclass(frozen=True)
class Way:
    """A way to get a model that is ready: with the values of a checkpoint, or initialized.

    Attributes:
        job: ``load`` or ``initialize``. The ways of one job are rivals.
        name: the idiom, as in the cells, such as ``meta_assign_mmap``.
        title: the same in words.
        stages: what it consists of, in order; empty if it cannot be gone.
        peak_bytes: the most memory that each process held more than before it began.
        wrong: how the model differs from that of the plain way; "" if it is equal.
        why_not: why this model cannot go this way; "" if it can.
        needs: what a person has to know or do, a sentence each, such as tying again.
        code: Python code to copy.
        law: how the times were extrapolated, a sentence; "" if they were measured.
    """

    job: str
    name: str
    title: str
    stages: tuple[Stage, ...] = ()
    peak_bytes: tuple[int, ...] = ()
    wrong: str = ""
    why_not: str = ""
    needs: tuple[str, ...] = ()
    code: str = ""
    law: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for stages that are not from the same processes, and for wrong times and sizes."""
        if len({len(stage.seconds) for stage in self.stages}) > 1:
            raise ValueError(f"the stages of {self.name} have different numbers of times")
        _check_times(self.name, self.seconds)
        for one in self.peak_bytes:
            _check_counts(peak_bytes=one)

    @property
    def seconds(self) -> tuple[float, ...]:
        """The time of all stages together, by process."""
        return tuple(sum(each) for each in zip(*(stage.seconds for stage in self.stages), strict=True))


@dataclass(frozen=True)
class Idiom:
    """A way to do a job on the parameters of a model that is there.

    Attributes:
        job: such as ``state_dict``, ``clip`` or ``moving_average``. The idioms of one job are rivals.
        name: the idiom, as in the cells.
        seconds: the time of a call in each process, in their order.
        bytes: the least memory traffic that the job needs; 0 if it needs none.
        wrong: how its outcome differs from that of the first idiom of the job; "" if it does what it should.
        why_not: why it does not apply to this model; "" if it does.
        note: what a person should know of it, a sentence, with its source.
    """

    job: str
    name: str
    seconds: tuple[float, ...] = ()
    bytes: int = 0
    wrong: str = ""
    why_not: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for times and sizes that a damaged file may have."""
        _check_times(self.name, self.seconds)
        _check_counts(bytes=self.bytes)


@dataclass(frozen=True)
class RankTimes:
    """A call in which every rank of a process group takes part.

    Attributes:
        job, name: as in `Idiom`.
        ranks: how many.
        seconds: for each call, the time of each rank, measured after a barrier. The call takes as long as its slowest.
        peak_bytes: the most memory that each rank held more than before.
        why_not: why it could not be measured; "" if it was.
        note: what a person should know of it.
    """

    job: str
    name: str
    ranks: int
    seconds: tuple[tuple[float, ...], ...] = ()
    peak_bytes: tuple[int, ...] = ()
    why_not: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for times and sizes that a damaged file may have."""
        _check_counts(ranks=self.ranks)
        for each in self.seconds:
            _check_times(self.name, each)
            if not each:
                raise ValueError(f"a call of {self.name} has no times")


@dataclass(frozen=True)
class ModelRecord:
    """What `bench-core model` has measured.

    Attributes:
        machine: asv's description of the machine.
        versions: of Python, torch and safetensors.
        commit: the hash of the project's commit; "" outside of a repository.
        date: when it began, ISO 8601, UTC.
        seconds: how long it took.
        ways: ways to start up, of both jobs.
        idioms: ways to do jobs on the parameters.
        ranks: calls on a sharded model.
        write_limit, copy_limit: bytes a second that this machine writes, and copies (read and written), at the size
            of this model, measured in the same minutes; 0 if unknown.
        notes: what makes the figures doubtful, or applies to this model, a sentence each.
        interrupted: whether Ctrl-C ended it.
    """

    spec: ModelSpec
    layout: ModelLayout
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    date: str
    seconds: float
    commit: str = ""
    ways: tuple[Way, ...] = ()
    idioms: tuple[Idiom, ...] = ()
    ranks: tuple[RankTimes, ...] = ()
    write_limit: float = 0.0
    copy_limit: float = 0.0
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that a damaged file may have."""
        _check_counts(seconds=self.seconds, write_limit=self.write_limit, copy_limit=self.copy_limit)


@dataclass(frozen=True)
class ModelProgress:
    """A measurement that goes on, for the live display.

    Attributes:
        doing: what is measured now, such as ``load, meta_assign``.
        round: the number of the round of ways to start up, from 1; 0 for a step that is done outside of the rounds.
        seconds, left: seconds since it began, and until the budget is used up, as far as it is known: the first round
            tells how long others take.
        needed: seconds until the fewest rounds are complete, at the pace so far; 0 if that is unknown.
    """

    doing: str
    round: int
    seconds: float
    left: float
    needed: float
