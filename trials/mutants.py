"""Plants small bugs, one at a time, and counts how many the tests catch.

cosmic-ray's operators change a comparison, a number, an operator, a condition, a loop or a decorator. This module also
leaves out a statement, for which cosmic-ray has no operator. Each mutant is tried in a copy of the checkout, with the
tests of its module. A mutant is caught if a test fails, or if the tests do not end in time.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from bench_core import clock
from bench_core.compat import tomllib
from bench_core.errors import BenchCoreError
from trials.files import Line, Raw
from trials.gates import TOOL

TARGETS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "statistics": ("bench_core/statistics.py", ("tests/test_statistics.py", "tests/test_location_interval.py")),
    "special": ("bench_core/special.py", ("tests/test_special.py",)),
    "rounds": ("bench_core/analysis/rounds.py", ("tests/analysis/test_rounds.py",)),
    "jobs": ("bench_core/run/jobs.py", ("tests/run/test_jobs.py",)),
    "courses": ("bench_core/run/schedule.py", ("tests/run/test_courses.py",)),
    "sampling": ("bench_core/timing/sampling.py", ("tests/timing/test_sampling.py",)),
    "cells": ("bench_core/timing/cells.py", ("tests/timing/test_cells.py", "tests/pytest_plugin/test_collection.py")),
    "discovery": ("bench_core/timing/discovery.py", ("tests/timing/test_discovery.py",)),
    "limits": ("bench_core/analysis/limits.py", ("tests/analysis/test_limits.py", "tests/analysis/test_build.py")),
    "growth": ("bench_core/analysis/growth.py", ("tests/analysis/test_growth.py", "tests/analysis/test_build.py")),
    "idioms": ("bench_core/analysis/idioms.py", ("tests/analysis/test_idioms.py", "tests/analysis/test_build.py")),
    "judge": ("bench_core/gate/judge/*.py", ("tests/gate/judge",)),
    "plan": (
        "bench_core/workers/plan.py",
        ("tests/workers/test_plan.py", "tests/workers/test_blocks.py"),
    ),
    "worker": (
        "bench_core/workers/worker.py",
        ("tests/workers/test_blocks.py",),
    ),
    "turns": ("bench_core/workers/turns.py", ("tests/workers/test_turns.py",)),
    "loading": ("bench_core/workers/loading.py", ("tests/workers/test_loading.py",)),
    "schedule": ("bench_core/gate/measure/schedule.py", ("tests/gate/measure/test_schedule.py",)),
    "supervise": (
        "bench_core/gate/measure/supervise.py",
        ("tests/gate/measure/test_lanes.py",),
    ),
    "blame": ("bench_core/gate/measure/blame.py", ("tests/gate/measure/test_blame.py",)),
    "settle": ("bench_core/gate/measure/settle.py", ("tests/gate/measure/test_blame.py",)),
    "effects": ("bench_core/gate/measure/effects.py", ("tests/gate/measure/test_effects.py",)),
    "evidence": (
        "bench_core/gate/measure/evidence.py",
        ("tests/gate/measure/test_evidence.py", "tests/gate/measure/test_schedule.py"),
    ),
    "discover": ("bench_core/gate/measure/discover.py", ("tests/gate/measure/test_found.py",)),
    "versions": ("bench_core/gate/versions/[!iv]*.py", ("tests/gate/versions/test_versions.py",)),
    "installs": (
        "bench_core/gate/versions/[iv]*.py",
        (
            "tests/gate/versions/test_installs.py",
            # A whole gate, which takes as long as all the others.
            "--deselect=tests/gate/versions/test_installs.py::test_an_install_that_is_slower_is_a_regression",
        ),
    ),
}
"""For each target, the modules that are mutated (a pattern) and the tests that must catch the mutants, with options of
pytest."""

OF_ALL_MODULES = ("tests/test_layers.py",)
"""Tests that read the source of every module; they come last in each target."""

EXPLAINED = Path(__file__).with_name("survivors.toml")
"""Mutants that no test can or should catch, each with the reason."""

NOBODY_WRITES = re.compile(r"NoOp|_(Bit\w+|[LR]Shift)$|(?<!_Is)(?<!_IsNot)_(Is|IsNot)$")
"""The operators of cosmic-ray that are left out. Bit operators make arithmetic of floats fail at once, so that any test
catches them. `is` instead of `==` is mostly equivalent."""

PATIENCE = 5.0
"""A mutant is caught if its tests take this many times as long as without it, plus `GRACE`."""

GRACE = 10.0
"""Seconds that are added to the time limit of a mutant's tests."""


UNUSED = ("cacheprovider", "xdist", "hypothesispytest")
"""Plugins of pytest that are left out: the first would write, and importing the others takes half of a run's time."""


@dataclass(frozen=True)
class Mutant:
    """A changed module.

    Attributes:
        module: its path in the checkout.
        place: the line (from 1) and column (from 0) of the change.
        was: the original lines, without indentation.
        now: the changed lines, without indentation.
        text: the whole module.
    """

    module: str
    place: tuple[int, int]
    was: str
    now: str
    text: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.module, self.was, self.now


Make = Callable[[], str | None]
"""A function that returns the text of a mutated module, or None if it is no Python."""


def places(source: str) -> dict[tuple[int, int], list[Make]]:
    """The mutants of each place, by line and column. Annotations are left out, since nothing executes them."""
    parsed = ast.parse(source)
    annotations = list(_annotations(parsed))
    found: dict[tuple[int, int], list[Make]] = defaultdict(list)
    for place, make in (*_of_cosmic_ray(source), *_left_out(parsed, source)):
        if not any(start <= place < end for start, end in annotations):
            found[place].append(make)
    return found


def _of_cosmic_ray(source: str) -> Iterator[tuple[tuple[int, int], Make]]:
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    def make(operator: Any, occurrence: int) -> Make:
        return lambda: mutate_code(source, operator, occurrence)

    nodes = list(ast_nodes(get_ast(source)))
    for name in operator_names():
        if NOBODY_WRITES.search(name) or get_operator(name).arguments():
            continue
        operator = get_operator(name)()
        starts = (start for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, place in enumerate(starts):
            yield place, make(operator, occurrence)


def _left_out(parsed: ast.Module, source: str) -> Iterator[tuple[tuple[int, int], Make]]:
    """The module without one call whose value is not used, or without one augmented assignment."""
    lines = source.splitlines(keepends=True)

    def make(node: ast.stmt) -> Make:
        return lambda: "".join(
            [*lines[: node.lineno - 1], f"{' ' * node.col_offset}pass\n", *lines[node.end_lineno or node.lineno :]]
        )

    for node in ast.walk(parsed):
        call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        if isinstance(node, ast.AugAssign) or (call and isinstance(node, ast.stmt)):
            yield (node.lineno, node.col_offset), make(node)


def _annotations(parsed: ast.Module) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """The beginning and the end of each annotation."""
    for node in ast.walk(parsed):
        for found in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(found, ast.expr):
                assert found.end_lineno is not None
                assert found.end_col_offset is not None
                yield (found.lineno, found.col_offset), (found.end_lineno, found.end_col_offset)


def _changed(source: str, text: str) -> tuple[str, str]:
    lines = list(difflib.ndiff(source.splitlines(), text.splitlines()))
    return tuple(" ".join(line[2:].strip() for line in lines if line[0] == sign) for sign in "-+")


def drawn(modules: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """`count` mutants at places drawn evenly, one per place: a comparison has six mutants and a condition one, but each
    is one place for a mistake."""
    sources = {module: (TOOL / module).read_text() for module in modules}
    found = {(module, place): makes for module in modules for place, makes in places(sources[module]).items()}
    draw = random.Random(seed)
    order = draw.sample(sorted(found), len(found))
    mutants: list[Mutant] = []
    for module, place in order[:count]:
        text = draw.choice(found[module, place])()
        if text is not None and _compiles(text) and text != sources[module]:
            mutants.append(Mutant(module, place, *_changed(sources[module], text), text))
    return mutants


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def files() -> list[str]:
    """The files of the checkout that git tracks or does not ignore."""
    listed = subprocess.run(
        ["git", "-C", str(TOOL), "ls-files", "-z", "-c", "-o", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return sorted(name for name in set(listed.split("\0")) if name and (TOOL / name).is_file())


@dataclass(frozen=True)
class Copy:
    """A copy of the checkout for mutants."""

    root: Path

    @classmethod
    def made(cls, root: Path) -> Copy:
        for name in files():
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(TOOL / name, target)
        return cls(root)

    def caught(self, mutant: Mutant, tests: Sequence[str], limit: float) -> bool:
        """Whether the tests fail, or take longer than `limit` seconds, with the mutant."""
        path = self.root / mutant.module
        before = path.read_text()
        path.write_text(mutant.text)
        try:
            return not self.passes(tests, limit)
        finally:
            path.write_text(before)

    def passes(self, tests: Sequence[str], limit: float | None = None) -> bool:
        """Whether the tests pass, within `limit` seconds if it is given."""
        # No byte code: Python would use that of a mutant for the next one, which has the same length and age.
        environment = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        # A limit on processor time, so that an endless mutant does not outlive a trial that is killed.
        limited = ["sh", "-c", f'ulimit -t {math.ceil(limit or 3600)} && exec "$@"', "sh"]
        command = [*limited, sys.executable, "-m", "pytest", "-x", "-q", *(f"-pno:{name}" for name in UNUSED), *tests]
        with TemporaryFile("w+") as output, subprocess.Popen(
            command, cwd=self.root, env=environment, stdout=output, stderr=subprocess.DEVNULL, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                status = process.wait(limit)
                output.seek(0)
                return (
                    status == 0 and re.search(r"[0-9] passed\b", output.read()) is not None
                )  # a mutant may end its process with status 0
            except subprocess.TimeoutExpired:
                return False
            finally:  # including what the tests have started
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def digest(paths: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in sorted(paths):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


@dataclass(frozen=True)
class Target:
    """Modules, and the tests that must catch their mutants. While both are unchanged, no mutant is tried again."""

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]

    @classmethod
    def named(cls, name: str) -> Target:
        pattern, tests = TARGETS[name]
        modules = tuple(sorted(path.relative_to(TOOL).as_posix() for path in TOOL.glob(pattern)))
        if not modules:
            raise BenchCoreError(f"no module is {pattern}: mend `TARGETS` in trials/mutants.py.")
        return cls(name, modules, (*tests, *OF_ALL_MODULES))

    def protocol(self) -> dict[str, str]:
        held = [
            path
            for test in self.tests
            if not test.startswith("--")
            for path in ((TOOL / test).rglob("*.py") if (TOOL / test).is_dir() else [TOOL / test])
        ]
        return {"modules": digest(TOOL / module for module in self.modules), "tests": digest(held)}


def run(
    raw: Raw, names: Iterable[str], sample: int, seed: int, seconds: float, jobs: int, say: Callable[[str], None]
) -> None:
    """Try the mutants that are missing in the file.

    Args:
        sample: the most mutants of each target.
        seconds: after this time, no further mutant of a target is tried.
        jobs: the number of mutants that are tried at the same time, each in its own copy.
    """
    with TemporaryDirectory(prefix="mutants-") as folder:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for job in range(jobs):
            copies.put(Copy.made(Path(folder, str(job))))
        for name in names:
            _try(raw, Target.named(name), copies, sample, seed, seconds, jobs, say)


def _try(
    raw: Raw, target: Target, copies: SimpleQueue[Copy], sample: int, seed: int, seconds: float, jobs: int,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    protocol = target.protocol()
    done = {(line["module"], line["was"], line["now"]) for line in of(raw.read(), target.name, protocol)}
    chosen = [mutant for mutant in drawn(target.modules, sample, seed) if mutant.key not in done]
    if not chosen:
        return
    copy, started = copies.get(), clock.host()
    passes = copy.passes(target.tests)
    copies.put(copy)
    usual = clock.host() - started
    if not passes:
        raise BenchCoreError(f"the tests of {target.name} fail without a mutant: {' '.join(target.tests)}.")

    def attempt(mutant: Mutant) -> bool | None:
        if clock.host() - started > seconds:
            return None
        copy = copies.get()
        try:
            return copy.caught(mutant, target.tests, PATIENCE * usual + GRACE)
        finally:
            copies.put(copy)

    with ThreadPoolExecutor(jobs) as pool:
        for mutant, caught in zip(chosen, pool.map(attempt, chosen), strict=True):
            if caught is None:
                continue
            raw.add(
                target=target.name, **protocol, module=mutant.module, line=mutant.place[0], was=mutant.was,
                now=mutant.now, caught=caught,
            )  # fmt: skip
            if not caught:
                say(f"{mutant.module}:{mutant.place[0]} survived: {mutant.was}  ->  {mutant.now}")
    found = of(raw.read(), target.name, protocol)
    say(f"{target.name}: {sum(line['caught'] for line in found)} of {len(found)} caught")


def of(lines: Iterable[Line], target: str, protocol: Mapping[str, str]) -> list[Line]:
    """The mutants of a target that were tried with these modules and tests."""
    wanted = {"target": target, **protocol}
    return [line for line in lines if all(line[name] == value for name, value in wanted.items())]


def explained() -> dict[tuple[str, str, str], str]:
    """The reasons why some mutants may survive."""
    entries = tomllib.loads(EXPLAINED.read_text())["mutant"] if EXPLAINED.exists() else []
    return {(entry["module"], entry["was"], entry["now"]): entry["why"] for entry in entries}


def summary(lines: Sequence[Line], reasons: Mapping[tuple[str, str, str], str]) -> str:
    """A page with the newest mutants of each target, and those that survived."""
    rows, survivors = [], []
    for name in TARGETS:
        own = [line for line in lines if line["target"] == name]
        if not own:
            continue
        newest = of(own, name, {part: own[-1][part] for part in ("modules", "tests")})
        left = [line for line in newest if not line["caught"]]
        why = [reasons.get((line["module"], line["was"], line["now"]), "") for line in left]
        same = sum(map(bool, why))
        changing, caught = len(newest) - same, len(newest) - len(left)
        share = f"{100 * caught / changing:.0f} %" if changing else ""
        rows.append(f"| {name} | {len(newest)} | {same} | {caught} | {share} |")
        survivors += [
            f"- `{line['module']}:{line['line']}`: `{line['was']}` -> `{line['now']}`. {reason or 'No test sees it.'}"
            for line, reason in zip(left, why, strict=True)
        ]
    head = "| target | mutants | of no consequence | caught | share of the others |\n| --- | --: | --: | --: | --: |"
    return "\n".join(["# Mutants", "", head, *rows, "", "## Survivors", "", *survivors, ""])
