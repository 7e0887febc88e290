"""A worker's process, from its start, forked or spawned, to its exit status."""

from __future__ import annotations

import json
import mmap
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from bench_core.gate.workers import worker
from bench_core.records.gate import SIDES, Side

PEER_LOST, PIPES_LOST = 87, 88
"""Exit statuses of a worker: its peer has gone, which is the culprit; it has closed its own pipes."""

COUNTS_SIZE = 8 * len(SIDES)
"""Bytes of the file that holds the counts of `worker.Turns`."""


def counts_in(file: int) -> memoryview:
    """The counts that both workers and their parent share, in an open file of `COUNTS_SIZE` bytes."""
    return memoryview(mmap.mmap(file, COUNTS_SIZE)).cast("Q")


def main() -> None:
    """Be a spawned worker: standard input says as whom, and which open files are its own (see `perform`)."""
    told = json.loads(sys.stdin.read())
    peer, out = Connection(told["peer"]), Connection(told["out"], readable=False)
    perform(told["role"], told["spec"], told["job"], peer, out, counts_in(told["counts"]))


def perform(
    role: Side, spec: Mapping[str, Any], job: Mapping[str, Any], peer: Connection, out: Connection, counts: Any
) -> NoReturn:
    """Do one side of a job, and end.

    Args:
        spec, job: as of `bench_core.gate.workers.nursery.serve`.
        peer: the connection to the other worker.
        out: where reports go.
        counts: as of `worker.Turns`.
    """
    stay_on(spec["core"])
    with suppress(OSError), Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)  # a benchmark that reads from standard input must not eat our commands

    def report(**what: Any) -> None:
        out.send_bytes(json.dumps(what).encode())

    turns = worker.Turns(role, peer, counts)
    try:
        try:
            source = worker.Source(**spec["sources"][job["versions"][role]])
            opened = worker.load(source, spec["suite"])
            known = worker.find(opened, job)
            _limit_memory(spec["memory"])
            imported = worker.work(source, opened, known, job, turns, report)
            worker.prove(source, opened.path)  # benchmarks may import more of the version as they go
            report(imported=imported)
        except worker.PeerLostError:
            os._exit(PEER_LOST)
        except worker.VersionError as error:
            report(refused=str(error))
        except BaseException as error:  # noqa: BLE001 - the version's modules run on import, and may raise anything
            report(broken=worker.cause(error))
    except OSError:
        os._exit(PIPES_LOST)
    os._exit(0)


def stay_on(core: int | None) -> None:
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def _limit_memory(limit: int | None) -> None:
    """At most so many bytes of address space beyond what importing has taken: 3.1 GB with a torch that has CUDA."""
    if limit is None or not sys.platform.startswith("linux"):
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    total = pages * resource.getpagesize() + limit
    if most != resource.RLIM_INFINITY:
        total = min(total, most)
    resource.setrlimit(resource.RLIMIT_AS, (total, total))


if __name__ == "__main__":
    main()
