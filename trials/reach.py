"""Which cells a change leaves out: on changes whose reach is known, and on the history of this project."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench_core import clock, git
from bench_core.errors import BenchCoreError
from bench_core.gate.prepare import Choices, Prepared, Request, prepare
from trials import repositories
from trials.files import Trial
from trials.gates import gate

FUNCTIONS = 100
MODULES = 10
CELLS = 200

CALLS = 0.15
"""The share of functions that call two others, of later numbers."""

PLANT = "+ sum(range(20_000))"
"""The slowdown of a changed function: a few hundred microseconds on a call of less than one."""

COMMAND = 15.0
"""The most seconds that a gate on a change of one function of our suite may take."""

CHANGED = (
    "bench_core/suite/initializers.py",
    "    weight.mul_((weight >= 5)",
    "    weight.clone()\n    weight.mul_((weight >= 5)",
)
"""A change of one function of our suite: its file, and a text before and after."""


def generated(trial: Trial, changes: int, full: int, say: Callable[[str], None]) -> None:
    """Change one function of a generated package in each of `changes` versions, and let the gate find the cells that
    call it. In the first `full` of them, all cells are measured too."""
    done = {line["change"]: line for line in trial.done() if line["part"] == "generated"}
    calls, cells = _calls(), _cells()
    with TemporaryDirectory(prefix="trials-") as folder:
        repository = repositories.made(Path(folder, "generated"))
        base = repository.commit(_files(calls, cells), "Base")
        for change in range(changes):
            if change in done:
                continue
            changed = random.Random(f"change {change}").randrange(FUNCTIONS)
            head = repository.commit(_files(calls, cells, changed), f"f{changed:03d} is slower")
            truth = {name for name, called in cells.items() if changed in _reached(calls, called)}
            found = _prepared(repository.root, base, head, quick=False)
            line = {**_line(found), "changed": changed, "truth": sorted(truth)}
            unaffected = set(line["unaffected"])
            line["wrong"] = sorted(unaffected & truth)
            line["needless"] = sorted(cells.keys() - unaffected - truth)
            if change < full:
                line["full"] = _full(repository.root, base, head, "--full", change)
            trial.add(part="generated", change=change, **line)
            say(
                f"generated {change + 1} of {changes}: {len(unaffected)} of {CELLS} left out, "
                f"{len(line['wrong'])} wrongly, {len(line['needless'])} measured needlessly, {line['seconds']:.1f} s"
            )


def history(trial: Trial, commits: int, full: int, say: Callable[[str], None]) -> None:
    """Compare the last `commits` commits that changed the package with the commit before, on the quick profile. For the
    first `full` of those that leave cells out, all cells are measured too."""
    done = {line["commit"]: line for line in trial.done() if line["part"] == "history"}
    with TemporaryDirectory(prefix="trials-") as folder:
        clone = repositories.clone_of_tool(Path(folder, "clone"))
        listed = git.output(clone.root, "rev-list", "--no-merges", f"--max-count={commits}", "HEAD", "--", "bench_core")
        measured = sum("full" in line for line in done.values())
        for number, commit in enumerate(listed.split(), 1):
            line: Mapping[str, Any] = done.get(commit, {})
            if "full" in line or (line and (measured >= full or not line.get("unaffected"))):
                continue
            try:
                line = line or _line(_prepared(clone.root, f"{commit}^", commit, quick=True))
            except BenchCoreError as error:
                line = {"failed": str(error).splitlines()[0]}
            if line.get("unaffected") and measured < full:
                measured += 1
                line = {**line, "full": _full(clone.root, f"{commit}^", commit, "--quick", number)}
            kept = {name: value for name, value in line.items() if name not in ("part", "commit", "tool", "options")}
            trial.add(part="history", commit=commit, **kept)
            say(f"history {number} of {commits}: {commit[:12]} {_said(kept)}")


def quick(trial: Trial, runs: int, say: Callable[[str], None]) -> None:
    """Time the whole command on a change of one function of our suite, on the quick profile."""
    done = sum(line["part"] == "quick" for line in trial.done())
    with TemporaryDirectory(prefix="trials-") as folder:
        clone = repositories.clone_of_tool(Path(folder, "clone"))
        base = clone.commit({}, "Base")
        name, before, after = CHANGED
        text = (clone.root / name).read_text()
        if text.count(before) != 1:
            raise BenchCoreError(
                f"{name} has {before.strip()!r} {text.count(before)} times, not once: correct CHANGED."
            )
        for run in range(done, runs):
            # Another comment each time, so that the wheel of head is built each time.
            head = clone.commit({name: text.replace(before, after) + f"\n# {run}\n"}, f"Change {run}")
            found = gate(clone.root, base, head, "--quick", *trial.arguments, seed=9000 + run, everything=False)
            trial.add(part="quick", run=run, **{key: found[key] for key in ("wall", "verdict", "reason", "counts")})
            say(f"quick {run + 1} of {runs}: {found['wall']:.1f} s (at most {COMMAND:g}), {found['reason']}")


def _prepared(root: Path, base: str, head: str, *, quick: bool) -> tuple[Prepared, float]:
    """What a gate would measure, and the seconds until it is known, without building the versions."""
    request = Request(root / "asv.conf.json", base, head, quick=quick, settings=Choices(seed=1))
    said: list[tuple[float, str]] = []
    here = Path.cwd()
    try:
        found = prepare(request, {"machine": "trial"}, lambda line: said.append((clock.host(), line)))
    finally:
        os.chdir(here)
    began = next((when for when, line in said if line.startswith("recording")), clock.host())
    return found, clock.host() - began


def _line(prepared: tuple[Prepared, float]) -> dict[str, Any]:
    found, seconds = prepared
    if found.reach is None:
        return {"identical": found.identical, "unaffected": [], "seconds": 0.0}
    return {
        "unaffected": list(found.reach.unaffected),
        "through": dict(found.reach.through),
        "everything": found.reach.everything,
        "cells": len(found.work.found.cells) if found.work else 0,
        "seconds": round(seconds, 2),
    }


def _full(root: Path, base: str, head: str, profile: str, seed: int) -> dict[str, Any]:
    """The verdicts of a gate on all cells, by verdict."""
    found = gate(root, base, head, profile, seed=9100 + seed)
    cells: dict[str, list[str]] = {}
    for name, cell in found["cells"].items():
        cells.setdefault(cell["verdict"], []).append(name)
    kept = {verdict: names for verdict, names in cells.items() if verdict not in ("pass", "inconclusive")}
    return {"wall": found["wall"], "verdict": found["verdict"], "counts": found["counts"], **kept}


def _said(line: Mapping[str, Any]) -> str:
    if "failed" in line:
        return f"cannot be compared: {line['failed']}"
    said = line.get("identical") or line.get("everything") or f"{len(line['unaffected'])} left out, {line['cells']} not"
    if "full" in line:
        red = set(line["full"].get("regression", ()))
        said += f"; measured: {len(red)} red, {len(red & set(line['unaffected']))} of them left out"
    return said


def _calls() -> dict[int, list[int]]:
    """Which functions each one calls."""
    draw = random.Random("calls")
    calls: dict[int, list[int]] = {}
    for number in range(FUNCTIONS):
        later = range(number + 1, FUNCTIONS)
        calls[number] = draw.sample(later, min(2, len(later))) if draw.random() < CALLS else []
    return calls


def _cells() -> dict[str, list[int]]:
    """The cells, and which functions each one calls itself, in its setup or in its call."""
    draw = random.Random("cells")
    return {f"cells.C{number:03d}.time_call": draw.sample(range(FUNCTIONS), 3) for number in range(CELLS)}


def _reached(calls: Mapping[int, Iterable[int]], begin: Iterable[int]) -> set[int]:
    found: set[int] = set()
    waiting = [*begin]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += calls[one]
    return found


def _files(
    calls: Mapping[int, list[int]], cells: Mapping[str, list[int]], changed: int | None = None
) -> dict[str, str]:
    """The package and its suite. Functions are called by name, as methods, as generators, and through a table."""
    modules = {f"src/many/m{number}.py": ["from many import table", ""] for number in range(MODULES)}
    for number, called in calls.items():
        lines = modules[f"src/many/m{number % MODULES}.py"]
        total = " + ".join(["1", *(f"table.ALL[{other}]()" for other in called)])
        result = f"{total} {PLANT}" if number == changed else total
        kind = number // MODULES % 4
        if kind == 0:
            lines += [f"def f{number:03d}():", f"    return {result}", f"table.ALL[{number}] = f{number:03d}", ""]
        elif kind == 1:
            lines += [f"class F{number:03d}:", "    def run(self):", f"        return {result}"]
            lines += [f"table.ALL[{number}] = F{number:03d}().run", ""]
        elif kind == 2:
            lines += [f"def f{number:03d}():", f"    yield {result}"]
            lines += [f"table.ALL[{number}] = lambda: sum(f{number:03d}())", ""]
        else:
            lines += ["import functools", "@functools.cache", f"def f{number:03d}():", f"    return {result}"]
            lines += [f"table.ALL[{number}] = f{number:03d}", ""]
    imports = ["from many import table", *(f"from many import m{number}" for number in range(MODULES))]
    suite = [*imports, ""]
    for name, (first, *others) in cells.items():
        owner = name.split(".")[1]
        suite += [f"class {owner}:", "    def setup(self):", f"        self.made = table.ALL[{first}]()"]
        suite += ["    def time_call(self):"]
        suite += [f"        table.ALL[{other}]()" for other in others] + [""]
    return {
        "asv.conf.json": json.dumps({"version": 1, "project": "many", "repo": ".", "benchmark_dir": "suite"}),
        "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n\n'
        '[project]\nname = "many"\nversion = "1.0"\n',
        ".gitignore": ".asv/\nenv/\nresults/\nhtml/\n",
        "src/many/__init__.py": "",
        "src/many/table.py": "ALL = {}\n",
        "suite/__init__.py": "",
        "suite/cells.py": "\n".join(suite) + "\n",
        **{name: "\n".join(lines) + "\n" for name, lines in modules.items()},
    }
