"""Reads and writes the files of asv's results through asv, whole or not at all.

asv itself writes into the file that it replaces, so a process that is killed, or a disk that is full, would leave half
of it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench_core import watchdog
from bench_core.errors import BenchCoreError
from bench_core.files import write_whole
from bench_core.texts import untagged

NO_RESULTS = ("benchmarks.json", "machine.json")
"""asv's files that are not results."""

DRAWN = ("code", "unit", "pretty_name", "param_names", "rivals")
"""What asv stores about a benchmark and its pages draw as HTML, and `rivals`, which is one of `param_names`. The pages
draw the name of a benchmark so too, but results are found by it. The values of parameters are drawn as text."""

MEND = "Restore it from a copy, or remove it."
"""What to do with a result file that cannot be used."""


def drawable(declared: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The declarations of benchmarks, with texts that the pages of `asv publish` draw as text."""
    return [{key: _drawable(value) if key in DRAWN else value for key, value in one.items()} for one in declared]


def _drawable(value: Any) -> Any:
    if isinstance(value, list):
        return [_drawable(one) for one in value]
    return untagged(value) if isinstance(value, str) else value


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
        with written_by_asv(folder / results._filename):
            results.load_data(str(folder))
    except UserError as error:
        raise BenchCoreError(f"{error} {MEND}") from error


@contextlib.contextmanager
def written_by_asv(path: Path) -> Iterator[None]:
    """Raises BenchCoreError if a file turns out in this block not to be one that asv writes."""
    try:
        yield
    except (OSError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        raise not_of_asv(path, repr(error)) from error


def not_of_asv(path: Path, why: str) -> BenchCoreError:
    return BenchCoreError(f"{path} is not a result file that asv 0.6 writes: {why}. {MEND}")
