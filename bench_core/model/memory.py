"""The most memory that this process has held."""

from __future__ import annotations

import re
import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from bench_core.workers import heap

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


class Growth:
    """How much more memory this process holds at the most than when this was made. Pages of mapped files count."""

    def __init__(self) -> None:
        heap.give_back()  # memory that is free but held would be used first, and not count
        with suppress(OSError):
            CLEAR.write_text("5")  # the peak is now what is held now: proc(5)
        self._before = psutil.Process().memory_info().rss

    def bytes(self) -> int:
        """-1 if the system does not tell."""
        most = peak()
        return -1 if most is None else max(0, most - self._before)


def peak() -> int | None:
    """The most bytes that were resident at once; None if the system does not tell."""
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s*(\d+) kB", STATUS.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) << 10
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (most if sys.platform == "darwin" else most << 10) or None
