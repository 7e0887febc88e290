"""The record of `bench-core gpu`, and its file.

A record holds raw samples; whatever follows from them is computed when it is read. It is stored as lines of JSON, not
as one ``.json`` file: asv takes every ``*.json`` under its `results_dir` for one of its own, and `asv publish` warns
about a folder of them without a ``machine.json``.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench_core.codec import MalformedError, from_json, to_json
from bench_core.errors import BenchCoreError
from bench_core.files import write_whole
from bench_core.gpu.accelerator import DeviceState, Operation
from bench_core.records.run import Interval, Samples
from bench_core.statistics import median_interval, ratio_interval

Bound = Literal["device", "launch", "even", "waits"]
Verdict = Literal["agrees", "differs", "undecided", "not compared"]

SCHEMA = 1

AGREES_WITHIN = (0.98, 1.02)

FEWEST_ROUNDS = 6
"""A 95 % interval of a median needs six samples."""


@dataclass(frozen=True)
class Settings:
    """How long a run measures.

    Attributes:
        rounds: samples of each clock a cell; fewer, but at least FEWEST_ROUNDS, where `cell_seconds` run out.
        host_span: seconds a host sample lasts at least. To drain the queue costs some 10 us, 0.2 % of it.
        device_span: seconds of device work in a device sample. An event tells 0.5 us, 0.05 % of it.
        cell_seconds: host seconds after which a cell gets no more rounds.
        agreement_rounds: how often we and the others take turns.
        agreement_span: seconds that each of them measures in a round.
        warm_up: seconds of work before the first sample, for the clocks to leave their idle state.
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
    """What was measured of one cell.

    Attributes:
        host: seconds on the host's clock, with an empty queue at both ends.
        device: seconds on the device's clock.
        launch: seconds that the host took to enqueue the calls of the same samples; nothing made it wait.
        gapless: no device sample holds a launch gap (see `DeviceSample`).
        l2: state of the L2 cache in the device samples. It is cold where each call needs a fresh object.
        allocations: how often the caching allocator went to the driver inside the samples; 0 says that it was warm.
        moved_bytes: what a call cannot do without moving, where the suite declares it.
        yardstick: the operation whose bandwidth limits that.
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
        """What limits a long row of such calls.

        ``launch``: the host takes longer to enqueue a call than the device to do it, so the device idles and the host
        time is the launch time. ``device``: the other way round. ``even``: the intervals of the two overlap. ``waits``:
        the samples are not gapless, so that device time cannot be told from the gaps in it.
        """
        if not self.gapless:
            return "waits"
        launch, device = self.launch_seconds, self.device_seconds
        if launch.low > device.high:
            return "launch"
        return "device" if device.low > launch.high else "even"

    @property
    def bandwidth(self) -> float | None:
        """Bytes a device second, where bytes are declared."""
        middle = self.device_seconds.middle
        return self.moved_bytes / middle if self.moved_bytes is not None and middle > 0 else None


@dataclass(frozen=True)
class Yardstick:
    """The bandwidth of a large fill or copy, on the device's clock, at the start of the run and at its end.

    Attributes:
        moved_bytes: read and written by one call; many times the L2 cache.
        after: None while the run goes on.
    """

    operation: Operation
    moved_bytes: int
    before: Samples
    after: Samples | None = None

    @property
    def bandwidth(self) -> Interval:
        """Bytes a second, over all samples."""
        seconds = self.before.per_call + (self.after.per_call if self.after else ())
        return median_interval([self.moved_bytes / one for one in seconds])

    @property
    def drift(self) -> float | None:
        """Median time at the end over that at the start: other than 1, the device has changed its speed."""
        if self.after is None:
            return None
        return statistics.median(self.after.per_call) / statistics.median(self.before.per_call)


@dataclass(frozen=True)
class TimerComparison:
    """Our time of one piece of work against that of another tool, taken in turn.

    Attributes:
        job: what was timed.
        rival: the other tool.
        clock: ``host`` or ``device``.
        l2: state of the L2 cache, the same for both.
        ours, theirs: seconds a call; the i-th of both were measured next to each other.
        reason: why there is no comparison; empty if there is one.
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
        """Ours over theirs."""
        return ratio_interval(self.ours, self.theirs)

    @property
    def verdict(self) -> Verdict:
        """Whether the interval of the ratio lies within AGREES_WITHIN, apart from it, or across one of its ends."""
        if self.reason or not self.ours:
            return "not compared"
        ratio, (low, high) = self.ratio, AGREES_WITHIN
        if low <= ratio.low and ratio.high <= high:
            return "agrees"
        return "differs" if ratio.high < low or ratio.low > high else "undecided"


@dataclass(frozen=True)
class NotTimed:
    """A cell that has no time.

    Attributes:
        failed: its check or the operation failed; otherwise it does not run here.
    """

    name: str
    reason: str
    failed: bool


@dataclass(frozen=True)
class GpuRun:
    """One run, as far as it has come.

    Attributes:
        device: the maker's name of the device.
        kind: torch's name for it.
        date: as given by the caller.
        facts: versions and fixed properties.
        settings: as `Settings`.
        before, after: the device's instruments while it worked, at the start and at the end.
        finished: the run came to its end.
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
"""The parts of a run that are stored with a line for each of their rows."""


def write(run: GpuRun, path: Path) -> None:
    """Store the record: a line for the run, then one for each row. A reader never sees half a file."""
    whole = to_json(run)
    rows = [{"row": name, **row} for name in TABLES for row in whole.pop(name)]
    lines = [{"schema": SCHEMA, **whole}, *rows]
    write_whole(path, "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))


def read(path: Path) -> GpuRun:
    """Read a record.

    Raises:
        BenchCoreError: if it cannot be read, or was written by another schema.
    """
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
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
