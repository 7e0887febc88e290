"""Compares the files of two versions: which functions differ, and what differs besides."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import cache_from_source
from pathlib import Path
from types import CodeType

from bench_core.compat import qualname
from bench_core.records.gate import SIDES, Side, other_side
from bench_core.workers.fingerprint import fingerprint, is_function
from bench_core.workers.recording import MODULE

INSTALLED = (".dist-info/RECORD", ".dist-info/direct_url.json")
"""Files that pip writes about an installed package: the digests of the others, and where the wheel was. They differ
with the others, and matter only to who reads them."""


METADATA = ".dist-info/METADATA"
"""The description of an installed package: its fields, such as its dependencies, and often its README."""

ABOUT = re.compile(r"([^/]+)-([^/-]+)\.dist-info")
"""The folder of what pip writes about an installed package: its name and its version."""


@dataclass(frozen=True)
class Changes:
    """How two versions differ.

    Attributes:
        whole: what differs that no recording can follow, such as a file that is no Python; "" if there is nothing.
        scopes: for each Python file that differs outside the bodies of functions, or that one side lacks, how it
            differs, in words.
        files: all files that differ.
        alone: the Python files that one side lacks, the folders that it lacks with them, and those about packages of
            another version.
        functions: the functions that differ, as their file, a colon and their qualified name.
    """

    whole: str = ""
    scopes: dict[str, str] = field(default_factory=dict)
    files: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    alone: frozenset[str] = frozenset()


def compare(base: Path, head: Path) -> Changes:
    """Compare the folders of two versions.

    Compiled Python files are left out if their source is there: the gate has compiled them itself.
    """
    folders: dict[Side, Path] = dict(zip(SIDES, (base, head), strict=True))
    files = {side: _named(folder) for side, folder in folders.items()}
    scopes: dict[str, str] = {}
    differing, functions, alone = set(), set(), set()
    for name in sorted({**files["base"], **files["head"]}):
        real = [files[side][name].relative_to(folders[side]).as_posix() for side in SIDES if name in files[side]]
        if only := [side for side in SIDES if name not in files[other_side(side)]]:
            if not name.endswith(".py"):
                return Changes(whole=f"only {only[0]} has {real[0]}")
            scopes[name] = f"only {only[0]} has {name}"
            alone.add(name)
            continue
        try:
            contents = [files[side][name].read_bytes() for side in SIDES]
        except OSError:  # such as a broken link
            return Changes(whole=f"{name} cannot be read")
        if contents[0] == contents[1]:
            continue
        differing.update(real)
        if name.endswith(INSTALLED) or (name.endswith(METADATA) and _alike(*contents)):
            continue
        if not name.endswith(".py"):
            return Changes(whole=f"{real[-1]} differs, which is no Python source")
        codes = [_compiled(content) for content in contents]
        before, after = codes
        if before is None or after is None:
            return Changes(whole=f"{name} differs and cannot be compiled")
        tables = [_table(code) for code in (before, after)]
        for inside in {**tables[0], **tables[1]}:
            old, new = (table.get(inside, []) for table in tables)
            place = f"{name}:{inside}"
            if [one.print for one in old] == [one.print for one in new]:
                continue
            if any(one.function for one in (*old, *new)):
                functions.add(place)
            else:
                differs = "differs outside the bodies of functions"
                whole = f"{name} {differs}{_only(before, after)}"
                scopes[name] = whole if inside == MODULE else f"{inside} {differs} ({name})"  # the innermost
    parents = [
        {one.as_posix() for path in files[side].values() for one in path.relative_to(folder).parents}
        for side, folder in folders.items()
    ]
    alone |= parents[0] ^ parents[1]
    return Changes("", scopes, frozenset(differing | alone), frozenset(functions), frozenset(alone))


def _alike(base: bytes, head: bytes) -> bool:
    """Whether two descriptions of a package differ only in its version, and in the text for people, which follows the
    fields."""
    fields = [content.replace(b"\r\n", b"\n").partition(b"\n\n")[0].splitlines() for content in (base, head)]
    before, after = ([line for line in lines if not line.startswith(b"Version: ")] for lines in fields)
    return before == after


def _only(base: CodeType, head: CodeType) -> str:
    """A name that only one of two modules uses, such as that of a new function, as the end of a sentence."""
    for side, code, other in (("head", head, base), ("base", base, head)):
        if more := [name for name in code.co_names if name not in other.co_names]:
            return f": only {side} has {more[0]}"
    return ""


def _named(folder: Path) -> dict[str, Path]:
    """All files of a version by their names, without the version in those about an installed package."""
    found: dict[str, Path] = {}
    for name, path in _files(folder):
        plain = ABOUT.sub(r"\1.dist-info", name)
        found[name if plain in found else plain] = path
    return found


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            if path.is_symlink():  # a broken one
                yield path.relative_to(folder).as_posix(), path
            continue
        if path.parent.name == "__pycache__" and path.suffix == ".pyc":
            source = path.parent.parent / f"{path.name.partition('.')[0]}.py"
            if source.is_file() and Path(cache_from_source(str(source))) == path:
                continue
        yield path.relative_to(folder).as_posix(), path


def _compiled(source: bytes) -> CodeType | None:
    """The code of a module as Python compiles it; None if it does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return compile(source, "", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return None


@dataclass(frozen=True)
class _Code:
    """A code object: its fingerprint, and whether it is a function."""

    print: str
    function: bool


def _table(code: CodeType) -> dict[str, list[_Code]]:
    """All code objects in a module by their qualified names, in the order of the source."""
    found: dict[str, list[_Code]] = {}

    def add(code: CodeType) -> None:
        own = _Code(fingerprint(code), is_function(code))
        found.setdefault(qualname(code), []).append(own)
        for one in code.co_consts:
            if isinstance(one, CodeType):
                add(one)

    add(code)
    return found
