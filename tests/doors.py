"""What each door makes of a suite. Every function runs in a new process, and answers with texts."""

import contextlib
import importlib
import io
import itertools
import json
import math
import os
import pickle
import re
import tempfile
import types
from pathlib import Path

from bench_core.compat import chdir


def stable(name):
    """A name without addresses, with sets in order, and without the numbers of values that are then alike."""
    found = re.sub(r" \(\d+\)(?=[,)])", "", re.sub(r" at 0x[0-9a-f]+", "", name))
    return re.sub(r"\{([^{}:]*)\}", lambda inner: f"{{{', '.join(sorted(inner[1].split(', ')))}}}", found)


def discovered_by_asv(root):
    """What asv_runner's own discovery finds, as it does it for `asv run`, but for each class and function on its own.

    Returns:
        For each ``module.attribute``, the benchmarks with the names of their cells, or the error that would end
        asv's discovery. For a module that does not import, the same under its own name.
    """
    from asv_runner import discovery
    from asv_runner._aux import update_sys_path

    update_sys_path(root)
    package, found = Path(root).name, {}
    every = discovery.disc_modules
    # Two passes, since a failed import ends asv's own.
    for name in sorted({package, *(_module(root, file) for file in Path(root).rglob("*.py"))}):
        try:
            module = importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 - as asv_runner, which then ends
            found[name] = repr(error)
            continue
        for attribute, value in list(vars(module).items()):
            if not attribute.startswith("_"):
                alone = _Alone(module, attribute, value)
                discovery.disc_modules = lambda *_, alone=alone, **__: [alone]
                try:
                    benchmarks = list(discovery.disc_benchmarks(root))
                except BaseException as error:  # noqa: BLE001 - as asv_runner, which then ends
                    found[f"{name}.{attribute}"] = repr(error)
                else:
                    found[f"{name}.{attribute}"] = {one.name: _cells(one) for one in benchmarks}
    discovery.disc_modules = every
    return found


class _Alone(types.ModuleType):
    """A module of which only one attribute is listed."""

    def __init__(self, module, attribute, value):
        super().__init__(module.__name__)
        vars(self).clear()
        vars(self).update({attribute: value, "__name__": module.__name__})
        self._of = module

    def __getattr__(self, name):
        return getattr(vars(self)["_of"], name)

    def __dir__(self):
        return dir(vars(self)["_of"])


def _module(root, file):
    parts = Path(file).relative_to(Path(root).parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _cells(benchmark):
    if not benchmark.params:
        return [benchmark.name]
    return [f"{benchmark.name}({', '.join(values)})" for values in itertools.product(*benchmark.params)]


def found_by_us(root):
    from bench_core.timing.cells import SuiteDirectory

    suite = SuiteDirectory(Path(root))
    return {
        "cells": [cell.name for cell in suite.cells],
        "broken": {broken.name: broken.reason for broken in suite.broken},
        "left out": {one.source: one.reason for one in suite.left_out},
    }


def probed(root):
    from bench_core.workers.messages import Probed, ProbeTask, Source
    from bench_core.workers.probe import probe

    answer = probe(ProbeTask(Source((), (), root + "-caches"), root, None, False, ()))
    assert isinstance(answer, Probed), answer
    return {"cells": [cell.name for cell in answer.cells], "broken": dict(answer.broken)}


def listed(root):
    from click.testing import CliRunner

    from bench_core.cli import main

    done = CliRunner().invoke(main, ["list", "--suite", str(Path(root).parent / "asv.conf.json")])
    return {"code": done.exit_code, "lines": done.stdout.splitlines(), "said": done.stderr}


def collected(root):
    """The items of ``pytest benchmarks/``: the names of cells, and of what fails."""
    import pytest

    items = []

    class Keep:
        def pytest_collection_finish(self, session):
            for item in session.items:
                items.append((type(item).__name__, item.cell.name if hasattr(item, "cell") else item.name))

    plugins = ["-p", "pytest_benchmark.plugin", "-p", "bench_core.pytest_plugin", "-p", "no:cacheprovider"]
    with contextlib.redirect_stdout(io.StringIO()):
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        place = ["-c", os.devnull, "--rootdir", str(Path(root).parent), root]
        code = pytest.main(["--collect-only", "-q", *plugins, *place], [Keep()])
    names = {kind: [name for other, name in items if other == kind] for kind in ("CellItem", "BrokenItem")}
    return {"code": int(code), "cells": names["CellItem"], "broken": names["BrokenItem"]}


def outcomes_of_ours(root):
    """What each cell does: its value, or that it is skipped, or the name of its exception."""
    from bench_core.timing.cells import SkippedError, SuiteDirectory

    suite, outcomes = SuiteDirectory(Path(root)), {}
    for cell in suite.cells:
        try:
            if cell.why_not:
                raise SkippedError(cell.why_not)
            with cell.open() as opened:
                value = opened.call()
            outcomes[cell.name] = ["value", json.loads(json.dumps(value))] if cell.kind == "track" else ["runs"]
        except SkippedError:
            outcomes[cell.name] = ["skipped"]
        except Exception as error:  # noqa: BLE001 - compared
            outcomes[cell.name] = ["failed", type(error).__name__]
    suite.close()
    return outcomes


def outcomes_of_run(root):
    """What `bench-core run` makes of each cell: that it runs, or is skipped or fails, with the reason."""
    from bench_core.run.jobs import jobs_of
    from bench_core.run.measure import Measurement
    from bench_core.run.parents import Measuring
    from bench_core.timing.cells import SuiteDirectory

    suite = SuiteDirectory(Path(root))
    outcomes = {cell.name: ["skipped", cell.why_not] if cell.why_not else ["runs"] for cell in suite.cells}
    jobs = jobs_of([cell for cell in suite.cells if not cell.why_not])
    measured = Measurement(jobs, Measuring(suite.path, 0.01, 1.0, (), None, spawn=False, seed=1, rounds=1))
    measured.run(lambda progress: None)
    assert not measured.unreached
    outcomes |= {name: ["skipped", reason] for name, reason in measured.skipped.items()}
    return outcomes | {name: ["failed", cause] for name, cause in measured.failed.items()}


def outcomes_of_pytest(root):
    """The same of ``pytest benchmarks/``, without timing."""
    import pytest

    outcomes, names = {}, {}

    class Keep:
        def pytest_collection_finish(self, session):
            names.update({item.nodeid: item.cell.name for item in session.items if hasattr(item, "cell")})

        def pytest_runtest_logreport(self, report):
            if report.nodeid in names and (report.when == "call" or not report.passed):
                outcomes[names[report.nodeid]] = {
                    "passed": lambda: ["runs"],
                    "skipped": lambda: ["skipped", report.longrepr[2].removeprefix("Skipped: ")],
                    "failed": lambda: ["failed", report.longreprtext],
                }[report.outcome]()

    plugins = ["-p", "pytest_benchmark.plugin", "-p", "bench_core.pytest_plugin", "-p", "no:cacheprovider"]
    with contextlib.redirect_stdout(io.StringIO()):
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        place = ["-c", os.devnull, "--rootdir", str(Path(root).parent), root]
        pytest.main(["--benchmark-disable", *plugins, *place], [Keep()])
    return outcomes


def outcomes_of_gate(root):
    """The same of a gate between two versions that are alike."""
    from bench_core.gate.measure.discover import find_cells
    from bench_core.gate.measure.evidence import Journal
    from bench_core.gate.measure.supervise import Gate
    from bench_core.gate.versions.subjects import Importable, Subjects
    from bench_core.records.gate import GateSettings
    from bench_core.records.version import Install

    folder = Path(tempfile.mkdtemp(dir=Path(root).parent))
    sides = []
    for name in ("base", "head"):
        (folder / name).mkdir()
        (folder / name / "thing.py").touch()
        sides.append(Importable(Install(name, name, ("thing",)), str(folder / name)))
    subjects = Subjects(*sides, Path(root))
    found = find_cells(subjects, None, quick=False)
    settings = GateSettings(noise_floor=0.3, limit=0.6, error_rate=0.4, seed=1)
    journal = Journal(folder / "journal.jsonl")
    gate = Gate(subjects, found, settings, journal, timeout=20.0, memory=None, cores=[None])

    class EnoughError(Exception):
        pass

    def show(progress):
        if all(one.closed or one.effects for one in gate.dossiers):
            raise EnoughError

    with contextlib.suppress(EnoughError):
        gate.run(show)
    outcomes = {one.cell.name: ["failed", one.error] if one.error else ["runs"] for one in gate.dossiers}
    return outcomes | {name: ["skipped", reason] for name, reason in {**found.left_out, **gate.main.skipped}.items()}


def outcomes_of_asv(root):
    """The same from asv's own runner, which is given the names and the keys that `bench-core run` gives it.

    A benchmark that is not where its name says is looked for in the whole suite, and asv_runner's search ends at the
    first part that is broken. What follows a dash in a name is a number to asv_runner, and the values of a set are in
    another order in each process. Such cells are left out.
    """
    from asv_runner.discovery import get_benchmark_from_name
    from asv_runner.run import _run

    from bench_core.timing.cells import SuiteDirectory
    from bench_core.timing.discovery import _declared_params

    suite, outcomes, folders, failed = SuiteDirectory(Path(root)), {}, {}, {}
    keys = {benchmark["name"]: benchmark.get("setup_cache_key") for benchmark in suite.declared}
    for cell in suite.cells:
        sought = cell.source.place_name != cell.benchmark or cell.module.name == "__init__.py"
        made = _declared_params(cell.source.declared)
        unordered = any(isinstance(one, set) for one in (made, *made))
        if (sought and suite.broken) or "-" in cell.benchmark or unordered:
            continue
        key = keys[cell.benchmark]
        if key not in folders:
            folders[key] = tempfile.mkdtemp(dir=Path(root).parent)
            if key is not None:
                try:
                    with chdir(folders[key]):
                        made = get_benchmark_from_name(root, cell.benchmark).do_setup_cache()
                        Path("cache.pickle").write_bytes(pickle.dumps(made))
                except Exception as error:  # noqa: BLE001 - compared
                    failed[key] = ["failed", type(error).__name__]
        if key in failed:  # asv then runs none of the benchmarks that would be given its value
            outcomes[cell.name] = failed[key]
            continue
        identity = cell.benchmark if cell.index is None else f"{cell.benchmark}-{cell.index}"
        result = Path(folders[key]) / "result.json"
        try:
            with chdir(folders[key]), contextlib.redirect_stdout(io.StringIO()):
                _run((root, identity, "{}", "None", str(result)))
            value = json.loads(result.read_text())
            skipped = isinstance(value, float) and math.isnan(value)
            outcomes[cell.name] = ["skipped"] if skipped else ["value", value] if cell.kind == "track" else ["runs"]
        except Exception as error:  # noqa: BLE001 - compared
            outcomes[cell.name] = ["failed", type(error).__name__]
    return outcomes
