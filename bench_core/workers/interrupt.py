"""Ends a command in good order when it is told to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP like Ctrl-C in the main thread, unless they are ignored, as SIGHUP is under nohup."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    both = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)}
    heard = {one: handler for one, handler in both.items() if handler is not signal.SIG_IGN}
    for one in heard:
        signal.signal(one, signal.default_int_handler)
    try:
        yield
    finally:
        for one, handler in heard.items():
            signal.signal(one, handler)
