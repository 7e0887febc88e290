"""Gates on generated suites of many plain cells of a few microseconds, that know nothing of this project."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from trials import repositories
from trials.figures import Figure, share
from trials.files import Line, Trial
from trials.gates import gate
from trials.growth import without_effects

COUNTS = (300, 1000)

CLASSES = 5
"""The suite has so many classes, each in a module of its own."""

PACKAGE = '''"""Functions of a few microseconds."""


def total(size):
    return sum(number * number for number in range(size))


def joined(size):
    return ",".join(map(str, range(size)))


def ordered(values):
    return sorted(values, reverse=True)


def counted(values):
    found = {{}}
    for value in values:
        found[value % 7] = found.get(value % 7, 0) + 1
    return found


NOTE = "{note}"
'''

SUITE = """import plain

VALUES = {{size: list(range(size)) for size in range({last})}}
FUNCTIONS = {{
    "total": plain.total,
    "joined": plain.joined,
    "ordered": lambda size: plain.ordered(VALUES[size]),
    "counted": lambda size: plain.counted(VALUES[size]),
}}


class Part{part}:
    params = [list(FUNCTIONS), list(range({first}, {last}))]
    param_names = ["function", "size"]

    def time_call(self, function, size):
        FUNCTIONS[function](size)
"""

SMALLEST = 10
"""The smallest size."""


def written(count: int, note: str) -> dict[str, str]:
    """The files of a project with a suite of `count` cells, a multiple of 4 * `CLASSES`, or nearly so."""
    each = max(1, count // (4 * CLASSES))
    config = {"version": 1, "project": "plain", "repo": ".", "benchmark_dir": "cells"}
    files = {"asv.conf.json": json.dumps(config), "plain.py": PACKAGE.format(note=note), "cells/__init__.py": ""}
    files["pyproject.toml"] = (
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "plain"\nversion = "1"\n[tool.setuptools]\npy-modules = ["plain"]\n'
    )
    for part in range(CLASSES):
        first = SMALLEST + part * each
        files[f"cells/part{part}.py"] = SUITE.format(part=part, first=first, last=first + each)
    return files


def run(trial: Trial, counts: Iterable[int], say: Callable[[str], None]) -> None:
    """Run a gate for each number of cells that is missing in the file. The versions differ by a constant that nothing
    reads, so every regression is false."""
    done = {line["count"] for line in trial.done()}
    for count in (count for count in counts if count not in done):
        with TemporaryDirectory(prefix="trials-") as folder:
            repository = repositories.made(Path(folder, "plain"))
            base, head = (repository.commit(written(count, note), note) for note in ("base", "head"))
            found = gate(repository.root, base, head, *trial.arguments, seed=5000 + count)
            trial.add(count=count, **without_effects(found))
            say(f"{count} cells: {found['wall']:.0f} s, {found['counts']}")


def of_plain(lines: Sequence[Line]) -> list[Figure]:
    found = []
    for line in lines:
        cells = sum(line["counts"].values())
        undecided = cells - line["counts"].get("pass", 0) - line["counts"].get("regression", 0)
        found += [
            Figure("plain", f"a gate on {cells} cells", f"{line['seconds']:.0f} s"),
            share("plain", f"of {cells} cells that are not decided", undecided, cells),
            share("plain", f"of {cells} cells that are red", line["counts"].get("regression", 0), cells),
        ]
    return found
