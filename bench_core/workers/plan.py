"""How a cell is sampled. The first pair makes the plan, and `sampler` takes samples by it."""

from __future__ import annotations

import gc
import math
import random
import statistics
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench_core import clock
from bench_core.timing.cells import OpenCell
from bench_core.timing.sampling import choose_number, time_sample
from bench_core.workers.computing import Computing
from bench_core.workers.messages import Effort, FirstLook, Sampling, SamplingPlan
from bench_core.workers.turns import attempt, failure

SPAN = 0.0003
"""The approximate length of a sample in seconds. The machine's speed drifts within milliseconds, and only drift that
both sides see cancels, so many short samples are better than few long ones (docs/statistics.md)."""

PAIR = Effort(alternations=32, fewest=8, blocks=4, span=0.05)
"""The effort for one cell in a pair of the gate. There are several blocks, since the addresses of a cell's objects
change its time by some percent, most if the time is bound by memory."""

LONG_CALL = 2e-3
"""A call of at least this many seconds is sampled without an untimed call before it: refilling the caches takes less
than 2 % of its time, the same on both sides, and twice as many samples are worth more. A sample of once-only calls
takes at most this long, setups included."""

SHORT_CALL = 1e-4
"""A sample of once-only calls, each on a fresh object, lasts about this many seconds, unless the setups take too long
(`LONG_CALL`). Reading the clock once takes 5 % of a call of 1 us."""


def prepare(opened: OpenCell, seed: int, alive: Callable[[], None] = lambda: None) -> FirstLook:
    """Check the cell, and find out the numbers for the plan and the facts that must be the same on both sides. `alive`
    gives a sign of life, after each call that may be long."""
    same_random_numbers(seed)
    outcome: Any = None
    if opened.check is not None:
        outcome = attempt("check", opened.check)
        alive()
        freshly(opened)
        alive()
    if opened.cell.kind not in ("time", "timeraw"):
        return FirstLook({"check": described(outcome), **state()}, number=1, call=0.0, setup=0.0)
    returns = described(None) if opened.cell.kind == "timeraw" else attempt("call", lambda: described(opened.call()))
    alive()
    seen = {"check": described(outcome), "returns": returns, **state()}
    del outcome
    gc.collect()
    gc.freeze()  # a first call may import a thousand modules; later parents import them first
    start = clock.host()
    freshly(opened)
    setup = clock.host() - start
    alive()
    if opened.cell.kind == "timeraw":
        number = max(1, opened.number)
        start = clock.host()
        attempt("call", sampler(opened, Sampling(number, warm=False), plant=0.0))
        return FirstLook(seen, number, clock.host() - start, setup=0.0)
    if opened.number == 1:
        call = attempt("call", lambda: time_sample(opened.call, 1, opened.timer))
        return FirstLook(seen, once_only(call, setup), call + setup, setup)
    number = opened.number or attempt("call", lambda: choose_number(opened.call, opened.timer, SPAN))
    alive()
    spans = [
        attempt("call", lambda: time_sample(opened.call, number, opened.timer)) for _ in range(3 if number > 1 else 1)
    ]
    call = min(spans) / number
    if not opened.number:
        number = max(1, round(SPAN / max(call, 1e-9)))
    return FirstLook(seen, number, call, setup)


def freshly(opened: OpenCell) -> None:
    """Tear a cell down and set it up again.

    Raises:
        CellError: if this fails, with its own stage, whatever it was done for.
    """
    try:  # and not `attempt`, since this may come before every sample
        opened.fresh()
    except BaseException as error:
        passed = {frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)}
        stage = "teardown" if OpenCell.tear_down.__code__ in passed else "setup"
        raise failure(error, stage) from error


LONG = 1.0
"""The fewest alternations of a plan take at most this many seconds, unless there would be less than one for each order
of the sides. Pairs of a cell with long calls then cost less, and it gets more of them."""


LONGEST_SETUP = 1e6
"""The most seconds of a setup that are believed."""


def once_only(call: float, setup: float) -> int:
    """The number of calls in a sample, if each call needs a setup. `call` and `setup` are seconds."""
    return max(1, min(math.ceil(SHORT_CALL / max(call, 1e-7)), int(LONG_CALL / (call + setup))))


APART = 32.0
"""All sides of a cell get the same number of calls in a sample, unless a sample would then last this many times longer
than `SPAN` on one of them. That side gets its own number. It is far above what a disturbed first look can read, since
unequal numbers make unequal samples: caches and loops count differently."""


def agreed(looks: Sequence[FirstLook], cells: int, effort: Effort) -> SamplingPlan:
    """The plan that follows from the first looks of all places, the same on every side.

    Args:
        looks: in the order of places, see `GroupTask`.
        cells: the number of cells of the group.
    """
    if effort.longer > 1:
        looks = [replace(look, number=max(look.number, round(effort.longer * SPAN / look.call))) for look in looks]
    by_cell = [_samplings(looks[index::cells]) for index in range(cells)]
    places = tuple(by_cell[index % cells][index // cells] for index in range(len(looks)))
    if effort.longer > 1:  # another tool's samples leave its own code in the caches
        places = tuple(replace(place, warm=True) for place in places)
    alternation = math.fsum((place.number + place.warm) * look.call for place, look in zip(places, looks, strict=True))
    # Head may have replaced its clock by one that runs backwards, or tells anything.
    setup = math.fsum(min(max(0.0, look.setup), LONGEST_SETUP) for look in looks)
    # The samples take at least as long as one setup at each place, so that setups do not dominate.
    seconds = max(effort.span * len(looks), setup)
    alternations = int(seconds / alternation) if alternation > 0 else effort.alternations
    fewest = min(effort.fewest, max(2, 2 * int(LONG / alternation / 2))) if alternation > 0 else effort.fewest
    alternations = max(fewest, min(effort.alternations, alternations))
    if alternations - alternations % len(looks) >= fewest:  # each place is at each position equally often
        alternations -= alternations % len(looks)
    setups = 0.5 * alternations * alternation / max(setup, 1e-6)
    blocks = max(1, min(effort.blocks, alternations // 2, int(setups)))
    return SamplingPlan(alternations, blocks, places, setup)


def _samplings(looks: Sequence[FirstLook]) -> list[Sampling]:
    """How one cell is sampled on each side."""
    most = max(look.number for look in looks)
    alike = [most * look.call <= APART * max(SPAN, look.number * look.call) for look in looks]
    # A call of about `LONG_CALL` must not be sampled with an untimed call on one side and without it on the other.
    slowest = max(look.call for look, same in zip(looks, alike, strict=True) if same)
    return [
        Sampling(most, warm=slowest < LONG_CALL) if same else Sampling(look.number, warm=look.call < LONG_CALL)
        for look, same in zip(looks, alike, strict=True)
    ]


def state() -> dict[str, str]:
    """The settings of torch that all cells share. They must be the same on both sides after setup."""
    return {name: str(get()) for name, (get, _) in _settings().items()}


def keeping() -> Callable[[], None]:
    """A function that gives the settings of `state` their present values back."""
    kept = {name: get() for name, (get, _) in _settings().items()}

    def give_back() -> None:
        for name, (get, change) in _settings().items():
            if name in kept and get() != kept[name]:
                change(kept[name])

    return give_back


def _settings() -> Mapping[str, tuple[Callable[[], Any], Callable[[Any], object]]]:
    """How each setting is read and changed. There is none without torch."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    return {
        "threads": (torch.get_num_threads, torch.set_num_threads),
        "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "deterministic": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
        "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    }


def described(value: Any, depth: int = 3) -> str:
    """The type, shape and dtype of a value, without its numbers, which may be drawn anew each time."""
    kind = type(value).__name__
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        return f"{kind} of {'x'.join(map(str, shape)) or 'one'} {dtype}"
    if depth and isinstance(value, Mapping):
        inner = sorted(f"{key}: {described(item, depth - 1)}" for key, item in list(value.items())[:20])
        return f"{kind} of {len(value)} ({'; '.join(inner)})"
    if depth and isinstance(value, (list, tuple)):
        return f"{kind} of {len(value)} ({'; '.join(described(item, depth - 1) for item in value[:20])})"
    return kind


def sampler(
    opened: OpenCell,
    sampling: Sampling,
    *,
    plant: float,
    timer: str = "",
    passed: Callable[[float, float], object] = lambda seconds, computing: None,
) -> Callable[[], float]:
    """A function that takes one sample and returns its seconds by the cell's own timer.

    Args:
        passed: takes, of each timed span of the sample, the seconds by our clock, and those by its own timer without
            the time in which others had the core (see `bench_core.workers.computing`).
        plant: the slowdown to add, as a share of the time; 0 for none.
        timer: "" for us, or one of `TIMERS`, which takes samples in its own way.
    """
    number, warm = sampling.number, sampling.warm
    if timer:
        seconds = TIMERS[timer](opened.call)
        return lambda: seconds() * number
    if opened.cell.kind == "timeraw":
        separate = opened.benchmark._get_timer(*opened.benchmark._build_params())
        return lambda: float(separate.timeit(number))
    call, own = opened.call, opened.timer
    span_of: Callable[[Callable[[], object], int, clock.Clock], float] = time_sample
    if plant:
        span_of = _slower(opened, 1 if opened.number == 1 else number, plant)

    def timed(calls: int) -> float:
        before = Computing.before()
        start = clock.host()
        span = span_of(call, calls, own)
        seconds = clock.host() - start
        passed(seconds, span - before.lost(Computing.after()) if before else math.nan)
        return span

    def fresh_each() -> float:
        span = 0.0
        for _ in range(number):
            freshly(opened)
            span += timed(1)
        return span

    def many() -> float:
        # Untimed, since the other side's samples have filled the caches with their data.
        freshly(opened) if opened.number else call()
        return timed(number)

    def long() -> float:
        return timed(number)

    if opened.number == 1:
        return fresh_each
    return many if warm or opened.number else long


def _slower(opened: OpenCell, number: int, plant: float) -> Callable[[Callable[[], object], int, clock.Clock], float]:
    """`time_sample` with a wait inside the timed span. The wait is the share `plant` of the time of `number` calls,
    which is measured here."""

    def usual() -> float:
        if opened.number == 1:
            freshly(opened)
        return time_sample(opened.call, number, clock.host)

    extra = plant * statistics.median(attempt("call", usual) for _ in range(5))

    def slower(call: Callable[[], object], calls: int, timer: clock.Clock) -> float:
        start = timer()
        time_sample(call, calls, timer)
        until = clock.host() + extra
        while clock.host() < until:
            pass
        return timer() - start

    return slower


def _by_torch(call: Callable[[], object]) -> Callable[[], float]:
    from bench_core.timing.torch_timer import blocked_autorange

    return blocked_autorange(call)


TIMERS: Mapping[str, Callable[[Callable[[], object]], Callable[[], float]]] = {"torch.utils.benchmark": _by_torch}
"""Other tools' timers, bound to one operation. Each call measures the operation, and returns seconds per call."""


def same_random_numbers(seed: int) -> None:
    """Seed all generators, so that both sides of a pair draw the same numbers, and other pairs draw others. The suite's
    setup may set another seed."""
    random.seed(seed)
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        numpy.random.seed(seed)
    if torch is not None:
        torch.manual_seed(seed)
