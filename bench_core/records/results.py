"""What results folders hold: cells and runs of asv, gates, trials, and how a machine was when it measured."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench_core.records.gate import VerdictName
from bench_core.records.run import Interval, LeftOut


@dataclass(frozen=True)
class CellResult:
    """What is stored of one cell.

    Attributes:
        benchmark: asv's name of it, without parameters.
        params: parameter name to value, as asv prints them.
        kind: ``time``, ``peakmem``, ``track`` and so on.
        unit: of the value; seconds for times, bytes for memory.
        value: the median with asv's 99 % interval; NaN where the benchmark failed.
        samples: how many there are.
        number: calls in each.
        reads, writes: how often the job reads and writes its weight (see `bench_core.suite.traffic`); 0 if undeclared.
        rivals: the parameter whose values do the same job, if the benchmark names one.
        unties: this way of doing the job leaves tied parameters untied.
        draws: random numbers that the job must draw for each element of its weight; 0 if undeclared.
        begun: when asv began to measure the benchmark, in milliseconds since 1970; 0 where it did not store that.
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

    @property
    def name(self) -> str:
        return f"{self.benchmark}({', '.join(self.params.values())})" if self.params else self.benchmark

    @property
    def family(self) -> str:
        return self.benchmark.split(".", 1)[0]

    @property
    def elements(self) -> int | None:
        """Elements of its weight, where a parameter `size` such as ``8x4`` says so."""
        size = self.params.get("size", "")
        return math.prod(map(int, size.split("x"))) if _PRODUCT.fullmatch(size) else None

    @property
    def drawn(self) -> float | None:
        """Random numbers that the job cannot do without drawing, where they are declared."""
        return self.draws * self.elements if self.draws and self.elements is not None else None

    @property
    def moved_bytes(self) -> int | None:
        """Bytes that the job cannot do without moving, where they are declared and the dtype is one of `ITEM_BYTES`."""
        item = ITEM_BYTES.get(self.params.get("dtype", "float32"))
        if not self.reads + self.writes or self.elements is None or item is None:
            return None
        return (self.reads + self.writes) * self.elements * item

    @property
    def bandwidth(self) -> float | None:
        """Bytes a second, where bytes are declared."""
        moved = self.moved_bytes
        return None if moved is None or not self.value.middle > 0 else moved / self.value.middle


_PRODUCT = re.compile(r"[0-9]+(x[0-9]+)*")

ITEM_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class ResultFile:
    """One asv result file: what one machine and environment measured of one commit.

    Attributes:
        machine: asv's description of the machine, and of the environment: the versions of what it holds, and as
            ``env-NAME`` (so asv's own pages call them) the variables that were set.
        failed: cells, or benchmarks as a whole, that have no value because they failed, or because it is infinite.
        date: of the commit, in milliseconds since 1970; 0 without a commit.
        environment: asv's name of it.
        outdated: benchmarks that the suite no longer has, or has in another version; their values are not read.
        infinite: those of `failed` with an infinite value, as a tracked one may be: nothing can be made of it.
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


@dataclass(frozen=True)
class TrialFigure:
    """One figure of a trial.

    Attributes:
        what: in words.
        value: as it is printed; of a count, ``k of n``.
        low, high: the bounds of a share, Clopper-Pearson 95 %; None for what is no count.
    """

    what: str
    value: str
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        command: that measures it again.
        date: ISO 8601, or two with ``to`` between them.
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
    """What a history needs of `bench_core.records.version.Version`."""

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
    """What a gate's file says at its top, and of each cell the verdict.

    Attributes:
        machine: asv's description of the machine, with the versions of what the environment holds.
        date: when it began, ISO 8601, UTC.
        verdict, reason: as they were reached when the file was written.
    """

    base: SideName
    head: SideName
    machine: Mapping[str, str]
    date: str
    verdict: VerdictName
    reason: str
    cells: tuple[CellVerdict, ...]


@dataclass(frozen=True)
class Tally:
    """What the controls of all gates so far say about how often a cell is called changed that is not.

    Attributes:
        gates: gates that measured controls.
        controls: controls that could have rejected. Those of one gate share its pairs and its weather, so they count
            for somewhat less than as many independent ones, and the true bounds are somewhat wider. So does one that
            a later gate has gone on with: it is there twice.
        rejected: those that did.
        low, high: 95 % bounds on the share that rejects.
        damaged: lines that were cut off, e.g. by a power cut; they are not counted.
    """

    gates: int
    controls: int
    rejected: int
    low: float
    high: float
    damaged: int = 0


@dataclass(frozen=True)
class Circumstances:
    """How a machine was when it measured: a line of its ``doctor.jsonl``.

    Attributes:
        date: when the run began, ISO 8601, UTC.
        commit: that it was stored under.
        caches: name to bytes, smallest first, e.g. ``{"L1d": 32768}``.
        findings: what `bench-core doctor` said: (level, sentence, what to do) each.
    """

    date: str
    commit: str
    caches: Mapping[str, int]
    findings: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Run:
    """What one machine has measured of one commit with one set of installed versions: a result file of asv's.

    Attributes:
        machine: asv's name of it.
        commit: the full hash; None outside the history.
        committed: when the commit was made, ISO 8601, UTC; "" without a commit.
        measured: when the last of its cells was begun, likewise; "" where asv did not store that.
        environment: asv's name of it, e.g. ``installed-py3.11-torch2.13.0``.
        description: asv's description of the machine, and the versions of what the environment holds.
        failed: cells, or benchmarks as a whole, that have no value because they failed, or because it is infinite.
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
        """The version that was measured with; "" where the environment names none."""
        return self.description.get("torch", "")


@dataclass(frozen=True)
class StoredGate:
    """A gate, and the file that tells of it: its own, or the history that it added a line to."""

    path: Path
    summary: Summary

    @property
    def machine(self) -> str:
        """asv's name of it."""
        return self.summary.machine.get("machine", "")


@dataclass(frozen=True)
class Store:
    """What a results folder holds.

    Attributes:
        runs: in the order of machine, date of the commit, and file.
        gates: in the order of their dates.
        ledgers: machine to the tally of its gates' controls; a machine without a ledger is missing.
        circumstances: machine to what is known of it, in the order in which it was written.
        tried: trials of the gate, a machine each.
        left_out: files, lines and benchmarks that could not be used, and why.
    """

    runs: tuple[Run, ...]
    gates: tuple[StoredGate, ...] = ()
    ledgers: Mapping[str, Tally] = field(default_factory=dict)
    circumstances: Mapping[str, tuple[Circumstances, ...]] = field(default_factory=dict)
    tried: tuple[Tried, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def machines(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(run.machine for run in self.runs))

    def of(self, machines: Collection[str]) -> Store:
        """What these machines have measured, judged and tried."""
        return replace(
            self,
            runs=tuple(run for run in self.runs if run.machine in machines),
            gates=tuple(gate for gate in self.gates if gate.machine in machines),
            tried=tuple(tried for tried in self.tried if tried.machine in machines),
        )
