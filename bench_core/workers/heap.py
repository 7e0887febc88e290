"""Gives free memory of this process back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys

TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
"""glibc's function that returns free memory to the system; None with another C library."""


def give_back() -> None:
    """Collect garbage, and return what is free. What is allocated later is then new to this process."""
    gc.collect()
    if TRIM is not None:
        TRIM(0)
