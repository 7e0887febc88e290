"""What the folders of the store hold, so that a change is noticed: code of another version may write there."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Collection, Iterator
from contextlib import suppress
from importlib.machinery import all_suffixes
from pathlib import Path

from bench_core.errors import BenchCoreError
from bench_core.gate.versions.cache import discard

LISTED = "contents.json"
"""The file in a folder of the store that lists the digests of all others."""


def sign(home: Path) -> None:
    """Write down what a folder holds, when it is made."""
    (home / LISTED).write_text(json.dumps({name: _digest(home / name) for name in _files(home)}))


def is_intact(home: Path) -> bool:
    """Whether a folder holds what it held when it was made, and nothing else that can be imported."""
    try:
        signed = json.loads((home / LISTED).read_text())
        return (
            isinstance(signed, dict)
            and not _added(home, signed)
            and all(_digest(home / name) == digest for name, digest in signed.items())
        )
    except (OSError, ValueError):
        return False


class Seal:
    """Notices whether anything in some folders is changed while a gate runs. It asks for sizes and times only: the
    time of a file's last change is set by the kernel alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[Path, dict[str, tuple[int, ...]]] = {}
        self._found: Path | None = None

    def add(self, home: Path) -> None:
        """Seal a folder of the store."""
        with self._lock:
            self._states.setdefault(home, {name: _state(home / name) for name in _files(home)})

    def check(self) -> None:
        """Check all folders. One that was changed is dropped from the store.

        Raises:
            BenchCoreError: if one was changed.
        """
        with self._lock:  # all lanes check, and only the first one sees what it was
            self._found = self._found or self._look()
        if self._found:
            raise BenchCoreError(
                f"{self._found} was changed while the gate ran, so no time can be believed. The gate does not change "
                "it: a version or a benchmark does. Its folder is dropped, and made anew by the next gate."
            )

    def _look(self) -> Path | None:
        """A file that was changed; None if there is none."""
        for home, states in self._states.items():
            changed = [name for name, state in states.items() if _state(home / name) != state]
            if changed or (changed := _added(home, states)):
                with suppress(OSError):
                    discard(home)
                return home / changed[0]
        return None


def _files(home: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(home):
        place = Path(folder).relative_to(home)
        links = [name for name in folders if Path(folder, name).is_symlink()]
        yield from (str(place / name) for name in (*files, *links) if str(place / name) != LISTED)


def _added(home: Path, known: Collection[str]) -> list[str]:
    """New files that Python would import. Python itself adds compiled ones in ``__pycache__``."""
    endings = tuple(all_suffixes())
    new = (name for name in _files(home) if name not in known and "__pycache__" not in name)
    return sorted(name for name in new if name.endswith(endings))


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.lstat()
    except OSError:
        return ()
    return (found.st_ino, found.st_size, found.st_mode, found.st_mtime_ns, found.st_ctime_ns)
