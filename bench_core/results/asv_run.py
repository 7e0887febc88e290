"""Stores what was measured in the installed environment as asv's results, through asv itself.

`asv run` builds an environment for every commit, which takes minutes. Here results are named after the installed
versions instead.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from asv import environment
from asv.benchmarks import Benchmarks
from asv.config import Config
from asv.machine import Machine, MachineCollection
from asv.results import Results
from asv.runner import BenchmarkResult
from asv.util import UserError

from bench_core import git
from bench_core.asv_config import WITHOUT_COMMIT, asv_config
from bench_core.compat import chdir
from bench_core.errors import require_writable
from bench_core.records.run import Interval
from bench_core.results.asv_files import drawable, load_into, saved_into
from bench_core.timing.cells import Cell

REPORTED = ("torch", "numpy")
"""Packages whose versions are part of the environment's name in the result files."""


class InstalledEnvironment(environment.ExistingEnvironment):  # type: ignore[misc]
    """asv's environment for the running interpreter, named by versions instead of the interpreter's path."""

    tool_name = "installed"

    @property
    def name(self) -> str:
        found: str = environment.get_env_name(self.tool_name, self.python, self.requirements, self._tagged_env_vars)
        return found

    @property
    def python(self) -> str:
        return python_version()

    @property
    def requirements(self) -> dict[str, str]:
        return versions()


def versions() -> dict[str, str]:
    """The installed versions that results depend on. A suite need not use torch, so it may be missing."""
    found = {}
    for package in REPORTED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def description() -> dict[str, str]:
    """This machine as asv's result files describe it, with the installed versions."""
    return {**Machine.get_defaults(), "python": python_version(), **versions()}


def python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def commit_to_pin(config: Path) -> tuple[str | None, str]:
    """The commit that results belong to: (hash, ""); or (None, reason) without one. Except in asv's own folders,
    documentation and reports, all files must be as in that commit."""
    folder, named = config.resolve().parent, asv_config(config)
    try:
        commit, root = git.commit(folder, "HEAD"), git.top(folder)
    except git.RefusedError as error:
        return None, str(error)
    except (git.GitError, git.MissingError):
        commit, root = None, None
    if root is None or root != (folder / named.repo).resolve():
        return None, "this folder is not a git checkout"
    own = [path.resolve() for path in (named.results, named.environments, named.html)]
    # git refuses a pathspec outside the tree, where asv's folders may lie.
    excluded = [f":(exclude,top,literal){path.relative_to(root)}" for path in own if path.is_relative_to(root)]
    try:
        changed = git.uncommitted(folder, [*excluded, ":(exclude,top)docs", ":(exclude,top,glob)**/*.md"])
    except git.GitError:
        return None, "git cannot list the changes since the last commit"
    if changed:
        shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        return None, f"there are uncommitted changes ({shown})"
    return commit, ""


@dataclass(frozen=True)
class StoredTime:
    """The time of a cell as asv stores it.

    Attributes:
        value: seconds per call, with its 99 % interval.
        samples: seconds per call, one for each round.
        number: calls in a sample.
    """

    value: Interval
    samples: tuple[float, ...]
    number: int


@dataclass(frozen=True)
class StoredValues:
    """What a run has found out, by cell: times, other values, the causes of failures, and the reasons of cells that
    skipped themselves. Nothing is known about a cell in none of them."""

    times: Mapping[str, StoredTime]
    values: Mapping[str, float]
    failed: Mapping[str, str]
    skipped: Mapping[str, str]


class ResultsOfRun:
    """asv's results of one run, in asv's format, and written by asv. Nothing is written before `put`.

    Args:
        config: the ``asv.conf.json``.
        declared: what asv stores about each benchmark of the suite.
        cells: the cells that are measured.
        commit: the hash to store the results under; None to keep them out of the history, beside asv's `env_dir`.
        machine: asv's name for this machine; None for asv's default, the host name.

    Attributes:
        path: the result file.
        machine: asv's name for this machine.
        environment: asv's name of the environment.

    Raises:
        BenchCoreError: if the results folder cannot be written.
    """

    def __init__(
        self,
        config: Path,
        declared: list[dict[str, Any]],
        cells: Sequence[Cell],
        *,
        commit: str | None,
        machine: str | None = None,
    ) -> None:
        self._cells = cells
        self._started = datetime.now(timezone.utc)
        folder = config.resolve().parent
        with chdir(folder), _quiet():  # asv's paths are relative to it
            conf = Config.load(config.name)
            where = Path(conf.results_dir if commit else Path(conf.env_dir).parent)
            conf.results_dir = str(where)
            require_writable(where)
            here = _this_machine(machine)
            env = InstalledEnvironment(conf, "same", {}, {})
            self._benchmarks = Benchmarks(conf, drawable(declared))
            described = {**here.__dict__, "python": env.python, **env.requirements}
            date = 1000 * git.author_date(Path(conf.repo), commit) if commit else 0  # milliseconds, as in asv's files
            self._results = Results(described, env.requirements, commit or "", date, env.python, env.name, env.env_vars)
            if commit:
                load_into(self._results, where)  # a damaged file is refused before anything is timed
            else:
                self._results._filename = WITHOUT_COMMIT
        self._shared = commit is not None
        self._here = here
        self._begun = False
        self._folder = folder / where
        self._conf = conf  # asv's `Benchmarks` saves where it says
        self.path = self._folder / self._results._filename
        self.machine: str = here.machine
        self.environment: str = env.name

    def put(self, measured: StoredValues) -> None:
        """Store what has been measured so far. Earlier results of this run are replaced, those of other cells stay.

        Raises:
            BenchCoreError: if a file cannot be written.
        """
        known = {*measured.times, *measured.values, *measured.failed, *measured.skipped}
        by_benchmark: dict[str, list[Cell]] = {}
        for cell in self._cells:
            if cell.name in known:
                by_benchmark.setdefault(cell.benchmark, []).append(cell)
        if self._shared:  # another run of this commit may have stored its results meanwhile
            load_into(self._results, self._folder)
        for name, cells in by_benchmark.items():
            self._put(self._benchmarks[name], cells, measured)
        with saved_into(self._folder) as folder:
            if not self._begun:
                self._conf.results_dir = folder
                self._benchmarks.save()
                if self._shared:
                    self._here.save(folder)
            self._results.save(folder)
        self._begun = True

    def _put(self, benchmark: Mapping[str, Any], cells: Sequence[Cell], measured: StoredValues) -> None:
        count = math.prod(map(len, benchmark["params"])) if benchmark["params"] else 1
        values: list[float | None] = [math.nan] * count
        samples: list[list[float] | None] = [None] * count
        numbers: list[int | None] = [None] * count
        for cell in cells:
            at = cell.index or 0
            if found := measured.times.get(cell.name):
                values[at], samples[at], numbers[at] = found.value.middle, list(found.samples), found.number
            elif cell.name in measured.failed:
                values[at] = None
            else:
                values[at] = measured.values.get(cell.name, math.nan)
        causes = [f"{cell.name}: {measured.failed[cell.name]}" for cell in cells if cell.name in measured.failed]
        result = BenchmarkResult(values, samples, numbers, int(bool(causes)), "\n".join(causes), None)
        selected = {cell.index or 0 for cell in cells}
        self._results.add_result(
            benchmark, result, started_at=self._started, record_samples=True, selected_idx=selected
        )
        self._correct(benchmark["name"], cells, measured)

    def _correct(self, name: str, cells: Sequence[Cell], measured: StoredValues) -> None:
        """Replace asv's own estimate, the median of the samples, by ours."""
        for cell in cells:
            if found := measured.times.get(cell.name):
                at = cell.index or 0
                self._results._results[name][at] = found.value.middle
                ends = {"ci_99_a": found.value.low, "ci_99_b": found.value.high}
                self._results._stats[name][at].update(ends)


def _this_machine(name: str | None) -> Machine:
    """asv's description of this machine, as edited by `asv machine`, or else from the system. Unlike `asv run`, this
    asks no questions and writes nothing into the home folder."""
    here = Machine()
    named = name or Machine.get_unique_machine_name()
    try:
        here.__dict__.update(MachineCollection.load(named))
    except UserError:
        here.__dict__.update(Machine.get_defaults(), machine=named)
    return here


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep asv from printing, since we show progress and errors."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
