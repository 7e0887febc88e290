"""A process that cleans up after this one, also if this one is killed. Imports nothing else of bench_core.

A command that is killed with SIGKILL cannot clean up. So the first `Watchdog` of a command starts a process that waits
for the end of a pipe, which the system closes however the command ends. It then ends what the command has started, and
removes its temporary files.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path


class Watchdog:
    """A temporary folder that vanishes when its block is left, or when this process is killed. Within the block of
    another `Watchdog`, it lies in the folder of the other one, and both have one process.

    Processes that have the folder in their environment (see `variables`) are ended with it (Linux), and so are the
    process groups that `started` has named.

    Attributes:
        folder: the temporary folder.
    """

    def __init__(self) -> None:
        global _innermost
        self._outer = _innermost
        if self._outer is None:
            self._pipe: _Pipe = _Pipe()
            self.folder = self._pipe.folder
        else:
            self._pipe = self._outer._pipe
            self.folder = Path(tempfile.mkdtemp(dir=self._outer.folder))
        _innermost = self

    def __enter__(self) -> Watchdog:
        return self

    def __exit__(self, *error: object) -> None:
        global _innermost
        _innermost = self._outer
        if self._outer is None:
            self._pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def started(self, group: int) -> None:
        """End this process group if this process is killed."""
        self._pipe.tell("started", str(group))

    def ended(self, group: int) -> None:
        """The opposite of `started`."""
        self._pipe.tell("ended", str(group))

    def made(self, path: Path) -> None:
        """Remove this file or folder, which is about to be made, if this process is killed."""
        self._pipe.tell("made", os.fsencode(path.absolute()).hex())

    def removed(self, path: Path) -> None:
        """The opposite of `made`."""
        self._pipe.tell("removed", os.fsencode(path.absolute()).hex())


_innermost: Watchdog | None = None
"""The watchdog of the innermost block."""


def room() -> Path | None:
    """The temporary folder of the innermost watchdog, for `tempfile`; None without one, which means the system's."""
    return None if _innermost is None else _innermost.folder


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for a process that is to end with this one, and whose temporary files are to vanish with it."""
    return {**environment, **({} if _innermost is None else {"TMPDIR": str(_innermost.folder)})}


@contextmanager
def ending(group: int) -> Iterator[None]:
    """If this process is killed in this block, a process group ends with it."""
    watchdog = _innermost
    if watchdog is not None:
        watchdog.started(group)
    try:
        yield
    finally:
        if watchdog is not None:
            watchdog.ended(group)


@contextmanager
def vanishing(path: Path) -> Iterator[None]:
    """If this process is killed in this block, a file or folder that is made there is removed."""
    watchdog = _innermost
    if watchdog is not None:
        watchdog.made(path)
    try:
        yield
    finally:
        if watchdog is not None:
            watchdog.removed(path)


class _Pipe:
    """The process, and the pipe to it.

    Attributes:
        folder: the temporary folder. Its name is drawn before the process starts, and the folder is made afterwards, so
            that there is no moment at which it would stay.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.gettempdir(), f"bench-core-{secrets.token_hex(8)}")
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        if hasattr(os, "killpg"):
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", WATCH, str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,  # ours may be a pipe whose reader waits for the end
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        try:
            self.folder.mkdir(mode=0o700)
        except OSError:
            self.close()
            raise

    def tell(self, *words: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with self._lock, suppress(BrokenPipeError):
                self._process.stdin.write(" ".join(words) + "\n")
                self._process.stdin.flush()

    def close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait()


WATCH = """
import glob, os, shutil, signal, sys, time
groups, paths = set(), {os.fsencode(sys.argv[1])}
for line in sys.stdin:
    action, what = line.split()
    if action in ("started", "ended"):
        (groups.add if action == "started" else groups.discard)(int(what))
    else:
        (paths.add if action == "made" else paths.discard)(bytes.fromhex(what))
mark = b"=" + os.fsencode(sys.argv[1])

def marked():
    for entry in glob.glob("/proc/[0-9]*"):
        try:
            with open(entry + "/environ", "rb") as environment:
                if mark in environment.read():
                    yield int(entry[6:])
        except OSError:
            pass

def remove(path):
    try:
        os.unlink(path)
    except OSError:
        shutil.rmtree(path, ignore_errors=True)

for _ in range(500):  # 5 s: a process that is being killed may still start another one, or make a file
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except OSError:
            pass
    left = list(marked())
    for process in left:
        try:
            os.kill(process, signal.SIGKILL)
        except OSError:
            pass
    for path in paths:
        remove(path)
    if not left and not any(map(os.path.lexists, paths)):
        break
    time.sleep(0.01)
"""
