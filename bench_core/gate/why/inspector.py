"""An inspector: a process that has one version loaded and looks at what a call of a cell does, instead of timing it.

It counts what Python and torch can be asked for (``profile``), or, under callgrind, has instructions counted
(``count``). Like a worker it loads one version and proves it; unlike workers, inspectors know nothing of each other.
"""

from __future__ import annotations

import contextlib
import cProfile
import ctypes
import dis
import functools
import gc
import itertools
import json
import math
import mmap
import os
import re
import sys
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Literal

from bench_core import clock
from bench_core.gate.versions.subjects import Subjects, source
from bench_core.gate.why.cause import Called, Operator
from bench_core.gate.workers import child, worker
from bench_core.gate.workers.plan import same_random_numbers
from bench_core.records.gate import SIDES, Side
from bench_core.timing.cells import Cell, OpenCell, SuiteDirectory

Mode = Literal["profile", "count"]

SEED = 0

WARM, WARM_SECONDS = 16, 1.0
"""Calls before anything is counted, as many as fit into that time, and at least two: the first ones import, fill
caches, and let Python's interpreter specialize, which it tries again and again. After 3 calls, the same code differed
by 1.7 % of its instructions in one of ten cells.

What is left, up to 0.31 % in ten cells of torch, is where things lie in memory. Python finds methods in a table of 4096
places, by the address of a name and a number of the type; two that share a place are searched for in every call (0.7 %
of one cell's instructions in one count). To give all types new numbers and warm up again rarely removed it, and moved
malloc by 1.9 %.
"""

CALLS = 5
"""Calls that are profiled, of what is timed and can be called more than once."""

MOST_BYTECODES = 3_000_000
"""That are counted in a call, 0.25 us each. Of longer ones, none are."""

START_TIMEOUT, CELL_TIMEOUT = 600.0, 600.0
"""Seconds until the first and any further answer: under callgrind, torch is imported in 15 to 60 s."""


def look(
    subjects: Subjects, cells: Sequence[str], mode: Mode, watchdog: child.Watchdog, prefix: Sequence[str] = ()
) -> Iterator[tuple[str, dict[Side, dict[str, Any]]]]:
    """Have both sides looked at, at once.

    Args:
        prefix: what the inspectors run under.

    Yields:
        A cell, and what the inspector of each side answers: what was found, or ``failed``, a reason. Of a process that
        has died that is the reason for all cells from then on, with ``lost``.
    """
    with contextlib.ExitStack() as stack:
        asked: dict[Side, child.Child] = {}
        lost: dict[Side, str] = {}
        for side in SIDES:
            dumps = watchdog.folder / f"{mode}-{side}"
            dumps.mkdir()
            own = source(subjects, side, watchdog.folder / "caches")
            under = [word.format(folder=dumps) for word in prefix]
            asked[side] = child.Child("bench_core.gate.why.inspector", SEED, watchdog, under, python=own["python"])
            stack.callback(asked[side].close)
            spec = {
                "source": own,
                "suite": str(subjects.suite),
                "cells": list(cells),
                "mode": mode,
                "folder": str(dumps),
            }
            with contextlib.suppress(child.LostError):  # said by the answer that is missing
                asked[side].tell(spec)
        timeout = START_TIMEOUT
        for name in cells:
            answers: dict[Side, dict[str, Any]] = {}
            for side in SIDES:
                if side not in lost:
                    try:
                        answers[side] = asked[side].answer(timeout)
                        continue
                    except child.LostError as error:
                        lost[side] = f"the process that looks at {side} {error}"
                answers[side] = {"failed": lost[side], "lost": True}
            yield name, answers
            timeout = CELL_TIMEOUT


def main() -> None:
    """Read the specification from standard input, write an answer a cell to standard output, each a line of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for answer in inspect(json.loads(sys.stdin.readline())):
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    answers.close()


def inspect(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """
    Args:
        spec: ``source`` and ``suite`` as of a worker; ``cells``: names; ``mode``; ``folder``: where callgrind writes.

    Yields:
        What was found of each cell, or ``failed``, with the reason.
    """
    version = worker.Source(**spec["source"])
    suite = worker.load(version, spec["suite"])
    wrong = ""
    try:
        for name in spec["cells"]:
            with contextlib.suppress(Exception):  # it will fail again, in its turn, and then be reported
                suite.find(name)
        worker.prove(version, suite.path)
    except worker.VersionError as error:
        wrong = str(error)
    gc.collect()
    gc.freeze()  # what was imported is never garbage; a collection would walk through it before every count
    inspected = Callgrind(Path(spec["folder"])).counted if spec["mode"] == "count" else profiled
    for name in spec["cells"]:
        try:
            yield {"failed": wrong} if wrong else _inspected(suite, name, inspected)
        except worker.CellError as error:
            yield {"failed": str(error)}
    suite.close()


def _inspected(suite: SuiteDirectory, name: str, inspected: Callable[[OpenCell], dict[str, Any]]) -> dict[str, Any]:
    cell = worker.attempt("import", lambda: suite.find(name))
    if cell.kind == "timeraw":
        return {"failed": "it runs in a process of its own, which cannot be looked into"}
    if inspected is not profiled and cell.kind != "time":
        return {"failed": "it is not timed, and instructions are counted to stand beside a time"}
    if inspected is not profiled and _device(cell) not in ("cpu", "meta"):
        return {"failed": f"it runs on {_device(cell)}, and only instructions of the processor can be counted"}

    def opened() -> dict[str, Any]:
        same_random_numbers(SEED)
        with cell.open() as one:
            if cell.kind != "time":
                return profiled_at_first(one)
            _warm_up(one)
            return inspected(one)

    found: dict[str, Any] = worker.attempt("call", opened)
    return found


def _warm_up(opened: OpenCell) -> None:
    began = clock.host()
    for done in range(WARM):
        if done >= 2 and clock.host() - began > WARM_SECONDS:
            return
        _prepare(opened)
        opened.call()


def _device(cell: Cell) -> str:
    return cell.params.get("device", "cpu").strip("'")


def _prepare(opened: OpenCell) -> None:
    """A fresh object, for what has one each time; collected garbage, and the same random numbers again."""
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


# Without valgrind.


def profiled(opened: OpenCell) -> dict[str, Any]:
    """What a call does, as Python and torch tell it; each of them listens to calls of its own.

    Returns:
        The fields of a `Profile`, in JSON.
    """
    calls = 1 if opened.number else CALLS
    functions, operators, memory = cProfile.Profile(), _torch_profiler(), _Memory()
    _listened(opened, functools.partial(functions.runcall, opened.call), calls)
    bytecodes = _bytecodes(opened)
    _listened(opened, opened.call, calls, operators)
    _listened(opened, opened.call, 1, memory)
    return _answer(opened, calls, functions, operators, memory) | {"bytecodes": bytecodes}


def profiled_at_first(opened: OpenCell) -> dict[str, Any]:
    """What the first call does, which is the one that a memory or tracked value is of: so all listen to it at once.

    Returns:
        The fields of a `Profile`, in JSON, without bytecodes: to count those in the same call would take memory.
    """
    functions, operators, memory = cProfile.Profile(), _torch_profiler(), _Memory()
    _listened(opened, functools.partial(functions.runcall, opened.call), 1, operators, memory)
    return _answer(opened, 1, functions, operators, memory) | {"bytecodes": None}


def _listened(
    opened: OpenCell, call: Callable[[], object], calls: int, *listeners: contextlib.AbstractContextManager[Any]
) -> None:
    """Have these listen to so many calls."""
    _prepare(opened)
    with _uncollected(), contextlib.ExitStack() as stack:
        for listener in listeners:
            stack.enter_context(listener)
        for _ in itertools.repeat(None, calls):
            call()


def _answer(
    opened: OpenCell, calls: int, functions: cProfile.Profile, operators: Any, memory: _Memory
) -> dict[str, Any]:
    events = [] if isinstance(operators, contextlib.nullcontext) else list(operators.events())
    return {
        "kind": opened.cell.kind,
        "calls": {name: asdict(one) for name, one in _functions(functions, calls).items()},
        "operators": {name: asdict(one) for name, one in _operators(events, calls).items()},
        "tensors": _at_once(events),
        "peak": memory.peak,
    }


def _functions(profiler: cProfile.Profile, calls: int) -> dict[str, Called]:
    modules = _modules()
    found: dict[str, Called] = {}
    for entry in profiler.getstats():
        name = _native_name(entry.code) if isinstance(entry.code, str) else _name(entry.code, modules)
        before = found.get(name, Called())
        found[name] = Called(
            before.count + entry.callcount / calls,
            before.own + entry.inlinetime / calls,
            before.total + entry.totaltime / calls,
            not isinstance(entry.code, str),
        )
    found.pop("_lsprof.Profiler.disable", None)
    return found


def _modules() -> dict[str, str]:
    """File to module: both sides' files lie in other folders, and their modules have the same names."""
    found: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None:
            found.setdefault(file, name)
    return found


def _name(code: CodeType, modules: Mapping[str, str]) -> str:
    return f"{modules.get(code.co_filename, Path(code.co_filename).name)}.{code.co_qualname}"


def _native_name(said: str) -> str:
    """``<method 'normal_' of 'torch._C.TensorBase' objects>`` as ``torch._C.TensorBase.normal_``."""
    if method := re.fullmatch(r"<method '(.+)' of '(.+)' objects>", said):
        return f"{method[2]}.{method[1]}"
    if function := re.fullmatch(r"<built-in method (.+?)( of .+ object at 0x.+)?>", said):
        return function[1]
    return re.sub(r" at 0x[0-9a-f]+", "", said)


class _TooManyError(Exception):
    """More bytecodes than are counted."""


def _bytecodes(opened: OpenCell) -> dict[str, dict[str, int]] | None:
    """The bytecodes that a call executes: function to name to how many."""
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
    """torch's own; one that hears nothing where nothing has imported torch."""
    torch = sys.modules.get("torch")
    if torch is None:
        return contextlib.nullcontext()
    profiler: contextlib.AbstractContextManager[Any] = torch.profiler.profile(profile_memory=True, record_shapes=True)
    return profiler


FREED = "[memory]"
"""The name that torch gives to what is freed outside of operators."""


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
            sums.elements + sum(math.prod(shape) for shape in event.input_shapes or () if shape and _is_shape(shape)),
        )
    return {
        name: Operator(*(value / calls for value in (one.count, one.seconds, one.bytes, one.elements)))
        for name, one in found.items()
    }


def _allocated(event: Any) -> int:
    """Bytes, less those that it frees; without what the operators inside it do."""
    found: int = event.self_cpu_memory_usage + event.self_device_memory_usage
    return found


def _at_once(events: Sequence[Any]) -> float:
    """Bytes that torch allocates, at most at once, beyond what there was before."""
    held = itertools.accumulate(_allocated(event) for event in sorted(events, key=lambda one: one.time_range.start))
    return max(0, max(held, default=0))


def _is_shape(shape: Any) -> bool:
    return all(isinstance(size, int) for size in shape)


class _Memory(contextlib.AbstractContextManager["_Memory"]):
    """Hears how many bytes Python and numpy allocate.

    Attributes:
        peak: at most at once, beyond what there was before.
    """

    peak = 0.0

    def __enter__(self) -> _Memory:
        tracemalloc.start()
        self._before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        return self

    def __exit__(self, *raised: object) -> None:
        self.peak = tracemalloc.get_traced_memory()[1] - self._before
        tracemalloc.stop()


# Under callgrind.


INSTRUCTIONS = 5_000_000
"""About as many are counted at a time."""

MOST_CALLS = 16
"""Counted at a time: of fewer, what malloc does once in some calls is up to 0.8 % of a short one."""

LONG = 50_000_000
"""Instructions from which on one call is enough."""

TIMES = 5
"""Calls of the cell are counted so often, and the median of the totals is taken."""


class Callgrind:
    """The requests to the callgrind that this process runs under.

    It counts only while it is asked to: so torch is imported in 14 s of the processor's time instead of 59 s. To ask is
    to execute instructions that do nothing on a processor and that valgrind knows, a client request. Python has none;
    here they are as machine code. The option `--toggle-collect` counts calls of a function, without any, but only after
    those 59 s; and with functions of the C library it counted nothing here.

    Args:
        folder: where `--callgrind-out-file` lies.
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

    def counted(self, opened: OpenCell) -> dict[str, Any]:
        """
        Returns:
            ``dumps``: the files of some counts, of ``number`` calls each; ``empty``: that of a count of no call.
        """
        if self._empty is None:
            self._count(lambda: None, 0)  # the first one has a bit of its own
            self._empty = self._count(lambda: None, 0)
        call = opened.call
        _prepare(opened)
        alone = self._count(call, 1)
        instructions = total_of(alone)
        if instructions > LONG:
            return {"number": 1, "dumps": [alone], "empty": self._empty}
        # A power of two, so that both sides, which do not know of each other, take the same.
        most = int(min(MOST_CALLS, INSTRUCTIONS / instructions, opened.number or MOST_CALLS))
        number = 2 ** (max(1, most).bit_length() - 1)
        dumps, held = [], []
        for _ in range(TIMES):
            _prepare(opened)
            held.append(_padding())
            dumps.append(self._count(call, number))
        return {"number": number, "dumps": dumps, "empty": self._empty}

    def _count(self, call: Callable[[], object], number: int) -> str:
        """The file with the instructions of so many calls, and of what stops to count them."""
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
    """Some small objects of every size, to be held.

    Python's allocator takes memory in pages of objects of one size. Where the last object of a page is made and freed
    in turn, every time costs a page: an empty loop was 3 % longer in one process of the same code than in the other.
    With other objects in between, that hits one count of some, and not the median.
    """
    count = 11
    return [[10**6 + number, *(bytes(size) for size in range(1, 480, 16))] for number in range(count)]


DUMPS = "callgrind.out"
"""The name that `--callgrind-out-file` is given; callgrind appends a number to it."""


def total_of(dump: str) -> int:
    """The instructions in one of callgrind's files."""
    with open(dump) as lines:  # noqa: PTH123 - quick: this runs under valgrind
        for line in lines:
            if line.startswith("totals:"):
                return int(line.split()[1])
    raise ValueError(f"{dump} has no total")


if __name__ == "__main__":
    main()
