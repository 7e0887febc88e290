import json

import pytest

from bench_core.errors import BenchCoreError
from trials import plants, summary
from trials.files import raw
from trials.gates import covers, kept
from trials.growth import spread
from trials.sidebyside import slower

CELL = plants.cell("walk", 500)
OTHER = plants.cell("walk", 1000)


def cell(verdict, low, high):
    return {"verdict": verdict, "interval": [low, high], "error": None, "effects": [[0.0, 0, "b"]], "ratio": 1.0}


def test_an_open_interval_says_nothing():
    assert covers(cell("inconclusive", None, None), 1.0) is None


def test_a_half_open_interval_can_miss():
    assert covers(cell("inconclusive", 1.02, None), 1.0) is False
    assert covers(cell("inconclusive", None, 1.02), 1.0) is True


def test_a_share_has_its_exact_bounds():
    figure = summary.share("aa", "reds", 0, 60)
    assert figure.low == pytest.approx(0, abs=1e-6)
    assert figure.high == pytest.approx(1 - 0.025 ** (1 / 60), abs=1e-6)


def gate_with(planted, cells):
    return {
        "percent": 5,
        "planted": planted,
        "fixed": dict.fromkeys(cells, 0.0),
        "cells": cells,
        "control_rejects": False,
        "seconds": 50.0,
    }


def value_of(figures, what):
    (found,) = [figure for figure in figures if figure.what == what]
    return found.count, found.of


def test_a_red_beside_a_plant_is_counted_apart():
    cells = {CELL: cell("regression", 1.04, 1.06), OTHER: cell("regression", 1.02, 1.03)}
    found = summary.of_detect([gate_with([CELL], cells)])
    assert value_of(found, "+5 %: planted cells that are regression") == (1, 1)
    assert value_of(found, "cells beside planted ones that are regression") == (1, 1)
    assert value_of(found, "cells beside planted ones: intervals without 1") == (1, 1)


def test_intervals_of_plants_are_compared_with_the_planted_ratio():
    cells = {CELL: cell("pass", 0.99, 1.04), OTHER: cell("pass", 0.99, 1.01)}
    found = summary.of_detect([gate_with([CELL], cells)])
    assert value_of(found, "+5 %: intervals without the truth") == (1, 1)


def test_a_cell_whose_true_ratio_is_unknown_is_not_compared_with_it():
    line = gate_with([CELL], {CELL: cell("pass", 0.99, 1.04)})
    line["fixed"][CELL] = 0.05
    assert value_of(summary.of_detect([line]), "+5 %: intervals without the truth") == (0, 0)


def said(tool, rule, planted, red):
    said = {"asked": tool, "red": {rule: red}, "planted": planted, "unsure": [], "seconds": 60.0}
    return {**said, "options": {"bench": "Walk", "budget": None}}


def test_tools_are_counted_by_what_they_call_slower():
    lines = [said("asv", "factor 1.05", [], [CELL]), said("asv", "factor 1.05", [CELL, OTHER], [CELL])]
    found = summary.of_sidebyside(lines)
    assert value_of(found, "asv, factor 1.05: false reds without a change") == (1, 10)
    assert value_of(found, "asv, factor 1.05: planted +5 % not red") == (1, 2)
    assert value_of(found, "asv, factor 1.05: false reds beside planted cells") == (0, 8)


def add(folder, cells, **protocol):
    raw(folder, "detect").add(date="2026-01-01", **protocol, **gate_with([CELL], cells))


RED = {CELL: cell("regression", 1.04, 1.06)}
PASSED_OFF = {CELL: cell("pass", 0.99, 1.04)}


def test_a_summary_takes_the_newest_tool_and_options_alone(tmp_path):
    for tool, budget in (("old", None), ("new", "20s"), ("new", None)):
        add(tmp_path, RED if (tool, budget) == ("new", None) else PASSED_OFF, tool=tool, options={"budget": budget})
    page = summary.run(tmp_path, "here")
    assert "| +5 %: planted cells that are regression | 1 of 1 (100 %) |" in page
    assert "bench_core at new. Runs of other commits or with other options, left out: 2." in page


def test_a_summary_of_a_tool_leaves_out_newer_ones(tmp_path):
    add(tmp_path, RED, tool="old", options={"budget": "20s"})
    add(tmp_path, PASSED_OFF, tool="new", options={"budget": None})
    page = summary.run(tmp_path, "here", "old")
    assert "| +5 %: planted cells that are regression | 1 of 1 (100 %) |" in page
    assert "`python -m trials detect --budget 20s`, 2026-01-01, bench_core at old." in page


def test_a_simulation_by_another_tool_is_left_out(tmp_path):
    add(tmp_path, RED, tool="old")
    (tmp_path / "simulate.jsonl").write_text('{"tool": "new"}')
    assert "drawn" not in summary.run(tmp_path, "here", "old")


def test_a_tool_without_runs_is_named(tmp_path):
    add(tmp_path, RED, tool="old")
    with pytest.raises(BenchCoreError, match="no runs in .* of older"):
        summary.run(tmp_path, "here", "older")


def test_options_that_were_not_kept_are_not_made_up(tmp_path):
    add(tmp_path, RED, tool="old")
    assert "python -m trials detect (its options were not kept)" in summary.run(tmp_path, "here")


def test_a_summary_needs_only_what_is_there(tmp_path):
    cells = {CELL: cell("regression", 1.04, 1.06), OTHER: cell("pass", 0.99, 1.01)}
    add(tmp_path, cells, tool="abc")
    page = summary.run(tmp_path, "here")
    assert "## Known slowdowns" in page
    assert "A/A" not in page
    assert json.loads((tmp_path / "summary.jsonl").read_text())["trials"]["detect"]["tool"] == "abc"


def test_a_damaged_line_is_named(tmp_path):
    file = raw(tmp_path, "aa")
    file.add(gate=0)
    with file.path.open("a") as out:
        out.write('{"gate": 1')
    with pytest.raises(BenchCoreError, match="line 2, is damaged"):
        file.read()


def test_asvs_plus_is_a_cell_that_became_slower():
    table = (
        "| Change   | Before   | After   |   Ratio | Benchmark (Parameter)    |\n"
        "|----------|----------|---------|---------|--------------------------|\n"
        "| +        | 1.0±0.1μs | 1.1±0μs |    1.1  | jobs.Walk.time_walk(3)   |\n"
        "| -        | 1.0±0.1μs | 0.9±0μs |    0.9  | jobs.Walk.time_walk(6)   |\n"
        "|          | 1.0±0.1μs | 1.1±0μs |   ~1.1  | jobs.Walk.time_walk(12)  |\n"
    )
    assert slower(table) == ["jobs.Walk.time_walk(3)"]


def test_what_asv_says_of_the_gates_own_results_is_not_asvs():
    rows = [f"{CELL} [here/virtualenv-py3.11]", f"{OTHER} [here/gate-py3.11-torch2.13.0]"]
    lines = [said("asv", "factor 1.05", [CELL], rows)]
    found = summary.of_sidebyside(lines)
    assert value_of(found, "asv, factor 1.05: planted +5 % not red") == (0, 1)
    assert value_of(found, "asv, factor 1.05: false reds beside planted cells") == (0, 9)


def test_a_search_that_was_refused_is_not_right():
    lines = [
        {"right": True, "refused": False, "tested": 5, "wall": 30.0},
        {"right": False, "refused": True, "tested": 0, "wall": 9.0},
    ]
    found = summary.of_bisect(lines)
    assert value_of(found, "searches that name the right commit alone") == (1, 2)


def test_searches_without_a_difference_are_counted_apart():
    without = {"without": True, "right": True, "refused": True, "tested": 0, "wall": 9.0}
    wrong = {"without": True, "right": False, "refused": False, "tested": 5, "wall": 40.0}
    lines = [{"right": True, "refused": False, "tested": 5, "wall": 30.0}, without, without, wrong]
    found = summary.of_bisect(lines)
    assert value_of(found, "searches that name the right commit alone") == (1, 1)
    assert value_of(found, "searches without a difference that were refused") == (2, 3)
    [refused] = [figure.value for figure in found if figure.what == "searches that were refused"]
    assert refused == "0"
    assert summary.of_bisect([without])[0].what == "searches without a difference that were refused"


def test_what_crept_in_is_counted_apart_from_the_steps():
    def cells(verdict, ratio):
        return {"slow": {"verdict": verdict, "ratio": ratio}, "other": {"verdict": "pass", "ratio": 1.0}}

    step = {"creeping": ["slow"], "cells": cells("pass", 1.01), "wall": 20.0}
    last = {**step, "wall": 30.0, "creep": {"verdict": "regression", "cells": cells("regression", 1.1)}}
    found = summary.of_creep([step] * 9 + [last])
    assert value_of(found, "cells that a step made slower by 1 %, and that it alone turned red") == (0, 10)
    assert value_of(found, "gates that are red by what crept in") == (1, 1)
    assert value_of(found, "cells slower by 10 % in ten steps that are red") == (1, 1)
    assert value_of(found, "cells beside them that are red") == (0, 1)


def test_a_part_of_the_cells_is_taken_from_everywhere():
    assert spread([str(number) for number in range(100)], 4) == ["0", "25", "50", "75"]


def test_of_a_gate_every_effect_is_kept():
    effect = {"log_ratio": 0.01234567, "parent": 3, "forked_first": "head", "pair": 1, "samples": 12}
    judged = {
        "verdict": "pass",
        "reason": "",
        "ratio": 1.0,
        "interval": [0.99, None],
        "at_most": 1.01,
        "decided_by": "pair",
    }
    one = {**judged, "name": "a", "kind": "time", "error": None, "seconds": {"base": 1.2345e-6}, "effects": [effect]}
    result = {
        "date": "2026-01-01T00:00:00Z",
        "seconds": 1.0,
        "settings": {"budget": 45.0, "lanes": 2, "noise_floor": 0.01, "limit": 0.05, "pass_error": 0.01},
        "verdict": "pass",
        "reason": "",
        "exit_code": 0,
        "suite": None,
        "control": {"rejects": False, "cells": []},
        "noise": {"within": None},
        "cells": [one],
    }
    assert kept(result)["cells"]["a"]["effects"] == [[0.012346, 3, "h", 12]]


def test_cells_that_do_not_call_what_differs_are_counted_separately():
    cells = {plants.cell("walk", 200): cell("pass", 0.99, 1.01), plants.cell("add", 200): cell("regression", 1.1, 1.2)}
    (line,) = [{"releases": ["numpy==1", "numpy==2"], "cells": cells, "wall": 60.0}]
    found = summary.of_versus([line])
    assert value_of(found, "cells that call nothing of it that are pass") == (1, 1)
    assert value_of(found, "cells that do that are regression") == (1, 1)
    assert value_of(found, "gates that call it no fair pair") == (0, 1)


def test_figures_belong_to_the_trial_whose_runs_they_are_of(tmp_path, monkeypatch):
    monkeypatch.setitem(summary.OF, "aa-noisy", lambda lines: [summary.share("aa", "reds", 0, len(lines))])
    raw(tmp_path, "aa-noisy").add(tool="a", date="2026-11-30", options={})
    found = summary.taken(tmp_path, "aa-noisy", None)
    assert [figure.trial for figure in found.figures] == ["aa-noisy"]
    assert found.origin("aa-noisy")["command"] == "python -m trials aa --noisy"
