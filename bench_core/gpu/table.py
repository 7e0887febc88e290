"""Shows the record of a GPU run: what limits each cell, whether the timers agree, and the state of the device."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench_core import tables, units
from bench_core.gpu.accelerator import DeviceState
from bench_core.gpu.record import AGREES_WITHIN, CellTimes, GpuRun, TimerComparison, Yardstick

DRIFT = 0.02
"""A relative change of speed or clock above this, from the start to the end of a run, gets a warning."""

_BOUND_STYLES = {"launch": "yellow", "waits": "magenta", "device": "green", "even": ""}
_VERDICT_STYLES = {"agrees": "green", "differs": "red", "undecided": "yellow", "not compared": "dim"}


def report(run: GpuRun) -> RenderableType:
    """The cells, the comparison with other timers, the machine, and warnings."""
    parts: list[RenderableType] = [cells(run), legend(), "", comparison(run), "", machine(run)]
    found = warnings(run)
    if found:
        parts += ["", Text("Warnings", style="bold yellow")]
        parts += [Text(f"- {line}") for line in found]
    return Group(*parts)


def cells(run: GpuRun) -> Table:
    headings = ("", "host", "±", "device", "±", "L2", "launch", "bound by", "GB/s", "of limit")
    table = tables.terminal("lrrrrrrrrr", headings, title=f"Cells on {run.device}")
    limits: dict[str, Yardstick] = {stick.operation: stick for stick in run.yardsticks}
    for benchmark, group in itertools.groupby(run.cells, key=lambda cell: cell.name.partition("(")[0]):
        table.add_row(Text(benchmark, style="cyan"))
        for cell in group:
            table.add_row(*_cell_row(cell, limits))
    return table


def _cell_row(cell: CellTimes, limits: Mapping[str, Yardstick]) -> Iterator[Text | str]:
    yield "  " + (cell.name.partition("(")[2].removesuffix(")") or cell.name)
    for interval in (cell.host_seconds, cell.device_seconds):
        yield units.time(interval.middle)
        yield units.uncertainty(interval)
    yield cell.l2
    yield units.time(cell.launch_seconds.middle)
    yield Text(cell.bound, style=_BOUND_STYLES[cell.bound])
    if cell.bandwidth is None or not cell.gapless:  # a device time with gaps would give the host's bandwidth
        return
    yield units.bandwidth(cell.bandwidth)
    limit = limits.get(cell.yardstick or "")
    if limit is not None:
        yield units.percent(cell.bandwidth / limit.bandwidth.middle, 0)


def legend() -> Text:
    return Text(
        "host: time on the host's clock around many calls, with an empty queue at both ends.  device: time between the "
        "device's events around calls that were enqueued before.  L2: the state of that cache in the device's samples; "
        "cold where each call needs a fresh object.  launch: the host's time to enqueue a call.  bound by launch: the "
        "device idles between calls; by device: the host waits; even: the two are too close; waits: the call itself "
        "waits for the device, so its device time includes gaps.  GB/s: the bytes that the job must move, divided by "
        "the device time.  of limit: relative to a fill (or copy) of memory far larger than the L2 cache; above 100 % "
        "the cache was used.  ±: half the 95 % interval of the median.",
        style="dim",
    )


def comparison(run: GpuRun) -> Table:
    low, high = AGREES_WITHIN
    title = f"Our time over that of other timers, measured in turn; agrees: within {low} to {high}"
    headings = ("", "clock", "L2", "ours", "theirs", "ratio", "95 % interval", "")
    table = tables.terminal("lrrrrrrl", headings, title=title)
    for rival, group in itertools.groupby(sorted(run.agreements, key=lambda row: row.rival), key=lambda row: row.rival):
        rows = list(group)
        table.add_row(Text(rival, style="cyan"))
        for row in sorted(rows, key=lambda row: min(row.ours, default=0.0)):
            table.add_row(*_comparison_row(row))
        if any(row.verdict != "not compared" for row in rows):
            table.add_row(*[""] * 7, Text(tally(rows), style="dim"))
    return table


def _comparison_row(row: TimerComparison) -> Iterator[Text | str]:
    verdict = Text(row.verdict, style=_VERDICT_STYLES[row.verdict])
    yield from (f"  {row.job}", row.clock, row.l2)
    if row.verdict == "not compared":
        yield from ("", "", "", "", Text.assemble(verdict, f": {row.reason}" if row.reason else ""))
        return
    ratio = row.ratio
    for times in (row.ours, row.theirs):
        yield units.time(sorted(times)[len(times) // 2])
    yield f"{ratio.middle:.4f}"
    yield f"{ratio.low:.4f} to {ratio.high:.4f}" if ratio.known else "too few rounds"
    yield verdict


def tally(rows: list[TimerComparison]) -> str:
    """``5 of 6 agree``."""
    return f"{sum(row.verdict == 'agrees' for row in rows)} of {len(rows)} agree"


def machine(run: GpuRun) -> Table:
    after = run.after or DeviceState("nobody")
    title = f"{run.device} ({run.kind}), {run.date}" + ("" if run.finished else ", interrupted")
    table = tables.terminal("lll", ["", "at the start", "at the end"], title=title)
    for name in sorted(run.facts):
        fact = run.facts[name]
        table.add_row(name.replace("_", " "), units.size(int(fact)) if name.endswith("_bytes") else fact, "")
    for stick in run.yardsticks:
        pair = [_reached(stick, "before"), _reached(stick, "after")]
        weight = stick.moved_bytes / (2 if stick.operation == "copy_" else 1)
        table.add_row(f"{stick.operation} of {units.size(weight)}, GB/s", *pair)
    rows = (
        ("state read by", run.before.source, after.source),
        ("driver", run.before.driver, after.driver),
        ("performance state", run.before.pstate, after.pstate),
        ("SM clock, MHz", _of(run.before.sm_mhz, run.before.max_sm_mhz), _of(after.sm_mhz, after.max_sm_mhz)),
        (
            "memory clock, MHz",
            _of(run.before.memory_mhz, run.before.max_memory_mhz),
            _of(after.memory_mhz, after.max_memory_mhz),
        ),
        (
            "power, W",
            _of(run.before.power_watts, run.before.power_limit_watts),
            _of(after.power_watts, after.power_limit_watts),
        ),
        ("temperature, °C", _of(run.before.celsius), _of(after.celsius)),
        ("clocks held by", _reasons(run.before), _reasons(after)),
    )
    for name, first, last in rows:
        table.add_row(name, first or "unknown", last or "unknown")
    return table


def warnings(run: GpuRun) -> tuple[str, ...]:
    """Warnings about the times, with numbers and the next step."""
    return tuple(_warnings(run))


def _warnings(run: GpuRun) -> Iterator[str]:
    if not run.finished:
        yield (
            f"The run was interrupted after {units.plural(len(run.cells), 'cell')}, so whether the device kept its "
            "speed is unknown. Run `make gpu` again for a complete run."
        )
    for when, state in (("start", run.before), ("end", run.after)):
        if state is not None and state.slowed_by:
            yield (
                f"At the {when} the device was slowed by {units.listed(state.slowed_by)}, at "
                f"{_of(state.sm_mhz, state.max_sm_mhz) or 'an unknown number of'} MHz. Cool it, raise its power limit, "
                "or lock a clock that it can hold (`nvidia-smi --lock-gpu-clocks=MHZ`), and run again."
            )
    before, after = run.before.sm_mhz, run.after.sm_mhz if run.after else None
    if before and after and abs(after / before - 1) > DRIFT:
        yield (
            f"The SM clock went from {before:.0f} to {after:.0f} MHz. Cells timed early and late are not comparable to "
            f"better than {units.percent(abs(after / before - 1), 0)}. Lock it with `nvidia-smi --lock-gpu-clocks=MHZ`."
        )
    for stick in run.yardsticks:
        if stick.drift is not None and abs(stick.drift - 1) > DRIFT:
            yield (
                f"A large {stick.operation} took {stick.drift:.2f} times as long at the end as at the start: the "
                "device changed its speed, or another process used it. `nvidia-smi` lists the processes."
            )
    if run.before.reasons is None:
        yield "Whether the device was throttled is unknown: nvidia-smi is missing or does not say."
    yield from _counted(
        [cell.name for cell in run.cells if not cell.gapless],
        "cell",
        "waited for the device inside a call, so the device time includes gaps. Compare only host times",
    )
    yield from _counted(
        [cell.name for cell in run.cells if cell.allocations],
        "cell",
        "requested memory from the driver inside a sample, so the time includes allocation",
    )
    yield from _counted(
        [f"{row.job} ({row.rival})" for row in run.agreements if row.verdict == "differs"],
        "comparison",
        "with another timer differed by more than 2 %. Run again, and report it if it stays",
    )
    yield from _counted(
        [f"{missing.name} ({missing.reason})" for missing in run.not_timed if missing.failed],
        "cell",
        "failed without a time",
    )
    yield from _counted(
        [f"{missing.name} ({missing.reason})" for missing in run.not_timed if not missing.failed],
        "cell",
        "cannot run here",
    )


def _counted(names: list[str], noun: str, what: str) -> Iterator[str]:
    if names:
        shown = "; ".join(names[:3]) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")
        yield f"{units.plural(len(names), noun)} {what}: {shown}."


def _reached(stick: Yardstick, when: str) -> str:
    samples = stick.before if when == "before" else stick.after
    if samples is None:
        return ""
    times = sorted(samples.per_call)
    return units.bandwidth(stick.moved_bytes / times[len(times) // 2])


def _of(value: float | None, most: float | None = None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" + ("" if most is None else f" of {most:.0f}")


def _reasons(state: DeviceState) -> str:
    return "" if state.reasons is None else ", ".join(state.reasons) or "nothing"
