"""The two sides of `--versus`: two installs of one package, or two interpreters. Both sides run the same project,
unless they are releases of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from bench_core.errors import BenchCoreError
from bench_core.gate.versions import installs
from bench_core.gate.versions.interpreters import interpreter, rebuilt
from bench_core.gate.versions.store import VersionStore
from bench_core.gate.versions.subjects import Importable


@dataclass(frozen=True)
class Environments:
    """The two sides of a comparison.

    Attributes:
        base, head: the sides.
        besides: packages that differ although they were not asked for.
        compared: the top-level names of the compared package; empty for two interpreters.
    """

    base: Importable
    head: Importable
    besides: tuple[str, ...]
    compared: frozenset[str] = frozenset()


def environments(
    store: VersionStore, asked: tuple[str, str], say: Callable[[str], None], also: Sequence[str] = ()
) -> Environments:
    """Make both sides, unless they exist.

    Args:
        asked: two requirements, wheels or paths of interpreters.
        say: takes a line for each install that is made.
        also: packages that an interpreter must have for the benchmarks.

    Raises:
        BenchCoreError: if the two cannot be compared, or one cannot be made.
    """
    are_paths = [_is_path(name) for name in asked]
    if all(are_paths):
        return _of_interpreters(asked, also)
    pins = [installs.pin_of(name) for name, is_path in zip(asked, are_paths, strict=True) if not is_path]
    if any(are_paths):
        raise BenchCoreError(
            f"--versus compares two installs or two interpreters, but of {asked[0]} and {asked[1]} only one is an "
            "interpreter. Give two of the same kind."
        )
    base, head = pins
    if base.package != head.package:
        raise BenchCoreError(
            f"--versus compares two installs of one package, but these are of {base.package} and {head.package}. Give "
            "two versions of one package."
        )
    return _of_installs(store, (base, head), say)


def are_releases(project: str, asked: tuple[str, str]) -> bool:
    """Whether both sides are releases of the project itself, by asv's name of it.

    Raises:
        BenchCoreError: if one of them names no exact version.
    """
    return all(not _is_path(name) and installs.pin_of(name).package == canonicalize_name(project) for name in asked)


def _is_path(name: str) -> bool:
    return (os.sep in name or Path(name).is_file()) and not name.endswith(".whl")


def _of_installs(
    store: VersionStore, pins: tuple[installs.Pin, installs.Pin], say: Callable[[str], None]
) -> Environments:
    package = pins[0].package
    base, head = (installs.installed(store, pin, say) for pin in pins)
    besides = _differing(
        *(
            {name: version for name, version in installs.distributions_in(one.path).items() if name != package}
            for one in (base, head)
        )
    )
    compared = frozenset(name for one in (base, head) for name in installs.imported_as(package, one))
    return Environments(base, head, besides, compared)


def _of_interpreters(asked: tuple[str, str], also: Sequence[str]) -> Environments:
    (base, of_base), (head, of_head) = (interpreter(name, also) for name in asked)
    besides = _differing(*({name: kept[0] for name, kept in one.packages.items()} for one in (of_base, of_head)))
    return Environments(base, head, (*besides, *rebuilt(of_base, of_head)))


def _differing(base: Mapping[str, str], head: Mapping[str, str]) -> tuple[str, ...]:
    """The packages whose versions differ."""
    return tuple(
        f"{name} {base.get(name, 'none')} → {head.get(name, 'none')}"
        for name in sorted({*base, *head})
        if base.get(name) != head.get(name)
    )
