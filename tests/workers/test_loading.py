"""How a process imports the suite with one version, and proves it."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from bench_core.workers import loading
from bench_core.workers.loading import VersionError, find, forget, load, prove
from bench_core.workers.messages import CellTask, GroupTask, PairTask, Source
from bench_core.workers.plan import PAIR


def test_a_version_comes_first_in_the_import_path_and_its_packages_are_imported_anew(tmp_path, monkeypatch):
    forgotten, before = [], list(sys.path)
    monkeypatch.setattr(loading, "forget", forgotten.append)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases/__init__.py").touch()
    assert importlib.util.find_spec("made_late") is None  # the folder's files are remembered by its age
    age = tmp_path.stat()
    (tmp_path / "made_late.py").touch()
    os.utime(tmp_path, ns=(age.st_atime_ns, age.st_mtime_ns))
    suite = load(Source(("/base", "/code"), ("thing",), "/caches"), str(tmp_path / "cases"))
    assert forgotten == [{"bench_core", "thing"}]
    assert sys.path == ["/base", "/code", str(tmp_path), *before]
    assert suite.path == tmp_path / "cases"
    assert importlib.util.find_spec("made_late") is not None


def test_nothing_is_imported_anew_if_nothing_is_compared(tmp_path, monkeypatch):
    """A worker keeps what its nursery has imported."""
    forgotten = []
    monkeypatch.setattr(loading, "forget", forgotten.append)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "__init__.py").touch()
    load(Source((), (), "/caches"), str(tmp_path))
    assert forgotten == []


def test_packages_are_forgotten_with_all_that_is_in_them(monkeypatch):
    for name in ("thing", "thing.inner", "thing_else"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace())
    forget({"thing"})
    assert {"thing", "thing.inner", "thing_else"} & set(sys.modules) == {"thing_else"}


def test_a_cell_that_cannot_be_found_is_looked_for_again_in_its_turn():
    def find_it(name):
        if name == "broken":
            raise KeyError(name)
        return name.upper()

    groups = (GroupTask((CellTask("a"), CellTask("broken")), None, PAIR), GroupTask((CellTask("c"),), None, PAIR))
    pair = PairTask(0, 1, "base", {}, groups, timeout=1.0)
    assert find(SimpleNamespace(find=find_it), pair) == {"a": "A", "c": "C"}


def test_a_module_from_elsewhere_is_refused(tmp_path, monkeypatch):
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere" / "proven_thing.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    __import__("proven_thing")
    source = Source((str(tmp_path / "here"),), ("proven_thing",), str(tmp_path))
    with pytest.raises(VersionError, match="proven_thing was imported from .*elsewhere, not from this"):
        prove(source, Path("suite"))
    prove(Source((str(tmp_path / "elsewhere"),), ("proven_thing",), str(tmp_path)), Path("suite"))


def test_a_package_that_the_suite_makes_without_a_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "made_up", ModuleType("made_up"))
    with pytest.raises(VersionError, match="made_up was made without a file"):
        prove(Source((str(tmp_path),), ("made_up",), str(tmp_path)), Path("suite"))


def test_a_packages_copy_of_a_module_of_the_standard_library_needs_no_proof(tmp_path, monkeypatch):
    """As zipp.compat.overlay.zipfile."""
    monkeypatch.setitem(sys.modules, "overlay.json", SimpleNamespace(__file__=json.__file__))
    prove(Source((str(tmp_path),), ("overlay",), str(tmp_path)), Path("suite"))
    monkeypatch.setitem(sys.modules, "overlay.pytest", SimpleNamespace(__file__=pytest.__file__))
    with pytest.raises(VersionError, match="overlay.pytest was imported from .*site-packages"):
        prove(Source((str(tmp_path),), ("overlay",), str(tmp_path)), Path("suite"))


def test_a_module_that_is_made_up_at_run_time_has_no_place_to_prove(tmp_path, monkeypatch):
    """As torch.ops, whose file is "_ops.py"."""
    monkeypatch.setitem(sys.modules, "made_up.ops", SimpleNamespace(__file__="_ops.py"))
    prove(Source((str(tmp_path),), ("made_up",), str(tmp_path)), Path("suite"))
