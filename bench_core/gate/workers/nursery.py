"""A nursery: the parent process of pairs of workers.

It imports what is heavy and the same for both versions (torch) once, so that a pair costs milliseconds instead of two
imports, and both its workers have one memory layout and one hash seed. It never imports either version. One command a
line comes in on its standard input, answers go out as lines of JSON.

Where a cell runs on an accelerator, or both sides share too little, workers are spawned and import everything anew:
each by the interpreter of its own version.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from multiprocessing import connection
from pathlib import Path
from typing import Any, TextIO

import psutil

from bench_core import clock
from bench_core.gate.workers import child
from bench_core.gate.workers.role import COUNTS_SIZE, PEER_LOST, PIPES_LOST, counts_in, perform, stay_on
from bench_core.records.gate import SIDES, Side, other_side

LONGEST = 1 << 24
"""Bytes of a report."""

LOOK_EVERY = 0.1
"""Seconds without a report after which to look whether the workers are alive. A look takes 20 us of their core."""


def main() -> None:
    """Serve until standard input ends. The first line is the specification, every other one a job."""
    # What benchmarks print must not mix with the answers: from here on it goes where errors go.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    spec = json.loads(sys.stdin.readline())
    stay_on(spec["core"])
    _adopt_orphans()
    _import(spec, spec["preload"])
    _answer(answers, ready=True)
    for line in sys.stdin:
        serve(spec, json.loads(line), lambda **answer: _answer(answers, **answer))


def _import(spec: Mapping[str, Any], names: Iterable[str]) -> None:
    """Import what both versions import, for workers to inherit."""
    if spec["start"] != "fork":
        return
    guard = _Guard({name for source in spec["sources"].values() for name in source["packages"]})
    sys.meta_path.insert(0, guard)
    for name in names:
        # What does not import here (it is made at run time, say) is left to the workers, which say so if they need it.
        with suppress(Exception):
            importlib.import_module(name)
    sys.meta_path.remove(guard)
    gc.collect()
    gc.freeze()


class _Guard(MetaPathFinder):
    """Keeps what is compared out of the parent: a third package that imports it would bind the one that is installed
    here, for both sides. Such a package is left to the workers."""

    def __init__(self, packages: Collection[str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in self._packages:
            raise ImportError(f"{name} is what is compared, and belongs to the workers")


def _answer(stream: TextIO, **answer: Any) -> None:
    stream.write(json.dumps(answer) + "\n")


def _adopt_orphans() -> None:
    """Become the parent of whatever workers start and leave behind, where there is that (Linux)."""
    if sys.platform.startswith("linux"):
        set_child_subreaper = 36
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def _end_orphans() -> None:
    """End what workers have left behind: it would take time from the pairs to come."""
    with suppress(ChildProcessError):
        while True:
            ended, _ = os.waitpid(-1, os.WNOHANG)
            if not ended:
                for child in psutil.Process().children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        child.kill()
                os.waitpid(-1, 0)


def serve(spec: Mapping[str, Any], job: Mapping[str, Any], answer: Callable[..., None]) -> None:
    """Start the workers of one job, pass on what they report, and leave none behind.

    Args:
        spec: ``sources`` by version, ``suite``, ``core``, ``start``, ``memory``.
        job: ``pair``, ``seed``, ``cells``; ``versions``: which version each role loads; ``first``: who is started
            first; ``timeout``: seconds without a turn or a report after which a worker hangs.
    """
    ends = dict(zip(SIDES, connection.Pipe(), strict=True))
    order: tuple[Side, Side] = (job["first"], other_side(job["first"]))
    processes: dict[Side, _Forked | _Spawned] = {}
    reports: dict[Side, connection.Connection] = {}
    with tempfile.TemporaryFile() as counts:
        counts.truncate(COUNTS_SIZE)
        turns = counts_in(counts.fileno())
        for role in order:
            ours, theirs = connection.Pipe(duplex=False)
            if spec["start"] == "fork":
                others = [ends[other_side(role)], *reports.values(), ours]
                processes[role] = _Forked(others, role, spec, job, ends[role], theirs, turns)
            else:
                processes[role] = _Spawned(role, spec, job, ends[role], theirs, counts.fileno())
            theirs.close()
            reports[role] = ours
    for end in ends.values():
        end.close()
    try:
        imported = _pass_on(spec, job, processes, reports, turns, answer)
    finally:
        for process in processes.values():
            process.end()
        for end in reports.values():
            end.close()
        _end_orphans()
    _import(spec, imported)
    answer(finished=job["pair"], imported=imported)


class _Forked:
    """A worker that inherits what this process has imported.

    Args:
        others: ends of pipes that are not its own: it inherits every open one, and would never see the end of a pipe
            that it holds open itself.
        worker: the arguments of `role.perform`.
    """

    def __init__(self, others: Sequence[connection.Connection], *worker: Any) -> None:
        self._process = multiprocessing.get_context("fork").Process(target=self._run, args=(others, *worker))
        self._process.start()

    @staticmethod
    def _run(others: Sequence[connection.Connection], *worker: Any) -> None:
        for end in others:
            end.close()
        perform(*worker)

    @property
    def status(self) -> int | None:
        """With what it has ended; None while it runs."""
        return self._process.exitcode

    def end(self) -> None:
        self._process.kill()
        self._process.join()


class _Spawned:
    """A worker that shares nothing with this process but a processor: its interpreter may be another one.

    Not multiprocessing's: that starts one interpreter for all, and a child that tracks what is shared.

    Args:
        counts: the file of the counts; the other arguments are those of `role.perform`.
    """

    def __init__(
        self,
        role: Side,
        spec: Mapping[str, Any],
        job: Mapping[str, Any],
        peer: connection.Connection,
        out: connection.Connection,
        counts: int,
    ) -> None:
        python = spec["sources"][job["versions"][role]]["python"]
        files = {"peer": peer.fileno(), "out": out.fileno(), "counts": counts}
        # Both sides of a pair have one order of their hashes, and each pair its own: it is a parent of its own.
        hash_seed = random.Random(f"{job['seed']} hash {job['pair']}").getrandbits(32)
        with tempfile.TemporaryFile("w+") as words:  # and not a pipe, which holds less than a job
            json.dump({"role": role, "spec": spec, "job": job, **files}, words)
            words.seek(0)
            self._process = subprocess.Popen(
                child.command("bench_core.gate.workers.role", python, Path(tempfile.gettempdir())),
                stdin=words,
                env=child.variables(python, hash_seed),
                pass_fds=tuple(files.values()),
            )

    @property
    def status(self) -> int | None:
        """With what it has ended; None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def _pass_on(
    spec: Mapping[str, Any],
    job: Mapping[str, Any],
    processes: Mapping[Side, _Forked | _Spawned],
    reports: Mapping[Side, connection.Connection],
    turns: Any,
    answer: Callable[..., None],
) -> list[str]:
    """Hand reports on until both workers are done, or one is not able to any more.

    Returns:
        Modules that they have imported on the way and that belong to neither version.
    """
    own = {"bench_core", Path(spec["suite"]).name, *(name for s in spec["sources"].values() for name in s["packages"])}
    imported: dict[str, None] = {}
    waiting: dict[Any, Side] = {end: role for role, end in reports.items()}
    gone: list[Side] = []
    last_words: list[dict[str, Any]] = []
    seen, since, spoke = list(turns), clock.host(), clock.host()
    while waiting:
        ready = connection.wait(list(waiting), timeout=LOOK_EVERY)
        for end in ready:
            role = waiting[end]
            try:
                report = json.loads(end.recv_bytes(LONGEST))  # type: ignore[union-attr]
            except (EOFError, OSError, ValueError):
                del waiting[end]
                gone.append(role)
                continue
            if "imported" in report:
                imported.update((name, None) for name in report["imported"] if name.partition(".")[0] not in own)
                del waiting[end]
            elif report.keys() & {"broken", "refused"}:
                # Told at the end: what its peer has to say of cells before comes first.
                last_words.append({"role": role, **report})
                del waiting[end]
                gone.append(role)
            else:
                answer(role=role, **report)
        now = clock.host()
        if ready or list(turns) != seen:
            seen, since = list(turns), now
            if now - spoke > job["timeout"] / 2:
                answer(alive=True)
                spoke = now
        if ready:
            continue
        for end, role in list(waiting.items()):
            # Its report pipe does not end while a process that it has started holds it open. And of the peer of one
            # that has gone nothing more is to come once it waits: what it had to say of cells before has been read.
            dead = processes[role].status is not None
            if (dead or (gone and _waits(turns, role))) and not end.poll():
                del waiting[end]
                gone.extend([role] if dead else [])
        if waiting and now - since > job["timeout"]:
            busy = [role for role in waiting.values() if not _waits(turns, role)]
            answer(
                lost=busy[0] if len(busy) == 1 else None,
                cause=f"hangs: no answer within {job['timeout']:g} s",
                hangs=True,
            )
            return []
    for words in last_words:
        answer(**words)
    if last_words or not gone:
        return list(imported)
    answer(**_who_was_lost({role: _exit_status(processes[role]) for role in gone}))
    return []


def _who_was_lost(codes: Mapping[str, int | None]) -> dict[str, Any]:
    """Of the workers that have gone without a word, the one that did not just follow its peer, and how it went."""
    culprits = [role for role, code in codes.items() if code != PEER_LOST]
    first = (culprits or list(codes))[0]
    return {"lost": first if len(culprits) == 1 else None, "cause": _death(codes[first])}


def _exit_status(process: _Forked | _Spawned) -> int | None:
    """Of one that has closed its pipes, as ending does; None if it goes on. (To `join` it with a timeout would wait for
    ever: that waits for a pipe, too.)"""
    until = clock.host() + 0.5  # and not so many waits, each of which is longer on a busy machine
    while process.status is None and clock.host() < until:
        connection.wait([], timeout=0.01)
    return process.status


def _waits(turns: Any, role: Side) -> bool:
    """Whether the role waits for its turn (see `worker.Turns`)."""
    return bool(turns[SIDES.index(role)] % 2)


def _death(code: int | None) -> str:
    if code is None:
        return "closed its pipes and went on"
    if code == PIPES_LOST:
        return "closed its pipes"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with exit status {code} before it was done"


if __name__ == "__main__":
    main()
