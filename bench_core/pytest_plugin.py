"""The pytest plugin: `pytest benchmarks/` runs the cells of an asv suite through pytest-benchmark.

A folder is an asv suite if an ``asv.conf.json`` in a parent folder names it. Each cell becomes a test. A ``time_*``
cell is set up, checked (if its class has a check) and timed. ``track_*`` and ``peakmem_*`` cells are set up, checked
and run once, since pytest-benchmark measures only times.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench_core import clock
from bench_core.asv_config import asv_config
from bench_core.errors import BenchCoreError
from bench_core.timing.cells import Cell, OpenCell, SkippedError, SuiteDirectory

_SUITES = pytest.StashKey[dict[Path, SuiteDirectory]]()

ONE_SHOT_ROUNDS = 10
"""The number of samples if `repeat` is 0."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bench-core")
    group.addoption("--quick-profile", action="store_true", help="collect only the quick profile of a bench_core suite")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SUITES] = {}


def pytest_unconfigure(config: pytest.Config) -> None:
    for suite in config.stash.get(_SUITES, {}).values():
        suite.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix != ".py":
        return None
    root = _suite_root(file_path, parent.config.rootpath)
    if root is None:
        return None
    suites = parent.config.stash[_SUITES]
    if root not in suites:
        try:
            suites[root] = SuiteDirectory(root)
        except BenchCoreError as error:
            raise pytest.UsageError(str(error)) from error
    module: BenchmarkModule = BenchmarkModule.from_parent(parent, path=file_path, suite=suites[root])
    return module


def _suite_root(file: Path, top: Path) -> Path | None:
    """The asv suite that contains `file`: the `benchmark_dir` of the nearest asv.conf.json above it, or None."""
    for folder in file.parents:
        config = folder / "asv.conf.json"
        if config.is_file():
            try:
                root = asv_config(config).suite.resolve()
            except BenchCoreError as error:
                raise pytest.UsageError(str(error)) from error
            return root if root in file.resolve().parents and (root / "__init__.py").is_file() else None
        if folder == top:
            break
    return None


class BenchmarkModule(pytest.File):
    """One module of an asv suite."""

    def __init__(self, *, suite: SuiteDirectory, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.suite = suite

    def collect(self) -> Iterator[pytest.Item]:
        own = self.path.resolve()
        for broken in self.suite.broken:
            if self._is(broken.name):
                yield BrokenItem.from_parent(self, name=broken.name, error=broken.error)
        quick = self.config.getoption("quick_profile")
        for cell in self.suite.cells:
            if cell.module.resolve() == own and (cell.in_quick_profile or not quick):
                yield CellItem.from_parent(self, name=cell.name, cell=cell)

    def _is(self, module: str) -> bool:
        relative = module.split(".")[1:]
        base = self.suite.path.joinpath(*relative)
        return self.path.resolve() in (base.with_suffix(".py"), base / "__init__.py")


class BrokenItem(pytest.Item):
    """A test that fails, for a module that does not import. Other modules still run."""

    def __init__(self, *, error: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def runtest(self) -> None:
        pytest.fail(f"benchmark module {self.name} does not import: {self.error}", pytrace=False)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        return self.path, 0, self.name


class CellItem(pytest.Function):
    """One cell."""

    def __init__(self, *, cell: Cell, **kwargs: Any) -> None:
        self.cell = cell
        function = self._time if cell.kind == "time" else self._run_once
        super().__init__(callobj=function, **kwargs)
        self.add_marker(pytest.mark.benchmark(group=cell.group))
        # -k also matches the class, the operation, and the values of the parameters.
        self.extra_keyword_matches.update({cell.operation, *cell.benchmark.split("."), *cell.params.values()})

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        return self.path, 0, self.cell.name

    @contextlib.contextmanager
    def _opened(self) -> Iterator[OpenCell]:
        reason = self.cell.why_not
        if reason:
            pytest.skip(reason)
        try:
            with self.cell.open() as opened:
                if opened.check is not None:
                    opened.check()
                yield opened
        except SkippedError as skipped:
            pytest.skip(str(skipped))

    def _run_once(self) -> None:
        with self._opened() as opened:
            if opened.check is None:
                opened.call()

    def _time(self, benchmark: BenchmarkFixture) -> None:
        # Without this, pytest-benchmark warns that the fixture timed nothing, after a failure or a skip.
        benchmark._mode = "set up and checked"
        with self._opened() as opened:
            if opened.check is not None:
                if benchmark.disabled:
                    return  # the check has done the operation once, as --benchmark-disable asks
                opened.fresh()
            benchmark._mode = None
            benchmark._timer = opened.timer  # not earlier, since in asv setup may choose the timer
            benchmark.extra_info.update(cell=self.cell.name, **self.cell.params)
            if opened.number == 0:
                # Rounds as long as asv's samples. In pytest-benchmark's rounds of one call, two readings of the clock
                # are 10 % of a call of 1 us.
                benchmark._min_time = max(benchmark._min_time, float(opened.benchmark.sample_time))
                benchmark(opened.call)
            elif opened.number == 1:
                benchmark.pedantic(opened.call, setup=opened.fresh, rounds=_rounds(opened))
            else:
                opened.call()
                benchmark.pedantic(opened.call, rounds=_rounds(opened), iterations=opened.number)


def _rounds(opened: OpenCell) -> int:
    """The number of samples by asv's `repeat`: a number, or (least, most, seconds), for which one sample is timed."""
    repeat = opened.benchmark.repeat
    if not isinstance(repeat, (tuple, list)):
        return int(repeat) or ONE_SHOT_ROUNDS
    least, most, seconds = repeat
    start = clock.host()
    opened.fresh()
    ready = clock.host()
    opened.call()
    sample = (ready - start) + opened.number * (clock.host() - ready)
    return int(min(most, max(least, seconds / max(sample, 1e-9))))
