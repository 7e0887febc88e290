"""A probe: a short-lived process that imports one version and lists its cells, before anything is timed."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_core import clock
from bench_core.compat import chdir
from bench_core.errors import BenchCoreError
from bench_core.records.model import ModelLayout, ModelSpec
from bench_core.workers import orphans
from bench_core.workers.loading import VersionError, load, prove
from bench_core.workers.messages import PROBE, Probed, ProbedCell, ProbeFailed, ProbeTask, Source, read
from bench_core.workers.turns import cause


def main() -> None:
    """Read a `ProbeTask` from standard input, and write the answer to standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    task = read(PROBE.tasks, sys.stdin.readline(), "probe")
    PROBE.answers.prepare()  # before our modules are dropped, without which types are not found by their names
    orphans.adopt()
    answers.write(PROBE.answers.line(probe(task)) + "\n")
    answers.close()
    orphans.end()


def probe(task: ProbeTask) -> Probed | ProbeFailed:
    source = task.source
    try:
        suite = load(source, task.suite, task.timeout)
        broken = {broken.name: broken.reason for broken in suite.broken}
        prove(source, suite.path)
    except (BenchCoreError, VersionError) as error:
        return ProbeFailed(str(error))
    selected: set[str] = set()
    none = ""
    try:
        selected = {cell.name for cell in suite.select(task.pattern, quick=task.quick)}
    except BenchCoreError as error:  # the other side may have these cells
        none = str(error)
    built = _Built()
    unbuilt = ""
    try:
        built = built if task.model is None else _built(task.model)
        prove(source, suite.path)
    except BaseException as error:  # noqa: BLE001 - the version's builder may raise anything, and may exit
        unbuilt = _shown(error, source)
    own = {"bench_core", "__main__", suite.path.name, *source.packages}
    seen = list(sys.modules)
    for name in task.flavoured:
        with contextlib.suppress(Exception):  # cells that need it will fail and report it
            importlib.import_module(name)
    return Probed(
        cells=tuple(
            ProbedCell(
                cell.name,
                cell.benchmark,
                cell.params,
                cell.kind,
                cell.why_not,
                device=cell.device,
                index=cell.index,
                timeout=cell.timeout,
                selected=cell.name in selected,
            )
            for cell in suite.cells
        ),
        none=none,
        broken=broken,
        declared=tuple(suite.declared),
        flavour=flavour(),
        preload=tuple(name for name in seen if name.partition(".")[0] not in own),
        imported=tuple(sorted(set(seen) & set(source.packages))),
        left_out={one.source: one.reason for one in suite.left_out},
        files=_files(source, seen),
        layout=built.layout,
        building=built.seconds,
        unbuilt=unbuilt,
    )


@dataclass(frozen=True)
class _Built:
    """A model that was built, and the seconds that this took."""

    layout: ModelLayout | None = None
    seconds: float = 0.0


def _built(spec: ModelSpec) -> _Built:
    """Build a model as benchmarks do, in a folder of its own. `bench_core.suite` is that of the version, if the version
    has one."""
    from bench_core.suite.target import describe, load

    with tempfile.TemporaryDirectory(prefix="bench-core-") as folder, chdir(folder):
        target = load(spec)
        began = clock.host()
        model = target.ready()
        if clock.host() - began < QUICKLY:  # a first call in a process, which prepares much
            began = clock.host()
            model = target.ready()
        return _Built(describe(model), clock.host() - began)


QUICKLY = 1.0
"""A model that takes fewer seconds is built a second time, for the time without what a first call prepares."""


def _shown(error: BaseException, source: Source) -> str:
    """Why a model cannot be built, with the files of the version relative to its folder. What is a message for a user
    is shown as it is, also if another import of our modules has raised it."""
    names = {one.__name__ for one in type(error).__mro__}
    said = str(error) if names & {BenchCoreError.__name__, VersionError.__name__} else cause(error)
    for path in source.paths:
        said = said.replace(f"{path}{os.sep}", "")
    return said


def _files(source: Source, modules: Iterable[str]) -> tuple[str, ...]:
    """The files of the version among those of these modules, relative to its folder."""
    places = [Path(path).resolve() for path in source.paths[:1]]
    files = [getattr(sys.modules.get(name), "__file__", None) for name in modules]
    found = [Path(file).resolve() for file in files if isinstance(file, str)]
    return tuple(sorted({file.relative_to(top).as_posix() for file in found for top in places if top in file.parents}))


TOOLKIT = "torch's toolkit"
"""The flavour that matters only for cells on an accelerator: each release of torch brings its own toolkit."""


def flavour() -> dict[str, str]:
    """The builds of Python, numpy and torch, on which times depend besides the code. Two sides are a fair pair only if
    they have the same flavour. Unknown parts are left out."""
    found = {"Python": f"{platform.python_implementation()} {platform.python_version()}"}
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if numpy is not None:
        found["numpy"] = numpy.__version__
        with contextlib.suppress(AttributeError, KeyError, TypeError):  # older releases only print it
            found["numpy's BLAS"] = _blas(numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"])
    if torch is not None:
        found |= {
            "torch": torch.__version__.partition("+")[0],
            "torch's build": _built_for(torch.version)[0],
            TOOLKIT: " ".join(_built_for(torch.version)),
            "torch's BLAS": _blas(_setting(torch.__config__.show(), "BLAS_INFO")),
            "torch's threads": str(torch.get_num_threads()),
        }
    return {name: what for name, what in found.items() if what}


BLAS = {
    "open": "OpenBLAS",  # "openblas64" or "scipy-openblas" in numpy's wheels, "open" in torch
    "mkl": "MKL",
    "accelerate": "Accelerate",
    "veclib": "Accelerate",
    "blis": "BLIS",
    "netlib": "reference",
    "reference": "reference",
}
"""The family of a BLAS, by a part of the name in a build."""

ANY_BLAS = ("blas", "cblas", "flexiblas", "auto", "generic")
"""Names for a BLAS that is chosen only when the process starts."""


def _blas(name: str) -> str:
    """The family of a BLAS; "" if it is not known."""
    if name.lower() in ANY_BLAS:
        return ""
    return next((family for part, family in BLAS.items() if part in name.lower()), name)


def _built_for(version: Any) -> tuple[str, str]:
    """The accelerator that torch was built for, and the version of its toolkit."""
    for name, text in (("CUDA", "cuda"), ("ROCm", "hip"), ("XPU", "xpu")):
        if found := getattr(version, text, None):
            return name, str(found)
    return "CPU", ""


def _setting(shown: str, name: str) -> str:
    """A setting in the text of ``torch.__config__.show()``, such as ``BLAS_INFO=mkl``; "" if it is missing."""
    found = re.search(rf"\b{name}=([^,\s]*)", shown)
    return found[1] if found else ""
