"""Kills commands at random moments, and looks at what they leave: processes, temporary files, and results."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from asv.results import Results

from bench_core import clock
from bench_core.errors import BenchCoreError
from bench_core.results import gate_file
from bench_core.results.read import read
from trials import repositories, small
from trials.figures import Figure, share, spread
from trials.files import Line, Trial, today
from trials.gates import environment

CHAIN = 5
"""After so many kills the command is run to its end, which continues from what the killed ones have left."""

PATIENCE = 5.0
"""Seconds after a kill in which everything must be gone."""

KINDS = ("gate", "run", "report")


@dataclass(frozen=True)
class Ground:
    """Where commands are killed.

    Attributes:
        root: the repository.
        temporary: the folder for temporary files, which also tells the processes of a command from others.
        base: the commit that gates compare with.
    """

    repository: repositories.Repository
    temporary: Path
    base: str

    @property
    def root(self) -> Path:
        return self.repository.root

    def start(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        variables = {**environment(), "TMPDIR": str(self.temporary)}
        if arguments[0] == "run":  # a run measures what is installed
            variables["PYTHONPATH"] += f"{os.pathsep}{self.root}"
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "bench_core", *arguments],
            cwd=self.root,
            env=variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def finished(self, arguments: Sequence[str]) -> tuple[int, float]:
        """Run a command to its end. Returns its exit code, and the seconds that it took."""
        began = clock.host()
        return self.start(arguments).wait(), clock.host() - began

    def left(self) -> list[str]:
        """The processes and the temporary files that there are."""
        mark = f"TMPDIR={self.temporary}".encode()
        processes = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes():
                    processes.append(f"process {(entry / 'cmdline').read_bytes()[:200]!r}")
        files = [path.name for path in self.temporary.iterdir()]
        for _, folders, names in os.walk(self.root):  # which passes over what is removed meanwhile
            files += [
                one for one in (*folders, *names) if fnmatchcase(one, "making-*") or fnmatchcase(one, ".*.[0-9]*")
            ]
        return [*processes, *files]

    def faults(self) -> list[str]:
        """What of the results is damaged."""
        found = []
        results = self.root / "results"
        for path in [*results.rglob("*.json"), *results.rglob("*.jsonl"), *self.root.glob("*.json")]:
            try:
                _require_whole(path)
            except (BenchCoreError, OSError, ValueError, LookupError, TypeError) as error:
                found.append(f"{path.name}: {error}")
        for page in self.root.glob("*.html"):
            if not page.read_text().rstrip().endswith("</html>"):
                found.append(f"{page.name} is cut off")
        return found


def _require_whole(path: Path) -> None:
    """Raises an error if a file of results is damaged."""
    if path.suffix == ".jsonl":
        for line in path.read_text().splitlines():
            json.loads(line)
    elif path.name == "gate.json":
        gate_file.read(path)
    elif path.name in ("benchmarks.json", "machine.json", "asv.conf.json"):
        json.loads(path.read_text())
    else:
        Results.load(str(path))
        found = read(path)
        without = [cell.name for cell in found.cells if cell.rounds is None and "gate" not in found.environment]
        if found.damaged or without:
            raise ValueError(f"{found.damaged or without}")


def run(trial: Trial, kills: int, kinds: Sequence[str], say: Callable[[str], None]) -> None:
    """Kill each of the commands until there are so many kills in the file."""
    for kind in kinds:
        done = sum(line["kind"] == kind and "after" in line for line in trial.done())
        if done < kills:
            with TemporaryDirectory(prefix="trials-") as folder:
                _kill(trial, kind, range(done, kills), _ground(Path(folder)), say)


def _ground(folder: Path) -> Ground:
    temporary = folder / "temporary"
    temporary.mkdir()
    repository = small.project(folder / "small", built=True)
    return Ground(repository, temporary, small.version(repository, "base"))


def _kill(trial: Trial, kind: str, numbers: range, ground: Ground, say: Callable[[str], None]) -> None:
    command = _commands(kind, ground)
    first, expected = _first(kind, ground, next(command))
    lasts = {True: first, False: first}
    draw = random.Random(f"kill {kind} {numbers.start}")
    arguments: list[str] = []
    is_new = True
    for number in numbers:
        if number % CHAIN == 0 or not arguments:
            arguments, is_new = next(command), True
        while True:  # until it is killed before it ends
            process = ground.start(arguments)
            after = draw.uniform(0, lasts[is_new])
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=after)
                lasts[is_new], is_new = min(lasts[is_new], after), False
                continue
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        gone, left = _until_gone(ground)
        faults = ground.faults()
        trial.add(kind=kind, kill=number, date=today(), after=round(after, 3), gone=gone, left=left, faults=faults)
        say(f"{kind} {number + 1} of {numbers.stop}: after {after:.2f} s, {gone:.2f} s, {left + faults or 'clean'}")
        if number % CHAIN == CHAIN - 1 or number == numbers[-1]:
            code, lasted = ground.finished(arguments)
            same = (code, _outcome(kind, ground)) == expected
            trial.add(
                kind=kind,
                finished=number,
                date=today(),
                code=code,
                same=same,
                wall=round(lasted, 2),
                faults=ground.faults(),
            )
            say(f"{kind}: run to its end, {'the same result' if same else 'ANOTHER RESULT'}, {lasted:.1f} s")
            arguments = []


def _commands(kind: str, ground: Ground) -> Iterator[list[str]]:
    """The arguments of the command for each chain. Each gate has another head, which must be built."""
    number = 0
    while True:
        number += 1
        if kind == "gate":
            head = small.version(ground.repository, f"head {number}", small.SLOWER)
            yield ["gate", ground.base, head, "--seed", "1", "--json", "gate.json", *small.OPTIONS]
        elif kind == "run":
            yield ["run", "--machine", "here", "--seed", "1", "--budget", "2"]
        else:
            yield ["report", "-o", "page.html"]


def _first(kind: str, ground: Ground, arguments: Sequence[str]) -> tuple[float, tuple[int, object]]:
    """Run a command to its end before anything is killed: the seconds that it takes, and how it must end."""
    if kind == "report":
        for _ in range(2):
            code, _ = ground.finished(["run", "--machine", "here", "--seed", "1", "--budget", "2"])
    code, lasted = ground.finished(arguments)
    if code not in (0, 1) or ground.left() or ground.faults():
        raise BenchCoreError(
            f"`bench-core {' '.join(arguments)}` ended with {code}: {ground.left()}, {ground.faults()}"
        )
    return lasted, (code, _outcome(kind, ground))


def _outcome(kind: str, ground: Ground) -> Any:
    """What must be the same at the end, however often the command was killed before."""
    if kind == "gate":
        found = json.loads((ground.root / "gate.json").read_text())
        return found["verdict"], {cell["name"]: cell["verdict"] for cell in found["cells"]}
    if kind == "run":
        paths = [path for path in (ground.root / "results/here").glob("*-*.json") if "-gate-" not in path.name]
        return sorted(cell.name for path in paths for cell in read(path).cells)
    return (ground.root / "page.html").exists()


def _until_gone(ground: Ground) -> tuple[float, list[str]]:
    """The seconds until nothing is left of a killed command, and what is left after `PATIENCE`."""
    began = clock.host()
    while (left := ground.left()) and clock.host() - began < PATIENCE:
        with suppress(TimeoutError):
            signal.sigtimedwait([], 0.02)
    return round(clock.host() - began, 2), left


def of_kill(lines: Sequence[Line]) -> list[Figure]:
    found = []
    for kind in KINDS:
        kills = [line for line in lines if line["kind"] == kind and "after" in line]
        ends = [line for line in lines if line["kind"] == kind and "finished" in line]
        if not kills:
            continue
        found += [
            share(
                "kill",
                f"{kind}: kills after which something is left after {PATIENCE:g} s",
                _count(kills, "left"),
                len(kills),
            ),
            share("kill", f"{kind}: kills after which a result is damaged", _count(kills, "faults"), len(kills)),
            spread("kill", f"{kind}: until everything is gone", [line["gone"] for line in kills], "s"),
            share(
                "kill",
                f"{kind}: runs to the end with another result",
                sum(not line["same"] for line in ends),
                len(ends),
            ),
        ]
    return found


def _count(lines: Sequence[Line], name: str) -> int:
    return sum(bool(line[name]) for line in lines)
