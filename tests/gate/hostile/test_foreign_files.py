"""A head that writes where it should not: into base, the benchmarks, or the evidence."""

import os

import pytest

from bench_core.errors import BenchCoreError
from bench_core.gate.measure.evidence import Journal
from bench_core.gate.versions.contents import Seal, is_intact, sign

WRITES = """
import pathlib

here = pathlib.Path(__file__).resolve()
store = next(folder for folder in here.parents if folder.name == "bench-core")
for one in store.glob("PLACE"):
    if one.suffix == ".lock":
        one.with_suffix(".jsonl").write_text("forged")
    elif one != here:
        one.write_text(here.read_text())
"""


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("*/site/thing/__init__.py", id="base"),
        pytest.param("suites/*/tree/cases_thing/calls.py", id="benchmarks", marks=pytest.mark.thorough),
        pytest.param("evidence/*.lock", id="evidence", marks=pytest.mark.thorough),
    ],
)
def test_a_head_that_overwrites_what_the_gate_keeps_ends_it_and_the_next_gate_is_right(attacked, place):
    hostile = attacked.loop(6000) + WRITES.replace("PLACE", place)
    found = attacked.run(hostile, budget="2s")
    assert found.code == 2
    assert "was changed while the gate ran" in found.said
    again = attacked.run(attacked.loop(6000), budget="1s")
    assert min(again.ratios) > 1.5


@pytest.fixture
def home(tmp_path):
    made = tmp_path / "home"
    (made / "site" / "thing").mkdir(parents=True)
    (made / "site" / "thing" / "__init__.py").write_text("SIZE = 1")
    (made / "site" / "link").symlink_to("thing")
    sign(made)
    return made


def rewritten(home):
    (home / "site/thing/__init__.py").write_text("SIZE = 2")


def shadowed(home):
    (home / "site/thing/inner.py").write_text("")


def removed(home):
    (home / "site/thing/__init__.py").unlink()


def relinked(home):
    (home / "site/link").unlink()
    (home / "site/link").symlink_to("/tmp")


@pytest.mark.parametrize("change", [rewritten, shadowed, removed, relinked])
def test_a_changed_folder_of_the_store_is_noticed_when_it_is_read_and_while_a_gate_runs(home, change):
    seal = Seal()
    seal.add(home)
    seal.check()
    assert is_intact(home)
    change(home)
    assert not is_intact(home)
    for _ in range(2):  # each lane asks
        with pytest.raises(BenchCoreError, match="was changed while the gate ran"):
            seal.check()
    assert not home.exists()


def test_a_file_with_its_old_size_and_time_is_noticed_all_the_same(home):
    seal, file = Seal(), home / "site/thing/__init__.py"
    seal.add(home)
    before = file.stat()
    file.write_text("SIZE = 3")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BenchCoreError):
        seal.check()


def test_what_python_compiles_is_no_change(home):
    seal = Seal()
    seal.add(home)
    (home / "site/thing/__pycache__").mkdir()
    (home / "site/thing/__pycache__/other.cpython-399.pyc").write_text("")
    seal.check()
    assert is_intact(home)


def test_evidence_that_was_changed_is_written_again(tmp_path):
    journal = Journal(tmp_path / "evidence.jsonl")
    with journal.alone():
        journal.check()
        journal.path.write_text("forged\n")
        with pytest.raises(BenchCoreError, match="was changed"):
            journal.check()
        assert journal.path.read_text() == ""
