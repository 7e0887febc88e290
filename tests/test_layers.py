"""What the contracts in pyproject.toml cannot check: which imports stand at the top of a module, and that records are
frozen."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent


def imports(path, *, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(*folders):
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def test_the_command_line_starts_without_torch():
    heavy = {"torch", "asv", "asv_runner"}
    for path in [*sources("bench_core/cli"), *sources("bench_core/report"), *sources("bench_core/results")]:
        if path.name != "asv_run.py":
            assert not heavy & {name.split(".")[0] for name in imports(path, top_level_only=True)}, path


def is_dataclass(decorator):
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Name) and called.id == "dataclass"


def is_frozen(decorator):
    keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
    return any(word.arg == "frozen" and getattr(word.value, "value", None) is True for word in keywords)


def test_records_are_frozen_but_for_those_that_grow():
    classes = [
        (node, is_frozen(decorator))
        for path in sources("bench_core")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for decorator in node.decorator_list
        if is_dataclass(decorator)
    ]
    assert len(classes) > 50
    assert {node.name for node, frozen in classes if not frozen} == {"Dossier", "_Bench"}
