"""The cells of an asv suite. asv_runner finds and runs them, so they are asv's cells.

A suite is a package of benchmark modules (asv's ``benchmark_dir``). A cell is one benchmark at one combination of its
parameters. `Cell.open` sets it up and tears it down.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import inspect
import io
import itertools
import json
import pickle
import pkgutil
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asv_runner.benchmarks.mark import SkipNotImplemented
from asv_runner.discovery import disc_benchmarks, get_benchmark_from_name

from bench_core.errors import BenchCoreError, NothingSelectedError, UnknownNameError
from bench_core.timing.apart import in_own_process

TIMEOUT = 60.0
"""asv's limit for a benchmark in seconds, if neither the benchmark nor the configuration has one."""


class SkippedError(Exception):
    """The cell does not run here. The text is the reason."""


@dataclass(frozen=True)
class BrokenModule:
    """A benchmark module that does not import."""

    name: str
    error: str


@dataclass(frozen=True)
class Cell:
    """One benchmark at one combination of its parameters.

    Attributes:
        name: asv's name, e.g. ``initialization.InPlace.time_initialize(cpu, zeros_, 8x4, float32)``.
        benchmark: the name without the parameters.
        kind: ``time``, ``timeraw``, ``memory``, ``peakmemory`` or ``track``.
        index: the position in the product of the parameters; None without parameters.
        params: the values of the parameters by name, as asv prints them.
        values: the values that the methods get.
        module: the file that declares the benchmark.
        owner: the class that declares it, or None for a function.
        skipped: whether the suite skips it, by asv_runner's `skip_params`.
        timeout: the seconds after which asv gives up on it: its own, or else the configuration's.
    """

    name: str
    benchmark: str
    kind: str
    index: int | None
    params: Mapping[str, str]
    values: tuple[Any, ...]
    suite: SuiteDirectory = field(repr=False)
    module: Path
    owner: type | None
    skipped: bool = False
    timeout: float = TIMEOUT

    @property
    def operation(self) -> str:
        """The benchmark's own name, without the prefix: ``initialize`` for ``time_initialize``."""
        return self.benchmark.rsplit(".", 1)[-1].partition("_")[2]

    @property
    def group(self) -> str:
        """The name of the cell's table, which has all rivals for its job, or its benchmark at its size."""
        rivals = getattr(self.owner, "rivals", None)
        kept = [name for name in self.params if (name != rivals if rivals else name == "size")]
        return f"{self.benchmark}({', '.join(self.params[name] for name in kept)})" if kept else self.benchmark

    @property
    def in_quick_profile(self) -> bool:
        quick = getattr(self.owner, "quick", {})
        return quick is not None and all(
            self.params.get(name) in {str(value) for value in values} for name, values in quick.items()
        )

    @property
    def why_not(self) -> str | None:
        """Why the cell cannot run here; None if it can, unless its setup skips it."""
        if self.skipped:
            return "skipped by its suite (skip_for_params)"
        ask = getattr(self.owner, "why_not", None)
        return None if ask is None or self.owner is None else ask(self.owner(), *self.values)

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenCell]:
        """Set the cell up as asv does, in the working directory that asv gives it, and tear it down at the end.

        Raises:
            SkippedError: if its setup, or the block, skips it.
        """
        with self.suite.importable():
            benchmark = self._benchmark()
            with self.suite.cache_for(benchmark) as folder, contextlib.chdir(folder):
                _set_up(benchmark)
                try:
                    yield OpenCell(self, benchmark, folder)
                except SkipNotImplemented as skip:  # asv_runner's way to skip from inside the benchmark
                    raise SkippedError(str(skip)) from skip
                finally:
                    benchmark.do_teardown()

    def _benchmark(self) -> Any:
        suffix = "" if self.index is None else f"-{self.index}"
        return get_benchmark_from_name(str(self.suite.path), self.benchmark + suffix)

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
        owner = getattr(self.benchmark.func, "__self__", None)
        check = getattr(owner, f"check_{self.cell.operation}", None)
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
    return found[2] if found else "skipped by its suite"


class SuiteDirectory:
    """A folder of asv benchmarks. It is imported when its cells are first asked for.

    Args:
        path: asv's ``benchmark_dir``.
        caches: a folder for the values of `setup_cache`, which other processes with the same suite share; None for a
            temporary folder.
        timeout: seconds for benchmarks without a `timeout` of their own.

    Attributes:
        cells: every cell, in asv's order.
        broken: the modules that do not import. The cells of the others are still found.
        declared: what asv stores about each benchmark in ``benchmarks.json``.

    Raises:
        BenchCoreError: if the folder does not exist or is not a package, or (when it is imported) if a package of the
            same name is already loaded from another folder.
    """

    def __init__(self, path: Path, caches: Path | None = None, timeout: float = TIMEOUT) -> None:
        self.timeout = timeout
        self.path = path.resolve()
        self._shared = caches
        if not (self.path / "__init__.py").is_file():
            raise BenchCoreError(f"{path} is no benchmark suite: asv needs a folder with an __init__.py.")
        self._caches: dict[str, tempfile.TemporaryDirectory[str]] = {}
        self._by_name: dict[str, dict[str, Cell]] = {}  # for each benchmark that `find` has looked up

    @functools.cached_property
    def broken(self) -> tuple[BrokenModule, ...]:
        with self.importable():
            return tuple(self._broken_modules())

    @functools.cached_property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(cell for benchmark in self._benchmarks for cell in self._cells(benchmark))

    @functools.cached_property
    def declared(self) -> list[dict[str, Any]]:
        return [_declaration(benchmark) for benchmark in self._benchmarks]

    @functools.cached_property
    def _benchmarks(self) -> list[Any]:
        _ = self.broken  # imports each module separately, and finds those that do not import
        with self.importable(), contextlib.redirect_stderr(io.StringIO()):  # asv_runner prints their tracebacks
            return list(disc_benchmarks(str(self.path), ignore_import_errors=True))

    def find(self, name: str) -> Cell:
        """The cell of that name. Only the module that declares it is imported.

        Raises:
            UnknownNameError: if there is no such cell.
        """
        benchmark = name.partition("(")[0]
        if benchmark not in self._by_name:
            with self.importable():
                try:
                    found = get_benchmark_from_name(str(self.path), benchmark)
                except ValueError as error:  # asv_runner knows no such benchmark
                    raise UnknownNameError("cell", name, {cell.name for cell in self.cells}) from error
            self._by_name[benchmark] = {cell.name: cell for cell in self._cells(found)}
        if name not in self._by_name[benchmark]:
            raise UnknownNameError("cell", name, {cell.name for cell in self.cells})
        return self._by_name[benchmark][name]

    def select(
        self, pattern: str | None = None, *, quick: bool = False, params: Mapping[str, str] | None = None
    ) -> tuple[Cell, ...]:
        """The cells whose name matches the regular expression `pattern`, as `asv run --bench` selects them.

        Args:
            quick: only the cells of the quick profile.
            params: the values that parameters must have, by name. A cell without such a parameter is left out.

        Raises:
            NothingSelectedError: if no name matches, with the near misses.
            UnknownNameError: if no cell has such a parameter or value, with the near misses.
            BenchCoreError: if `pattern` is not a regular expression, or no such cell is in the quick profile.
        """
        try:
            found = re.compile(pattern or "")
        except re.error as error:
            raise BenchCoreError(f"{pattern!r} is not a regular expression: {error}.") from error
        cells = tuple(cell for cell in self.cells if found.search(cell.name) or cell.name == pattern)
        if not cells:
            raise NothingSelectedError(pattern or "", {cell.name for cell in self.cells})
        for name, value in (params or {}).items():
            if name not in {known for cell in cells for known in cell.params}:
                raise UnknownNameError("parameter", name, {known for cell in cells for known in cell.params})
            known_values = {cell.params[name].strip("'") for cell in cells if name in cell.params}
            if value not in known_values:
                raise UnknownNameError(name, value, known_values)
            cells = tuple(cell for cell in cells if cell.params.get(name, "").strip("'") == value)
        kept = tuple(cell for cell in cells if cell.in_quick_profile) if quick else cells
        if not kept:
            raise BenchCoreError(
                f"{len(cells)} cells match, none of them in the quick profile. Use --full for all cells."
            )
        return kept

    @contextlib.contextmanager
    def importable(self) -> Iterator[None]:
        """Inside the block, import the suite's package from its folder, even if the path has another one."""
        before = list(sys.meta_path)
        from asv_runner._aux import update_sys_path

        update_sys_path(str(self.path))
        try:
            yield
        finally:
            sys.meta_path[:] = before

    @contextlib.contextmanager
    def cache_for(self, benchmark: Any) -> Iterator[str]:
        """Give the benchmark the value of its `setup_cache`, and yield the working directory that asv gives it.
        `setup_cache` runs once for the suite. As in asv, every cell unpickles a copy of its value."""
        key = benchmark.setup_cache_key
        if key is None:
            benchmark.set_cache(None)
            with tempfile.TemporaryDirectory(prefix="bench-core-") as folder:
                yield folder
            return
        own = self._folder_of(key, benchmark)
        with (own / "cache.pickle").open("rb") as file:  # as in asv: not read whole, which takes the memory twice
            benchmark.set_cache(pickle.load(file))
        yield str(own)

    def _folder_of(self, key: str, benchmark: Any) -> Path:
        """This process's own folder, where its benchmarks may write."""
        if key not in self._caches:
            made: tempfile.TemporaryDirectory[str] = tempfile.TemporaryDirectory(prefix="bench-core-")
            if self._shared is None:
                _fill(Path(made.name), benchmark)
            else:
                shutil.copytree(self._shared_folder_of(key, benchmark), made.name, dirs_exist_ok=True)
            self._caches[key] = made
        return Path(self._caches[key].name)

    def _shared_folder_of(self, key: str, benchmark: Any) -> Path:
        assert self._shared is not None
        folder = self._shared / hashlib.sha256(key.encode()).hexdigest()[:16]
        if not folder.exists():  # made under another name first, since another process may be doing the same
            self._shared.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(dir=self._shared))
            # Otherwise the memory that this takes would be in the peak of the benchmark that comes first.
            if not in_own_process(lambda: _fill(made, benchmark)):
                _fill(made, benchmark)  # whatever has failed is raised here
            with contextlib.suppress(OSError):  # another process was first; its folder is the same
                made.rename(folder)
        return folder

    def close(self) -> None:
        """Remove the folders of `setup_cache`."""
        for folder in self._caches.values():
            folder.cleanup()
        self._caches.clear()

    def _module_names(self) -> Iterator[str]:
        def below(folder: Path, prefix: str) -> Iterator[str]:
            for module in pkgutil.iter_modules([str(folder)], prefix):
                yield module.name
                if module.ispkg:
                    yield from below(folder / module.name.rsplit(".", 1)[-1], f"{module.name}.")

        yield self.path.name
        yield from below(self.path, f"{self.path.name}.")

    def _broken_modules(self) -> Iterator[BrokenModule]:
        for name in self._module_names():
            try:
                module = importlib.import_module(name)
            except BenchCoreError:
                raise
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                yield BrokenModule(name, f"{type(error).__name__}: {error}")
                continue
            source = Path(module.__file__ or "").resolve()
            if self.path not in source.parents:
                raise BenchCoreError(
                    f"the suite {self.path} is imported as {self.path.name!r}, but a package of that name is already "
                    f"loaded from {source.parent}. Run the two suites one after the other."
                )

    def _cells(self, benchmark: Any) -> Iterator[Cell]:
        function, module = benchmark.func, benchmark._attr_sources[-1]
        owner = type(function.__self__) if inspect.ismethod(function) else None
        raw = function.__name__.startswith(
            "timeraw_"
        )  # their type in asv is "time", but another process runs their text
        base = (benchmark.name, "timeraw" if raw else benchmark.type)
        file = Path(module.__file__)
        timeout = self.timeout if benchmark.timeout is None else float(benchmark.timeout)
        if not benchmark.params:
            yield Cell(benchmark.name, *base, None, {}, (), self, file, owner, False, timeout)
            return
        printed = itertools.product(*benchmark.params)
        real = itertools.product(*benchmark._params)
        for index, (shown, values) in enumerate(zip(printed, real, strict=True)):
            name = f"{benchmark.name}({', '.join(shown)})"
            params = dict(zip(benchmark.param_names, shown, strict=True))
            skipped = values in benchmark._skip_tuples
            yield Cell(name, *base, index, params, values, self, file, owner, skipped, timeout)


def _fill(folder: Path, benchmark: Any) -> None:
    with contextlib.chdir(folder):
        (folder / "cache.pickle").write_bytes(pickle.dumps(benchmark.do_setup_cache()))


def _declaration(benchmark: Any) -> dict[str, Any]:
    """The same as from `asv_runner.discovery.list_benchmarks`, which fails if a single module does not import; and the
    rivals that the class names."""
    kept = {
        name: value
        for name, value in vars(benchmark).items()
        if isinstance(value, (str, int, float, list, dict, bool)) and not name.startswith("_")
    }
    rivals = getattr(getattr(benchmark.func, "__self__", None), "rivals", None)
    if isinstance(rivals, str):
        kept.setdefault("rivals", rivals)
    declaration: dict[str, Any] = json.loads(json.dumps(kept, skipkeys=True))
    return declaration
