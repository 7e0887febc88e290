"""What can change a time besides the two versions: evidence that was measured in other surroundings does not count."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from bench_core.doctor.linux import KernelFiles
from bench_core.workers.child import ONE_THREAD

LIBRARIES = (
    *("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "BLIS_", "VECLIB_", "NUMEXPR_", "NUMBA_", "NPY_", "ATEN_"),
    *("TORCH", "PYTORCH_", "CUDA_", "CUBLAS_", "HIP_", "JAX_", "XLA_", "TF_", "MALLOC_", "LD_", "GLIBC_", "PYTHON"),
)
"""The beginnings of the names of variables that Python, the C library and numerical libraries read."""

LARGEST_SOURCE = 1 << 20
"""Source files of more bytes are not searched for names: they hold data."""

SHORTEST_BEGINNING = 4
"""A name in a source that ends in an underscore, such as ``CASE_`` in ``f"CASE_{name}"``, stands for all variables that
begin with it if it is at least this long."""

WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")


def surroundings(
    folders: Iterable[Path],
    project: Path,
    root: Path = Path("/"),
    environment: Mapping[str, str] | None = None,
) -> list[Any]:
    """The surroundings of a gate, in a form that JSON can express.

    Args:
        folders: the sources of the suite and of the versions.
        project: the top folder of the compared project, whose own installation is not part of the surroundings.
        root: where the kernel's files are.
        environment: the variables that the versions get; None for all of ours.
    """
    kernel = KernelFiles(root)
    return [
        variables(folders, os.environ if environment is None else environment),
        sorted((kernel.governors(None) or {}).items()),
        kernel.turbo()[0],
        installed(project),
    ]


def variables(folders: Iterable[Path], environment: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that the sources in these folders may read, or that libraries read. A source may read a
    variable if it holds the name as a word. For those that are left out
    see `OURS`."""
    words = {word for folder in folders for word in _words(folder)}
    beginnings = tuple(word for word in words if word.endswith("_") and len(word) >= SHORTEST_BEGINNING)
    return {
        name: value
        for name, value in sorted(environment.items())
        if name not in OURS and (name in words or name.startswith((*LIBRARIES, *beginnings)))
    }


OF_THE_TERMINAL = frozenset(
    {"COLUMNS", "LINES", "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "PWD", "OLDPWD", "SHLVL", "_"}
)
"""Variables that a shell or a terminal sets. Sources have these names, and nothing that is timed depends on them."""

OURS = frozenset({*ONE_THREAD, *OF_THE_TERMINAL, "PYTHONHASHSEED", "TMPDIR"})
"""Variables that are left out: those that workers get from the gate, and `OF_THE_TERMINAL`."""


def _words(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*.py")):
        try:
            if path.stat().st_size <= LARGEST_SOURCE:
                yield from {word.decode() for word in WORD.findall(path.read_bytes())}
        except OSError:  # a broken link
            continue


def installed(project: Path) -> list[tuple[str, list[str]]]:
    """The distributions with their versions and digests of their files, without the compared project itself. A
    folder in the import path may hold a description without files, as a checkout does after a build. It adds none."""
    found: dict[str, set[str]] = {}
    for one in distributions():
        source = _editable(one)
        if source is None or (source != project and project not in source.parents):
            digest = _content(one, source)
            found.setdefault(f"{one.metadata['Name']} {one.version}", set()).update([digest] if digest else [])
    return sorted((name, sorted(digests)) for name, digests in found.items())


def _content(found: Distribution, source: Path | None) -> str:
    """A digest of the files of a distribution; "" if it lists none. `source` is where it is installed in place."""
    if source is None:
        content = [line for line in (found.read_text("RECORD") or "").splitlines() if "__pycache__" not in line]
    else:
        files = ((path, path.stat()) for path in _modules(source))
        content = [f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in files]
    return hashlib.sha256("|".join(content).encode()).hexdigest() if content else ""


def _modules(source: Path) -> Iterator[Path]:
    """The Python files of a checkout, without environments and hidden folders, in which other tools write."""
    for folder, inside, files in os.walk(source):
        inside[:] = sorted(one for one in inside if one[0] != "." and not Path(folder, one, "pyvenv.cfg").exists())
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(".py"))


def _editable(found: Distribution) -> Path | None:
    """The folder of a distribution that is installed in place (PEP 610); None for others."""
    try:
        said = json.loads(found.read_text("direct_url.json") or "{}")
        place = urlparse(said["url"]).path if said.get("dir_info", {}).get("editable") else ""
    except (ValueError, KeyError, AttributeError):
        return None
    return Path(unquote(place)).resolve() if place else None
