"""Reads a results folder: its runs, its gates, the ledgers of controls, and the machines' circumstances. A file that
cannot be read is listed, and the rest is read: a report is needed most when something went wrong."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench_core.codec import from_json, loads, require_schema, to_json
from bench_core.errors import BenchCoreError, UnknownNameError
from bench_core.files import append_line
from bench_core.records.accepted import AcceptedRegression
from bench_core.records.model import ModelRecord
from bench_core.records.results import Circumstances, Run, Store, StoredGate, Tally, Tried
from bench_core.records.run import LeftOut
from bench_core.results import gate_file, model_file
from bench_core.results.accepted import FILE as ACCEPTED
from bench_core.results.accepted import read_accepted
from bench_core.results.asv_files import NO_RESULTS
from bench_core.results.read import declarations, load, parsed
from bench_core.results.rounds import beside, read_rounds
from bench_core.results.trials import SUMMARY, read_trials

CIRCUMSTANCES = "doctor.jsonl"
"""The file of a machine with a line for each run."""

CIRCUMSTANCES_SCHEMA = 1
"""The newest readable schema of such a line."""


def read_store(folder: Path, machines: Sequence[str] = (), *, outside: Path | None = None) -> Store:
    """Read asv's results folder.

    Args:
        machines: asv's names of the machines to read; empty for all.
        outside: the result file of a run without a commit (`AsvConfig.outside`). It is read as well if it exists.

    Raises:
        BenchCoreError: if the folder contains no readable result, or no machine with one of these names.
    """
    reader = _Reader(folder)
    homes = {path.parent: _machine_name(path) for path in sorted(folder.rglob("machine.json"))}
    for machine in machines:
        if machine not in homes.values():
            raise UnknownNameError("machine", machine, homes.values())
    chosen = {home: name for home, name in homes.items() if not machines or name in machines}
    for path in sorted(folder.rglob("*.json")):
        if path.name not in NO_RESULTS and not (path.parent in homes and path.parent not in chosen):
            reader.add(path, home=path.parent in homes)
    if outside is not None and outside.is_file() and not outside.is_relative_to(folder):
        reader.add(outside, home=True)
    if not machines:
        reader.leave_out_gpu()
    tried, models = reader.tried(), reader.models()
    accepted = reader.accepted()
    for home in chosen:
        reader.add_history(home)
    store = Store(
        runs=tuple(sorted(reader.runs, key=lambda run: (run.machine, run.committed, str(run.path)))),
        gates=tuple(sorted(_once(reader.gates), key=lambda gate: (gate.summary.date, str(gate.path)))),
        ledgers={name: tally for home, name in chosen.items() if (tally := reader.ledger(home)) is not None},
        circumstances={name: found for home, name in chosen.items() if (found := reader.circumstances(home))},
        tried=tried,
        accepted=accepted,
        models=models,
        left_out=(*reader.left_out, *reader.unused()),
    )
    store = store.of(machines) if machines else store
    if not store.runs and not store.models:
        raise BenchCoreError(f"there are no results in {folder}{_why(reader.left_out)}. `bench-core run` writes some.")
    return store


def newest(folder: Path, *, outside: Path | None = None) -> Path:
    """The result file of the run that was measured last. Arguments and errors are those of `read_store`."""
    runs = read_store(folder, outside=outside).runs
    if not runs:
        raise BenchCoreError(
            f"{folder} has only records of models. `bench-core show` prints one by its name, such as gpt2."
        )
    return max(runs, key=lambda run: (run.measured, run.committed)).path


STORED_BY_GATE = re.compile(r"[0-9a-f]{8}-gate-.*")
"""The name of a file with a gate's times for asv's pages. These belong to a pair of versions, so they are no run."""

OUTDATED = "not in the suite any more, or changed since"
"""The reason why a benchmark is left out."""

INFINITE = "its value is infinite, so it cannot be compared"
"""The reason why a cell is left out."""

GPU = (
    "a record of `make gpu` (docs/gpu.md). Reports are made from asv's results: on that machine, `bench-core run "
    "--param device=cuda` stores these cells, and more, as asv's results"
)
"""The reason why a record of a GPU run is left out."""


class _Reader:
    """Reads files one by one, and lists those that cannot be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: list[Run] = []
        self.gates: list[StoredGate] = []
        self.left_out: list[LeftOut] = []
        self._unused = Counter[tuple[str, str]]()
        self._declared: dict[Path, list[dict[str, Any]]] = {}

    def add(self, path: Path, *, home: bool) -> None:
        """Read a JSON file, if it is a result of asv or of the gate. If it is beside a ``machine.json`` (`home`), every
        other file is an error."""
        if STORED_BY_GATE.fullmatch(path.name):
            return
        try:
            content = load(path)
            if gate_file.is_gate(content):
                self.gates.append(StoredGate(path, gate_file.summary(path, content)))
            elif home or "result_columns" in content:
                self._add_run(path, content)
        except BenchCoreError as error:
            self._leave_out(path, error)

    def _add_run(self, path: Path, content: Mapping[str, Any]) -> None:
        if path.parent not in self._declared:
            self._declared[path.parent] = declarations(path)
        file = parsed(path, content, self._declared[path.parent], read_rounds(path))
        for fault in file.damaged:
            self._leave_out(beside(path), fault)
        self._unused.update((name, OUTDATED) for name in file.outdated)
        self._unused.update((name, INFINITE) for name in file.infinite)
        self.runs.append(
            Run(
                path=path,
                machine=file.machine.get("machine") or path.parent.name,
                commit=file.commit,
                committed=iso_date(file.date),
                measured=iso_date(max((cell.begun for cell in file.cells), default=0)),
                environment=file.environment,
                description=file.machine,
                cells=file.cells,
                failed=file.failed,
            )
        )

    def ledger(self, home: Path) -> Tally | None:
        """The tally of a machine's ledger; None if there is no ledger, or it cannot be read."""
        path = home / gate_file.LEDGER
        if not path.is_file():
            return None
        try:
            tally = gate_file.tally(home.parent, home.name)
        except BenchCoreError as error:
            self._leave_out(path, error)
            return None
        if tally.damaged:
            self._leave_out(path, f"{tally.damaged} of its lines were cut off, as by a power cut")
        return tally

    def add_history(self, home: Path) -> None:
        """Read the gates of a machine's history."""
        path = home / gate_file.HISTORY
        if not path.is_file():
            return
        try:
            found = list(gate_file.summaries(path))
        except BenchCoreError as error:
            self._leave_out(path, error)
            return
        self.gates += [StoredGate(path, each) for each in found if each is not None]
        if damaged := found.count(None):
            self._leave_out(path, f"{damaged} of its lines were cut off, as by a power cut")

    def circumstances(self, home: Path) -> tuple[Circumstances, ...]:
        path = home / CIRCUMSTANCES
        if not path.is_file():
            return ()
        found = []
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                found.append(_circumstances(line))
            except ValueError as error:
                self._leave_out(path, f"line {number} cannot be read: {error}")
        return tuple(found)

    def tried(self) -> tuple[Tried, ...]:
        found = []
        for path in sorted(self.folder.glob(f"trials/*/{SUMMARY}")):
            try:
                found.append(read_trials(path))
            except BenchCoreError as error:
                self._leave_out(path, error)
        return tuple(found)

    def models(self) -> tuple[ModelRecord, ...]:
        found, left_out = model_file.stored(self.folder)
        self.left_out += left_out
        return tuple(one.record for one in found)

    def accepted(self) -> tuple[AcceptedRegression, ...]:
        """The accepted regressions; () if their file cannot be read."""
        try:
            return read_accepted(self.folder)
        except BenchCoreError as error:
            self._leave_out(self.folder / ACCEPTED, error)
            return ()

    def unused(self) -> Iterator[LeftOut]:
        """The parts that are left out of readable files, one entry for each reason."""
        for why in dict.fromkeys(why for _, why in sorted(self._unused)):
            files = {name: count for (name, reason), count in sorted(self._unused.items()) if reason == why}
            if len(files) == 1:
                ((name, count),) = files.items()
                yield LeftOut(name, f"{why}: in {count} result file(s)")
            else:
                yield LeftOut(f"{len(files)} benchmarks or cells, of older results", f"{why}: {', '.join(files)}")

    def leave_out_gpu(self) -> None:
        """Leave out the records of `make gpu`, which do not name the versions of the benchmarks."""
        for path in sorted(self.folder.glob("gpu/*.jsonl")):
            self._leave_out(path, GPU)

    def _leave_out(self, path: Path, why: object) -> None:
        """Add a file to the list. Paths of this machine are shortened, since they do not help the report's readers."""
        folder = self.folder if path.is_relative_to(self.folder) else path.parent.parent
        self.left_out.append(LeftOut(path.relative_to(folder).as_posix(), str(why).replace(f"{folder}/", "")))


def _once(gates: Iterable[StoredGate]) -> Iterator[StoredGate]:
    """Each gate once: its own file may be in the folder in addition to the history."""
    seen = set()
    for gate in gates:
        said = gate.summary
        key = (gate.machine, said.date, said.base.name, said.head.name, said.verdict)
        if key not in seen:
            seen.add(key)
            yield gate


def append_circumstances(home: Path, circumstances: Circumstances) -> None:
    """Add a line to the ``doctor.jsonl`` in a machine's folder.

    Raises:
        BenchCoreError: if it cannot be written.
    """
    path = home / CIRCUMSTANCES
    line = json.dumps({"schema": CIRCUMSTANCES_SCHEMA, **to_json(circumstances)}, allow_nan=False)
    try:
        append_line(path, line)
    except OSError as error:
        raise BenchCoreError(
            f"the machine's state cannot be added to {path}: {error.strerror}. Make the file writable, or set "
            "results_dir in asv.conf.json to a folder that is."
        ) from error


def _circumstances(line: bytes) -> Circumstances:
    """Read a line of ``doctor.jsonl``. Raises ValueError if it is not valid."""
    found = loads(line)
    require_schema(found, CIRCUMSTANCES_SCHEMA)
    return from_json(Circumstances, found)


def iso_date(milliseconds: int) -> str:
    """asv's milliseconds since 1970 as ISO 8601, UTC; "" for 0, which means no date."""
    return (
        datetime.fromtimestamp(milliseconds / 1000, timezone.utc).isoformat(timespec="seconds") if milliseconds else ""
    )


def _machine_name(path: Path) -> str:
    """The name in a ``machine.json``; if it cannot be read, the name of its folder, which asv makes equal."""
    try:
        return str(load(path).get("machine") or path.parent.name)
    except BenchCoreError:
        return path.parent.name


def _why(left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return ""
    more = f", and so are {len(left_out) - 1} more" if len(left_out) > 1 else ""
    return f" that can be read: {left_out[0].source} is left out ({left_out[0].reason.rstrip('.')}){more}"
