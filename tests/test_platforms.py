"""Where bench_core works: Windows is refused at once, and a system that pins nothing is told of."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench_core import cores
from bench_core.gate.prepare import cores_of

ROOT = Path(__file__).parent.parent

ON_WINDOWS = "import sys; sys.platform = 'win32'; "

REFUSED = "Windows is not supported, since workers are forked and get open files: use Linux, macOS or WSL."


def test_windows_is_refused_with_one_sentence_before_anything_else_is_imported():
    code = "from bench_core.__main__ import main; sys.modules['bench_core.cli'] = None; main()"
    done = subprocess.run(
        [sys.executable, "-c", ON_WINDOWS + code, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"bench-core: {REFUSED}\n")


def test_on_windows_pytest_refuses_a_suite_and_runs_other_tests(pytester, monkeypatch):
    monkeypatch.setattr("bench_core.platforms.sys", type("Windows", (), {"platform": "win32"}))
    pytester.path.joinpath("asv.conf.json").write_text('{"version": 1, "repo": ".", "benchmark_dir": "cells"}')
    pytester.makepyfile(test_other="def test_other(): pass")
    pytester.runpytest_inprocess("test_other.py").assert_outcomes(passed=1)
    pytester.mkpydir("cells").joinpath("one.py").write_text("def time_it(): pass\n")
    done = pytester.runpytest_inprocess("cells")
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.stdout.fnmatch_lines(["*ERROR collecting cells*", REFUSED, "=*"], consecutive=True)


def test_cores_are_asked_for_and_pinned_in_one_place():
    asked = {"sched_getaffinity", "sched_setaffinity", "cpu_affinity"}
    for path in (ROOT / "bench_core").rglob("*.py"):
        if path.name != "cores.py":
            used = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
            assert not used & asked, path


@pytest.fixture
def unpinned(monkeypatch):
    """A system such as macOS, which keeps no process on a core."""
    monkeypatch.setattr(cores, "CAN_PIN", False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)


@pytest.mark.usefixtures("unpinned")
def test_where_nothing_can_be_pinned_it_is_said_and_lanes_have_no_core():
    assert cores.notes() == (
        "this system keeps no process on a core, so times are noisier, and cells need more pairs or rounds.",
    )
    cores.stay_on({0})
    assert (cores.usable(), cores_of(None), cores_of(3)) == ((), (None,), (None,) * 3)
    assert cores.count() == os.cpu_count()


def test_where_cores_can_be_pinned_nothing_is_said():
    assert not cores.CAN_PIN or cores.notes() == ()
