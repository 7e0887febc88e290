import numpy as np

TYPES = ["int16", "float32", "float64"]


class Benchmark:
    """The base class that such suites share; it times nothing by itself."""

    def get_squares(self, dtype):
        return np.arange(100, dtype=dtype) ** 2
