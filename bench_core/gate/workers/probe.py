"""A probe: a short-lived process that imports one version and says which cells it has, before anything is timed."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import platform
import re
import sys
from typing import Any

from bench_core.errors import BenchCoreError
from bench_core.gate.workers import worker
from bench_core.timing.cells import Cell


def main() -> None:
    """Read the specification from standard input, write what was found to standard output, each a line of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answers.write(json.dumps(probe(json.loads(sys.stdin.readline()))) + "\n")
    answers.close()


def probe(spec: dict[str, Any]) -> dict[str, Any]:
    """
    Args:
        spec: ``source`` and ``suite`` as of a worker; ``pattern``, ``quick``; ``flavoured``: modules to be asked for
            their flavour even if the suite does not import them before a cell is set up.

    Returns:
        ``cells``: those that are selected; ``broken``: modules that do not import, with the reason; ``declared``: what
        asv keeps of each benchmark; ``preload``: modules that belong to neither version; ``imported``: packages of the
        version that the suite imports; ``none``: why no cell is selected, or ""; ``flavour``, see there. Or ``error``,
        alone.
    """
    source = worker.Source(**spec["source"])
    try:
        suite = worker.load(source, spec["suite"])
        broken = {module.name: module.error for module in suite.broken}
        worker.prove(source, suite.path)
    except (BenchCoreError, worker.VersionError) as error:
        return {"error": str(error)}
    cells: tuple[Cell, ...] = ()
    none = ""
    try:
        cells = suite.select(spec["pattern"], quick=spec["quick"])
    except BenchCoreError as error:  # the other side may have what is asked for
        none = str(error)
    own = {"bench_core", "__main__", suite.path.name, *source.packages}
    seen = list(sys.modules)
    for name in spec["flavoured"]:
        with contextlib.suppress(Exception):  # what needs it will fail, and say so
            importlib.import_module(name)
    return {
        "cells": [
            {
                "name": cell.name,
                "benchmark": cell.benchmark,
                "params": dict(cell.params),
                "kind": cell.kind,
                "why_not": cell.why_not,
                "device": cell.params.get("device", "cpu").strip("'"),
            }
            for cell in cells
        ],
        "none": none,
        "broken": broken,
        "declared": suite.declared,
        "flavour": flavour(),
        "preload": [name for name in seen if name.partition(".")[0] not in own],
        "imported": sorted(set(seen) & set(source.packages)),
    }


TOOLKIT = "torch's toolkit"
"""The name of what bears on cells that run on an accelerator, and on no other: each release of torch has its own."""


def flavour() -> dict[str, str]:
    """What the times of a cell depend on besides its code, as far as it is known: of both sides it must be the same, to
    be a fair pair."""
    found = {"Python": f"{platform.python_implementation()} {platform.python_version()}"}
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if numpy is not None:
        found["numpy"] = numpy.__version__
        with contextlib.suppress(AttributeError, KeyError, TypeError):  # older ones only print it
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
    "open": "OpenBLAS",  # numpy's wheels say openblas64 or scipy-openblas, by their age, and torch says open
    "mkl": "MKL",
    "accelerate": "Accelerate",
    "veclib": "Accelerate",
    "blis": "BLIS",
    "netlib": "reference",
    "reference": "reference",
}
"""Parts of the names that builds give their BLAS, and the family that is meant."""

ANY_BLAS = ("blas", "cblas", "flexiblas", "auto", "generic")
"""Names that do not say which one it is: something chooses when the process starts."""


def _blas(name: str) -> str:
    """The family of a BLAS; "" where it is not known."""
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
    """One of the settings in what ``torch.__config__.show()`` prints: ``…, BLAS_INFO=mkl, …``; "" without it."""
    found = re.search(rf"\b{name}=([^,\s]*)", shown)
    return found[1] if found else ""


if __name__ == "__main__":
    main()
