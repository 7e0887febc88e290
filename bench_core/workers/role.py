"""The process of a worker, forked or spawned, from its start to its exit status."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Collection
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from bench_core import clock
from bench_core.cores import stay_on
from bench_core.records.gate import SIDES, Side
from bench_core.workers.loading import VersionError, find, load, prove
from bench_core.workers.messages import (
    REPORTS,
    SPAWNED,
    NurseryTask,
    PairTask,
    WorkerBroken,
    WorkerDone,
    WorkerRefused,
    WorkerReport,
    read,
)
from bench_core.workers.turns import PeerLostError, Turns, cause
from bench_core.workers.worker import work

PEER_LOST = 87
"""The exit status of a worker whose peer has gone. The peer is to blame."""

PIPES_LOST = 88
"""The exit status of a worker that has closed its own pipes."""

COUNTS_SIZE = 8 * 2 * len(SIDES)
"""The bytes of the file that holds the counts of `turns.Turns`: two 64-bit numbers for each side."""


def counts_in(file: int) -> memoryview:
    """The counts that both workers and their nursery share, in an open file of `COUNTS_SIZE` bytes."""
    return memoryview(mmap.mmap(file, COUNTS_SIZE)).cast("Q")


def main() -> None:
    """Run a spawned worker. Standard input holds one `SpawnedTask`."""
    task = read(SPAWNED, sys.stdin.read(), "worker")
    peer = None if task.peer is None else Connection(task.peer)
    out = Connection(task.out, readable=False)
    perform(task.role, task.nursery, task.pair, task.cores, peer, out, counts_in(task.counts))


def perform(
    role: Side,
    task: NurseryTask,
    pair: PairTask,
    cores: Collection[int],
    peer: Connection | None,
    out: Connection,
    counts: memoryview,
) -> NoReturn:
    """Do one side of a pair, and end the process.

    Args:
        cores: see `stay_on`.
        peer: the connection to the other worker; None without one.
        out: takes the reports.
        counts: see `turns.Turns`.
    """
    with suppress(OSError), Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)  # a benchmark that reads from standard input must not eat the nursery's tasks

    def report(message: WorkerReport) -> None:
        out.send_bytes(REPORTS.line(message).encode())

    turns = Turns(role, peer, counts)
    try:
        try:
            stay_on(cores)
            turns.meet()
            began = clock.host()
            source = task.sources[pair.versions[role]]
            opened = load(source, task.suite)
            known = find(opened, pair)
            limit_memory(task.memory)
            turns.spent["import"] = clock.host() - began
            imported = work(source, opened, known, pair, turns, report)
            prove(source, opened.path)  # benchmarks may import more of the version as they run
            report(WorkerDone(role, imported, turns.spent))
        except PeerLostError:
            os._exit(PEER_LOST)
        except VersionError as error:
            report(WorkerRefused(role, str(error)))
        except BaseException as error:  # noqa: BLE001 - the version's modules run on import, and may raise anything
            report(WorkerBroken(role, cause(error)))
    except OSError:
        os._exit(PIPES_LOST)
    os._exit(0)


def keep_out() -> None:
    """Let no other process of this user read or change the memory and the files of this one and of what is forked from
    it (Linux; root may do so all the same)."""
    if sys.platform.startswith("linux"):
        set_dumpable = 4
        ctypes.CDLL(None).prctl(set_dumpable, 0, 0, 0, 0)


def limit_memory(limit: int | None) -> None:
    """Allow this many bytes of address space beyond what imports have taken, which is 3.1 GB for torch with CUDA."""
    if limit is None or not sys.platform.startswith("linux"):
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    total = pages * resource.getpagesize() + limit
    if most != resource.RLIM_INFINITY:
        total = min(total, most)
    resource.setrlimit(resource.RLIMIT_AS, (total, total))
