"""What pytest collects: modules of a suite, their cells, and what does not import."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from bench_core import texts
from bench_core.compat import add_note
from bench_core.errors import BenchCoreError
from bench_core.pytest_plugin.ids import stable_names
from bench_core.pytest_plugin.limits import CellFailedError, time_limit
from bench_core.pytest_plugin.measuring import by_codspeed, by_pytest_benchmark, exercise, forget
from bench_core.pytest_plugin.warning_filters import warnings_shown
from bench_core.timing.cells import Cell, OpenCell, SkippedError, SuiteDirectory

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

NOTE = "bench-core"
"""The user property of a test that says why it was not timed."""

NO_TIMER = "run once and not timed, since neither pytest-benchmark nor pytest-codspeed is active"
NO_TIME = "run once, since {plugin} measures nothing but times"
OTHER_PROCESS = "run once, since CodSpeed cannot measure the process that runs the text"


class BenchmarkModule(pytest.File):
    """One module of an asv suite."""

    def __init__(self, *, suite: SuiteDirectory, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.suite = suite

    def collect(self) -> Iterator[pytest.Item]:
        own = self.path.resolve()
        try:
            with warnings_shown(self.config):
                broken_parts, cells = self.suite.broken, self.suite.cells  # this imports the suite
        except BenchCoreError as error:
            raise self.CollectError(str(error)) from None
        for broken in broken_parts:
            if _file_of(broken.name, self.suite.path) == own:
                yield BrokenItem.from_parent(self, name=texts.logged(broken.name), error=broken.reason)
        quick = self.config.getoption("quick_profile")
        here = (cell for cell in cells if cell.module.resolve() == own)
        named = stable_names(cell for cell in here if cell.in_quick_profile or not quick)
        if hasattr(self.config, "workerinput"):
            # The workers of pytest-xdist must agree on the order, which each process draws anew for a set.
            named.sort(key=lambda pair: pair[0])
        for name, cell in named:
            yield CellItem.from_parent(self, name=name, cell=cell)


def _file_of(name: str, suite: Path) -> Path | None:
    """The file of a module, or of what a module declares, by its dotted name with the suite's."""
    parts = name.split(".")[1:]
    for length in range(len(parts), -1, -1):
        base = suite.joinpath(*parts[:length])
        for file in (base.with_suffix(".py") if length else base, base / "__init__.py"):
            if file.is_file():
                return file
    return None


class BrokenItem(pytest.Item):
    """An error, for what cannot be collected. Unlike pytest's own collection errors, it lets the other cells run."""

    # With them, neither --benchmark-only nor --codspeed leaves the error out.
    fixturenames = ("benchmark", "codspeed_benchmark")

    def __init__(self, *, error: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def setup(self) -> None:
        pytest.fail(f"{self.name} {self.error}", pytrace=False)

    def runtest(self) -> None:
        """Nothing: `setup` has failed."""

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        return self.path, 0, f"part {self.name}"


class CellItem(pytest.Function):
    """One cell."""

    def __init__(self, *, cell: Cell, **kwargs: Any) -> None:
        self.cell = cell
        plugins = kwargs["parent"].config.pluginmanager
        self._codspeed: Any = plugins.get_plugin("codspeed_plugin")
        codspeed = self._codspeed is not None and self._codspeed.is_codspeed_enabled
        benchmark = plugins.hasplugin("pytest-benchmark")  # False if pytest-codspeed replaces it
        super().__init__(callobj=self._test(codspeed=codspeed, benchmark=benchmark), **kwargs)
        if codspeed or benchmark:
            self.add_marker(pytest.mark.benchmark(group=texts.logged(cell.group)))
        # -k also matches the class, the operation, and the values of the parameters.
        self.extra_keyword_matches.update({cell.operation, *cell.benchmark.split("."), *cell.params.values()})

    def _test(self, *, codspeed: bool, benchmark: bool) -> Callable[..., None]:
        """The test, by the plugins that are active. Its argument is the fixture by which they know what to measure."""
        if codspeed:
            return self._beside_codspeed
        return self._by_pytest_benchmark if benchmark and self.cell.kind in ("time", "timeraw") else self._once

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        # The heading of a failure. If it were the name alone, pytest -v would show the name with :: for each dot.
        return self.path, 0, f"cell {self.name}"

    def runtest(self) -> None:
        try:
            with warnings_shown(self.config):
                super().runtest()
        except CellFailedError as failed:
            raise pytest.fail.Exception(str(failed), pytrace=False) from None

    def _once(self) -> None:
        __tracebackhide__ = True
        with self._tried():
            pass
        timing = self.config.pluginmanager.get_plugin("pytest-benchmark")
        if timing is None:
            self._note(NO_TIMER)
        elif not timing.disabled:
            self._note(NO_TIME.format(plugin="pytest-benchmark"))

    def _by_pytest_benchmark(self, benchmark: BenchmarkFixture) -> None:
        __tracebackhide__ = True
        # Without this, pytest-benchmark warns that the fixture timed nothing.
        benchmark._mode = "tried"
        with self._tried() as (opened, first):
            if benchmark.disabled:
                return  # the operation has been done once, as --benchmark-disable asks
            opened.fresh()
            benchmark._mode = None
            benchmark.extra_info.update({"cell": self.cell.name, **self.cell.params})
            try:
                self._note(by_pytest_benchmark(opened, benchmark, self._limit, first))
            except BaseException:
                forget(benchmark)
                raise
            benchmark._mode = benchmark._mode or "tried"

    def _beside_codspeed(self, codspeed_benchmark: Any) -> None:
        __tracebackhide__ = True
        # pytest-codspeed leaves out what does not ask for its fixture, and measures only what calls it.
        with self._tried() as (opened, _):
            if self.cell.kind == "time":
                opened.fresh()
                by_clock = self._codspeed.mode.value == "walltime"
                self._note(by_codspeed(opened, codspeed_benchmark, self._limit, by_clock=by_clock))
            else:
                raw = self.cell.kind == "timeraw"
                self._note(OTHER_PROCESS if raw else NO_TIME.format(plugin="pytest-codspeed"))

    @property
    def _limit(self) -> float | None:
        """The suite's timeout in seconds. None in a debugger, where a person takes the time."""
        options = self.config.option
        return None if options.usepdb or options.trace else self.cell.timeout

    @contextlib.contextmanager
    def _tried(self) -> Iterator[tuple[OpenCell, float]]:
        """The cell, set up, and checked or called once, and the seconds of that call, see `exercise`."""
        __tracebackhide__ = True
        reason = self.cell.why_not
        if reason:
            self._skip(reason)
        try:
            with contextlib.ExitStack() as stack:
                with time_limit(self._limit):
                    opened = self._opened(stack)
                    first = exercise(opened)
                yield opened, first
        except SkippedError as skipped:
            self._skip(str(skipped))

    def _opened(self, stack: contextlib.ExitStack) -> OpenCell:
        __tracebackhide__ = True
        try:
            return stack.enter_context(self.cell.open())
        except SkippedError:
            raise
        except Exception as error:
            add_note(error, f"The setup of {self.cell.name} failed, so nothing was timed.")
            raise

    def _skip(self, why: str) -> NoReturn:
        reason = texts.logged(why)
        if not {"s", "a", "A"} & set(self.config.option.reportchars):  # with them, pytest prints the reasons
            self._note(f"skipped: {reason}")
        raise pytest.skip.Exception(reason, _use_item_location=True)

    def _note(self, reason: str | None) -> None:
        if reason is not None:
            self.user_properties.append((NOTE, reason))
