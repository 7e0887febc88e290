"""Runs the commands that make a version: pip, a build command, the compiler of Python."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench_core import git
from bench_core.errors import BenchCoreError

POLL = 0.1
"""Seconds between two checks, while a command runs, whether the thread should stop."""

LAST_LINES = 15
"""The number of lines at the end of a log that an error shows."""


class StepError(Exception):
    """Why a step failed, without what it printed."""


@dataclass(frozen=True)
class Step:
    """A command.

    Attributes:
        folder: the working directory.
        variables: the environment.
        allowed: the exit statuses that are no failure; None for any.
    """

    command: tuple[str, ...]
    folder: Path
    variables: Mapping[str, str]
    allowed: set[int] | None = field(default_factory=lambda: {0})


class Runner:
    """Runs steps, possibly in several threads. `stop` ends all of them, with the processes that they have started.
    Errors name `config`, the asv configuration."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the running steps of all threads. They raise KeyboardInterrupt."""
        self._stopped.set()

    def run(self, step: Step, log: Path, hint: str = "") -> None:
        """Run a step.

        Args:
            log: the file to which the command and its output are added.
            hint: text to add to the error.

        Raises:
            StepError: if the command cannot be started, or ends with a status that is not allowed.
        """
        shown = shlex.join(step.command)
        with log.open("a") as output:
            output.write(f"$ {shown}\n")
            output.flush()
            try:
                status, _ = self._done(
                    step.command, cwd=step.folder, env=step.variables, stdout=output, stderr=subprocess.STDOUT
                )
            except OSError as error:
                raise StepError(f"`{shown}` cannot be started: {error.strerror}.{hint}") from error
        if step.allowed is not None and status not in step.allowed:
            raise StepError(f"`{shown}` ended with status {status}.{hint}")

    def compile(self, folder: Path, final: Path) -> None:
        """Compile the Python files in `folder`, which will be moved to `final`. Files that are no valid Python are left
        uncompiled.

        Raises:
            BenchCoreError: if a compiled file cannot be written.
        """
        status, said = self._done(
            (sys.executable, "-I", "-S", "-c", COMPILE, str(folder), str(final)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if status:
            raise BenchCoreError(
                f"{final} cannot be compiled ({last_line(said) or f'it ended with status {status}'}). Make room, or "
                f"set env_dir in {self._config} to a folder that has some."
            )

    def _done(self, command: Sequence[str], **options: Any) -> tuple[int, str]:
        """The exit status of a command, and its output if it goes to a pipe."""
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True, errors="replace", **options) as process:
            try:
                while not self._stopped.is_set():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        said, _ = process.communicate(timeout=POLL)
                        return process.returncode, said or ""
                raise KeyboardInterrupt
            except BaseException:
                _end(process)
                process.wait()  # after Ctrl-C, Popen itself does not wait
                raise


def pip(folder: Path, *arguments: str) -> Step:
    """A call of our interpreter's pip."""
    return Step((sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check"), folder, build_environment())


def build_environment() -> dict[str, str]:
    """Our environment, without variables through which the build would depend on its caller."""
    kept = {name: value for name, value in git.without_hook(os.environ).items() if not name.startswith("PYTHON")}
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    # setuptools_scm takes the version from git, but the build is outside any repository. All builds get the same
    # version: it appears in file names and texts, which must have the same length on both sides.
    kept.setdefault("SETUPTOOLS_SCM_PRETEND_VERSION", "0.0.0")
    return kept


def last_line(said: str) -> str:
    return said.strip().rpartition("\n")[2]


def tail(log: Path) -> str:
    """The last lines of a log, indented."""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-LAST_LINES:])


COMPILE = """
import marshal, pathlib, py_compile, sys
folder, final = map(pathlib.Path, sys.argv[1:])
for path in filter(pathlib.Path.is_file, folder.rglob("*.py")):
    try:
        made = py_compile.compile(str(path), dfile=str(final / path.relative_to(folder)), doraise=True)
    except py_compile.PyCompileError:
        continue
    marshal.loads(pathlib.Path(made).read_bytes()[16:])
"""
"""A program that compiles a folder. compileall does not distinguish a file that is no valid Python from one whose
compiled form cannot be written. Python 3.11 does not report a partly written file, so the file is read back."""


def _end(process: subprocess.Popen[str]) -> None:
    """End a command and all processes that it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [psutil.Process(process.pid)]
        for one in family:  # it grows
            with contextlib.suppress(psutil.NoSuchProcess):
                one.suspend()  # a process that runs may start another one after its children were listed
                family.extend(one.children())
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
