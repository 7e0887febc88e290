import math

import pytest
from rich.console import Console

from bench_core.records.bisect import Bisection, BisectStep
from bench_core.records.commit import LoggedCommit
from bench_core.records.gate import GateSettings
from bench_core.records.run import Interval
from bench_core.report.bisect import summary

GOOD, SKIPPED, SLOW = (LoggedCommit(letter * 40, f"Commit {letter}", "Someone", "2026-01-02") for letter in "abc")
RATIO = Interval(1.08, 1.1, 1.12, 0.95)


def text(culprits, suite=(), ratio=RATIO, reason="at least +8 %"):
    bad = BisectStep(SLOW, "bad", reason, ratio, 12, 3.0)
    found = Bisection("a.time_a", GOOD, bad, (), culprits, 5.0, GateSettings())
    console = Console(width=200)
    with console.capture() as shown:
        console.print(summary(found, suite), crop=False)
    return shown.get()


def test_one_commit_is_found_and_the_gate_that_explains_it_is_named():
    shown = text((SLOW,))
    assert "FOUND  cccccccccccc Commit c (Someone, 2026-01-02)" in shown
    assert "bench-core gate 'cccccccccccc~' cccccccccccc --fresh --bench" in shown


def test_commits_that_cannot_be_told_apart_are_named_and_spanned_by_the_command():
    shown = text((SKIPPED, SLOW))
    assert "ONE OF  2 commits, oldest first:\n  bbbbbbbbbbbb Commit b" in shown
    assert "bench-core gate 'bbbbbbbbbbbb~' cccccccccccc" in shown


def test_the_command_names_the_suite_that_was_searched():
    assert "cccccccccccc --suite other/asv.conf.json --fresh" in text((SLOW,), ("--suite", "other/asv.conf.json"))


@pytest.mark.parametrize("ratio", [math.inf, math.nan])
def test_values_without_a_ratio_are_shown_by_their_difference(ratio):
    shown = text((SLOW,), ratio=Interval(0.0, ratio, math.inf, 0.0), reason="larger by at least 5")
    assert "  a.time_a: larger by at least 5 against aaaaaaaaaaaa\n" in shown
