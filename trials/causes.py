"""Checks, for ten slowdowns of different kinds, whether the explanation names the culprit, and whether instruction
counts of equal code agree within 0.2 %."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench_core import clock
from bench_core.gate.versions.project import read_project
from bench_core.gate.versions.revisions import resolve
from bench_core.gate.versions.store import VersionStore
from bench_core.gate.versions.subjects import Subjects
from bench_core.gate.why.explain import explain
from bench_core.gate.why.instructions import count
from trials import plants, repositories
from trials.files import Trial, today
from trials.neighbours import other_core_busy

TEMPLATE = Path(__file__).parent / "causes_template"

JOBS = "src/jobs/__init__.py"


@dataclass(frozen=True)
class Plant:
    """A slowdown.

    Attributes:
        base, head: the text of the jobs that differs.
        culprit: a regular expression. A sentence that matches it has named the culprit. Fixed before the first run.
    """

    base: str
    head: str
    culprit: str


PLANTS: Mapping[str, Plant] = {
    "jobs.Walk.time_walk": Plant(
        "append(layers[index]", "append(model.layers[index]", r"Module\.__getattr__|LOAD_ATTR"
    ),
    "jobs.Cache.time_cache": Plant("@functools.cache\n", "", r"jobs\.fan\b"),
    "jobs.Temporary.time_temporary": Plant("gradient, alpha=-0.1", "gradient * -0.1", r"aten::mul\b"),
    "jobs.View.time_view": Plant("detach().t()", "detach().t().contiguous()", r"aten::(contiguous|clone|copy_)"),
    "jobs.Foreach.time_foreach": Plant(
        "    torch._foreach_mul_(parameters, 0.99)",
        "    for parameter in parameters:\n        parameter.mul_(0.99)",
        r"TensorBase\.mul_|aten::mul_|_foreach_mul_",
    ),
    "jobs.Wait.time_wait": Plant(
        "weight.mul_(torch.clamp(1 / norm, max=1.0))",
        "weight.mul_(min(1 / norm.item(), 1.0))",
        r"TensorBase\.item|aten::item|_local_scalar_dense",
    ),
    "jobs.Convert.time_convert": Plant(
        "copy_(saved)", "copy_(saved.double())", r"TensorBase\.double|aten::(to|_to_copy)\b|more aten::copy_"
    ),
    "jobs.Hook.time_hook": Plant("    for handle in handles:\n        handle.remove()\n", "", r"jobs\.watch\b"),
    "jobs.Draw.time_draw": Plant(
        "    nn.init.normal_(weight)", "    nn.init.normal_(weight)\n    nn.init.normal_(weight)", r"\bnormal_"
    ),
    "jobs.Buffer.time_buffer": Plant("ROWS = 512", "ROWS = 1024", r"aten::(zeros|zero_|empty|fill_)"),
}
"""The slowdowns by cell."""

INTERPRETED = tuple(
    plants.cell(kind, size)
    for kind in ("walk", "add", "allocate")
    for size in plants.SIZES[kind]
    if kind == "walk" or size <= 25
)
"""Cells of the other project that run mostly in the interpreter, not in numpy."""

PLANTED = 10
"""The number of cells with more instructions on head."""

PERCENT = 1
"""The additional work in these cells, in per cent."""

WITHIN = 0.002
"""The instruction counts of equal code must agree within this share."""


def run(trial: Trial, say: Callable[[str], None]) -> None:
    """Measure what is missing in the file: the causes, and the counts without and with additional work."""
    done = {line["asked"] for line in trial.done()}
    with TemporaryDirectory(prefix="trials-") as folder:
        jobs, first, slow, same = jobs_project(Path(folder, "jobs"))
        if "causes" not in done:
            line = causes(subjects(jobs.root, first, slow), say)
            trial.add(asked="causes", date=today(), **line)
            named = [one["named"] for one in line["cells"].values()]
            say(f"causes: {sum(named)} of {len(named)} sentences name the culprit, {line['seconds']:.0f} s")
        for asked, planted in (("same", {}), ("planted", drawn())):
            if asked in done:
                continue
            repository, base = plants.project(Path(folder, asked))
            compared = [(subjects(repository.root, base, plants.version(repository, planted, asked)), INTERPRETED)]
            if not planted:
                compared.append((subjects(jobs.root, first, same), tuple(PLANTS)))
            with other_core_busy():
                lines = [counts(*one, say) for one in compared]
            line = {
                "seconds": sum(one["seconds"] for one in lines),
                "cells": {name: both for one in lines for name, both in one["cells"].items()},
                "failed": {name: reason for one in lines for name, reason in one["failed"].items()},
            }
            trial.add(asked=asked, date=today(), planted=sorted(planted), **line)
            say(f"{asked}: instructions of {len(line['cells'])} cells, {line['seconds']:.0f} s")


def drawn() -> dict[str, int]:
    """`PLANTED` cells with their additional work in per cent."""
    return dict.fromkeys(random.Random(5).sample(INTERPRETED, PLANTED), PERCENT)


def slower(text: str) -> str:
    """The jobs with every slowdown."""
    for plant in PLANTS.values():
        if text.count(plant.base) != 1:
            raise ValueError(f"{plant.base!r} is {text.count(plant.base)} times in the jobs, and must be there once")
        text = text.replace(plant.base, plant.head)
    return text


def subjects(root: Path, base: str, head: str) -> Subjects:
    """Both commits, built as by the gate."""
    project = read_project(root / "asv.conf.json")
    store = VersionStore(project)
    resolved = [resolve(project, name) for name in (base, head)]
    made = [store.version(revision) for revision in resolved]
    return Subjects(made[0], made[1], store.suite(resolved[1]))


def jobs_project(root: Path) -> tuple[repositories.Repository, str, str, str]:
    """The ten jobs, and the hashes of three versions: the first, one with every slowdown, and the first with an
    additional comment and an unused table."""
    made = repositories.made(root, TEMPLATE)
    text = (root / JOBS).read_text()
    first = made.commit({}, "Ten jobs")
    slow = made.commit({JOBS: slower(text)}, "Slower, for ten reasons")
    unused = "\n# Not another version of any job.\nUNUSED = {str(number): number for number in range(37)}\n"
    return made, first, slow, made.commit({JOBS: text + unused}, "The same")


def causes(compared: Subjects, say: Callable[[str], None]) -> dict[str, Any]:
    """The causes of all ten slowdowns, each with an assumed ratio of 1.1."""
    began = clock.host()
    found = explain(compared, list(PLANTS), dict.fromkeys(PLANTS, 1.1), say)
    return {
        "seconds": round(clock.host() - began, 1),
        "cells": {
            name: {
                "sentence": one.sentence,
                "named": bool(re.search(PLANTS[name].culprit, one.sentence)),
                "instructions": one.instructions,
                "without": one.without,
            }
            for name, one in found.items()
        },
    }


def counts(compared: Subjects, cells: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """The instructions of base and head, by cell."""
    began = clock.host()
    found = count(compared, cells, say)
    return {
        "seconds": round(clock.host() - began, 1),
        "cells": {name: [side.total for side in both] for name, both in found.counts.items()},
        "failed": dict(found.failed),
    }


def apart(counted: Sequence[float]) -> float:
    """The relative increase of the instructions from base to head."""
    base, head = counted
    return head / base - 1


def seen(counted: Sequence[float]) -> bool:
    return apart(counted) > WITHIN
