"""A torch upgrade: a gate between two installs, its largest findings checked with torch's own timer, and their page."""

from __future__ import annotations

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

from bench_core import tables, units
from bench_core.errors import BenchCoreError
from bench_core.gate.judge.gate import judge
from bench_core.gate.versions.project import read_project
from bench_core.gate.versions.store import VersionStore
from bench_core.gate.versions.versus import environments
from bench_core.records.gate import SIDES, CellEvidence, GateRecord, GateVerdict, Judgement
from bench_core.report.gate import effect
from bench_core.report.table import described
from bench_core.results import gate_file
from bench_core.statistics import ratio_interval
from bench_core.texts import code, plain
from bench_core.workers.child import ONE_THREAD
from trials.files import today, write_json
from trials.gates import TOOL, environment, tool

# asv reads every ``.json`` below its results folder, so these files of one line of JSON are named ``.jsonl``.
GATE = "upgrade.jsonl"
"""The file of the gate."""

EXPLAINED = "upgrade-explained.jsonl"
"""The file of the gate that explains the largest finding."""

BY_HAND = "upgrade-by-hand.jsonl"
"""The file of the times by torch's own timer."""

WHY = r"InPlace.*\(cpu, trunc_normal_, 256x256, float32\)"
"""The cell that is explained: the largest finding, at the smallest size whose cost is more than the fixed cost."""

ROUNDS = 21
"""The number of processes of each install for each finding. The installs take turns."""

STATEMENTS: Mapping[str, tuple[str, str]] = {
    "`trunc_normal_` of a 512x512 weight": ("init.trunc_normal_(weight)", "weight = torch.empty(512, 512)"),
    "`weight.data[0, 0] = 42`": ("weight.data[0, 0] = 42", "weight = torch.nn.Parameter(torch.ones(8, 4))"),
    "`p.zero_()` under `no_grad`, for 100 parameters of 8x4": (
        "with torch.no_grad():\n    for p in parameters:\n        p.zero_()",
        "parameters = [torch.nn.Parameter(torch.ones(8, 4)) for _ in range(100)]",
    ),
}
"""The statements and setups that a person would type to check the largest findings."""

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
"""The upstream reports of slowdowns, by a pattern of cells."""


def measure(folder: Path, base: str, head: str, options: Sequence[str]) -> None:
    """Run the gate, or continue it. Its output goes to the terminal."""
    _gate(folder / GATE, base, head, "--quick", *options)


def explain(folder: Path, base: str, head: str) -> None:
    """Let the gate explain the largest finding."""
    _gate(folder / EXPLAINED, base, head, "--bench", WHY, "--explain")


def _gate(path: Path, base: str, head: str, *options: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "bench_core", "gate", "--versus", base, head]
    done = subprocess.run(
        [*command, "--json", str(path.absolute()), *options], cwd=TOOL, env=environment(), check=False
    )
    if done.returncode not in (0, 1):
        raise BenchCoreError(f"the gate ended with status {done.returncode}.")
    content = json.loads(path.read_text())
    content["machine"]["machine"] = path.parent.name  # instead of the host's name
    write_json(path, content)


def confirm(folder: Path, say: Callable[[str], None]) -> None:
    """Time the largest findings with torch's own timer, in separate processes for each install, which take turns."""
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


Row = tuple[CellEvidence, Judgement]


def page(folder: Path) -> str:
    """``docs/torch-upgrades.md``."""
    record = gate_file.read(folder / GATE)
    verdict = judge(record)
    rows = [(one.evidence, one.judgement) for one in verdict.cells]
    timed = [row for row in rows if row[0].kind == "time"]
    return "\n".join(
        [
            f"# From {_name(record.base.name)} to {_name(record.head.name)}",
            "",
            *_short(record, verdict, timed),
            *_why(gate_file.read(folder / EXPLAINED)),
            *_by_hand(json.loads((folder / BY_HAND).read_text()), record),
            *_section("Slower", [row for row in timed if row[1].verdict == "regression"], slowest_first=True),
            *_section("Faster", [row for row in timed if row[1].verdict == "improvement"], slowest_first=False),
            *_passed([row for row in timed if row[1].verdict == "pass"]),
            *_section("Inconclusive", [row for row in timed if row[1].verdict == "inconclusive"], slowest_first=True),
            *_others([row for row in rows if row[0].kind != "time"]),
            *_how(record),
        ]
    )


def _name(asked: str) -> str:
    return asked.replace("==", " ")


def _short(record: GateRecord, verdict: GateVerdict, timed: Sequence[Row]) -> Iterator[str]:
    slower, faster, passed, open_ = (
        sum(judged.verdict == name for _, judged in timed)
        for name in ("regression", "improvement", "pass", "inconclusive")
    )
    limit = units.percent(record.settings.limit)
    yield f"The same code with two installs of torch, on the CPU: of {len(timed)} timed operations on parameters,"
    yield f"**{slower} became slower, {faster} became faster, {passed} passed** (slower by less than {limit}),"
    yield f"and {open_} are inconclusive. The 95 % confidence holds for all intervals together."
    yield ""
    if record.unfair:
        yield f"**Not a fair pair**: {plain('; '.join(record.unfair))}."
    else:
        yield "The comparison is fair: both are built for the same kind of accelerator, with the same BLAS, and run"
        yield f"under the same Python ({record.machine.get('python')})."
    if verdict.suite is not None:
        yield f"The median over all operations: {effect(verdict.suite.ratio)}."
    yield ""


def _why(record: GateRecord) -> Iterator[str]:
    yield from ("## Cause of the largest slowdown", "", "The output of `--explain`:", "")
    for cause in record.causes:
        yield f"- {code(cause.cell)}: {plain(cause.sentence)}"
    yield ""


def _by_hand(found: Mapping[str, Any], record: GateRecord) -> Iterator[str]:
    yield "## The largest findings, checked with torch's own timer"
    yield ""
    yield "The largest findings of different kinds, measured without this project, with"
    yield f"`torch.utils.benchmark.Timer.blocked_autorange`. {ROUNDS} processes of each install took turns,"
    yield f"{found['date']}. The table shows the median process, the fastest and the slowest, and the ratio of the"
    yield "medians with its 95 % interval."
    yield ""
    fields = ([one["what"], *_timings(one["seconds"]["base"], one["seconds"]["head"])] for one in found["timed"])
    yield from tables.markdown("lrrr", ["what", _name(record.base.name), _name(record.head.name), "ratio"], fields)
    yield ""


def _timings(base: Sequence[float], head: Sequence[float]) -> list[str]:
    ratio = ratio_interval(head, base)
    return [_spread(base), _spread(head), f"{ratio.middle:.2f} ({ratio.low:.2f} … {ratio.high:.2f})"]


def _spread(seconds: Sequence[float]) -> str:
    low, middle, high = map(units.time, (min(seconds), statistics.median(seconds), max(seconds)))
    return f"{middle} ({low} … {high})"


def _section(title: str, rows: Sequence[Row], *, slowest_first: bool) -> Iterator[str]:
    if rows:
        yield from (f"## {title}", "", *_table(rows, slowest_first=slowest_first))


def _table(rows: Sequence[Row], *, slowest_first: bool) -> Iterator[str]:
    ordered = sorted(rows, key=lambda row: row[1].ratio.middle, reverse=slowest_first)
    yield from tables.markdown("lrrrl", ["operation", "before", "after", "change", ""], map(_fields, ordered))
    yield ""


def _fields(row: Row) -> list[str]:
    cell, judged = row
    base, head = (cell.median(side) for side in SIDES)
    shown = units.before_and_after(base, head, judged.ratio.middle, cell.unit)
    known = next((where for pattern, where in REPORTED.items() if re.search(pattern, cell.name)), "")
    return [code(cell.name), *shown, effect(judged.ratio), known]


def _passed(rows: Sequence[Row]) -> Iterator[str]:
    by_family: dict[str, list[float]] = {}
    for cell, judged in rows:
        by_family.setdefault(cell.family, []).append(judged.ratio.high)
    yield from ("## Passed", "")
    yield from tables.markdown(
        "lrr",
        ["family", "operations", "the largest bound"],
        ([family, str(len(highs)), f"at most {units.change(max(highs))}"] for family, highs in by_family.items()),
    )
    yield ""


def _others(rows: Sequence[Row]) -> Iterator[str]:
    """Memory and tracked values. Their intervals are ranges, which claim no coverage."""
    changed = [row for row in rows if row[1].verdict in ("regression", "improvement")]
    yield from ("## Memory, and tracked values", "")
    yield f"{len(rows) - len(changed)} of {len(rows)} are unchanged or within the limit."
    yield ""
    yield from _table(changed, slowest_first=True)
    more = [cell.median("head") - cell.median("base") for cell, _ in rows if cell.unit == "bytes"]
    if more:
        low, high = (f"{end / 2**20:+.0f} MiB" for end in (min(more), max(more)))
        yield "Peak memory is that of the whole process, torch included."
        yield f"Over all {len(more)} cells it differs by {low} to {high}."
        yield ""


def _how(record: GateRecord) -> Iterator[str]:
    machine = described({name: text for name, text in record.machine.items() if name != "torch"})
    effects = sum(len(cell.effects) for cell in record.cells)
    yield from ("## How", "", "    python -m trials upgrade      # the gate, the timings by hand, and this page", "")
    yield f"The gate is `bench-core gate --versus '{record.base.name}' '{record.head.name}' --quick`,"
    yield f"{record.date[:10]}, on"
    yield f"{machine.removesuffix(', torch None')}, one thread:"
    yield f"cells were measured {effects:,} times by pairs of processes, one of each install, in turn on one core."
    yield f"{record.resumed:,} of these measurements and of the controls' are from earlier runs of the command, whose"
    yield "evidence was reused. `before` is the median of the pairs, and `after` is `before` times their median ratio,"
    yield "so that it agrees with the change."
    yield "Other packages that differ between the installs:"
    yield f"{plain(', '.join(record.besides)) or 'none'}."
    yield ""
