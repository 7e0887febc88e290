"""Where in a pull request the functions are that make a cell slower: the place of an annotation."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench_core import git
from bench_core.records.gate import GateRecord
from bench_core.report.gate import Place

MOST_FILES = 200
"""The most changed files that are looked at."""

LARGEST = 1_000_000
"""The most characters of a file that is looked at."""


@dataclass(frozen=True)
class ChangedFunction:
    """A function with changed lines.

    Attributes:
        name: its file as a dotted name, a dot and its qualified name.
        place: its first changed lines in a row, in head.
    """

    name: str
    place: Place

    def is_called(self, name: str) -> bool:
        """Whether it is the function that a profiler calls `name`, such as ``thing.words.count``."""
        return self.name == name or self.name.endswith(f".{name}")


def places(project: Path, base: str, head: str, record: GateRecord) -> dict[str, Place]:
    """The place of the cause of each explained cell, by the cell's name, as far as it is in a changed line.

    Args:
        project: the repository.
        base, head: full hashes.
    """
    wanted = {cause.cell: list(_suspects(record, cause.cell)) for cause in record.causes}
    if not wanted:
        return {}
    changed = list(changed_functions(project, base, head))
    found = {}
    for cell, names in wanted.items():
        hits = (one.place for name in names for one in changed if one.is_called(name))
        if (place := next(hits, None)) is not None:
            found[cell] = place
    return found


_NAME = re.compile(r"[\w<>]+(?:\.[\w<>]+)+")


def _suspects(record: GateRecord, cell: str) -> Iterator[str]:
    """The functions that an explanation names, the most likely one first."""
    cause = next(cause for cause in record.causes if cause.cell == cell)
    yield from _NAME.findall(cause.sentence)
    yield from (change.name for change in cause.calls if change.added > 0)
    yield from _NAME.findall(record.reached.get(cell, ""))


def changed_functions(project: Path, base: str, head: str) -> Iterator[ChangedFunction]:
    """The functions of head in which a line differs from base."""
    plain = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--diff-filter=AM")
    listed = git.output(project, "diff", *plain, "--name-only", "-z", base, head, "--", "*.py")
    for file in listed.split("\0")[:-1][:MOST_FILES]:
        found = git.output(project, "diff", *plain, "--unified=0", base, head, "--", f":(literal,top){file}")
        source = git.output(project, "show", f"{head}:{file}")
        if len(source) <= LARGEST:
            yield from _changed_in(file, source, list(hunks(found)))


def hunks(diff: str) -> Iterator[tuple[int, int]]:
    """The first and the last line of each change in the new file. A removal is at the line after it."""
    for start, count in re.findall(r"(?m)^@@ -\S+ \+(\d+)(?:,(\d+))? @@", diff):
        first, length = int(start), int(count or 1)
        yield (first, first + length - 1) if length else (first + 1, first + 1)


def _changed_in(file: str, source: str, changes: Iterable[tuple[int, int]]) -> Iterator[ChangedFunction]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
        functions = list(_functions(tree, ""))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    for name, first, last in functions:
        inside = [(max(first, start), min(last, end)) for start, end in changes if start <= last and end >= first]
        if inside:
            yield ChangedFunction(f"{module}.{name}", Place(file, *inside[0]))


def _functions(node: ast.AST, inside: str) -> Iterator[tuple[str, int, int]]:
    """The qualified name of each function below a node, and its first and last line."""
    for child in ast.iter_child_nodes(node):
        below = inside
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{inside}{child.name}", child.lineno, child.end_lineno or child.lineno
            below = f"{inside}{child.name}.<locals>."
        elif isinstance(child, ast.ClassDef):
            below = f"{inside}{child.name}."
        yield from _functions(child, below)
