import json
import math
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from asv.benchmarks import Benchmarks
from asv.config import Config

from bench_core.asv_config import asv_config
from bench_core.errors import BenchCoreError, NothingSelectedError, UnknownNameError, brief
from bench_core.timing.cells import OpenCell, SkippedError, SuiteDirectory

ARRAYS = Path(__file__).parent.parent / "suites" / "arrays"


@pytest.fixture(scope="module")
def arrays():
    suite = SuiteDirectory(asv_config(ARRAYS / "asv.conf.json").suite)
    yield suite
    suite.close()


def only(suite, pattern):
    (cell,) = suite.select(pattern)
    return cell


def test_cells_are_named_as_asv_names_them(arrays):
    conf = Config.load(str(ARRAYS / "asv.conf.json"))
    for cell in arrays.cells:
        selected = Benchmarks(conf, arrays.declared, regex=[f"^{re.escape(cell.name)}$"])
        assert list(selected) == [cell.benchmark]
        assert selected.benchmark_selection[cell.benchmark] in (None, [cell.index])


def test_asv_itself_discovers_the_same_benchmarks(arrays, tmp_path):
    listing = tmp_path / "listing.json"
    code = f"from asv_runner.discovery import _discover; _discover(({str(arrays.path)!r}, {str(listing)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    asv = {benchmark["name"]: benchmark for benchmark in json.loads(listing.read_text())}
    ours = {benchmark["name"]: benchmark for benchmark in arrays.declared}
    for benchmark in (*asv.values(), *ours.values()):  # ours also names the class
        benchmark["setup_cache_key"] = (benchmark.get("setup_cache_key") or "").partition(" of ")[0]
    assert ours == asv


def test_a_decorated_skip_is_known_before_the_cell_is_opened(arrays):
    cell = only(arrays, r"time_mean\(10, 'int16'\)")
    assert cell.why_not == "skipped by its suite (skip_for_params)"


def test_not_implemented_in_setup_is_a_skip_with_its_reason(arrays):
    with pytest.raises(SkippedError, match="^no maximum of nothing$"), only(arrays, r"time_max\(0, 'int16'\)").open():
        pass


def test_a_benchmark_that_skips_itself_while_running_is_a_skip(arrays):
    with pytest.raises(SkippedError, match="only known while running"), only(arrays, "skips_itself").open() as opened:
        opened.call()


def test_setup_cache_is_computed_once_and_every_cell_gets_its_own_copy(arrays):
    cell = only(arrays, r"time_solve\(2\)")
    module = sys.modules["array_benchmarks.linalg.bench_solve"]
    module.COMPUTED.clear()
    with cell.open() as first:
        first.call()
        first.benchmark._current_cache.clear()
    with only(arrays, r"time_solve\(4\)").open() as second:
        second.call()
    assert len(module.COMPUTED) == 1


def test_a_cell_runs_in_its_own_folder_and_leaves_none_behind(arrays):
    before = Path.cwd()
    with only(arrays, "time_axis_0").open():
        inside = Path.cwd()
        assert inside != before
    assert Path.cwd() == before
    assert not inside.exists()


def test_the_same_name_twice_among_the_values_makes_two_cells(arrays):
    names = [cell.name for cell in arrays.select("Names")]
    assert len(set(names)) == 3


def test_number_is_one_where_asv_runner_sets_up_before_every_call_and_ours_to_choose_where_not(arrays):
    numbers = {}
    for pattern in ("Names.*32", "AddReduce", "time_parameterized.1", "time_sum_of_function", "Ticking"):
        with only(arrays, pattern).open() as opened:
            numbers[pattern] = opened.number
    assert numbers == {
        "Names.*32": 1,
        "AddReduce": 1,
        "time_parameterized.1": 0,
        "time_sum_of_function": 1,  # it has a setup
        "Ticking": 1,  # its module has one, and a `number` of 2 becomes two timed calls
    }


def test_a_timer_of_the_suites_own_is_used(arrays):
    with only(arrays, "Ticking").open() as opened:
        ticks = type(opened.benchmark.func.__self__).ticks
        opened.timer()
        assert type(opened.benchmark.func.__self__).ticks == ticks + 1


def test_a_module_that_does_not_import_is_named_and_the_others_are_used(tmp_path):
    shutil.copytree(ARRAYS / "array_benchmarks", tmp_path / "broken_benchmarks")
    (tmp_path / "broken_benchmarks" / "bench_new.py").write_text("import no_such_module\n")
    (tmp_path / "broken_benchmarks" / "bench_exit.py").write_text("raise SystemExit('tired')\n")
    suite = SuiteDirectory(tmp_path / "broken_benchmarks")
    assert {(broken.name, broken.reason) for broken in suite.broken} == {
        ("broken_benchmarks.bench_new", "does not import: ModuleNotFoundError: No module named 'no_such_module'"),
        ("broken_benchmarks.bench_exit", "does not import: SystemExit: tired"),
    }
    assert suite.select("AddReduce")


FINDS = """
    import sys
    from importlib.abc import MetaPathFinder

    class Finder(MetaPathFinder):
        def find_spec(self, name, path, target=None): return None

    sys.meta_path.append(Finder())

    def track_found(): return sum(isinstance(finder, Finder) for finder in sys.meta_path)
"""


def test_what_a_suite_adds_to_the_finders_of_modules_is_there_when_its_cells_run(written, monkeypatch):
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = list(sys.meta_path)
    suite = written(finds=textwrap.dedent(FINDS))
    with only(suite, "track_found").open() as opened:
        assert opened.read() == 1
    assert len(sys.meta_path) == len(before) + 1, "asv_runner's finder has gone"


def test_two_suites_of_one_name_in_one_process_are_refused_and_not_mixed_up(arrays, tmp_path):
    shutil.copytree(ARRAYS / "array_benchmarks", tmp_path / "array_benchmarks")
    with pytest.raises(BenchCoreError, match="already loaded from"):
        _ = SuiteDirectory(tmp_path / "array_benchmarks").cells


def test_a_folder_without_a_package_is_no_suite(tmp_path):
    with pytest.raises(BenchCoreError, match="needs a folder with an __init__.py"):
        SuiteDirectory(tmp_path)


def test_a_pattern_that_matches_nothing_names_the_near_misses(arrays):
    with pytest.raises(NothingSelectedError, match="Did you mean 'MinMax' for 'MinMx'"):
        arrays.select("bench_reduce.MinMx.time_max")


def test_a_pattern_that_is_no_regular_expression_says_where(arrays):
    with pytest.raises(BenchCoreError, match="not a regular expression: missing"):
        arrays.select("time_max(")


def test_a_full_name_selects_its_cell_although_it_holds_parentheses(arrays):
    name = "bench_reduce.MinMax.time_max(10, 'float32')"
    assert [cell.name for cell in arrays.select(name)] == [name]


def test_parameters_select_by_value_and_a_wrong_one_names_the_right_ones(arrays):
    assert len(arrays.select("MinMax", params={"size": "10", "dtype": "float32"})) == 2
    with pytest.raises(UnknownNameError, match="unknown size '11'. Did you mean '10'"):
        arrays.select("MinMax", params={"size": "11"})
    with pytest.raises(UnknownNameError, match="unknown parameter 'sice'. Did you mean 'size'"):
        arrays.select("MinMax", params={"sice": "10"})


def test_a_parameter_leaves_out_the_cells_that_do_not_have_it(arrays):
    chosen = arrays.select(params={"dtype": "float32"})
    assert {cell.benchmark for cell in chosen} == {"bench_reduce.MinMax.time_max", "bench_reduce.MinMax.time_mean"}
    assert {cell.params["dtype"] for cell in chosen} == {"'float32'"}


def test_a_fresh_object_is_torn_down_once_before_the_next_and_at_the_end(arrays, monkeypatch):
    cell, events = only(arrays, r"Names.*32"), []
    for name in ("setup", "teardown"):
        monkeypatch.setattr(cell.owner, name, lambda self, dtype, name=name: events.append(name))
    with cell.open() as opened:
        opened.fresh()
    assert events == ["setup", "teardown"] * 2


def test_a_cell_is_torn_down_after_a_setup_that_skips_it(arrays, monkeypatch):
    cell, events = only(arrays, r"Names.*32"), []

    def skips(self, dtype):
        raise NotImplementedError("not here")

    monkeypatch.setattr(cell.owner, "setup", skips)
    monkeypatch.setattr(cell.owner, "teardown", lambda self, dtype: events.append("teardown"))
    with pytest.raises(SkippedError, match="not here"), cell.open():
        pass
    assert events == ["teardown"]


def test_the_name_of_a_long_cell_is_cut_and_still_selects_it(written):
    suite = written(cases="def time_x(a): pass\ntime_x.params = ['a' * 3000, 'b' * 3000, 'a' * 3000 + 'b']\n")
    shown = [brief(cell.name) for cell in suite.cells]
    assert len(set(shown)) == 3
    assert max(map(len, shown)) < 200
    assert [suite.select(name) for name in shown] == [(cell,) for cell in suite.cells]
    with pytest.raises(UnknownNameError) as caught:
        suite.find("cases.time_x(c)")
    assert len(str(caught.value)) < 1000


def test_a_name_that_is_no_regular_expression_selects_its_cell(written):
    suite = written(cases="def time_x(a): pass\ntime_x.params = ['(', '[']\n")
    assert [cell.name for cell in suite.select("cases.time_x('(')")] == ["cases.time_x('(')"]


def test_a_suite_without_cells_says_why(written):
    with pytest.raises(BenchCoreError, match=r"has no cells\. .*a does not import: KeyError: 'x'"):
        written(a="{}['x']\n").select()
    with pytest.raises(BenchCoreError, match=r"has no cells: no function or method in it has a name such as time_"):
        written(a="").select()


def test_a_cell_knows_the_timeout_that_asv_would_use(written):
    suite = written(cases="def time_own(): pass\ntime_own.timeout = 300\ndef time_other(): pass\n")
    assert {cell.name: cell.timeout for cell in suite.cells} == {"cases.time_own": 300, "cases.time_other": 60}
    assert SuiteDirectory(suite.path, timeout=7).find("cases.time_other").timeout == 7


def test_what_another_suite_means_by_our_attributes_does_no_harm(written):
    suite = written(cases="class A:\n    quick = True\n    why_not = 'x'\n    def time_x(self): pass\n")
    assert [(cell.in_quick_profile, cell.why_not) for cell in suite.cells] == [(True, None)]


def test_an_attribute_that_is_no_json_is_left_out_of_the_declaration(written):
    suite = written(cases="def time_x(): pass\ntime_x.lookup = {'a': object()}\ntime_x.label = 'b'\n")
    (declared,) = suite.declared
    assert (declared["label"], "lookup" in declared) == ("b", False)


def test_parameters_of_one_name_are_both_kept(written):
    suite = written(cases="def time_x(a, b): pass\ntime_x.params = [[1], [2]]\ntime_x.param_names = ['n', 'n']\n")
    assert suite.cells[0].params == {"n": "1", "n (2)": "2"}


def test_a_configuration_that_asv_cannot_read_is_one_clear_error(tmp_path):
    with pytest.raises(BenchCoreError, match="not found"):
        asv_config(tmp_path / "asv.conf.json")


def reading(value):
    return OpenCell(None, SimpleNamespace(_build_params=lambda: (1,), run=lambda param: value)).read()


@pytest.mark.parametrize(("value", "read"), [(3, 3.0), (2.5, 2.5), (None, None)])
def test_a_tracked_value_is_a_number_or_nothing(value, read):
    assert reading(value) == read


@pytest.mark.parametrize("value", [True, "fast", [1]])
def test_a_tracked_value_that_is_no_number_is_refused_with_its_type(value):
    with pytest.raises(TypeError, match=type(value).__name__):
        reading(value)


def test_a_tracked_value_that_is_not_available_is_a_skip_as_in_asv():
    with pytest.raises(SkippedError, match="NaN"):
        reading(math.nan)
