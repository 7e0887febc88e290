"""The cores that a process may use, and the only place that asks for them or pins a process.

Linux tells and pins. On macOS nothing can be pinned, so a process may use any core, and the scheduler moves it.
"""

from __future__ import annotations

import os
from collections.abc import Collection

CAN_PIN = hasattr(os, "sched_setaffinity")
"""Whether this system keeps a process on chosen cores."""


def notes() -> tuple[str, ...]:
    """What a command that measures says where nothing can be pinned."""
    if CAN_PIN:
        return ()
    return ("this system keeps no process on a core, so times are noisier, and cells need more pairs or rounds.",)


def usable(process: int = 0) -> tuple[int, ...]:
    """The cores that a process (0: this one) may use, in order; none if the system does not tell."""
    return tuple(sorted(os.sched_getaffinity(process))) if CAN_PIN else ()


def count() -> int:
    """How many cores this process may use, at least 1."""
    return len(usable()) or os.cpu_count() or 1


class NoCoreError(Exception):
    """A core cannot be used any more."""


def stay_on(cores: Collection[int]) -> None:
    """Keep this process and its later threads on these cores. Without any, or where nothing can be pinned, nothing
    changes.

    Raises:
        NoCoreError: if none of them can be used.
    """
    if CAN_PIN and cores:
        try:
            os.sched_setaffinity(0, cores)
        except OSError as error:
            named = ", ".join(map(str, sorted(cores)))
            raise NoCoreError(
                f"core {named} cannot be used any more ({error.strerror}): it was taken offline, or from this process. "
                "Run the command again"
            ) from error
