"""Times cells with asv's own runner, in the installed environment, and stores each benchmark as soon as it is timed.

`asv run` instead builds an environment for every commit, which takes minutes, and writes its results only at the end.
Here results are named after the installed versions, and an interrupted run keeps what it has timed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from re import escape
from typing import Any

from asv import environment
from asv.benchmarks import Benchmarks
from asv.config import Config
from asv.machine import Machine, MachineCollection
from asv.results import Results
from asv.runner import run_benchmarks
from asv.util import UserError

from bench_core import git
from bench_core.asv_config import WITHOUT_COMMIT, asv_config
from bench_core.errors import BenchCoreError, require_writable
from bench_core.records.results import Circumstances
from bench_core.results.store import append_circumstances
from bench_core.timing.cells import Cell, SuiteDirectory

REPORTED = ("torch", "numpy")
"""Packages whose versions are part of the environment's name in the result files."""

QUICK: Mapping[str, Any] = {"rounds": 1, "repeat": [5, 100, 0.06], "warmup_time": 0.02}
"""asv's attributes for the quick profile: one round instead of two, and half the samples. Its 215 cells take less than
a minute."""


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
    """The installed versions that results depend on."""
    return {package: importlib.metadata.version(package) for package in REPORTED}


def description() -> dict[str, str]:
    """This machine as asv's result files describe it, with the installed versions."""
    return {**Machine.get_defaults(), "python": python_version(), **versions()}


def python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Outcome:
    """A run that has ended.

    Attributes:
        path: the result file.
        commit: the hash that the results are stored under, or None.
        timed: the number of cells that were timed.
        failed: the output of each benchmark that failed, by name.
        interrupted: whether Ctrl-C ended the run.
    """

    path: Path
    commit: str | None
    timed: int
    failed: Mapping[str, str]
    interrupted: bool


Progress = Callable[[str, float], None]
"""Called after each benchmark, in each round, with its name and its share of the whole run."""


def commit_to_pin(config: Path) -> tuple[str | None, str]:
    """The commit that results belong to: (hash, ""); or (None, reason) without one. Except in asv's own folders,
    documentation and reports, all files must be as in that commit."""
    folder, named = config.resolve().parent, asv_config(config)
    try:
        commit, root = git.commit(folder, "HEAD"), git.top(folder)
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


def run(
    config: Path,
    suite: SuiteDirectory,
    cells: Sequence[Cell],
    *,
    commit: str | None,
    machine: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    circumstances: Circumstances | None = None,
    progress: Progress = lambda name, share: None,
) -> Outcome:
    """Time `cells` through asv.

    Args:
        config: the ``asv.conf.json``.
        suite: the suite that the cells belong to.
        commit: the hash to store the results under; None to keep them out of the history, beside asv's `env_dir`.
        machine: asv's name for this machine; None for asv's default, the host name.
        attributes: overrides of the benchmarks' attributes, as with `asv run --attribute`.
        circumstances: the state of the machine, to be stored beside its results; None to store nothing.
        progress: see `Progress`.

    Raises:
        BenchCoreError: if the results folder cannot be written, or nothing was timed before Ctrl-C.
    """
    folder = config.resolve().parent
    with contextlib.chdir(folder), _quiet():  # asv's paths are relative to it
        conf = Config.load(config.name)
        where = Path(conf.results_dir if commit else Path(conf.env_dir).parent)
        conf.results_dir = str(where)
        require_writable(where)
        here = _this_machine(machine)
        env = InstalledEnvironment(conf, "same", {}, {})
        benchmarks = Benchmarks(conf, suite.declared, regex=_exactly(cells))
        described = {**here.__dict__, "python": env.python, **env.requirements}
        date = 1000 * git.author_date(Path(conf.repo), commit) if commit else 0  # milliseconds, as in asv's files
        results = StoredAtOnce(described, env.requirements, commit or "", date, env.python, env.name, env.env_vars)
        results.announce = _announcer(benchmarks, cells, attributes or {}, progress)
        results.folder = where
        if commit:
            here.save(conf.results_dir)
            results.load_data(conf.results_dir)
        else:
            results._filename = WITHOUT_COMMIT
        benchmarks.save()
        interrupted = _timed(benchmarks, env, results, attributes or {})
        if interrupted and not results.errcode:  # asv stores one for each benchmark of this run
            raise BenchCoreError("interrupted before anything was timed; nothing is stored.")
        if circumstances is not None:
            append_circumstances(where / here.machine, circumstances)
        return Outcome(
            path=folder / where / results._filename,
            commit=commit,
            timed=sum(value is not None and not math.isnan(value) for value in _values(results, benchmarks)),
            failed={name: results.stderr.get(name) or "" for name, code in results.errcode.items() if code},
            interrupted=interrupted,
        )


def _timed(
    benchmarks: Benchmarks, env: InstalledEnvironment, results: StoredAtOnce, attributes: Mapping[str, Any]
) -> bool:
    """Let asv time the benchmarks. Returns whether Ctrl-C ended it. Raises BenchCoreError if asv gives up."""
    try:
        run_benchmarks(
            benchmarks,
            env,
            results=results,
            extra_params=dict(attributes),
            record_samples=True,
            launch_method="forkserver" if hasattr(os, "fork") else "spawn",
        )
    except KeyboardInterrupt:
        return True
    except UserError as error:
        if "Interrupted" not in str(error):  # asv's error after Ctrl-C while a worker runs
            raise BenchCoreError(f"asv: {error}") from error
        return True
    return False


class StoredAtOnce(Results):  # type: ignore[misc]
    """asv's results, written after every benchmark.

    Attributes:
        folder: asv's results folder.
        announce: called with the name of each benchmark once it is stored.
    """

    folder: Path
    announce: Callable[[str], None]

    def add_result(self, benchmark: Mapping[str, Any], result: Any, *rest: Any, **named: Any) -> None:
        super().add_result(benchmark, result, *rest, **named)
        self.save(str(self.folder))
        self.announce(benchmark["name"])


def _announcer(
    benchmarks: Benchmarks, cells: Iterable[Cell], attributes: Mapping[str, Any], progress: Progress
) -> Callable[[str], None]:
    """A function that calls `progress` with a benchmark and its share of the run, by the number of its cells."""
    wanted = Counter(cell.benchmark for cell in cells)
    rounds = {name: int(attributes.get("rounds", benchmark.get("rounds", 1))) for name, benchmark in benchmarks.items()}
    everything = sum(wanted[name] * rounds[name] for name in benchmarks)
    return lambda name: progress(name, wanted[name] / everything)


def _exactly(cells: Iterable[Cell]) -> str:
    """One pattern for all cells. asv searches every pattern in every name, which took 50 s with 900 patterns."""
    return f"^(?:{'|'.join(escape(cell.name) for cell in cells)})$"


def _values(results: Results, benchmarks: Benchmarks) -> Iterator[Any]:
    """The value of each selected cell: None if it failed, NaN if it skipped itself."""
    for name in set(results.get_all_result_keys()) & set(results.errcode):
        found = results.get_result_value(name, benchmarks[name]["params"])
        selected = benchmarks.benchmark_selection.get(name)
        yield from (found[index] for index in (range(len(found)) if selected is None else selected))


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
