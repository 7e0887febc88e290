"""The yardstick: what a plain fill, update and copy reach here; the other families' GB/s are held to it."""

from __future__ import annotations

import math

import torch

from bench_core.suite import DEVICES, SIZES, THREADS, Suite, oracles, shape_of, thread_count, traffic


class Memory(Suite):
    """Fill, update in place and copy a float32 weight that is warm and already mapped, on one thread.

    An update reads and writes the same memory, a copy twice as much of it: in a cache that is another limit.
    """

    param_names = ["device", "size"]
    params = [DEVICES, SIZES]
    quick = {"device": ["cpu"], "size": ["8x4", "256x256", "1024x1024", "4096x4096"]}

    def setup(self, device, size):
        super().setup(device, size)
        # Both are written here: the first write to fresh memory pays page faults.
        self.source = torch.full(shape_of(size), 1.0, device=device)
        self.target = torch.full(shape_of(size), 2.0, device=device)

    @traffic(writes=1)
    def time_fill(self, device, size):
        self.target.fill_(3.0)

    def check_fill(self, device, size):
        self.time_fill(device, size)
        oracles.filled_with(self.target, 3.0, "target")

    @traffic(reads=1, writes=1)
    def time_update(self, device, size):
        self.target.neg_()

    def check_update(self, device, size):
        self.target.fill_(3.0)
        self.time_update(device, size)
        oracles.filled_with(self.target, -3.0, "target")

    @traffic(reads=1, writes=1)
    def time_copy(self, device, size):
        self.target.copy_(self.source)

    def check_copy(self, device, size):
        self.source.fill_(math.pi)
        self.time_copy(device, size)
        oracles.identical(self.target, self.source, "target")


class Threads(Suite):
    """The threads that torch uses in every cell (1) and in those with a parameter `threads` (all), for the history."""

    unit = "thread(s)"
    param_names = ["threads"]
    params = [THREADS]

    def track_threads(self, threads):
        return torch.get_num_threads()

    def check_threads(self, threads):
        oracles.same(self.track_threads(threads), thread_count(threads), "threads")
