"""The pytest plugin: `pytest benchmarks/` runs the cells of an asv suite through pytest-benchmark or pytest-codspeed.

A folder is an asv suite if an ``asv.conf.json`` in a parent folder names it. Each cell becomes a test. A cell is set up
and checked (or called once, if its class has no check), and then timed if the plugin that times can time it.
"""

from __future__ import annotations

import contextlib
import linecache
import warnings
from collections import defaultdict
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench_core import texts
from bench_core.asv_config import asv_config, found_in
from bench_core.errors import BenchCoreError, brief
from bench_core.platforms import refusal
from bench_core.pytest_plugin.items import NOTE, BenchmarkModule, BrokenItem, CellItem
from bench_core.timing.cells import SuiteDirectory
from bench_core.units import plural

SHOWN = 3
"""The most cells that a line of the summary names."""


class _Suites:
    """The suites of a session, by folder, and the folder that each configuration names."""

    def __init__(self) -> None:
        self._roots: dict[Path, Path] = {}
        self._suites: dict[Path, SuiteDirectory] = {}

    def of(self, file: Path) -> SuiteDirectory | None:
        """The suite that contains `file`: the `benchmark_dir` of the nearest configuration above it, or None.

        Raises:
            BenchCoreError: if that configuration cannot be read, or is one of two in its folder, or on a system that is
                not supported. There, other tests still run.
        """
        config = next(filter(None, map(found_in, file.parents)), None)
        if config is None:
            return None
        if config not in self._roots:
            self._roots[config] = asv_config(config).suite.resolve()
        root = self._roots[config]
        if root not in file.resolve().parents or not (root / "__init__.py").is_file():
            return None
        if said := refusal():
            raise BenchCoreError(said)
        if root not in self._suites:
            self._suites[root] = SuiteDirectory.configured(config)
        return self._suites[root]

    def package(self, folder: Path) -> bool:
        """Whether `folder` is a package inside a suite. Raises BenchCoreError as `of` does."""
        init = folder / "__init__.py"
        suite = self.of(init) if init.is_file() else None
        return suite is not None and suite.path in folder.resolve().parents

    def said(self) -> list[str]:
        """How this environment differs from those of the configurations, and what has no cells, a line each."""
        lines = [note for suite in self._suites.values() for note in suite.notes]
        for suite in self._suites.values():
            with contextlib.suppress(BenchCoreError):  # an error of its modules
                lines += [f"left out: {brief(one.source)}: {one.reason}" for one in suite.left_out]
        return lines

    def close(self) -> None:
        for suite in self._suites.values():
            suite.close()


_SUITES = pytest.StashKey[_Suites]()

_SAID = pytest.StashKey[dict[str, None]]()
"""What the workers of pytest-xdist have said of their suites."""

SENT = "bench-core"
"""The key of what a worker of pytest-xdist says."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bench-core")
    group.addoption("--quick-profile", action="store_true", help="collect only the quick profile of a bench_core suite")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SUITES] = _Suites()
    config.stash[_SAID] = {}


def pytest_unconfigure(config: pytest.Config) -> None:
    if _SUITES in config.stash:
        config.stash[_SUITES].close()


@pytest.hookimpl(tryfirst=True)
def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect a package of a suite that has one of the names that pytest leaves out, such as ``build`` or ``dist``."""
    if not any(collection_path.match(pattern) for pattern in config.getini("norecursedirs")):
        return None
    try:
        return False if config.stash[_SUITES].package(collection_path) else None
    except BenchCoreError:
        return None  # an error if pytest collects the folder


@pytest.hookimpl(tryfirst=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix != ".py":
        return None
    try:
        suite = parent.config.stash[_SUITES].of(file_path)
    except BenchCoreError as error:
        raise pytest.Collector.CollectError(texts.lines(str(error))) from None
    if suite is None:
        return None
    place = file_path.relative_to(root) if file_path.is_relative_to(root := parent.config.rootpath) else file_path
    shown = texts.line(place.as_posix())
    named: dict[str, Any] = {} if shown == place.as_posix() else {"nodeid": shown}  # pytest prints it as it is
    module: BenchmarkModule = BenchmarkModule.from_parent(parent, path=file_path, suite=suite, **named)
    return module


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the failure of a cell, and what it has printed, as text, whatever a suite says."""
    report = yield
    if isinstance(item, CellItem | BrokenItem):
        report.sections = [(title, texts.lines(said)) for title, said in report.sections]
        if report.failed and (shown := texts.lines(said := str(report.longrepr))) != said:
            report.longrepr = shown  # without pytest's colours
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_warning_recorded(warning_message: warnings.WarningMessage) -> None:
    """Show a warning, and the line of code that it quotes, as text."""
    said = str(warning_message.message)
    if (shown := texts.lines(said)) != said:
        warning_message.message = UserWarning(shown)
    quoted = linecache.getline(warning_message.filename, warning_message.lineno).strip()
    if (shown := texts.lines(quoted)) != quoted:
        warning_message.line = shown


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker of pytest-xdist, send what there is to say of the suites to the process that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[SENT] = session.config.stash[_SUITES].said()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    found = getattr(node, "workeroutput", {}).get(SENT, ())  # a worker that has crashed has no output
    node.config.stash[_SAID].update(dict.fromkeys(found))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how the environment differs from those of the configuration, what has no cells, and which cells were not
    timed and why, one line for each reason."""
    cells = _by_reason(terminalreporter.stats)
    said = dict.fromkeys([*config.stash[_SUITES].said(), *config.stash[_SAID]])
    if cells or said:
        terminalreporter.section("bench-core")
    for line in said:
        terminalreporter.line(texts.logged(line))
    for reason, names in cells.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        why = texts.logged(reason)
        terminalreporter.line(f"{plural(len(names), 'cell')} {why} ({', '.join(map(brief, names[:SHOWN]))}{more})")


def _by_reason(stats: Mapping[str, list[object]]) -> dict[str, list[str]]:
    """The names of the cells with a note, by the note. Notes are user properties, which pytest-xdist passes on."""
    found: dict[str, list[str]] = defaultdict(list)
    for report in (report for reports in stats.values() for report in reports):
        if isinstance(report, pytest.TestReport) and report.when == "call":
            for key, reason in report.user_properties:
                if key == NOTE:
                    found[str(reason)].append(report.nodeid.split("::", 1)[-1])
    return found
