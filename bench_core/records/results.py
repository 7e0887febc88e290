"""The content of results folders: asv's cells and runs, gates, trials, and the states of machines."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench_core.codec import LATER
from bench_core.records.accepted import AcceptedRegression
from bench_core.records.gate import Asked, VerdictName
from bench_core.records.model import ModelRecord
from bench_core.records.rounds import Rounds
from bench_core.records.run import Interval, LeftOut


@dataclass(frozen=True)
class CellResult:
    """The stored result of one cell.

    Attributes:
        benchmark: asv's name of the benchmark, without parameters.
        params: the values of the parameters, as asv prints them, by name.
        kind: ``time``, ``peakmem``, ``track`` and so on.
        unit: the unit of the value; seconds for times, bytes for memory.
        value: the estimate with its 99 % interval, of what another run reads (`rounds`) or, by asv, of the median; NaN
            if the benchmark failed.
        samples: the number of samples.
        number: the number of calls in each sample.
        reads, writes: how often the job reads and writes its weight (see `bench_core.suite.traffic`); 0 if undeclared.
        rivals: the parameter whose values do the same job; None if the benchmark names none.
        unties: whether this way of doing the job leaves tied parameters untied.
        draws: the random numbers that the job must draw for each element of its weight; 0 if undeclared.
        begun: when asv began to measure the benchmark, in milliseconds since 1970; 0 if asv did not store it.
        rounds: the run of `bench-core run` that has measured the cell in rounds; None if it was measured by another
            protocol, such as asv's.
        title: the benchmark's `pretty_name`; "" without one.
    """

    benchmark: str
    params: Mapping[str, str]
    kind: str
    unit: str
    value: Interval
    samples: int
    number: int
    reads: int
    writes: int
    rivals: str | None
    unties: bool = False
    draws: float = 0
    begun: int = 0
    rounds: Rounds | None = field(default=None, repr=False)
    title: str = ""

    @property
    def name(self) -> str:
        return f"{self.benchmark}({', '.join(self.params.values())})" if self.params else self.benchmark

    @property
    def family(self) -> str:
        return self.benchmark.split(".", 1)[0]

    @property
    def elements(self) -> int | None:
        """The number of elements of the weight, if there is a parameter `size` such as ``8x4``."""
        size = self.params.get("size", "")
        return math.prod(map(int, size.split("x"))) if _PRODUCT.fullmatch(size) else None

    @property
    def drawn(self) -> float | None:
        """The random numbers that the job must draw, if they are declared."""
        return self.draws * self.elements if self.draws and self.elements is not None else None

    @property
    def moved_bytes(self) -> int | None:
        """The bytes that the job must move, if they are declared and the dtype is one of `ITEM_BYTES`."""
        item = ITEM_BYTES.get(self.params.get("dtype", "float32"))
        if not self.reads + self.writes or self.elements is None or item is None:
            return None
        return (self.reads + self.writes) * self.elements * item

    @property
    def bandwidth(self) -> float | None:
        """Bytes per second, if bytes are declared."""
        moved = self.moved_bytes
        return None if moved is None or not self.value.middle > 0 else moved / self.value.middle


_PRODUCT = re.compile(r"[0-9]+(x[0-9]+)*")

ITEM_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
"""The bytes of an element, by dtype."""


@dataclass(frozen=True)
class ResultFile:
    """One result file of asv: the measurements of one commit by one machine in one environment.

    Attributes:
        machine: asv's description of the machine and of the environment: the versions of the installed packages, and
            the variables that were set as ``env-NAME``, which is how asv's own pages name them.
        failed: cells, or whole benchmarks, without a value because they failed, or because the value is infinite.
        date: the date of the commit, in milliseconds since 1970; 0 without a commit.
        environment: asv's name of the environment.
        outdated: benchmarks that the suite does not have any more, or has in another version. Their values are not
            read.
        infinite: the cells of `failed` with an infinite value, which cannot be compared.
        runs: the runs of `bench-core run` that are stored beside it.
        damaged: what of the file with these runs cannot be used, a sentence each.
    """

    path: Path
    commit: str | None
    machine: Mapping[str, str]
    cells: tuple[CellResult, ...]
    failed: tuple[str, ...]
    date: int = 0
    environment: str = ""
    outdated: tuple[str, ...] = ()
    infinite: tuple[str, ...] = ()
    runs: tuple[Rounds, ...] = ()
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrialFigure:
    """One figure of a trial.

    Attributes:
        what: what was counted or measured, in words.
        value: the value as it is printed; for a count, ``k of n``.
        low, high: the 95 % Clopper-Pearson bounds of the share; None if the figure is no count.
    """

    what: str
    value: str
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        command: the command that measures it again.
        date: when it was measured, ISO 8601; or two dates with ``to`` between them.
        tool: the version of bench_core that was tried.
    """

    title: str
    command: str
    date: str
    tool: str
    figures: tuple[TrialFigure, ...]


@dataclass(frozen=True)
class Tried:
    """All trials on one machine."""

    machine: str
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class SideName:
    """The part of a version that a history needs."""

    name: str
    commit: str | None
    changed: tuple[str, ...]


@dataclass(frozen=True)
class CellVerdict:
    """A cell of a gate, and the verdict on it."""

    name: str
    verdict: VerdictName


@dataclass(frozen=True)
class Summary:
    """A gate without its evidence: the versions, the verdict, and the verdict on each cell.

    Attributes:
        machine: asv's description of the machine, and the versions of the installed packages.
        date: when the gate began, ISO 8601, UTC.
        verdict, reason: as they were computed when the file was written.
        strays: failures that did not happen again, each with its cell and its side.
        asked: what the gate was asked for besides its settings.
    """

    base: SideName
    head: SideName
    machine: Mapping[str, str]
    date: str
    verdict: VerdictName
    reason: str
    cells: tuple[CellVerdict, ...]
    strays: tuple[str, ...] = field(default=(), metadata={LATER: True})
    asked: Asked = field(default=Asked(), metadata={LATER: True})


@dataclass(frozen=True)
class Tally:
    """How often the controls of all gates so far found a difference where there is none.

    Attributes:
        gates: the number of gates that measured controls.
        controls: the number of controls that could have found a difference. They are not independent: controls of one
            gate share its pairs and its disturbances, and a control that a later gate continued is counted twice. So
            the true bounds are somewhat wider.
        rejected: the number of controls that found a difference.
        low, high: the 95 % bounds on the share of controls that find a difference.
        damaged: the number of lines that were cut off, e.g. by a power cut. They are not counted.
    """

    gates: int
    controls: int
    rejected: int
    low: float
    high: float
    damaged: int = 0


@dataclass(frozen=True)
class Circumstances:
    """The state of a machine when a run began: a line of its ``doctor.jsonl``.

    Attributes:
        date: when the run began, ISO 8601, UTC.
        commit: the commit that the run was stored under.
        caches: the sizes of the caches in bytes, the smallest first, e.g. ``{"L1d": 32768}``.
        findings: the findings of `bench-core doctor`: (level, sentence, what to do).
    """

    date: str
    commit: str
    caches: Mapping[str, int]
    findings: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Run:
    """The measurements of one commit by one machine with one set of installed versions, from one result file of asv.

    Attributes:
        machine: asv's name of the machine.
        commit: the full hash; None outside the history.
        committed: when the commit was made, ISO 8601, UTC; "" without a commit.
        measured: when asv began to measure the last of the cells, ISO 8601, UTC; "" if asv did not store it.
        environment: asv's name of the environment, e.g. ``installed-py3.11-torch2.13.0``.
        description: asv's description of the machine, and the versions of the installed packages.
        failed: cells, or whole benchmarks, without a value because they failed, or because the value is infinite.
    """

    path: Path
    machine: str
    commit: str | None
    committed: str
    measured: str
    environment: str
    description: Mapping[str, str]
    cells: tuple[CellResult, ...]
    failed: tuple[str, ...]

    @property
    def torch(self) -> str:
        """The version of torch; "" if the environment has none."""
        return self.description.get("torch", "")


@dataclass(frozen=True)
class StoredGate:
    """A gate, and the file that it was read from: its own file, or the history of its machine."""

    path: Path
    summary: Summary

    @property
    def machine(self) -> str:
        """asv's name of the machine."""
        return self.summary.machine.get("machine", "")


@dataclass(frozen=True)
class Store:
    """The content of a results folder.

    Attributes:
        runs: ordered by machine, date of the commit, and file.
        gates: ordered by date.
        ledgers: the tally of the gates' controls of each machine that has a ledger.
        circumstances: the states of each machine, in the order in which they were written.
        tried: the trials of the gate, by machine.
        left_out: files, lines and benchmarks that could not be used, and why.
        accepted: the regressions that somebody has accepted in a pull request, oldest first.
        models: the records of `bench-core model`, oldest first.
    """

    runs: tuple[Run, ...]
    gates: tuple[StoredGate, ...] = ()
    ledgers: Mapping[str, Tally] = field(default_factory=dict)
    circumstances: Mapping[str, tuple[Circumstances, ...]] = field(default_factory=dict)
    tried: tuple[Tried, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    accepted: tuple[AcceptedRegression, ...] = ()
    models: tuple[ModelRecord, ...] = ()

    @property
    def machines(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(run.machine for run in self.runs))

    def of(self, machines: Collection[str]) -> Store:
        """The part that belongs to these machines."""
        return replace(
            self,
            runs=tuple(run for run in self.runs if run.machine in machines),
            gates=tuple(gate for gate in self.gates if gate.machine in machines),
            tried=tuple(tried for tried in self.tried if tried.machine in machines),
            models=tuple(model for model in self.models if model.machine.get("machine") in machines),
        )
