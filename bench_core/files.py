"""Writes files so that readers never see a partly written file."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from bench_core.watchdog import vanishing


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, whole or not at all. A pipe or a terminal is written to, not replaced.

    Raises:
        OSError: if it cannot be written. An existing file is then unchanged.
    """
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    if _is_stream(path):
        path.write_bytes(data)
        return
    target = path.resolve()  # a link stays a link
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    with vanishing(beside):
        try:
            beside.write_bytes(data)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)


def try_write(path: Path) -> None:
    """Find out whether `write_whole` could write this file. An existing file is left as it is.

    Raises:
        OSError: if it could not, or if its folder does not exist.
    """
    if _is_stream(path):
        if path.is_char_device():
            with path.open("wb", buffering=0) as device:
                device.write(b"")  # a full device refuses even that
        return  # opening a pipe and closing it again would end its reader's input
    target = path.resolve()
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not target.parent.exists():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {path.parent}")
    if target.exists():
        with target.open("ab"):
            pass
    with tempfile.TemporaryFile(dir=target.parent):
        pass


def _is_stream(path: Path) -> bool:
    """Whether it is a pipe, a terminal or another device."""
    return path.exists() and not path.is_file() and not path.is_dir()


def append_line(path: Path, line: str) -> None:
    """Append a whole line to a file. If the last line was cut off, e.g. by a power cut, it is ended first.

    Raises:
        OSError: if the file cannot be written. It is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        cut_off = file.read() not in (b"", b"\n")
    try:
        with path.open("ab") as file:
            file.write((b"\n" if cut_off else b"") + line.encode(errors="backslashreplace") + b"\n")
    except OSError:
        os.truncate(path, size)  # a full disk takes a part of the line
        raise
