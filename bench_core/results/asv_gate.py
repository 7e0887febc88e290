"""Stores the times of a gate as results of asv, so that `asv publish` and `asv show` know them.

The results have a separate environment, ``gate``, and a parameter ``sampling``. The gate samples two versions in turn,
so its times differ slightly from asv's, and one line of a graph must not contain both.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from bench_core import git
from bench_core.compat import chdir
from bench_core.errors import BenchCoreError, require_writable
from bench_core.records.gate import SIDES, CellEvidence, GateRecord, Side
from bench_core.records.version import Commit, WorkingTree, commit_of
from bench_core.results.asv_files import drawable, load_into, saved_into

TOOL = "gate"
"""The name of the environment, and the value of the parameter ``sampling``."""


def store(record: GateRecord, results_dir: Path, config: Path, declared: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Store the times of each side that is a commit. A working tree has no place in the history.

    Args:
        results_dir: asv's results folder.
        config: the ``asv.conf.json``.
        declared: asv's declarations of the benchmarks, as in `bench_core.timing.cells.SuiteDirectory`.

    Returns:
        The files that were written.

    Raises:
        BenchCoreError: if the folder cannot be written, or the repository does not know a commit.
    """
    folder, results_dir = config.resolve().parent, results_dir.resolve()
    commits: dict[str, Side] = {}
    for side in SIDES:
        version = getattr(record, side)
        if isinstance(version, Commit) or (isinstance(version, WorkingTree) and not version.changed):
            commits.setdefault(str(commit_of(version)), side)  # one entry if both sides are the same commit
    if not record.cells or not commits:
        return []
    require_writable(results_dir)
    with chdir(folder):  # asv's paths are relative to it
        return [_stored(record, side, commit, results_dir, config.name, declared) for commit, side in commits.items()]


def _stored(
    record: GateRecord, side: Side, commit: str, results_dir: Path, config: str, declared: Sequence[Mapping[str, Any]]
) -> Path:
    from asv.benchmarks import Benchmarks
    from asv.config import Config
    from asv.environment import get_env_name
    from asv.machine import Machine
    from asv.results import Results

    conf = Config.load(config)
    own = {name for name, _ in Machine.fields}
    here = Machine()
    here.__dict__.update({name: value for name, value in record.machine.items() if name in own})
    requirements = {name: value for name, value in record.machine.items() if name not in {*own, "python"}}
    python = record.machine["python"]
    name = get_env_name(TOOL, python, requirements, {})
    try:
        date = 1000 * git.author_date(Path(conf.repo), commit)  # milliseconds, as in asv's files
    except git.GitError as error:
        raise BenchCoreError(
            f"the times of {commit[:8]} cannot be stored: the repository that {config} names has no such commit."
        ) from error
    results = Results({**record.machine, "sampling": TOOL}, requirements, commit, date, python, name, {})
    load_into(results, results_dir)
    began = datetime.fromisoformat(record.date.replace("Z", "+00:00"))  # Python 3.10 does not know Z
    for benchmark in declared:
        cells = [cell for cell in record.cells if cell.benchmark == benchmark["name"]]
        selected, result = _result(benchmark, cells, side)
        if selected:
            spent = math.fsum(cell.spent for cell in cells)
            results.add_result(benchmark, result, started_at=began, duration=spent, selected_idx=selected)
    with saved_into(results_dir) as saved:
        if not (results_dir / here.machine / "machine.json").is_file():
            here.save(saved)
        conf.results_dir = saved
        Benchmarks(conf, drawable(declared)).save()
        results.save(saved)
    return results_dir / str(results._filename)


def _result(benchmark: Mapping[str, Any], cells: Iterable[CellEvidence], side: Side) -> tuple[set[int], Any]:
    """The selected combinations of a benchmark's parameters, and the result that asv's own runner would return. The
    samples of a time are the medians of the pairs, from which asv computes an interval. asv does not keep them. As in
    asv, the value of a combination that failed is None, and NaN if it was not selected."""
    from asv.runner import BenchmarkResult

    combinations = list(itertools.product(*benchmark["params"]))
    values: list[float | None] = [math.nan] * len(combinations)
    samples: list[list[float] | None] = [None] * len(combinations)
    numbers: list[int | None] = [None] * len(combinations)
    selected = set()
    for cell in cells:
        broken = cell.error is not None and cell.error_side in (side, None)
        if not broken and (cell.error is not None or not cell.effects):
            continue  # nothing was measured on this side, so a stored value is kept
        index = combinations.index(tuple(cell.params.values()))
        selected.add(index)
        values[index] = None if broken else cell.median(side)
        if not broken and cell.kind.startswith("time"):
            samples[index], numbers[index] = [getattr(effect, side) for effect in cell.effects], 1
    return selected, BenchmarkResult(values, samples, numbers, 0, "", None)
