"""Reads and writes the files of asv's results through asv, whole or not at all.

asv itself writes into the file that it replaces, so a process that is killed, or a disk that is full, would leave half
of it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench_core import watchdog
from bench_core.errors import BenchCoreError
from bench_core.files import write_whole

NO_RESULTS = ("benchmarks.json", "machine.json")
"""asv's files that are not results."""


@contextlib.contextmanager
def saved_into(results: Path) -> Iterator[str]:
    """A temporary folder for asv to save into. At the end of the block, each file replaces the one in asv's results
    folder. Results come last, so that what they need to be read is there.

    Raises:
        BenchCoreError: if a file cannot be written. The file in the results folder is then unchanged.
    """
    try:
        with tempfile.TemporaryDirectory(dir=watchdog.room()) as folder:
            yield folder
            for path in sorted(Path(folder).rglob("*.json"), key=lambda path: path.name not in NO_RESULTS):
                write_whole(results / path.relative_to(folder), path.read_bytes())
    except OSError as error:
        raise BenchCoreError(
            f"results cannot be stored in {results}: {error.strerror}. What was stored before is unchanged. Make room, "
            "or make the folder writable."
        ) from error


def load_into(results: Any, folder: Path) -> None:
    """Let asv's `Results` load what its file in a results folder holds, if there is one.

    Raises:
        BenchCoreError: if the file is damaged, or of another version of asv's format.
    """
    from asv.util import UserError

    try:
        results.load_data(str(folder))
    except UserError as error:
        raise BenchCoreError(f"{error} Restore it from a copy, or remove it.") from error
    except (OSError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise BenchCoreError(
            f"{folder / results._filename} is not a result file that asv 0.6 writes: {error!r}. Restore it from a "
            "copy, or remove it."
        ) from error
