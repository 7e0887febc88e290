"""Damages valid files of every format that we read, and reads them: no traceback, and no hang.

hypothesis draws the damages and makes those that are found smaller. With atheris, if it is installed, the bytes of a
file are drawn such that they reach new code.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bench_core import clock
from bench_core.analysis import build
from bench_core.asv_config import asv_config
from bench_core.cli import main
from bench_core.errors import BUG, BenchCoreError
from bench_core.gate.measure.evidence import Dossier, Journal
from bench_core.records.gate import CellEvidence
from bench_core.report import answers, page
from bench_core.results.asv_files import load_into
from bench_core.results.store import read_store
from bench_core.watchdog import Watchdog
from trials import summary

CORPUS = Path(__file__).parent / "corpus"
"""``valid`` is a folder of results with a file of each format. ``found`` has the files that once were a fault."""

EXAMPLES = 100
"""hypothesis draws so many files with one seed."""

LONGEST = 10
"""A file that takes more seconds of the processor than this to read is a hang, beside other work too."""

LONGEST_WAIT = 120
"""A file that takes more seconds than this is a hang, whatever it waits for."""

RUN = "box/d958a2b5-installed"
"""The result file in the corpus, without its ending."""


MODEL = "box/models/mlp-cpu-2026-11-30T235531.jsonl"
"""The record of a model in the corpus."""

CHECKPOINT = "model.safetensors"
"""The checkpoint in the corpus."""

NO_GIT: Mapping[str, Any] = {"git": {}, "link": "", "published": ""}
"""What a report knows of commits outside of a repository."""


class HangError(Exception):
    """Reading takes too long. It is not caught by what reads."""


class FaultError(Exception):
    """A damaged file is a traceback."""


@dataclass(frozen=True)
class Format:
    """A format that we read.

    Attributes:
        path: the file in the corpus.
        read: reads the file in a copy of the corpus in all ways. Its argument is the folder of the copy.
    """

    path: str
    read: Callable[[Path], object]


def _commands(*commands: str) -> Callable[[Path], None]:
    """Reads by these commands. ``{}`` stands for the folder."""

    def read(folder: Path) -> None:
        for command in commands:
            _invoke([word.format(folder) for word in command.split()])

    return read


def _invoke(arguments: Sequence[str]) -> None:
    done = CliRunner().invoke(main, arguments)
    if done.exit_code == BUG:
        raise FaultError(f"bench-core {' '.join(arguments)}\n{done.stderr}")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception


def _report(folder: Path) -> None:
    """Make a report in all forms. The command would read the results for each of them."""
    found = build.report(read_store(folder), date="2026-11-30T00:00:00+00:00", version="1", **NO_GIT)
    answers.csv(found).encode()
    answers.markdown(found).encode()
    page.html(found).encode()
    json.dumps(answers.to_json(found), allow_nan=False)


def _asv(folder: Path) -> None:
    """Read the results as `bench-core run` does before it adds to them."""
    from asv.results import Results

    found = Results({"machine": "box"}, {}, "0" * 40, 0, "3.11", "env", {})
    found._filename = f"{RUN}.json"
    load_into(found, folder)


def _all(*readers: Callable[[Path], object]) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        for one in readers:
            with contextlib.suppress(BenchCoreError):
                one(folder)

    return read


def _checkpoint(folder: Path) -> None:
    from bench_core.suite.target import checkpoints

    found = checkpoints.read(folder / CHECKPOINT)
    found.container()
    found.state()


def _evidence(folder: Path) -> None:
    journal = Journal(folder / "evidence.jsonl")
    name = "calls.Calls.time_call('summed')"
    journal.controls()
    journal.load([Dossier(CellEvidence(name, "calls.Calls.time_call", {"way": "'summed'"}, "time", "seconds"))])


SHOW = _commands(f"show {{}}/{RUN}.json", f"show {{}}/{RUN}.json --list", f"show {{}}/{RUN}.json --run 1")
REPLAY = _commands("gate --replay {}/gate.json --verbose --markdown {}/page --junit {}/junit")

FORMATS: Mapping[str, Format] = {
    "asv-results": Format(
        f"{RUN}.json", _all(SHOW, _report, _asv, _commands(f"compare {{}}/{RUN}.json {{}}/{RUN}.json"))
    ),
    "asv-benchmarks": Format("benchmarks.json", _all(SHOW, _report)),
    "asv-machine": Format("box/machine.json", _report),
    "asv-config": Format("asv.conf.json", lambda folder: asv_config(folder / "asv.conf.json")),
    "rounds": Format(f"{RUN}.rounds.jsonl", _all(SHOW, _report)),
    "gate": Format("gate.json", _all(REPLAY, _report)),
    "gates": Format("box/gates.jsonl", _report),
    "controls": Format("box/gate-controls.jsonl", _report),
    "doctor": Format("box/doctor.jsonl", _report),
    "model": Format(MODEL, _all(_commands(f"show {{}}/{MODEL}", f"compare {{}}/{MODEL} {{}}/{MODEL}"), _report)),
    "checkpoint": Format(CHECKPOINT, _checkpoint),
    "evidence": Format("evidence.jsonl", _evidence),
    "trials-summary": Format("trials/box/summary.jsonl", _report),
    "trials": Format("trials/box/kill.jsonl", lambda folder: summary.run(folder / "trials/box", "box")),
}


@contextlib.contextmanager
def ground() -> Iterator[Path]:
    """A copy of the valid corpus. Pages are made without the charts' library, which takes a second to build. torch, by
    which checkpoints are read, is imported here, so that the first file does not take that time.
    """
    import torch  # noqa: F401

    before = page._library, page.begin
    with TemporaryDirectory(prefix="trials-") as folder, Watchdog():
        copied = Path(shutil.copytree(CORPUS / "valid", Path(folder, "results")))
        page._library, page.begin = (lambda: ""), (lambda: None)  # type: ignore[assignment]
        try:
            yield copied
        finally:
            page._library, page.begin = before


def check(folder: Path, form: Format, content: bytes) -> None:
    """Read a file with this content.

    Raises:
        FaultError: if that is a traceback.
        HangError: if it takes too long.
    """
    path = folder / form.path
    whole = path.read_bytes()

    def hang(*_: object) -> None:
        raise HangError(f"more than {LONGEST} s of the processor, or {LONGEST_WAIT} s in all")

    before = {one: signal.signal(one, hang) for one in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    signal.alarm(LONGEST_WAIT)
    try:
        path.write_bytes(content)
        form.read(folder)
    except BenchCoreError:
        pass
    except (FaultError, HangError):
        raise
    except Exception as error:
        raise FaultError("".join(traceback.format_exception(error))) from error
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for one, handler in before.items():
            signal.signal(one, handler)
        path.write_bytes(whole)


SCALARS = st.one_of(
    st.sampled_from([None, True, False, 0, -1, 1, 2, 10**18, 10**400, 1e308, -1e308, 5e-324, 1e-12, float("nan")]),
    st.sampled_from(
        [float("inf"), "", "inf", "x" * 300, "\ud800", "\x1b[31m", "[/red]", "<b>", "a,b", "{0}", "1970", "nan"]
    ),
    st.integers(-100, 100),
    st.floats(),
    st.text(max_size=8),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A valid file with one to four damages: to its values, or to its bytes."""
    if draw(st.integers(0, 9)) == 0:
        return _bytes_damaged(draw, whole)
    if _is_safetensors(whole):
        end = 8 + int.from_bytes(whole[:8], "little")
        tensors = json.loads(whole[8:end])
        for _ in range(draw(st.integers(1, 4))):
            _damage(draw, tensors)
        header = json.dumps(tensors).encode()
        return len(header).to_bytes(8, "little") + header + whole[end:]
    is_lines = whole.count(b"\n{") > 0 or not whole.lstrip().startswith(b"{\n")
    texts = whole.splitlines() if is_lines else [whole]
    lines = [json.loads(line) for line in texts]
    for _ in range(draw(st.integers(1, 4))):
        _damage(draw, lines)
    return b"\n".join(json.dumps(line).encode() for line in lines) + b"\n"


def _is_safetensors(whole: bytes) -> bool:
    """Whether a valid file begins with the length of a header, and the header."""
    return whole[8:9] == b"{"


def _bytes_damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    at, length = draw(st.integers(0, len(whole))), draw(st.integers(0, 20))
    put = draw(
        st.binary(max_size=5) | st.sampled_from([b"\n", b"[" * 100_000, b"\xff\xfe", b'"', b"1" * 5000, b"\x00"])
    )
    return whole[:at] + put + (whole[at + length :] if draw(st.booleans()) else b"")


def _damage(draw: st.DrawFn, values: Any) -> None:
    """Replace, remove, double or exchange one value."""
    places = list(_places(values))
    if not places:
        return
    owner, key = places[draw(st.integers(0, len(places) - 1))]
    match draw(st.sampled_from(["replace", "replace", "remove", "double", "other"])):
        case "replace":
            owner[key] = draw(VALUES)
        case "remove":
            del owner[key]
        case "double" if isinstance(owner, list):
            owner.insert(key, copy.deepcopy(owner[key]))
        case _:
            other, name = places[draw(st.integers(0, len(places) - 1))]
            owner[key] = copy.deepcopy(other[name])


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def fuzz(name: str, seconds: float, first: int = 0) -> tuple[int, str, bytes]:
    """Damage a file of one format for so many seconds, or until a fault.

    Args:
        first: the first seed of the draws.

    Returns:
        The number of files, the fault or "", and the file that caused it.
    """
    form = FORMATS[name]
    whole = (CORPUS / "valid" / form.path).read_bytes()
    count, last = 0, b""
    with ground() as folder:
        until = clock.host() + seconds

        def one(content: bytes) -> None:
            nonlocal count, last
            count, last = count + 1, content
            check(folder, form, content)

        while not count or clock.host() < until:
            given_one = given(damaged(whole))(one)
            chosen = settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink],
                report_multiple_bugs=False,
                print_blob=False,
            )
            try:
                chosen(seed(first)(given_one))()
            except (FaultError, HangError) as fault:
                return count, f"{type(fault).__name__}: {fault}", last
            first += 1
    return count, "", b""


def run(names: Sequence[str], minutes: float, first: int, say: Callable[[str], None]) -> bool:
    """Fuzz each of the formats for so many minutes. A file with a fault is added to the corpus.

    Returns:
        Whether there was no fault.
    """
    whole = True
    for name in names:
        count, fault, content = fuzz(name, 60 * minutes, first)
        say(f"{name}: {count} files, {'a fault' if fault else 'no fault'}")
        if fault:
            whole = False
            found = CORPUS / "found" / f"{name}-{hashlib.sha256(content).hexdigest()[:8]}"
            found.parent.mkdir(exist_ok=True)
            found.write_bytes(content)
            say(f"{fault}\n{found} is the file. Mend the reader, and keep the file: a test reads it from now on.")
    return whole


def by_coverage(names: Sequence[str], minutes: float, say: Callable[[str], None]) -> bool:
    """Fuzz each of the formats with atheris, in a process for each, since atheris ends the process that it runs in.

    Raises:
        BenchCoreError: if atheris is not installed.
    """
    whole = True
    for name in names:
        done = subprocess.run([sys.executable, "-m", "trials.fuzz", name, str(round(60 * minutes))], check=False)
        whole = whole and not done.returncode
        say(f"{name}: {'a fault, see above' if done.returncode else 'no fault'}")
    return whole


def _atheris(name: str, seconds: str) -> None:
    try:
        import atheris
    except ImportError as error:
        raise SystemExit("trials: atheris is not installed: pip install atheris") from error
    form = FORMATS[name]
    with ground() as folder, TemporaryDirectory(prefix="trials-") as seeds:
        shutil.copy(CORPUS / "valid" / form.path, seeds)

        def one(content: bytes) -> None:
            check(folder, form, content)

        atheris.instrument_all()
        atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=30000", seeds], one)
        atheris.Fuzz()


if __name__ == "__main__":
    _atheris(*sys.argv[1:])
