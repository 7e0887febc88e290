"""Where the time of a gate went."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bench_core import clock

PARENTS = "parents"
OVERHEAD = "overhead"
RETRIES = "retries"


class Spent:
    """Seconds of all lanes together, by what they were spent on: `PARENTS` until a parent is ready; the stages of the
    pairs (`bench_core.workers.turns.Turns.spent`); `OVERHEAD` for the rest of a pair, which is starting and ending its
    workers, messages, and handing over the token; and `RETRIES` of cells that failed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Count the time in this context."""
        began = clock.host()
        try:
            yield
        finally:
            self._add({what: clock.host() - began})

    def stages(self, seconds: Mapping[str, float]) -> None:
        """Count these seconds of a pair, whose whole time counts as `OVERHEAD`."""
        self._add({**seconds, OVERHEAD: -sum(seconds.values())})

    def _add(self, seconds: Mapping[str, float]) -> None:
        with self._lock:
            for what, value in seconds.items():
                self._seconds[what] = self._seconds.get(what, 0.0) + value

    @property
    def seconds(self) -> Mapping[str, float]:
        with self._lock:
            return dict(sorted(self._seconds.items(), key=lambda one: -one[1]))
