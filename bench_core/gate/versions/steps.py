"""Runs the commands that make a version: pip, a build command, the compiler of Python."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench_core import git, watchdog
from bench_core.codec import to_json
from bench_core.errors import BenchCoreError
from bench_core.workers import child
from bench_core.workers.messages import Confinement

POLL = 0.1
"""Seconds between two checks, while a command runs, whether the thread should stop."""

LAST_LINES = 15
"""The number of lines at the end of a log that an error shows."""


OF_PIP = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_", "REQUESTS_CA_BUNDLE")
"""The beginnings of the names of variables by which pip finds and fetches build requirements."""


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

    Args:
        config: the asv configuration, which errors name.
        environment: the variables that steps get which run code of a version; None for all of ours.
        confined: whether these steps are confined.
    """

    def __init__(self, config: Path, environment: Mapping[str, str] | None = None, *, confined: bool = False) -> None:
        self._config = config
        self._environment = environment
        self._confined = confined
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the running steps of all threads. They raise KeyboardInterrupt."""
        self._stopped.set()

    def run(self, step: Step, log: Path, hint: str = "", work: Path | None = None) -> None:
        """Run a step.

        Args:
            log: the file to which the command and its output are added.
            hint: text to add to the error.
            work: if the step runs code of a version, the only folder that it may write to when it is confined.

        Raises:
            StepError: if the command cannot be started, or ends with a status that is not allowed.
        """
        shown = shlex.join(step.command)
        with log.open("a") as output:
            output.write(f"$ {shown}\n")
            output.flush()
            try:
                command, variables = step.command, step.variables
                if work is not None:
                    command = (*(_confining(work) if self._confined else ()), *command)
                    variables = {**self._handed_on(variables), "TMPDIR": str(work)}
                status, _ = self._done(command, cwd=step.folder, env=variables, stdout=output, stderr=subprocess.STDOUT)
            except OSError as error:
                raise StepError(f"`{shown}` cannot be started: {error.strerror}.{hint}") from error
        if step.allowed is not None and status not in step.allowed:
            raise StepError(f"`{shown}` ended with status {status}.{hint}")

    def _handed_on(self, variables: Mapping[str, str]) -> Mapping[str, str]:
        """The variables that a step gets: those of `environment`, those that are not ours, and, unless it is confined,
        those by which pip finds and fetches build requirements."""
        if self._environment is None:
            return variables
        of_pip = () if self._confined else OF_PIP
        given = self._environment
        return {
            name: value
            for name, value in variables.items()
            if name not in os.environ or name in given or name.upper().startswith(of_pip)
        }

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
        given = {"stdin": subprocess.DEVNULL, "text": True, "errors": "replace", "start_new_session": True}
        options = {**given, "env": watchdog.variables(os.environ), **options}
        with subprocess.Popen(command, **options) as process, watchdog.ending(process.pid):
            try:
                while not self._stopped.is_set():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        said, _ = process.communicate(timeout=POLL)
                        _end_group(process.pid)
                        return process.returncode, said or ""
                raise KeyboardInterrupt
            except BaseException:
                _end(process)
                process.wait()  # after Ctrl-C, Popen itself does not wait
                raise


def _confining(work: Path) -> list[str]:
    """The beginning of a command that confines the rest to a folder."""
    confined = Confinement(writable=(str(work),), readable=(str(work),))
    return [*child.command("bench_core.workers.isolation", "", work), json.dumps(to_json(confined))]


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
    # A build that writes a set, such as torchmetrics' with its extras, would write it in another order on each side.
    kept["PYTHONHASHSEED"] = "0"
    return watchdog.variables(kept)


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


def _end_group(number: int) -> None:
    """End what a command has left behind in its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS refuses for a zombie
        os.killpg(number, signal.SIGKILL)
