"""The packages that only a part of the work needs, and the extra of bench_core that installs each."""

from __future__ import annotations

import importlib.util
import json
import shlex
from collections.abc import Mapping
from importlib.metadata import distributions
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

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
    """The command that installs an extra from where this installation is from: a checkout, a repository, a file, or the
    package index."""
    # A checkout that was built has metadata of its own, which Python finds first if it starts there.
    noted = next(filter(None, (one.read_text("direct_url.json") for one in distributions(name="bench_core"))), None)
    return "pip install " + _named(json.loads(noted or "{}"), extra)


def _named(origin: Mapping[str, Any], extra: str) -> str:
    """The argument for pip. `origin` is the content of ``direct_url.json`` (PEP 610); empty for a package index."""
    url, named = str(origin.get("url", "")), f"bench_core[{extra}]"
    if origin.get("dir_info", {}).get("editable"):
        return "-e " + shlex.quote(f"{url2pathname(urlsplit(url).path)}[{extra}]")
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    return shlex.quote(f"{named} @ {url}" if url else named)


def installed(extra: str, *packages: str) -> bool:
    """Whether packages of an extra are installed; all of it without `packages`. None of them is imported."""
    return not _missing(extra, packages)


def _missing(extra: str, packages: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(package for package in packages or EXTRAS[extra] if not _is_there(MODULES.get(package, package)))


def require(extra: str, *packages: str, what: str) -> None:
    """Check that packages of an extra are installed. None of them is imported.

    Args:
        packages: some of `EXTRAS`; none for all of the extra.
        what: see `MissingPackageError`.

    Raises:
        MissingPackageError: if one is not.
    """
    if missing := _missing(extra, packages):
        raise MissingPackageError(what, missing, extra)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # a module that somebody put into sys.modules without a specification
        return True
