"""Every door finds the same cells in a suite as asv's own discovery, and what asv would stop at is named.

hypothesis draws the suites. ``DRAWN_SUITES`` is their number: a few here, 500 with ``make suites-of-all-kinds``.
"""

import itertools
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import doors
import pytest
from drawn import suites
from hypothesis import HealthCheck, given, settings

from bench_core.errors import brief

COUNT = int(os.environ.get("DRAWN_SUITES", "8"))

REFUSED = (
    *("params has a", "is an async function", "is a generator function", "has the name "),
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
    with ProcessPoolExecutor(2, context, max_tasks_per_child=1) as pool:
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
def test_every_door_makes_the_same_of_a_suite(processes, tmp_path_factory, modules):
    root = written(tmp_path_factory.getbasetemp(), modules)
    asked = {
        name: processes.submit(getattr(doors, name), root)
        for name in ("discovered_by_asv", "found_by_us", "probed", "collected", "outcomes_of_ours", "outcomes_of_asv")
    }
    listed = doors.listed(root)  # here, with another hash seed
    answers = {name: asked[name].result() for name in asked}
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
                    reasons = [why for name, why in refused.items() if name.startswith(place) or name == benchmark]
                    assert any(why.startswith(REFUSED) for why in reasons), (benchmark, reasons)
    own = {name.partition(".")[2] for name in ended}
    assert not {name for name in known - listed if not any(name.startswith(f"{place}.") for place in own)}
