import numpy as np
from asv_runner.benchmarks.mark import (
    SkipNotImplemented,
    parameterize,
    skip_benchmark,
    skip_for_params,
)

from .common import TYPES, Benchmark


class AddReduce(Benchmark):
    def setup(self):
        self.squares = [self.get_squares(dtype) for dtype in TYPES]

    def time_axis_0(self):
        [np.add.reduce(a, axis=0) for a in self.squares]


class MinMax(Benchmark):
    params = [[0, 10, 100], TYPES]
    param_names = ["size", "dtype"]

    def setup(self, size, dtype):
        if size == 0:
            raise NotImplementedError("no maximum of nothing")
        self.d = np.ones(size, dtype=dtype)

    def time_max(self, size, dtype):
        np.max(self.d)

    @skip_for_params([(10, "int16"), (100, "int16")])
    def time_mean(self, size, dtype):
        np.mean(self.d)


class Names(Benchmark):
    """`params` as one flat list, values that are objects, and one of them twice."""

    params = [np.float32, np.float64, np.float64]
    param_names = "dtype"
    number = 3
    repeat = (2, 4, 1.0)

    def setup(self, dtype):
        self.calls = 0
        self.d = np.ones(10, dtype=dtype)

    def time_sum(self, dtype):
        self.calls += 1
        self.d.sum()

    def teardown(self, dtype):
        del self.d


def time_sum_of_function():
    sum(range(100))


time_sum_of_function.setup = lambda: None
time_sum_of_function.number = 5
time_sum_of_function.repeat = 2


def time_with_params(n, kind):
    np.zeros(n, dtype=kind)


time_with_params.params = ([1, 2], ["f4"])
time_with_params.param_names = ["n", "kind"]


@parameterize({"n": [1, 2, 3]})
def time_parameterized(n):
    np.ones(n)


@skip_benchmark
def time_never():
    raise AssertionError("a skipped benchmark was called")


def time_skips_itself():
    raise SkipNotImplemented("only known while running")


def track_bytes():
    return np.ones(4).nbytes


track_bytes.unit = "bytes"


def mem_array():
    return np.zeros(10)


def peakmem_array():
    np.zeros(1000)
