"""The record of `bench-core gpu`, and its file.

A record contains raw samples, from which everything else is computed on reading. It is stored as lines of JSON, not as
a ``.json`` file: asv reads every ``*.json`` under its `results_dir`, and `asv publish` warns about a folder of them
without a ``machine.json``.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench_core.codec import MalformedError, from_json, loads, to_json
from bench_core.errors import BenchCoreError
from bench_core.files import write_whole
from bench_core.gpu.accelerator import DeviceState, Operation
from bench_core.records.run import Interval, Samples
from bench_core.statistics import median_interval, ratio_interval

Bound = Literal["device", "launch", "even", "waits"]
Verdict = Literal["agrees", "differs", "undecided", "not compared"]

SCHEMA = 1

AGREES_WITHIN = (0.98, 1.02)
"""Two timers agree if the interval of the ratio of their times lies between these ends."""

FEWEST_ROUNDS = 6
"""The fewest rounds of a cell. A 95 % interval of a median needs six samples."""


@dataclass(frozen=True)
class Settings:
    """How long a run measures.

    Attributes:
        rounds: samples of each clock per cell; fewer, but at least `FEWEST_ROUNDS`, if `cell_seconds` run out.
        host_span: the least seconds of a host sample. Draining the queue takes about 10 us, 0.2 % of it.
        device_span: seconds of device work in a device sample. An event has a resolution of 0.5 us, 0.05 % of it.
        cell_seconds: host seconds after which a cell gets no more rounds.
        agreement_rounds: rounds of the comparison with other timers.
        agreement_span: seconds that each timer measures in a round.
        warm_up: seconds of work before the first sample, so that the clocks leave their idle state.
    """

    rounds: int = 21
    host_span: float = 5e-3
    device_span: float = 1e-3
    cell_seconds: float = 2.0
    agreement_rounds: int = 11
    agreement_span: float = 0.05
    warm_up: float = 2.0


USUAL = Settings()
"""The settings of `make gpu`."""


@dataclass(frozen=True)
class CellTimes:
    """The samples of one cell.

    Attributes:
        host: seconds on the host's clock, with an empty queue at both ends.
        device: seconds on the device's clock.
        launch: seconds in which the host enqueued the calls of the device samples without waiting.
        gapless: whether no device sample has a launch gap (see `DeviceSample`).
        l2: the state of the L2 cache in the device samples. It is cold if each call needs a fresh object.
        allocations: requests of the caching allocator to the driver within samples; 0 means that it was warm.
        moved_bytes: bytes that a call must move, if the suite declares them.
        yardstick: the operation whose bandwidth limits the call.
    """

    name: str
    host: Samples
    device: Samples
    launch: Samples
    gapless: bool
    l2: str
    allocations: int
    moved_bytes: int | None = None
    yardstick: str | None = None

    @property
    def host_seconds(self) -> Interval:
        return median_interval(self.host.per_call)

    @property
    def device_seconds(self) -> Interval:
        return median_interval(self.device.per_call)

    @property
    def launch_seconds(self) -> Interval:
        return median_interval(self.launch.per_call)

    @property
    def bound(self) -> Bound:
        """What limits a long sequence of such calls. ``launch``: enqueueing a call takes longer than its work, so the
        device idles. ``device``: the work takes longer. ``even``: the intervals of the two overlap. ``waits``: the
        samples are not gapless, so the device time includes gaps."""
        if not self.gapless:
            return "waits"
        launch, device = self.launch_seconds, self.device_seconds
        if launch.low > device.high:
            return "launch"
        return "device" if device.low > launch.high else "even"

    @property
    def bandwidth(self) -> float | None:
        """Bytes per second of device time; None if no bytes are declared."""
        middle = self.device_seconds.middle
        return self.moved_bytes / middle if self.moved_bytes is not None and middle > 0 else None


@dataclass(frozen=True)
class Yardstick:
    """The bandwidth of a large fill or copy on the device's clock, at the start and at the end of the run.

    Attributes:
        moved_bytes: bytes that one call reads and writes, many times the L2 cache.
        before: samples at the start.
        after: samples at the end; None before.
    """

    operation: Operation
    moved_bytes: int
    before: Samples
    after: Samples | None = None

    @property
    def bandwidth(self) -> Interval:
        """Bytes per second, from all samples."""
        seconds = self.before.per_call + (self.after.per_call if self.after else ())
        return median_interval([self.moved_bytes / one for one in seconds])

    @property
    def drift(self) -> float | None:
        """The median time at the end over that at the start. If it is not 1, the device changed its speed."""
        if self.after is None:
            return None
        return statistics.median(self.after.per_call) / statistics.median(self.before.per_call)


@dataclass(frozen=True)
class TimerComparison:
    """Our time of one job and that of another timer, measured in turn.

    Attributes:
        rival: the other timer.
        clock: ``host`` or ``device``.
        l2: the state of the L2 cache, the same for both.
        ours: our seconds per call, one value per round.
        theirs: the other timer's seconds per call, in the same rounds.
        reason: why there is no comparison; "" if there is one.
    """

    job: str
    rival: str
    clock: str
    l2: str
    ours: tuple[float, ...] = ()
    theirs: tuple[float, ...] = ()
    reason: str = ""

    @property
    def ratio(self) -> Interval:
        """Our time over the other timer's."""
        return ratio_interval(self.ours, self.theirs)

    @property
    def verdict(self) -> Verdict:
        """Whether the interval of the ratio is inside `AGREES_WITHIN`, outside, or includes one of its ends."""
        if self.reason or not self.ours:
            return "not compared"
        ratio, (low, high) = self.ratio, AGREES_WITHIN
        if low <= ratio.low and ratio.high <= high:
            return "agrees"
        return "differs" if ratio.high < low or ratio.low > high else "undecided"


@dataclass(frozen=True)
class NotTimed:
    """A cell without a time: its check or its operation `failed`, or else it cannot run here."""

    name: str
    reason: str
    failed: bool


@dataclass(frozen=True)
class GpuRun:
    """A run, possibly unfinished.

    Attributes:
        device: the maker's name of the model.
        kind: torch's name of the device, e.g. ``cuda``.
        facts: versions and fixed properties.
        before: the state of the working device at the start.
        after: the state of the working device at the end; None before.
    """

    device: str
    kind: str
    date: str
    facts: Mapping[str, str]
    settings: Settings
    before: DeviceState
    after: DeviceState | None = None
    yardsticks: tuple[Yardstick, ...] = ()
    agreements: tuple[TimerComparison, ...] = ()
    cells: tuple[CellTimes, ...] = ()
    not_timed: tuple[NotTimed, ...] = ()
    finished: bool = False


def file_name(device: str, date: str) -> str:
    """``gpu-nvidia-h100-pcie-2026-01-31T1405.jsonl``."""
    return f"gpu-{re.sub('[^a-z0-9]+', '-', device.lower()).strip('-')}-{date}.jsonl"


TABLES = ("yardsticks", "agreements", "cells", "not_timed")
"""The parts of a run that are stored with one line per row."""


def write(run: GpuRun, path: Path) -> None:
    """Store the record: a line for the run, then one for each row. A reader never sees half a file."""
    whole = to_json(run)
    rows = [{"row": name, **row} for name in TABLES for row in whole.pop(name)]
    lines = [{"schema": SCHEMA, **whole}, *rows]
    write_whole(path, "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))


def read(path: Path) -> GpuRun:
    """Read a record.

    Raises:
        BenchCoreError: if it cannot be read, or has another schema.
    """
    try:
        lines = [loads(line) for line in path.read_bytes().splitlines()]
    except (OSError, ValueError) as error:
        raise BenchCoreError(f"{path} cannot be read as the record of a GPU run: {error}.") from error
    if not lines or not isinstance(lines[0], dict) or lines[0].get("schema") != SCHEMA:
        found = lines[0].get("schema") if lines and isinstance(lines[0], dict) else None
        raise BenchCoreError(f"{path} has schema {found}; this version reads schema {SCHEMA}. Run `make gpu` again.")
    head, *rows = lines
    try:
        return from_json(GpuRun, {**head, **{name: [row for row in rows if row["row"] == name] for name in TABLES}})
    except (KeyError, TypeError, MalformedError) as error:
        raise BenchCoreError(f"{path} is damaged: {error!r}. Run `make gpu` again.") from error
