"""A plugin of pytest: two versions of a small package as a gate finds them, for tests of the gate and of workers."""

import tempfile
from contextlib import suppress

import psutil
import pytest

from bench_core.gate.measure.discover import find_cells
from bench_core.gate.measure.evidence import Journal
from bench_core.gate.measure.supervise import Gate
from bench_core.gate.versions.subjects import Importable, Subjects
from bench_core.records.gate import GateSettings
from bench_core.records.version import Install

NUMBERS = """
import thing


class Number:
    def __repr__(self):
        return thing.shown()


class Call:
    params = [Number()]

    def time_value(self, number):
        thing.value()
"""
"""A suite for the package `thing`, whose versions give the parameter different names."""

CALL = """
import thing


def time_value():
    thing.value()
"""
"""A suite for the package `thing`."""

LOOP = """
def value():
    for _ in range({}):
        pass
"""
"""A version of the package `thing`: the number of steps is the time that `CALL` takes."""


class EnoughError(Exception):
    """What a test needs has been measured."""


class Sides:
    """Two versions of a package `thing` as a gate finds them built, and a suite `cases`, in folders of their own.

    Attributes:
        root: the folder of all of it.
        temporary: where temporary files go.
        subjects: for a gate.
    """

    def __init__(self, root, cases, base, head=None, past=None):
        self.root = root
        self.temporary = root / "temporary"
        self.temporary.mkdir(parents=True)
        self._others = set(psutil.Process().children(recursive=True))  # such as the browser of another test
        self.subjects = Subjects(
            self._version("base", base),
            self._version("head", base if head is None else head),
            root / "cases",
            past=None if past is None else self._version("past", past),
        )
        self._write(root / "cases", {"__init__.py": "", **(cases if isinstance(cases, dict) else {"calls.py": cases})})

    def _version(self, name, files):
        files = files if isinstance(files, dict) else {"thing/__init__.py": files}
        self._write(self.root / name, files)
        return Importable(Install(name, name, ("thing",)), str(self.root / name))

    def _write(self, folder, files):
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def find(self, pattern=None):
        return find_cells(self.subjects, pattern, quick=False)

    def gate(self, *, timeout=10.0, memory=None, lanes=1, evidence="evidence", **settings):
        """A gate that tells only large effects apart, from few pairs: what is tested with it is not statistics."""
        usual = {
            "noise_floor": 0.3,
            "limit": 0.6,
            "error_rate": 0.4,
            "pass_error": 0.4,
            "seed": 1,
            "budget": 20.0,
            "lanes": lanes,
        }
        return Gate(
            self.subjects,
            self.find(),
            GateSettings(**{**usual, **settings}),
            Journal(self.root / evidence / "journal.jsonl"),
            timeout=timeout,
            memory=memory,
            cores=[None] * lanes,
            past_journal=Journal(self.root / evidence / "past.jsonl"),
        )

    def measure(self, *, until=lambda gate: False, **options):
        """Measure until all is decided, or `until` says of the gate that it is enough: not for so many seconds, in
        which a busy machine gets nowhere."""
        gate = self.gate(**options)

        def show(progress):
            if until(gate):
                raise EnoughError

        with suppress(EnoughError):
            gate.run(show)
        return gate

    def left_behind(self):
        """Processes and temporary files that should be gone."""
        left = set(psutil.Process().children(recursive=True)) - self._others
        return [*left, *self.temporary.iterdir()]


@pytest.fixture(scope="module")
def module_sides(tmp_path_factory):
    """Makes `Sides` for all tests of a module."""
    with pytest.MonkeyPatch.context() as patch:

        def make(cases, base, head=None, past=None):
            made = Sides(tmp_path_factory.mktemp("sides"), cases, base, head, past)
            patch.setattr(tempfile, "tempdir", str(made.temporary))
            patch.setenv("TMPDIR", str(made.temporary))
            return made

        yield make


@pytest.fixture
def sides(tmp_path, monkeypatch):
    """Makes `Sides`."""

    def make(cases, base, head=None, past=None):
        made = Sides(tmp_path, cases, base, head, past)
        monkeypatch.setattr(tempfile, "tempdir", str(made.temporary))
        monkeypatch.setenv("TMPDIR", str(made.temporary))
        return made

    return make
