"""The gate's hold on its processes: a nursery a lane, and a watchdog that outlives the gate by a moment.

Every nursery leads a process group of its own, so that whatever its workers start ends with it.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import bench_core
from bench_core.errors import BenchCoreError

ONE_THREAD = dict.fromkeys(
    ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"], "1"
)
"""A worker has one core; more threads than that take turns on it."""

START_TIMEOUT = 180.0
"""Seconds that a nursery may take to import what is heavy."""

GRACE = 30.0
"""Seconds beyond a worker's timeout after which the nursery itself is taken for dead."""


class NurseryLostError(Exception):
    """A nursery has died or does not answer; its text is the cause, with the last lines that it wrote."""


def python(module: str) -> list[str]:
    """The command that runs `main` of one of our modules, and imports nothing from the current folder."""
    root = str(Path(bench_core.__file__).parent.parent)
    return [sys.executable, "-P", "-c", f"import sys; sys.path.append({root!r}); from {module} import main; main()"]


def environment(hash_seed: int) -> dict[str, str]:
    return {**os.environ, **ONE_THREAD, "PYTHONHASHSEED": str(hash_seed % 2**32)}


def probe(spec: Mapping[str, Any]) -> subprocess.Popen[str]:
    """Start a probe; `probed` reads its answer."""
    process = subprocess.Popen(
        python("bench_core.gate.probe"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(0),
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(spec))
    process.stdin.close()
    process.stdin = None
    return process


def probed(process: subprocess.Popen[str], what: str) -> dict[str, Any]:
    """What the probe of the version `what` has found.

    Raises:
        BenchCoreError: if it did not come to an answer, with the last lines that it wrote.
    """
    out, err = process.communicate()
    try:
        found: dict[str, Any] = json.loads(out)
    except ValueError:
        last = "\n".join(err.strip().splitlines()[-8:])
        raise BenchCoreError(
            f"the suite cannot be read with {what}: the process that imports it ended with status "
            f"{process.returncode}. Its last lines:\n{last}"
        ) from None
    if "error" in found:
        raise BenchCoreError(f"{found['error']}")
    return found


class Watchdog:
    """Ends what is left of a gate that has been killed: a process that waits for our end of a pipe to close.

    Args:
        folder: the gate's temporary folder, removed then.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        if hasattr(os, "killpg"):
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", WATCH, str(folder)],
                stdin=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )

    def tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with self._lock, suppress(BrokenPipeError):
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()

    def close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


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
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


class Nursery:
    """A running nursery.

    Args:
        spec: see `bench_core.gate.nursery.serve`.
        hash_seed: of its Python and all its workers'.
    """

    def __init__(self, spec: Mapping[str, Any], hash_seed: int, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._process = subprocess.Popen(
            python("bench_core.gate.nursery"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
            errors="replace",
            env=environment(hash_seed),
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
        self._spec = spec

    def start(self) -> None:
        """Wait until it has imported what is heavy.

        Raises:
            NurseryLostError: if it does not come up.
        """
        self._tell(self._spec)
        self._next(START_TIMEOUT)

    def run(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What the workers of this job report, as it comes.

        Raises:
            NurseryLostError: if the nursery itself has died.
        """
        self._tell(job)
        while True:
            answer = self._next(job["timeout"] + GRACE)
            yield answer
            if "finished" in answer:
                return

    def kill(self) -> None:
        """End it and everything that its workers have started."""
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()

    def close(self) -> None:
        """`kill` it, and release what it held."""
        self.kill()
        self._process.wait()
        self._watchdog.tell(f"ended {self._process.pid}")
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(OSError, ValueError):
                stream.close()  # type: ignore[union-attr]

    def _tell(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._lost("has ended") from error

    def _next(self, timeout: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise self._lost(f"does not answer within {timeout:g} s") from None
        if line is None:
            raise self._lost("has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _lost(self, how: str) -> NurseryLostError:
        said = " | ".join(line.strip() for line in self._said)
        return NurseryLostError(f"the parent of the workers {how}{f'; it last wrote: {said}' if said else ''}")

    def _read_answers(self) -> None:
        assert self._process.stdout is not None
        with suppress(ValueError, OSError):
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        with suppress(ValueError, OSError):
            while piece := self._process.stderr.readline(4096):
                self._said.append(piece[-500:])
