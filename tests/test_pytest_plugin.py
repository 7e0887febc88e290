"""The pytest plugin, run on a foreign suite and on one of ours."""

import json
import shutil
from pathlib import Path

import numpy  # noqa: F401 - see torch
import pytest
import torch  # noqa: F401 - pytester unloads what a run has loaded, and these two cannot be loaded twice

ARRAYS = Path(__file__).parent / "suites" / "arrays"
OURS = """
from bench_core.suite import Suite, labels

BUILT = []

class Shape(Suite):
    params = [labels("good", "bad"), labels("8x4")]
    param_names = ["idiom", "size"]
    rivals = "idiom"
    number = {number}

    def setup(self, idiom, size):
        super().setup(idiom, size)
        self.used = 0
        BUILT.append(self)

    def time_once(self, idiom, size):
        self.used += 1
        assert {number} == 0 or self.used == 1, "used twice"

    def check_once(self, idiom, size):
        self.time_once(idiom, size)
        assert idiom == "good", "the outcome is wrong"
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Beside pytest-xdist, pytest-benchmark times nothing. The runs of these tests are not beside it."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


@pytest.fixture
def arrays(pytester):
    """The foreign suite, under a name of its own: pytester runs in this process, where `array_benchmarks` is taken."""
    name = f"benchmarks_of_{pytester.path.name}"
    shutil.copytree(ARRAYS / "array_benchmarks", pytester.path / name)
    config = json.loads((ARRAYS / "asv.conf.json").read_text())
    (pytester.path / "asv.conf.json").write_text(json.dumps({**config, "benchmark_dir": name}))
    return name


@pytest.fixture
def ours(pytester):
    def make(number, name):
        (pytester.path / "asv.conf.json").write_text(json.dumps({"version": 1, "repo": ".", "benchmark_dir": name}))
        (pytester.path / name).mkdir()
        (pytester.path / name / "__init__.py").touch()
        (pytester.path / name / "shapes.py").write_text(OURS.format(number=number))
        return name

    return make


def test_every_kind_of_benchmark_of_a_foreign_suite_is_collected_and_run(pytester, arrays):
    result = pytester.runpytest(arrays, "--benchmark-disable")
    result.assert_outcomes(passed=28, skipped=9)


def test_items_are_named_as_asv_names_its_cells_and_k_knows_their_parts(pytester, arrays):
    result = pytester.runpytest(arrays, "--collect-only", "-q", "-k", "time_max and 100 and float32")
    result.stdout.fnmatch_lines([f"{arrays}/bench_reduce.py::bench_reduce.MinMax.time_max(100, 'float32')"])
    assert "1/37 tests collected" in result.stdout.str()


def test_an_item_runs_alone_by_its_name(pytester, arrays):
    result = pytester.runpytest(
        f"{arrays}/bench_reduce.py::bench_reduce.MinMax.time_max(100, 'float32')", "--benchmark-disable"
    )
    result.assert_outcomes(passed=1)


def test_results_are_saved_compared_and_gated_by_pytest_benchmark(pytester, arrays):
    quick = ["--benchmark-max-time=0.001", "--benchmark-min-rounds=2", "-k", "time_with_params"]
    assert pytester.runpytest(arrays, "--benchmark-autosave", *quick).ret == 0
    (saved,) = pytester.path.glob(".benchmarks/*/*.json")
    found = {cell["name"]: cell for cell in json.loads(saved.read_text())["benchmarks"]}
    assert set(found) == {f"bench_reduce.time_with_params({n}, 'f4')" for n in (1, 2)}
    assert found["bench_reduce.time_with_params(1, 'f4')"]["extra_info"]["n"] == "1"
    # A base that claims to have been impossibly fast: the comparison must see it and fail the run.
    content = json.loads(saved.read_text())
    for cell in content["benchmarks"]:
        cell["stats"]["median"] = 1e-12
    saved.write_text(json.dumps(content))
    result = pytester.runpytest(arrays, "--benchmark-compare", "--benchmark-compare-fail=median:5%", *quick)
    assert result.ret != 0
    assert "Performance has regressed" in result.stdout.str() + result.stderr.str()


def test_rivals_for_one_job_stand_in_one_table(pytester, ours):
    name = ours(0, "rivals_suite")
    (pytester.path / name / "shapes.py").write_text(OURS.format(number=0).replace('idiom == "good"', "True"))
    result = pytester.runpytest(name, "--benchmark-max-time=0.001")
    result.stdout.fnmatch_lines(["*benchmark 'shapes.Shape.time_once(8x4)': 2 tests*"])


def test_a_cell_whose_check_fails_is_red_and_is_not_timed(pytester, ours):
    result = pytester.runpytest(ours(0, "checked_suite"), "--benchmark-max-time=0.001")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*the outcome is wrong*", "*benchmark*: 1 tests*"])


def test_what_happens_once_gets_a_fresh_object_for_every_call(pytester, ours):
    result = pytester.runpytest(ours(1, "fresh_suite"), "-k", "good")
    result.assert_outcomes(passed=1)


def test_a_module_that_does_not_import_is_one_red_item_and_the_others_run(pytester, arrays):
    (pytester.path / arrays / "bench_new.py").write_text("import no_such_module\n")
    result = pytester.runpytest(arrays, "--benchmark-disable")
    result.assert_outcomes(passed=28, skipped=9, failed=1)
    result.stdout.fnmatch_lines(["*bench_new does not import: ModuleNotFoundError: No module named 'no_such_module'*"])


def test_tests_beside_the_suite_are_collected_as_ever(pytester, arrays):
    pytester.makepyfile(test_other="def test_nothing(): pass")
    pytester.runpytest("test_other.py").assert_outcomes(passed=1)
