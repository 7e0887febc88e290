"""Subjects out of plain numbers."""

import pytest

from bench_core.records.report import Measured, RunKey, Subject
from bench_core.records.results import CellResult
from bench_core.records.run import Interval

CACHES = {"L1d": 32 << 10, "L2": 1 << 20, "L3": 32 << 20}


def interval(middle, spread=0.01):
    """A 99 % interval of `spread` to either side."""
    return Interval(middle * (1 - spread), middle, middle * (1 + spread), 0.99)


def cell(
    benchmark, params, seconds, *, spread=0.01, reads=0, writes=0, rivals=None, kind="time", unit="seconds", **more
):
    """A `CellResult`: ``cell("family.Class.time_it", {"size": "8x4"}, 1e-6)``."""
    value = interval(seconds, spread)
    return CellResult(benchmark, params, kind, unit, value, 10, 100, reads, writes, rivals, **more)


def subject_of(
    cells, *, name="box, torch 2.13.0", machine="box", caches=CACHES, failed=(), torch="2.13.0", commit="c" * 40
):
    """A `Subject` whose newest values are `cells`."""
    key = RunKey("cccccccc-env.json", "2026-01-02T03:00:00+00:00")
    measured = {
        each.name: Measured(each, key, commit, "2026-01-02T03:04:05+00:00", f"bench-core run '^{each.name}$'")
        for each in cells
    }
    description = {"machine": machine, "cpu": "A CPU", "num_cpu": "2", "python": "3.11", "torch": torch}
    return Subject(name, machine, description, caches, measured, tuple(failed))


def along(benchmark, axis, values, fixed=None, **options):
    """Cells along one axis: ``along("f.C.time_it", "size", {"8x4": 1e-6, "64x64": 2e-6}, {"device": "cpu"})``.

    The axis is the last parameter, as it mostly is in the suite.
    """
    return [cell(benchmark, {**(fixed or {}), axis: str(n)}, value, **options) for n, value in values.items()]


@pytest.fixture
def make_cell():
    return cell


@pytest.fixture
def make_subject():
    return subject_of


@pytest.fixture
def make_along():
    return along
