"""The building blocks of benchmark classes. `benchmarks/` imports nothing else of `bench_core`."""

from bench_core.errors import TooOldError
from bench_core.extras import require

require("torch", what="This suite")

import torch

if not hasattr(torch, "accelerator"):
    raise TooOldError("torch", torch.__version__, "2.6")

from bench_core.suite import batching, initializers, models, oracles, ranks, sharding
from bench_core.suite.axes import (
    DEVICES,
    DTYPES,
    SIZES,
    THREADS,
    Label,
    dtype_of,
    elements,
    labels,
    shape_of,
    thread_count,
)
from bench_core.suite.base import Report, Suite, traffic
from bench_core.suite.chosen import Loading, OfModel, Step
from bench_core.suite.target import describe

batching.install()

__all__ = [
    "DEVICES",
    "DTYPES",
    "SIZES",
    "THREADS",
    "Label",
    "Loading",
    "OfModel",
    "Report",
    "Step",
    "Suite",
    "describe",
    "dtype_of",
    "elements",
    "initializers",
    "labels",
    "models",
    "oracles",
    "ranks",
    "shape_of",
    "sharding",
    "thread_count",
    "traffic",
]
