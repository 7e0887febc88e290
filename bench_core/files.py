"""Writes files so that a reader never sees half of one. A leaf."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all; what is no file but a pipe or a terminal is written to.

    Raises:
        OSError: if it cannot be written. What was there before is there still.
    """
    if path.exists() and not path.is_file() and not path.is_dir():  # nothing to be replaced
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    target = path.resolve()  # a link stays one
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8", newline="\n")
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Add a line at the end of a file, in one piece, after whatever a power cut has left there.

    Raises:
        OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_off = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(("\n" if cut_off else "") + line + "\n")
