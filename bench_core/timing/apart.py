"""Does something in a process of its own."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress


def in_own_process(action: Callable[[], object]) -> bool:
    """Do `action` in a process that is forked for it, so that its memory is not this process's.

    Returns:
        Whether it succeeded. False where the system cannot fork.
    """
    if not hasattr(os, "fork"):
        return False
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns if this process has threads
        process = os.fork()
    if process:
        return os.waitpid(process, 0)[1] == 0
    status = 1
    with suppress(BaseException):
        action()
        sys.stdout.flush()
        status = 0
    os._exit(status)
