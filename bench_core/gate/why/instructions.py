"""Instructions a call, of both versions at once: exact whatever the load, and blind to waiting for memory.

One process a side counts all cells, since importing torch under valgrind takes 15 s, or a minute on a busy machine.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_core.errors import BenchCoreError
from bench_core.gate.versions.subjects import Subjects
from bench_core.gate.why import inspector
from bench_core.gate.why.cause import Counts
from bench_core.gate.workers import child
from bench_core.records.gate import SIDES

LOG = "valgrind.log"


@dataclass(frozen=True)
class Counted:
    """What was counted.

    Attributes:
        counts: cell to base's and head's.
        failed: cell to the reason.
    """

    counts: Mapping[str, tuple[Counts, Counts]]
    failed: Mapping[str, str]


def count(subjects: Subjects, cells: Sequence[str], say: Callable[[str], None]) -> Counted:
    """Count the instructions of these cells.

    Args:
        say: is told how it goes.

    Raises:
        BenchCoreError: if there is no valgrind, or it dies before any cell was counted.
    """
    valgrind = require_valgrind()
    counts: dict[str, tuple[Counts, Counts]] = {}
    failed: dict[str, str] = {}
    say(f"counting instructions of {len(cells)} {'cell' if len(cells) == 1 else 'cells'} under valgrind")
    with child.Watchdog() as watchdog:
        for name, answers in inspector.look(subjects, cells, "count", watchdog, command(valgrind)):
            lost = next((side for side in SIDES if "lost" in answers[side]), None)
            if lost is not None:
                why = _illegal(watchdog.folder / f"count-{lost}" / LOG, valgrind) or answers[lost]["failed"]
                if not counts and not failed:
                    raise BenchCoreError(f"instructions cannot be counted: {why}")
                failed[name] = why
            elif reasons := [f"{side}: {answers[side]['failed']}" for side in SIDES if "failed" in answers[side]]:
                failed[name] = "; ".join(reasons)
            else:
                base, head = (counts_of(answers[side]) for side in SIDES)
                counts[name] = (base, head)
                for side in SIDES:  # 100 KiB each
                    for dump in answers[side]["dumps"]:
                        Path(dump).unlink(missing_ok=True)
    return Counted(counts, failed)


def require_valgrind() -> str:
    """Where valgrind is.

    Raises:
        BenchCoreError: if it is not installed, or does not run on such a machine.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise BenchCoreError(
            f"instructions are counted on Linux and x86_64 only, and this is {platform.system()} on "
            f"{platform.machine()}. Times need no such thing."
        )
    found = shutil.which("valgrind")
    if found is None:
        raise BenchCoreError(
            "valgrind is not installed, and nothing else counts instructions. Install it, for instance with "
            "`apt-get install valgrind`."
        )
    return found


def command(valgrind: str) -> list[str]:
    """What an inspector runs under; ``{folder}`` stands for one of its own."""
    return [
        "env",
        # What is freed is kept for the next who asks: what malloc does otherwise depends on what else lies in memory.
        "GLIBC_TUNABLES=glibc.malloc.tcache_count=2000",
        valgrind,
        "--tool=callgrind",
        "-q",
        "--instr-atstart=no",
        "--dump-line=no",
        "--separate-recs=1",
        "--vgdb=no",  # it would leave pipes in the temporary folder
        "--sigill-diagnostics=yes",
        f"--callgrind-out-file={{folder}}/{inspector.DUMPS}",
        f"--log-file={{folder}}/{LOG}",
    ]


def _illegal(log: Path, valgrind: str) -> str:
    """What to say where valgrind met an instruction that it does not know; "" where it did not."""
    said = log.read_text(errors="replace") if log.exists() else ""
    if not re.search("unhandled instruction|Unrecognised instruction|SIGILL", said):
        return ""
    version = subprocess.run([valgrind, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    found = re.search(r"unhandled instruction bytes: ([0-9A-Fx ]+)", said)
    which = f" ({found[1].strip()})" if found else ""
    return (
        f"{version or valgrind} does not know an instruction{which} that this code executes on this processor. "
        "Install a newer valgrind."
    )


def counts_of(answer: Mapping[str, Any]) -> Counts:
    """Of some counts that with the median total, without what counting itself executes."""
    found = sorted((functions(Path(dump).read_text().splitlines()) for dump in answer["dumps"]), key=Counter.total)
    middle = found[len(found) // 2]
    middle.subtract(functions(Path(answer["empty"]).read_text().splitlines()))
    number = answer["number"]
    return Counts(middle.total() / number, {name: count / number for name, count in middle.items() if count > 0})


def functions(lines: Iterable[str]) -> Counter[str]:
    """Function to the instructions that it executes itself, from a file of callgrind.

    The format: https://valgrind.org/docs/manual/cl-format.html. Names are compressed: ``(12) name`` once, and then
    ``(12)``. A line with a position and a count belongs to the function; the one after ``calls=`` to what it calls.
    """
    found: Counter[str] = Counter()
    names: dict[tuple[str, str], str] = {}
    function = object_ = ""
    of_a_call = False
    for line in lines:
        if assigned := _NAME.match(line):
            what, key, name = assigned["what"], assigned["key"], assigned["name"]
            kind = "ob" if what.endswith("ob") else "fn" if what.endswith("fn") else "file"
            name = names.setdefault((kind, key), name) if key else name
            if what == "ob":
                object_ = name
            elif what == "fn":
                function = _unnamed(name, object_)
        elif line.startswith("calls="):
            of_a_call = True
        elif line[:1] in _POSITION:
            if not of_a_call:
                found[function] += int(line.split()[1])
            of_a_call = False
    return found


_NAME = re.compile(r"(?P<what>ob|fl|fi|fe|fn|cob|cfi|cfl|cfn)=(?:\((?P<key>\d+)\))? ?(?P<name>.*)")
_POSITION = frozenset("0123456789+-*")


def _unnamed(name: str, object_: str) -> str:
    """A function without a name goes by its address, which both sides do not share, but they share its library."""
    if not name.startswith("0x"):
        return name
    return f"unnamed in {Path(object_).name}" if object_ not in ("", "???") else "unnamed"
