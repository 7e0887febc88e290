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
"""Seconds after which a thread looks whether it is to stop, while its command runs."""

LAST_LINES = 15
"""Lines of a log that are shown."""


class StepError(Exception):
    """Why a step failed, without what it printed."""


@dataclass(frozen=True)
class Step:
    """A command.

    Attributes:
        command: the program and its arguments.
        folder: the folder that it runs in.
        variables: its environment.
        allowed: the exit statuses that are no failure; None for any.
    """

    command: tuple[str, ...]
    folder: Path
    variables: Mapping[str, str]
    allowed: set[int] | None = field(default_factory=lambda: {0})


class Runner:
    """Runs steps, in several threads at once if asked to. An interrupt ends all of them, with what they have started.

    Args:
        config: the asv configuration that errors name.
    """

    def __init__(self, config: Path) -> None:
        self._config = config
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the steps that run now, in whichever thread: there, KeyboardInterrupt is raised."""
        self._stopped.set()

    def run(self, step: Step, log: Path, hint: str = "") -> None:
        """Run a step.

        Args:
            log: the file that the command and its output are added to.
            hint: a sentence that is added to the error, after a space.

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
        """Compile the Python files in `folder`, for `final`, the place where they will lie.

        A file that is no valid Python is left as it is: importing it fails.

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
        """The exit status of a command, and what it wrote into a pipe."""
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
    """A call of our own pip."""
    return Step((sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check"), folder, build_environment())


def build_environment() -> dict[str, str]:
    """Our environment, without variables that would make what is built depend on who starts the build."""
    kept = {name: value for name, value in git.without_hook(os.environ).items() if not name.startswith("PYTHON")}
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    # setuptools_scm takes the version from git, and the files are built outside any repository. All versions get the
    # same one: it ends up in file names and texts, which must have the same length on both sides.
    kept.setdefault("SETUPTOOLS_SCM_PRETEND_VERSION", "0.0.0")
    return kept


def last_line(said: str) -> str:
    """The last line; "" if there is none."""
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
"""Compiles a folder. compileall would not tell a file that is no valid Python from one whose compiled form cannot be
written, and Python 3.11 reports nothing if that is written only in part: so it is read back."""


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
