import sys
from collections import Counter
from types import ModuleType

import pytest

from trials import plants


@pytest.fixture
def template(monkeypatch):
    """The package of the plants, with base's amounts."""
    monkeypatch.syspath_prepend(str(plants.TEMPLATE / "src"))
    amounts = ModuleType("plants.amounts")
    exec(plants.amounts({}), amounts.__dict__)
    monkeypatch.setitem(sys.modules, "plants.amounts", amounts)
    import plants as package

    yield package
    for name in ("plants", "plants.work"):
        del sys.modules[name]


@pytest.fixture
def no_large_arrays(template, monkeypatch):
    monkeypatch.setattr(sys.modules["plants.work"], "LARGE", 200_000)


def units(planted):
    found = {}
    exec(plants.amounts(planted), found)
    return found["UNITS"]


def test_there_are_forty_cells():
    assert len(plants.CELLS) == 40


def test_the_cells_are_those_of_the_package(template):
    assert {kind: tuple(sizes) for kind, sizes in template.SIZES.items()} == dict(plants.SIZES)


def test_every_job_runs_with_the_units_of_its_version(no_large_arrays, template):
    for key in plants.CELLS.values():
        kind, size = key.split()
        if (kind, int(size)) not in (("read", 16), ("write", 16)):
            template.make(kind, int(size), units=2)()


@pytest.mark.parametrize("seed", range(5))
def test_half_of_the_cells_are_planted(seed):
    planted = plants.plan(3, seed)
    assert len(planted) == 20
    assert set(planted.values()) == {3}
    assert set(planted) < set(plants.CELLS)


def test_plants_are_spread_over_the_kinds():
    kinds = Counter(plants.CELLS[name].split()[0] for name in plants.plan(5, 1))
    assert all(kinds[kind] == 5 for kind in ("walk", "add", "allocate"))
    assert kinds["read"] + kinds["write"] == 5


def test_another_seed_plants_other_cells():
    assert plants.plan(5, 1) != plants.plan(5, 2)


def test_a_plant_is_so_many_units_more_and_nothing_else():
    name = plants.cell("walk", 50)
    assert units({name: 5}) == {**units({}), "walk 50": 105}


def test_an_improvement_is_fewer_units():
    assert units({plants.cell("read", 4): -5})["read 4"] == 95


def test_a_comment_changes_the_text_and_no_amount():
    assert plants.amounts({}, "other") != plants.amounts({})
    found = {}
    exec(plants.amounts({}, "other"), found)
    assert found["UNITS"] == units({})


def test_the_part_outside_the_units_does_not_grow():
    assert plants.truth(5, 0.0) == 1.05
    assert plants.truth(-5, 0.1) == pytest.approx(0.955)
