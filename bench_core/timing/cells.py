"""The cells of an asv suite. asv_runner finds and runs them, so they are asv's cells.

A suite is a package of benchmark modules (asv's ``benchmark_dir``).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from asv_runner._aux import update_sys_path
from asv_runner.benchmarks.timeraw import TimerawBenchmark
from asv_runner.benchmarks.track import TrackBenchmark

from bench_core import texts
from bench_core.asv_config import asv_config, enter, naming
from bench_core.errors import BenchCoreError, NothingSelectedError, UnknownNameError, advised, brief, named
from bench_core.records.run import LeftOut
from bench_core.timing import discovery
from bench_core.timing.caches import SetupCaches
from bench_core.timing.cell import TIMEOUT, Cell, OpenCell, SkippedError
from bench_core.timing.discovery import Benchmark, Broken

__all__ = ["Broken", "Cell", "OpenCell", "SkippedError", "SuiteDirectory"]


class SuiteDirectory:
    """A folder of asv benchmarks. It is imported when its cells are first asked for.

    Args:
        path: asv's ``benchmark_dir``.
        caches: a folder for the values of `setup_cache`, which other processes with the same suite share; None for a
            temporary folder.
        timeout: seconds for benchmarks without a `timeout` of their own.

    Attributes:
        cells: every cell, in asv's order.
        broken: what cannot be used. Everything else is still found.
        left_out: what has no cells, although asv does not object to it.
        declared: what asv stores about each benchmark in ``benchmarks.json``.
        caches: the values of `setup_cache`.
        config: the configuration that names the suite, or None.
        notes: sentences on how this environment differs from those of the configuration.
        explain: what the configuration says about an error (`AsvConfig.explain`).

    Raises:
        BenchCoreError: if the folder does not exist or is not a package, or (when it is imported) if a package of the
            same name is already loaded from another folder.
    """

    def __init__(self, path: Path, caches: Path | None = None, timeout: float = TIMEOUT) -> None:
        self.path = path.resolve()
        if not (self.path / "__init__.py").is_file():
            raise BenchCoreError(f"{path} is no benchmark suite: asv needs a folder with an __init__.py.")
        self.caches = SetupCaches(caches)
        self.timeout = timeout
        self.config: Path | None = None
        self.notes: tuple[str, ...] = ()
        self.explain: Callable[[str], str] = lambda error: ""
        self._by_benchmark: dict[str, dict[str, Cell]] = {}  # for each benchmark that `find` has looked up

    @classmethod
    def configured(cls, config: Path) -> SuiteDirectory:
        """The suite that an asv configuration names, in the environment that it asks for: its variables are set in this
        process.

        Raises:
            BenchCoreError: as `asv_config` and the constructor.
        """
        settings = asv_config(config)
        suite = cls(settings.suite, timeout=settings.timeout)
        suite.config, suite.notes = config, enter(settings)
        suite.explain = settings.explain
        return suite

    @property
    def broken(self) -> tuple[Broken, ...]:
        return tuple(found for found in self._found if isinstance(found, Broken))

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        return tuple(found for found in self._found if isinstance(found, LeftOut))

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(found for found in self._found if isinstance(found, Cell))

    @property
    def has_profiles(self) -> bool:
        """Whether the quick profile leaves out any cell."""
        return not all(cell.in_quick_profile for cell in self.cells)

    @functools.cached_property
    def declared(self) -> list[dict[str, Any]]:
        sources = {cell.benchmark: cell.source.declared for cell in self.cells}
        return [_declaration(benchmark) for benchmark in sources.values()]

    @functools.cached_property
    def modules(self) -> tuple[ModuleType | Broken, ...]:
        """The modules of the suite. This imports them."""
        with self.importable():
            found = tuple(discovery.modules(self.path.name))
        self._require_own(found[0])
        return tuple(self._explained(one) if isinstance(one, Broken) else one for one in found)

    @functools.cached_property
    def _found(self) -> tuple[Cell | Broken | LeftOut, ...]:
        with self.importable():
            found = [one for module in self.modules for one in self._in(module)]
        rest = [one for one in found if not isinstance(one, Benchmark)]
        broken = [one for one in rest if isinstance(one, Broken)]
        benchmarks = list(discovery.distinct([one for one in found if isinstance(one, Benchmark)], broken))
        cells = [cell for one in benchmarks for cell in (self._cells(one) if isinstance(one, Benchmark) else (one,))]
        return (*rest, *cells)

    def _in(self, module: ModuleType | Broken) -> Iterator[Benchmark | Broken | LeftOut]:
        if isinstance(module, Broken):
            yield module
            return
        for one in discovery.benchmarks(module):
            yield self._explained(one) if isinstance(one, Broken) else one

    def _explained(self, broken: Broken) -> Broken:
        return replace(broken, error=advised(broken.error, self.explain(broken.error)))

    def find(self, name: str) -> Cell:
        """The cell of that name. Only the module that declares it is imported.

        Raises:
            UnknownNameError: if there is no such cell.
            BenchCoreError: if what declares it cannot be used.
        """
        benchmark = name.partition("(")[0]
        if benchmark not in self._by_benchmark:
            found = self._of_module(benchmark)
            cells = self.cells if found is None else [cell for cell in self._cells(found) if isinstance(cell, Cell)]
            self._by_benchmark[benchmark] = {cell.name: cell for cell in cells if cell.benchmark == benchmark}
        if name not in self._by_benchmark[benchmark]:
            for broken in self.broken:
                if broken.declares(benchmark):
                    raise BenchCoreError(f"{broken.name} {broken.reason}")
            raise UnknownNameError("cell", name, {cell.name for cell in self.cells})
        return self._by_benchmark[benchmark][name]

    def _of_module(self, name: str) -> Benchmark | None:
        """The benchmark of this name, if it is where its name says."""
        parts = name.split(".")
        for depth in (1, 2):  # a function, or a method
            if not self.path.joinpath(*parts[:-depth]).with_suffix(".py").is_file() or len(parts) <= depth:
                continue
            with self.importable():
                module = next(discovery.modules(".".join((self.path.name, *parts[:-depth]))))
                found = self._in(module)
                usable = (one for one in found if isinstance(one, Benchmark) and not one.fault)
                return next((one for one in usable if one.place_name == one.name == name), None)
        return None

    def select(
        self, pattern: str | None = None, *, quick: bool = False, params: Mapping[str, str] | None = None
    ) -> tuple[Cell, ...]:
        """The cells whose name matches the regular expression `pattern`, as `asv run --bench` selects them. A full name
        or its `brief` form selects its cell.

        Args:
            quick: only the cells of the quick profile.
            params: the values that parameters must have, by name. A cell without such a parameter is left out.

        Raises:
            NothingSelectedError: if no name matches, with the near misses.
            UnknownNameError: if no cell has such a parameter or value, with the near misses.
            BenchCoreError: if the suite has no cells, `pattern` is not a regular expression, or no such cell is in the
                quick profile.
        """
        if not self.cells:
            raise BenchCoreError(self._why_empty())
        cells = self._matching(pattern or "")
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

    def _matching(self, pattern: str) -> tuple[Cell, ...]:
        named = tuple(cell for cell in self.cells if pattern and pattern in _printed(cell.name))
        try:
            found = re.compile(pattern)
        except re.error as error:
            if named:
                return named
            raise BenchCoreError(f"{brief(pattern)!r} is not a regular expression: {error}.") from error
        exact = {cell.name for cell in named}
        cells = tuple(cell for cell in self.cells if cell.name in exact or found.search(cell.name))
        if not cells:
            hint = self.config if self.config and naming(self.config) else None
            raise NothingSelectedError(pattern, {cell.name for cell in self.cells}, hint)
        return cells

    def _why_empty(self) -> str:
        reasons = [f"{one.name} {one.reason}" for one in self.broken]
        reasons += [f"{one.source}: {one.reason}" for one in self.left_out]
        if not reasons:
            return f"the suite {self.path} has no cells: no function or method in it has a name such as time_..."
        several = "" if len(reasons) == 1 else f"{len(reasons)} parts of it are left out, such as the first. "
        return f"the suite {self.path} has no cells. {several}{reasons[0]}."

    @contextlib.contextmanager
    def importable(self) -> Iterator[None]:
        """Inside the block, import the suite's package from its folder, even if the path has another one. What the
        suite itself adds to the finders stays: without that of importlib_metadata no distribution is found."""
        before = list(sys.meta_path)
        update_sys_path(str(self.path))
        added = [finder for finder in sys.meta_path if finder not in before]
        try:
            yield
        finally:
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in added]

    def close(self) -> None:
        """Remove the folders of `setup_cache`."""
        self.caches.close()

    def _require_own(self, package: ModuleType | Broken) -> None:
        source = self.path if isinstance(package, Broken) else Path(package.__file__ or "").parent.resolve()
        if source != self.path:
            raise BenchCoreError(
                f"the suite {self.path} is imported as {self.path.name!r}, but a package of that name is already "
                f"loaded from {source}. Run the two suites one after the other."
            )

    def _cells(self, source: Benchmark) -> Iterator[Cell | Broken]:
        """The cells of a benchmark. A cell that its skip list cannot be compared with is broken, as in asv."""
        benchmark = source.declared
        kind = _kind(benchmark)
        try:
            timeout = self.timeout if benchmark.timeout is None else float(benchmark.timeout)
        except (TypeError, ValueError):
            yield Broken(source.path, f"has timeout {benchmark.timeout!r}, not a number of seconds", "", source.file)
            return
        if not benchmark.params:
            yield Cell(benchmark.name, benchmark.name, kind, None, {}, (), self, source, False, timeout)
            return
        printed = itertools.product(*benchmark.params)
        real = itertools.product(*benchmark._params)
        failed = ""
        for index, (shown, values) in enumerate(zip(printed, real, strict=True)):
            params = dict(zip(_distinct(benchmark.param_names), shown, strict=True))
            try:
                skipped = values in benchmark._skip_tuples
            except Exception as error:  # noqa: BLE001 - the values' own comparison
                failed = failed or named(error)
                continue
            name = f"{benchmark.name}({', '.join(shown)})"
            yield Cell(name, benchmark.name, kind, index, params, values, self, source, skipped, timeout)
        if failed:
            yield Broken(source.path, "has parameters that cannot be compared with its skip list", failed, source.file)


def _printed(name: str) -> tuple[str, ...]:
    """A name, and how it is printed: cut, with escapes, and as no command to a CI service."""
    shown = brief(name)
    return name, shown, texts.harmless(shown)


def _kind(benchmark: Any) -> str:
    """See `Cell.kind`. asv's own `type` of timeraw is "time", and a tracked benchmark may give itself any."""
    if isinstance(benchmark, TimerawBenchmark):
        return "timeraw"
    return "track" if isinstance(benchmark, TrackBenchmark) else str(benchmark.type)


def _distinct(names: Sequence[str]) -> list[str]:
    """The names of parameters, where the same one twice is numbered."""
    return [name if name not in names[:index] else f"{name} ({index + 1})" for index, name in enumerate(names)]


def _declaration(benchmark: Any) -> dict[str, Any]:
    """The same as from `asv_runner.discovery.list_benchmarks`, which fails if a single module does not import, or a
    single attribute cannot be written as JSON; and the rivals that the class names."""
    kept = {}
    for name, value in vars(benchmark).items():
        if isinstance(value, (str, int, float, list, dict, bool)) and not name.startswith("_"):
            with contextlib.suppress(TypeError, ValueError, RecursionError):
                kept[name] = json.loads(json.dumps(value, skipkeys=True))
    rivals = getattr(getattr(benchmark.func, "__self__", None), "rivals", None)
    if isinstance(rivals, str):
        kept.setdefault("rivals", rivals)
    return kept
