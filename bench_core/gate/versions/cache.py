"""Folders that are named by what decides their content, and made once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

A_DAY = 86_400.0
"""Seconds after which nobody is still at work on a folder that is being made."""

UNFINISHED = "making-"
"""The beginning of the names of folders that are being made, or deleted."""


def key_of(parts: object) -> str:
    """A name of 16 characters for all that decides a folder's content; `parts` must be fit for JSON."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@contextlib.contextmanager
def making(home: Path, parent: Path) -> Iterator[Path]:
    """A folder in `parent` that becomes `home` once it is finished, and vanishes if it never is."""
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=parent, ignore_cleanup_errors=True) as folder:
        made = Path(folder, "made")
        made.mkdir()
        yield made
        try:
            made.rename(home)
        except OSError:
            if not home.is_dir():  # another gate has made the same in the meantime
                raise


def keep_newest(folder: Path, number: int, ending: str = "") -> None:
    """Delete all but the entries that were used last, and what gates that were killed have left."""
    with contextlib.suppress(FileNotFoundError):  # another gate tidies up as well
        found = sorted(folder.glob("?" * 16 + ending), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in found[number:]:
            # Renamed first: a folder that is half deleted would pass for a version.
            _remove(old.rename(folder / f"{UNFINISHED}{old.name}"))
        newest = found[0].stat().st_mtime
        for left in folder.glob(f"{UNFINISHED}*"):
            if newest - left.stat().st_mtime > A_DAY:
                _remove(left)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()
