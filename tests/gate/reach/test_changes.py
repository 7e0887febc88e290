"""How two versions of a package are told apart."""

import pytest

from bench_core.gate.reach.changes import compare
from bench_core.gate.reach.reach import _shown, can_record

pytestmark = pytest.mark.skipif(not can_record(), reason="this Python does not tell qualified names")


@pytest.fixture
def compared(tmp_path):
    def make(base, head):
        for side, files in (("base", base), ("head", head)):
            for name, text in files.items():
                path = tmp_path / side / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return compare(tmp_path / "base", tmp_path / "head")

    return make


def test_a_body_that_differs_is_a_function_that_differs(compared):
    found = compared({"a.py": "def f(): return 1\ndef g(): pass"}, {"a.py": "def f(): return 2\ndef g(): pass"})
    assert (found.functions, found.scopes, found.whole, found.files) == ({"a.py:f"}, {}, "", {"a.py"})


def test_a_nested_function_that_differs_makes_those_around_it_differ(compared):
    text = "def f():\n def g(): return {}\n return g"
    assert compared({"a.py": text.format(1)}, {"a.py": text.format(2)}).functions == {"a.py:f", "a.py:f.<locals>.g"}


def test_what_differs_outside_of_functions_is_named_by_its_scope(compared):
    found = compared({"a.py": "class C:\n x = 1", "b.py": "x = 1"}, {"a.py": "class C:\n x = 2", "b.py": "x = 2"})
    outside = "differs outside the bodies of functions"
    assert found.scopes == {"a.py": f"C {outside} (a.py)", "b.py": f"b.py {outside}"}


def test_a_name_that_one_side_alone_has_is_said(compared):
    short, long = "def f(): pass", "def f(): pass\ndef g(): pass"
    outside = "a.py differs outside the bodies of functions"
    assert compared({"a.py": short}, {"a.py": long}).scopes == {"a.py": f"{outside}: only head has g"}
    assert compared({"a.py": long}, {"a.py": short}).scopes == {"a.py": f"{outside}: only base has g"}


def test_a_comment_makes_no_function_differ(compared):
    found = compared({"a.py": "def f(): return 1"}, {"a.py": "# f\ndef f(): return 1"})
    assert (found.functions, found.scopes, found.files) == (set(), {}, {"a.py"})


@pytest.mark.parametrize("name", ["data.json", "fast.so", "a.pyc", "thing-1.dist-info/METADATA", "run"])
def test_another_file_that_differs_is_followed_by_nothing(compared, name):
    assert compared({name: "1"}, {name: "2"}).whole == f"{name} differs, which is no Python source"


def test_a_file_of_one_side_that_is_no_python_is_followed_by_nothing(compared):
    assert compared({"a.py": ""}, {"a.py": "", "b.json": ""}).whole == "only head has b.json"


def test_a_module_of_one_side_differs_as_a_whole(compared):
    found = compared({"a.py": "", "b.py": ""}, {"a.py": ""})
    assert (found.whole, found.scopes, found.alone) == ("", {"b.py": "only base has b.py"}, {"b.py"})


@pytest.mark.parametrize(
    ("fields", "text", "whole"), [("Requires-Dist: x", "One.", True), ("Requires-Dist: y", "Two.", False)]
)
def test_of_the_description_of_a_package_its_fields_matter_and_its_readme_does_not(compared, fields, text, whole):
    file = "thing-1.dist-info/METADATA"
    found = compared({file: "Requires-Dist: y\n\nOne."}, {file: f"{fields}\n\n{text}"})
    assert bool(found.whole) == whole


def test_another_version_of_the_package_matters_to_who_reads_or_looks_for_it(compared):
    about = {"METADATA": "Name: thing\nVersion: {}\n\nOne.", "INSTALLER": "pip", "RECORD": "{}"}
    sides = [{f"thing-{v}.dist-info/{file}": text.format(v) for file, text in about.items()} for v in (1, 2)]
    found = compared(*sides)
    assert (found.whole, found.scopes) == ("", {})
    assert found.alone == {"thing-1.dist-info", "thing-2.dist-info"}
    changed = {f"thing-{v}.dist-info/{file}" for v in (1, 2) for file in ("METADATA", "RECORD")}
    assert found.files == {*changed, *found.alone}


def test_a_file_that_does_not_compile_is_followed_by_nothing(compared):
    assert compared({"a.py": "x ="}, {"a.py": "x = ="}).whole == "a.py differs and cannot be compiled"


@pytest.mark.parametrize("name", ["RECORD", "direct_url.json"])
def test_what_pip_notes_about_an_installed_package_matters_only_to_who_reads_it(compared, name):
    file = f"thing-1.dist-info/{name}"
    found = compared({file: "1"}, {file: "2"})
    assert (found.whole, found.files) == ("", {file})


def test_compiled_files_of_another_content_matter_only_without_their_source(compared):
    cached = "__pycache__/a.cpython-39.pyc"
    assert compared({"a.py": "", cached: "1"}, {"a.py": "", cached: "2"}).whole.startswith(cached)


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (["thing/work.py:f", "thing/work.py:f.<locals>.<genexpr>"], "thing.work.f"),
        (["thing/__init__.py:C.f", "thing/__init__.py:g"], "thing.C.f and 1 more"),
        (["/usr/lib/python3.11/site-packages/torch/fx/graph.py:Graph.run"], "torch.fx.graph.Graph.run"),
        (["/usr/lib/python3.11/inspect.py:getsource"], "inspect.getsource"),
    ],
)
def test_a_place_is_said_as_a_function_of_a_module(places, said):
    assert _shown(places) == said
