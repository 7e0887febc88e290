"""Small suites without torch, measured by real processes."""

import json

import pytest

from bench_core.run.jobs import jobs_of
from bench_core.run.measure import Measurement
from bench_core.run.parents import Measuring
from bench_core.timing.cells import SuiteDirectory

RIVALS = """
import os


class _Ways:
    rivals = "way"
    param_names = ["way"]
    params = [["a", "b"]]

    def setup(self, way):
        self.data = list(range(300))

    def time_it(self, way):
        sum(self.data)

"""


@pytest.fixture(scope="module")
def suite_of(tmp_path_factory):
    """Writes a suite: one module after `RIVALS`. Its package has a name of its own, since it is imported here."""
    count = 0

    def made(source, *, rivals=True):
        nonlocal count
        count += 1
        root = tmp_path_factory.mktemp("project")
        folder = root / f"cases_{root.parent.name.replace('-', '_')}_{root.name}_{count}"
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "f.py").write_text((RIVALS if rivals else "") + source)
        config = {"version": 1, "project": "p", "repo": ".", "benchmark_dir": folder.name, "env_dir": ".asv/env"}
        (root / "asv.conf.json").write_text(json.dumps(config))
        return SuiteDirectory(folder)

    return made


@pytest.fixture(scope="module")
def measure(two_rounds):
    """Measures the cells of a suite. Returns the `Measurement`."""

    def measured(suite, *, pattern=None, budget=60.0, timeout=20.0, memory=None, yardsticks=None, after=None, **more):
        how = Measuring(suite.path, budget, timeout, more.pop("cores", ()), memory, spawn=False, seed=1)
        jobs = more.pop("jobs", None) or jobs_of(suite.select(pattern))
        found = Measurement(jobs, how, *([yardsticks] if yardsticks else []))
        found.run(more.pop("show", lambda progress: None), after or (lambda: None))
        return found

    return measured
