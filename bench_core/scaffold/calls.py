"""Chooses the call that the example benchmark times. The project's code is read, and never imported or run.

A call is taken from where its authors show it: from an example (``>>>``) in the docstring of a function, or in the
README. Without one, a function is called that needs no argument, or only ones of simple types.
"""

from __future__ import annotations

import ast
import builtins
import doctest
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench_core.scaffold.sources import Function, Node, Sources

LONGEST = 100
"""The longest line, in characters, that is taken from an example."""

CUSTOMARY = {"np": "import numpy as np"}
"""What examples use without an import. It is taken if the package imports it too."""

UNSAFE = {
    *("eval", "exec", "exit", "input", "open", "print", "quit"),
    *("asyncio", "ftplib", "http", "httpx", "multiprocessing", "os", "requests", "shutil", "signal", "smtplib"),
    *("socket", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "webbrowser"),
}
"""A function that names one of these may do something outside of itself, and is not chosen."""

ACTIONS = {
    *("activate", "cli", "close", "configure", "connect", "delete", "disable", "download", "dump", "enable", "fetch"),
    *("init", "install", "load", "main", "open", "read", "register", "remove", "reset", "run", "save", "send", "serve"),
    *("set", "setup", "shutdown", "start", "stop", "unlink", "update", "upload", "warn", "write"),
}
"""A function whose name begins with one of these words changes something, and is not chosen."""

SMALL = 40
"""A function with less code than this many nodes of its syntax tree is no good example: its call takes as long as the
measuring around it. It is taken if there is no other one."""

TEXT = '"the quick brown fox jumps over the lazy dog"'

SIMPLE = {
    "int": "1000",
    "float": "0.5",
    "bool": "True",
    "str": TEXT,
    "Any": TEXT,
    "object": TEXT,
    "bytes": f"b{TEXT}",
    **dict.fromkeys(("list[int]", "Sequence[int]", "Iterable[int]", "List[int]"), "list(range(100))"),
    **dict.fromkeys(("list[float]", "Sequence[float]", "Iterable[float]", "List[float]"), "[0.5] * 100"),
    **dict.fromkeys(("list[str]", "Sequence[str]", "Iterable[str]", "List[str]"), f"{TEXT}.split()"),
}
"""The arguments for types that are simple."""


@dataclass(frozen=True)
class Call:
    """A call to time.

    Attributes:
        name: the function's name, for the name of the benchmark.
        function: the function with its module.
        imports: the statements that import what the call needs.
        prepared: the values that are made before, each with its name.
        expression: the call.
        origin: where it is from, e.g. ``"the example in its docstring"``.
    """

    name: str
    function: str
    imports: tuple[str, ...]
    prepared: tuple[tuple[str, str], ...]
    expression: str
    origin: str


def choose_call(sources: Sources, folder: Path) -> Call | None:
    """The call to time; None if none is found. Of the documented functions that the package offers by itself, the one
    with the most code is taken.

    Args:
        folder: the folder with the README.
    """
    package = sources.package
    offered = {name: Found(name, package, one) for name, one in sources.offered(package).items()}
    ranked = _ranked(offered.values())
    deeper = (
        Found(name, module, one)
        for module in sources.modules()
        if module != package
        for name, one in sources.offered(module).items()
        if one.module == module
    )
    large, small = ([one for one in ranked if (one.code >= SMALL) is wanted] for wanted in (True, False))
    return (
        next(_calls(_from_docstring(sources, found) for found in large), None)
        or next(_calls(_from_text(sources, text, name) for name, text in _readme(folder)), None)
        or next(_calls(_from_docstring(sources, found) for found in small), None)
        or next(_calls(_from_signature(found) for found in ranked), None)
        or next(_calls(_from_docstring(sources, found) for found in deeper), None)
    )


@dataclass(frozen=True)
class Found:
    """A function, with the name and the module under which it is imported."""

    name: str
    module: str
    function: Function

    @property
    def code(self) -> int:
        """The number of nodes of its syntax tree."""
        return sum(1 for _ in ast.walk(self.function.node))

    @property
    def imported(self) -> str:
        return f"from {self.module} import {self.name}"


def _calls(found: Iterable[Call | None]) -> Iterator[Call]:
    return (one for one in found if one is not None)


def _ranked(found: Iterable[Found]) -> list[Found]:
    """The functions that may be called, the one with the most code first."""
    return sorted(
        (one for one in found if _harmless(one.name, one.function.node)),
        key=lambda one: (-one.code, one.name),
    )


def _harmless(name: str, node: Node) -> bool:
    """Whether calling the function returns something, and seems to do nothing else."""
    if isinstance(node, ast.AsyncFunctionDef) or node.decorator_list or not _calm(name):
        return False
    inside = list(ast.walk(node))
    names = {one.id for one in inside if isinstance(one, ast.Name)}
    return (
        not names & UNSAFE
        and not any(isinstance(one, (ast.Yield, ast.YieldFrom, ast.Await, ast.Global)) for one in inside)
        and any(isinstance(one, ast.Return) and one.value is not None for one in inside)
    )


def _calm(name: str) -> bool:
    return not name.startswith("_") and name.split("_")[0].lower() not in ACTIONS


def _readme(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.glob("README*")):
        if path.is_file():
            yield path.name, path.read_text(encoding="utf-8", errors="replace")


def _from_docstring(sources: Sources, found: Found) -> Call | None:
    """The first example in the docstring of a function that calls it."""
    node = found.function.node
    text = ast.get_docstring(node)
    if not text or not _harmless(found.name, node):
        return None
    module = found.function.module
    package = {sources.package: f"import {sources.package}"}
    known = _Names(sources, {**package, **_globals(sources, module), found.name: found.imported}, module)
    return known.first_call(text, "an example in its docstring", lambda name: known.is_it(name, found.name))


def _from_text(sources: Sources, text: str, name: str) -> Call | None:
    """The first example in a text that calls something of the package."""
    known = _Names(sources, {}, sources.package)
    return known.first_call(text, f"an example in {name}", known.is_ours)


def _from_signature(found: Found) -> Call | None:
    """A call with no argument, or with simple ones, of a function that refuses none of them."""
    node = found.function.node
    if any(isinstance(one, (ast.Raise, ast.Assert)) for one in ast.walk(node)):
        return None
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    needed = positional[: len(positional) - len(arguments.defaults)]
    if any(default is None for default in arguments.kw_defaults):
        return None
    given = [SIMPLE.get(_type(one.annotation)) for one in needed]
    values = [value for value in given if value is not None]
    if len(values) < len(needed):
        return None
    return Call(
        name=found.name,
        function=f"{found.module}.{found.name}",
        imports=(found.imported,),
        prepared=(),
        expression=f"{found.name}({', '.join(values)})",
        origin="arguments of the types that it takes" if values else "no argument",
    )


def _type(annotation: ast.expr | None) -> str:
    """A type without the module that it is from; "" without one."""
    if annotation is None:
        return ""
    written = annotation.value if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
    outer, bracket, inner = str(written).partition("[")
    return outer.split(".")[-1] + bracket + inner


def _globals(sources: Sources, module: str) -> dict[str, str]:
    """The names at the top of a module, each with the statement that imports it. An example may use them."""
    found: dict[str, str] = {}
    for node in sources.statements(module):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= _imported(node, sources.origin(module, node) if isinstance(node, ast.ImportFrom) else "")
        elif isinstance(node, (Node, ast.ClassDef)):
            found[node.name] = f"from {module} import {node.name}"
    return found


def _imported(node: ast.Import | ast.ImportFrom, origin: str = "") -> dict[str, str]:
    """The names that a statement imports, each with a statement that imports it alone. `origin` is the module of a
    relative import."""
    found = {}
    for alias in node.names:
        if alias.name == "*":
            continue
        suffix = f" as {alias.asname}" if alias.asname else ""
        start = f"from {origin or node.module} import " if isinstance(node, ast.ImportFrom) else "import "
        found[alias.asname or alias.name.split(".")[0]] = f"{start}{alias.name}{suffix}"
    return found


class _Names:
    """The names that examples use, and where each is from.

    Args:
        known: names with the statements that import them.
        module: the module that the examples are about. What it imports is installed.
    """

    def __init__(self, sources: Sources, known: dict[str, str], module: str) -> None:
        self._sources = sources
        self._package = sources.package.split(".")[0]
        self._imports = {**CUSTOMARY, **known}
        self._values: dict[str, ast.expr] = {}
        self._installed = {self._package, *sys.stdlib_module_names}
        for one in (sources.package, module):
            tree = sources.tree(one)
            for node in tree.body if tree else ():
                if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level):
                    self._installed |= {_top(line) for line in _imported(node).values()}

    def is_it(self, called: str, function: str) -> bool:
        """Whether what is called is this function, alone or as an attribute of the package."""
        return called == function or (called.endswith(f".{function}") and self._is_imported_from_package(called))

    def is_ours(self, called: str) -> bool:
        """Whether what is called is imported from the package, and seems to do nothing but to return something."""
        last = called.split(".")[-1]
        offered = self._sources.offered(self._sources.package).get(last)
        harmless = _calm(last) if offered is None else _harmless(last, offered.node)
        return harmless and self._is_imported_from_package(called)

    def first_call(self, text: str, origin: str, wanted: Callable[[str], bool]) -> Call | None:
        """The first example that shows what a wanted function returns, and whose names are all known."""
        for statement, shows in _examples(text):
            if isinstance(statement, ast.Import) or (isinstance(statement, ast.ImportFrom) and not statement.level):
                self._imports |= _imported(statement)
            elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                self._values[statement.targets[0].id] = statement.value
            elif isinstance(statement, ast.Expr) and shows:
                called = next((name for name in _called(statement.value) if wanted(name)), None)
                if called and (call := self._call(statement.value, called, origin)):
                    return call
        return None

    def _is_imported_from_package(self, called: str) -> bool:
        first = called.split(".")[0]
        return first not in self._values and _top(self._imports.get(first, "")) == self._package

    def _call(self, expression: ast.expr, called: str, origin: str) -> Call | None:
        needed: dict[str, ast.expr] = {}
        imports: set[str] = set()
        if not self._resolve(expression, needed, imports, ()):
            return None
        prepared = tuple((name, _with_attributes(value, needed)) for name, value in needed.items())
        shown = _with_attributes(expression, needed)
        if any(len(line) > LONGEST for line in (shown, *(value for _, value in prepared))):
            return None
        first, *rest = called.split(".")
        function = ".".join([_meant(self._imports[first]), *rest])
        return Call(function.split(".")[-1], function, tuple(sorted(imports)), prepared, shown, origin)

    def _resolve(
        self, expression: ast.expr, needed: dict[str, ast.expr], imports: set[str], asking: tuple[str, ...]
    ) -> bool:
        """Find out what an expression needs: values, in the order in which they are made, and imports.

        Returns:
            Whether all of it is known.
        """
        for name in _free(expression):
            if name in asking or name == "_":
                return False
            if name in needed:
                continue
            if name in self._values:
                if not self._resolve(self._values[name], needed, imports, (*asking, name)):
                    return False
                needed[name] = self._values[name]
            elif name in self._imports:
                if _top(self._imports[name]) not in self._installed:
                    return False
                imports.add(self._imports[name])
            elif not hasattr(builtins, name) or name in UNSAFE:
                return False
        return True


def _examples(text: str) -> Iterator[tuple[ast.stmt, bool]]:
    """The statements of the examples in a text, each with whether its result is shown. Those that are skipped or fail
    are left out."""
    try:
        examples = doctest.DocTestParser().get_examples(text)
    except ValueError:
        return
    for example in examples:
        if example.exc_msg is not None or example.options.get(doctest.SKIP):
            continue
        try:
            statements = ast.parse(example.source).body
        except (SyntaxError, ValueError):
            continue
        for statement in statements:
            yield statement, bool(example.want.strip()) and statement is statements[-1]


def _called(expression: ast.expr) -> Iterator[str]:
    """The functions that an expression calls by name, the outermost first."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if all(part.isidentifier() for part in name.split(".")):
                yield name


def _free(expression: ast.expr) -> list[str]:
    """The names that an expression takes from outside, in the order of the text."""
    names = sorted(
        (node for node in ast.walk(expression) if isinstance(node, ast.Name)),
        key=lambda node: (node.lineno, node.col_offset),
    )
    bound = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in ast.walk(expression) if isinstance(node, ast.arg)}
    return [name for name in dict.fromkeys(node.id for node in names) if name not in bound]


def _with_attributes(expression: ast.expr, prepared: Iterable[str]) -> str:
    """The expression with the names that `setup` prepares as attributes of `self`."""
    names = set(prepared)

    class Prepared(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return ast.Attribute(ast.Name("self"), node.id) if node.id in names else node

    return _double_quoted(ast.unparse(Prepared().visit(ast.parse(ast.unparse(expression), mode="eval").body)))


def _double_quoted(code: str) -> str:
    """A line of code with the texts in double quotes, as formatters write them."""
    parts, end = [], 0
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.STRING and (plain := re.fullmatch(r"([bru]*)'([^'\"\\]*)'", token.string)):
            parts += [code[end : token.start[1]], f'{plain[1]}"{plain[2]}"']
            end = token.end[1]
    return "".join([*parts, code[end:]])


def _meant(statement: str) -> str:
    """What an import statement makes available: ``a.b`` for ``from a import b as c``."""
    words = statement.split()
    return f"{words[1]}.{words[3]}" if words[0] == "from" else words[1].split(".")[0] if len(words) == 2 else words[1]


def _top(statement: str) -> str:
    """The top-level module of an import statement; "" for an empty one."""
    return statement.split()[1].split(".")[0] if statement else ""
