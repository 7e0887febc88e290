"""The table of a run in rounds, and what it says in sentences, JSON and CSV."""

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from bench_core.records.results import CellResult, ResultFile
from bench_core.records.rounds import Group, Rounds, RoundsProgress, Visit
from bench_core.records.run import Interval
from bench_core.report import table
from bench_core.report.run_live import RunLive

ODD = "'[red], \"a,b\" \\n [/] \u00fc'"


def run_of(jobs, **changes):
    """``run_of({"C.time_it": {"a": 1.0}})``: four rounds, in microseconds, with a noise of 0.1 %."""
    groups = []
    for job, ways in jobs.items():
        names = [f"f.{job}({way})" for way in ways]
        visits = tuple(
            Visit(
                number,
                {
                    name: 1e-6 * micro * (1 + 0.001 * ((number + place) % 3))
                    for place, (name, micro) in enumerate(zip(names, ways.values(), strict=True))
                },
                0.01,
            )
            for number in range(changes.get("rounds", 4))
        )
        groups.append(Group(f"f.{job}", tuple(names), (), visits))
    options = {"rounds": 4, "notes": ("a note",), "skipped": {"f.skipped": "not today"}, **changes}
    return Rounds("box", "env", "c" * 40, "2026-01-02T03:04:05+00:00", 12.34567, 15.0, groups=tuple(groups), **options)


def rows_of(run, *more):
    unknown = Interval(0.0, 1.0, 2.0, 0.99)
    cells = [
        CellResult(*name.removesuffix(")").split("(", 1), "time", "seconds", unknown, 4, 10, 0, 0, "way", rounds=run)
        for group in run.groups
        for name in group.cells
    ]
    cells = [replace(cell, params={"way": cell.params}) for cell in cells]
    return table.results(ResultFile(Path("x"), "c" * 40, {}, (*cells, *more), ()))


def printed(found, *families, width=100):
    console = Console(width=width, file=io.StringIO())
    console.print(table.printed(found, families))
    return console.file.getvalue()


JOBS = {"C.time_it": {"a": 1.0, "b": 2.0, "c": 3.0}, "D.time_it": {"a": 1.0, "b": 1.0001}}
TRACKED = CellResult("g.track_it", {}, "track", "unit", Interval(-1e309, 3.0, 1e309, 0.99), 1, 1, 0, 0, None)


def test_a_way_has_its_place_and_an_interval_and_ties_are_never_ranked():
    lines = printed(rows_of(run_of(JOBS))).splitlines()
    ends = {line.split()[0]: line.rstrip() for line in lines if "µs" in line}
    assert len(ends) == 3
    assert ends["c"].endswith("3.00x (2.97 to 3.03)") or "3.00x (" in ends["c"]
    assert [line.split()[-1] for line in lines if "µs" in line and "x" not in line] == ["1st", "1st=", "1st="]


def test_lines_fit_100_columns():
    assert max(len(line.rstrip()) for line in printed(rows_of(run_of(JOBS))).splitlines()) <= 100


def test_a_narrow_window_has_whole_words_and_loses_columns_and_says_so():
    job = "ManyParameters.time_zero_every_parameter_once"
    found = rows_of(run_of({job: {"the first way to do it": 1.0, "the other way to do it": 2.0}}))
    found = [replace(row, share=Interval(0.4, 0.5, 0.6, 0.95)) for row in found]
    wide, narrow = printed(found, width=100), printed(found, width=58)
    assert "of limit" in wide
    assert "of limit" not in narrow.split("A window of ")[0]
    assert "A window of 73 columns also has of limit." in narrow
    assert ["A window" in printed(found, width=width) for width in (72, 73)] == [True, False]
    lines = [line.rstrip() for line in narrow.splitlines()]
    assert max(map(len, lines)) <= 58
    assert job in lines
    assert next(line for line in lines if line.startswith("  the ")).startswith("  the first way to  ")
    assert "  do it" in lines


def test_columns_and_marks_are_those_of_the_families_that_are_shown():
    found = (*rows_of(run_of(JOBS)), *rows_of(run_of({}), TRACKED))
    assert "vs best" in printed(found, "f")
    assert "vs best" not in printed(found, "g")
    assert table.legend(table.in_full(found, ["g"])).plain == ""


def test_families_that_are_not_named_are_a_line_each():
    text = printed(rows_of(run_of(JOBS), TRACKED), "g")
    assert "f: 5 cells, shown by --family f" in text
    assert "track_it" in text
    assert "time_it" not in text


def test_names_with_markup_are_shown_as_they_are():
    found = rows_of(run_of({"C.time_it": {ODD: 1.0, "b": 2.0}}))
    assert "'[red], \"a,b\" \\n [/] ü'" in printed(found)
    (row, _) = list(csv.DictReader(io.StringIO(table.as_csv(found))))
    assert row["name"] == f"f.C.time_it({ODD})"
    assert json.loads(table.as_json(found, run_of(JOBS)))["cells"][0]["name"] == f"f.C.time_it({ODD})"


def test_what_is_certain_is_said_and_what_is_not():
    run = run_of(JOBS)
    certain, tied, today = table.taken_home(rows_of(run), run)
    assert certain.startswith("f: `a` is ")
    assert certain.endswith(" times as fast as `c`: C.time_it")
    assert tied.startswith("In 1 of 2 jobs, the fastest way cannot be told")
    assert tied.endswith(": f.D.time_it.")
    assert today == (
        "The machine during the run: a time differs by 0.1 % from round to round, other processes had the core for "
        "1.0 % of the time; 4 rounds in 12 s."
    )


ONE = Interval(1.0, 1.0, 1.0, 0.95)
TIED = Interval(0.95, 1.1, 1.25, 0.95)
UNKNOWN = Interval(0.0, 1.3, math.inf, 0.95)
SLOW = Interval(3.0, 3.5, 4.0, 0.95)


@pytest.mark.parametrize(
    ("second", "third", "sentence"),
    [
        (TIED, SLOW, "`a` or `b` is 2.40 to 4.21 times as fast as `c`"),
        (UNKNOWN, SLOW, "`a` is 3.00 to 4.00 times as fast as `c`"),
        (replace(TIED, high=2.9), SLOW, "`a` is 3.00 to 4.00 times as fast as `c`"),
        (UNKNOWN, Interval(15.1, 15.2, 15.3, 0.95), "`a` is 15 times as fast as `c`"),
    ],
    ids=["tied", "unknown", "tied by too little", "sure"],
)
def test_what_is_said_of_the_best_ways_holds_for_each_of_them(second, third, sentence):
    first, other, slow, *_ = rows_of(run_of(JOBS))
    found = [
        replace(first, ratio=ONE, tied=True, alone=False),
        replace(other, ratio=second, tied=True, alone=False),
        replace(slow, ratio=third, tied=False),
    ]
    assert next(table.taken_home(found, None)) == f"f: {sentence}: C.time_it"


def disturbed(run, *lost):
    """The run, with these shares of lost time in the visits of its first group."""
    group = run.groups[0]
    visits = tuple(replace(visit, lost=share) for visit, share in zip(group.visits, lost, strict=True))
    return replace(run, groups=(replace(group, visits=visits), *run.groups[1:]))


def test_disturbances_are_counted_unless_the_mean_says_it():
    some, every = disturbed(run_of(JOBS), 0.2, 0.0, 0.0, 0.0), disturbed(run_of({"C.time_it": {"a": 1.0}}), *[0.2] * 4)
    (*_, said) = table.taken_home(rows_of(some), some)
    assert "the core for 3.0 % of the time (for over 5 % in 1 of 8 timings of a job); " in said
    (*_, said) = table.taken_home(rows_of(every), every)
    assert "the core for 20.0 % of the time; " in said


def test_a_mark_is_explained_only_where_it_is_shown():
    many, once = rows_of(run_of(JOBS)), rows_of(run_of(JOBS, rounds=1))
    certain, alone = table.legend(many).plain, table.legend(once).plain
    assert "1st: certainly the fastest.  1st=: may be the fastest." in certain
    assert "~" not in certain
    assert "?" not in certain
    assert "reads a time within this range, with 95 %.  ?: cannot be told from so few rounds." in alone
    assert (
        "~: no interval: the ratio differs too much from round to round, fewer than two rounds of one run timed both, "
        "or one changes the time of the other." in alone
    )
    assert "1st:" not in alone
    limited = [replace(many[0], share=Interval(0.4, 0.5, 0.6, 0.95))]
    assert "of limit" in table.legend(limited).plain
    assert "~" not in table.legend(limited).plain
    unknown = [replace(many[0], share=Interval(-math.inf, 0.5, math.inf, 0.95))]
    assert "~: no interval, since the limit was timed in another run" in table.legend(unknown).plain


LATER = "2026-01-03T04:05:06+00:00"


def test_of_several_runs_it_is_said_which_are_shown():
    first, second = run_of(JOBS), run_of(JOBS, interrupted=True)
    second = replace(second, date=LATER)
    assert table.origin(rows_of(first), [first]) == ""
    assert table.origin(rows_of(first), [first, second]) == "Run 1 (2026-01-02 03:04) of 2 that are stored."
    assert table.origin(rows_of(second), [first, second]) == (
        "Run 2 (2026-01-03 04:05, interrupted) of 2 that are stored."
    )
    mixed = (*rows_of(first)[:2], *rows_of(second)[2:])
    assert table.origin(mixed, [first, second]) == (
        "2 runs are stored. The newest time of each cell is shown: 3 times of run 2 (2026-01-03 04:05, interrupted), "
        "2 times of run 1 (2026-01-02 03:04)."
    )


def test_runs_are_listed_with_what_tells_a_better_one():
    console = Console(width=100, file=io.StringIO())
    console.print(table.listing([run_of(JOBS), replace(run_of(JOBS, rounds=1, interrupted=True), date=LATER)]))
    _, first, second = console.file.getvalue().splitlines()
    assert first.split() == ["1", "2026-01-02", "03:04", "4", "12", "5", "0.1", "%"]
    assert second.split() == ["2", "2026-01-03", "04:05", "1", "12", "5", "interrupted"]


def test_a_table_of_several_runs_has_no_date_and_no_rounds():
    run = run_of(JOBS)
    file = ResultFile(Path("x"), "c" * 40, {"machine": "box"}, (), ("f.bad",), environment="env")
    content, other = json.loads(table.as_json(rows_of(run), file)), json.loads(table.as_json(rows_of(run), run))
    assert content.keys() == other.keys()
    same = ("machine", "environment", "commit", "cells")
    assert [content[key] for key in same] == [other[key] for key in same]
    assert (content["date"], content["rounds"], content["failed"]) == (None, None, {"f.bad": None})


def test_one_of_one_is_the_only_one():
    run = run_of({"D.time_it": {"a": 1.0, "b": 1.0001}})
    assert next(table.taken_home(rows_of(run), run)).startswith("In the only job, the fastest way cannot be told")


def test_after_one_round_nothing_is_claimed():
    run = run_of(JOBS, rounds=1)
    said = list(table.taken_home(rows_of(run), run))
    assert said[0].startswith("In all 2 jobs, nothing is known about the order of the ways, since ")
    assert "or fewer than two rounds timed both: " in said[0]
    assert said[1].startswith("In another run, all 5 times may differ by over 10 %: ")
    assert "1st " not in printed(rows_of(run))


def test_two_rounds_that_differ_too_much_are_not_called_one_round():
    run = run_of({"D.time_it": {"a": 1.0, "b": 3.0}}, rounds=2)
    apart = {0: 1.0, 1: 40.0}
    visits = tuple(
        replace(visit, seconds={cell: seconds * (apart[visit.round] if cell.endswith("(b)") else 1.0)
                                for cell, seconds in visit.seconds.items()})
        for visit in run.groups[0].visits
    )  # fmt: skip
    run = replace(run, groups=(replace(run.groups[0], visits=visits),))
    (said, *_) = table.taken_home(rows_of(run), run)
    assert said.startswith(
        "In the only job, nothing is known about the order of the ways, since their ratio differs too much from round "
        "to round, or "
    )


def test_the_json_has_the_documented_keys():
    run = run_of(JOBS, failed={"f.bad": "it raised"}, unreached=("f.late",))
    content = json.loads(table.as_json(rows_of(run, TRACKED), run))
    documented = (Path(__file__).parents[2] / "docs" / "run-json.md").read_text()
    assert [key for key in (*content, *content["cells"][0]) if f"`{key}`" not in documented] == []
    assert {key: content[key] for key in ("schema", "machine", "seconds", "rounds", "interrupted")} == {
        "schema": 1,
        "machine": "box",
        "seconds": 12.346,
        "rounds": 4,
        "interrupted": False,
    }
    assert content["noise"] == pytest.approx(0.001, rel=0.2)
    assert (content["failed"], content["unreached"]) == ({"f.bad": "it raised"}, ["f.late"])
    best, second, *_, tracked = content["cells"]
    assert (best["job"], best["ratio_to_best"], best["ratio_interval"], best["tied"]) == (
        "f.C.time_it",
        1,
        [1, 1],
        True,
    )
    assert second["ratio_interval"][0] < second["ratio_to_best"] < second["ratio_interval"][1]
    assert second["tied"] is False
    assert (tracked["kind"], tracked["value"], tracked["interval"]) == ("track", 3, [None, None])
    assert "job" not in tracked


def test_unknown_numbers_are_null_in_json_and_empty_in_csv():
    run = run_of(JOBS, rounds=1)
    content = json.loads(table.as_json(rows_of(run), run))
    assert content["noise"] is None
    assert content["cells"][1]["ratio_interval"] == [None, None]
    second = list(csv.DictReader(io.StringIO(table.as_csv(rows_of(run)))))[1]
    assert (second["low"], second["ratio_low"], second["tied"]) == ("", "", "true")


def test_the_csv_says_what_the_json_says():
    run = run_of(JOBS)
    found = rows_of(run, TRACKED)
    lines = list(csv.DictReader(io.StringIO(table.as_csv(found))))
    for line, cell in zip(lines, json.loads(table.as_json(found, run))["cells"], strict=True):
        assert (line["name"], float(line["value"])) == (cell["name"], cell["value"])
        assert line["ratio_to_best"] == ("" if "job" not in cell else str(cell["ratio_to_best"]))
        assert line["tied"] == {True: "true", False: "false", None: ""}[cell.get("tied")]


STATE = RoundsProgress(3, {"f": (5, 2, 6), "[red]": (1, 0, 4)}, 12.0, 48.0)


@pytest.mark.parametrize("width", [40, 100])
def test_the_live_table_shows_families_cells_and_the_time_left(width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, height=40)
    with RunLive(console) as live:
        live.update(STATE)
    text = console.file.getvalue()
    assert "[red]" in text
    if width == 100:
        assert "round 3; 12 s, at most 48 s left" in text


def test_in_a_log_there_is_a_line_now_and_then():
    console = Console(file=io.StringIO(), width=200)
    with RunLive(console) as live:
        for seconds in (0.0, 0.1, 12.0):
            live.update(replace(STATE, seconds=seconds))
    lines = console.file.getvalue().splitlines()
    assert lines[-1] == "12 s: round 3, 6 of 10 cells have a time, 2 to within 2 %, at most 48 s left"
    assert len(lines) == 2


def test_ways_that_change_the_time_of_each_other_are_not_ranked_and_the_table_says_why():
    run = run_of(JOBS)
    first, *others = run.groups
    run = replace(run, groups=(replace(first, doubt="b changes what a works on."), *others))
    found = rows_of(run)
    assert [table.standing(row) for row in found][1:3] == ["~2.00x", "~3.00x"]
    said = list(table.taken_home(found, run))
    assert any("not ranked" in line and "b changes what a works on." in line for line in said)
    assert not any("C.time_it" in line for line in said)
