"""Tries the suites of public projects, as published: which of their cells are found, and which run, by each door.

A suite is checked out at a fixed commit, and gets an environment with the newer of two releases of its project. asv is
the reference: its own discovery says which cells there are, and its own process for one benchmark says which of them
run.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import venv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_core import clock, git, tables
from bench_core.asv_config import AsvConfig, asv_config
from bench_core.compat import tomllib
from bench_core.errors import BenchCoreError
from trials.files import Line, Trial, today
from trials.gates import TOOL

SAMPLE = 40
"""The number of cells of each suite that are run, drawn from those that asv finds."""

SEED = 14
"""The seed of the draw."""

DOORS = ("run", "pytest", "gate")

QUICK = json.dumps({"number": 1, "repeat": 1, "rounds": 1, "processes": 1, "warmup_time": 0})
"""What `asv run --quick` sets: one call."""

GATE_BUDGET = "90s"
"""The gate's budget. It shows which cells run; their verdicts need the default, which is up to four times as long."""

LONGEST = 3600.0
"""The most seconds that a door may take for the sample."""

MODULE = ("-P", "-m")
"""Runs a module as its console script does: the current folder, with a package that is not built, is not searched."""

SAID = 300
"""The most characters that are kept of a cause."""


@dataclass(frozen=True)
class Suite:
    """A suite of a public project.

    Attributes:
        project: ``owner/name`` on GitHub.
        commit: the commit that is tried.
        config: the path of its configuration.
        releases: the two releases that the gate compares. The newer one is in the environment.
        needs: what its benchmarks import besides.
        options: of its gate.
    """

    project: str
    commit: str
    config: str
    releases: tuple[str, str]
    needs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


SUITES: Mapping[str, Suite] = {
    "numpy": Suite(
        "numpy/numpy",
        "1f90bbb55e65e7de68921bc3f1a2d94492fdf689",
        "benchmarks/asv.conf.json",
        ("numpy==2.3.5", "numpy==2.4.6"),
    ),
    "scipy": Suite(
        "scipy/scipy",
        "3dbf660a919b1479cdf30d533176053b428d08d3",
        "benchmarks/asv.conf.json",
        ("scipy==1.16.3", "scipy==1.17.1"),
        ("pytest", "cffi", "array-api-strict", "hypothesis"),
    ),
    "xarray": Suite(
        "pydata/xarray",
        "b1c1dc549b62bdfc8de0bdded24f56464cf0db1a",
        "asv_bench/asv.conf.json",
        ("xarray==2025.12.0", "xarray==2026.4.0"),
        (
            *("numpy==2.2.*", "pandas<3", "netcdf4", "scipy", "bottleneck", "dask", "distributed", "flox"),
            *("numpy_groupies", "sparse", "cftime", "pyarrow", "pytest-mypy-plugins", "pytest-asyncio"),
        ),
    ),
    "dask": Suite(
        "dask/dask-benchmarks",
        "9956e67abc24c7fb1ea832a5500b411356b03b84",
        "dask/asv.conf.json",
        ("dask==2025.9.1", "dask==2026.1.2"),
        ("numpy", "pandas<3", "pyarrow", "distributed", "scipy", "tables", "s3fs"),
    ),
    "scikit-image": Suite(
        "scikit-image/scikit-image",
        "cd0a3d22b9f359f05618d75d5c7a29b91b4951ca",
        "asv.conf.json",
        ("scikit-image==0.25.2", "scikit-image==0.26.0"),
        ("numpy", "scipy", "pooch"),
    ),
    "networkx": Suite(
        "networkx/networkx",
        "cfc6b79fc53f583aa15a79b2187ae30bd4f480ed",
        "benchmarks/asv.conf.json",
        ("networkx==3.5", "networkx==3.6.1"),
        ("numpy", "scipy", "pandas<3"),
    ),
    "warp": Suite(
        "NVIDIA/warp",
        "9934a4eb2c503399140daab09d256ccc7236d1d8",
        "asv.conf.json",
        ("warp-lang==1.11.1", "warp-lang==1.12.1"),
        ("numpy", "usd-core"),
        ("--lanes", "1"),  # its setups empty a cache in the home folder, which all processes share
    ),
}

Outcome = tuple[str, str]
"""``runs``, ``skipped`` or ``failed``, with the reason."""


def run(trial: Trial, names: Sequence[str], mirror: Path | None, work: Path, say: Callable[[str], None]) -> None:
    """Try the suites that are missing in the file.

    Args:
        mirror: a folder with clones, ``OWNER+NAME/repo``; None to fetch from GitHub.
        work: the folder for checkouts and environments. It is kept, and used again.
    """
    done = {line["suite"] for line in trial.done()}
    for name in names:
        if name in done:
            continue
        suite = SUITES[name]
        say(f"{name}: checkout and environment")
        checkout = checked_out(suite, mirror, work / name / "checkout")
        place = Place(checkout.root, checkout.root / suite.config, environment(suite, work / name / "env"), work / name)
        line = {"suite": name, "project": suite.project, "commit": suite.commit, "releases": suite.releases}
        found = json.loads(json.dumps(tried(suite, place, say)).replace(str(work), "WORK"))  # errors name paths
        trial.add(**line, without=checkout.without, date=today(), **found)


@dataclass(frozen=True)
class Checkout:
    """The files of a suite's project.

    Attributes:
        without: files that the mirror does not have.
    """

    root: Path
    without: tuple[str, ...]


def checked_out(suite: Suite, mirror: Path | None, root: Path) -> Checkout:
    """Check a suite's commit out, in a repository of its own.

    Raises:
        BenchCoreError: if it cannot be fetched.
    """
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    git.output(root, "init", "-q")
    if mirror is None:
        git.output(root, "fetch", "-q", "--depth", "1", f"https://github.com/{suite.project}", suite.commit)
    else:
        objects = mirror / suite.project.replace("/", "+") / "repo" / "objects"
        (root / ".git/objects/info/alternates").write_text(f"{objects.resolve()}\n")
    listed = git.output(root, "ls-tree", "-r", "-z", suite.commit).split("\0")[:-1]
    blobs = {
        path: about.split(" ")[2] for about, _, path in (line.partition("\t") for line in listed) if "blob" in about
    }
    there = git.output(root, "cat-file", "--batch-check", given="".join(f"{blob}\n" for blob in blobs.values()))
    missing = {line.split(" ")[0] for line in there.splitlines() if line.endswith(" missing")}
    without = tuple(path for path, blob in blobs.items() if blob in missing)
    git.output(root, "read-tree", suite.commit)
    if without:
        git.output(
            root, "update-index", "--force-remove", "-z", "--stdin", given="".join(f"{path}\0" for path in without)
        )
    git.output(root, "checkout-index", "-a", "-q")
    author = ("-c", "user.name=Trials", "-c", "user.email=trials@example.org")
    tree = git.output(root, "write-tree").strip()
    own = git.output(root, *author, "commit-tree", tree, "-m", f"{suite.project} at {suite.commit}").strip()
    git.output(root, "update-ref", "HEAD", own)
    return Checkout(root, without)


def environment(suite: Suite, folder: Path) -> Path:
    """Make an environment for a suite, or bring it up to date. It has no torch unless the suite needs it.

    Returns:
        Its interpreter.

    Raises:
        BenchCoreError: if a package cannot be installed.
    """
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    ours = tomllib.loads((TOOL / "pyproject.toml").read_text())
    needed = [*ours["project"]["dependencies"], *ours["project"]["optional-dependencies"]["pytest"]]
    _install(python, *ours["build-system"]["requires"], *needed, *suite.needs, suite.releases[1])
    _install(python, "--no-deps", "--no-build-isolation", "--force-reinstall", str(TOOL))
    return python


def _install(python: Path, *asked: str) -> None:
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", *asked], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        raise BenchCoreError(f"pip cannot install {' '.join(asked)}: {done.stderr[-SAID:]}")


@dataclass(frozen=True)
class Place:
    """Where a suite is tried.

    Attributes:
        root: the checkout.
        config: the suite's configuration.
        python: the interpreter of its environment.
        work: a folder for files.
    """

    root: Path
    config: Path
    python: Path
    work: Path

    @property
    def settings(self) -> AsvConfig:
        return asv_config(self.config)

    @property
    def suite(self) -> Path:
        return self.settings.suite.resolve()

    def call(self, *arguments: object, cwd: Path | None = None, timeout: float = LONGEST, **variables: str) -> Done:
        """Run the environment's interpreter, and wait for it."""
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        try:
            done = subprocess.run(
                [str(self.python), *map(str, arguments)],
                cwd=cwd or self.config.parent,
                env={**kept, **variables, "COLUMNS": "160"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Done(-1, "", f"longer than {timeout:g} s")
        return Done(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Done:
    """How a process has ended."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line that it wrote to standard error, or to standard output."""
        lines = [line.strip() for line in (self.err.strip() or self.out.strip()).splitlines() if line.strip()]
        return (lines[-1] if lines else f"exit code {self.code}")[:SAID]


def tried(suite: Suite, place: Place, say: Callable[[str], None]) -> dict[str, Any]:
    """Hold the doors against asv."""
    began = clock.host()
    say("  discovery, by asv and by us")
    theirs, discovery = asvs_cells(place)
    ours = our_cells(place)
    listed = place.call(*MODULE, "bench_core", "list", "--suite", place.config)
    both = {identity: name for identity, name in ours["cells"].items() if identity in theirs}
    drawn = random.Random(SEED).sample(sorted(theirs), min(SAMPLE, len(theirs)))
    names = {identity: ours["cells"].get(identity, theirs[identity]) for identity in drawn}
    outcomes: dict[str, dict[str, Outcome]] = {}
    say(f"  {len(drawn)} of {len(theirs)} cells by asv")
    outcomes["asv"] = asvs_outcomes(place, names, discovery["benchmarks"])
    collected: Mapping[str, Any] = {}
    seconds = {}
    for door, through in (("run", _through_run), ("pytest", _through_pytest), ("gate", _through_gate)):
        say(f"  by {door}")
        start = clock.host()
        outcomes[door], more = through(place, suite, [names[identity] for identity in drawn])
        seconds[door] = round(clock.host() - start, 1)
        collected = {**collected, **more}
    return {
        "python": sys.version.split()[0],
        "asv": {"cells": len(theirs), "benchmarks": len(discovery["benchmarks"]), "error": discovery["error"]},
        "list": {"cells": len(ours["cells"]), "said": listed.last, "code": listed.code},
        "collected": collected,
        "broken": ours["broken"],
        "left_out": ours["left out"],
        "only_asv": sorted(theirs[one] for one in theirs.keys() - ours["cells"].keys()),
        "only_ours": sorted(ours["cells"][one] for one in ours["cells"].keys() - theirs.keys()),
        "renamed": sum(theirs[identity] != name for identity, name in both.items()),
        "cells": {names[one]: {door: outcomes[door][names[one]] for door in ("asv", *DOORS)} for one in drawn},
        "door_seconds": seconds,
        "seconds": round(clock.host() - began, 1),
    }


# asv

Identity = tuple[str, int]
"""A cell by asv's name of its benchmark, and its index among the benchmark's cells."""

TOLERANT = """
import json, sys
from asv_runner._aux import update_sys_path
from asv_runner.discovery import disc_benchmarks
update_sys_path(sys.argv[1])
kept = ("name", "params", "timeout", "setup_cache_timeout", "setup_cache_key")
found = [{key: getattr(one, key, None) for key in kept} for one in disc_benchmarks(sys.argv[1], True)]
json.dump(found, open(sys.argv[2], "w"))
"""
"""asv_runner's discovery with its own option to leave out modules that do not import."""


def asvs_cells(place: Place) -> tuple[dict[Identity, str], dict[str, Any]]:
    """The cells that asv finds, by identity; and its benchmarks, with the error that ends its discovery, or None. After
    such an error, the modules that do not import are left out."""
    file = place.work / "discovered.json"
    file.unlink(missing_ok=True)
    done = place.call(_asvs_script(place), "discover", place.suite, file)
    error = None
    if done.code:
        error = done.last
        done = place.call("-c", TOLERANT, place.suite, file)
        if done.code:
            raise BenchCoreError(f"asv finds nothing in {place.suite}: {done.last}")
    benchmarks = {one["name"]: one for one in json.loads(file.read_text())}
    cells = {(name, index): cell for name, one in benchmarks.items() for index, cell in enumerate(_expanded(one))}
    return cells, {"benchmarks": benchmarks, "error": error}


def _asvs_script(place: Place) -> Path:
    """The script that asv runs in a process of its own for each step."""
    done = place.call("-c", "import asv.runner; print(asv.runner.BENCHMARK_RUN_SCRIPT)")
    return Path(done.out.strip())


def _expanded(benchmark: Mapping[str, Any]) -> Iterator[str]:
    names = [""]
    for values in benchmark["params"]:
        names = [f"{name}, {value}" if name else str(value) for name in names for value in values]
    for name in names:
        yield f"{benchmark['name']}({name})" if benchmark["params"] else benchmark["name"]


def asvs_outcomes(
    place: Place, cells: Mapping[Identity, str], benchmarks: Mapping[str, Mapping[str, Any]]
) -> dict[str, Outcome]:
    """What becomes of cells in asv: each in a process of its own, after its `setup_cache`, as in `asv run --quick`."""
    script, caches, outcomes = _asvs_script(place), place.work / "asv", {}
    shutil.rmtree(caches, ignore_errors=True)
    made: dict[str | None, tuple[Path, str]] = {}
    for (benchmark, index), cell in cells.items():
        declared = benchmarks[benchmark]
        timeout = declared.get("timeout") or place.settings.timeout
        key = declared.get("setup_cache_key")
        if key not in made:
            folder = caches / str(len(made))
            folder.mkdir(parents=True)
            error = ""
            if key is not None:
                limit = declared.get("setup_cache_timeout") or timeout
                done = place.call(script, "setup_cache", place.suite, benchmark, "{}", cwd=folder, timeout=limit)
                error = done.last if done.code else ""
            made[key] = folder, error
        folder, error = made[key]
        identity = f"{benchmark}-{index}" if declared["params"] else benchmark
        outcomes[cell] = ("failed", error) if error else _asvs_outcome(place, script, identity, folder, timeout)
    return outcomes


def _asvs_outcome(place: Place, script: Path, identity: str, folder: Path, timeout: float) -> Outcome:
    file = folder / "result.json"
    file.unlink(missing_ok=True)
    done = place.call(script, "run", place.suite, identity, QUICK, "None", file, cwd=folder, timeout=timeout)
    if done.code or not file.exists():
        return "failed", done.last
    value = json.loads(file.read_text())
    return ("skipped", "") if isinstance(value, float) and value != value else ("runs", "")


# The doors

OURS = """
import json, sys
from pathlib import Path
from bench_core.timing.cells import SuiteDirectory
suite = SuiteDirectory.configured(Path(sys.argv[1]))
found = {
    "cells": [[cell.benchmark, cell.index or 0, cell.name] for cell in suite.cells],
    "broken": {one.name: one.reason for one in suite.broken},
    "left out": {one.source: one.reason for one in suite.left_out},
}
Path(sys.argv[2]).write_text(json.dumps(found))
"""


def our_cells(place: Place) -> dict[str, Any]:
    """What `bench-core list` finds, with the identity of each cell."""
    file = place.work / "ours.json"
    file.unlink(missing_ok=True)
    done = place.call("-c", OURS, place.config, file)
    if done.code:
        raise BenchCoreError(f"the suite {place.suite} cannot be read: {done.last}")
    found: dict[str, Any] = json.loads(file.read_text())
    return {**found, "cells": {(benchmark, index): name for benchmark, index, name in found["cells"]}}


def _pattern(cells: Sequence[str]) -> str:
    return f"^(?:{'|'.join(map(re.escape, cells))})$"


Through = tuple[dict[str, Outcome], dict[str, Any]]
"""What becomes of each cell, and what else the door says."""


def _through_run(place: Place, suite: Suite, cells: Sequence[str]) -> Through:
    file = place.work / "run.json"
    file.unlink(missing_ok=True)
    options = ("--suite", place.config, "--full", "--seed", SEED, "--json", file)
    done = place.call(*MODULE, "bench_core", "run", _pattern(cells), *options)
    if not file.exists():
        return dict.fromkeys(cells, ("failed", done.last)), {"run_code": done.code}
    found = json.loads(file.read_text())
    timed = {cell["name"]: cell["value"] for cell in found["cells"]}
    outcomes: dict[str, Outcome] = {}
    for cell in cells:
        if cell in found["failed"]:
            outcomes[cell] = "failed", found["failed"][cell][:SAID]
        elif cell in found["skipped"]:
            outcomes[cell] = "skipped", found["skipped"][cell][:SAID]
        elif cell in found["unreached"]:
            outcomes[cell] = "failed", "not reached"
        else:
            outcomes[cell] = ("runs", "") if cell in timed else ("failed", "not found")
    return outcomes, {"run_code": done.code}


def _through_pytest(place: Place, suite: Suite, cells: Sequence[str]) -> Through:
    file, asked = place.work / "pytest.json", place.work / "sampled.json"
    file.unlink(missing_ok=True)
    asked.write_text(json.dumps({"cells": list(cells), "found": str(file)}))
    plugins = place.work / "plugins"
    plugins.mkdir(exist_ok=True)
    shutil.copy(TOOL / "trials" / "sampled.py", plugins)
    options = ("-q", "--benchmark-disable", "-p", "sampled", "-p", "no:cacheprovider")
    done = place.call(*MODULE, "pytest", place.suite, *options, SAMPLED=str(asked), PYTHONPATH=str(plugins))
    if not file.exists():
        return dict.fromkeys(cells, ("failed", done.last)), {"pytest": None, "pytest_code": done.code}
    found = json.loads(file.read_text())
    outcomes: dict[str, Outcome] = dict.fromkeys(cells, ("failed", f"lost: {done.last}"))
    outcomes |= {cell: (kind, said[:SAID]) for cell, (kind, said) in found["outcomes"].items()}
    return outcomes, {"pytest": found["cells"], "pytest_broken": found["broken"], "pytest_code": done.code}


def _through_gate(place: Place, suite: Suite, cells: Sequence[str]) -> Through:
    file = place.work / "gate.json"
    file.unlink(missing_ok=True)
    options = ("--suite", place.config, "--full", "--fresh", "--seed", SEED, "--budget", GATE_BUDGET, "--json", file)
    done = place.call(
        *MODULE, "bench_core", "gate", "--versus", *suite.releases, "--bench", _pattern(cells), *options, *suite.options
    )
    if not file.exists():
        return dict.fromkeys(cells, ("failed", done.last)), {"gate_code": done.code}
    found = json.loads(file.read_text())
    judged = {cell["name"]: cell for cell in found["cells"]}
    outcomes: dict[str, Outcome] = {}
    for cell in cells:
        if cell in judged:
            one = judged[cell]
            side = f"with {one['error_side']}: " if one["error_side"] else ""
            outcomes[cell] = ("failed", f"{side}{one['error']}"[:SAID]) if one["error"] else ("runs", one["verdict"])
        else:
            outcomes[cell] = "skipped", found["left_out"].get(cell, "not mentioned")[:SAID]
    kept = {name: found[name] for name in ("verdict", "reason", "unfair", "besides", "exit_code")}
    kept["verdicts"] = dict(Counter(cell["verdict"] for cell in found["cells"]))
    return outcomes, {"gate": kept, "gate_code": done.code}


# The table


def newest(lines: Sequence[Line]) -> list[Line]:
    """The newest line of each suite, in the order of `SUITES`."""
    found = {line["suite"]: line for line in lines}
    return [found[name] for name in SUITES if name in found]


def held(line: Line) -> dict[str, tuple[int, int]]:
    """For each door, how many of the sampled cells that asv runs it runs too, and how many those are."""
    run = [cell for cell in line["cells"].values() if cell["asv"][0] == "runs"]
    return {door: (sum(cell[door][0] == "runs" for cell in run), len(run)) for door in DOORS}


def page(lines: Sequence[Line]) -> str:
    """The table of the suites, what asv or we cannot use of them, and every cell of which a door says something else
    than asv."""
    rows = []
    for line in lines:
        asv = line["asv"]
        rows.append(
            [
                f"{line['suite']}, {' and '.join(line['releases'])}",
                f"{asv['cells']:,}{'*' if asv['error'] else ''}",
                f"{line['list']['cells']:,}",
                f"{line['collected']['pytest'] or 0:,}",
                f"{next(iter(held(line).values()))[1]} of {len(line['cells'])}",
                *(f"{count} of {of}" for count, of in held(line).values()),
            ]
        )
    head = ["suite, releases", "asv finds", "`list`", "pytest", "asv runs", *DOORS]
    table = tables.markdown("lrrrrrrr", head, rows)
    return "\n".join(
        [
            *("# Suites of public projects", "", *table, ""),
            *("\\* without what does not import, at which asv's own discovery ends", ""),
            *("## Not found, or left out", "", *_unfound(lines), ""),
            *("## Drawn cells that asv does not run", "", *_unrun(lines), ""),
            *("## Drawn cells with another outcome than in asv", "", *_apart(lines), ""),
        ]
    )


def _unfound(lines: Sequence[Line]) -> Iterator[str]:
    for line in lines:
        if line["asv"]["error"]:
            yield f"- {line['suite']}: asv's discovery ends with `{line['asv']['error']}`"
        for kind, names in (("only asv finds", line["only_asv"]), ("only `list` has", line["only_ours"])):
            if names:
                yield f"- {line['suite']}: {kind} {len(names)} cells, such as `{names[0]}`"
        for name, reason in {**line["broken"], **line["left_out"]}.items():
            yield f"- {line['suite']}: `{name}` {_one_line(reason)}"
        for name in line["without"]:
            yield f"- {line['suite']}: the mirror does not have `{name}`"


def _unrun(lines: Sequence[Line]) -> Iterator[str]:
    for line in lines:
        for name, cell in line["cells"].items():
            if cell["asv"][0] != "runs":
                reason = cell["asv"][1] or next((cell[door][1] for door in DOORS if cell[door][1]), "")
                yield f"- {line['suite']}: `{name}`: {cell['asv'][0]}: {_one_line(reason)}"


def _apart(lines: Sequence[Line]) -> Iterator[str]:
    for line in lines:
        for name, cell in line["cells"].items():
            for door in DOORS:
                if cell[door][0] != cell["asv"][0]:
                    said = _one_line(cell[door][1])
                    yield (
                        f"- {line['suite']}, {door}: `{name}`: {cell['asv'][0]} in asv, here {cell[door][0]}"
                        f"{f': {said}' if said else ''}"
                    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
