"""Counts the instructions of calls, for both versions at once. Counts do not depend on the machine's load, and do not
show waits for memory.

One process for each side counts all cells, since importing torch under valgrind takes 15 s, or a minute on a busy
machine.
"""

from __future__ import annotations

import contextlib
import platform
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_core import units
from bench_core.errors import BenchCoreError
from bench_core.gate.versions.subjects import Subjects
from bench_core.gate.why import inspector
from bench_core.gate.why.cause import InstructionCounts, why_not
from bench_core.records.gate import SIDES
from bench_core.workers import child
from bench_core.workers.messages import Dumps, Inspection, NotInspected

LOG = "valgrind.log"
"""The file of valgrind's own messages."""


@dataclass(frozen=True)
class Counted:
    """The counts of base and head, by cell; and the reasons for cells without counts."""

    counts: Mapping[str, tuple[InstructionCounts, InstructionCounts]]
    failed: Mapping[str, str]


def count(
    subjects: Subjects,
    cells: Sequence[str],
    say: Callable[[str], None],
    renamed: Mapping[str, str] | None = None,
) -> Counted:
    """Count the instructions of these cells. `say` takes a line on each step; for `renamed` see `GateRecord`.

    Raises:
        BenchCoreError: if there is no valgrind, or it dies before any cell was counted.
    """
    valgrind = require_valgrind()
    counts: dict[str, tuple[InstructionCounts, InstructionCounts]] = {}
    failed: dict[str, str] = {}
    say(f"counting instructions of {units.plural(len(cells), 'cell')} under valgrind")
    with (
        child.Watchdog() as watchdog,
        contextlib.closing(
            inspector.look(subjects, cells, "count", watchdog, command(valgrind), renamed=renamed or {})
        ) as looked,
    ):
        for name, answers in looked:
            base, head = (answers[side] for side in SIDES)
            lost = next((side for side in SIDES if _is_lost(answers[side])), None)
            if lost is not None:
                why = _illegal(watchdog.folder / f"count-{lost}" / LOG, valgrind) or why_not(answers)[lost]
                if not counts and not failed:
                    raise BenchCoreError(f"instructions cannot be counted: {why}")
                failed[name] = why
            elif isinstance(base, Dumps) and isinstance(head, Dumps):
                counts[name] = (counts_of(base), counts_of(head))
                for dump in (*base.dumps, *head.dumps):  # 100 KiB each
                    Path(dump).unlink(missing_ok=True)
            else:
                failed[name] = "; ".join(f"{side}: {reason}" for side, reason in why_not(answers).items())
    return Counted(counts, failed)


def _is_lost(answer: Inspection) -> bool:
    return isinstance(answer, NotInspected) and answer.lost


def require_valgrind() -> str:
    """The path of valgrind.

    Raises:
        BenchCoreError: if it is not installed, or does not run on such a machine.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise BenchCoreError(
            f"instructions can be counted only on Linux on x86_64, and this is {platform.system()} on "
            f"{platform.machine()}. A gate without --instructions works here."
        )
    found = shutil.which("valgrind")
    if found is None:
        raise BenchCoreError(
            "valgrind is not installed, and instructions cannot be counted without it. Install it, for instance with "
            "`apt-get install valgrind`."
        )
    return found


def command(valgrind: str) -> list[str]:
    """The command that an inspector runs under. ``{folder}`` stands for the inspector's own folder."""
    return [
        "env",
        # malloc keeps freed memory for the next request. Otherwise, its work depends on the rest of the heap.
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
    """The message if valgrind has met an instruction that it does not know; else ""."""
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


def counts_of(found: Dumps) -> InstructionCounts:
    """The count with the median total, without the instructions of counting itself."""
    counted = sorted((functions(Path(dump).read_text().splitlines()) for dump in found.dumps), key=Functions.total)
    middle = counted[len(counted) // 2]
    counts = middle.counts.copy()
    counts.subtract(functions(Path(found.empty).read_text().splitlines()).counts)
    number = found.number
    kept = {name: count / number for name, count in counts.items() if count > 0}
    return InstructionCounts(counts.total() / number, kept, middle.of_interpreter & kept.keys())


@dataclass(frozen=True)
class Functions:
    """The instructions that each function executes itself; and which functions are the Python interpreter's."""

    counts: Counter[str]
    of_interpreter: frozenset[str]

    def total(self) -> int:
        return self.counts.total()


_INTERPRETER = re.compile(r"(lib)?python3[0-9.]*[a-z]*(\.(so|dylib)[0-9.]*)?")
"""The name of the file that holds the interpreter, which is the program or a library of it."""


def functions(lines: Iterable[str]) -> Functions:
    """The functions in a file that callgrind wrote."""
    counts: Counter[str] = Counter()
    objects: dict[str, set[str]] = {}
    for object_, name, count in _executed(lines):
        counts[name] += count
        objects.setdefault(name, set()).add(Path(object_).name)
    ours = (name for name, files in objects.items() if all(map(_INTERPRETER.fullmatch, files)))
    return Functions(counts, frozenset(ours))


def _executed(lines: Iterable[str]) -> Iterator[tuple[str, str, int]]:
    """The file and the name of a function, and a number of instructions that it executes itself. The format:
    https://valgrind.org/docs/manual/cl-format.html. Names are compressed: ``(12) name`` once, and then ``(12)``. A line
    with a position and a count belongs to the function, but a line after ``calls=`` to its callee."""
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
                yield object_, function, int(line.split()[1])
            of_a_call = False


_NAME = re.compile(r"(?P<what>ob|fl|fi|fe|fn|cob|cfi|cfl|cfn)=(?:\((?P<key>\d+)\))? ?(?P<name>.*)")
_POSITION = frozenset("0123456789+-*")


def _unnamed(name: str, object_: str) -> str:
    """Replace the address by which callgrind names an unknown function: it differs between the sides, unlike the
    library."""
    if not name.startswith("0x"):
        return name
    return f"unnamed in {Path(object_).name}" if object_ not in ("", "???") else "unnamed"
