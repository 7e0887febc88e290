"""A nursery: the parent process of pairs of workers.

It imports what is heavy and the same for both versions (torch) once, so that a pair costs milliseconds instead of two
imports, and both its workers have one memory layout and one hash seed. It never imports either version. One command a
line comes in on its standard input, answers go out as lines of JSON.

Where there is no fork, or a cell runs on an accelerator, workers are spawned and import everything anew.
"""

from __future__ import annotations

import gc
import importlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from multiprocessing import connection
from pathlib import Path
from typing import Any, TextIO

from bench_core.gate import worker

BACKLOG = 1 << 20


def main() -> None:
    """Serve until standard input ends. The first line is the specification, every other one a job."""
    # What benchmarks print must not mix with the answers: from here on it goes where errors go.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    spec = json.loads(sys.stdin.readline())
    _stay_on(spec["core"])
    _import(spec, spec["preload"])
    _answer(answers, ready=True)
    for line in sys.stdin:
        serve(spec, json.loads(line), lambda **answer: _answer(answers, **answer))


def _import(spec: Mapping[str, Any], names: Iterable[str]) -> None:
    """Import what both versions import, for workers to inherit."""
    if spec["start"] != "fork":
        return
    for name in names:
        # What does not import here (it is made at run time, say) is left to the workers, which say so if they need it.
        with suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _answer(stream: TextIO, **answer: Any) -> None:
    stream.write(json.dumps(answer) + "\n")


def _stay_on(core: int | None) -> None:
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def serve(spec: Mapping[str, Any], job: Mapping[str, Any], answer: Callable[..., None]) -> None:
    """Start the workers of one job, pass on what they report, and leave none behind.

    Args:
        spec: ``sources`` by version, ``suite``, ``core``, ``start``, ``memory``.
        job: ``pair``, ``seed``, ``cells``; ``versions``: which version each role loads; ``first``: who is started
            first; ``timeout``: seconds without a word after which a worker hangs.
    """
    context = multiprocessing.get_context(spec["start"])
    holding = context.RawArray("b", len(worker.ROLES))
    ends = dict(zip(worker.ROLES, context.Pipe(), strict=True))
    order = worker.ROLES if job["first"] == worker.ROLES[0] else tuple(reversed(worker.ROLES))
    processes: dict[str, Any] = {}
    reports: dict[str, connection.Connection] = {}
    for role in order:
        ours, theirs = context.Pipe(duplex=False)
        # A forked worker inherits every open end, and would never see the end of a pipe that it holds open itself.
        others = [ends[other] for other in ends if other != role] + [*reports.values(), ours]
        process = context.Process(
            target=_worker,
            args=(role, dict(spec), dict(job), ends[role], theirs, holding, others if spec["start"] == "fork" else []),
        )
        process.start()
        theirs.close()
        processes[role], reports[role] = process, ours
    for end in ends.values():
        end.close()
    try:
        imported = _pass_on(spec, job, processes, reports, holding, answer)
    finally:
        for process in processes.values():
            process.kill()
            process.join()
        for end in reports.values():
            end.close()
    _import(spec, imported)
    answer(finished=job["pair"], imported=imported)


def _pass_on(
    spec: Mapping[str, Any],
    job: Mapping[str, Any],
    processes: Mapping[str, Any],
    reports: Mapping[str, connection.Connection],
    holding: Any,
    answer: Callable[..., None],
) -> list[str]:
    """Hand reports on until both workers are done, or one is not able to any more.

    Returns:
        Modules that they have imported on the way and that belong to neither version.
    """
    own = {"bench_core", Path(spec["suite"]).name, *(name for s in spec["sources"].values() for name in s["packages"])}
    imported: dict[str, None] = {}
    waiting: dict[Any, str] = {end: role for role, end in reports.items()}
    while waiting:
        ready = connection.wait(list(waiting), timeout=job["timeout"])
        if not ready:
            busy = [role for index, role in enumerate(worker.ROLES) if holding[index]]
            side = busy[0] if len(busy) == 1 else None
            answer(lost=side, cause=f"hangs: no answer within {job['timeout']:g} s")
            return []
        for end in ready:
            role = waiting[end]
            try:
                report = json.loads(end.recv_bytes(BACKLOG * 16))  # type: ignore[union-attr]
            except (EOFError, OSError, ValueError):
                del waiting[end]
                processes[role].join(timeout=5)
                code = processes[role].exitcode
                if code != 0:
                    answer(lost=_culprit(role, processes, holding), cause=_death(code))
                    return []
                continue
            if "imported" in report:
                imported.update((name, None) for name in report["imported"] if name.partition(".")[0] not in own)
            else:
                answer(role=role, **report)
    return list(imported)


PEER_LOST = 87
"""The exit status of a worker whose peer has gone: the peer is the culprit."""


def _culprit(role: str, processes: Mapping[str, Any], holding: Any) -> str | None:
    if processes[role].exitcode != PEER_LOST:
        return role
    return next(other for other in worker.ROLES if other != role)


def _death(code: int | None) -> str:
    if code is None:
        return "closed its pipes and went on"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with exit status {code} before it was done"


def _worker(
    role: Any,
    spec: Mapping[str, Any],
    job: Mapping[str, Any],
    peer: connection.Connection,
    out: connection.Connection,
    holding: Any,
    others: list[connection.Connection],
) -> None:
    for end in others:
        end.close()
    _stay_on(spec["core"])
    _limit_memory(spec["memory"])
    with suppress(OSError), Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)  # a benchmark that reads from standard input must not eat our commands

    def report(**what: Any) -> None:
        out.send_bytes(json.dumps(what).encode())

    turns = worker.Turns(role, peer, holding)
    try:
        source = worker.Source(**spec["sources"][job["versions"][role]])
        opened = worker.load(source, spec["suite"])
        worker.work(role, opened, job, turns, report)
    except worker.PeerLostError:
        os._exit(PEER_LOST)
    except BaseException as error:  # noqa: BLE001 - the version's modules run on import, and may raise anything
        report(broken=worker.cause(error))
    out.close()
    os._exit(0)


def _limit_memory(limit: int | None) -> None:
    """At most so many bytes of address space beyond what the parent has given us."""
    if limit is None or not sys.platform.startswith("linux"):
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    total = pages * resource.getpagesize() + limit
    resource.setrlimit(resource.RLIMIT_AS, (total, total))


if __name__ == "__main__":
    main()
