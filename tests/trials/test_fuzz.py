"""Damaged files of every format that we read are read, or refused by name: no traceback, and no hang.

`python -m trials fuzz` draws as many as there is time for.
"""

import pytest

from trials import fuzz
from trials.fuzz import CORPUS, FORMATS, FaultError, Format, HangError, check, ground

FOUND = sorted((CORPUS / "found").glob("*"))
FEW = 5
"""So many damaged files of each format are read here."""


@pytest.fixture(scope="module")
def folder():
    with ground() as made:
        yield made


@pytest.mark.parametrize("name", FORMATS)
def test_the_valid_files_are_read(folder, name):
    form = FORMATS[name]
    check(folder, form, (folder / form.path).read_bytes())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_files_that_once_were_a_fault_are_none(folder, path):
    check(folder, FORMATS[path.name.rpartition("-")[0]], path.read_bytes())


@pytest.mark.parametrize("name", FORMATS)
def test_some_damaged_files_are_no_fault(folder, name, monkeypatch):
    monkeypatch.setattr(fuzz, "EXAMPLES", FEW)
    count, fault, _ = fuzz.fuzz(name, seconds=0.001)
    assert (count >= FEW, fault) == (True, "")


def raises(folder):
    raise KeyError("here")


def waits(folder):
    while True:
        pass


@pytest.mark.parametrize(("read", "error"), [(raises, FaultError), (waits, HangError)])
def test_a_traceback_and_a_hang_are_faults(folder, monkeypatch, read, error):
    monkeypatch.setattr(fuzz, "LONGEST", 1)
    whole = (folder / "gate.json").read_bytes()
    with pytest.raises(error):
        check(folder, Format("gate.json", read), b"{}")
    assert (folder / "gate.json").read_bytes() == whole
