"""The processes that workers leave behind."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

import psutil


def adopt() -> None:
    """Become the parent of the processes that our own processes leave behind (Linux only)."""
    if sys.platform.startswith("linux"):
        set_child_subreaper = 36
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def end() -> None:
    """End all children of this process and their children, since they would take time from what comes later."""
    with suppress(ChildProcessError):
        while True:
            ended, _ = os.waitpid(-1, os.WNOHANG)
            if not ended:
                for child in psutil.Process().children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        child.kill()
                os.waitpid(-1, 0)
