"""A probe: a short-lived process that imports one version and says which cells it has, before anything is timed."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import sys
from typing import Any

from bench_core.errors import BenchCoreError
from bench_core.gate import worker
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
        spec: ``source`` and ``suite`` as of a worker; ``pattern``, ``quick``.

    Returns:
        ``cells``: those that are selected; ``broken``: modules that do not import, with the reason; ``declared``: what
        asv keeps of each benchmark; ``preload``: modules that belong to neither version; ``none``: why no cell is
        selected, or ""; ``flavour``, see there. Or ``error``, alone.
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
        "preload": [name for name in sys.modules if name.partition(".")[0] not in own],
    }


TOOLKIT = "torch's toolkit"
"""The name of what bears on cells that run on an accelerator, and on no other: each release of torch has its own."""


def flavour() -> dict[str, str]:
    """What the times of a cell depend on besides its code: of both sides it must be the same, to be a fair pair."""
    found = {"Python": f"{platform.python_implementation()} {platform.python_version()}"}
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if numpy is not None:
        found["numpy"] = numpy.__version__
        with contextlib.suppress(AttributeError, KeyError, TypeError):  # older ones only print it
            found["numpy's BLAS"] = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    if torch is not None:
        found |= {
            "torch": torch.__version__.partition("+")[0],
            "torch's build": _built_for(torch.version)[0],
            TOOLKIT: " ".join(_built_for(torch.version)),
            "torch's BLAS": _setting(torch.__config__.show(), "BLAS_INFO"),
            "torch's threads": str(torch.get_num_threads()),
        }
    return found


def _built_for(version: Any) -> tuple[str, str]:
    """The accelerator that torch was built for, and the version of its toolkit."""
    for name, text in (("CUDA", "cuda"), ("ROCm", "hip"), ("XPU", "xpu")):
        if found := getattr(version, text, None):
            return name, str(found)
    return "CPU", ""


def _setting(shown: str, name: str) -> str:
    """One of the settings in what ``torch.__config__.show()`` prints: ``…, BLAS_INFO=mkl, …``."""
    found = re.search(rf"\b{name}=([^,\s]*)", shown)
    return found[1] if found else "unknown"


if __name__ == "__main__":
    main()
