import os
import timeit

import numpy as np

COMPUTED = []


def setup(*args):
    np.random.seed(1)


class Solve:
    """An estimator suite: the expensive data come from `setup_cache`, pickled once and handed to everything."""

    params = [[2, 4]]
    param_names = ["n"]
    timeout = 30

    def setup_cache(self):
        COMPUTED.append(os.getpid())
        with open("data.txt", "w") as file:
            file.write("made by setup_cache")
        return {n: np.eye(n) for n in (2, 4)}

    def setup(self, cache, n):
        with open("data.txt") as file:
            assert file.read() == "made by setup_cache"
        self.matrix = cache[n]

    def time_solve(self, cache, n):
        np.linalg.solve(cache[n], np.ones(n))

    def track_trace(self, cache, n):
        return float(np.trace(self.matrix))


class Ticking:
    """A timer of its own, as suites do that measure processor time."""

    ticks = 0

    @staticmethod
    def timer():
        Ticking.ticks += 1
        return timeit.default_timer()

    number = 2
    repeat = 3

    def time_nothing(self):
        pass
