"""What the pytest plugin collects, from a foreign suite and from others, and under which names."""

import json

import pytest


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


def test_a_module_that_does_not_import_is_one_red_item_and_the_others_run(pytester, arrays):
    (pytester.path / arrays / "bench_new.py").write_text("import no_such_module\n")
    result = pytester.runpytest(arrays, "--benchmark-disable")
    result.assert_outcomes(passed=28, skipped=9, errors=1)
    result.stdout.fnmatch_lines(["*bench_new *: ModuleNotFoundError: No module named 'no_such_module'*"])


def test_tests_beside_the_suite_are_collected_as_ever(pytester, arrays):
    pytester.makepyfile(test_other="def test_nothing(): pass")
    pytester.runpytest("test_other.py").assert_outcomes(passed=1)


def test_a_benchmark_that_cannot_be_collected_is_red_with_options_that_leave_out_what_is_no_benchmark(pytester, suite):
    name = suite(broken="import no_such_module\n", fine="def time_nothing(): pass\n")
    result = pytester.runpytest(name, "--benchmark-only", "--benchmark-max-time=0.001")
    result.assert_outcomes(passed=1, errors=1)


def test_a_package_of_a_suite_is_collected_whatever_its_name(pytester, suite):
    name = suite()
    inner = pytester.path / name / "build"
    inner.mkdir()
    (inner / "__init__.py").write_text("def time_in_package(): pass\n")
    (inner / "linking.py").write_text("def time_link(): pass\n")
    pytester.runpytest(name, "--benchmark-disable").assert_outcomes(passed=2)


def test_the_suite_is_known_from_inside_its_folder(pytester, suite, monkeypatch):
    name = suite(config="asv.conf.jsonc", fine="def time_nothing(): pass\n")
    monkeypatch.chdir(pytester.path / name)
    pytester.runpytest("fine.py", "--benchmark-disable", "--rootdir=.").assert_outcomes(passed=1)


ODD = """
import functools


class Op:
    def apply(self): return None

    def __repr__(self): return f"Op\\n at {id(self):#x}"


class Odd:
    params = list({"a", "b", "c", "d", "e", "f", "g"}) + [
        functools.partial(print, Op().apply), [Op().apply], Op(), Op(), "std::sort", "x[1]", "tab\\t",
    ]

    def time_odd(self, value): pass
"""


@pytest.mark.thorough
def test_the_workers_of_pytest_xdist_collect_the_same_tests(pytester, suite):
    result = pytester.runpytest_subprocess(suite(odd=ODD), "-n2", "--benchmark-disable")
    result.assert_outcomes(passed=14)


def test_every_test_can_be_selected_by_the_name_that_pytest_shows(pytester, suite):
    listed = pytester.runpytest(suite(odd=ODD), "--collect-only", "-q").outlines
    shown = [line for line in listed if "::" in line]
    assert len(set(shown)) == len(shown) == 14
    for name in shown:
        pytester.runpytest(name, "--benchmark-disable").assert_outcomes(passed=1)


def test_verbose_output_has_the_names_by_which_tests_are_selected(pytester, arrays):
    result = pytester.runpytest(arrays, "-v", "--benchmark-disable", "-k", "time_max and 100 and float32")
    result.stdout.fnmatch_lines([f"{arrays}/bench_reduce.py::bench_reduce.MinMax.time_max(100, 'float32') PASSED*"])


NOTED = {"env": {"CASE_SIZE": ["1", "2"]}}
EMPTY = "def time_it(): pass\ndef time_none(n): pass\ntime_none.params = [[]]\n"


@pytest.mark.parametrize("arguments", [(), ("-n", "2")])
def test_what_the_matrix_leaves_open_and_what_has_no_cells_is_said_once(pytester, suite, monkeypatch, arguments):
    monkeypatch.delenv("CASE_SIZE", raising=False)
    name = suite(cases=EMPTY)
    config = pytester.path / "asv.conf.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "matrix": NOTED}))
    shown = pytester.runpytest(name, "--benchmark-disable", *arguments).stdout.str()
    assert shown.count("gives CASE_SIZE several values") == 1
    assert shown.count("left out: cases.time_none: its parameter param1 has no values, so it has no cells") == 1


WARNS = """
import warnings

warnings.warn("at import", DeprecationWarning)

def time_with_a_warning():
    warnings.warn("in a call", UserWarning)
"""


def test_a_warning_fails_no_cell_unless_the_command_line_asks_for_it(pytester, suite):
    """`filterwarnings = error` is the project's setting for its tests, and asv does not know it."""
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    name = suite(warns=WARNS)
    result = pytester.runpytest_subprocess(name, "--benchmark-disable")
    result.assert_outcomes(passed=1, warnings=2)
    strict = pytester.runpytest_subprocess(name, "--benchmark-disable", "-W", "error")
    strict.assert_outcomes(errors=1)
