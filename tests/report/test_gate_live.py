import io
from dataclasses import replace

import pytest
from rich.console import Console

from bench_core.records.gate import GateSettings, Progress
from bench_core.report.gate_live import Live

STATE = Progress(
    pairs=40,
    parents=5,
    decided=10,
    open=29,
    errors=1,
    worst=(("fills.Fill.time_fill(cpu, zeros_, 8192x8192)", 1.052, 0.99, 1.2), ("a.[red]time_b", 1.01, 0.0, 1e309)),
    seconds=12.0,
    left=48.0,
    needed=None,
    lanes=("fills.Fill.time_fill(cpu, zeros_, 8192x8192), pair 4", "starting"),
)


def live(width, terminal, total=40):
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, height=40)
    return console.file, Live(console, ["fills", "ties"], GateSettings(seed=7), total)


def at(seconds, decided=10):
    return Progress(40, 5, decided, 40 - decided, 0, (), seconds, 1.0, None, ())


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_the_table_fits_into_any_terminal(width):
    file, shown = live(width, True)
    console = Console(file=io.StringIO(), width=width)
    console.print(shown._table(STATE))
    assert max(map(len, console.file.getvalue().splitlines())) <= width
    with shown:
        shown.update(STATE)
    assert "lane 1: fills" in file.getvalue()


def test_the_table_shows_what_is_open_and_what_each_lane_does():
    file, shown = live(100, True)
    with shown:
        shown.update(STATE)
    text = file.getvalue()
    assert "10 decided, 29 open, 1 failed; 40 pairs of 5 parents; 12.0 s, at most 48 s left" in text
    assert "+5.2 % (-1.0 … +20.0 %)" in text
    assert "a.[red]time_b" in text
    assert "lane 2: starting" in text


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        (None, "at most 48 s left"),
        (20.0, "20 to 48 s left"),
        (90.0, "48 s left, too few to decide all cells: --budget 102s or more, or --bench for fewer cells"),
    ],
)
def test_once_the_pace_is_known_a_line_says_how_long_it_takes_and_what_the_budget_would_change(needed, said):
    file, shown = live(200, False)
    with shown:
        shown.update(replace(STATE, needed=needed))
    assert file.getvalue().rstrip().endswith(said)


def test_a_narrow_terminal_cuts_the_names_and_not_the_effects():
    file, shown = live(40, True)
    with shown:
        shown.update(STATE)
    assert "+5.2 % (-1.0 … +20.0 %)" in file.getvalue()


def test_a_terminal_is_drawn_at_most_four_times_a_second():
    file, shown = live(100, True)
    with shown:
        shown.update(at(1.0))
        drawn = len(file.getvalue())
        shown.update(at(1.2))
        assert len(file.getvalue()) == drawn
        shown.update(at(1.25))
        assert len(file.getvalue()) > drawn


def test_the_table_goes_when_the_gate_ends_and_the_cursor_comes_back():
    file, shown = live(100, True)
    with pytest.raises(KeyboardInterrupt), shown:
        shown.update(STATE)
        raise KeyboardInterrupt
    assert file.getvalue().rstrip().endswith("\x1b[2K")
    assert "\x1b[?25h" in file.getvalue()


def test_without_a_terminal_a_line_is_written_now_and_then():
    file, shown = live(40, False)
    with shown:
        for tenth in range(250):
            shown.update(at(tenth / 10))
    assert file.getvalue().splitlines() == [
        "40 cells of fills, ties: noise floor 1 %, limit 5 %, budget 60 s, seed 7",
        "0 s: 10 of 40 cells decided, 40 pairs, at most 1 s left",
        "10 s: 10 of 40 cells decided, 40 pairs, at most 1 s left",
        "20 s: 10 of 40 cells decided, 40 pairs, at most 1 s left",
    ]


def test_one_cell_and_one_pair_are_singular():
    file, shown = live(100, False, total=1)
    with shown:
        shown.update(replace(at(0.0, 0), pairs=1))
    assert file.getvalue().splitlines()[1] == "0 s: 0 of 1 cell decided, 1 pair, at most 1 s left"


def test_without_a_terminal_every_quarter_is_written():
    file, shown = live(40, False)
    with shown:
        for decided in range(41):
            shown.update(at(decided / 100, decided))
    assert [line.split()[2] for line in file.getvalue().splitlines()[1:]] == ["0", "10", "20", "30", "40"]


def test_a_gate_without_cells_is_shown():
    file, shown = live(40, True, total=0)
    with shown:
        shown.update(at(0.0, decided=0))
    assert "0 decided" in file.getvalue()
