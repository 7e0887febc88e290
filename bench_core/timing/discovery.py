"""Finds the benchmarks of a suite as asv_runner does, and names what asv_runner would stop at.

asv_runner's own discovery ends with the first class that cannot be made, the first benchmark that cannot be read, and
the first file without source. Here each failure is a `Broken`, and everything else is found.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from asv_runner.benchmarks import benchmark_types, mark
from asv_runner.benchmarks._base import _get_first_attr
from asv_runner.discovery import _get_benchmark

from bench_core.errors import BenchCoreError, named
from bench_core.records.run import LeftOut
from bench_core.timing import parameters
from bench_core.timing.caches import cache_key


@dataclass(frozen=True)
class Broken:
    """A part of a suite that cannot be used.

    Attributes:
        name: a module, class, function or method, with the suite's package: ``benchmarks.planner.Alarm``.
        fault: what is wrong, as the rest of a sentence about it: ``does not import``.
        error: the exception, or "".
        file: the file that declares it.
    """

    name: str
    fault: str
    error: str
    file: Path

    @property
    def reason(self) -> str:
        return f"{self.fault}: {self.error}" if self.error else self.fault

    def declares(self, benchmark: str) -> bool:
        """Whether a benchmark of this name (without the suite's package) would be here."""
        own = self.name.partition(".")[2]
        return not own or benchmark == own or benchmark.startswith(f"{own}.")


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that was found.

    Attributes:
        declared: asv_runner's object. Its parameters have the names of `parameters.names`, and its `setup_cache_key` is
            that of `cache_key`.
        module: the module in which it was found.
        owner: its class, or None for a function.
        place: where it is in the module, e.g. ``("InPlace", "time_initialize")``.
        fault: why it would be timed as something else than it is; "" if it would not.
    """

    declared: Any
    module: ModuleType
    owner: type | None
    place: tuple[str, ...]
    fault: str = ""

    @property
    def name(self) -> str:
        return str(self.declared.name)

    @property
    def file(self) -> Path:
        return Path(self.module.__file__ or "")

    @property
    def path(self) -> str:
        """Where it is, with the suite's package."""
        return ".".join((self.module.__name__, *self.place))

    @property
    def place_name(self) -> str:
        """Where it is, without the suite's package. This is its name too, unless the suite has given it another one."""
        return self.path.partition(".")[2]

    def make(self) -> Any:
        """asv_runner's object with a new instance of the class."""
        holder: Any = self.module if self.owner is None else self.owner
        return _adapted(_get_benchmark(self.place[-1], self.module, self.owner, getattr(holder, self.place[-1])))


def modules(name: str) -> Iterator[ModuleType | Broken]:
    """Import a module and, if it is a package, all modules in it, in asv's order."""
    file = Path(name)
    try:
        spec = importlib.util.find_spec(name)
        file = Path(spec.origin if spec and spec.origin else name)
        if file.suffix == ".pyc":
            gone = "is compiled and has no source, which asv reads: delete it, or restore its .py file"
            yield Broken(name, gone, "", file)
            return
        with contextlib.redirect_stdout(sys.stderr):  # what a suite prints is no part of our output
            module = importlib.import_module(name)
    except BaseException as error:  # noqa: BLE001 - a module may exit, or be skipped by pytest
        yield _broken(name, f"does not import{_decorated(error)}", error, file)
        return
    yield module
    for found in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{name}."):
        yield from modules(found.name)


def _decorated(error: BaseException) -> str:
    """A hint for a class whose base is decorated with `skip_benchmark`, which makes a function of it."""
    told = isinstance(error, TypeError) and "argument 'code' must be code, not str" in str(error)
    return " (a decorated base class is a function; asv ignores a class whose name begins with _)" if told else ""


def benchmarks(module: ModuleType) -> Iterator[Benchmark | Broken | LeftOut]:
    """The benchmarks of a module, in asv's order."""
    for name, value in list(vars(module).items()):
        if name.startswith("_"):
            continue
        path, file = f"{module.__name__}.{name}", Path(module.__file__ or "")
        try:
            if inspect.isclass(value):
                methods = [] if inspect.isabstract(value) else inspect.getmembers(value, _is_function)
            elif not inspect.isfunction(value):
                continue
        except Exception as error:  # noqa: BLE001 - a module may hold any object
            yield _broken(path, "cannot be examined", error, file)
            continue
        if inspect.isclass(value):
            yield from _of_class(module, name, value, methods)
        else:
            yield from _found(module, None, (name,), value)


def _is_function(value: Any) -> bool:
    return inspect.isfunction(value) or inspect.ismethod(value)


def _of_class(
    module: ModuleType, name: str, owner: type, methods: Sequence[tuple[str, Any]]
) -> Iterator[Benchmark | Broken | LeftOut]:
    """The benchmarks of a class. A class that cannot be made is named once, not with each method."""
    for method, function in methods:
        for found in _found(module, owner, (name, method), function):
            if isinstance(found, Broken) and (failure := _failure(owner)) is not None:
                hint = "cannot be made without arguments (asv ignores a name that begins with _)"
                yield _broken(f"{module.__name__}.{name}", hint, failure, found.file)
                return
            yield found


def _failure(owner: type) -> Exception | None:
    try:
        owner()
    except Exception as error:  # noqa: BLE001 - whatever the suite's constructor raises
        return error
    return None


def _found(
    module: ModuleType, owner: type | None, place: tuple[str, ...], function: Any
) -> Iterator[Benchmark | Broken | LeftOut]:
    """The benchmark at a place in a module, if it is one."""
    path, file = ".".join((module.__name__, *place)), Path(module.__file__ or "")
    try:
        declared = _get_benchmark(place[-1], module, owner, function)
        if declared is None:
            if reason := _hidden(place[-1], function):
                yield LeftOut(path, reason)
            return
        if fault := _unusable(declared):
            yield Benchmark(declared, module, owner, place, fault)
            return
        _adapted(declared)
    except BaseException as error:  # noqa: BLE001 - asv_runner runs the suite's constructors
        yield _broken(path, "cannot be read as a benchmark", error, file)
        return
    if declared.params and not all(declared.params):
        empty = next(name for name, values in zip(declared.param_names, declared.params, strict=True) if not values)
        yield LeftOut(declared.name, f"its parameter {empty} has no values, so it has no cells")
    yield Benchmark(declared, module, owner, place)


def _broken(name: str, fault: str, error: BaseException, file: Path) -> Broken:
    if isinstance(error, (KeyboardInterrupt, BenchCoreError)):  # the latter is a message for a user already
        raise error
    return Broken(name, fault, named(error), file)


def _adapted(declared: Any) -> Any:
    """asv_runner's object with a stable order and stable names of its parameters, and the key of its own
    `setup_cache`."""
    declared._params = parameters.ordered(_declared_params(declared), declared._params)
    declared.params = parameters.names(declared._params)
    declared.setup_cache_key = cache_key(declared)
    return declared


def _hidden(name: str, function: Any) -> str:
    """Why asv ignores what looks like a benchmark; "" if it does not look like one, or the suite wants that."""
    renamed = getattr(function, "benchmark_name", None)
    looks = any(kind.name_regex.match(name) for kind in benchmark_types)
    if renamed is None or not looks or getattr(function, "skip_benchmark", False):
        return ""
    return (
        f"asv ignores it, since the last part of its benchmark_name {renamed!r} does not begin with time_ or the like"
    )


def _unusable(declared: Any) -> str:
    """Why it would be timed as something else than it is; "" if it would not."""
    return parameters.read_once(_declared_params(declared)) or _deferred(declared)


def _declared_params(declared: Any) -> Any:
    return _get_first_attr(declared._attr_sources, "params", [])


def _deferred(declared: Any) -> str:
    """Why calling the benchmark, or what is called around it, does not run it; "" if it does."""
    around = [
        *(("setup", one) for one in declared._setups),
        *(("teardown", one) for one in declared._teardowns),
        ("setup_cache", declared._setup_cache),
        ("check", check_of(declared)),
    ]
    if made := _makes(declared.func):
        return f"is {made}"
    return next((f"has a {name} that is {made}" for name, one in around if (made := _makes(one))), "")


def _makes(function: Any) -> str:
    """What a function is whose call only makes an object that would have to be run; "" for others."""
    function = _unwrapped(function)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return "an async function, so calling it runs nothing: let it call asyncio.run"
    if inspect.isgeneratorfunction(function):
        return "a generator function, so calling it runs nothing: take out the yield, or consume it in a function"
    return ""


TRANSPARENT = {vars(module)["__name__"] for module in (contextlib, functools, mark)}
"""Modules whose decorators return what the decorated function returns, or an object that does not run it."""


def _unwrapped(function: Any) -> Any:
    """A function without the decorators of asv_runner and of the standard library."""
    while True:
        plain = getattr(function, "__func__", function)
        cached = isinstance(plain, functools._lru_cache_wrapper)
        if not cached and getattr(plain, "__globals__", {}).get("__name__") not in TRANSPARENT:
            return function
        function = plain.__wrapped__


def operation(benchmark: str) -> str:
    """The own name of a benchmark without its prefix: ``initialize`` for ``InPlace.time_initialize``."""
    return benchmark.rsplit(".", 1)[-1].partition("_")[2]


def check_of(declared: Any) -> Any:
    """The check of a benchmark, ``check_<operation>`` of its class; None without one."""
    return getattr(getattr(declared.func, "__self__", None), f"check_{operation(declared.name)}", None)


def distinct(found: Sequence[Benchmark], broken: Sequence[Broken]) -> Iterator[Benchmark | Broken]:
    """One benchmark for each name: the one that asv_runner runs under that name. The others are broken, and so is one
    with a fault.

    asv_runner takes a name for a place first, and runs what is there, whatever that is called. Only then it looks for
    a benchmark of that name, and takes the first.

    Args:
        found: all benchmarks of the suite, in asv's order.
        broken: what else the suite has. asv_runner fails if that is at the place.
    """
    by_name: dict[str, list[Benchmark]] = {}
    for one in found:
        by_name.setdefault(one.name, []).append(one)
    by_place = {one.place_name: one for one in found if one.file.name != "__init__.py"}
    for name, several in by_name.items():
        run = by_place.get(name, several[0])
        there = [one.name for one in broken if one.declares(name) and run.place_name != name]
        for one in several:
            if one is run and not there:
                yield Broken(one.path, one.fault, "", one.file) if one.fault else one
            elif there or not _same(one, run):
                other = f"has the name {name!r}, under which asv runs {[*there, run.path][0]}: give it another name"
                yield Broken(one.path, other, "", one.file)


def _same(one: Benchmark, other: Benchmark) -> bool:
    """Whether both are the same function of the same class."""
    functions = [getattr(found.declared.func, "__func__", found.declared.func) for found in (one, other)]
    return one.owner is other.owner and functions[0] is functions[1]
