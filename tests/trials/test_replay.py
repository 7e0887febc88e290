"""On gates that the trials in this repository have recorded."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from trials import replay
from trials.__main__ import main

RECORDED = Path(__file__).parents[2] / "results" / "trials" / "epyc-2core"


def lines_of(name):
    return [json.loads(line) for line in (RECORDED / name).read_text().splitlines()]


@pytest.fixture
def replayed(tmp_path):
    """What `trials replay` prints of these lines, and its exit code."""

    def run(lines):
        folder = tmp_path / "box"
        folder.mkdir(exist_ok=True)
        (folder / "some.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        done = CliRunner().invoke(main, ["replay", "--machine", "box", "--out", str(tmp_path)])
        return done.exit_code, done.output

    return run


def past(number):
    """A creep gate: the last one of a run, which has a past version too."""
    return [line for line in lines_of("creep.jsonl") if "creep" in line][number]


def by_the_rule_of_today(line):
    """The gate as if it had been recorded today."""
    again = replay._kept(replay._record(line))
    return line | {name: again[name] for name in ("verdict", "reason", "cells", "controls", "settings")}


@pytest.mark.parametrize(
    ("lines", "gates", "cells"),
    [
        (lines_of("truncnormal.jsonl"), 6, 30),  # regressions and improvements
        ([past(0)], 2, 31),
        (lines_of("versus.jsonl")[:1], 1, 31),  # some are inconclusive
        (lines_of("upgrade-explained.jsonl"), 1, 2),  # a whole file of the gate
    ],
    ids=["truncnormal", "creep", "versus", "upgrade"],
)
def test_recorded_gates_have_the_same_verdicts_when_they_are_judged_again(replayed, lines, gates, cells):
    code, said = replayed(lines)
    assert code == 0
    assert f"{gates} gates and {cells} cells judged again, 0 differ" in said


def test_a_cell_that_another_rule_for_a_pass_left_open_is_counted_and_is_no_error(replayed):
    (line, *_) = lines_of("versus.jsonl")
    line = by_the_rule_of_today(line)
    name = next(name for name, cell in line["cells"].items() if cell["verdict"] == "pass")
    line["cells"][name] |= {"verdict": "inconclusive", "reason": "budget"}
    assert replayed([line])[0] == 1  # but not by today's
    del line["settings"]["pass_error"]
    code, said = replayed([line])
    assert code == 0
    assert "1 cell with another rule for a pass: inconclusive then, pass now" in said


def test_a_regression_is_one_by_every_rule_for_a_pass(replayed):
    (line, *_) = lines_of("versus.jsonl")
    name = next(name for name, cell in line["cells"].items() if cell["verdict"] == "pass")
    line["cells"][name] |= {"verdict": "regression"}
    assert replayed([line])[0] == 1


def other_verdict(cell):
    cell["verdict"] = "pass"


def other_numbers(cell):
    cell["reason"] = "at least +1.0 %"


def other_interval(cell):
    cell["interval"][0] *= 1.0001


@pytest.mark.parametrize("change", [other_verdict, other_numbers, other_interval])
def test_a_cell_that_is_judged_differently_is_named_and_is_an_error(replayed, change):
    (line,) = [line for line in lines_of("truncnormal.jsonl") if line["gate"] == 0 and line["verdict"] == "regression"]
    name = "fills.Fill.time_fill(64)"
    change(line["cells"][name])
    code, said = replayed([line])
    assert code == 1
    assert f"line 1, {name}: " in said


def test_a_reason_in_other_words_is_the_same_verdict(replayed):
    (line, *_) = map(by_the_rule_of_today, lines_of("truncnormal.jsonl"))
    line["reason"] = line["reason"].replace("cells", "Zellen")
    code, said = replayed([line])
    assert code == 0
    assert "1 reasons in other words" in said


def test_a_gate_that_all_cells_together_decided_is_left_out(replayed):
    (line, *_) = lines_of("versus.jsonl")
    line |= {"verdict": "regression", "reason": f"{replay.ALONE}, but all of them"}
    code, said = replayed([line])
    assert code == 0
    assert "0 gates and 31 cells judged again, 0 differ; 1 gates" in said


def test_a_folder_without_gates_is_an_error(tmp_path):
    (tmp_path / "box").mkdir()
    done = CliRunner().invoke(main, ["replay", "--machine", "box", "--out", str(tmp_path)])
    assert "no recorded gate" in str(done.exception)
