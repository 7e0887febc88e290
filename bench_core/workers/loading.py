"""Imports the suite with the packages of one version, and proves that they are that version's."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import sysconfig
from collections.abc import Collection, Iterable
from importlib.abc import MetaPathFinder
from pathlib import Path

from bench_core.errors import UnknownNameError
from bench_core.timing.cell import TIMEOUT, Cell
from bench_core.timing.cells import SuiteDirectory
from bench_core.workers.isolation import IsolationError, confine, show_repositories
from bench_core.workers.messages import CellTask, PairTask, Source


class VersionError(Exception):
    """An imported module does not belong to the version that was asked for."""


def forget(packages: Collection[str]) -> None:
    """Make later imports load these packages anew. Our own functions keep the modules that they were defined with."""
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


def import_others(names: Iterable[str], packages: Collection[str]) -> None:
    """Import modules that belong to neither version, and nothing of the compared packages.

    A package that imports one of these would be bound to the copy that is installed here, on both sides. So whoever
    loads a version imports such a package.
    """
    forget(set(packages) - {"bench_core"})  # otherwise imports would find the copy that is installed here
    guard = _Guard(packages)
    sys.meta_path.insert(0, guard)
    for name in names:
        # Some modules are created at run time, and cannot be imported here. Workers import and report those.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    sys.meta_path.remove(guard)


class _Guard(MetaPathFinder):
    """Refuses to import the compared packages."""

    def __init__(self, packages: Collection[str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in self._packages:
            raise ImportError(f"{name} is compared, so only workers import it")


def load(source: Source, suite: str, timeout: float = TIMEOUT) -> SuiteDirectory:
    """Prepare to import the suite with this version's packages. `prove` checks afterwards that they were imported. For
    `timeout` see `SuiteDirectory`.

    Raises:
        VersionError: if the process has to be confined, and cannot be.
    """
    if source.confined is not None:
        try:
            show_repositories(Path(source.caches).parent / "repositories")
            confine(source.confined)
        except IsolationError as error:
            raise VersionError(f"the process cannot be confined: {error}") from error
    if source.packages:
        forget({"bench_core", *source.packages})  # bench_core itself may be compared
    sys.path[:0] = source.paths
    if source.paths:  # a `timeraw_` benchmark runs in a process of its own, which finds the version by this
        earlier = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([*source.paths, *([earlier] if earlier else [])])
    importlib.invalidate_caches()
    return SuiteDirectory(Path(suite), caches=Path(source.caches), timeout=timeout)


def prove(source: Source, suite: Path) -> None:
    """Check that the version's modules were imported from its own folders.

    Raises:
        VersionError: if one was imported from elsewhere.
    """
    folders = (*source.paths, str(suite))
    for name in [name for name in list(sys.modules) if name.partition(".")[0] in source.packages]:
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if name in source.packages and file is None and not list(getattr(module, "__path__", [])):
            raise VersionError(f"{name} was made without a file, so nothing tells to which version it belongs")
        if file is None:
            continue
        if not Path(file).is_absolute():  # created at run time and not imported, such as torch.ops
            continue
        if not _is_in(folders, file):
            raise VersionError(
                f"{name} was imported from {Path(file).resolve().parent}, not from this version's own folder"
            )


@functools.cache
def _is_in(folders: tuple[str, ...], file: str) -> bool:
    """Whether a module's file is in one of the folders. A package may copy a module of Python's library, such as
    zipp.compat.overlay.zipfile."""
    resolved = Path(file).resolve()
    return any(Path(folder).resolve() in resolved.parents for folder in folders) or _is_pythons(resolved)


def _is_pythons(file: Path) -> bool:
    """Whether a file belongs to Python's standard library."""
    places = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
    return any(place in file.parents for place in places) and not {"site-packages", "dist-packages"} & set(file.parts)


def find(suite: SuiteDirectory, pair: PairTask) -> dict[str, Cell]:
    """The cells of a pair that can be found, by the names in the task. This imports the suite."""
    known: dict[str, Cell] = {}
    for task in (task for group in pair.groups for task in group.cells):
        with contextlib.suppress(Exception):  # it fails again when its turn comes, and is reported then
            known[task.name] = find_cell(suite, task)
    return known


def find_cell(suite: SuiteDirectory, task: CellTask) -> Cell:
    """The cell of a task: that of its name, or else the one at its position.

    Raises:
        UnknownNameError: if there is none.
    """
    try:
        return suite.find(task.name)
    except UnknownNameError:
        benchmark = task.name.partition("(")[0]
        at = [cell for cell in suite.cells if cell.benchmark == benchmark and cell.index == task.index]
        if task.index is None or not at:
            raise
        return at[0]
