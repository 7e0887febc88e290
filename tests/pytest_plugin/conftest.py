import json
import shutil
import textwrap
from pathlib import Path

import numpy  # noqa: F401 - see torch
import pytest
import torch  # noqa: F401 - pytester unloads what a run has loaded, and these two cannot be loaded twice

ARRAYS = Path(__file__).parents[1] / "suites" / "arrays"


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Beside pytest-xdist, pytest-benchmark times nothing. The runs of these tests are not beside it."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


@pytest.fixture
def suite(pytester):
    """Writes the modules of a suite, given by name and text, and returns its name. It is the test's own, since pytester
    runs in this process."""

    def write(config="asv.conf.json", **modules):
        name = f"suite_of_{pytester.path.name}"
        folder = pytester.path / name
        folder.mkdir()
        (folder / "__init__.py").touch()
        (pytester.path / config).write_text(json.dumps({"version": 1, "repo": ".", "benchmark_dir": name}))
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(textwrap.dedent(text))
        return name

    return write


@pytest.fixture
def arrays(suite, pytester):
    """The foreign suite, under a name of its own."""
    name = suite()
    shutil.copytree(ARRAYS / "array_benchmarks", pytester.path / name, dirs_exist_ok=True)
    return name


@pytest.fixture
def times(pytester):
    """Runs pytest on a suite, and returns the result and what pytest-benchmark has stored, by the test's name."""

    def run(*arguments):
        result = pytester.runpytest(*arguments, "--benchmark-json=times.json", "--benchmark-max-time=0.001")
        stored = pytester.path / "times.json"
        content = json.loads(stored.read_text() or "{}") if stored.exists() else {}
        return result, {one["name"]: one for one in content.get("benchmarks", ())}

    return run
