"""The gate's hold on its processes: probes, a nursery a lane, and a watchdog that outlives the gate by a moment.

Every one of them leads a process group of its own, so that whatever it or its workers start ends with it.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

import bench_core

ONE_THREAD = dict.fromkeys(
    ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"], "1"
)
"""A worker has one core; more threads than that take turns on it."""

START_TIMEOUT = 180.0
"""Seconds that a process may take to import what is heavy."""

GRACE = 30.0
"""Seconds beyond a worker's timeout after which the nursery itself is taken for dead."""


class LostError(Exception):
    """A process has died or does not answer; its text is the cause, with the last lines that it wrote."""


def command(module: str, interpreter: str, folder: Path) -> list[str]:
    """The command that runs `main` of one of our modules, and imports nothing from the current folder.

    Args:
        interpreter: another one than ours, or "". It gets our package alone, and nothing of what lies beside it.
        folder: a temporary one of the gate.
    """
    package = Path(bench_core.__file__).parent
    root = package.parent
    if interpreter:
        root = folder / "tool"
        root.mkdir(exist_ok=True)
        with suppress(FileExistsError):
            (root / package.name).symlink_to(package)
    # Ours before another that may be installed; but site-packages stays where it is, behind the standard library.
    path = f"{str(root)!r} in sys.path or sys.path.insert(0, {str(root)!r})"
    run = f"import sys; {path}; from {module} import main; main()"
    return [interpreter or sys.executable, "-P", "-c", run]


def variables(interpreter: str, hash_seed: int) -> dict[str, str]:
    """The environment of a process that imports a version.

    Args:
        interpreter: as of `command`. What ours is told to import is no business of another.
        hash_seed: of its Python.
    """
    ours = {name: value for name, value in os.environ.items() if not (interpreter and name.startswith("PYTHON"))}
    return {**ours, **ONE_THREAD, "PYTHONHASHSEED": str(hash_seed % 2**32)}


class Watchdog:
    """Ends what is left of a gate that has been killed: a process that waits for our end of a pipe to close.

    Attributes:
        folder: a temporary folder for all that the gate and its processes write, removed in the end.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-core-gate-"))
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        if hasattr(os, "killpg"):
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", WATCH, str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,  # ours may be a pipe that somebody reads to its end
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )

    def __enter__(self) -> Watchdog:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with self._lock, suppress(BrokenPipeError):
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()


WATCH = """
import os, shutil, signal, sys
groups = set()
for line in sys.stdin:
    action, group = line.split()
    (groups.add if action == "started" else groups.discard)(int(group))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
for _ in range(1000):  # whoever is being killed may make one more file in it
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    if not os.path.exists(sys.argv[1]):
        break
"""


class Child:
    """A running process of ours that imports a version: a probe or a nursery.

    Args:
        module: whose `main` it runs.
        hash_seed: of its Python and all its workers'.
        watchdog: is told of it. Its temporary files go into the watchdog's folder, and so with it, since a worker that
            is killed removes none.
        prefix: words that go before its command: what it runs under.
        python: its interpreter; "" for ours.
    """

    def __init__(
        self, module: str, hash_seed: int, watchdog: Watchdog, prefix: Sequence[str] = (), python: str = ""
    ) -> None:
        self._watchdog = watchdog
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [*prefix, *command(module, python, watchdog.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
            errors="replace",
            env={**variables(python, hash_seed), "TMPDIR": str(watchdog.folder)},
            start_new_session=True,
        )
        watchdog.tell(f"started {self._process.pid}")
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._said: deque[str] = deque(maxlen=6)
        self._readers = [
            threading.Thread(target=self._read_answers, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def run(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What the workers of this job report, as it comes.

        Raises:
            LostError: if the nursery itself has died.
        """
        self.tell(job)
        while True:
            answer = self.answer(job["timeout"] + GRACE)
            yield answer
            if "finished" in answer:
                return

    def tell(self, message: Mapping[str, Any]) -> None:
        """Write it a line.

        Raises:
            LostError: if it has died.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._lost("has ended") from error

    def answer(self, timeout: float = START_TIMEOUT) -> dict[str, Any]:
        """The next line that it writes.

        Raises:
            LostError: if none comes.
        """
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise self._lost(f"does not answer within {timeout:g} s") from None
        if line is None:
            self._readers[1].join(timeout=1)  # its last words
            raise self._lost("has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> None:
        """End it and everything that it or its workers have started. May be called from any thread."""
        with self._lock:
            if self._process.returncode is not None:
                return
            try:  # some may have left the group
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
        """`kill` it, and release what it held."""
        self.kill()
        self._watchdog.tell(f"ended {self._process.pid}")
        for reader in self._readers:  # each closes its pipe, unless what nobody could find holds the other end
            reader.join(timeout=1)
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]

    def _lost(self, how: str) -> LostError:
        said = " | ".join(line.strip() for line in self._said if line.strip())
        return LostError(f"{how}{f'; it last wrote: {said}' if said else ''}")

    def _read_answers(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            while piece := stream.readline(4096):
                self._said.append(piece[-500:])
