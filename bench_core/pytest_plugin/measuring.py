"""How a cell that is set up is timed: by pytest-benchmark's fixture, or by pytest-codspeed's."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from bench_core import clock
from bench_core.pytest_plugin.limits import CellFailedError, time_limit
from bench_core.records.run import is_memoized
from bench_core.timing.cells import OpenCell
from bench_core.timing.sampling import time_sample

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

ASV_REPEAT = (1, 10, 20.0)
"""asv's meaning of ``repeat = 0``: the least and the most samples, and the seconds for all."""

READINGS = 9
"""The pairs of spans, with the call and with nothing in them, that decide whether a call is too short for the clock."""

GRACE = 2.0
"""Seconds until the process of a text that was ended is left alone. What it has started may hold its pipes."""

CLEARLY_LONGER = 10.0
"""A call that takes this many times a reading of the clock needs no more than one such pair."""

TOO_SHORT = (
    "not timed, since a call takes no longer than a reading of the clock, and the setup runs again before each call "
    "(docs/doors.md)"
)
SETUP_EACH = "timed with a setup before each of the calls that number asks for, as in asv (docs/doors.md)"
FIRST_LEFT_OUT = (
    "timed without the first call, which took over 1,000 times as long as the others: they find what it has loaded or "
    "computed"
)
OTHER_TIMER = "run once and not timed, since the benchmark names a timer, and CodSpeed uses its own"


def exercise(opened: OpenCell) -> float:
    """Check the cell, or call it once if it has no check. The text of a `timeraw` benchmark is run in any case, and so
    is a benchmark that reads a value.

    Returns:
        The seconds of that call, by the cell's own timer; 0 if there was none, or in another process.

    Raises:
        CellFailedError: if that text fails, or there is no value.
        SkippedError: if the value is not a number (NaN).
    """
    __tracebackhide__ = True
    if opened.check is not None:
        opened.check()
    if opened.cell.kind == "timeraw":
        _raw_seconds(opened, 1)
    elif opened.cell.kind != "time":
        _read(opened)
    elif opened.check is None:
        return time_sample(opened.call, 1, opened.timer)
    return 0.0


def _read(opened: OpenCell) -> None:
    __tracebackhide__ = True
    if opened.read() is None:
        raise CellFailedError("it tracks nothing (None)")


def by_pytest_benchmark(opened: OpenCell, benchmark: BenchmarkFixture, limit: float | None, first: float) -> str | None:
    """Time the cell. Returns what to say about it: why it is not timed, or what its time leaves out; None for nothing.

    Args:
        limit: the most seconds for a sample, None for no limit.
        first: the seconds of its first call, see `exercise`.
    """
    if opened.cell.kind == "time" and opened.number == 0:
        benchmark._timer = opened.timer  # not earlier, since in asv setup may choose the timer
        # Rounds as long as asv's samples. In pytest-benchmark's rounds of one call, two readings of the clock are 10 %
        # of a call of 1 us.
        benchmark._min_time = max(benchmark._min_time, float(opened.benchmark.sample_time))
        benchmark(opened.call)
        assert benchmark.stats is not None
    elif opened.cell.kind == "time" and opened.number == 1 and _too_short(opened):
        return TOO_SHORT
    else:
        take = _Samples(opened, limit)
        rounds = _rounds(opened, take)
        benchmark._timer = take.reading
        benchmark.pedantic(take, rounds=rounds)
        assert benchmark.stats is not None
        benchmark.stats.iterations = _calls(opened)  # for the table; the times are already those of one call
    if is_memoized(first, float(benchmark.stats.stats.median)):
        return FIRST_LEFT_OUT
    return SETUP_EACH if opened.number == 1 < _calls(opened) else None


def forget(benchmark: BenchmarkFixture) -> None:
    """Take what was timed out of pytest-benchmark's table and files: a cell that fails has no time."""
    benchmark.has_error = True
    if benchmark.stats is not None:
        benchmark.stats.stats.data.clear()


def by_codspeed(opened: OpenCell, benchmark: Any, limit: float | None, *, by_clock: bool) -> str | None:
    """Time the cell with the fixture `codspeed_benchmark`. Returns why it is not timed, or None.

    Args:
        limit: the most seconds for a sample, None for no limit.
        by_clock: whether CodSpeed reads a clock. In its other modes it counts instructions or memory.
    """
    if opened.timer is not clock.host:
        return OTHER_TIMER
    if opened.number == 0:
        benchmark(opened.call)
        return None
    if by_clock and opened.number == 1 and _too_short(opened):
        return TOO_SHORT
    rounds = _rounds(opened, _Samples(opened, limit))
    if opened.number == 1:
        benchmark.pedantic(opened.call, setup=opened.fresh, rounds=rounds)
    else:
        opened.fresh()
        benchmark.pedantic(opened.call, rounds=rounds, iterations=opened.number)
    return None


class _Samples:
    """Takes samples as asv does. Each call takes one, and moves `reading` on by its seconds per call.

    pytest-benchmark subtracts two readings of its timer. With `reading` as the timer, it can tell neither setups nor
    the start of another process from the times that belong to the benchmark.
    """

    def __init__(self, opened: OpenCell, limit: float | None) -> None:
        self._opened = opened
        self._limit = limit
        self._now = 0.0

    def reading(self) -> float:
        return self._now

    def __call__(self) -> None:
        with time_limit(self._limit):
            self._now += _seconds_of_sample(self._opened) / _calls(self._opened)


def _seconds_of_sample(opened: OpenCell) -> float:
    number = _calls(opened)
    if opened.cell.kind == "timeraw":
        return _raw_seconds(opened, number)
    if opened.number != 1:
        opened.fresh()
        return time_sample(opened.call, number, opened.timer)
    seconds = 0.0
    for _ in range(number):
        opened.fresh()
        seconds += time_sample(opened.call, 1, opened.timer)
    return seconds


def _calls(opened: OpenCell) -> int:
    """The calls in a sample, if the suite decides: asv's `number`."""
    return max(1, int(opened.benchmark.number))


def _rounds(opened: OpenCell, take: Callable[[], None]) -> int:
    """The number of samples by asv's `repeat`: a number, or (least, most, seconds), for which one sample is timed."""
    repeat = opened.benchmark.repeat or ASV_REPEAT
    if not isinstance(repeat, (tuple, list)):
        return int(repeat)
    least, most, seconds = repeat
    start = clock.host()
    take()
    return max(1, int(min(most, max(least, seconds / max(clock.host() - start, 1e-9)))))


def _too_short(opened: OpenCell) -> bool:
    """Whether a call takes no longer than a reading of the clock, where each call is timed alone.

    Spans with the call are compared with spans that hold nothing, each after a setup, which empties the caches for
    both. A span holds one reading. So a call is too short if its spans are less than twice as long.
    """
    spans, empty = [], []
    for _ in range(READINGS):
        opened.fresh()
        spans.append(time_sample(opened.call, 1, opened.timer))
        opened.fresh()
        empty.append(time_sample(_nothing, 1, opened.timer))
        if statistics.median(spans) > CLEARLY_LONGER * statistics.median(empty):
            return False
    return statistics.median(spans) < 2 * statistics.median(empty)


def _nothing() -> None:
    pass


def _raw_seconds(opened: OpenCell, number: int) -> float:
    """The seconds of `number` runs of a `timeraw` benchmark's text, in a process of its own, as in asv.

    Raises:
        CellFailedError: if the text fails, or the suite's timeout is over.
    """
    separate = opened.benchmark._get_timer(*opened.benchmark._build_params())
    ours = psutil.Process()
    before = set(ours.children())
    timing: Future[float] = Future()
    # asv_runner closes the pipes of the process only when that has ended. So the wait for it is not interrupted: its
    # processes are ended, and the thread with them.
    thread = threading.Thread(target=_into, args=(timing, lambda: float(separate.timeit(number))), daemon=True)
    thread.start()
    try:
        return timing.result()
    except RuntimeError as error:  # asv_runner's, with what the process has written
        last = str(error).rstrip().rsplit("\n", 1)[-1]  # asv_runner has printed all of it
        raise CellFailedError(f"its text failed in a process of its own: {last}") from error
    except ValueError as error:  # what it printed besides
        raise CellFailedError("its text wrote to standard output, where its process writes the time") from error
    finally:
        until = clock.host() + GRACE
        while thread.is_alive() and clock.host() < until:  # the suite's timeout is over, or Ctrl-C
            for child in {one for first in set(ours.children()) - before for one in _family(first)}:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            thread.join(timeout=0.05)


def _into(result: Future[float], action: Callable[[], float]) -> None:
    try:
        result.set_result(action())
    except BaseException as error:  # noqa: BLE001 - raised where the result is taken
        result.set_exception(error)


def _family(process: psutil.Process) -> list[psutil.Process]:
    """A process and what it has started, as far as that still runs under it."""
    with suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []
