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


def surroundings(folders: Iterable[Path], project: Path, root: Path = Path("/")) -> list[Any]:
    """The surroundings of a gate, in a form that JSON can express.

    Args:
        folders: the sources of the suite and of the versions.
        project: the top folder of the compared project, whose own installation is not part of the surroundings.
        root: where the kernel's files are.
    """
    kernel = KernelFiles(root)
    return [
        variables(folders, os.environ),
        sorted((kernel.governors(None) or {}).items()),
        kernel.turbo()[0],
        sorted(filter(None, (_content(one, project) for one in distributions()))),
    ]


def variables(folders: Iterable[Path], environment: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that the sources in these folders may read, or that libraries read. A source may read a
    variable if it holds the name as a word. Variables that the gate itself sets for its workers are left out."""
    words = {word for folder in folders for word in _words(folder)}
    beginnings = tuple(word for word in words if word.endswith("_") and len(word) >= SHORTEST_BEGINNING)
    return {
        name: value
        for name, value in sorted(environment.items())
        if name not in OURS and (name in words or name.startswith((*LIBRARIES, *beginnings)))
    }


OURS = frozenset({*ONE_THREAD, "PYTHONHASHSEED", "TMPDIR"})
"""The variables that workers get from the gate."""


def _words(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*.py")):
        try:
            if path.stat().st_size <= LARGEST_SOURCE:
                yield from {word.decode() for word in WORD.findall(path.read_bytes())}
        except OSError:  # a broken link
            continue


def _content(found: Distribution, project: Path) -> str:
    """A distribution with its version and a digest of its files; "" for the compared project itself."""
    source = _editable(found)
    if source is not None and (source == project or project in source.parents):
        return ""
    if source is None:
        content = [line for line in (found.read_text("RECORD") or "").splitlines() if "__pycache__" not in line]
    else:
        files = ((path, path.stat()) for path in sorted(source.rglob("*.py")) if path.is_file())
        content = [f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in files]
    return f"{found.metadata['Name']} {found.version} {hashlib.sha256('|'.join(content).encode()).hexdigest()}"


def _editable(found: Distribution) -> Path | None:
    """The folder of a distribution that is installed in place (PEP 610); None for others."""
    try:
        said = json.loads(found.read_text("direct_url.json") or "{}")
        place = urlparse(said["url"]).path if said.get("dir_info", {}).get("editable") else ""
    except (ValueError, KeyError, AttributeError):
        return None
    return Path(unquote(place)).resolve() if place else None
