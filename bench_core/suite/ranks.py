"""Local processes that form a process group of torch.distributed, and do together what the cell tells them.

A cell cannot be a rank: asv, pytest and the workers of the gate run it in one process. So the cell starts another
process, which runs torchrun's own API, and that starts the ranks. They live from `setup` to `teardown`, wait for
commands, and answer how long each took by their own clock, after a barrier. A call takes as long as its slowest rank.
`Ranks.clock` is the timer of a cell: it goes as the host's clock does, but in a call only by the time of the slowest
rank, so that messages between the processes are not timed.

The ranks end with the cell, also if it is killed. Linux ends a process whose parent has ended, if it has asked for
that. Elsewhere each rank sees the end of its pipe.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import itertools
import logging
import multiprocessing
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing import connection, util
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import torch

from bench_core import clock, cores, watchdog
from bench_core.errors import BenchCoreError, brief, named

TIMEOUT = 60.0
"""The ranks hang if one of them does not answer within this many seconds."""

GRACE = 2.0
"""After a rank has failed, the others have this many seconds to answer. Those that wait for it never do."""

RANKS_PER_CORE = 4
"""The most processes on a core of the CPU. With more, the scheduler would be measured."""

LOOK_EVERY = 0.05
"""torchrun's agent looks after this many seconds whether a rank has ended."""

PRELOAD = (
    "torch._dynamo",
    "torch.distributed.checkpoint.state_dict",
    "torch.distributed.elastic.multiprocessing",
    "torch.distributed.fsdp",
    "torch.distributed.launcher.api",
    "torch.distributed.tensor",
)
"""What is imported before the ranks are forked, since each would need a second for it."""

LAST_LINES = 3
"""How many lines that a rank wrote last stand in the error about its death."""

KILLED = 9
"""The signal that ends a process without asking it (SIGKILL, which Windows does not have)."""


class RankError(BenchCoreError):
    """A rank died, hangs, failed or disagrees with the others. The text names it. The ranks have been ended."""


class DisagreementError(RankError):
    """A rank returned something else than the others."""


Job = Callable[..., Any]
"""What ranks do together: a function of a module. Its first argument is a `Rank`."""


@dataclass(frozen=True)
class Rank:
    """This process as one of a process group.

    Attributes:
        number: its rank, from 0.
        count: the number of ranks.
        device: where its parameters are.
        mesh: all ranks in a row.
        kept: what one command leaves for the next, such as a model.
    """

    number: int
    count: int
    device: torch.device
    mesh: Any
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What one rank returned.

    Attributes:
        seconds: its time after the barrier; NaN if it was not timed.
        peak_bytes: the most memory that it held more than before; None if it is not known.
    """

    rank: int
    value: Any
    seconds: float = float("nan")
    peak_bytes: int | None = None


@dataclass(frozen=True)
class _Started:
    rank: int


@dataclass(frozen=True)
class _Failure:
    """An exception in a rank. `wrong` says that it was a failed check."""

    rank: int
    text: str
    wrong: bool


@dataclass(frozen=True)
class _Where:
    """Where a rank is. `waits` says that it is inside of torch.distributed, where it waits for the others."""

    rank: int
    place: str
    waits: bool


@dataclass(frozen=True)
class _Command:
    job: Job
    arguments: tuple[Any, ...]
    timed: bool = False
    watched: bool = False


@dataclass(frozen=True)
class _Launch:
    """How the ranks are started. `method` is one of multiprocessing's, for the ranks."""

    count: int
    device: str
    method: str
    folder: str
    timeout: float


def why_not(count: int, device: str = "cpu") -> str | None:
    """Why `count` ranks cannot be started here, or None if they can."""
    distributed = torch.distributed
    if not distributed.is_available():
        return f"torch {torch.__version__} is built without torch.distributed"
    if sys.platform == "win32":
        return "ranks are started on Linux and macOS only"
    backend, found = (
        ("gloo", distributed.is_gloo_available()) if device == "cpu" else ("nccl", distributed.is_nccl_available())
    )
    if not found:
        return f"torch {torch.__version__} is built without {backend}"
    most = RANKS_PER_CORE * cores.count() if device == "cpu" else torch.accelerator.device_count()
    if not 1 <= count <= most:
        what = f"{cores.count()} cores" if device == "cpu" else f"{most} devices"
        return f"{count} ranks cannot be started here: 1 to {most} are allowed, since there are {what}"
    return None


class Ranks:
    """The ranks. A context manager that ends them.

    Args:
        count: how many.
        device: ``cpu`` (gloo) or ``cuda`` (NCCL, a device for each rank).
        timeout: seconds after which a rank that does not answer hangs.
        start: how the process that runs torchrun's API is started: ``fork`` from a process whose torch has started no
            threads, else ``spawn``. By default, ``fork`` on Linux for ranks on the CPU.
        timer: what `clock` follows between calls.

    Raises:
        BenchCoreError: if so many ranks are not allowed.
        RankError: if a rank does not start.
    """

    def __init__(
        self,
        count: int,
        device: str = "cpu",
        *,
        timeout: float = TIMEOUT,
        start: str | None = None,
        timer: clock.Clock = clock.host,
    ) -> None:
        reason = why_not(count, device)
        if reason:
            raise BenchCoreError(f"{reason}.")
        self.count, self.device, self.timeout = count, device, timeout
        self._timer, self._untimed = timer, 0.0
        self._folder = Path(tempfile.mkdtemp(prefix="ranks-", dir=watchdog.room()))
        forks = "fork" if sys.platform.startswith("linux") and self.device == "cpu" else "spawn"
        context = multiprocessing.get_context(start or forks)
        pipes = [context.Pipe() for _ in range(self.count)]
        self._ends = [ours for ours, _ in pipes]
        self._news, news = context.Pipe(duplex=False)
        order = _Launch(self.count, self.device, forks, str(self._folder), self.timeout)
        inherited = [*self._ends, self._news] if context.get_start_method() == "fork" else []
        self._agent: Any = context.Process(  # type: ignore[attr-defined]
            target=_launch, args=(order, [theirs for _, theirs in pipes], news, inherited), name="ranks"
        )
        # A process that ends by itself, without `close`, must not wait for the ranks.
        self._finalizer = util.Finalize(self, _end, (self._agent, self._ends, self._folder), exitpriority=10)
        try:
            if inherited:
                _preload()
            with warnings.catch_warnings():
                # Python 3.12 warns of any thread, and torch's threads wait without holding a lock.
                warnings.filterwarnings("ignore", message=".*use of fork\\(\\) may lead to deadlocks")
                self._agent.start()
            for end in (*(theirs for _, theirs in pipes), news):
                end.close()
            self._collect(_Started)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def clock(self) -> float:
        """Seconds, of which a timed call takes as many as its slowest rank. The timer of a cell."""
        return self._timer() - self._untimed

    def do(self, job: Job, *arguments: Any) -> list[Any]:
        """What each rank returns from `job`.

        Raises:
            AssertionError: if a check in `job` failed on a rank.
            RankError: if a rank died, hangs or failed.
        """
        return [answer.value for answer in self._all(_Command(job, arguments))]

    def timed(self, job: Job, *arguments: Any) -> list[Answer]:
        """The answers of all ranks to `job`, each timed after a barrier."""
        began = self._timer()
        answers = self._all(_Command(job, arguments, timed=True))
        self._untimed += self._timer() - began - max(answer.seconds for answer in answers)
        return answers

    def watched(self, job: Job, *arguments: Any) -> list[Answer]:
        """The answers of all ranks to `job`, with the memory that each held at most."""
        return self._all(_Command(job, arguments, watched=True))

    def agree(self, job: Job, *arguments: Any, what: str) -> Any:
        """What all ranks return alike from `job`.

        Raises:
            DisagreementError: if one returns something else, naming it. The ranks are ended: with different models,
                they would wait for each other for ever.
        """
        values = self.do(job, *arguments)
        usual = max(values, key=values.count)
        other = [number for number, value in enumerate(values) if value != usual]
        if other:
            self.close()
            raise DisagreementError(f"rank {other[0]} disagrees about {what}: {_difference(values[other[0]], usual)}.")
        return usual

    @property
    def alive(self) -> bool:
        """Whether they have not been ended."""
        return bool(self._finalizer.still_active())

    def close(self) -> None:
        """End all ranks."""
        self._finalizer()
        self._news.close()

    def _all(self, command: _Command) -> list[Answer]:
        for number, end in enumerate(self._ends):
            try:
                end.send(command)
            except OSError:
                raise self._lost(number) from None
        return self._collect(Answer)

    def _collect(self, kind: type[Any]) -> list[Any]:
        """The next message of each rank, which all have `timeout` seconds to send."""
        waiting = dict(enumerate(self._ends))
        found: dict[int, Any] = {}
        failures: list[_Failure] = []
        deadline = clock.host() + self.timeout
        while waiting:
            ready = connection.wait([*waiting.values(), self._news], max(0.0, deadline - clock.host()))
            if not ready:
                break
            if self._news in ready:
                raise self._lost(None)
            for number in [number for number, end in waiting.items() if end in ready]:
                try:
                    message = waiting.pop(number).recv()
                except (EOFError, OSError):
                    raise self._lost(number) from None
                if isinstance(message, _Failure):
                    failures.append(message)
                    deadline = min(deadline, clock.host() + GRACE)
                else:
                    assert isinstance(message, kind), message
                    found[number] = message
        if failures:
            self._fail(failures, ended=bool(waiting))
        if waiting:
            raise self._hung(waiting)
        return [found[number] for number in range(self.count)]

    def _fail(self, failures: Sequence[_Failure], *, ended: bool) -> None:
        first = min(failures, key=lambda failure: failure.rank)
        if ended or not first.wrong:
            self.close()
        if first.wrong:
            raise AssertionError(f"rank {first.rank}: {first.text}")
        raise RankError(f"rank {first.rank} failed: {first.text}. All ranks have been ended.")

    def _hung(self, waiting: Mapping[int, connection.Connection]) -> RankError:
        """The error about ranks that do not answer. It names those that the others wait for."""
        places: dict[int, _Where] = {}
        for end in waiting.values():
            with suppress(OSError):
                end.send(_Where)
        deadline = clock.host() + GRACE
        while silent := {end: number for number, end in waiting.items() if number not in places}:
            ready = connection.wait(list(silent), max(0.0, deadline - clock.host()))
            if not ready:
                break
            for end in [end for end in silent if end in ready]:
                with suppress(EOFError, OSError):
                    message = end.recv()
                    if isinstance(message, _Where):
                        places[message.rank] = message
                        continue
                deadline = 0.0  # it answers only now, or has died
        self.close()
        said = {
            number: places[number].place if number in places else "code that lets no thread run" for number in waiting
        }
        culprits = [number for number in waiting if number not in places or not places[number].waits]
        others = [number for number in waiting if number not in culprits]
        if not culprits:
            return RankError(
                f"{_listed(others)} wait for each other for more than {self.timeout:g} s: rank {others[0]} in "
                f"{said[others[0]]}. All ranks have been ended."
            )
        waits = f"; {_listed(others)} wait{'s' * (len(others) == 1)} for it in {said[others[0]]}" if others else ""
        return RankError(
            f"rank {culprits[0]} has hung for more than {self.timeout:g} s in {said[culprits[0]]}{waits}. "
            "All ranks have been ended."
        )

    def _lost(self, number: int | None) -> RankError:
        """The error about a rank that died, or about the process that started it."""
        failures: Mapping[int, str] = {}
        if self._news.poll(GRACE + 2 * LOOK_EVERY):
            try:
                news = self._news.recv()
            except EOFError:  # it was killed, and the ranks with it
                number = None
            else:
                if isinstance(news, str):
                    self.close()
                    return RankError(f"the ranks cannot be started: {news}.")
                failures = news
        rank, how = next(iter(failures.items()), (number, "it has ended"))
        words = self._last_words(rank)
        self.close()
        who = "the process that started the ranks" if rank is None else f"rank {rank}"
        return RankError(f"{who} died: {how}{words}. All ranks have been ended.")

    def _last_words(self, rank: int | None) -> str:
        files = sorted(self._folder.glob(f"**/{rank}/stderr.log")) if rank is not None else []
        lines = [line.strip() for file in files for line in file.read_text(errors="replace").splitlines()]
        last = [line for line in lines if line][-LAST_LINES:]
        return f"; it last wrote: {' | '.join(map(brief, last))}" if last else ""


_idle: dict[tuple[int, str], list[Ranks]] | None = None
"""In `shared`, the ranks that no cell has, by number and device."""


@contextmanager
def shared() -> Iterator[None]:
    """In this block, `take` hands out ranks again that were given back, without what they kept. A check may find memory
    and connections of another cell, a measurement may not. Starting them takes longer than most checks."""
    global _idle
    before, _idle = _idle, {}
    try:
        yield
    finally:
        ended, _idle = _idle, before
        for group in itertools.chain(*ended.values()):
            group.close()


def take(count: int, device: str) -> Ranks:
    """Ranks for a cell: new ones, except in `shared`. They are given back to `give_back`.

    Raises:
        BenchCoreError: as `Ranks`.
    """
    idle = (_idle or {}).get((count, device))
    return idle.pop() if idle else Ranks(count, device)


def give_back(group: Ranks) -> None:
    """Take leave of ranks. They are ended, except in `shared`."""
    if _idle is None or not group.alive:
        group.close()
        return
    group.do(_forget)
    _idle.setdefault((group.count, group.device), []).append(group)


def _forget(rank: Rank) -> None:
    rank.kept.clear()


def _listed(numbers: Sequence[int]) -> str:
    return ("rank " if len(numbers) == 1 else "ranks ") + ", ".join(map(str, numbers))


def _difference(found: Any, usual: Any) -> str:
    """The first line in which two descriptions differ."""
    if isinstance(found, (list, tuple)) and isinstance(usual, (list, tuple)):
        for one, other in zip(found, usual, strict=False):
            if one != other:
                return f"it has {one}, the others {other}"
        return f"it has {len(found)}, the others {len(usual)}"
    return f"it has {found!r}, the others {usual!r}"


def _end(agent: Any, ends: Sequence[connection.Connection], folder: Path) -> None:
    """End torchrun's agent and all ranks, whatever they do, and wait until they have ended."""
    if agent.pid is not None:
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(agent.pid).children(recursive=True)
            agent.kill()
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        agent.join()
        for end in ends:  # the system closes the other one with the rank
            with suppress(EOFError, OSError):
                while end.poll(GRACE):
                    end.recv_bytes()
    for end in ends:
        end.close()
    shutil.rmtree(folder, ignore_errors=True)


def _preload() -> None:
    for name in PRELOAD:
        importlib.import_module(name)


# What follows runs in the agent and in the ranks.


def _end_with_parent() -> None:
    """End this process when its parent ends. Linux needs no thread for it: the agent must have none when it forks."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    if not sys.platform.startswith("linux"):
        threading.Thread(target=_watch_parent, args=(parent.sentinel,), daemon=True).start()
        return
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, KILLED, 0, 0, 0)
    if os.getppid() != parent.pid:  # it has ended before
        os._exit(1)


def _watch_parent(sentinel: int) -> None:
    """End this process, and those that it started, when its parent has ended."""
    connection.wait([sentinel])
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(1)


def _launch(
    order: _Launch,
    ends: Sequence[connection.Connection],
    news: connection.Connection,
    inherited: Sequence[connection.Connection],
) -> None:
    """Run torchrun's agent until the ranks have ended, and say how they ended."""
    _end_with_parent()
    os.setsid()  # Ctrl-C is for the cell
    for end in inherited:
        end.close()
    log = os.open(Path(order.folder, "agent.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115 - pytest's are none
    logging.disable(logging.CRITICAL)  # what the agent knows about an end is in its exception
    _preload()
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from bench_core.suite import rendezvous

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=order.count,
        run_id=uuid.uuid4().hex,
        rdzv_backend=rendezvous.BACKEND,
        max_restarts=0,
        monitor_interval=LOOK_EVERY,
        start_method=order.method,
        logs_specs=DefaultLogsSpecs(log_dir=order.folder, redirects=Std.ALL),
    )
    try:
        elastic_launch(config, _serve)(order, ends)
    except ChildFailedError as error:
        first, _ = error.get_first_failure()
        news.send({first: _how(error.failures[first])})
    except Exception as error:  # noqa: BLE001 - passed on to the cell
        news.send(named(error.__cause__ or error))


def _how(failure: Any) -> str:
    if failure.exitcode < 0:
        return f"signal {-failure.exitcode} ({failure.signal_name()})"
    said = str(failure.message).strip().splitlines()
    known = f", {said[-1]}" if said and "enable traceback" not in said[-1] else ""
    return f"exit code {failure.exitcode}{known}"


def _serve(order: _Launch, ends: Sequence[connection.Connection]) -> None:
    """Be a rank until the cell's process ends."""
    _end_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the agent's own handler would wait for the end of a collective
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    number = int(os.environ["RANK"])
    line = _Line(number, ends[number])
    for end in ends:
        if end is not ends[number]:
            end.close()
    usable = cores.usable()
    cores.stay_on([usable[number % len(usable)]] if usable else [])
    rank = _join(order, number)
    gc.freeze()  # a collection would go through all that was imported, which takes 0.1 s
    line.send(_Started(number))
    while True:
        line.send(_done(rank, line.commands.get()))


def _join(order: _Launch, number: int) -> Rank:
    from torch.distributed.device_mesh import init_device_mesh

    dist: Any = torch.distributed  # mypy does not know its stores
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    device = torch.device(order.device, number) if order.device != "cpu" else torch.device("cpu")
    if order.device != "cpu":
        torch.accelerator.set_device_index(number)
    backend = "gloo" if order.device == "cpu" else "nccl"
    # Longer than the cell waits, so that the cell sees who waits for whom.
    dist.init_process_group(
        backend,
        store=dist.FileStore(str(Path(order.folder, "store")), order.count),
        rank=number,
        world_size=order.count,
        timeout=timedelta(seconds=2 * order.timeout + 60),
    )
    return Rank(number, order.count, device, init_device_mesh(order.device, (order.count,)))


class _Line:
    """The rank's end of the pipe. A thread reads it, which sees the cell's end, and tells where the rank is."""

    def __init__(self, rank: int, end: connection.Connection) -> None:
        self.commands: queue.SimpleQueue[_Command] = queue.SimpleQueue()
        self._rank, self._end, self._lock = rank, end, threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, message: object) -> None:
        with self._lock:
            self._end.send(message)

    def _read(self) -> None:
        while True:
            try:
                message = self._end.recv()
            except (EOFError, OSError):
                os._exit(1)
            if message is _Where:
                self.send(_where(self._rank, sys._current_frames()[threading.main_thread().ident or 0]))
            else:
                self.commands.put(message)


def _where(rank: int, frame: FrameType) -> _Where:
    """The innermost place outside of torch; or, if that called torch.distributed, the function of it."""
    own, shared = str(Path(torch.__file__).parent), str(Path(torch.distributed.__file__).parent)
    current: FrameType | None = frame
    waits = ""
    while current is not None and current.f_code.co_filename.startswith(own):
        if current.f_code.co_filename.startswith(shared):
            waits = waits or current.f_code.co_name
        current = current.f_back
    if waits or current is None:
        return _Where(rank, f"torch.distributed ({waits})", waits=True)
    code = current.f_code
    return _Where(rank, f"{Path(code.co_filename).name}:{current.f_lineno} ({code.co_name})", waits=False)


def _done(rank: Rank, command: _Command) -> Answer | _Failure:
    try:
        if command.timed:
            return _timed(rank, command)
        if command.watched:
            return _watched(rank, command)
        return Answer(rank.number, command.job(rank, *command.arguments))
    except AssertionError as error:
        return _Failure(rank.number, str(error), wrong=True)
    except Exception as error:  # noqa: BLE001 - passed on to the cell
        return _Failure(rank.number, named(error), wrong=False)


def _timed(rank: Rank, command: _Command) -> Answer:
    ready = clock.host if rank.device.type == "cpu" else clock.draining(torch.accelerator.synchronize)
    torch.distributed.barrier()
    start = ready()
    value = command.job(rank, *command.arguments)
    return Answer(rank.number, value, seconds=ready() - start)


def _watched(rank: Rank, command: _Command) -> Answer:
    torch.distributed.barrier()
    if rank.device.type != "cpu":
        memory = torch.get_device_module(rank.device.type)
        before = memory.memory_allocated()
        memory.reset_peak_memory_stats()
        value = command.job(rank, *command.arguments)
        return Answer(rank.number, value, peak_bytes=int(memory.max_memory_allocated() - before))
    before = _reset_peak()
    value = command.job(rank, *command.arguments)
    return Answer(rank.number, value, peak_bytes=None if before is None else max(0, _status("VmHWM") - before))


def why_no_peak(device: str = "cpu") -> str | None:
    """Why the peak of a rank's memory is not known here, or None if it is."""
    if device != "cpu" or os.access("/proc/self/clear_refs", os.W_OK):
        return None
    return "this system does not tell the peak of a process's memory from now on (Linux does, in /proc/self/clear_refs)"


def _reset_peak() -> int | None:
    """Let the kernel count the peak of this process from now on. Returns the bytes that it holds now."""
    if why_no_peak():
        return None
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # memory that was freed, and that the allocator holds, would hide what is allocated next
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    """Bytes, of a line such as ``VmHWM:  1024 kB`` of this process's status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise OSError(f"no {name} in /proc/self/status")
