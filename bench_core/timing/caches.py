"""The values of `setup_cache`, and the folders in which benchmarks with one run."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import pickle
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench_core.compat import chdir
from bench_core.timing.apart import in_own_process


def cache_key(benchmark: Any) -> str | None:
    """What tells the `setup_cache` of a benchmark from others, the same in every process; None without one.

    asv's key is a module and a line. A method in a base class is one line for all subclasses, whose data may differ.
    So is a function that another function makes. So our key also names the class, or the benchmark.
    """
    key, function = benchmark.setup_cache_key, benchmark._setup_cache
    if key is None:
        return None
    bound = getattr(function, "__self__", None)
    if bound is not None:
        owner = bound if inspect.isclass(bound) else type(bound)
        return f"{key} of {owner.__module__}.{owner.__qualname__}/{owner.__name__}"
    return f"{key} of {benchmark.name}" if getattr(function, "__closure__", None) else str(key)


class SetupCaches:
    """Makes the value of each `setup_cache` once.

    Args:
        shared: a folder that other processes with the same suite share; None for temporary folders.
    """

    def __init__(self, shared: Path | None) -> None:
        self._shared = shared
        self._own: dict[str, tempfile.TemporaryDirectory[str]] = {}

    @contextlib.contextmanager
    def given_to(self, benchmark: Any) -> Iterator[str]:
        """Give the benchmark a copy of its value, unpickled as in asv, and yield the working directory that asv gives
        it."""
        key = benchmark.setup_cache_key
        if key is None:
            benchmark.set_cache(None)
            with tempfile.TemporaryDirectory(prefix="bench-core-") as folder:
                yield folder
            return
        own = self._folder_of(key, benchmark)
        with (own / "cache.pickle").open("rb") as file:  # as in asv: not read whole, which takes the memory twice
            benchmark.set_cache(pickle.load(file))
        yield str(own)

    def _folder_of(self, key: str, benchmark: Any) -> Path:
        """This process's own folder, where its benchmarks may write."""
        if key not in self._own:
            made: tempfile.TemporaryDirectory[str] = tempfile.TemporaryDirectory(prefix="bench-core-")
            if self._shared is None:
                _fill(Path(made.name), benchmark)
            else:
                shutil.copytree(_shared_folder(self._shared, key, benchmark), made.name, dirs_exist_ok=True)
            self._own[key] = made
        return Path(self._own[key].name)

    def make(self, benchmark: Any) -> None:
        """Make the shared value of a benchmark in this process, if it has one that is not made yet."""
        if benchmark.setup_cache_key is not None and self._shared is not None:
            _shared_folder(self._shared, benchmark.setup_cache_key, benchmark, apart=False)

    def close(self) -> None:
        """Remove this process's folders."""
        for folder in self._own.values():
            folder.cleanup()
        self._own.clear()


def _shared_folder(shared: Path, key: str, benchmark: Any, *, apart: bool = True) -> Path:
    """The folder of a value, which is made unless it exists, `apart` from this process or in it."""
    folder = shared / hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:16]
    if not folder.exists():  # made under another name first, since another process may be doing the same
        shared.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=shared))
        # Otherwise the memory that this takes would be in the peak of the benchmark that comes first.
        if not apart or not in_own_process(lambda: _fill(made, benchmark)):
            _fill(made, benchmark)  # whatever has failed is raised here
        with contextlib.suppress(OSError):  # another process was first; its folder is the same
            made.rename(folder)
    return folder


def _fill(folder: Path, benchmark: Any) -> None:
    with chdir(folder):
        (folder / "cache.pickle").write_bytes(pickle.dumps(benchmark.do_setup_cache()))
