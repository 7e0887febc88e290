import re

import pytest

from trials import causes, plants, summary


def line(asked, cells, planted=()):
    return {"asked": asked, "cells": cells, "planted": list(planted), "seconds": 60.0}


def value_of(figures, what):
    (found,) = [figure for figure in figures if figure.what == what]
    return found


def test_there_are_ten_plants_of_ten_cells_of_the_suite():
    suite = (causes.TEMPLATE / "cells" / "jobs.py").read_text()
    assert len(causes.PLANTS) == 10
    for cell in causes.PLANTS:
        _, owner, method = cell.split(".")
        assert re.search(rf"class {owner}:(?:(?!\nclass ).)*def {method}\(", suite, re.DOTALL)


def test_every_plant_is_in_the_jobs_once():
    text = (causes.TEMPLATE / causes.JOBS).read_text()
    slower = causes.slower(text)
    assert all(plant.head in slower for plant in causes.PLANTS.values())
    with pytest.raises(ValueError, match="is 0 times in the jobs, and must be there once"):
        causes.slower(slower)


def test_a_plant_of_one_per_cent_is_in_ten_cells_of_the_interpreter():
    planted = causes.drawn()
    assert len(planted) == 10
    assert set(planted) < set(causes.INTERPRETED) < set(plants.CELLS)


def test_a_sentence_that_names_another_culprit_is_no_explanation():
    cells = {"a": {"named": True}, "b": {"named": False}}
    found = value_of(summary.of_causes([line("causes", cells)]), "sentences that name the culprit")
    assert (found.count, found.of) == (1, 2)


def test_of_the_same_code_the_largest_difference_is_a_figure():
    found = summary.of_causes([line("same", {"a": [1000.0, 1000.0], "b": [1000.0, 999.0]})])
    assert "0.100 % of 2 cells (in b)" in value_of(found, "the same code twice: instructions differ by at most").value


def test_a_plant_that_is_not_counted_is_not_seen():
    found = summary.of_causes([line("planted", {"a": [1000.0, 1010.0], "b": [1000.0, 1003.0]}, ["a", "lost"])])
    seen = value_of(found, "+1 % of work: seen")
    assert (seen.count, seen.of) == (1, 2)
    assert value_of(found, "cells beside it that differ by 0.2 %").count == 1
