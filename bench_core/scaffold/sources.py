"""Reads the source code of a package: its modules, and the functions that it offers. Nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PRIVATE = {"conftest", "setup", "test", "testing", "tests", "vendor", "vendored"}
"""Modules whose functions no user calls, beside those whose names begin with an underscore."""

LARGEST = 1_000_000
"""The largest file that is read, in bytes. What is larger is generated, or data."""

Node = ast.FunctionDef | ast.AsyncFunctionDef
"""The definition of a function."""


@dataclass(frozen=True)
class Function:
    """A function of a package.

    Attributes:
        module: the module that defines it.
        name: its name there.
    """

    module: str
    name: str
    node: Node


class Sources:
    """The source code of a package.

    Args:
        package: its import name.
        source: its folder, or the file of a single module.
    """

    def __init__(self, package: str, source: Path) -> None:
        self.package = package
        self._source = source
        self._trees: dict[str, ast.Module | None] = {}
        self._offered: dict[str, dict[str, Function]] = {}

    def modules(self) -> list[str]:
        """The modules that a user may import, the package first."""
        if self._source.is_file():
            return [self.package]
        found = []
        for path in sorted(self._source.rglob("*.py")):
            parts = path.relative_to(self._source).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            if not any(part.startswith("_") or part in PRIVATE for part in parts):
                found.append(".".join((self.package, *parts)))
        return sorted(found, key=lambda name: (name.count("."), name))

    def tree(self, module: str) -> ast.Module | None:
        """The code of a module; None if the package has no such module, or it cannot be read."""
        if module not in self._trees:
            self._trees[module] = self._read(module)
        return self._trees[module]

    def offered(self, module: str) -> dict[str, Function]:
        """The functions that a module offers under public names: its own, and those that it imports from the others."""
        names = self._names(module)
        listed = self._listed(module)
        return {name: found for name, found in names.items() if (name in listed if listed else name[0] != "_")}

    def statements(self, module: str) -> Iterator[ast.stmt]:
        """The statements at the top of a module, also those in `if` and `try`."""
        tree = self.tree(module)
        if tree is not None:
            yield from _flat(tree.body)

    def origin(self, module: str, node: ast.ImportFrom) -> str:
        """The module that a `from` imports from, in full."""
        if not node.level:
            return node.module or ""
        parts = module.split(".")
        kept = len(parts) - node.level + (1 if self._is_folder(module) else 0)
        return ".".join([*parts[: max(kept, 0)], *([node.module] if node.module else [])])

    def _names(self, module: str) -> dict[str, Function]:
        """All functions among the names of a module."""
        if module in self._offered:
            return self._offered[module]
        found = self._offered[module] = {}  # already here, for modules that import each other
        for node in self.statements(module):
            if isinstance(node, Node):
                found[node.name] = Function(module, node.name, node)
            elif isinstance(node, ast.ImportFrom):
                origin = self.origin(module, node)
                theirs = self._names(origin)
                for alias in node.names:
                    if alias.name == "*":
                        found |= self.offered(origin)
                    elif alias.name in theirs:
                        found[alias.asname or alias.name] = theirs[alias.name]
        return found

    def _listed(self, module: str) -> set[str]:
        """The names in the module's ``__all__``; empty if it has none, or computes it."""
        for node in self.statements(module):
            targets = node.targets if isinstance(node, ast.Assign) else ()
            if isinstance(node, ast.Assign) and any(ast.unparse(one) == "__all__" for one in targets):
                try:
                    return set(ast.literal_eval(node.value))
                except ValueError:
                    return set()
        return set()

    def _is_folder(self, module: str) -> bool:
        return self._place(module).name == "__init__.py"

    def _place(self, module: str) -> Path:
        if self._source.is_file():
            return self._source
        inside = module.removeprefix(self.package).strip(".")
        folder = self._source.joinpath(*inside.split(".")) if inside else self._source
        return folder / "__init__.py" if folder.is_dir() else folder.with_name(f"{folder.name}.py")

    def _read(self, module: str) -> ast.Module | None:
        if module != self.package and not module.startswith(f"{self.package}."):
            return None
        try:
            path = self._place(module)
            return ast.parse(path.read_bytes()) if path.stat().st_size <= LARGEST else None
        except (OSError, SyntaxError, ValueError, RecursionError):
            return None


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from _flat([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from _flat([*node.body, *(one for handler in node.handlers for one in handler.body), *node.orelse])
