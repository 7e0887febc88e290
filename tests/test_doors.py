"""Every door finds the same cells in a suite as asv's own discovery, and what asv would stop at is named.

hypothesis draws the suites. ``DRAWN_SUITES`` is their number: a few here, 500 with ``make suites-of-all-kinds``.
"""

import itertools
import json
import multiprocessing
import os

import doors
import pytest
from drawn import module, suites
from hypothesis import HealthCheck, example, given, settings

from bench_core.errors import brief

COUNT = int(os.environ.get("DRAWN_SUITES", "8"))

REFUSED = (
    *("params has a", "is an async function", "is a generator function", "has the name ", "has a setup that is "),
    *("has a teardown that is ", "has a setup_cache that is "),
    *("has parameters that cannot be compared", "its parameter "),
)
"""Why a cell that asv lists may be no cell here."""

_counter = itertools.count()


@pytest.fixture(scope="module")
def processes():
    """Runs each call in a new process, which has another hash seed than this one and has imported no suite."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["asv.config", "asv_runner.run", "bench_core.pytest_plugin", "bench_core.workers.probe", "doors", "numpy"]
    )
    with context.Pool(2, maxtasksperchild=1) as pool:
        yield pool


def written(folder, modules):
    """The folder of a suite with these modules, in a package of its own name."""
    package = folder / f"drawn_{next(_counter)}" / f"drawn_suite_{os.getpid()}_{next(_counter)}"
    for name, text in {"__init__": "", "deep/__init__": "", **modules}.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    config = {"version": 1, "project": "drawn", "repo": ".", "benchmark_dir": package.name}
    (package.parent / "asv.conf.json").write_text(json.dumps(config))
    return str(package)


@settings(
    max_examples=COUNT,
    deadline=None,
    database=None,
    derandomize="DRAWN_AT_RANDOM" not in os.environ,  # by default the same suites each time, so a failure repeats
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
@given(modules=suites)
@example(modules=module("class One:", "    async def track_a(self): pass", "Again = One"))
@example(
    modules=module(
        "def track_a(): return 'a'",
        "track_a.benchmark_name = 'cases.track_b'",
        "def track_b(): return 'b'",
        "track_b.benchmark_name = 'x.track_c'",
    )
)
@example(
    modules=module(
        "class One:",
        "    def setup(self): raise NotImplementedError('not here')",
        "    def teardown(self): raise ValueError('nothing to close')",
        "    def track_a(self): return 1",
    )
)
def test_every_door_makes_the_same_of_a_suite(processes, tmp_path_factory, modules):
    root = written(tmp_path_factory.getbasetemp(), modules)
    asked = {
        name: processes.apply_async(getattr(doors, name), (root,))
        for name in ("discovered_by_asv", "found_by_us", "probed", "collected", "outcomes_of_ours", "outcomes_of_asv")
    }
    listed = doors.listed(root)  # here, with another hash seed
    answers = {name: asked[name].get() for name in asked}
    ours = answers["found_by_us"]
    refused = ours["broken"] | ours["left out"]
    _as_asv_finds_them(answers["discovered_by_asv"], ours, refused)
    assert listed["code"] == (2 if not ours["cells"] else 1 if ours["broken"] else 0)
    assert all(f"{name} is left out: it {reason}" in listed["said"] for name, reason in ours["broken"].items())
    if ours["cells"]:
        assert all(map(str.startswith, listed["lines"], map(brief, ours["cells"])))
        assert len(listed["lines"]) == len(ours["cells"])
        assert answers["probed"]["cells"] == ours["cells"]
    assert answers["probed"]["broken"] == ours["broken"]
    assert sorted(answers["collected"]["cells"]) == sorted(ours["cells"])
    assert sorted(answers["collected"]["broken"]) == sorted(ours["broken"])
    by_asv = answers["outcomes_of_asv"]
    assert {name: answers["outcomes_of_ours"][name] for name in by_asv} == by_asv


def _as_asv_finds_them(asv, ours, refused):
    """Every cell that asv finds is ours, or its benchmark is refused; and asv's discovery would end at the others."""
    known = {doors.stable(name) for name in ours["cells"]}
    ended = [place for place, found in asv.items() if isinstance(found, str)]
    for place in ended:
        # What is broken is the module, a part of it, or a package that it is in.
        assert any(f"{broken}.".startswith(f"{place}.") or place.startswith(f"{broken}.") for broken in ours["broken"])
    listed = set()
    for place, found in asv.items():
        if place not in ended:
            for benchmark, cells in found.items():
                cells = {doors.stable(name) for name in cells}
                listed |= cells
                if not cells <= known:
                    # A class under two names in a module is asv's twice, and is refused once, under its own name.
                    own = (f"{place}.", f"{place.partition('.')[0]}.{benchmark}.", f"{benchmark}.")
                    reasons = [why for name, why in refused.items() if f"{name}.".startswith(own)]
                    assert any(why.startswith(REFUSED) for why in reasons), (benchmark, reasons)
    own = {name.partition(".")[2] for name in ended}
    assert not {name for name in known - listed if not any(name.startswith(f"{place}.") for place in own)}


OUTCOMES = """
import functools, pickle
from asv_runner.benchmarks.mark import SkipNotImplemented, skip_for_params


class Prepared:
    params = [1, 2, 3, 4]
    def setup(self, n):
        if n == 2: raise NotImplementedError("two is too many")
        if n == 4: raise ValueError("no data")
    @skip_for_params([(3,)])
    def time_it(self, n): pass


class Ended:
    def teardown(self): raise OSError("not there")
    def time_it(self): pass


class Check:
    def time_it(self): pass
    def check_it(self): raise AssertionError("a buffer has no values")


class Cache:
    def setup_cache(self): return lambda: 0
    def time_it(self, cache): pass


class _Shared:
    def setup_cache(self): return list(range(self.n))
    def track_length(self, data): return len(data)


class Small(_Shared):
    n = 10


class Large(_Shared):
    n = 1000


class Values:
    params = [functools.partial(int, 1), [len], lambda x: x, "a|b", "x\\ny", "\u00df" * 3000]
    def time_it(self, value): pass


def time_arguments(n): pass
def time_raises(): {}["x"]
def time_exits(): raise SystemExit(3)
def time_skips(): raise SkipNotImplemented("only here")
def timeraw_fine(): return "import json"
def timeraw_broken(): return "import no_such_module"
def track_number(): return 5
def track_infinite(): return float("inf")
def track_nothing(): pass
def track_text(): return "a"
def track_not_available(): return float("nan")
def track_fails(): return 1 / 0
track_number.type = "time"
def peakmem_it(): pass
def time_in_group(): pass
time_in_group.benchmark_name = "my-group.time_in_group"
"""

EXPECTED = {
    "cases.Prepared.time_it(1)": ("runs",),
    "cases.Prepared.time_it(2)": ("skipped", "two is too many"),
    "cases.Prepared.time_it(3)": ("skipped", "skipped by its suite (skip_for_params)"),
    "cases.Prepared.time_it(4)": ("failed", "ValueError: no data"),
    "cases.Ended.time_it": ("failed", "OSError: not there"),
    "cases.Check.time_it": ("failed", "AssertionError: a buffer has no values"),
    "cases.Cache.time_it": ("failed", "pickle"),
    "cases.Small.track_length": ("runs",),
    "cases.Large.track_length": ("runs",),
    "cases.Values.time_it(functools.partial(<class 'int'>, 1))": ("runs",),
    "cases.Values.time_it([<built-in function len>])": ("runs",),
    "cases.Values.time_it(<function Values.<lambda>>)": ("runs",),
    "cases.Values.time_it('a|b')": ("runs",),
    "cases.Values.time_it('x\\ny')": ("runs",),
    f"cases.Values.time_it({'ß' * 3000!r})": ("runs",),
    "cases.time_arguments": ("failed", "TypeError: time_arguments() missing 1 required positional argument"),
    "cases.time_raises": ("failed", "KeyError: 'x'"),
    "cases.time_exits": ("failed", "SystemExit: 3"),
    "cases.time_skips": ("skipped", "only here"),
    "cases.timeraw_fine": ("runs",),
    "cases.timeraw_broken": ("failed", "No module named 'no_such_module'"),
    "cases.track_number": ("runs",),
    "cases.track_infinite": ("runs",),
    "cases.track_nothing": ("failed", "tracks nothing (None)"),
    "cases.track_text": ("failed", "TypeError: a tracked value must be a number to be compared, and this one is str"),
    "cases.track_not_available": ("skipped", "its value is not a number (NaN)"),
    "cases.track_fails": ("failed", "ZeroDivisionError: division by zero"),
    "cases.peakmem_it": ("runs",),
    "my-group.time_in_group": ("runs",),
}


@pytest.mark.parametrize("door", ["run", "pytest", "gate"])
def test_every_door_gives_each_cell_the_same_outcome(processes, tmp_path, door):
    root = written(tmp_path, {"cases": OUTCOMES})
    found = processes.apply(getattr(doors, f"outcomes_of_{door}"), (root,))
    assert set(found) == set(EXPECTED)
    differ = {name: found[name] for name, (what, *_) in EXPECTED.items() if found[name][0] != what}
    assert not differ
    for name, (what, *reason) in EXPECTED.items():
        assert all(found[name][1] == one if what == "skipped" else one in found[name][1] for one in reason)
