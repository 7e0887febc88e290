"""A worker: a process that has one version loaded, and samples cells in turn with another one.

Two workers on one core hand each other a token; whoever has it sets up, or takes a sample, and nobody else is in the
loop: a round through a third process would cost more than a sample lasts. What both do, and in which order, is drawn
from a seed that both know, so neither decides anything.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench_core import clock
from bench_core.gate.workers.plan import Plan, agreed, described, prepare, same_random_numbers, sampler
from bench_core.records.gate import SIDES, Side, other_side
from bench_core.timing.cells import Cell, OpenCell, SkippedError, SuiteDirectory

PROTOCOL = 1
"""Raised whenever a change here or in `plan` gives effects another meaning: earlier evidence does not count then."""


@dataclass(frozen=True)
class Source:
    """What a worker loads.

    Attributes:
        paths: the folders of its version, put in front of the import path in this order.
        packages: top-level names that must come from there.
        caches: the folder where what `setup_cache` returned is kept.
        python: the interpreter to run under; "" for ours.
    """

    paths: tuple[str, ...]
    packages: tuple[str, ...]
    caches: str
    python: str = ""


class PeerLostError(Exception):
    """The other worker has gone."""


class VersionError(Exception):
    """What was imported is not the version that was asked for."""


class CellError(Exception):
    """A cell failed on this side; its text is the cause, `stage` where it happened."""

    def __init__(self, cause: str, stage: str, *, skipped: bool = False) -> None:
        super().__init__(cause)
        self.stage = stage
        self.skipped = skipped


class PeerFailedError(Exception):
    """A cell failed on the other side, which reports it."""


def load(source: Source, suite: str) -> SuiteDirectory:
    """Get ready to import the suite with this version's packages; `prove` says afterwards whether it was them."""
    for name in [name for name in sys.modules if name.partition(".")[0] in {"bench_core", *source.packages}]:
        del sys.modules[name]  # the tool itself may be what is compared; its functions keep their own globals
    sys.path[:0] = source.paths
    importlib.invalidate_caches()
    return SuiteDirectory(Path(suite), caches=Path(source.caches))


def prove(source: Source, suite: Path) -> None:
    """Hold the files of the imported modules against the version's folders.

    Raises:
        VersionError: if one lies elsewhere.
    """
    allowed = (*(Path(path).resolve() for path in source.paths), suite)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or name.partition(".")[0] not in source.packages:
            continue
        if not Path(file).is_absolute():  # not imported but made up at run time, as torch.ops is
            continue
        resolved = Path(file).resolve()
        if not any(folder in resolved.parents for folder in allowed):
            raise VersionError(f"{name} was imported from {resolved.parent}, and not from this version's own folder")


def find(suite: SuiteDirectory, job: Mapping[str, Any]) -> dict[str, Cell]:
    """The job's cells that can be found; looking for them imports the suite."""
    known: dict[str, Cell] = {}
    for entry in job["cells"]:
        with contextlib.suppress(Exception):  # it will fail again, in its turn, and then be reported
            known[entry["name"]] = suite.find(entry["name"])
    return known


def work(
    source: Source,
    suite: SuiteDirectory,
    known: Mapping[str, Cell],
    job: Mapping[str, Any],
    turns: Turns,
    report: Callable[..., None],
) -> list[str]:
    """Go through the job's cells together with the peer, and report each.

    Args:
        known: as of `find`.
        job: ``pair`` and ``seed``, from which every order is drawn; ``cells``: name, plan once it is known, and the
            slowdown to plant (0 but in a self-test).

    Returns:
        What cells have imported as they went (the first materialization of a lazy layer: 800 modules, a second): the
        parent had better import it, once for all pairs to come.
    """
    prove(source, suite.path)
    before = set(sys.modules)
    gc.collect()
    gc.freeze()  # what was imported is never garbage; without this every collection walks through all of it
    for entry in job["cells"]:
        name = entry["name"]
        report(start=name)
        order = random.Random(f"{job['seed']} {job['pair']} {name}")
        plan = Plan(**entry["plan"]) if entry["plan"] else None
        try:
            plant = entry["plant"] if turns.role == "head" else 0.0
            report(cell=name, **_cell(lambda: known.get(name) or suite.find(name), plan, plant, order, turns))  # noqa: B023
        except CellError as error:
            report(cell=name, failed=str(error), stage=error.stage, skipped=error.skipped)
        except PeerFailedError:
            report(cell=name, peer_failed=True)
    return [name for name in sys.modules if name not in before]


class Turns:
    """The token between two workers.

    Args:
        role: whose end this is.
        peer: the connection to the other's.
        counts: two shared numbers, one a role, that grow with every wait for a turn, by one when it begins and by one
            when it ends: an odd one waits. So the parent sees that both go on, and can name whoever hangs.
    """

    def __init__(self, role: Side, peer: Connection, counts: Any) -> None:
        self.role = role
        self._peer = peer
        self._counts = counts
        self._own = SIDES.index(role)

    def give(self, message: bytes) -> None:
        try:
            self._peer.send_bytes(message)
        except ConnectionError as error:  # any other OSError: this side's end was closed by what runs here
            raise PeerLostError(str(error)) from error

    def take(self) -> bytes:
        self._counts[self._own] += 1
        try:
            message = self._peer.recv_bytes()
        except (EOFError, ConnectionError) as error:
            raise PeerLostError(str(error)) from error
        self._counts[self._own] += 1
        return message

    def each(self, first: Side, stage: str, action: Callable[[], Any]) -> tuple[Any, Any]:
        """Both do `action`, one after the other, and learn the other's result.

        Args:
            action: its result must go through JSON, or be None.

        Raises:
            CellError: if it raised here.
            PeerFailedError: if it raised there.
        """
        theirs = b"" if self.role == first else self.take()
        failure: CellError | None = None
        result = None
        try:
            result = attempt(stage, action)
        except CellError as error:
            failure = error
        self.give(json.dumps({"failed": failure is not None, "result": result}).encode())
        answer = json.loads(theirs or self.take())
        if failure is not None:
            raise failure
        if answer["failed"]:
            raise PeerFailedError
        return result, answer["result"]


def attempt(stage: str, action: Callable[[], Any]) -> Any:
    """The result of the version's own code, which may do anything.

    Raises:
        CellError: with the cause, whatever it was that it raised.
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
        if os.getpid() != process:  # the code forked and came back: this is its child, which has no part in this
            os._exit(0)


def cause(error: BaseException) -> str:
    """An exception in one line, with the place that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


@dataclass
class Log:
    """What one side saw of one cell in one pair.

    Attributes:
        spans: the samples, in seconds, as the cell's own timer reads them.
        order: which side had the first sample of each alternation.
        by_timer: how long each block lasted, in seconds, by the cell's own timer.
        by_host: the same by our clock.
    """

    spans: list[float] = field(default_factory=list)
    order: list[Side] = field(default_factory=list)
    by_timer: list[float] = field(default_factory=list)
    by_host: list[float] = field(default_factory=list)


def _cell(
    find: Callable[[], Cell], plan: Plan | None, plant: float, order: random.Random, turns: Turns
) -> dict[str, Any]:
    first = order.choice(SIDES)
    seed = order.getrandbits(32)
    found: dict[str, Any] = {}
    stack = contextlib.ExitStack()
    try:
        held: list[OpenCell] = []
        turns.each(first, "setup", lambda: held.append(_opened(find, seed, stack)))
        opened = held[0]
        if plan is None:
            mine, theirs = turns.each(first, "check", lambda: prepare(opened, seed))
            plan = agreed(mine, theirs)  # both know both answers, and so choose the same
            found = {"plan": asdict(plan), "print": mine["print"]}
        elif opened.cell.kind == "time":
            turns.each(first, "call", lambda: _warm_up(opened))
        if opened.cell.kind not in ("time", "timeraw"):
            value, _ = turns.each(first, "call", lambda: _value(opened))
            found["value"] = value
        else:
            found |= asdict(_sampled(opened, plan, plant, order, seed, turns))
        turns.each(first, "teardown", stack.close)
        return found
    finally:
        with contextlib.suppress(Exception):  # only after a failure, which is reported; a second one says no more
            stack.close()


def _opened(find: Callable[[], Cell], seed: int, stack: contextlib.ExitStack) -> OpenCell:
    same_random_numbers(seed)
    return stack.enter_context(find().open())


def _sampled(opened: OpenCell, plan: Plan, plant: float, order: random.Random, seed: int, turns: Turns) -> Log:
    log = Log()
    # A raw one's clock runs in a process of its own.
    timer = clock.host if opened.cell.kind == "timeraw" else opened.timer
    for block, (lead, firsts) in enumerate(blocks(plan, order)):
        if block:
            # Both let go of their memory before either takes some again: otherwise each gets back the very pages that
            # it had, and where those lie decides by 10 % for as long as the pair lives.
            turns.each(lead, "teardown", lambda: _let_go(opened))
            turns.each(lead, "setup", lambda: _set_up(opened, seed))
        samplers: list[Callable[[], float]] = []
        turns.each(lead, "setup", lambda: samplers.append(_ready(opened, plan, plant, seed)))  # noqa: B023 - at once
        began, began_by_timer = _at_once(timer)
        failure = _sample_in_turn(samplers[0], firsts, turns, log)
        turns.each(lead, "call", lambda: _end_of_block(failure))  # noqa: B023 - called at once
        ended, ended_by_timer = _at_once(timer)  # after both have ended: what it lasted is the same for both
        log.by_host.append(ended - began)
        log.by_timer.append(ended_by_timer - began_by_timer)
    return log


def _end_of_block(failure: CellError | None) -> None:
    gc.enable()
    if failure is not None:
        raise failure


def blocks(plan: Plan, order: random.Random) -> Iterator[tuple[Side, list[Side]]]:
    """For each block, who sets up first and who has the first sample of each alternation: drawn, and balanced."""
    leads = balanced(plan.blocks, order)
    firsts = balanced(plan.alternations, order)
    for block in range(plan.blocks):
        yield (
            leads[block],
            firsts[block * plan.alternations // plan.blocks : (block + 1) * plan.alternations // plan.blocks],
        )


def balanced(count: int, order: random.Random) -> list[Side]:
    """`count` sides in random order, as many of one as of the other (an odd one out is drawn)."""
    sides: list[Side] = [*SIDES] * (count // 2) + ([order.choice(SIDES)] if count % 2 else [])
    order.shuffle(sides)
    return sides


def _sample_in_turn(sample: Callable[[], float], firsts: Sequence[Side], turns: Turns, log: Log) -> CellError | None:
    """One block. Each alternation is a sample of either side; the token goes over only where the side changes.

    Returns:
        What failed here, if anything did; the token is handed on all the same, so that both end together.
    """
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
    """Our clock and `timer`, read at the same time: the best of some attempts, since one may be interrupted."""
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


def _allocator_trim() -> Callable[[int], object] | None:
    """What gives free memory back to the system, where the C library has it (glibc)."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


TRIM = _allocator_trim()


def _set_up(opened: OpenCell, seed: int) -> None:
    same_random_numbers(seed)
    opened.set_up()


def _ready(opened: OpenCell, plan: Plan, plant: float, seed: int) -> Callable[[], float]:
    """What takes a sample. From now on nothing is collected: a collection is charged to whoever runs."""
    sample = sampler(opened, plan.number, warm=plan.warm, plant=plant)
    same_random_numbers(seed)
    gc.collect()
    gc.disable()
    return sample


def _warm_up(opened: OpenCell) -> None:
    """The first call in a process may import, allocate, and choose kernels."""
    opened.call()
    if opened.number:  # it was used up
        opened.fresh()


def _value(opened: OpenCell) -> float | None:
    """A reading of a memory or tracked benchmark."""
    found = opened.benchmark.run(*opened.benchmark._build_params())
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise TypeError(f"a tracked value must be a number to be compared, and this one is {described(found)}")
    return float(found)
