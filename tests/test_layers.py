"""The direction of imports that docs/design.md draws, held against the import statements."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEAVES = {"asv_config", "errors", "files", "records", "statistics", "clock"}
# Each part, and what it may import of ours. `statistics` speaks in records, and that is all.
ALLOWED = {
    "errors": set(),
    "asv_config": {"errors"},
    "files": set(),
    "records": set(),
    "clock": set(),
    "statistics": {"records"},
    "suite": LEAVES,
    "timing": LEAVES | {"suite"},
    "results": LEAVES | {"timing"},
    "gate": LEAVES | {"timing"},
    "analysis": LEAVES | {"results"},
    "report": LEAVES | {"analysis", "results", "timing"},
    "pytest_plugin": LEAVES | {"timing"},
    "cli": LEAVES | {"timing", "results", "analysis", "gate", "report"},
}
WITH_TORCH = {"bench_core/suite", "bench_core/timing/accelerator.py", "bench_core/timing/torch_timer.py", "benchmarks"}


def imports(path, *, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(module):
    return module.split(".")[1]


def sources(*folders):
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def test_imports_between_parts_point_one_way():
    wrong = []
    for path in sources("bench_core"):
        part = path.relative_to(ROOT / "bench_core").parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for name in imports(path):
            if name.startswith("bench_core.") and name != "bench_core.__version__":
                other = part_of(name)
                if other != part and other not in ALLOWED[part]:
                    wrong.append(f"{path.name} imports {name}")
    assert not wrong


def test_a_benchmark_imports_the_suite_part_and_no_other():
    ours = {name for path in sources("benchmarks") for name in imports(path) if name.startswith("bench_core")}
    assert ours
    assert all(part_of(name) == "suite" for name in ours)


def test_torch_is_imported_only_where_the_design_says():
    with_torch = {
        str(path.relative_to(ROOT))
        for path in sources("bench_core", "benchmarks")
        if any(name == "torch" or name.startswith("torch.") for name in imports(path))
    }
    outside = {name for name in with_torch if not any(name.startswith(allowed) for allowed in WITH_TORCH)}
    assert outside <= {"bench_core/timing/machine.py"}  # doctor asks torch for its threads and build, if it is there


def test_the_command_line_starts_without_torch():
    heavy = {"torch", "asv", "asv_runner"}
    for path in [*sources("bench_core/cli"), *sources("bench_core/report"), *sources("bench_core/results")]:
        if path.name != "asv_run.py":
            assert not heavy & {name.split(".")[0] for name in imports(path, top_level_only=True)}, path
