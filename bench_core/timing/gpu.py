"""`make gpu`: what the cells of the quick profile cost on an accelerator, on the host's clock and on the device's.

The record of a run (`GpuRun`) holds raw samples; what is derived from them is computed on reading. It is stored as
lines of JSON and not as one ``.json`` file: asv takes every ``*.json`` under its `results_dir` for one of its own, and
warns at each `asv publish` about a folder of them without a ``machine.json``.

Importing this module does not import torch.
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bench_core import clock as clocks
from bench_core.clock import Clock
from bench_core.errors import BenchCoreError, require_writable
from bench_core.records import Interval, Samples
from bench_core.statistics import median_interval, ratio_interval
from bench_core.timing.accelerator import (
    L2,
    Accelerator,
    Call,
    DeviceSample,
    DeviceState,
    Operation,
    Plan,
    Rival,
    device_sample,
    open_accelerator,
    plan,
    rivals,
    seconds_of_flush,
)
from bench_core.timing.cells import Cell, OpenCell, SkippedError, SuiteDirectory
from bench_core.timing.sampling import choose_number, no_garbage_collection, time_sample

SCHEMA = 1

AGREES_WITHIN = (0.98, 1.02)

FEWEST_ROUNDS = 6
"""A 95 % interval of a median needs six samples."""

Bound = Literal["device", "launch", "even", "waits"]
Verdict = Literal["agrees", "differs", "undecided", "not compared"]


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
    def launch_bound(self) -> bool:
        return self.bound == "launch"

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
class Agreement:
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
    agreements: tuple[Agreement, ...] = ()
    cells: tuple[CellTimes, ...] = ()
    not_timed: tuple[NotTimed, ...] = ()
    finished: bool = False


# What is measured


def quick_cells(suite: SuiteDirectory, kind: str, pattern: str | None = None) -> tuple[Cell, ...]:
    """The timed cells on `kind` that the quick profile would keep if its device were `kind`.

    The classes' own quick profile names the CPU alone, so that `make bench` stays within its minute.

    Raises:
        BenchCoreError: if there is none.
    """

    def kept(cell: Cell) -> bool:
        # By the values and not as asv prints them: a plain "cuda" of another project's suite prints with its quotes.
        values = {name: str(value) for name, value in zip(cell.params, cell.values, strict=True)}
        quick = getattr(cell.owner, "quick", {})
        return (
            cell.kind == "time"
            and values.get("device") == kind
            and quick is not None
            and all(
                values.get(name) in {str(value) for value in wanted}
                for name, wanted in quick.items()
                if name != "device"
            )
        )

    found = suite.select(pattern)
    cells = tuple(cell for cell in found if kept(cell))
    if not cells:
        raise BenchCoreError(
            f"none of the {len(found)} selected cells is timed on {kind} in the quick profile; "
            "`bench-core list` prints the cells with their devices."
        )
    return cells


@dataclass
class _Bench:
    """What every measurement needs: the device, the two clocks of the host, and how long to measure."""

    accelerator: Accelerator
    clock: Clock
    settings: Settings
    flush_seconds: float = field(init=False)
    drained: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.drained = clocks.draining(self.accelerator.synchronize, self.clock)
        self.flush_seconds = seconds_of_flush(self.accelerator)

    def plan(self, call: Call, span: float) -> Plan:
        return plan(self.accelerator, call, span=span, flush_seconds=self.flush_seconds, clock=self.clock)

    def device(self, call: Call, how: Plan, l2: L2) -> DeviceSample:
        return device_sample(self.accelerator, call, how.number, l2=l2, head_start=how.head_start, clock=self.clock)


def measurements(
    cells: Sequence[Cell],
    accelerator: Accelerator,
    *,
    date: str,
    others: Sequence[Rival],
    clock: Clock = clocks.host,
    settings: Settings = Settings(),
    progress: Callable[[str], object] = lambda _: None,
) -> Iterator[GpuRun]:
    """Measure everything, and give the run as it stands after every step, so that it can be stored.

    Args:
        cells: see `quick_cells`.
        others: the tools to compare with, see `rivals`.
        clock: the host's, without synchronization.
        progress: gets one line before each step.
    """
    progress(f"warming up {accelerator.name}")
    keep_busy(accelerator, settings.warm_up, clock)
    run = GpuRun(
        device=accelerator.name,
        kind=accelerator.kind,
        date=date,
        facts=dict(accelerator.facts()),
        settings=settings,
        before=state_at_work(accelerator),
    )
    bench = _Bench(accelerator, clock, settings)
    progress("bandwidth of a large fill and copy")
    run = replace(run, yardsticks=tuple(_yardstick(bench, operation) for operation in ("fill_", "copy_")))
    yield run
    for operation, target in _targets() if others else ():
        progress(f"comparing with {' and '.join(rival.name for rival in others)}: {target * 1e3:.3g} ms")
        run = replace(run, agreements=run.agreements + _agreements(bench, operation, target, others))
        yield run
    for index, cell in enumerate(cells, start=1):
        progress(f"[{index}/{len(cells)}] {cell.name}")
        found = _time_cell(bench, cell)
        if isinstance(found, CellTimes):
            run = replace(run, cells=(*run.cells, found))
        else:
            run = replace(run, not_timed=(*run.not_timed, found))
        yield run
    progress("bandwidth and state once more")
    keep_busy(accelerator, settings.warm_up / 4, clock)
    again = tuple(replace(old, after=_yardstick(bench, old.operation).before) for old in run.yardsticks)
    yield replace(run, yardsticks=again, after=state_at_work(accelerator), finished=True)


def keep_busy(accelerator: Accelerator, seconds: float, clock: Clock) -> None:
    until = clock() + seconds
    while clock() < until:
        for _ in range(8):
            accelerator.flush()
        accelerator.synchronize()


def state_at_work(accelerator: Accelerator) -> DeviceState:
    """The instruments while the device works: an idle one shows idle clocks, and no reason to hold them back."""
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(accelerator.state)
        while True:
            for _ in range(8):
                accelerator.flush()
            accelerator.synchronize()
            if asked.done():
                return asked.result()


def _yardstick(bench: _Bench, operation: Operation) -> Yardstick:
    elements = min(1 << 28, bench.accelerator.memory().free // 16 // 4)
    call = bench.accelerator.job(operation, elements)
    how = bench.plan(call, 5 * bench.settings.device_span)
    with no_garbage_collection():
        taken = [bench.device(call, how, "warm").seconds for _ in range(bench.settings.rounds)]
    bench.accelerator.synchronize()
    moved = 4 * elements * (2 if operation == "copy_" else 1)
    return Yardstick(operation, moved, Samples(how.number, tuple(taken)))


def _targets() -> Iterator[tuple[Operation, float]]:
    """Six pieces of work from 10 us to 10 ms, in equal ratios, limited by memory and by arithmetic in turn."""
    operations: tuple[Operation, ...] = ("fill_", "normal_")
    for step in range(6):
        yield operations[step % 2], 1e-5 * 1000 ** (step / 5)


def _agreements(bench: _Bench, operation: Operation, target: float, others: Sequence[Rival]) -> tuple[Agreement, ...]:
    """One piece of work of about `target` seconds, timed by us and by each of the others."""
    name, call = sized_job(bench, operation, target)
    span = bench.settings.agreement_span
    number = choose_number(call, bench.drained, span / 5)
    warm = bench.plan(call, bench.settings.device_span)
    single = bench.device(call, warm, "warm").seconds / warm.number
    # As many single calls as do_bench makes in that span: each with its flush.
    cold = Plan(max(1, int(span / (single + bench.flush_seconds))), head_start=1)

    def host() -> float:
        return statistics.median(time_sample(call, number, bench.drained) / number for _ in range(5))

    def device() -> float:
        return bench.device(call, cold, "cold").seconds / cold.number

    with no_garbage_collection():
        return tuple(
            _in_turn(name, rival, host if rival.clock == "host" else device, call, bench.settings.agreement_rounds)
            for rival in others
        )


def _in_turn(job: str, rival: Rival, ours: Callable[[], float], call: Call, rounds: int) -> Agreement:
    """Both times once a round, in an order drawn anew for every round."""
    blank = Agreement(job, rival.name, rival.clock, rival.l2, reason=rival.reason)
    if rival.reason:
        return blank
    draw = random.Random(0)
    pairs: list[tuple[float, float]] = []
    for _ in range(rounds):
        try:
            if draw.random() < 0.5:
                mine, other = ours(), rival.seconds(call)
            else:
                other, mine = rival.seconds(call), ours()
        except Exception as error:  # noqa: BLE001 - a rival that fails costs its row, not the run
            return replace(blank, reason=f"{type(error).__name__}: {error}")
        pairs.append((mine, other))
    mine_all, other_all = zip(*pairs, strict=True)
    return replace(blank, ours=mine_all, theirs=other_all)


def sized_job(bench: _Bench, operation: Operation, target: float) -> tuple[str, Call]:
    """A call of about `target` device seconds, and its name: a weight of up to 256 MiB, then several passes over it."""
    most = min(1 << 26, bench.accelerator.memory().free // 16 // 4)
    elements, times = 1 << 12, 1
    while True:
        call = bench.accelerator.job(operation, elements, times)
        call()
        taken = bench.device(call, Plan(number=4, head_start=4), "warm").seconds / 4
        if taken >= 0.8 * target:
            passes = "" if times == 1 else f" x {times}"
            return f"{operation} of {elements:,} elements{passes}", call
        growth = min(4.0, max(1.25, target / taken))
        if elements < most:
            elements = min(most, int(elements * growth))
        else:
            times = math.ceil(times * growth)


def _time_cell(bench: _Bench, cell: Cell) -> CellTimes | NotTimed:
    bench.accelerator.release()  # so that the cell's question for free memory does not count what nobody uses
    try:
        reason = cell.why_not
        if reason is not None:
            return NotTimed(cell.name, reason, failed=False)
        with cell.open() as opened:
            if opened.check is not None:
                opened.check()
                opened.fresh()
            return _time_open_cell(bench, opened)
    except SkippedError as skipped:
        return NotTimed(cell.name, str(skipped), failed=False)
    except Exception as error:  # noqa: BLE001 - a cell may raise anything; the others go on
        return NotTimed(cell.name, f"{type(error).__name__}: {error}", failed=True)


def _time_open_cell(bench: _Bench, opened: OpenCell) -> CellTimes:
    """Samples of both clocks in turn, each prepared outside its span."""
    call, once = opened.call, opened.number == 1
    if once:
        call()  # what torch does once a process, not once an object
        opened.fresh()
        first = bench.device(call, Plan(1, head_start=1), "cold")
        how = Plan(1, 1 + math.ceil(1.5 * first.launch_seconds / bench.flush_seconds))
        number = 1
    else:
        how = bench.plan(call, bench.settings.device_span)
        number = opened.number or choose_number(call, bench.drained, bench.settings.host_span)
    l2: L2 = "cold" if once else "warm"
    host: list[float] = []
    device: list[DeviceSample] = []
    allocations = 0
    until = bench.clock() + bench.settings.cell_seconds

    def prepared() -> int:
        if once:
            opened.fresh()
        return bench.accelerator.allocations()

    with no_garbage_collection():
        while len(device) < bench.settings.rounds:
            if len(device) >= FEWEST_ROUNDS and bench.clock() > until:
                break
            before = prepared()
            host.append(time_sample(call, number, bench.drained))
            allocations += bench.accelerator.allocations() - before
            before = prepared()
            device.append(bench.device(call, how, l2))
            allocations += bench.accelerator.allocations() - before
    moved, yardstick = traffic_of(opened.cell)
    return CellTimes(
        name=opened.cell.name,
        host=Samples(number, tuple(host)),
        device=Samples(how.number, tuple(sample.seconds for sample in device)),
        launch=Samples(how.number, tuple(sample.launch_seconds for sample in device)),
        gapless=all(sample.gapless for sample in device),
        l2=l2,
        allocations=allocations,
        moved_bytes=moved,
        yardstick=yardstick,
    )


def traffic_of(cell: Cell) -> tuple[int | None, str | None]:
    """The bytes that the suite declares for a call (see `bench_core.suite.traffic`), and what their yardstick is."""
    method = getattr(cell.owner, cell.benchmark.rsplit(".", 1)[-1], None)
    reads, writes = (getattr(method, f"weight_{way}", 0) for way in ("reads", "writes"))
    values = {name: str(value) for name, value in zip(cell.params, cell.values, strict=True)}
    if not reads + writes or "size" not in values:
        return None, None
    from bench_core.suite.axes import dtype_of, elements

    item = dtype_of(values.get("dtype", "float32")).itemsize
    return (reads + writes) * elements(values["size"]) * item, "copy_" if reads else "fill_"


# The command


def run_gpu(
    suite_path: Path,
    results_dir: Path,
    *,
    date: str,
    device: str | None = None,
    pattern: str | None = None,
    settings: Settings = Settings(),
    progress: Callable[[str], object] = lambda _: None,
) -> tuple[GpuRun, Path]:
    """Time the quick profile's cells on this machine's accelerator and store the record after every step.

    Args:
        suite_path: the folder of benchmarks.
        results_dir: asv's; the record goes to ``gpu/`` in it.
        date: for the record and the file's name, e.g. ``2026-01-31T1405``.
        device: the kind of accelerator; None for whatever there is.
        pattern: of cells, as for `asv run --bench`.
        progress: gets one line before each step.

    Returns:
        The run and where it is stored. After Ctrl-C it is what there was, with `finished` False.

    Raises:
        BenchCoreError: if there is no accelerator or no cell for it, the results cannot be stored, or Ctrl-C came
            before anything was measured.
    """
    accelerator = open_accelerator(device)
    suite = SuiteDirectory(suite_path)
    run: GpuRun | None = None
    path = results_dir / "gpu" / file_name(accelerator.name, date)
    require_writable(path.parent)
    for broken in suite.broken:
        progress(f"{broken.name} does not import and is left out: {broken.error}")
    try:
        cells = quick_cells(suite, accelerator.kind, pattern)
        others = rivals(settings.agreement_span)
        for run in measurements(cells, accelerator, date=date, others=others, settings=settings, progress=progress):
            write(run, path)
    except KeyboardInterrupt:
        if run is None:
            raise BenchCoreError("interrupted before anything was measured; nothing is stored.") from None
    finally:
        suite.close()
    assert run is not None
    return run, path


def file_name(device: str, date: str) -> str:
    """``gpu-nvidia-h100-pcie-2026-01-31T1405.jsonl``."""
    return f"gpu-{re.sub('[^a-z0-9]+', '-', device.lower()).strip('-')}-{date}.jsonl"


_ROWS: Mapping[str, Any] = {
    "yardsticks": Yardstick,
    "agreements": Agreement,
    "cells": CellTimes,
    "not_timed": NotTimed,
}


def write(run: GpuRun, path: Path) -> None:
    """Store the record: a line for the run, then one for each row. A reader never sees half a file."""
    whole = dataclasses.asdict(run)
    rows = [(name, row) for name in _ROWS for row in whole.pop(name)]
    lines = [{"schema": SCHEMA, **whole}, *({"row": name, **row} for name, row in rows)]
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(line) + "\n" for line in lines))
    partial.replace(path)


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
        del head["schema"]
        head["settings"] = Settings(**head["settings"])
        for when in ("before", "after"):
            head[when] = _state(head[when])
        for name, kind in _ROWS.items():
            head[name] = tuple(_row(kind, row) for row in rows if row["row"] == name)
        return GpuRun(**head)
    except (KeyError, TypeError) as error:
        raise BenchCoreError(f"{path} is damaged: {error!r}. Run `make gpu` again.") from error


def _state(found: dict[str, Any] | None) -> DeviceState | None:
    if found is None:
        return None
    reasons = found.pop("reasons")
    return DeviceState(**found, reasons=None if reasons is None else tuple(reasons))


def _row(kind: Any, row: dict[str, Any]) -> Any:
    def rebuilt(value: Any) -> Any:
        if isinstance(value, dict):
            return Samples(value["number"], tuple(value["seconds"]))
        return tuple(value) if isinstance(value, list) else value

    return kind(**{name: rebuilt(value) for name, value in row.items() if name != "row"})
