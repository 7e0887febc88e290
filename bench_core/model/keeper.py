"""The process that forks a fresh process for every task of `bench-core model`.

A model starts up once in a process, so each start-up is measured in a process of its own. All are forked from this one,
which has imported torch, and the target if that leaves nothing behind that a fork breaks. It never builds a model, and
never starts a thread or an accelerator.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from bench_core.errors import BenchCoreError, named
from bench_core.model.messages import KEEPER, Answer, Failed, Refused, Setting, Task
from bench_core.workers import orphans
from bench_core.workers.messages import read


def main() -> None:
    """Read a `Setting`, and then tasks, from standard input, and write an answer to each to standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a model prints is no answer
    orphans.adopt()
    setting: Setting | None = None
    for line in sys.stdin:
        task = read(KEEPER.tasks, line, KEEPER.process)
        if isinstance(task, Setting):
            setting = _prepared(task)
            continue
        assert setting is not None
        answers.write(KEEPER.answers.line(_answer(setting, task)) + "\n")
        answers.flush()
        orphans.end()


def _prepared(setting: Setting) -> Setting:
    """Import what every process of this setting needs."""
    from bench_core.model import worker

    if setting.preload:
        with suppress(BenchCoreError):  # each process reports it
            worker.preload(setting)
    return setting


def _answer(setting: Setting, task: Task) -> Answer:
    """Do a task in a process of its own."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if not process:
        os.close(reading)
        _perform(setting, task, Connection(writing, readable=False))
    os.close(writing)
    with Connection(reading, writable=False) as connection:
        try:
            if not connection.poll(task.timeout):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                return Failed(f"it did not end within {task.timeout:.0f} s")
            answer = KEEPER.answers.read(connection.recv_bytes())
        except EOFError:
            _, status = os.waitpid(process, 0)
            return Failed(_ended(status))
    os.waitpid(process, 0)
    return answer


def _ended(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"its process ended with status {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    cause = ", as the system does when memory runs out" if number == signal.SIGKILL else ""
    return f"its process was ended by {signal.Signals(number).name}{cause}"


def _perform(setting: Setting, task: Task, out: Connection) -> NoReturn:
    """Do a task, send the answer, and end the process."""
    from bench_core.model import worker

    with suppress(OSError), Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)  # a model that reads from standard input must not eat tasks
    with suppress(OSError):  # if memory runs out, end this process, and not the user's others
        Path("/proc/self/oom_score_adj").write_text("1000")
    answer: Answer
    own = os.getpid()
    try:
        answer = worker.perform(setting, task)
    except BenchCoreError as error:
        answer = Refused(str(error))
    except BaseException as error:  # noqa: BLE001 - the model is the user's code, and may raise anything
        answer = Failed(named(error))
    if os.getpid() != own:  # the model has forked, and only one process may answer
        os._exit(0)
    with suppress(OSError):
        out.send_bytes(KEEPER.answers.line(answer).encode())
    os._exit(0)
