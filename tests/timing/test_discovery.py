"""What asv_runner's discovery would stop at, or read as something else, is named, and the rest is found."""

import compileall
import re

import pytest

from bench_core.errors import BenchCoreError
from bench_core.timing.cells import SuiteDirectory

FINE = "def time_fine():\n    pass\n"


def found(suite):
    """The names of cells, and the reason of each part that is broken or left out."""
    package = f"{suite.path.name}."
    broken = {one.name.removeprefix(package): one.reason for one in suite.broken}
    left_out = {one.source.removeprefix(package): one.reason for one in suite.left_out}
    return [cell.name for cell in suite.cells], broken | left_out


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("class A:\n def __init__(self, at): pass\n def time_a(self): pass\n def time_b(self): pass\n", "A", "'at'"),
        ("class A:\n def __init__(self): {}['x']\n def time_a(self): pass\n", "A", "made without arguments .*KeyError"),
        ("class A:\n params = 3\n def time_a(self): pass\n", "A.time_a", "cannot be read as a benchmark: TypeError"),
        ("class _D:\n def __get__(self, *_): 1 / 0\nclass A:\n x = _D()\n def time_a(self): pass\n", "A",
         "cannot be examined: ZeroDivisionError"),
        ("class R:\n def __repr__(self): raise OSError('no')\ndef time_a(r): pass\ntime_a.params = [R()]\n", "time_a",
         "cannot be read as a benchmark: OSError: no"),
        ("import functools\ndef time_a(r): pass\ntime_a.setup_cache = functools.partial(int)\n", "time_a",
         "cannot be read as a benchmark: TypeError"),
        ("def time_a(r): pass\ntime_a.params = (x for x in 'ab')\n", "time_a", "params has a generator"),
        ("async def time_a(): pass\n", "time_a", "is an async function"),
        ("async def track_a(): yield 1\n", "track_a", "is an async function"),
        ("def peakmem_a():\n yield 1\n", "peakmem_a", "is a generator function"),
        ("class A:\n async def time_a(self): pass\n", "A.time_a", "is an async function"),
        ("from asv_runner.benchmarks.mark import *\n@timeout_at(3)\n@skip_for_params([(1,)])\n"
         "async def time_a(n): pass\n", "time_a", "is an async function"),
        ("class A:\n async def setup(self): pass\n def time_a(self): pass\n", "A.time_a",
         "has a setup that is an async function, so calling it runs nothing: let it call asyncio.run"),
        ("class A:\n def setup(self): yield\n def time_a(self): pass\n", "A.time_a",
         "has a setup that is a generator function, .*: take out the yield"),
        ("class A:\n async def teardown(self): pass\n def time_a(self): pass\n", "A.time_a",
         "has a teardown that is an async"),
        ("class A:\n async def setup_cache(self): pass\n def time_a(self, c): pass\n", "A.time_a",
         "has a setup_cache that is an async"),
        ("class A:\n async def check_a(self): pass\n def time_a(self): pass\n", "A.time_a",
         "has a check that is an async"),
        ("async def prepare(): pass\ndef time_a(): pass\ntime_a.setup = prepare\n", "time_a",
         "has a setup that is an async"),
        ("import contextlib\nclass A:\n @contextlib.contextmanager\n def setup(self): yield\n def time_a(self): pass\n",
         "A.time_a", "has a setup that is a generator function"),
        ("import functools\nclass A:\n @functools.cache\n def setup_cache(self): yield\n def time_a(self, c): pass\n",
         "A.time_a", "has a setup_cache that is a generator function"),
        ("def time_a(): pass\ntime_a.benchmark_name = 'pretty.name'\n", "time_a", "asv ignores it.*'pretty.name'"),
        ("def time_a(): pass\ntime_a.benchmark_name = 'cases.time_fine'\n", "time_a",
         "has the name 'cases.time_fine', under which asv runs .*cases.time_fine: give it another name"),
        ("def time_a(n): pass\ntime_a.params = [[]]\n", "cases.time_a", "its parameter param1 has no values"),
        ("def time_a(n, m): pass\ntime_a.params = [[1], []]\ntime_a.param_names = ['n', 'm']\n", "cases.time_a",
         "its parameter m has no values"),
        ("def time_a(): pass\ntime_a.timeout = 'long'\n", "time_a", "has timeout 'long', not a number of seconds"),
        ("import numpy\ndef time_a(n): pass\ntime_a.params = [numpy.ones(2)]\ntime_a.skip_params = [(1,)]\n", "time_a",
         "has parameters that cannot be compared with its skip list: ValueError"),
    ],
)  # fmt: skip
def test_a_benchmark_that_cannot_be_used_is_named_with_its_cause_and_the_rest_is_found(written, text, place, reason):
    names, others = found(written(cases=text + FINE, other=FINE))
    assert names == ["cases.time_fine", "other.time_fine"]
    (name,) = others
    assert name.removeprefix("cases.") == place.removeprefix("cases.")

    assert re.search(reason, others[name])


def test_a_wrapper_that_runs_the_coroutine_is_a_benchmark(written):
    text = (
        "import asyncio, functools\ndef run(f):\n @functools.wraps(f)\n def call(): return asyncio.run(f())\n"
        " return call\n@run\nasync def time_a(): pass\n"
    )
    assert found(written(cases=text)) == (["cases.time_a"], {})


def test_a_decorated_base_class_is_one_module_that_does_not_import_with_a_hint(written):
    text = (
        "from asv_runner.benchmarks.mark import skip_benchmark\n@skip_benchmark\nclass Base:\n"
        "    def time_a(self): pass\nclass Ints(Base):\n    pass\n"
    )
    names, broken = found(written(cases=text, other=FINE))
    assert names == ["other.time_fine"]
    assert broken["cases"].startswith(
        "does not import (a decorated base class is a function; asv ignores a class whose"
    )


def test_a_package_that_does_not_import_is_named_once(written):
    suite = written(other=FINE)
    (suite.path / "deep").mkdir()
    (suite.path / "deep" / "__init__.py").write_text("1 / 0\n")
    (suite.path / "deep" / "module.py").write_text(FINE)
    assert found(suite) == (["other.time_fine"], {"deep": "does not import: ZeroDivisionError: division by zero"})


def test_a_compiled_file_without_source_is_named_and_not_imported(written):
    suite = written(other=FINE, old="1 / 0\n")
    compileall.compile_file(str(suite.path / "old.py"), quiet=1, legacy=True)
    (suite.path / "old.py").unlink()
    names, broken = found(suite)
    assert names == ["other.time_fine"]
    assert broken["old"].startswith("is compiled and has no source, which asv reads: delete it")


def test_a_dash_in_a_name_is_no_number_of_a_parameter(written):
    text = "class A:\n    params = [5, 6]\n    def track_a(self, n): return n\n"
    text += "def track_b(): return 'b'\ntrack_b.benchmark_name = 'group-by.A.track_a-1'\n"
    suite = written(**{"group-by": text})
    names = ["group-by.A.track_a(5)", "group-by.A.track_a(6)", "group-by.A.track_a-1"]
    assert found(suite) == (names, {})
    values = {}
    for name in names:
        with SuiteDirectory(suite.path).find(name).open() as opened:
            values[name] = opened.call()
    assert values == dict(zip(names, [5, 6, "b"], strict=True))


def test_each_value_of_a_set_is_called_by_its_name(written):
    text = "def track_a(n): return n\ntrack_a.params = {'a', 'b', 'c', 'd', 'e'}\n"
    suite = written(cases=text)
    assert [cell.name for cell in suite.cells] == [f"cases.track_a('{letter}')" for letter in "abcde"]
    for cell in suite.cells:
        with cell.open() as opened:
            assert cell.name == f"cases.track_a('{opened.call()}')"


def test_one_class_under_two_names_in_a_module_is_found_once(written):
    text = "class A:\n    def time_a(self): pass\nB = A\ndef time_f(): pass\ntime_g = time_f\n"
    assert found(written(cases=text)) == (["cases.A.time_a", "cases.time_f"], {})


def test_classes_of_one_name_are_not_mixed_up(written):
    text = "def make(n):\n    class Bench:\n        def track_n(self): return n\n    return Bench\n"
    text += "A, B = make(1), make(2)\n"
    suite = written(cases=text)
    names, broken = found(suite)
    assert names == ["cases.Bench.track_n"]
    assert "cases.A.track_n: give it another name" in broken["cases.B.track_n"]
    with suite.cells[0].open() as opened:
        assert opened.call() == 1


def test_a_name_that_is_the_place_of_another_benchmark_is_refused(written):
    text = "def time_a(): pass\ntime_a.benchmark_name = 'cases.time_b'\n"
    text += "def time_b(): pass\ntime_b.benchmark_name = 'cases.time_c'\n"
    names, broken = found(written(cases=text))
    assert names == ["cases.time_c"]
    assert broken["cases.time_a"].startswith("has the name 'cases.time_b', under which asv runs written_suite_")


def test_cells_are_opened_with_a_new_instance_and_their_own_values(written):
    suite = written(cases="class A:\n    params = [3, 5]\n    def track_a(self, n): return n, id(self)\n")
    seen = []
    for cell in suite.cells:
        with cell.open() as opened:
            seen.append((opened.call(), opened.benchmark))
    assert [value for (value, _), _ in seen] == [3, 5]
    assert seen[0][0][1] != seen[1][0][1]


def test_parameters_that_each_instance_draws_anew_are_refused_when_the_cell_is_opened(written):
    text = (
        "import itertools\ncount = itertools.count()\nclass A:\n    def __init__(self): self.params = [next(count)]\n"
        "    def time_a(self, n): pass\n"
    )
    (cell,) = written(cases=text).cells
    with pytest.raises(BenchCoreError, match="has other parameters each time its class is made"), cell.open():
        pass


def test_a_cell_is_found_by_name_without_importing_other_modules(written):
    suite = written(cases=FINE, other="raise SystemExit\n")
    assert suite.find("cases.time_fine").name == "cases.time_fine"


def test_a_cell_of_a_broken_part_is_refused_with_its_cause(written):
    suite = written(cases="async def time_a(): pass\n", other=FINE)
    with pytest.raises(BenchCoreError, match=r"cases\.time_a is an async function"):
        suite.find("cases.time_a")
