"""What reaches all cells, and what of a cell is recorded besides its call."""

import pytest

from bench_core.gate.reach import reach as module
from bench_core.gate.reach.reach import can_record, reach

pytestmark = pytest.mark.skipif(not can_record(), reason="this Python does not tell which functions run")

SLOW = "sum(range(1000))"

CELLS = """
import time
import thing

class Plain:
    def time_other(self):
        thing.other()

class Cached:
    def setup_cache(self):
        return thing.f()

    def time_other(self, cached):
        thing.other()

class Hangs:
    def time_other(self):
        time.sleep(60)

class Tracked:
    def track_other(self):
        return 1

class TrackedF:
    def track_f(self):
        return thing.f()

class Memory:
    def peakmem_f(self):
        thing.f()

class Raw:
    def timeraw_other(self):
        return "import thing"

class Checked:
    def check_other(self):
        thing.f()

    def time_other(self):
        thing.other()

class TornDown:
    def teardown(self):
        thing.f()

    def time_other(self):
        thing.other()
"""

PLAIN = CELLS.partition("class Cached")[0]

THING = "def other():\n    pass\n\ndef f(x=None):\n    return 1\n"


def found_in(sides, cases=PLAIN, base=THING, head=None):
    head = base.replace("return 1", f"return {SLOW}") if head is None else head
    made = sides(cases, base, head)
    said = []
    return reach(made.subjects, made.find(), said.append), said, made


def test_setup_cache_and_teardown_belong_to_a_cell_and_its_check_does_not(sides, monkeypatch):
    monkeypatch.setattr(module, "CELL_TIMEOUT", 3.0)
    found, said, made = found_in(sides, CELLS)
    unaffected = ["calls.Checked.time_other", "calls.Plain.time_other", "calls.Tracked.track_other"]
    assert sorted(found.unaffected) == unaffected
    assert said[0] == "recording what 8 cells run"
    assert found.through == {
        "calls.Cached.time_other": "runs thing.f",
        "calls.Hangs.time_other": "takes longer than 3 s",
        "calls.Memory.peakmem_f": "runs thing.f",
        "calls.TornDown.time_other": "runs thing.f",
        "calls.TrackedF.track_f": "runs thing.f",
    }
    assert made.left_behind() == []


@pytest.mark.parametrize(
    ("use", "why"),
    [
        ("VALUE = f()", "the import of the suite runs thing.f"),
        ("@f\ndef g(): pass", "the import of the suite runs thing.f"),
        ("class A:\n    __init_subclass__ = f\nclass B(A): pass", "the import of the suite runs thing.f"),
        ("TEXT = open(__file__).read()", "the import of the suite reads thing/__init__.py"),
        ("import inspect\nTEXT = inspect.getsource(f)", "the import of the suite looks at the code of thing.f"),
        ("import sys\nCODE = sys._getframe().f_code", "the import of the suite looks at the code of thing"),
        ("import os\nos.system('true')", "the import of the suite with base: it starts another process"),
        ("import sys\nsys.setprofile(None)", "the import of the suite with base: it switches the recording off"),
        (
            "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
            "the import of the suite with base: a thread runs after the import",
        ),
    ],
)
def test_what_reaches_the_import_reaches_all_cells(sides, use, why):
    found, _, _ = found_in(sides, base=f"{THING}\n{use}\n")
    assert found.everything.startswith(why)
    assert found.unaffected == ()


@pytest.mark.parametrize(
    ("base", "head", "why"),
    [
        (f"{THING}\nA = 1", f"{THING}\nA = 2", "thing/__init__.py differs outside the bodies of functions"),
        (
            {"thing/__init__.py": THING, "thing/data.txt": "1"},
            {"thing/__init__.py": THING, "thing/data.txt": "2"},
            "thing/data.txt differs, which is no Python source",
        ),
    ],
)
def test_what_no_recording_follows_is_not_recorded(sides, base, head, why):
    found, said, _ = found_in(sides, base=base, head=head)
    assert (found.everything, said) == (why, [])


def test_a_module_that_one_side_lacks_reaches_only_who_looks_for_it(sides):
    looks = "\nclass Looks:\n    def time_find(self):\n        import importlib.util\n"
    looks += "        importlib.util.find_spec('thing.more')\n"
    lists = "\nclass Lists:\n    def time_list(self):\n        import os\n        os.listdir(thing.__path__[0])\n"
    asks = "\nclass Asks:\n    def time_ask(self):\n        import pathlib\n"
    asks += "        pathlib.Path(thing.__file__).with_name('more.py').exists()\n"
    may = "\nclass May:\n    def time_may(self):\n        import os\n"
    may += "        os.access(os.path.join(thing.__path__[0], 'more.py'), os.R_OK)\n"
    both = {"thing/__init__.py": THING}
    found, _, _ = found_in(sides, PLAIN + looks + lists + asks + may, both, {**both, "thing/more.py": ""})
    assert (found.everything, found.unaffected) == ("", ("calls.Plain.time_other",))
    assert "can look for modules" in found.through["calls.Looks.time_find"]
    assert "can look for modules" in found.through["calls.May.time_may"]
    assert found.through["calls.Lists.time_list"] == "reads thing/"
    assert found.through["calls.Asks.time_ask"] == "reads thing/more.py?"


def test_a_folder_that_one_side_lacks_reaches_who_asks_for_it(sides):
    asks = "\nclass Asks:\n    def track_ask(self):\n        import os\n"
    asks += "        return int(os.path.isdir(os.path.join(thing.__path__[0], 'more')))\n"
    both = {"thing/__init__.py": THING, "thing/a.py": ""}
    found, _, _ = found_in(sides, PLAIN + asks, both, {**both, "thing/more/__init__.py": ""})
    assert (found.everything, found.unaffected) == ("", ("calls.Plain.time_other",))
    assert found.through["calls.Asks.track_ask"] == "reads thing/more?"


def test_an_import_is_part_of_a_tracked_value_and_of_a_peak(sides):
    cells = "\nclass Imports:\n" + "".join(
        f"    def {name}_import(self):\n        import thing.more\n        return 1\n"
        for name in ("track", "peakmem", "mem", "time")
    )
    base = {"thing/__init__.py": THING, "thing/more.py": THING}
    found, _, _ = found_in(sides, PLAIN + cells, base, {**base, "thing/more.py": THING.replace("1", SLOW)})
    assert found.through == dict.fromkeys(
        ("calls.Imports.track_import", "calls.Imports.peakmem_import"), "imports thing.more, which differs"
    )


def test_a_sample_of_several_calls_is_recorded_whole(sides):
    held = "CALLS = []\ndef called():\n    CALLS.append(1)\n    return HELD[len(CALLS) > 5]()\nHELD = [other, f]\n"
    sampled = "\nclass Sampled:\n    number = 10\n    def teardown(self):\n        thing.CALLS.clear()\n"
    sampled += "    def time_called(self):\n        thing.called()\n"
    found, _, _ = found_in(sides, PLAIN + sampled, base=f"{THING}\n{held}")
    assert (found.unaffected, found.through) == (
        ("calls.Plain.time_other",),
        {"calls.Sampled.time_called": "runs thing.f"},
    )


@pytest.mark.parametrize(
    "handler", ["signal.SIG_IGN", "lambda *a: os.waitpid(-1, os.WNOHANG)"], ids=["ignored", "waited for"]
)
def test_a_suite_may_wait_for_all_children(sides, handler):
    cells = f"import os, signal\nsignal.signal(signal.SIGCHLD, {handler})\n{PLAIN}"
    found, _, made = found_in(sides, cells)
    assert (found.unaffected, found.everything) == (("calls.Plain.time_other",), "")
    assert made.left_behind() == []


READS = "import os, sys\nSIZE = os.path.getsize(sys.modules['thing'].__file__)\n"


def test_what_a_module_reads_when_a_cell_imports_it_belongs_to_later_cells(sides, tmp_path):
    (tmp_path / "reads.py").write_text(READS)
    cells = f"import sys, thing\nsys.path.append({str(tmp_path)!r})\n"
    for name in "AB":
        cells += f"\nclass {name}:\n    def track_size(self):\n        import reads\n        return reads.SIZE\n"
    found, _, _ = found_in(sides, cells)
    assert found.through == dict.fromkeys(("calls.A.track_size", "calls.B.track_size"), "reads thing/__init__.py")


ASKS = "import os\nASKED = 'ASKED' in os.environ\ndef call(first, second):\n    (first if ASKED else second)()\n"


def test_what_a_cell_imports_is_not_imported_earlier_than_its_environment_is_set(sides, tmp_path):
    (tmp_path / "asks.py").write_text(ASKS)
    cells = f"import os, sys, thing\nsys.path.append({str(tmp_path)!r})\n"
    for name, before in (("A", ""), ("B", "os.environ['ASKED'] = '1'; ")):
        cells += f"\nclass {name}:\n    def setup(self):\n        {before}import asks\n        self.call = asks.call\n"
        cells += "    def time_call(self):\n        self.call(thing.HELD[0], thing.other)\n"
    cells += "\nclass C:\n    def setup_cache(self):\n        os.environ['ASKED'] = '1'\n        import asks\n"
    cells += "        asks.call(thing.HELD[0], thing.other)\n        return 1\n"
    cells += "    def track_cached(self, cached):\n        return 1\n"
    found, _, _ = found_in(sides, cells, base=f"{THING}\nHELD = [f]\n")
    why = "it changes the environment, and modules that may read it were imported before"
    assert found.unaffected == ("calls.A.time_call",)
    assert found.through == {"calls.B.time_call": why, "calls.C.track_cached": why}


RECORDED = "__import__('threading').getprofile() or getattr(sys, 'monitoring', None) and sys.monitoring.get_tool(4)"
"""Whether the process records."""


def test_a_module_that_does_not_import_while_it_is_recorded_has_no_unaffected_cell(sides):
    found, said, _ = found_in(sides, base=f"import sys\nassert not ({RECORDED})\n{THING}")
    assert said[0] == "recording what 1 cell runs"
    assert found.through == {"calls.Plain.time_other": "it is not found while the import is recorded"}


def test_a_recorder_that_dies_reaches_all_cells(sides):
    found, _, _ = found_in(sides, base=f"import os, sys\nif {RECORDED}: os._exit(3)\n{THING}")
    assert found.everything.startswith("the import of the suite with base: its recorder has ended")
