"""Starts, talks to and ends the gate's processes: probes, inspectors, a nursery for each lane.

Each leads its own process group, so whatever it or its workers start can be ended with it.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Generic

import psutil

import bench_core
from bench_core.codec import MalformedError
from bench_core.compat import isolated
from bench_core.watchdog import Watchdog as Watchdog
from bench_core.workers.messages import Answer, Dialogue, Lost, NurseryAnswer, NurseryTask, PairDone, PairTask, Task

ONE_THREAD = dict.fromkeys(
    ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"], "1"
)
"""Variables that give numerical libraries one thread, since a worker has one core."""

START_TIMEOUT = 180.0
"""The most seconds until a process's first answer. Importing torch takes 2 s, and much longer on a busy machine."""

GRACE = 30.0
"""A nursery that stays silent for this many seconds longer than the timeout of its workers counts as dead."""

LAST_WORDS_TIMEOUT = 0.2
"""Seconds to wait for what a process wrote to standard error before it was lost."""

LONGEST = 1 << 27
"""The most characters that a process may have written and the gate has not yet read. A probe writes some 400 for each
cell."""

KEPT = 4096
"""So many of the last characters that a process wrote to standard error are kept."""

FLOODED = ""
"""Stands for what a process wrote after that. No line that it writes is empty: each has its end."""

LAST_LINES = 6
"""So many of its last lines are shown of a process that was lost."""

LONGEST_LINE = 160
"""The most characters of such a line that are shown."""

CONTROLS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Escape sequences of terminals, and other characters that are no text."""

SHARE_OF_MEMORY = 0.9
"""The share of the free memory that all workers together may allocate."""


def memory_for_each(workers: int) -> int:
    """The bytes that each of so many workers may allocate."""
    return int(SHARE_OF_MEMORY * psutil.virtual_memory().available / workers)


class LostError(Exception):
    """A process has died or does not answer. The text is the cause, with the last lines that the process wrote."""


def command(module: str, interpreter: str, folder: Path) -> list[str]:
    """The command that runs `main` of one of our modules and imports nothing from the current folder.

    Args:
        interpreter: another interpreter, or "" for ours. Of our environment, another one can import only our package.
        folder: a temporary folder of the gate.
    """
    package = Path(bench_core.__file__).parent
    root = package.parent
    if interpreter:
        root = folder / "tool"
        root.mkdir(exist_ok=True)
        with suppress(FileExistsError):
            (root / package.name).symlink_to(package)
    # Our package comes before an installed copy, but site-packages stays behind the standard library.
    path = f"{str(root)!r} in sys.path or sys.path.insert(0, {str(root)!r})"
    return isolated(interpreter or sys.executable, f"{path}; from {module} import main; main()")


def variables(interpreter: str, hash_seed: int, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that imports a version.

    Args:
        interpreter: see `command`. Another one does not get our ``PYTHON*`` variables.
        hash_seed: the seed of Python's hashes.
        environment: what it gets of our environment; None for all.
    """
    given = os.environ if environment is None else environment
    ours = {name: value for name, value in given.items() if not (interpreter and name.startswith("PYTHON"))}
    return {**ours, **ONE_THREAD, "PYTHONHASHSEED": str(hash_seed % 2**32)}


class Child(Generic[Task, Answer]):
    """A running process of ours that imports a version: a probe, a nursery or an inspector.

    Args:
        dialogue: the kind of process, with its messages.
        hash_seed: the seed of Python's hashes, also in all of its workers.
        watchdog: ends it if the gate is killed. Temporary files go into the watchdog's folder and vanish with it, since
            a worker that is killed does not remove its own.
        prefix: the command that it runs under.
        python: its interpreter; "" for ours.
        environment: see `variables`.
    """

    def __init__(
        self,
        dialogue: Dialogue[Task, Answer],
        hash_seed: int,
        watchdog: Watchdog,
        prefix: Sequence[str] = (),
        python: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._dialogue = dialogue
        self._watchdog = watchdog
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [*prefix, *command(dialogue.module, python, watchdog.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
            errors="replace",
            env={**variables(python, hash_seed, environment), "TMPDIR": str(watchdog.folder)},
            start_new_session=True,
        )
        watchdog.started(self._process.pid)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._waiting, self._counting = 0, threading.Lock()
        self._said, self._speaking = "", threading.Lock()
        self._spoke = threading.Event()
        self._readers = [
            threading.Thread(target=self._read_answers, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def tell(self, task: Task) -> None:
        """Send a message.

        Raises:
            LostError: if the process has died.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(self._dialogue.tasks.line(task) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._lost("has ended") from error

    def answer(self, timeout: float = START_TIMEOUT) -> Answer:
        """The next message of the process.

        Raises:
            LostError: if none comes within `timeout` seconds, if a line is no message, or if the process writes more
                than `LONGEST` characters.
        """
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise self._lost(f"does not answer within {timeout:g} s") from None
        with self._counting:
            self._waiting -= len(line or "")
        if line is None:
            self._readers[1].join(timeout=1)  # its last words
            raise self._lost("has ended")
        if line == FLOODED:
            raise LostError(f"({self._dialogue.process}) wrote more than {LONGEST:,} characters that were not yet read")
        try:
            return self._dialogue.answers.read(line)
        except MalformedError as error:
            raise LostError(f"({self._dialogue.process}) wrote a line that is no message: {error}") from None

    @property
    def has_answered(self) -> bool:
        """Whether a message waits to be taken."""
        return not self._lines.empty()

    def kill(self) -> None:
        """End the process and all that it or its workers have started. Any thread may call this."""
        with self._lock:
            if self._process.returncode is not None:
                return
            try:  # some may have left the process group
                family = psutil.Process(self._process.pid).children(recursive=True)
            except psutil.NoSuchProcess:
                family = []
            if hasattr(os, "killpg"):
                with suppress(ProcessLookupError, PermissionError):  # macOS refuses for a zombie
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()

    def close(self) -> None:
        """`kill` the process, and release its pipes."""
        self.kill()
        self._watchdog.ended(self._process.pid)
        for reader in self._readers:  # each closes its pipe, unless a process that was not found holds the other end
            reader.join(timeout=1)
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]

    def forget_words(self) -> None:
        """Forget what the process and its workers have written to standard error so far."""
        with self._speaking:
            self._said = ""
        self._spoke.clear()

    def last_words(self, lines: int) -> str:
        """The last lines that the process and its workers wrote to standard error."""
        self._spoke.wait(LAST_WORDS_TIMEOUT)  # they come through another pipe
        written = [line for said in self._said.splitlines() if (line := CONTROLS.sub("", said).strip())]
        return " | ".join(line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…" for line in written[-lines:])

    def _lost(self, how: str) -> LostError:
        said = self.last_words(LAST_LINES)
        return LostError(f"{how}; it last wrote: {said}" if said else how)

    def _read_answers(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while line := stream.readline(LONGEST + 1):
                with self._counting:
                    self._waiting += len(line)
                    is_flooded = self._waiting > LONGEST
                self._lines.put(FLOODED if is_flooded else line)
                if is_flooded:
                    break
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            while piece := os.read(stream.fileno(), 4096):  # no line must end for it
                with self._speaking:
                    self._said = (self._said + piece.decode(errors="replace"))[-KEPT:]
                self._spoke.set()


Nursery = Child[NurseryTask | PairTask, NurseryAnswer]


def run_pair(nursery: Nursery, task: PairTask) -> Iterator[NurseryAnswer]:
    """The answers of a nursery to this task, as they come. The last one is `PairDone`. The loss of a worker gets the
    last words of both, which share standard error.

    Raises:
        LostError: if the nursery itself has died.
    """
    nursery.forget_words()
    nursery.tell(task)
    while True:
        answer = nursery.answer(task.timeout + GRACE)
        if isinstance(answer, Lost) and not answer.hangs:
            said = nursery.last_words(lines=1)
            said = f"; the last line on standard error, of both sides: {said}" if said else ""
            answer = replace(answer, cause=answer.cause + said)
        yield answer
        if isinstance(answer, PairDone):
            return
