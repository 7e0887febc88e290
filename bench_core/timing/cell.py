"""A cell: one benchmark at one combination of its parameters. asv_runner sets it up and tears it down."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asv_runner.benchmarks.mark import SkipNotImplemented

from bench_core.compat import chdir
from bench_core.errors import BenchCoreError, brief, named
from bench_core.timing.discovery import Benchmark, check_of, operation

if TYPE_CHECKING:
    from bench_core.timing.cells import SuiteDirectory

TIMEOUT = 60.0
"""asv's limit for a benchmark in seconds, if neither the benchmark nor the configuration has one."""


class SkippedError(Exception):
    """The cell does not run here. The text is the reason."""


SKIPS = (SkippedError, SkipNotImplemented)
"""What says that a cell does not run here: ours, and asv_runner's, which a benchmark may raise as it runs."""


def why_skipped(skip: Exception) -> str:
    return str(skip) or "skipped by its suite"


@dataclass(frozen=True)
class Cell:
    """One benchmark at one combination of its parameters.

    Attributes:
        name: asv's name, e.g. ``initialization.InPlace.time_initialize(cpu, zeros_, 8x4, float32)``. It is the same in
            every process and tells the cell from all others of the suite: see `bench_core.timing.parameters`.
        benchmark: the name without the parameters.
        kind: ``time``, ``timeraw``, ``memory``, ``peakmemory`` or ``track``.
        index: the position in the product of the parameters; None without parameters. asv itself is handed this
            number. Where two versions of a library print a value differently, it tells which cells belong together.
        params: the values of the parameters by name, as asv prints them.
        values: the values that the methods get.
        module: the file that declares the benchmark.
        owner: the class that declares it, or None for a function.
        skipped: whether the suite skips it, by asv_runner's `skip_params`.
        timeout: the seconds after which asv gives up on it: its own, or else the configuration's.
        title: its `pretty_name`; "" without one.
    """

    name: str
    benchmark: str
    kind: str
    index: int | None
    params: Mapping[str, str]
    values: tuple[Any, ...]
    suite: SuiteDirectory = field(repr=False)
    source: Benchmark = field(repr=False)
    skipped: bool = False
    timeout: float = TIMEOUT

    @property
    def module(self) -> Path:
        return self.source.file

    @property
    def owner(self) -> type | None:
        return self.source.owner

    @property
    def title(self) -> str:
        return str(self.source.declared.pretty_name or "")

    @property
    def device(self) -> str:
        """The value of its parameter `device`; ``cpu`` without one."""
        return self.params.get("device", "cpu").strip("'")

    @property
    def threaded(self) -> bool:
        """Whether its parameter `threads` or `ranks` asks for more than one thread or process."""
        return any(self.params.get(name, "1").strip("'") != "1" for name in ("threads", "ranks"))

    @property
    def operation(self) -> str:
        """See `bench_core.timing.discovery.operation`."""
        return operation(self.benchmark)

    @property
    def group(self) -> str:
        """The name of the cell's table, which has all rivals for its job, or its benchmark at its size."""
        rivals = getattr(self.owner, "rivals", None)
        kept = [name for name in self.params if (name != rivals if rivals else name == "size")]
        return f"{self.benchmark}({', '.join(self.params[name] for name in kept)})" if kept else self.benchmark

    @property
    def in_quick_profile(self) -> bool:
        quick = getattr(self.owner, "quick", {})
        if not isinstance(quick, Mapping):  # None: no cell of the class; anything else is another suite's own attribute
            return quick is not None
        return all(self.params.get(name) in {str(value) for value in values} for name, values in quick.items())

    @property
    def why_not(self) -> str | None:
        """Why the cell cannot run here; None if it can, unless its setup skips it."""
        if self.skipped:
            return "skipped by its suite (skip_for_params)"
        ask = getattr(self.owner, "why_not", None)
        if self.owner is None or not callable(ask):
            return None
        try:
            reason = ask(self.owner(), *self.values)
        except Exception as error:  # noqa: BLE001 - whatever the suite's own function raises
            return f"its why_not fails: {named(error)}"
        return str(reason) if reason else None

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenCell]:
        """Set the cell up as asv does, in the working directory that asv gives it, and tear it down at the end.

        Raises:
            SkippedError: if its setup, or the block, skips it.
        """
        with self.suite.importable():
            benchmark = self._benchmark()
            with self.suite.caches.given_to(benchmark) as folder, chdir(folder):
                try:
                    _set_up(benchmark)
                except SkippedError:
                    benchmark.do_teardown()  # as asv, which tears down what a setup has made before it skipped
                    raise
                try:
                    yield OpenCell(self, benchmark, folder)
                except SkipNotImplemented as skip:
                    raise SkippedError(why_skipped(skip)) from skip
                finally:
                    benchmark.do_teardown()

    def _benchmark(self) -> Any:
        """asv_runner's object with a new instance of the class, at this cell's parameters."""
        benchmark = self.source.make()
        if self.index is not None:
            shown = next(itertools.islice(itertools.product(*benchmark.params), self.index, None), ())
            if shown != tuple(self.params.values()):
                raise BenchCoreError(
                    f"{brief(self.name)} has other parameters each time its class is made. Declare params as a list in "
                    "the class."
                )
            benchmark.set_param_idx(self.index)
        return benchmark

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class OpenCell:
    """A cell that is set up. `folder` is the working directory that asv gives it."""

    cell: Cell
    benchmark: Any
    folder: str = "."

    @property
    def call(self) -> Callable[[], Any]:
        """The timed operation, with its parameters bound as asv binds them."""
        return _bound(self.benchmark.func, self.benchmark._build_params())

    @property
    def timer(self) -> Callable[[], float]:
        timer: Callable[[], float] = self.benchmark.timer
        return timer

    @property
    def number(self) -> int:
        """Calls in a sample: asv's `number`. 1 if each call needs a fresh setup; 0 if the caller may choose."""
        isolated = self.benchmark._setups and self.benchmark._setup_isolates_timed_calls
        return 1 if isolated else int(self.benchmark.number)

    def read(self) -> float | None:
        """The reading of a memory or tracked benchmark; None if it returned None.

        Raises:
            SkippedError: if the reading is NaN, which stands for not available, as in asv.
            TypeError: if the reading is no number.
        """
        found = self.benchmark.run(*self.benchmark._build_params())
        if found is not None and (isinstance(found, bool) or not isinstance(found, (int, float))):
            kind = type(found).__name__
            raise TypeError(f"a tracked value must be a number to be compared, and this one is {kind}")
        if found is not None and math.isnan(found):
            raise SkippedError("its value is not a number (NaN)")
        return None if found is None else float(found)

    def fresh(self) -> None:
        """Tear down and set up again, for the next sample.

        Raises:
            SkippedError: if the setup skips the cell this time.
        """
        self.tear_down()
        self.set_up()

    def tear_down(self) -> None:
        self.benchmark.do_teardown()

    def set_up(self) -> None:
        _set_up(self.benchmark)

    @property
    def check(self) -> Callable[[], object] | None:
        """The benchmark's check, or None if its class has none."""
        check = check_of(self.benchmark)
        return None if check is None else _bound(check, self.benchmark._build_params())


def _bound(function: Callable[..., Any], values: tuple[Any, ...]) -> Callable[[], Any]:
    if not values:
        return function

    def call() -> Any:
        return function(*values)

    return call


def _set_up(benchmark: Any) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # asv_runner prints the reason of a skip
        skipped = benchmark.do_setup()
    if skipped:
        raise SkippedError(_reason(said.getvalue()))
    sys.stdout.write(said.getvalue())


def _reason(said: str) -> str:
    found = re.search(r"asv: skipped: \w+\((['\"])(.*)\1,?\)", said, re.DOTALL)
    return why_skipped(SkippedError(found[2] if found else ""))
