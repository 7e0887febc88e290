"""Folders that are named after the inputs of their content, and made only once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench_core import watchdog

A_DAY = 86_400.0
"""Seconds after which an unfinished folder counts as abandoned."""

UNFINISHED = "making-"
"""The prefix of folders that are being made, or deleted."""


def key_of(parts: object) -> str:
    """A name of 16 characters for everything that determines a folder's content. `parts` must be fit for JSON."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@contextlib.contextmanager
def making(home: Path, parent: Path) -> Iterator[Path]:
    """A new folder in `parent` that becomes `home` at the end of the block, or is removed after an error."""
    with unfinished(parent) as folder:
        made = folder / "made"
        made.mkdir()
        yield made
        try:
            made.rename(home)
        except OSError:
            if not home.is_dir():  # another gate has made the same in the meantime
                raise


@contextlib.contextmanager
def unfinished(parent: Path) -> Iterator[Path]:
    """A new folder in `parent` that is removed at the end of the block, or if this process is killed in it."""
    folder = parent / f"{UNFINISHED}{secrets.token_hex(8)}"
    with watchdog.vanishing(folder):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def use(home: Path) -> None:
    """Mark a folder as the one among its siblings that was used last, also if the clock was set back."""
    os.utime(home)
    with contextlib.suppress(FileNotFoundError):  # another gate tidies up
        newest = max(path.stat().st_mtime_ns for path in home.parent.glob("?" * 16))
        if newest > home.stat().st_mtime_ns:
            os.utime(home, ns=(newest + 1000, newest + 1000))


def keep_newest(folder: Path, number: int, ending: str = "") -> None:
    """Delete all but the `number` entries that were used last, and the unfinished folders of gates that were killed."""
    with contextlib.suppress(FileNotFoundError):  # another gate tidies up as well
        found = sorted(folder.glob("?" * 16 + ending), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in found[number:]:
            discard(old)
        newest = found[0].stat().st_mtime
        for left in folder.glob(f"{UNFINISHED}*"):
            if newest - left.stat().st_mtime > A_DAY:
                _remove(left)


def discard(entry: Path) -> None:
    """Delete an entry. It is renamed first, since a folder that is half deleted would look like a version."""
    leaving = entry.with_name(f"{UNFINISHED}{entry.name}")
    with watchdog.vanishing(leaving):
        _remove(entry.rename(leaving))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()
