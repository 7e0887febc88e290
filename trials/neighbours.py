"""What else runs on the machine during a trial."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def other_core_busy() -> Iterator[None]:
    """Keep the last core busy with passes over an array that is larger than the caches of most machines."""
    with _running(_STREAM, str(max(os.sched_getaffinity(0)))):
        yield


@contextlib.contextmanager
def noisy() -> Iterator[None]:
    """Make a quiet machine a noisy one: two processes that wander over all cores in bursts of 20 to 200 ms, with pauses
    of the same length, and stream through memory."""
    with _running(_WANDER, "1"), _running(_WANDER, "2"):
        yield


@contextlib.contextmanager
def _running(program: str, argument: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-P", "-c", program, argument, str(os.getpid())])
    try:
        yield
    finally:
        process.kill()
        process.wait()


# Each ends with the trial, even if that is killed.
_STREAM = """
import os, sys
import numpy as np
os.sched_setaffinity(0, {int(sys.argv[1])})
large = np.ones(2**24, np.float32)
while os.getppid() == int(sys.argv[2]):
    np.add(large, 1, out=large)
"""

_WANDER = """
import os, random, sys, time
import numpy as np
draw = random.Random(int(sys.argv[1]))
cores = sorted(os.sched_getaffinity(0))
large = np.ones(2**24, np.float32)
while os.getppid() == int(sys.argv[2]):
    os.sched_setaffinity(0, {draw.choice(cores)})
    until = time.monotonic() + draw.uniform(0.02, 0.2)
    while time.monotonic() < until:
        np.add(large, 1, out=large)
    time.sleep(draw.uniform(0.02, 0.2))
"""
