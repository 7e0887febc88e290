"""The systems that bench_core works on (docs/support.md)."""

from __future__ import annotations

import sys


def refusal() -> str:
    """Why bench_core does not work on this system, in one sentence; "" where it does. Asked before anything else is
    imported, since some of it cannot be imported there."""
    if sys.platform == "win32":
        return "Windows is not supported, since workers are forked and get open files: use Linux, macOS or WSL."
    return ""
