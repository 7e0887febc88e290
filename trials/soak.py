"""Many gates in a row, in one process and one repository: what grows from gate to gate, and how many are false alarms.

Base and head differ by a constant that nothing reads, so every regression is false.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from bench_core import clock
from bench_core.cli import main
from bench_core.compat import chdir
from bench_core.errors import BenchCoreError
from trials import repositories, small
from trials.figures import Figure, share, spread
from trials.files import Line, Trial, today

SETTLED = 10
"""The first gates of a process are left out: they import modules and fill caches."""

LIMITED = ("versions", "files of evidence")
"""What grows until the oldest is deleted with each new one."""


def run(trial: Trial, gates: int, say: Callable[[str], None]) -> None:
    """Continue up to `gates` gates. What a process holds is compared only within one call of this command."""
    done = len(trial.done())
    if done >= gates:
        return
    with TemporaryDirectory(prefix="trials-") as folder, _temporary(Path(folder, "temporary")) as temporary:
        repository = small.project(Path(folder, "small"), built=False)
        base = small.version(repository, "base")
        for index in range(done, gates):
            head = small.version(repository, f"head {index:04d}")
            found = _gate(repository, base, head, seed=9000 + index)
            held = _held(repository.root, temporary)
            trial.add(gate=index, date=today(), process=f"{os.getpid()} {done}", held=held, **found)
            say(f"gate {index + 1} of {gates}: {found['verdict']}, {found['wall']:.1f} s, {held}")


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A folder for the temporary files of this process and of those that it starts."""
    folder.mkdir()
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = before


def _gate(repository: repositories.Repository, base: str, head: str, seed: int) -> dict[str, Any]:
    stored = repository.root / "gate.json"
    stored.unlink(missing_ok=True)
    options = ["--seed", str(seed), "--json", str(stored), *small.OPTIONS]
    began, said = clock.host(), io.StringIO()
    with chdir(repository.root), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(["gate", base, head, *options], standalone_mode=False)
        except SystemExit as end:
            code = end.code
    wall = clock.host() - began
    if not stored.exists():
        raise BenchCoreError(f"the gate ended with {code} and without a result: {said.getvalue()[-500:]}")
    found = json.loads(stored.read_text())
    return {
        "wall": round(wall, 2),
        "seconds": round(found["seconds"], 2),
        "verdict": found["verdict"],
        "reason": found["reason"],
        "counts": dict(Counter(cell["verdict"] for cell in found["cells"])),
        "control_rejects": found["control"]["rejects"],
    }


def _held(root: Path, temporary: Path) -> dict[str, int]:
    """What this process holds after a gate, and what lies in the repository. asv's results are left out: they are a
    history, and a gate adds to it."""
    gc.collect()
    here = psutil.Process()
    store = root / ".asv/env/bench-core"
    return {
        "memory": here.memory_full_info().uss,
        "descriptors": here.num_fds(),
        "threads": threading.active_count(),
        "processes": len(here.children(recursive=True)),
        "temporary files": len(list(temporary.iterdir())),
        "versions": len([path for path in store.iterdir() if path.is_dir()]),
        "files of evidence": len(list((store / "evidence").iterdir())),
    }


def of_soak(lines: Sequence[Line]) -> list[Figure]:
    cells: Counter[str] = Counter()
    for line in lines:
        cells.update(line["counts"])
    found = [
        share("soak", "gates that are red", sum(line["verdict"] == "regression" for line in lines), len(lines)),
        share("soak", "cells that are red", cells["regression"], cells.total()),
        share("soak", "cells that are not decided", cells["inconclusive"], cells.total()),
        share("soak", "gates whose controls reject", sum(line["control_rejects"] for line in lines), len(lines)),
        spread("soak", "a gate", [line["wall"] for line in lines], "s"),
    ]
    longest = max(_by_process(lines), key=len)[SETTLED:]
    if longest:
        first, last = longest[0]["held"], longest[-1]["held"]
        what = f"from gate {SETTLED + 1} to gate {SETTLED + len(longest)} of one process"
        for name, before in first.items():
            if name in LIMITED:
                grown = f"at most {max(line['held'][name] for line in longest)}"
            elif name == "memory":
                grown = f"{(last[name] - before) / 2**20:+.1f} MiB of {before / 2**20:.0f} MiB"
            else:
                grown = f"{last[name] - before:+d} of {before}"
            found.append(Figure("soak", f"{name}, {what}", grown))
    return found


def _by_process(lines: Sequence[Line]) -> list[list[Line]]:
    processes: dict[str, list[Line]] = {}
    for line in lines:
        processes.setdefault(line["process"], []).append(line)
    return list(processes.values())
