"""Yardsticks: how fast memory, random generators and Python's loop are here. Other cells are compared with them."""

from __future__ import annotations

import math

import numpy as np
import torch

from bench_core.suite import DEVICES, SIZES, THREADS, Suite, labels, oracles, shape_of, thread_count, traffic


class Memory(Suite):
    """Fill, update in place, copy, and triad of warm float32 weights whose memory is mapped.

    A triad is a = b + s c, as in the STREAM benchmark (McCalpin 1995). An update touches one weight, a copy two, and a
    triad three, so they leave a cache at different sizes.
    """

    param_names = ["device", "threads", "size"]
    params = [DEVICES, THREADS, SIZES]
    quick = {"device": ["cpu"], "size": ["8x4", "256x256", "1024x1024", "4096x4096"]}

    def setup(self, device, threads, size):
        super().setup(device, threads, size)
        # All are written here: the first write to fresh memory pays page faults.
        self.source = torch.full(shape_of(size), 1.0, device=device)
        self.other = torch.full(shape_of(size), 4.0, device=device)
        self.target = torch.full(shape_of(size), 2.0, device=device)

    def why_not(self, device, threads, size):
        if device != "cpu" and threads != "1":
            return f"threads are the CPU's, and not {device}'s"
        return super().why_not(device, threads, size)

    @traffic(writes=1)
    def time_fill(self, device, threads, size):
        self.target.fill_(3.0)

    def check_fill(self, device, threads, size):
        self.time_fill(device, threads, size)
        oracles.filled_with(self.target, 3.0, "target")

    @traffic(reads=1, writes=1)
    def time_update(self, device, threads, size):
        self.target.neg_()

    def check_update(self, device, threads, size):
        self.target.fill_(3.0)
        self.time_update(device, threads, size)
        oracles.filled_with(self.target, -3.0, "target")

    @traffic(reads=1, writes=1)
    def time_copy(self, device, threads, size):
        self.target.copy_(self.source)

    def check_copy(self, device, threads, size):
        self.source.fill_(math.pi)
        self.time_copy(device, threads, size)
        oracles.identical(self.target, self.source, "target")

    @traffic(reads=2, writes=1)
    def time_triad(self, device, threads, size):
        torch.add(self.source, self.other, alpha=0.5, out=self.target)

    def check_triad(self, device, threads, size):
        self.time_triad(device, threads, size)
        oracles.filled_with(self.target, 1.0 + 0.5 * 4.0, "target")


UNIFORM, NORMAL = oracles.uniform_cdf(0, 1), oracles.normal_cdf(0, 1)
LARGEST = 1 << 24
"""`random_` draws whole numbers up to this one in float32."""

OF_TORCH = {
    "uniform_": (torch.Tensor.uniform_, UNIFORM),
    "normal_": (torch.Tensor.normal_, NORMAL),
    "random_": (torch.Tensor.random_, oracles.uniform_cdf(0, LARGEST)),
    "bernoulli_": (torch.Tensor.bernoulli_, None),
}
BIT_GENERATORS = ("PCG64", "SFC64", "Philox")
OF_NUMPY = {"random": UNIFORM, "standard_normal": NORMAL}


class Generators(Suite):
    """Fill a float32 weight with random numbers on one thread, by the generators of torch and numpy.

    The fastest of them, whatever its distribution, is the yardstick for jobs that draw random numbers.
    """

    param_names = ["device", "generator", "size"]
    params = [
        DEVICES,
        labels(
            *(f"torch.{method}" for method in OF_TORCH),
            *(f"numpy.{bits}.{method}" for bits in BIT_GENERATORS for method in OF_NUMPY),
        ),
        SIZES[:-1],
    ]
    quick = {
        "device": ["cpu"],
        "generator": ["torch.uniform_", "torch.normal_", "numpy.PCG64.random"],
        "size": ["8x4", "256x256"],
    }
    draws = 1

    def setup(self, device, generator, size):
        super().setup(device, generator, size)
        self.weight = torch.zeros(shape_of(size), device=device)
        library, *names = generator.split(".")
        if library == "torch":
            self.out, (self.draw, self.cdf) = self.weight, OF_TORCH[names[0]]
            return
        bits, method = names
        draw = getattr(np.random.Generator(getattr(np.random, bits)(seed=0)), method)
        self.out, self.cdf = self.weight.numpy(), OF_NUMPY[method]  # the same memory
        self.draw = lambda out: draw(dtype=np.float32, out=out)

    def why_not(self, device, generator, size):
        if device != "cpu" and generator.startswith("numpy"):
            return f"numpy draws on the CPU, and not on {device}"
        return super().why_not(device, generator, size)

    @traffic(writes=1)
    def time_draw(self, device, generator, size):
        self.draw(self.out)

    def check_draw(self, device, generator, size):
        drawn = oracles.draw(lambda: self.time_draw(device, generator, size), self.weight)
        if self.cdf is None:
            oracles.share(float((drawn == 1).double().mean()), 0.5, drawn.numel(), "ones")
            oracles.same(int(((drawn != 0) & (drawn != 1)).sum()), 0, "elements that are neither 0 nor 1")
        else:
            oracles.distributed(drawn, self.cdf, "distribution", rounding=1 / LARGEST)


class EmptyLoop(Suite):
    """An empty Python loop: the yardstick for code that visits modules or parameters one by one."""

    param_names = ["iterations"]
    params = [labels("10", "100", "1000", "10000")]
    quick = {"iterations": ["100", "1000"]}

    def setup(self, iterations):
        super().setup(iterations)
        self.iterations = int(iterations)

    def time_loop(self, iterations):
        number = None
        for number in range(self.iterations):  # noqa: B007 - the check looks at the last one
            pass
        return number

    def check_loop(self, iterations):
        oracles.same(self.time_loop(iterations), int(iterations) - 1, "the last number")


class Threads(Suite):
    """The threads that torch uses, for the history: 1 in all cells without a parameter `threads`."""

    unit = "thread(s)"
    param_names = ["threads"]
    params = [THREADS]

    def track_threads(self, threads):
        return torch.get_num_threads()

    def check_threads(self, threads):
        oracles.same(self.track_threads(threads), thread_count(threads), "threads")
