"""What another torch does to the quick profile: a gate between two installs, its largest findings confirmed by hand
with torch's own timer, and the page that says so."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench_core.errors import BenchCoreError
from bench_core.gate.judge.gate import judge
from bench_core.gate.versions.project import read_project
from bench_core.gate.versions.store import VersionStore
from bench_core.gate.versions.versus import environments
from bench_core.gate.workers.child import ONE_THREAD
from bench_core.records.gate import CellEvidence, GateRecord, GateVerdict, Judgement
from bench_core.report.gate import effect, value
from bench_core.report.markup import code, plain
from bench_core.report.table import described
from bench_core.results import gate_file
from bench_core.statistics import ratio_interval
from trials.files import today, write_json
from trials.gates import TOOL, environment, tool

GATE, EXPLAINED, BY_HAND = "upgrade.jsonl", "upgrade-explained.jsonl", "upgrade-by-hand.jsonl"
"""One line each: asv takes every ``.json`` below results for its own."""

WHY = r"InPlace.*\(cpu, trunc_normal_, 256x256, float32\)"
"""The cell whose cause is looked for: the largest finding, in its smallest size that is no fixed cost."""

ROUNDS = 21
"""Processes of either install for each finding, in turn."""

STATEMENTS: Mapping[str, tuple[str, str]] = {
    "`trunc_normal_` of a 512x512 weight": ("init.trunc_normal_(weight)", "weight = torch.empty(512, 512)"),
    "`weight.data[0, 0] = 42`": ("weight.data[0, 0] = 42", "weight = torch.nn.Parameter(torch.ones(8, 4))"),
    "`p.zero_()` under `no_grad`, for 100 parameters of 8x4": (
        "with torch.no_grad():\n    for p in parameters:\n        p.zero_()",
        "parameters = [torch.nn.Parameter(torch.ones(8, 4)) for _ in range(100)]",
    ),
}
"""What a person would type to see whether the largest findings are so: statement and setup."""

TIME = """
import json, sys, torch
from torch.nn import init
from torch.utils.benchmark import Timer
statement, setup = json.load(sys.stdin)
timer = Timer(statement, setup, globals={"torch": torch, "init": init}, num_threads=1)
print(json.dumps([torch.__version__, timer.blocked_autorange(min_run_time=0.3).median]))
"""

REPORTED: Mapping[str, str] = {
    r"trunc_normal_|TruncatedNormal.*nn_init": "[pytorch#182116](https://github.com/pytorch/pytorch/issues/182116)",
}
"""Cells to the report upstream."""


def measure(folder: Path, base: str, head: str, options: Sequence[str]) -> None:
    """Run the gate, or go on with it; what it printed goes to the terminal."""
    _gate(folder / GATE, base, head, "--quick", *options)


def explain(folder: Path, base: str, head: str) -> None:
    """Let the gate say why the largest finding is slower."""
    _gate(folder / EXPLAINED, base, head, "--bench", WHY, "--explain")


def _gate(path: Path, base: str, head: str, *options: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "bench_core.cli", "gate", "--versus", base, head]
    done = subprocess.run(
        [*command, "--json", str(path.absolute()), *options], cwd=TOOL, env=environment(), check=False
    )
    if done.returncode not in (0, 1):
        raise BenchCoreError(f"the gate ended with status {done.returncode}.")
    content = json.loads(path.read_text())
    content["machine"]["machine"] = path.parent.name  # the host's name says nothing to others
    write_json(path, content)


def confirm(folder: Path, say: Callable[[str], None]) -> None:
    """Time the largest findings by hand, each in processes of its own that take turns."""
    record = gate_file.read(folder / GATE)
    store = VersionStore(read_project(TOOL / "asv.conf.json"))
    made = environments(store, (record.base.name, record.head.name), say)
    found = []
    for what, statement in STATEMENTS.items():
        seconds: dict[str, list[float]] = {"base": [], "head": []}
        versions = {}
        for round_ in range(ROUNDS):
            for side in random.Random(f"{what} {round_}").sample(("base", "head"), 2):
                versions[side], spent = _timed(getattr(made, side).path, statement)
                seconds[side].append(spent)
        ratio = ratio_interval(seconds["head"], seconds["base"])
        say(f"{what}: {ratio.middle:.3f} ({ratio.low:.3f} to {ratio.high:.3f})")
        found.append({"what": what, "statement": statement, "versions": versions, "seconds": seconds})
    about = {"date": today(), "tool": tool(dirty=True)}
    write_json(folder / BY_HAND, {**about, "timed": found})


def _timed(site: str, statement: tuple[str, str]) -> tuple[str, float]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", TIME],
        input=json.dumps(statement),
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": site},
        capture_output=True,
        text=True,
        check=True,
    )
    version, seconds = json.loads(done.stdout)
    return version, seconds


# The page.

Row = tuple[CellEvidence, Judgement]


def page(folder: Path) -> str:
    """``docs/torch-upgrades.md``."""
    record = gate_file.read(folder / GATE)
    verdict = judge(record)
    rows = list(zip(record.cells, verdict.cells, strict=True))
    timed = [row for row in rows if row[0].kind == "time"]
    return "\n".join(
        [
            f"# From {_name(record.base.name)} to {_name(record.head.name)}",
            "",
            *_short(record, verdict, timed),
            *_why(gate_file.read(folder / EXPLAINED)),
            *_by_hand(json.loads((folder / BY_HAND).read_text()), record),
            *_table("Slower", [row for row in timed if row[1].verdict == "regression"], slowest_first=True),
            *_table("Faster", [row for row in timed if row[1].verdict == "improvement"], slowest_first=False),
            *_stayed([row for row in timed if row[1].verdict == "pass"]),
            *_table("Not told", [row for row in timed if row[1].verdict == "inconclusive"], slowest_first=True),
            *_others([row for row in rows if row[0].kind != "time"]),
            *_how(record),
        ]
    )


def _name(asked: str) -> str:
    return asked.replace("==", " ")


def _short(record: GateRecord, verdict: GateVerdict, timed: Sequence[Row]) -> Iterator[str]:
    slower, faster, same = (
        sum(judged.verdict == name for _, judged in timed) for name in ("regression", "improvement", "pass")
    )
    yield f"The same code with two installs of torch, on the CPU: of {len(timed)} timed operations on parameters,"
    yield f"**{slower} got slower, {faster} got faster, {same} stayed** (slower by less than"
    untold = len(timed) - slower - faster - same
    yield f"{100 * record.settings.limit:g} %), and {untold} could not be told in the time. All intervals hold together"
    yield "with 95 %."
    yield ""
    if record.unfair:
        yield f"**Not a fair pair**: {plain('; '.join(record.unfair))}."
    else:
        yield "It is a fair pair: built for the same kind of accelerator, with the same BLAS,"
        yield f"under the same Python ({record.machine.get('python')})."
    if verdict.suite is not None:
        yield f"The median over all operations: {effect(verdict.suite.ratio)}."
    yield ""


def _why(record: GateRecord) -> Iterator[str]:
    yield "## Why the largest is slower"
    yield ""
    yield "What `--explain` says of it:"
    yield ""
    for cause in record.causes:
        yield f"- {code(cause.cell)}: {plain(cause.sentence)}"
    yield ""


def _by_hand(found: Mapping[str, Any], record: GateRecord) -> Iterator[str]:
    yield "## The largest, by hand"
    yield ""
    yield "The largest findings of different kinds, without anything of this project: with"
    yield f"`torch.utils.benchmark.Timer.blocked_autorange`, {ROUNDS} processes of either install in turn,"
    yield f"{found['date']}: the median process, the fastest and the slowest, and the ratio of the medians with its"
    yield "95 % interval."
    yield ""
    yield f"| what | {_name(record.base.name)} | {_name(record.head.name)} | ratio |"
    yield "| --- | ---: | ---: | ---: |"
    for one in found["timed"]:
        base, head = one["seconds"]["base"], one["seconds"]["head"]
        ratio = ratio_interval(head, base)
        times = (_spread(seconds) for seconds in (base, head))
        yield f"| {one['what']} | {' | '.join(times)} | {ratio.middle:.2f} ({ratio.low:.2f} … {ratio.high:.2f}) |"
    yield ""


def _spread(seconds: Sequence[float]) -> str:
    low, middle, high = (value(one, "seconds") for one in (min(seconds), statistics.median(seconds), max(seconds)))
    return f"{middle} ({low} … {high})"


def _table(title: str, rows: Sequence[Row], *, slowest_first: bool) -> Iterator[str]:
    if not rows:
        return
    yield f"## {title}"
    yield ""
    yield "| operation | before | after | change | |"
    yield "| --- | ---: | ---: | ---: | --- |"
    for cell, judged in sorted(rows, key=lambda row: row[1].ratio.middle, reverse=slowest_first):
        base, head = (value(gate_file.middle(cell, side), cell.unit) for side in ("base", "head"))
        known = next((where for pattern, where in REPORTED.items() if re.search(pattern, cell.name)), "")
        yield f"| {code(cell.name)} | {base} | {head} | {effect(judged.ratio)} | {known} |"
    yield ""


def _stayed(rows: Sequence[Row]) -> Iterator[str]:
    yield "## Stayed"
    yield ""
    yield "| family | operations | the largest bound |"
    yield "| --- | ---: | ---: |"
    for family in dict.fromkeys(cell.family for cell, _ in rows):
        chosen = [judged.ratio.high for cell, judged in rows if cell.family == family]
        yield f"| {family} | {len(chosen)} | at most {100 * (max(chosen) - 1):+.1f} % |"
    yield ""


def _others(rows: Sequence[Row]) -> Iterator[str]:
    """Memory and tracked values: ranges, which claim no coverage."""
    changed = [row for row in rows if row[1].verdict in ("regression", "improvement")]
    yield "## Memory, and tracked values"
    yield ""
    yield f"{len(rows) - len(changed)} of {len(rows)} are as they were, or within the limit."
    yield ""
    yield from itertools.islice(_table("", changed, slowest_first=True), 2, None)
    more = [gate_file.middle(cell, "head") - gate_file.middle(cell, "base") for cell, _ in rows if cell.unit == "bytes"]
    if more:
        low, high = (f"{end / 2**20:+.0f} MiB" for end in (min(more), max(more)))
        yield f"A peak is that of a whole process, torch included; over the {len(more)} of them, the differences are"
        yield f"{low} to {high}."
        yield ""


def _how(record: GateRecord) -> Iterator[str]:
    machine = described({name: text for name, text in record.machine.items() if name != "torch"})
    yield "## How"
    yield ""
    yield "    python -m trials upgrade      # the gate, the timings by hand, and this page"
    yield ""
    yield f"The gate is `bench-core gate --versus '{record.base.name}' '{record.head.name}' --quick`,"
    yield f"{record.date[:10]}, on"
    yield f"{machine.removesuffix(', torch None')}, one thread:"
    pairs = sum(len(cell.effects) for cell in record.cells)
    yield f"{pairs:,} times a process of either install took turns on one core"
    yield f"({record.resumed:,} of them and of the controls in earlier runs of the command, which go on from each"
    yield "other)."
    yield "What else differs between the installs:"
    yield f"{plain(', '.join(record.besides)) or 'nothing'}."
    yield ""
