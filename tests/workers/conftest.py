import sys

import pytest

from bench_core import clock as clocks
from bench_core.testing import FakeClock


@pytest.fixture
def host(monkeypatch):
    """Our clock and the cell's."""
    clock = FakeClock()
    monkeypatch.setattr(clocks, "host", clock)
    return clock


class Torch:
    """Has settings, and lists how they are changed."""

    def __init__(self):
        self.settings = {"threads": 3, "dtype": "float16", "deterministic": True, "gradients": False}
        self.changes = []
        self.get_num_threads, self.set_num_threads = self._setting("threads")
        self.get_default_dtype, self.set_default_dtype = self._setting("dtype")
        self.are_deterministic_algorithms_enabled, self.use_deterministic_algorithms = self._setting("deterministic")
        self.is_grad_enabled, self.set_grad_enabled = self._setting("gradients")

    def _setting(self, name):
        def change(value):
            self.changes.append((name, value))
            self.settings[name] = value

        return lambda: self.settings[name], change

    def manual_seed(self, seed):
        pass


@pytest.fixture
def torch(monkeypatch):
    """A torch that has only settings."""
    made = Torch()
    monkeypatch.setitem(sys.modules, "torch", made)
    return made
