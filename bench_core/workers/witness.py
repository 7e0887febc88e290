"""What the kernel counts of both workers of a pair, as one of them sees it.

A version may replace the clocks of its own process, change the samples that it reports, or do its work while the other
side has the token. The kernel's count of processor time, read by the other worker, shows all three.
"""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import dataclass, field


def used_by(process: int) -> float:
    """The processor time of a process in seconds, with all of its threads, ended ones included. NaN if the system does
    not tell."""
    if not sys.platform.startswith("linux"):
        return math.nan
    try:
        return time.clock_gettime((~process << 3) | 2)  # the clock of clock_getcpuclockid(3)
    except OSError:
        return math.nan


@dataclass
class Testimony:
    """The processor time of one block, in seconds, by the two sides of the one who reports.

    Attributes:
        own: what this side used for each of its samples: in its turn and until its next turn, divided by the samples of
            the turn. NaN for those of its last turn.
        others: the same of the other side. NaN also for a first turn of the block, whose beginning is not seen.
        turns: what this side used in its turns alone.
        meanwhile: what the other side used in these turns.
    """

    own: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    turns: float = 0.0
    meanwhile: float = 0.0


class Witness:
    """Watches the other worker of a pair, which is the process `other`."""

    def __init__(self, other: int) -> None:
        self._own, self._other = os.getpid(), other
        self._seen = Testimony()
        self._took: tuple[float, float] | None = None
        self._gave: tuple[float, float] | None = None
        self._mine = self._theirs = 0

    def begin(self, *, own: bool) -> None:
        """A block begins. `own` is whether this side has the first turn. The other side may already be in its own."""
        self._seen = Testimony()
        self._took, self._gave = self._read() if own else None, None
        self._mine = self._theirs = 0

    def gives(self, samples: int) -> None:
        """This side has taken so many samples, and hands the token over."""
        now = self._read()
        if self._took is not None:
            self._seen.turns += now[0] - self._took[0]
            self._seen.meanwhile += now[1] - self._took[1]
        if self._gave is not None:
            self._seen.others += [(now[1] - self._gave[1]) / self._theirs] * self._theirs
        else:
            self._seen.others += [math.nan] * self._theirs
        self._gave, self._mine, self._theirs = now, samples, 0

    def takes(self, samples: int) -> None:
        """The token is back from the other side, which has taken so many samples."""
        now = self._read()
        if self._took is not None:
            self._seen.own += [(now[0] - self._took[0]) / self._mine] * self._mine
        self._took, self._mine, self._theirs = now, 0, samples

    def end(self, samples: int) -> Testimony:
        """The block ends with so many samples of the other side."""
        self._seen.own += [math.nan] * self._mine
        self._seen.others += [math.nan] * samples
        return self._seen

    def _read(self) -> tuple[float, float]:
        return used_by(self._own), used_by(self._other)
