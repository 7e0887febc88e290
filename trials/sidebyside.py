"""Compares the answers and times of asv, pytest-benchmark and our gate on the same two changes: none, and half of the
cells 5 % slower."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench_core import clock
from bench_core.errors import BenchCoreError
from bench_core.gate.versions.project import read_project
from bench_core.gate.versions.revisions import resolve
from bench_core.gate.versions.store import VersionStore
from trials import plants
from trials.files import Trial, today
from trials.gates import environment, gate

PERCENT = 5
"""The slowdown in per cent."""

FACTOR = 1.05
"""The factor of asv's second judgement, and pytest-benchmark's threshold. It equals our limit."""


@dataclass(frozen=True)
class Question:
    """A comparison that all tools make.

    Attributes:
        root: the project.
        base, head: commits.
        family: a class of its suite, or None for all.
        home: a folder for files that tools write into the user's home.
        options: the options of our gate, the family among them.
        seed: the seed of our gate.
    """

    root: Path
    base: str
    head: str
    family: str | None
    home: Path
    options: Sequence[str]
    seed: int


@dataclass(frozen=True)
class Answer:
    """The answer of a tool.

    Attributes:
        seconds: the time of the comparison.
        red: the cells that are judged slower, by rule of judgement.
        unsure: the cells that the tool leaves open.
    """

    seconds: float
    red: Mapping[str, Sequence[str]]
    unsure: Sequence[str] = ()


def ask_gate(question: Question) -> Answer:
    found = gate(question.root, question.base, question.head, *question.options, seed=question.seed)
    by_verdict = {
        verdict: [name for name, cell in found["cells"].items() if cell["verdict"] == verdict]
        for verdict in ("regression", "inconclusive", "error")
    }
    unsure = [*by_verdict["inconclusive"], *by_verdict["error"]]
    return Answer(found["wall"], {"its own rule": by_verdict["regression"]}, unsure)


def ask_asv(question: Question) -> Answer:
    """`asv continuous` with its defaults, and its results judged again with our limit as the factor."""
    bench = ["--bench", question.family] if question.family else []
    began = clock.host()
    printed = asv(question, "continuous", *bench, question.base, question.head, allowed=(0, 1))
    seconds = clock.host() - began
    again = asv(question, "compare", "--factor", str(FACTOR), "--only-changed", question.base, question.head)
    return Answer(seconds, {"factor 1.1, its default": slower(printed), "factor 1.05": slower(again)})


def asv(question: Question, *arguments: str, allowed: Sequence[int] = (0,)) -> str:
    """Run asv with a separate home folder, to which it writes its description of the machine."""
    real = Path.home()
    variables = {
        **os.environ,
        "HOME": str(question.home),
        "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME", str(real / ".config")),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(real / ".cache")),
    }
    return called([sys.executable, "-P", "-m", "asv", *arguments], question.root, variables, allowed)


def slower(table: str) -> list[str]:
    """The cells that asv's table of a comparison marks with a plus (slower) or an exclamation mark (newly failing)."""
    rows = [line.strip().strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return asvs_own([row[-1].strip() for row in rows if row[0].strip() in ("+", "!")])


def asvs_own(rows: Sequence[str]) -> list[str]:
    """The cells in these rows, without the results that our gate has stored beside asv's. `asv compare` shows all
    environments with results, with their names if there are several."""
    named = [row.partition(" [") for row in rows]
    return [cell for cell, _, environment in named if "/gate-" not in environment]


def ask_pytest(question: Question) -> Answer:
    """pytest-benchmark through our plugin: a run with each version, the second compared with the first."""
    project = read_project(question.root / "asv.conf.json")
    store = VersionStore(project)
    with TemporaryDirectory(prefix="trials-") as folder:
        began = clock.host()
        for side, name in (("base", question.base), ("head", question.head)):
            site = store.version(resolve(project, name)).path
            command = [
                *(sys.executable, "-P", "-m", "pytest", "cells", "-q", "-p", "no:cacheprovider"),
                *(f"--benchmark-storage={folder}", f"--benchmark-save={side}"),
                *(["-k", question.family] if question.family else []),
                *(
                    ["--benchmark-compare=0001", f"--benchmark-compare-fail=median:{PERCENT}%"]
                    if side == "head"
                    else []
                ),
            ]
            variables = environment()
            variables["PYTHONPATH"] = os.pathsep.join([site, variables["PYTHONPATH"]])
            printed = called(command, question.root, variables, (0, 1) if side == "head" else (0,))
        seconds = clock.host() - began
        base, head = (medians(Path(folder), side) for side in ("base", "head"))
    red = [name for name in base if head[name] > FACTOR * base[name]]
    if bool(red) != ("Performance has regressed" in printed):
        raise BenchCoreError(f"pytest-benchmark's output contradicts its medians ({red}):\n{printed[-2000:]}")
    return Answer(seconds, {"median:5%": red})


def medians(storage: Path, side: str) -> dict[str, float]:
    """The medians that pytest-benchmark has stored, by cell."""
    (path,) = storage.rglob(f"*_{side}.json")
    return {one["extra_info"]["cell"]: one["stats"]["median"] for one in json.loads(path.read_text())["benchmarks"]}


def called(command: Sequence[str], root: Path, variables: Mapping[str, str], allowed: Sequence[int]) -> str:
    """The output of a command.

    Raises:
        BenchCoreError: if its exit status is not allowed.
    """
    done = subprocess.run(
        command, cwd=root, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode not in allowed:
        last = "\n".join(done.stdout.splitlines()[-15:])
        raise BenchCoreError(f"`{' '.join(command[:5])} ...` ended with status {done.returncode}:\n{last}")
    return done.stdout


TOOLS: Mapping[str, Callable[[Question], Answer]] = {
    "gate": ask_gate,
    "asv continuous": ask_asv,
    "pytest-benchmark": ask_pytest,
}


def run(trial: Trial, rounds: int, say: Callable[[str], None]) -> None:
    """Make the comparisons that are missing in the file: in every round, each tool for both changes."""
    done = {(line["round"], line["asked"], line["change"]) for line in trial.done()}
    wanted = [(index, change, name) for index in range(rounds) for change in ("none", "+5 %") for name in TOOLS]
    missing = [(index, change, name) for index, change, name in wanted if (index, name, change) not in done]
    if not missing:
        return
    family = trial.options["bench"]
    fields: dict[str, Any] = {}
    with TemporaryDirectory(prefix="trials-") as folder:
        home = Path(folder, "home")
        home.mkdir()
        repository, base = plants.project(Path(folder, "plants"))
        heads: dict[tuple[int, str], tuple[str, dict[str, int]]] = {}
        for index, change, name in missing:
            if (index, change) not in heads:
                planted = plants.plan(PERCENT, 100 + index) if change != "none" else {}
                comment = f"Round {index}, change {change}"
                heads[index, change] = plants.version(repository, planted, comment), planted
            head, planted = heads[index, change]
            question = Question(repository.root, base, head, family, home, trial.arguments, seed=5000 + index)
            if name == "asv continuous" and not fields:
                asv(question, "machine", "--yes")
                began = clock.host()
                asv(question, "setup", allowed=(0, 1))  # it exits with a list of environments, which counts as 1
                fields = {"environment_seconds": round(clock.host() - began, 1)}
            answer = TOOLS[name](question)
            trial.add(
                round=index,
                asked=name,
                change=change,
                date=today(),
                seconds=round(answer.seconds, 1),
                planted=sorted(planted),
                red={rule: sorted(cells) for rule, cells in answer.red.items()},
                unsure=sorted(answer.unsure),
                **(fields if name == "asv continuous" else {}),
            )
            reds = {rule: len(cells) for rule, cells in answer.red.items()}
            say(f"round {index}, change {change}, {name}: {answer.seconds:.0f} s, red {reds}")
