"""A worker: a process that has one version loaded, and samples cells in turn with another one.

Two workers on one core hand each other a token. The one that has it sets up or takes a sample. No third process is
involved, since a message through it would take longer than a sample. Every order is drawn from a seed that both
workers know, so neither has to tell the other.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import math
import os
import random
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from bench_core import clock
from bench_core.records.gate import SIDES, Side, other_side
from bench_core.timing.cells import Cell, OpenCell, SkippedError, SuiteDirectory
from bench_core.workers.messages import (
    TURNS,
    CellBegun,
    CellFailed,
    CellLeft,
    CellRead,
    CellTask,
    CellTimed,
    FirstLook,
    Log,
    PairTask,
    SamplingPlan,
    Settled,
    Source,
    TurnDone,
    TurnFailed,
    WorkerReport,
)
from bench_core.workers.plan import agreed, described, prepare, same_random_numbers, sampler

T = TypeVar("T")

PROTOCOL = 1
"""A part of the evidence's key. Raise it whenever a change here or in `plan` gives effects another meaning, so that
earlier evidence is not used."""


class PeerLostError(Exception):
    """The other worker has gone."""


class VersionError(Exception):
    """An imported module does not belong to the version that was asked for."""


class CellError(Exception):
    """A cell failed on this side. The text is the cause.

    Attributes:
        stage: ``import``, ``setup``, ``check``, ``call`` or ``teardown``.
        skipped: whether it skipped itself.
    """

    def __init__(self, cause: str, stage: str, *, skipped: bool = False) -> None:
        super().__init__(cause)
        self.stage = stage
        self.skipped = skipped


class PeerFailedError(Exception):
    """A cell failed on the other side, which reports it."""


BUILT_ON = frozenset({"attr", "attrs", "typing_extensions"})
"""Packages that cattrs depends on. cattrs reads and writes our messages."""


def forget(packages: Collection[str]) -> None:
    """Make later imports load these packages anew, and cattrs if it depends on one of them. Our own functions keep the
    modules that they were defined with."""
    names = {*packages, *(("cattr", "cattrs") if BUILT_ON & set(packages) else ())}
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]


def load(source: Source, suite: str) -> SuiteDirectory:
    """Prepare to import the suite with this version's packages. `prove` checks afterwards that they were imported."""
    forget({"bench_core", *source.packages})  # bench_core itself may be compared
    sys.path[:0] = source.paths
    importlib.invalidate_caches()
    return SuiteDirectory(Path(suite), caches=Path(source.caches))


def prove(source: Source, suite: Path) -> None:
    """Check that the version's modules were imported from its own folders.

    Raises:
        VersionError: if one was imported from elsewhere.
    """
    allowed = (*(Path(path).resolve() for path in source.paths), suite)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or name.partition(".")[0] not in source.packages:
            continue
        if not Path(file).is_absolute():  # created at run time and not imported, such as torch.ops
            continue
        resolved = Path(file).resolve()
        if not any(folder in resolved.parents for folder in allowed):
            raise VersionError(f"{name} was imported from {resolved.parent}, not from this version's own folder")


def find(suite: SuiteDirectory, pair: PairTask) -> dict[str, Cell]:
    """The cells of a pair that can be found. This imports the suite."""
    known: dict[str, Cell] = {}
    for task in pair.cells:
        with contextlib.suppress(Exception):  # it fails again when its turn comes, and is reported then
            known[task.name] = suite.find(task.name)
    return known


def work(
    source: Source,
    suite: SuiteDirectory,
    known: Mapping[str, Cell],
    pair: PairTask,
    turns: Turns,
    report: Callable[[WorkerReport], None],
) -> tuple[str, ...]:
    """Go through the cells of a pair together with the peer, and report each.

    Args:
        known: see `find`.

    Returns:
        The modules that the cells have imported as they ran. The nursery then imports them for all later pairs: the
        first materialization of a lazy layer imports 800 modules and takes a second.
    """
    prove(source, suite.path)
    before = set(sys.modules)
    gc.collect()
    gc.freeze()  # imported modules are never garbage; otherwise every collection walks through all of them
    role = turns.role
    for task in pair.cells:
        name = task.name
        report(CellBegun(role, name))
        order = random.Random(f"{pair.seed} {pair.pair} {name}")
        try:
            report(_cell(lambda: known.get(name) or suite.find(name), task, order, turns))  # noqa: B023 - called at once
        except CellError as error:
            report(CellFailed(role, name, str(error), error.stage, error.skipped))
        except PeerFailedError:
            report(CellLeft(role, name))
    return tuple(name for name in sys.modules if name not in before)


class Turns:
    """The token between two workers.

    Args:
        role: the side that this end belongs to.
        peer: the connection to the other side.
        counts: two shared numbers, one for each side. A side adds one when it begins to wait for its turn, and one when
            the wait ends, so an odd number means that it waits. They show the nursery that both sides go on, or which
            one hangs.
    """

    def __init__(self, role: Side, peer: Connection, counts: memoryview) -> None:
        self.role = role
        self._peer = peer
        self._counts = counts
        self._own = SIDES.index(role)

    def give(self, message: bytes) -> None:
        try:
            self._peer.send_bytes(message)
        except ConnectionError as error:  # any other OSError means that a benchmark closed this side's end
            raise PeerLostError(str(error)) from error

    def take(self) -> bytes:
        self._counts[self._own] += 1
        try:
            message = self._peer.recv_bytes()
        except (EOFError, ConnectionError) as error:
            raise PeerLostError(str(error)) from error
        self._counts[self._own] += 1
        return message

    def each(self, first: Side, stage: str, action: Callable[[], T]) -> tuple[T, FirstLook | None]:
        """Do `action` on both sides, one after the other.

        Returns:
            The result of this side, and the other side's if it is a `FirstLook`. No other result is sent.

        Raises:
            CellError: if it raised on this side.
            PeerFailedError: if it raised on the other side.
        """
        theirs = b"" if self.role == first else self.take()
        try:
            result = attempt(stage, action)
        except CellError:
            self.give(TURNS.line(TurnFailed()).encode())
            TURNS.read(theirs or self.take())
            raise
        self.give(TURNS.line(TurnDone(result if isinstance(result, FirstLook) else None)).encode())
        match TURNS.read(theirs or self.take()):
            case TurnDone(look):
                return result, look
            case TurnFailed():
                raise PeerFailedError


def attempt(stage: str, action: Callable[[], T]) -> T:
    """Run code of the version, which may do anything.

    Raises:
        CellError: whatever the code raised, with the cause.
    """
    process = os.getpid()
    try:
        return action()
    except SkippedError as skip:
        raise CellError(str(skip), stage, skipped=True) from skip
    except (CellError, PeerFailedError, PeerLostError):
        raise
    except BaseException as error:
        raise CellError(cause(error), stage) from error
    finally:
        if os.getpid() != process:  # the code forked, and this is the child, which must end
            os._exit(0)


def cause(error: BaseException) -> str:
    """An exception in one line, with the file and line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _cell(find: Callable[[], Cell], task: CellTask, order: random.Random, turns: Turns) -> CellTimed | CellRead:
    first = order.choice(SIDES)
    seed = order.getrandbits(32)
    plan = task.plan
    settled: Settled | None = None
    stack = contextlib.ExitStack()
    try:
        opened, _ = turns.each(first, "setup", lambda: _opened(find, seed, stack))
        if plan is None:
            mine, theirs = turns.each(first, "check", lambda: prepare(opened, seed))
            assert theirs is not None
            plan = agreed(mine, theirs)  # both sides know both looks, so their plans are the same
            settled = Settled(plan, mine.seen)
        elif opened.cell.kind == "time":
            turns.each(first, "call", lambda: _warm_up(opened))
        found: CellTimed | CellRead
        if opened.cell.kind in ("time", "timeraw"):
            plant = task.plant if turns.role == "head" else 0.0
            found = CellTimed(turns.role, task.name, settled, _sampled(opened, plan, plant, order, seed, turns))
        else:
            value, _ = turns.each(first, "call", lambda: _value(opened))
            found = CellRead(turns.role, task.name, settled, math.nan if value is None else value, value is None)
        turns.each(first, "teardown", stack.close)
        return found
    finally:
        gc.enable()  # the other side may have failed between `_ready` and the end of the block
        with contextlib.suppress(Exception):  # only after a failure, which is reported already
            stack.close()


def _opened(find: Callable[[], Cell], seed: int, stack: contextlib.ExitStack) -> OpenCell:
    same_random_numbers(seed)
    return stack.enter_context(find().open())


def _sampled(opened: OpenCell, plan: SamplingPlan, plant: float, order: random.Random, seed: int, turns: Turns) -> Log:
    log = Log()
    # A `timeraw` cell is timed by a clock in another process.
    timer = clock.host if opened.cell.kind == "timeraw" else opened.timer
    for block, (lead, firsts) in enumerate(blocks(plan, order)):
        if block:
            # Both sides free their memory before either allocates again. Otherwise each gets the same pages back, whose
            # addresses change the time by up to 10 % for as long as the pair lives.
            turns.each(lead, "teardown", lambda: _let_go(opened))
            turns.each(lead, "setup", lambda: _set_up(opened, seed))
        sample, _ = turns.each(lead, "setup", lambda: _ready(opened, plan, plant, seed))
        began, began_by_timer = _at_once(timer)
        failure = _sample_in_turn(sample, firsts, turns, log)
        turns.each(lead, "call", lambda: _end_of_block(failure))  # noqa: B023 - called at once
        ended, ended_by_timer = _at_once(timer)  # after both have ended, so that the block lasts equally long for both
        log.by_host.append(ended - began)
        log.by_timer.append(ended_by_timer - began_by_timer)
    return log


def _end_of_block(failure: CellError | None) -> None:
    gc.enable()
    if failure is not None:
        raise failure


def blocks(plan: SamplingPlan, order: random.Random) -> Iterator[tuple[Side, list[Side]]]:
    """For each block, the side that sets up first, and the side that takes the first sample of each alternation. Both
    are drawn at random, and balanced over the pair."""
    leads = balanced(plan.blocks, order)
    firsts = balanced(plan.alternations, order)
    for block in range(plan.blocks):
        yield (
            leads[block],
            firsts[block * plan.alternations // plan.blocks : (block + 1) * plan.alternations // plan.blocks],
        )


def balanced(count: int, order: random.Random) -> list[Side]:
    """`count` sides in random order, equally many of both. If `count` is odd, one more is drawn."""
    sides: list[Side] = [*SIDES] * (count // 2) + ([order.choice(SIDES)] if count % 2 else [])
    order.shuffle(sides)
    return sides


def _sample_in_turn(sample: Callable[[], float], firsts: Sequence[Side], turns: Turns, log: Log) -> CellError | None:
    """Sample one block. An alternation is one sample of each side. The token is handed over where the side changes.
    Returns the failure of this side, or None. After a failure the token is still handed on, so both sides end
    together."""
    sequence = [side for first in firsts for side in (first, other_side(first))]
    failure: CellError | None = None
    for position, side in enumerate(sequence):
        if side != turns.role:
            continue
        if position and sequence[position - 1] != side:
            turns.take()
        if failure is None:
            try:
                log.spans.append(attempt("call", sample))
            except CellError as error:
                failure = error
        if position + 1 < len(sequence) and sequence[position + 1] != side:
            turns.give(b"")
    log.order.extend(firsts)
    return failure


def _at_once(timer: clock.Clock) -> tuple[float, float]:
    """Our clock and `timer`, read at the same time. The shortest of five attempts counts, since one may be
    interrupted."""
    readings = []
    for _ in range(5):
        before = clock.host()
        by_timer = timer()
        after = clock.host()
        readings.append((after - before, (before + after) / 2, by_timer))
    _, by_host, by_timer = min(readings)
    return by_host, by_timer


def _let_go(opened: OpenCell) -> None:
    opened.tear_down()
    gc.collect()
    if TRIM is not None:
        TRIM(0)


TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
"""glibc's function that returns free memory to the system; None with another C library."""


def _set_up(opened: OpenCell, seed: int) -> None:
    same_random_numbers(seed)
    opened.set_up()


def _ready(opened: OpenCell, plan: SamplingPlan, plant: float, seed: int) -> Callable[[], float]:
    """The function that takes a sample. The garbage collector is off from here to the end of the block, since a
    collection would count for the side that happens to run."""
    sample = sampler(opened, plan.number, warm=plan.warm, plant=plant)
    same_random_numbers(seed)
    gc.collect()
    gc.disable()
    return sample


def _warm_up(opened: OpenCell) -> None:
    """Make the first call in this process, which may import, allocate, and choose kernels."""
    opened.call()
    if opened.number:  # the call has used up its object
        opened.fresh()


def _value(opened: OpenCell) -> float | None:
    """A reading of a memory or tracked benchmark."""
    found = opened.benchmark.run(*opened.benchmark._build_params())
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise TypeError(f"a tracked value must be a number to be compared, and this one is {described(found)}")
    return float(found)
