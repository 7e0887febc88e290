"""Runs `bench-core run` several times on the same cells, and counts what another run takes back."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench_core import units
from trials import repositories
from trials.figures import Figure, share, spread
from trials.files import Line, Trial, today
from trials.gates import TOOL
from trials.neighbours import other_core_busy

OWN = (
    r"Masked\.|ManyParameters|DirectEdit|LoadByModules|WarmFile|OptimizerStep|SharedLayer\.time_(backward|forward)\(|"
    r"InitializedModel|LookUpModules|LazyConstruction"
)
"""About sixty cells of this project's quick profile, of every family that has rivals."""

RUNS = {"own": 10, "twins": 2, "quick": 1, "agree": 1}
"""The runs of each kind, with the other core idle and as many with it busy."""

TWINS = 50
"""The number of jobs with a planted difference, and of jobs without one."""

PLANTED = 0.05

TWINS_SUITE = '''
class _Twins:
    """Two ways to do the same work."""

    rivals = "way"
    param_names = ["job", "way"]
    params = [[str(job) for job in range({twins})], ["one", "other"]]
    more = 0.0

    def setup(self, job, way):
        length = round(400 * 1.08 ** int(job))
        self.length = length + round(length * self.more) * (way == "other")

    def time_work(self, job, way):
        total = 0
        for number in range(self.length):
            total += number & 3
        return total


class Identical(_Twins):
    pass


class Planted(_Twins):
    more = {planted}
'''


def run(trial: Trial, kinds: Iterable[str], say: Callable[[str], None]) -> None:
    """Make the runs that are missing in the file."""
    done = {(line["kind"], line["busy"], line["index"]) for line in trial.done()}
    for kind in kinds:
        for index, busy in itertools.product(range(RUNS[kind]), (False, True)):
            if (kind, busy, index) in done:
                continue
            with other_core_busy() if busy else contextlib.nullcontext():
                found = agreement() if kind == "agree" else table(kind)
            trial.add(kind=kind, busy=busy, index=index, date=today(), **found)
            say(f"{kind} {index + 1} of {RUNS[kind]}{', other core busy' if busy else ''}: {found['wall']:.0f} s")


def table(kind: str) -> dict[str, Any]:
    """One run, as its JSON shows it."""
    with TemporaryDirectory(prefix="trials-") as folder:
        root = Path(folder, "project")
        if kind == "twins":
            suite = TWINS_SUITE.format(twins=TWINS, planted=PLANTED)
            config = {"version": 1, "project": "twins", "repo": ".", "benchmark_dir": "twins"}
            repository = repositories.made(root)
            files = {"asv.conf.json": json.dumps(config), "twins/__init__.py": "", "twins/t.py": suite}
            repository.commit(files, "Twins")
            arguments: list[str] = []
        else:
            repositories.clone_of_tool(root)
            arguments = ["--quick", *([OWN] if kind == "own" else [])]
        out = Path(folder, "table.json")
        ended = bench_core(root, "run", *arguments, "--json", str(out), "--machine", "trial")
        content = json.loads(out.read_text())
        groups = visited(root)
    return {
        "wall": ended,
        **{name: content[name] for name in ("seconds", "rounds", "noise", "failed", "unreached")},
        "cells": [
            {"params": _params(cell["name"])} | {key: value for key, value in cell.items() if key != "unit"}
            for cell in content["cells"]
        ],
        "groups": groups,
    }


def visited(root: Path) -> list[dict[str, Any]]:
    """The groups of the run that the project has stored, with what each round has read of them."""
    (file,) = Path(root, "results", "trial").glob("*.rounds.jsonl")
    (run,) = map(json.loads, file.read_text().splitlines())
    return [
        {
            "cells": group["cells"],
            "yardsticks": group["yardsticks"],
            "visits": [
                {**visit, "seconds": {name: float(f"{value:.5g}") for name, value in visit["seconds"].items()}}
                for visit in group["visits"]
            ],
        }
        for group in run["groups"]
    ]


def _params(name: str) -> list[str]:
    return [value.strip("'") for value in name.partition("(")[2].removesuffix(")").split(", ")]


def agreement() -> dict[str, Any]:
    """One comparison with torch's timer, as its page shows it."""
    with TemporaryDirectory(prefix="trials-") as folder:
        page = Path(folder, "agreement.md")
        ended = bench_core(TOOL, "agree", "--markdown", str(page), check=False)
        rows = [line.split(" | ") for line in page.read_text().splitlines() if line.startswith("| `")]
    return {"wall": ended, "agreement": {row[0].strip("| `"): [float(row[2]), row[4].strip(" |")] for row in rows}}


def bench_core(folder: Path, *arguments: str, check: bool = True) -> float:
    """Run the tool in a folder. Returns the seconds that it took."""
    from bench_core import clock

    began = clock.host()
    command = [sys.executable, "-m", "bench_core", *arguments]
    subprocess.run(command, cwd=folder, check=check, stdout=subprocess.DEVNULL)
    return clock.host() - began


def best_of(line: Line) -> dict[str, str]:
    """The way that was called the best, of each job that has one."""
    jobs: dict[str, list[Mapping[str, Any]]] = {}
    for cell in line["cells"]:
        if "job" in cell:
            jobs.setdefault(cell["job"], []).append(cell)
    tied = {job: [cell["name"] for cell in cells if cell["tied"]] for job, cells in jobs.items()}
    return {job: names[0] for job, names in tied.items() if len(names) == 1}


def lowest_of(line: Line) -> dict[str, str]:
    """The way with the lowest estimate, of each job."""
    found: dict[str, tuple[float, str]] = {}
    for cell in line["cells"]:
        if "job" in cell:
            found[cell["job"]] = min(found.get(cell["job"], (math.inf, "")), (cell["ratio_to_best"], cell["name"]))
    return {job: name for job, (_, name) in found.items()}


def taken_back(lines: Sequence[Line]) -> tuple[int, int]:
    """Of each job and each ordered pair of runs of which the first calls a way the best: how often another way has the
    lowest estimate in the second, and how many there are."""
    cases = [
        lowest_of(second).get(job) != name
        for first, second in itertools.permutations(lines, 2)
        for job, name in best_of(first).items()
    ]
    return sum(cases), len(cases)


def apart(lines: Sequence[Line], value: str) -> list[float]:
    """By how much a value of each cell differs between each pair of runs: the absolute logarithm of their ratio."""
    found = []
    for first, second in itertools.combinations(lines, 2):
        before = {cell["name"]: cell[value] for cell in first["cells"] if cell.get(value) and cell["kind"] == "time"}
        after = {cell["name"]: cell[value] for cell in second["cells"] if cell.get(value)}
        found += [abs(math.log(after[name] / before[name])) for name in before.keys() & after.keys()]
    return found


def apart_ratios(lines: Sequence[Line]) -> list[float]:
    """`apart` for the ratio of each cell to the best one, without those that are the best in both runs."""
    return [found for found in apart(lines, "ratio_to_best") if found > 0]


def missed_ratios(lines: Sequence[Line]) -> tuple[int, int]:
    """How many intervals of a ratio to the best do not contain the ratio of the same two cells in the other runs
    together, and how many there are."""
    cases = []
    for own in lines:
        others = [_ratios(line) for line in lines if line is not own]
        best = lowest_of(own)
        for cell in own["cells"]:
            if "job" not in cell or best[cell["job"]] == cell["name"] or cell["ratio_interval"][0] is None:
                continue
            pairs = [(one.get(cell["name"]), one.get(best[cell["job"]])) for one in others]
            logs = [math.log(over / under) for over, under in pairs if over and under]
            if logs:
                low, high = cell["ratio_interval"]
                cases.append(not low <= math.exp(statistics.fmean(logs)) <= high)
    return sum(cases), len(cases)


def _ratios(line: Line) -> dict[str, float]:
    return {cell["name"]: cell["ratio_to_best"] for cell in line["cells"] if "job" in cell}


def missed_times(lines: Sequence[Line]) -> tuple[int, int]:
    """How many intervals of a time do not contain the time that another run reads, and how many there are."""
    cases = []
    for first, second in itertools.permutations(lines, 2):
        other = {cell["name"]: cell["value"] for cell in second["cells"]}
        for cell in first["cells"]:
            low, high = cell["interval"]
            if cell["kind"] == "time" and low is not None and other.get(cell["name"]):
                cases.append(not low <= other[cell["name"]] <= high)
    return sum(cases), len(cases)


def called_slower(lines: Sequence[Line], name: str, way: str) -> Iterator[bool]:
    """For each job of the class `name` in each run, whether the way was told from the other one as the slower."""
    for line in lines:
        for cell in line["cells"]:
            if f".{name}." in cell["name"] and cell["params"][-1] == way:
                yield not cell["tied"]


def of_table(lines: Sequence[Line]) -> list[Figure]:
    found = []
    for busy, where in ((False, "idle"), (True, "other core busy")):
        chosen = [line for line in lines if line["busy"] is busy]
        own, twins, quick = ([line for line in chosen if line["kind"] == kind] for kind in ("own", "twins", "quick"))
        found += _of_own(own, where) if len(own) > 1 else []
        found += _of_twins(twins, where) if twins else []
        if quick:
            found.append(
                spread("table", f"timing of the quick profile, {where}", [one["seconds"] for one in quick], "s")
            )
        pages = [line["agreement"] for line in chosen if line["kind"] == "agree"]
        if pages:
            agreed = [verdict for page in pages for _, verdict in page.values()]
            what = f"cells that agree with torch's timer within 1 %, {where}"
            found.append(share("table", what, agreed.count("agrees"), len(agreed)))
    return found


def _of_own(own: Sequence[Line], where: str) -> list[Figure]:
    return [
        share("table", f"best ways that another run takes back, {where}", *taken_back(own)),
        _apart("ratio to the best", apart_ratios(own), where),
        share("table", f"intervals of a ratio that miss the other runs' ratio, {where}", *missed_ratios(own)),
        _apart("time", apart(own, "value"), where),
        share("table", f"intervals of a time that miss that of another run, {where}", *missed_times(own)),
        spread("table", f"scatter of a time from round to round, {where}", [100 * line["noise"] for line in own], "%"),
        spread("table", f"rounds, {where}", [line["rounds"] for line in own], "rounds"),
    ]


def _apart(what: str, logs: Sequence[float], where: str) -> Figure:
    half, most = math.expm1(statistics.median(logs)), math.expm1(statistics.quantiles(logs, n=10)[-1])
    value = f"{units.percent(half)} (median), {units.percent(most)} (nine of ten differ by less)"
    return Figure("table", f"a {what} differs between two runs by, {where}", value)


def _of_twins(twins: Sequence[Line], where: str) -> list[Figure]:
    planted = list(called_slower(twins, "Planted", "other"))
    wrong = list(called_slower(twins, "Planted", "one"))
    same = [*called_slower(twins, "Identical", "one"), *called_slower(twins, "Identical", "other")]
    return [
        share("table", f"ways slower by 5 % that are told from the faster, {where}", sum(planted), len(planted)),
        share("table", f"ways faster by 5 % that are called the slower, {where}", sum(wrong), len(wrong)),
        share("table", f"jobs with identical ways that are told apart, {where}", sum(same), len(same) // 2),
        spread("table", f"rounds of the twins, {where}", [line["rounds"] for line in twins], "rounds"),
    ]
