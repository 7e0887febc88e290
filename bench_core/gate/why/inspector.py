"""An inspector: a process that loads one version and examines what a call of a cell does, instead of timing it.

It either profiles Python and torch (``profile``), or has callgrind count instructions (``count``). Like a worker, it
proves that it has loaded its version. Unlike workers, inspectors do not communicate with each other.
"""

from __future__ import annotations

import contextlib
import cProfile
import ctypes
import dis
import functools
import gc
import itertools
import math
import mmap
import os
import re
import sys
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from bench_core import clock
from bench_core.compat import qualname
from bench_core.gate.versions.subjects import Subjects, source
from bench_core.records.gate import SIDES, Side
from bench_core.timing.cells import Cell, OpenCell, SuiteDirectory
from bench_core.workers import child
from bench_core.workers.loading import VersionError, load, prove
from bench_core.workers.messages import (
    INSPECTOR,
    CalledFunction,
    Dumps,
    Inspection,
    InspectorTask,
    Mode,
    NotInspected,
    Operator,
    Profile,
    read,
)
from bench_core.workers.plan import same_random_numbers
from bench_core.workers.turns import CellError, attempt

SEED = 0
"""The seed of Python's hashes and of all generators, so that both sides do the same."""

WARM = 16
"""The most calls before anything is counted. The first calls import, fill caches, and let Python's interpreter
specialize, which it tries repeatedly. After 3 calls, the instructions of the same code differed by 1.7 % in one of ten
cells.

The rest, up to 0.31 % in ten cells of torch, comes from the addresses of objects. Python caches methods in a table of
4096 entries, indexed by the address of the name and the version of the type. Two methods that share an entry are looked
up in every call (0.7 % of one cell's instructions in one count). Giving all types new versions and warming up again
rarely removed this, and changed malloc by 1.9 %.
"""

WARM_SECONDS = 1.0
"""The calls before anything is counted end after this many seconds, but there are at least two."""

CALLS = 5
"""The number of profiled calls of a timed cell that can be called repeatedly."""

MOST_BYTECODES = 3_000_000
"""A call with more bytecodes is not counted. Counting one takes 0.25 us."""

START_TIMEOUT = 600.0
"""The most seconds until the first answer. Under callgrind, importing torch takes 15 to 60 s."""

CELL_TIMEOUT = 600.0
"""The most seconds until any further answer."""


def look(
    subjects: Subjects,
    cells: Sequence[str],
    mode: Mode,
    watchdog: child.Watchdog,
    prefix: Sequence[str] = (),
    *,
    renamed: Mapping[str, str],
) -> Generator[tuple[str, dict[Side, Inspection]], None, None]:
    """Inspect both sides at once.

    Args:
        prefix: the command that the inspectors run under.
        renamed: the names that base has for some of the cells, see `GateRecord`.

    Yields:
        Each cell with the answer of each side. If an inspector dies, its answer for that cell and all later ones is a
        `NotInspected` that is `lost`.
    """
    with contextlib.ExitStack() as stack:
        asked: dict[Side, child.Child[InspectorTask, Inspection]] = {}
        lost: dict[Side, NotInspected] = {}
        for side in SIDES:
            dumps = watchdog.folder / f"{mode}-{side}"
            dumps.mkdir()
            own = source(subjects, side, watchdog.folder / "caches")
            under = [word.format(folder=dumps) for word in prefix]
            if own.confined is not None:  # callgrind writes its counts from inside of the process
                own = replace(own, confined=replace(own.confined, writable=(*own.confined.writable, str(dumps))))
            given = subjects.environment
            asked[side] = child.Child(INSPECTOR, SEED, watchdog, under, python=own.python, environment=given)
            stack.callback(asked[side].close)
            names = tuple(renamed.get(name, name) if side == "base" else name for name in cells)
            with contextlib.suppress(child.LostError):  # reported when the answer is missing
                asked[side].tell(InspectorTask(own, str(subjects.suite), names, mode, str(dumps)))
        timeout = START_TIMEOUT
        for name in cells:
            answers: dict[Side, Inspection] = {}
            for side in SIDES:
                if side not in lost:
                    try:
                        answers[side] = asked[side].answer(timeout)
                        continue
                    except child.LostError as error:
                        lost[side] = NotInspected(f"the process that inspects {side} {error}", lost=True)
                answers[side] = lost[side]
            yield name, answers
            timeout = CELL_TIMEOUT


def main() -> None:
    """Read an `InspectorTask` from standard input, and write an answer for each cell to standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    task = read(INSPECTOR.tasks, sys.stdin.readline(), "inspector")
    for answer in inspect(task):
        answers.write(INSPECTOR.answers.line(answer) + "\n")
        answers.flush()
    answers.close()


def inspect(task: InspectorTask) -> Iterator[Inspection]:
    """Inspect each cell, in order."""
    suite = load(task.source, task.suite)
    wrong = ""
    try:
        for name in task.cells:
            with contextlib.suppress(Exception):  # it fails again when its turn comes, and is reported then
                suite.find(name)
        prove(task.source, suite.path)
    except VersionError as error:
        wrong = str(error)
    gc.collect()
    gc.freeze()  # imported modules are never garbage; a collection would walk through them before every count
    inspected: Inspector = Callgrind(Path(task.folder)).counted if task.mode == "count" else profiled
    for name in task.cells:
        try:
            yield NotInspected(wrong) if wrong else _inspected(suite, name, inspected)
        except CellError as error:
            yield NotInspected(str(error))
    suite.close()


Inspector = Callable[[OpenCell], Profile | Dumps]
"""Examines what a call of a timed cell does."""


def _inspected(suite: SuiteDirectory, name: str, inspected: Inspector) -> Inspection:
    cell = attempt("import", lambda: suite.find(name))
    if cell.kind == "timeraw":
        return NotInspected("it runs in its own process, which cannot be inspected")
    if inspected is not profiled and cell.kind != "time":
        return NotInspected("it is not timed, and instructions are counted only beside a time")
    if inspected is not profiled and _device(cell) not in ("cpu", "meta"):
        return NotInspected(f"it runs on {_device(cell)}, and only instructions of the processor can be counted")

    def opened() -> Inspection:
        same_random_numbers(SEED)
        with cell.open() as one:
            if cell.kind != "time":
                return profiled_at_first(one)
            _warm_up(one)
            return inspected(one)

    return attempt("call", opened)


def _warm_up(opened: OpenCell) -> None:
    began = clock.host()
    for done in range(WARM):
        if done >= 2 and clock.host() - began > WARM_SECONDS:
            return
        _prepare(opened)
        opened.call()


def _device(cell: Cell) -> str:
    return cell.device


def _prepare(opened: OpenCell) -> None:
    """Set up a fresh object if each call needs one, collect garbage, and draw the same random numbers again."""
    if opened.cell.kind != "time" or opened.number:
        opened.fresh()
    same_random_numbers(SEED)
    gc.collect()


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def profiled(opened: OpenCell) -> Profile:
    """Profile some calls with Python's and torch's profilers. Each profiler gets its own calls."""
    calls = 1 if opened.number else CALLS
    functions, operators, memory = cProfile.Profile(), _torch_profiler(), _PeakMemory()
    _listened(opened, functools.partial(functions.runcall, opened.call), calls)
    bytecodes = _bytecodes(opened)
    _listened(opened, opened.call, calls, operators)
    _listened(opened, opened.call, 1, memory)
    return _profile(opened, calls, functions, operators, memory, bytecodes)


def profiled_at_first(opened: OpenCell) -> Profile:
    """Profile the first call with all profilers at once, since it determines a memory or tracked value. Bytecodes are
    not counted, since this would take memory in the same call."""
    functions, operators, memory = cProfile.Profile(), _torch_profiler(), _PeakMemory()
    _listened(opened, functools.partial(functions.runcall, opened.call), 1, operators, memory)
    return _profile(opened, 1, functions, operators, memory, None)


def _listened(
    opened: OpenCell, call: Callable[[], object], calls: int, *listeners: contextlib.AbstractContextManager[Any]
) -> None:
    """Make `calls` calls with these profilers switched on."""
    _prepare(opened)
    with _uncollected(), contextlib.ExitStack() as stack:
        for listener in listeners:
            stack.enter_context(listener)
        for _ in itertools.repeat(None, calls):
            call()


def _profile(
    opened: OpenCell,
    calls: int,
    functions: cProfile.Profile,
    operators: Any,
    memory: _PeakMemory,
    bytecodes: dict[str, dict[str, int]] | None,
) -> Profile:
    events = [] if isinstance(operators, contextlib.nullcontext) else list(operators.events())
    return Profile(
        kind=opened.cell.kind,
        calls=_functions(functions, calls),
        bytecodes=bytecodes,
        operators=_operators(events, calls),
        tensors=_at_once(events),
        peak=memory.peak,
    )


def _functions(profiler: cProfile.Profile, calls: int) -> dict[str, CalledFunction]:
    modules = _modules()
    found: dict[str, CalledFunction] = {}
    for entry in profiler.getstats():
        name = _native_name(entry.code) if isinstance(entry.code, str) else _name(entry.code, modules)
        before = found.get(name, CalledFunction())
        found[name] = CalledFunction(
            before.count + entry.callcount / calls,
            before.own + entry.inlinetime / calls,
            before.total + entry.totaltime / calls,
            not isinstance(entry.code, str),
        )
    found.pop("_lsprof.Profiler.disable", None)
    return found


def _modules() -> dict[str, str]:
    """Module names by file. The two sides have different files, and the same module names."""
    found: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None:
            found.setdefault(file, name)
    return found


def _name(code: CodeType, modules: Mapping[str, str]) -> str:
    return f"{modules.get(code.co_filename, Path(code.co_filename).name)}.{qualname(code)}"


def _native_name(said: str) -> str:
    """``<method 'normal_' of 'torch._C.TensorBase' objects>`` as ``torch._C.TensorBase.normal_``."""
    if method := re.fullmatch(r"<method '(.+)' of '(.+)' objects>", said):
        return f"{method[2]}.{method[1]}"
    if function := re.fullmatch(r"<built-in method (.+?)( of .+ object at 0x.+)?>", said):
        return function[1]
    return re.sub(r" at 0x[0-9a-f]+", "", said)


def _bytecodes(opened: OpenCell) -> dict[str, dict[str, int]] | None:
    """How often a call executes each bytecode of each function; None if there are more than `MOST_BYTECODES`."""
    call = opened.call
    counts: defaultdict[CodeType, Counter[int]] = defaultdict(Counter)
    left = MOST_BYTECODES

    def enter(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        counted = counts[frame.f_code]

        def step(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:
            nonlocal left
            if event == "opcode":
                counted[frame.f_lasti] += 1
                left -= 1
                if left == 0:
                    sys.settrace(None)
            return step

        return step

    _prepare(opened)
    before = sys.gettrace()
    with _uncollected():
        sys.settrace(enter)
        try:
            call()
        finally:
            sys.settrace(before)
    if left <= 0:
        return None
    modules = _modules()
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for code, places in counts.items():
        names = code.co_code
        for place, count in places.items():
            found[_name(code, modules)][dis.opname[names[place]]] += count
    return {name: dict(codes) for name, codes in found.items()}


def _torch_profiler() -> contextlib.AbstractContextManager[Any]:
    """torch's own profiler, or a null context if nothing has imported torch."""
    torch = sys.modules.get("torch")
    if torch is None:
        return contextlib.nullcontext()
    profiler: contextlib.AbstractContextManager[Any] = torch.profiler.profile(profile_memory=True, record_shapes=True)
    return profiler


FREED = "[memory]"
"""The name under which torch reports memory that is freed outside of operators."""


def _operators(events: Sequence[Any], calls: int) -> dict[str, Operator]:
    found: dict[str, Operator] = {}
    for event in events:
        if event.name == FREED:
            continue
        sums = found.get(event.name, Operator())
        found[event.name] = Operator(
            sums.count + 1,
            sums.seconds + 1e-6 * (event.self_cpu_time_total + event.self_device_time_total),
            sums.bytes + max(0, _allocated(event)),
            sums.elements + sum(map(math.prod, filter(_is_shape, event.input_shapes or ()))),
        )
    return {
        name: Operator(*(value / calls for value in (one.count, one.seconds, one.bytes, one.elements)))
        for name, one in found.items()
    }


def _allocated(event: Any) -> int:
    """The bytes that an operator allocates, less those that it frees, without the operators that it calls."""
    found: int = event.self_cpu_memory_usage + event.self_device_memory_usage
    return found


def _at_once(events: Sequence[Any]) -> float:
    """The peak of the memory that torch holds, in bytes beyond what it held before."""
    held = itertools.accumulate(_allocated(event) for event in sorted(events, key=lambda one: one.time_range.start))
    return max(0, max(held, default=0))


def _is_shape(shape: Any) -> bool:
    return bool(shape) and all(isinstance(size, int) for size in shape)


class _PeakMemory(contextlib.AbstractContextManager["_PeakMemory"]):
    """Traces the memory that Python and numpy allocate. `peak` is its peak in bytes, beyond what they held before."""

    peak = 0.0

    def __enter__(self) -> _PeakMemory:
        tracemalloc.start()
        self._before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        return self

    def __exit__(self, *raised: object) -> None:
        self.peak = tracemalloc.get_traced_memory()[1] - self._before
        tracemalloc.stop()


INSTRUCTIONS = 5_000_000
"""A count has as many calls as fit into about this many instructions."""

MOST_CALLS = 16
"""The most calls in one count. With fewer calls, work that malloc does only in some calls is up to 0.8 % of a short
call."""

LONG = 50_000_000
"""A call of more than this many instructions is counted once."""

TIMES = 5
"""The number of counts of a cell. The one with the median total is used."""


class Callgrind:
    """Asks the callgrind that this process runs under to count.

    Callgrind counts only on request, so importing torch takes 14 s of processor time instead of 59 s. A client request
    is a sequence of instructions that valgrind recognizes and that does nothing on a processor. Python has no function
    for it, so the class holds it as machine code. The option `--toggle-collect` needs no request, but takes the 59 s,
    and with functions of the C library it counted nothing here.

    Args:
        folder: the folder of `--callgrind-out-file`.
    """

    # mov rax, rdi; mov rdx, rsi; rol rdi, 3; rol rdi, 13; rol rdi, 61; rol rdi, 51; xchg rbx, rbx; mov rax, rdx; ret
    _CODE = bytes.fromhex("4889f8 4889f2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")
    # CALLGRIND_DUMP_STATS, CALLGRIND_START_INSTRUMENTATION, CALLGRIND_STOP_INSTRUMENTATION of valgrind/callgrind.h
    _DUMP, _START, _STOP = (0x43540000 + number for number in (0, 4, 5))

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(self._CODE)
        self._code = ctypes.c_char.from_buffer(page)  # holds the page
        function = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64)
        self._ask = function(ctypes.addressof(self._code))
        self._requests = {number: (ctypes.c_uint64 * 6)(number) for number in (self._DUMP, self._START, self._STOP)}
        self._dumps = 0
        self._empty: str | None = None

    def counted(self, opened: OpenCell) -> Dumps:
        if self._empty is None:
            self._count(lambda: None, 0)  # the first count includes some additional instructions
            self._empty = self._count(lambda: None, 0)
        call = opened.call
        _prepare(opened)
        alone = self._count(call, 1)
        instructions = total_of(alone)
        if instructions > LONG:
            return Dumps(1, (alone,), self._empty)
        # A power of two, so that both sides, which do not communicate, take the same number.
        most = int(min(MOST_CALLS, INSTRUCTIONS / instructions, opened.number or MOST_CALLS))
        number = 2 ** (max(1, most).bit_length() - 1)
        dumps, held = [], []
        for _ in range(TIMES):
            _prepare(opened)
            held.append(_padding())
            dumps.append(self._count(call, number))
        return Dumps(number, tuple(dumps), self._empty)

    def _count(self, call: Callable[[], object], number: int) -> str:
        """The file with the instructions of `number` calls, and of ending the count."""
        calls = itertools.repeat(None, number)
        ask = self._ask
        start, stop = (ctypes.addressof(self._requests[request]) for request in (self._START, self._STOP))
        with _uncollected():
            ask(start, 0)
            for _ in calls:
                call()
            ask(stop, 0)
        ask(ctypes.addressof(self._requests[self._DUMP]), 0)
        self._dumps += 1
        return str(self._folder / f"{DUMPS}.{self._dumps}")


def _padding() -> list[object]:
    """Some small objects of every size, to be held while a cell is counted.

    Python's allocator takes memory in pages of objects of one size. If a loop alternately creates and frees the last
    object of a page, each iteration costs a page: an empty loop had 3 % more instructions in one of two processes with
    the same code. With other objects in between, this affects a minority of the counts, and not the median.
    """
    return [[10**6 + number, *(bytes(size) for size in range(1, 480, 16))] for number in range(11)]


DUMPS = "callgrind.out"
"""The file name in `--callgrind-out-file`. callgrind appends a number to it."""


def total_of(dump: str) -> int:
    """The instructions in one of callgrind's files."""
    with open(dump) as lines:  # noqa: PTH123 - fast, since this runs under valgrind
        for line in lines:
            if line.startswith("totals:"):
                return int(line.split()[1])
    raise ValueError(f"{dump} has no total")
