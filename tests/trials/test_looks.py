import pytest

from trials import looks


def line(logs, **others):
    effects = [[log, pair // 4, "b", 32] for pair, log in enumerate(logs)]
    cell = {"kind": "time", "error": None, "effects": effects}
    return {"cells": {"a": cell, "b": cell | {"error": "fails"}, "c": cell | {"kind": "track"}}, **others}


def test_only_timed_cells_without_an_error_are_looked_at_and_all_timed_ones_share():
    (cell,) = looks.recorded(line([0.0] * 3))
    assert (cell.name, cell.family, cell.drawn) == ("a", 2, ((0, 0.0),) * 3)


@pytest.mark.parametrize(("rule", "pairs"), [("a pass by itself", 9), ("a pass for the family", 14)])
def test_a_cell_ends_at_the_first_look_that_decides_it(rule, pairs):
    (cell,) = looks.recorded(line([0.0] * 20))
    rules = looks.rules(40)
    assert looks.ended(cell, rules[rule]) == looks.Ended(pairs, "pass", decided=True)


def test_a_cell_that_is_never_decided_has_all_its_pairs():
    (cell,) = looks.recorded(line([0.0] * 8))
    assert looks.ended(cell, looks.rules(40)["a pass by itself"]) == looks.Ended(8, "inconclusive", decided=False)


def test_cells_are_told_apart_by_what_was_done_to_them():
    lines = [
        line([0.0] * 9, busy=True),
        line([0.0] * 9, busy=False),
        line([0.0] * 9, percent=3, planted=["a"]),
        line([0.0] * 9, percent=3, planted=[]),
    ]
    found = {what: [cell.planted for cell in cells] for what, cells in looks.groups(lines).items()}
    assert found == {
        "no change, other core busy": [0.0],
        "no change, other core idle": [0.0],
        "+3 %": [0.03],
        "beside known slowdowns": [0.0],
    }


def test_both_rules_are_told_with_their_pairs_and_verdicts():
    cells = looks.recorded(line([0.0] * 20)) * 2
    assert list(looks.told("same", cells)) == [
        "  same, a pass by itself: 9.0 pairs a cell, 2 pass",
        "  same, a pass for the family: 9.0 pairs a cell, 2 pass",  # of two cells, each has 1 %
    ]
