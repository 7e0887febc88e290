"""The packages that only a part of the work needs, and the extra of bench_core that installs each."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from bench_core.errors import BenchCoreError

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "torch": ("torch", "safetensors", "numpy"),
    "report": ("vl-convert-python", "jinja2", "ruptures", "numpy"),
    "pytest": ("pytest", "pytest-benchmark"),
}
"""What each extra of pyproject.toml installs."""

MODULES: Mapping[str, str] = {"vl-convert-python": "vl_convert", "pytest-benchmark": "pytest_benchmark"}
"""The module of each package whose name is another one."""


class MissingPackageError(BenchCoreError):
    """Packages of an extra that are not installed.

    Args:
        what: what needs them, as the beginning of a sentence: ``"The page"``.
    """

    def __init__(self, what: str, missing: tuple[str, ...], extra: str) -> None:
        *rest, last = missing
        named = f"{', '.join(rest)} and {last}" if rest else last
        super().__init__(f"{what} needs {named}: {command(extra)}")


def command(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'bench_core[{extra}]'"


def require(extra: str, *packages: str, what: str) -> None:
    """Check that packages of an extra are installed. None of them is imported.

    Args:
        packages: some of `EXTRAS`; none for all of the extra.
        what: see `MissingPackageError`.

    Raises:
        MissingPackageError: if one is not.
    """
    missing = tuple(package for package in packages or EXTRAS[extra] if not _is_there(MODULES.get(package, package)))
    if missing:
        raise MissingPackageError(what, missing, extra)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # a module that somebody put into sys.modules without a specification
        return True
