"""Records which code runs in this process, and what else of a version's code is looked at.

From Python 3.12 on, `sys.monitoring` reports each code object that starts, in every thread. Earlier, each thread that
`threading` starts has a profile function; other threads are noticed and make the record worthless, as does everything
else that cannot be followed: `Trace.fault` then says what it was.
"""

from __future__ import annotations

import _thread
import cProfile
import ctypes
import functools
import inspect
import linecache
import os
import sys
import sysconfig
import threading
import traceback
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from bench_core.compat import qualname
from bench_core.workers.fingerprint import FIRST_LINE, fingerprint, is_function
from bench_core.workers.turns import IMPORTER

MONITORED = hasattr(sys, "monitoring")
TOOL, TOOL_ID = "bench-core gate", 4

SUITE = "<suite>"
"""What stands for the suite's folder in the places of code. In those of a version, nothing stands before the path."""

CODE = frozenset({"__code__", "gi_code", "cr_code", "ag_code", "f_code"})
"""Attributes through which code can be read without running it. Python raises an audit event for each."""

GETATTR = "object.__getattr__"
"""The audit event of reading such an attribute."""

LINES = frozenset(
    {"tb_lineno", "f_lineno", "co_firstlineno", "co_lines", "co_positions", "co_linetable", "co_lnotab", "lineno"}
    | {FIRST_LINE, "walk_tb", "walk_stack"}
)
"""Attributes and functions that tell in which line code stands. Those of the module `traceback` read the code of each
frame, too, which `Trace.looked` has."""

FRAMES = frozenset(
    {"_getframe", "_current_frames", "currentframe", "gi_frame", "cr_frame", "ag_frame", "tb_frame", "f_back"}
    | {"dump_traceback", "dump_traceback_later"}
)
"""Names by which the project's own code gets at a frame, whose text tells the line. Python's library uses them for
other ends."""

FINDERS = frozenset({"find_spec", "find_loader", "find_module", "iter_modules", "walk_packages"})
"""Names of functions that look for modules without importing them. Python's own import system, which has some of them,
is not asked for its names."""

SILENT = frozenset(
    {"access", "readlink", "chmod", "lchmod", "chown", "lchown", "utime", "link", "symlink", "rename", "statvfs"}
    | {"pathconf", "getxattr", "listxattr", "truncate", "path_importer_cache"}
)
"""Names by which the project's own code can find out whether a file is there, without an audit event. Python's library
uses them for other ends, such as the real path of a file that is known."""

PROCESSES = frozenset(
    {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec", "os.system", "pty.spawn"}
)
"""Audit events of starting a process."""

SWITCHES = frozenset({"sys.setprofile", "sys.settrace", "sys.monitoring.register_callback"})
"""Audit events of replacing what records."""

ENVIRONMENT = frozenset({"os.putenv", "os.unsetenv"})
"""Audit events of changing an environment variable."""

EVERYTHING = frozenset({"gc.get_objects", "gc.get_referrers", "gc.get_referents"})
"""Audit events of looking at all objects, which may be code."""

LISTINGS = {"os.listdir": "/", "os.scandir": "/*"}
"""The audit events of listing a folder, and what stands after the folder in `Trace.read`: the second one also tells the
sizes of the files."""

STAT = "stat"
"""Our own name for asking for the size of a file."""

MODULE = "<module>"
"""The name of the code of a module."""

EXISTS = "?"
"""What stands after a file in `Trace.read` if only its existence and kind were asked for."""

KINDS = frozenset({"exists", "lexists", "isfile", "isdir", "islink", "ismount", "_joinrealpath", "realpath"})
"""Functions of `os.path` that ask for the existence and kind of a file."""

FILES = frozenset({"open", STAT, *LISTINGS})

LIBRARY = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib"))
PACKAGES = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in ("purelib", "platlib"))
SHARED = (*LIBRARY, *PACKAGES, "<frozen ")
PATHLIB = tuple(f"{folder}pathlib{end}" for folder in LIBRARY for end in (".py", os.sep))  # a package from 3.13 on
ASV_READS = ("get_setup_cache_key", "get_source_code", "_get_sourceline_info")
"""The functions of asv_runner that read sources."""

OURS = f"{Path(__file__).parents[1]}{os.sep}"
IMPORTLIB = f"{IMPORTER}_bootstrap_external>"

IMPORTS = (["get_data", "get_code", "exec_module"], ["_write_atomic", "set_data", "_cache_bytecode"])
"""The innermost functions of the import system as it reads a module, and as it stores what it has compiled."""


@dataclass
class Trace:
    """What was recorded from `Recording.started` to its end.

    Attributes:
        ran: the code that ran, but for that of Python's library and of installed packages, which is the same for both
            versions: for each code object its place, a colon, its qualified name, a space, its fingerprint.
        again: files of the version whose module was executed more than once.
        looked: places and qualified names of functions of the version whose code was looked at without running it.
        read: files of the version that were read other than to import, folders that were listed (`LISTINGS`), and files
            that were only looked for (`EXISTS`).
        named: the watched names that functions of the version or the suite name that ran.
        lines: the code that ran and can tell line numbers; "" if there is none.
        finds: the code that ran and can look for modules without importing them; "" if there is none.
        warned: files of the version in which warnings were issued, which are remembered by their lines.
        fault: why the record may be incomplete; "" if it is not.
    """

    ran: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)
    looked: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    lines: str = ""
    finds: str = ""
    warned: set[str] = field(default_factory=set)
    fault: str = ""


class Recording:
    """Records this process. There can be one in a process, for as long as the process lives.

    Args:
        version: the folder of the version.
        suite: the folder of the suite.
        packages: the top-level names of the version.
        watched: names to look for in the functions that run, see `Trace.named`.

    Attributes:
        environment: whether an environment variable was set or removed in the last block.
    """

    def __init__(self, version: Path, suite: Path, packages: Collection[str], watched: Collection[str]) -> None:
        self._roots = (
            (f"{os.path.realpath(version)}{os.sep}", ""),
            (f"{os.path.realpath(suite)}{os.sep}", f"{SUITE}/"),
        )
        self._watched = frozenset(watched)
        self._packages = frozenset(packages)
        self._trace: Trace | None = None
        self._harness = False
        self.environment = False
        self._quiet: set[int] = set()
        self._started: dict[int, CodeType] = {}
        self._profiles: list[cProfile.Profile] = []
        self._threads = 0
        self._known: dict[int, tuple[CodeType, _Known]] = {}
        self._others: set[str] = set()  # files of the library and of packages, which torch asks for hundreds of times
        sys.addaudithook(self._heard)
        for name in ("stat", "lstat"):
            self._hear(name)

    @contextmanager
    def started(self, *, harness: bool = False) -> Iterator[Trace]:
        """Record the block. Its trace is complete only after the block.

        Args:
            harness: whether asv_runner reads the sources of benchmarks in the block, and their lines.
        """
        trace = Trace()
        linecache.clearcache()  # otherwise what was read before is not read again
        before = (_states(), *_ended_children())
        self._harness, self._threads, self._started = harness, 0, {}
        self.environment = False
        self._trace = trace
        self._start()
        try:
            yield trace
        finally:
            still = self._stop()
            self._trace = None
            if not still:
                self._fault(trace, "it switches the recording off")
            states = _states() - before[0] - 1
            if not MONITORED and states != self._threads:
                self._fault(trace, "a thread runs in it that Python's threading has not started")
            if not MONITORED and "greenlet" in sys.modules:
                self._fault(trace, "greenlets may run in it")
            if _ended_children() != before[1:] or _has_children():
                self._fault(trace, "it starts another process")
            self._evaluate(trace)
            self._started, self._profiles = {}, []  # freeing them in each forked process would take long

    def _start(self) -> None:
        if MONITORED:
            monitoring = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
            with self._silently():
                monitoring.use_tool_id(TOOL_ID, TOOL)
                monitoring.register_callback(TOOL_ID, monitoring.events.PY_START, self._begun)
                monitoring.set_events(TOOL_ID, monitoring.events.PY_START)
                monitoring.restart_events()
            return
        with self._silently():
            self._profiles = [cProfile.Profile(subcalls=False, builtins=False)]
            threading.setprofile(self._in_thread)
            self._profiles[0].enable()

    def _stop(self) -> bool:
        """Stop recording. Returns whether it was still going on."""
        with self._silently():
            if MONITORED:
                monitoring = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
                events = monitoring.events.PY_START
                going = monitoring.get_tool(TOOL_ID) == TOOL and monitoring.get_events(TOOL_ID) == events
                if monitoring.get_tool(TOOL_ID) is not None:
                    monitoring.set_events(TOOL_ID, 0)
                    monitoring.free_tool_id(TOOL_ID)
                return bool(going)
            now: tuple[object, object] = (sys.getprofile(), threading.getprofile())
            going = now[0] is self._profiles[0] and now[1] == self._in_thread
            threading.setprofile(None)
            for profile in self._profiles:
                profile.disable()  # otherwise functions that a thread is still in are not reported
                for entry in profile.getstats():
                    if isinstance(entry.code, CodeType):
                        self._started[id(entry.code)] = entry.code
            return going

    def _begun(self, code: CodeType, offset: int) -> Any:
        self._started[id(code)] = code
        return sys.monitoring.DISABLE  # type: ignore[attr-defined, unused-ignore]

    def _in_thread(self, frame: FrameType, event: str, arg: object) -> None:
        """The profile function of a new thread, which begins a faster one."""
        with self._silently():
            self._threads += 1
            self._started[id(frame.f_code)] = frame.f_code
            profile = cProfile.Profile(subcalls=False, builtins=False)
            self._profiles.append(profile)
            profile.enable()

    @contextmanager
    def _silently(self) -> Iterator[None]:
        """Hear no events of this thread, which are our own."""
        own = _thread.get_ident()
        added = own not in self._quiet
        self._quiet.add(own)
        try:
            yield
        finally:
            if added:
                self._quiet.discard(own)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The audit hook."""
        trace = self._trace
        if trace is None or event not in HEARD or (event == GETATTR and arguments[1] not in CODE):
            return
        own = _thread.get_ident()
        if own in self._quiet:
            return
        self._quiet.add(own)  # as `_silently` does, which takes longer: torch asks for code thousands of times
        try:
            self._take(trace, event, arguments, sys._getframe(2 if event == STAT else 1))
        finally:
            self._quiet.discard(own)

    def _hear(self, name: str) -> None:
        """Let a function of `os` that tells the size of a file, which is no audit event, be heard like one."""
        asked = getattr(os, name)

        @functools.wraps(asked)
        def heard(path: Any, *rest: Any, **options: Any) -> Any:
            self._heard(STAT, (path,))
            return asked(path, *rest, **options)

        setattr(os, name, heard)
        for kind in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if asked in kind:
                kind.add(heard)

    def _take(self, trace: Trace, event: str, arguments: tuple[Any, ...], frame: FrameType) -> None:
        if event == GETATTR:
            self._look(trace, arguments[0], arguments[1], frame)
        elif event in FILES:
            self._read(trace, event, arguments[0], frame)
        elif event in ENVIRONMENT:
            self.environment = True
        elif event in PROCESSES:
            self._fault(trace, "it starts another process")
        elif event == "cpython.PyInterpreterState_New":
            self._fault(trace, "it starts another interpreter")
        elif event in EVERYTHING:
            self._fault(trace, "it looks at all objects")
        elif event in SWITCHES and not (
            event == "sys.setprofile" and qualname(frame.f_code) == "Thread._bootstrap_inner"
        ):
            self._fault(trace, "it switches the recording off")

    def _look(self, trace: Trace, owner: Any, name: str, frame: FrameType) -> None:
        code = getattr(owner, name, None)
        if not isinstance(code, CodeType) or (place := self._place(code.co_filename)) is None:
            return
        if not (_asks_for_outline(frame) or _asked_by_harness(frame)):
            trace.looked.add(f"{place}:{qualname(code)}")

    def _read(self, trace: Trace, event: str, path: Any, frame: FrameType) -> None:
        if isinstance(path, int):
            return
        with suppress(TypeError, ValueError, OSError):
            text = os.fsdecode(path if path is not None else ".")
            if text in self._others:
                return
            file = os.path.realpath(text)
            place = self._place(file, folder=True)
            if place is None and file == text and file.startswith(SHARED):
                self._others.add(text)
            if place is None or place.startswith(SUITE) or _imports(frame) or _asked_by_harness(frame):
                return
            if event in LISTINGS:
                place += LISTINGS[event]
            elif event == STAT and _asks_for_kind(frame):
                place += EXISTS
            elif Path(file).is_dir():  # whoever opens a folder can reach its files from there
                place += LISTINGS["os.scandir"]
            trace.read.add(place)

    def _place(self, file: str, *, folder: bool = False) -> str | None:
        """Where a file of the version or the suite is in its folder; None for another file."""
        path = f"{file}{os.sep}" if folder else file
        for root, name in self._roots:
            if path.startswith(root):
                return name + file[len(root) :].replace(os.sep, "/")
        return None

    @staticmethod
    def _fault(trace: Trace, cause: str) -> None:
        trace.fault = trace.fault or cause

    def _evaluate(self, trace: Trace) -> None:
        modules: set[str] = set()
        for code in self._started.values():
            file = code.co_filename
            place = self._place(file)
            if place is None and file.startswith(OURS):
                continue
            if place is None and file.startswith(SHARED):
                if file != traceback.__file__ and not (self._harness and _of_harness(file)):
                    lines, finds = _has(code, LINES), not file.startswith(IMPORTER) and _has(code, FINDERS)
                    if lines or finds:
                        self._note(trace, f"{file}:{qualname(code)}", lines, finds)
                continue
            known = self._of(code, file if place is None else place)
            trace.ran.add(known.text)
            if place is not None:
                trace.named |= known.named
                if code.co_name == MODULE and place in modules:  # each execution has a code object of its own
                    trace.again.add(place)
                elif code.co_name == MODULE:
                    modules.add(place)
            self._note(trace, known.text.partition(" ")[0], known.lines, known.finds)
        for name in [name for name in sys.modules if name.partition(".")[0] in self._packages]:
            module = sys.modules.get(name)
            registry, source = getattr(module, "__warningregistry__", None), getattr(module, "__file__", None)
            if isinstance(registry, dict) and registry.keys() - {"version"} and isinstance(source, str):
                trace.warned |= {place for place in [self._place(source)] if place is not None}
        if any(len(one) == 5 and one[4] for one in _filters()):
            self._fault(trace, "a filter of warnings names a line")

    @staticmethod
    def _note(trace: Trace, place: str, lines: bool, finds: bool) -> None:
        trace.lines = trace.lines or (place if lines else "")
        trace.finds = trace.finds or (place if finds else "")

    def _of(self, code: CodeType, place: str) -> _Known:
        found = self._known.get(id(code))
        if found is None or found[0] is not code:
            names = _names(code)
            watched = names & self._watched if is_function(code) else frozenset[str]()
            text = f"{place}:{qualname(code)} {fingerprint(code)}"
            found = (code, _Known(text, watched, _has(code, LINES | FRAMES), _has(code, FINDERS | SILENT)))
            self._known[id(code)] = found
        return found[1]


@dataclass(frozen=True)
class _Known:
    """What is known of a code object: its `text` in a trace, the watched names in it, and whether it can tell lines or
    look for modules."""

    text: str
    named: frozenset[str]
    lines: bool
    finds: bool


def _has(code: CodeType, words: frozenset[str]) -> bool:
    """Whether a code object names one of these or has it as a text, without those nested in it, which run on their
    own."""
    if not is_function(code):
        words -= {FIRST_LINE}  # every class stores it
    texts = (one for one in code.co_consts if isinstance(one, str))
    return not (words.isdisjoint(code.co_names) and words.isdisjoint(texts))


HEARD = PROCESSES | SWITCHES | EVERYTHING | FILES | ENVIRONMENT
HEARD |= {GETATTR, "cpython.PyInterpreterState_New"}
"""All audit events that matter."""


def _names(code: CodeType) -> frozenset[str]:
    """All names and texts in a code object, nested ones included."""
    found = {*code.co_names, *code.co_freevars} - (
        set() if is_function(code) else {FIRST_LINE}
    )  # every class stores it
    for one in code.co_consts:
        if isinstance(one, CodeType):
            found |= _names(one)
        elif isinstance(one, str):
            found.add(one)
        elif isinstance(one, (tuple, frozenset)):
            found |= {inner for inner in one if isinstance(inner, str)}
    return frozenset(found)


def _of_harness(file: str) -> bool:
    """Whether a file belongs to asv_runner, or to what it reads sources and finds modules with."""
    names = ("inspect", "linecache", "pkgutil", "tokenize")
    return file.endswith(tuple(f"{os.sep}{name}.py" for name in names)) or _of_asv(file)


def _of_asv(file: str) -> bool:
    return f"{os.sep}asv_runner{os.sep}" in file


def _imports(frame: FrameType | None) -> bool:
    """Whether the import system asks for a file in order to import it, looks for modules, or stores what it has
    compiled."""
    chain: list[str] = []
    while frame is not None and len(chain) < 3 and frame.f_code.co_filename == IMPORTLIB:
        chain.append(frame.f_code.co_name)
        frame = frame.f_back
    return chain[:1] == ["_fill_cache"] or chain in IMPORTS


def _asks_for_kind(frame: FrameType) -> bool:
    """Whether a file is asked for its existence and kind only."""
    code = frame.f_code
    pathlib = code.co_filename.startswith(PATHLIB)
    if code.co_name in ("stat", "lstat") and pathlib and frame.f_back is not None:
        return frame.f_back.f_code.co_name in ("exists", "is_file", "is_dir", "is_symlink")
    files = ("genericpath>", "posixpath>", "genericpath.py", "posixpath.py")
    return code.co_name in KINDS and code.co_filename.startswith(SHARED) and code.co_filename.endswith(files)


def _asks_for_outline(frame: FrameType) -> bool:
    """Whether `inspect` reads the kind or the signature of a function, which the fingerprint of its scope covers."""
    code = frame.f_code
    return code.co_filename == inspect.__file__ and code.co_name in ("_has_code_flag", "_signature_from_function")


def _asked_by_harness(frame: FrameType | None) -> bool:
    """Whether our own code reads something, or asv_runner the source of a benchmark."""
    if frame is not None and frame.f_code.co_filename.startswith(OURS):
        return True
    while frame is not None:
        code = frame.f_code
        if code.co_name in ASV_READS and _of_asv(code.co_filename):
            return True
        frame = frame.f_back
    return False


def _states() -> int:
    """The number of the next state that Python makes for a thread. It rises with each, whoever has started it."""
    found: list[int] = []
    done = _thread.allocate_lock()
    done.acquire()

    def ask() -> None:
        api = ctypes.pythonapi
        api.PyThreadState_Get.restype = ctypes.c_void_p
        api.PyThreadState_GetID.restype = ctypes.c_uint64
        found.append(api.PyThreadState_GetID(ctypes.c_void_p(api.PyThreadState_Get())))
        done.release()

    _thread.start_new_thread(ask, ())
    done.acquire()
    return found[0]


def _ended_children() -> tuple[float, ...]:
    """What the ended children of this process have used: it changes with each."""
    if sys.platform == "win32":
        return ()
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime, used.ru_stime, float(used.ru_minflt), float(used.ru_maxrss))


def _has_children() -> bool:
    """Whether this process has a child, running or ended."""
    if not hasattr(os, "waitpid"):
        return False
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _filters() -> Iterable[tuple[Any, ...]]:
    warnings = sys.modules.get("warnings")
    return list(getattr(warnings, "filters", ()))
