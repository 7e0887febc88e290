"""`make gpu`: times the cells of the quick profile on an accelerator, with the host's clock and with the device's.
Importing this module does not import torch."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench_core import clock as clocks
from bench_core import units
from bench_core.clock import Clock
from bench_core.errors import BenchCoreError, named, require_writable
from bench_core.gpu.accelerator import (
    L2,
    Accelerator,
    Call,
    DeviceSample,
    DeviceState,
    Operation,
    OtherTimer,
    SamplePlan,
    device_sample,
    open_accelerator,
    other_timers,
    plan,
    seconds_of_flush,
)
from bench_core.gpu.record import (
    FEWEST_ROUNDS,
    USUAL,
    CellTimes,
    GpuRun,
    NotTimed,
    Settings,
    TimerComparison,
    Yardstick,
    file_name,
    write,
)
from bench_core.records.run import Samples
from bench_core.timing.cells import Cell, OpenCell, SkippedError, SuiteDirectory
from bench_core.timing.sampling import choose_number, no_garbage_collection, time_sample


def quick_cells(suite: SuiteDirectory, kind: str, pattern: str | None = None) -> tuple[Cell, ...]:
    """The timed cells of the quick profile, but on `kind` instead of the CPU, to which the quick profile is restricted
    so that `make bench` takes about a minute.

    Raises:
        BenchCoreError: if there is no such cell.
    """

    def kept(cell: Cell) -> bool:
        # Compare values, not asv's texts: asv prints a plain string of another suite with quotes.
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
            f"none of the {len(found)} selected cells is timed on {kind} in the quick profile. `bench-core list` "
            "prints the cells with their devices."
        )
    return cells


@dataclass
class _Bench:
    """The device, the host's clock with and without draining, and the settings."""

    accelerator: Accelerator
    clock: Clock
    settings: Settings
    flush_seconds: float = field(init=False)
    drained: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.drained = clocks.draining(self.accelerator.synchronize, self.clock)
        self.flush_seconds = seconds_of_flush(self.accelerator)

    def plan(self, call: Call, span: float) -> SamplePlan:
        return plan(self.accelerator, call, span=span, flush_seconds=self.flush_seconds, clock=self.clock)

    def device(self, call: Call, how: SamplePlan, l2: L2) -> DeviceSample:
        return device_sample(self.accelerator, call, how.number, l2=l2, head_start=how.head_start, clock=self.clock)


def measurements(
    cells: Sequence[Cell],
    accelerator: Accelerator,
    *,
    date: str,
    others: Sequence[OtherTimer],
    clock: Clock = clocks.host,
    settings: Settings = USUAL,
    progress: Callable[[str], object] = lambda _: None,
) -> Iterator[GpuRun]:
    """Measure everything, and yield the run after every step, so that it can be stored.

    Args:
        cells: see `quick_cells`.
        others: the timers to compare with, see `other_timers`.
        clock: the host's clock. It must not synchronize.
        progress: takes a line before each step.
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
        progress(f"comparing with {units.listed([timer.name for timer in others])}: {target * 1e3:.3g} ms")
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
    """The state of the device while it works. An idle device would report its idle clocks."""
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
    """Six jobs from 10 us to 10 ms in equal ratios, alternately limited by memory and by arithmetic."""
    operations: tuple[Operation, ...] = ("fill_", "normal_")
    for step in range(6):
        yield operations[step % 2], 1e-5 * 1000 ** (step / 5)


def _agreements(
    bench: _Bench, operation: Operation, target: float, others: Sequence[OtherTimer]
) -> tuple[TimerComparison, ...]:
    """Time a job of about `target` seconds with our timer and with each of the others."""
    name, call = sized_job(bench, operation, target)
    span = bench.settings.agreement_span
    number = choose_number(call, bench.drained, span / 5)
    warm = bench.plan(call, bench.settings.device_span)
    single = bench.device(call, warm, "warm").seconds / warm.number
    # As many single calls, each with a flush, as do_bench makes in this span.
    cold = SamplePlan(max(1, int(span / (single + bench.flush_seconds))), head_start=1)

    def host() -> float:
        return statistics.median(time_sample(call, number, bench.drained) / number for _ in range(5))

    def device() -> float:
        return bench.device(call, cold, "cold").seconds / cold.number

    with no_garbage_collection():
        return tuple(
            _in_turn(name, rival, host if rival.clock == "host" else device, call, bench.settings.agreement_rounds)
            for rival in others
        )


def _in_turn(job: str, rival: OtherTimer, ours: Callable[[], float], call: Call, rounds: int) -> TimerComparison:
    """Measure both times in each round, in random order."""
    blank = TimerComparison(job, rival.name, rival.clock, rival.l2, reason=rival.reason)
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
        except Exception as error:  # noqa: BLE001 - if the other timer fails, the run goes on without this row
            return replace(blank, reason=named(error))
        pairs.append((mine, other))
    mine_all, other_all = zip(*pairs, strict=True)
    return replace(blank, ours=mine_all, theirs=other_all)


def sized_job(bench: _Bench, operation: Operation, target: float) -> tuple[str, Call]:
    """A call of about `target` device seconds, preceded by its name. Above 256 MiB it repeats the operation."""
    most = min(1 << 26, bench.accelerator.memory().free // 16 // 4)
    elements, times = 1 << 12, 1
    while True:
        call = bench.accelerator.job(operation, elements, times)
        call()
        taken = bench.device(call, SamplePlan(number=4, head_start=4), "warm").seconds / 4
        if taken >= 0.8 * target:
            passes = "" if times == 1 else f" x {times}"
            return f"{operation} of {elements:,} elements{passes}", call
        growth = min(4.0, max(1.25, target / taken))
        if elements < most:
            elements = min(most, int(elements * growth))
        else:
            times = math.ceil(times * growth)


def _time_cell(bench: _Bench, cell: Cell) -> CellTimes | NotTimed:
    bench.accelerator.release()  # so that unused cached memory counts as free
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
    except Exception as error:  # noqa: BLE001 - a cell may raise anything, and the others go on
        return NotTimed(cell.name, named(error), failed=True)


def _time_open_cell(bench: _Bench, opened: OpenCell) -> CellTimes:
    """Take samples of both clocks in turn. Objects are prepared outside the timed spans."""
    call, once = opened.call, opened.number == 1
    if once:
        call()  # does what torch does once per process
        opened.fresh()
        first = bench.device(call, SamplePlan(1, head_start=1), "cold")
        how = SamplePlan(1, 1 + math.ceil(1.5 * first.launch_seconds / bench.flush_seconds))
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
    """The bytes that `bench_core.suite.traffic` declares for a call, and the operation of the yardstick."""
    method = getattr(cell.owner, cell.benchmark.rsplit(".", 1)[-1], None)
    reads, writes = (getattr(method, f"weight_{way}", 0) for way in ("reads", "writes"))
    values = {name: str(value) for name, value in zip(cell.params, cell.values, strict=True)}
    if not reads + writes or "size" not in values:
        return None, None
    from bench_core.suite.axes import dtype_of, elements

    item = dtype_of(values.get("dtype", "float32")).itemsize
    return (reads + writes) * elements(values["size"]) * item, "copy_" if reads else "fill_"


def run_gpu(
    suite: SuiteDirectory,
    results_dir: Path,
    *,
    date: str,
    device: str | None = None,
    pattern: str | None = None,
    settings: Settings = USUAL,
    progress: Callable[[str], object] = lambda _: None,
) -> tuple[GpuRun, Path]:
    """Time the quick profile's cells on this machine's accelerator and store the record after every step.

    Args:
        suite: the benchmarks.
        results_dir: asv's results folder. The record goes to its ``gpu/``.
        date: for the record and the file's name, e.g. ``2026-01-31T1405``.
        device: the kind of accelerator; None for any.
        pattern: selects cells, as in `asv run --bench`.
        progress: takes a line before each step.

    Returns:
        The run and its file. After Ctrl-C the run is incomplete, and `finished` is False.

    Raises:
        BenchCoreError: if there is no accelerator or no cell for it, if results cannot be stored, or if Ctrl-C came
            before anything was measured.
    """
    accelerator = open_accelerator(device)
    run: GpuRun | None = None
    path = results_dir / "gpu" / file_name(accelerator.name, date)
    require_writable(path.parent)
    try:
        cells = quick_cells(suite, accelerator.kind, pattern)
        others = other_timers(settings.agreement_span)
        for run in measurements(cells, accelerator, date=date, others=others, settings=settings, progress=progress):
            write(run, path)
    except KeyboardInterrupt:
        if run is None:
            raise BenchCoreError("interrupted before anything was measured, so nothing is stored.") from None
    assert run is not None
    return run, path
