from pathlib import Path

import pytest

from bench_core.errors import BenchCoreError
from bench_core.gate.measure.discover import find_cells
from bench_core.gate.versions.subjects import Importable, Subjects
from bench_core.records.version import Install

CASES = {
    "same.py": """
class Fill:
    params = [1, 2]

    def time_fill(self, size):
        pass

    def track_size(self, size):
        return size
""",
    "either.py": """
import thing

if thing.SIDE == "base":
    def time_old():
        pass
else:
    def time_new():
        pass
""",
    "fails.py": """
import thing

assert thing.SIDE == "base", "head is broken"


def time_broken():
    pass
""",
    "nowhere.py": "import no_such_module\n",
}
BASE, HEAD = "SIDE = 'base'\n", "SIDE = 'head'\n"


@pytest.fixture(scope="module")
def subjects(module_sides):
    return module_sides(CASES, BASE, HEAD)


@pytest.fixture(scope="module")
def found(subjects):
    found = subjects.find()
    assert subjects.left_behind() == []
    return found


def test_cells_that_both_sides_have_are_compared(found):
    assert [(cell.name, cell.kind) for cell in found.cells] == [
        ("same.Fill.time_fill(1)", "time"),
        ("same.Fill.time_fill(2)", "time"),
        ("same.Fill.track_size(1)", "track"),
        ("same.Fill.track_size(2)", "track"),
    ]
    assert found.cells[0].params == {"param1": "1"}


def test_cells_of_one_side_are_left_out_with_the_side(found):
    assert found.left_out["either.time_old"] == "only on base"
    assert found.left_out["either.time_new"] == "only on head"


def test_a_module_that_does_not_import_on_head_fails_its_cells_there(found):
    failed = next(one for one in found.failed if one.name == "fails.time_broken")
    assert (failed.name, failed.error_side) == ("fails.time_broken", "head")
    assert failed.error == "cases.fails does not import: AssertionError: head is broken"


def test_a_module_that_does_not_import_on_either_side_is_named(found):
    (failed,) = (one for one in found.failed if one.name == "cases.nowhere")
    assert failed.error_side is None
    assert failed.error == "on both sides, it does not import: ModuleNotFoundError: No module named 'no_such_module'"


def test_what_belongs_to_a_version_or_the_suite_is_not_imported_beforehand(found):
    tops = {name.partition(".")[0] for name in found.preload}
    assert "asv_runner" in tops
    assert not tops & {"thing", "cases", "bench_core"}


def test_cells_that_only_base_has_left_are_errors_of_head(subjects):
    found = subjects.find("time_broken")
    assert not found.cells
    assert [cell.error_side for cell in found.failed] == ["head"]


def test_a_pattern_that_matches_nothing_gets_near_misses_and_what_does_not_import(subjects):
    with pytest.raises(
        BenchCoreError, match="no cell matches 'time_fil_'.*Did you mean.*cases.nowhere does not import"
    ):
        subjects.find("time_fil_")


def test_a_package_from_elsewhere_is_refused(sides, tmp_path, monkeypatch):
    made = sides("import thing\n\n\ndef time_value():\n    pass\n", {"README": ""}, {"thing/__init__.py": ""})
    (tmp_path / "elsewhere/thing").mkdir(parents=True)
    (tmp_path / "elsewhere/thing/__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    with pytest.raises(BenchCoreError, match="^base .base.: thing was imported from .*elsewhere/thing, not from"):
        made.find()
    assert made.left_behind() == []


def test_a_suite_that_ends_its_process_is_an_error_with_its_last_words(sides):
    made = sides("import os\nos.write(2, b'out of luck')\nos._exit(1)\n", "")
    with pytest.raises(
        BenchCoreError, match="cannot be read with base .base.: .* has ended; it last wrote: out of luck"
    ):
        made.find()


LATE = """
def time_value():
    import numpy
"""
NUMPY = """
__version__ = "2.0"


def show_config(mode):
    return {{"Build Dependencies": {{"blas": {{"name": "{}"}}}}}}
"""


def test_two_installs_have_a_flavour_though_no_module_imports_what_is_in_them(tmp_path):
    made = []
    for name, content in (("base", NUMPY.format("mkl")), ("head", NUMPY.format("open")), ("code", ""), ("cases", LATE)):
        (tmp_path / name / "numpy").mkdir(parents=True)
        Path(tmp_path, name, "calls.py" if name == "cases" else "numpy/__init__.py").write_text(content)
        packages = ("numpy",) if name in ("base", "head") else ()
        made.append(Importable(Install(name, name, packages), str(tmp_path / name)))
    (tmp_path / "cases/__init__.py").touch()
    base, head, code, cases = made
    found = find_cells(Subjects(base, head, Path(cases.path), code), None, quick=False)
    assert found.unfair == ("numpy's BLAS: MKL on base, OpenBLAS on head",)
    assert found.imported == set()
    assert "numpy" not in found.preload


def test_the_packages_of_the_versions_that_the_suite_imports_are_found(found):
    assert found.imported == {"thing"}
