"""What the contracts in pyproject.toml cannot check: which imports stand at the top of a module, and that records are
frozen."""

import ast
import re
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


def test_records_are_frozen_but_for_those_that_grow():
    found = [
        declared
        for path in sources("bench_core")
        for declared in re.findall(r"^ *@dataclass(.*)\n *class (\w+)", path.read_text(), re.MULTILINE)
    ]
    assert len(found) > 50
    assert {name for options, name in found if "frozen=True" not in options} == {
        "Course",
        "Dossier",
        "Testimony",
        "Trace",
        "_Bench",
    }
