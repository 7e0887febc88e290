"""Rules that every case of this suite holds to, checked on all of them."""

import itertools
import json
from pathlib import Path

import pytest
import torch

from bench_core.suite import Suite, ranks
from bench_core.suite.layouts import FULL
from bench_core.timing.cells import SuiteDirectory

ROOT = Path(__file__).parent.parent.parent
SUITE = SuiteDirectory(ROOT / "benchmarks")
CASES = sorted({cell.owner for cell in SUITE.cells}, key=lambda owner: (owner.__module__, owner.__name__))
BY_BENCHMARK = {name: list(cells) for name, cells in itertools.groupby(SUITE.cells, key=lambda cell: cell.benchmark)}


def named(owner):
    return f"{owner.__module__.rsplit('.', 1)[-1]}.{owner.__name__}"


LARGE = {name for name, layout in FULL.items() if layout.tiny != name}


def smallest(cells):
    """Of one benchmark, the cells on the CPU with the first value of every parameter that only makes them larger, and
    of the models those that are small."""
    for cell in cells:
        if cell.params.get("model") in LARGE:
            continue
        values = dict(zip(cell.params, cell.owner.params, strict=True))
        growing = {"size", "modules", "parameters", "depth", "width", "keys", "uses", "layers", "threads", "iterations"}
        if cell.params.get("device", "cpu") == "cpu" and all(
            cell.params[name] == str(values[name][0]) for name in growing if name in cell.params
        ):
            yield cell


SLOW = {"state_dict.LoadTwentyThousandKeys"}
"""Cases whose smallest cell takes seconds. Their check is that of the case that they derive from."""

SMALL = [cell for cells in BY_BENCHMARK.values() for cell in smallest(cells) if cell.why_not is None]

WITH_TWO_RANKS = [cell for cell in SMALL if cell.params.get("ranks", "2") == "2"]
"""A check is the same for every number of ranks, and each cell starts its own."""


FIRST = {cell.benchmark: cell for cell in reversed(WITH_TWO_RANKS)}
"""Of each benchmark, the cell that has to show in the quick tests that its check can fail. Its others have the same
check."""


@pytest.fixture(autouse=True, scope="module")
def cells_share_ranks():
    with ranks.shared():
        yield


def marked(cells, *, left):
    """The cells, with those that `left` names, and those of slow cases, left to the thorough tests."""
    return [
        pytest.param(cell, marks=pytest.mark.thorough) if named(cell.owner) in SLOW or left(cell) else cell
        for cell in cells
    ]


def test_every_module_of_the_suite_imports():
    assert SUITE.broken == ()


@pytest.mark.parametrize("name", BY_BENCHMARK)
def test_every_benchmark_has_a_check(name):
    cell = BY_BENCHMARK[name][0]
    assert callable(getattr(cell.owner, f"check_{cell.operation}", None))


@pytest.mark.parametrize("name", sorted(SLOW))
def test_a_slow_case_has_the_check_of_another_case(name):
    (slow,) = (owner for owner in CASES if named(owner) == name)
    checks = [part for part in vars(slow) if part.startswith("check_")]
    assert not checks
    assert {owner.__name__ for owner in slow.__mro__[1:]} & {owner.__name__ for owner in CASES if owner is not slow}


@pytest.mark.parametrize("cell", marked(SMALL, left=lambda cell: cell.params.get("ranks") == "4"), ids=str)
def test_a_check_passes_at_the_smallest_size(cell):
    with cell.open() as opened:
        opened.check()


@pytest.mark.parametrize("cell", marked(WITH_TWO_RANKS, left=lambda cell: cell is not FIRST[cell.benchmark]), ids=str)
def test_a_check_fails_if_the_operation_does_nothing(cell):
    with cell.open() as opened:
        case = opened.benchmark.func.__self__
        method = cell.benchmark.rsplit(".", 1)[-1]
        original = getattr(case, method)
        setattr(case, method, lambda *values: None)
        try:
            opened.check()
        except AssertionError:
            return
        except (AttributeError, TypeError):
            # The check trips over None before it compares: it must see a wrong outcome of the right kind, too.
            opened.fresh()
            setattr(case, method, lambda *values: wrong(original(*values)))
            with pytest.raises(AssertionError):
                opened.check()
        else:
            pytest.fail("the check passes")


def wrong(outcome):
    """Something of the same type, and far off."""
    if isinstance(outcome, torch.Tensor):
        return outcome.detach() * 0 + 12345.0
    if isinstance(outcome, (list, tuple)):
        return type(outcome)(wrong(part) for part in outcome)
    assert isinstance(outcome, (int, float)), outcome
    return outcome + 1e6


@pytest.mark.parametrize("owner", CASES, ids=named)
def test_a_case_is_an_ordinary_asv_class_of_this_suite(owner):
    assert issubclass(owner, Suite)
    assert owner.__doc__
    assert len(owner.params) == len(owner.param_names)


@pytest.mark.parametrize("owner", CASES, ids=named)
def test_the_quick_profile_names_values_that_exist(owner):
    values = {name: {str(value) for value in row} for name, row in zip(owner.param_names, owner.params, strict=True)}
    for name, kept in (owner.quick or {}).items():
        assert set(map(str, kept)) <= values[name]


@pytest.mark.parametrize("owner", CASES, ids=named)
def test_rivals_are_a_parameter_of_the_case(owner):
    assert owner.rivals is None or owner.rivals in owner.param_names


@pytest.mark.parametrize("owner", CASES, ids=named)
def test_random_numbers_are_declared_for_values_that_the_case_has(owner):
    draws = owner.draws if isinstance(owner.draws, dict) else {}
    drawing = [row for row in owner.params if set(draws) & set(row)]
    assert len(drawing) == bool(draws), "one parameter says how many numbers are drawn"
    assert not owner.draws or "size" in owner.param_names


REPORTS = [(owner, report) for owner in CASES for report in owner.reports]


@pytest.mark.parametrize(("owner", "report"), REPORTS, ids=[f"{named(o)}-{r.source}" for o, r in REPORTS])
def test_a_reported_slowdown_is_named_in_the_docstring_and_its_two_cells_run_here(owner, report):
    assert report.source.split(",")[0].split(";")[0] in owner.__doc__
    for params in (report.slow, {**report.slow, **report.fast}):
        found = [
            cell
            for cell in SUITE.cells
            if cell.owner is owner and cell.benchmark.endswith(f".{report.benchmark}") and cell.params == params
        ]
        assert len(found) == 1, params
        assert found[0].why_not is None


def test_a_published_cell_keeps_its_name():
    """The reference run's list of benchmarks is the list of what is published: values are appended, never edited."""
    published = json.loads((ROOT / "results" / "benchmarks.json").read_text())
    published.pop("version")
    lost = []
    for name, benchmark in published.items():
        today = {tuple(cell.params.values()) for cell in BY_BENCHMARK.get(name, [])}
        lost += [f"{name}{values}" for values in itertools.product(*benchmark["params"]) if values not in today]
    assert published
    assert not lost
