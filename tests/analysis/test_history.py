import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench_core.analysis.history import SHORTEST, histories, step_places
from bench_core.errors import brief
from bench_core.records.commit import LoggedCommit
from bench_core.records.results import CellVerdict, Run, SideName, Store, StoredGate, Summary


def commit(number):
    return f"{number:040x}"


def known(*numbers):
    """What git says, oldest first."""
    return {
        commit(number): LoggedCommit(commit(number), f"Change {number}", "A", f"2026-01-{number:02}T00:00:00+00:00")
        for number in numbers
    }


@pytest.fixture
def make_run(make_cell):
    """A run of commit `number` with cells of these values."""

    def run(number, *values, machine="box", torch="2.13.0", spread=0.001, measured="", **options):
        cells = tuple(
            make_cell("f.C.time_it", {"way": str(index)}, value, spread=spread, **options)
            for index, value in enumerate(values)
        )
        committed = f"2026-01-{number:02}T00:00:00+00:00"
        description = {"machine": machine, "torch": torch}
        return Run(Path("x.json"), machine, commit(number), committed, measured, "env", description, cells, ())

    return run


def gate_on(number, base="main", changed=(), machine="box", verdict="regression"):
    head = SideName("topic", commit(number), changed)
    date = f"2026-01-{number:02}T12:00:00+00:00"
    said = Summary(SideName(base, None, ()), head, {"machine": machine}, date, verdict, "because", ())
    return StoredGate(Path("gate.json"), said)


def only(runs, *, gates=(), commits=None, link=""):
    (found,) = histories(Store(tuple(runs), tuple(gates)), commits or {}, link)
    return found


def order(history):
    return [int(moment.commit.hash, 16) for moment in history.moments]


def test_commits_stand_in_gits_order(make_run):
    runs = [make_run(number, 1) for number in (1, 2, 3)]
    assert order(only(runs, commits=known(2, 1, 3))) == [2, 1, 3]


def test_a_commit_that_git_does_not_know_is_placed_by_its_date(make_run):
    runs = [make_run(number, 1) for number in (1, 2, 3)]
    found = only(runs, commits=known(1, 3))
    assert order(found) == [1, 2, 3]
    assert found.moments[1].commit == LoggedCommit(commit(2), "", "", "2026-01-02T00:00:00+00:00")


def test_a_moment_links_to_its_commit(make_run):
    found = only([make_run(1, 1)], link="https://example.org/commit/")
    assert found.moments[0].link == f"https://example.org/commit/{commit(1)}"


def test_without_an_address_there_is_no_link(make_run):
    assert only([make_run(1, 1)]).moments[0].link == ""


def test_an_upgrade_of_torch_is_marked(make_run):
    found = only([make_run(1, 1, torch="2.9.0"), make_run(2, 1, torch="2.13.0"), make_run(3, 1, torch="2.13.0")])
    assert [moment.upgraded for moment in found.moments] == ["", "2.9.0", ""]


def test_one_commit_with_the_old_and_the_new_torch_is_two_moments(make_run):
    found = only([make_run(1, 1, torch="2.9.0"), make_run(2, 1, torch="2.13.0"), make_run(2, 2, torch="2.9.0")])
    assert [(moment.torch, moment.upgraded) for moment in found.moments] == [
        ("2.9.0", ""),
        ("2.9.0", ""),
        ("2.13.0", "2.9.0"),
    ]


def test_versions_side_by_side_have_separate_histories(make_run):
    runs = [make_run(number, 1, torch=torch) for number in (1, 2) for torch in ("2.13.0", "2.9.0")]
    found = histories(Store(tuple(runs)), {}, "")
    assert [history.machine for history in found] == ["box, torch 2.9.0", "box, torch 2.13.0"]
    assert all(order(history) == [1, 2] for history in found)


def test_machines_have_separate_histories(make_run):
    runs = (make_run(1, 1, machine="a"), make_run(2, 1, machine="b"))
    assert [(each.machine, order(each)) for each in histories(Store(runs), {}, "")] == [("a", [1]), ("b", [2])]


def test_a_verdict_is_shown_at_its_head(make_run):
    found = only([make_run(1, 1), make_run(2, 1)], gates=[gate_on(2)])
    assert [moment.verdicts for moment in found.moments] == [(), (("main", "regression", "because"),)]


def test_a_gate_of_uncommitted_changes_is_no_verdict_on_the_commit(make_run):
    found = only([make_run(1, 1)], gates=[gate_on(1, changed=("a.py",))])
    assert found.moments[0].verdicts == ()


def test_a_gate_of_another_machine_is_a_verdict_there_and_not_here(make_run):
    box, other = histories(Store((make_run(1, 1),), (gate_on(1, machine="other"),)), {}, "")
    assert (box.machine, box.moments[0].verdicts) == ("box", ())
    assert other.moments[0].verdicts


def test_a_commit_that_was_judged_and_not_measured_is_there(make_run):
    found = only([make_run(1, 1), make_run(3, 1)], gates=[gate_on(2)], commits=known(1, 2, 3))
    assert order(found) == [1, 2, 3]
    assert found.moments[1].verdicts


def test_an_upgrade_is_marked_where_it_was_measured(make_run):
    runs = [make_run(1, 1, torch="2.9.0"), make_run(3, 1)]
    found = only(runs, gates=[gate_on(2)], commits=known(1, 2, 3))
    assert [moment.upgraded for moment in found.moments] == ["", "", "2.9.0"]


def test_results_without_a_commit_are_in_no_history(make_run):
    run = make_run(1, 1)
    store = Store((Run(run.path, run.machine, None, "", "", "", run.description, run.cells, ()),))
    assert histories(store, {}, "") == ()


def test_a_gate_whose_head_is_no_commit_is_listed_separately(make_run):
    found = only([make_run(1, 1)], gates=[gate_on(2, changed=("thing.py",)), gate_on(1)])
    assert [(one.head, one.base, one.verdict) for one in found.apart] == [("topic", "main", "regression")]
    assert order(found) == [1]


def test_a_cell_has_its_values_where_it_was_measured(make_run):
    found = only([make_run(1, 5), make_run(2, 6, 7), make_run(3, 8)])
    assert [(track.cell, [(at, value.middle) for at, value in track.values]) for track in found.tracks] == [
        ("f.C.time_it(0)", [(0, 5), (1, 6), (2, 8)]),
        ("f.C.time_it(1)", [(1, 7)]),
    ]


def test_of_two_runs_of_a_commit_the_later_counts(make_run):
    found = only([make_run(1, 5, measured="2026-02-02"), make_run(1, 6, measured="2026-02-01")])
    assert [value.middle for _, value in found.tracks[0].values] == [5]


def stepped(make_run, values, **options):
    return only([make_run(number, value, **options) for number, value in enumerate(values, 1)]).tracks[0].changes


def test_a_step_is_found_where_it_is(make_run):
    noise = np.random.default_rng(1).normal(1, 0.01, 16)
    (found,) = stepped(make_run, noise * np.where(np.arange(16) < 9, 1, 1.2))
    assert found.moment == 9
    assert found.ratio == pytest.approx(1.2, rel=0.02)


def test_one_wild_value_is_no_step(make_run):
    noise = np.random.default_rng(2).normal(1, 0.01, 16)
    noise[8] = 10
    assert stepped(make_run, noise) == ()


def test_a_step_below_the_noise_floor_is_not_reported(make_run):
    values = np.where(np.arange(20) < 10, 1, 1.009) * np.random.default_rng(3).normal(1, 0.0005, 20)
    assert len(step_places(np.log(values).tolist(), 0.0005)) == 1
    assert stepped(make_run, values, spread=1e-4) == ()


def test_values_within_their_own_intervals_are_no_step(make_run):
    values = np.where(np.arange(20) < 10, 1, 1.05)
    assert len(stepped(make_run, values, spread=0.001)) == 1
    assert stepped(make_run, values, spread=0.2) == ()


def test_too_few_values_have_no_steps(make_run):
    values = [1] * (SHORTEST // 2) + [100] * (SHORTEST // 2)
    assert len(stepped(make_run, values)) == 1
    assert stepped(make_run, values[1:]) == ()


def test_the_penalty_is_such_that_fewer_values_never_have_a_step():
    n = SHORTEST - 1
    assert all(step_places([0.0] * k + [100.0] * (n - k), 0.01) == [] for k in range(1, n))


def test_a_tracked_value_below_zero_has_no_steps(make_run):
    assert stepped(make_run, [-1] * 5 + [-2] * 5) == ()


def test_the_method_says_in_how_many_of_these_cells_a_step_may_be_none(make_run):
    runs = [make_run(number, *[1] * 250) for number in range(1, SHORTEST)]
    assert "fewer than 1 of 100. A machine" in only(runs).method
    runs.append(make_run(SHORTEST, *[1] * 150))
    assert "fewer than 1.5 of the 150 cells here have one by chance" in only(runs).method


NOISES = {
    "normal": lambda draw, n: draw.standard_normal(n),
    "t3": lambda draw, n: draw.standard_t(3, n),
    "lognormal": lambda draw, n: np.exp(0.7 * draw.standard_normal(n)),
    "contaminated": lambda draw, n: draw.standard_normal(n) * np.where(draw.random(n) < 0.1, 5, 1),
}


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("n", [10, 20, 50])
def test_a_steady_history_seldom_has_a_step(noise, n):
    draw = np.random.default_rng(n)
    found = 0
    for index in range(300):
        logs = NOISES[noise](draw, n)
        if index % 2:
            logs[draw.integers(n)] += 20
        scale = 1.4826 / math.sqrt(2) * float(np.median(abs(np.diff(logs))))
        found += bool(step_places(logs.tolist(), scale))
    assert found <= 6  # 2 %: where at most 0.65 % have one, 7 or more of 300 happen in 1 of 200 such tests


@pytest.mark.parametrize(("n", "least"), [(10, 0.45), (20, 0.8), (50, 0.95)])
def test_a_step_of_five_deviations_is_found_five_commits_later(n, least):
    draw = np.random.default_rng(n)
    found = 0
    for _ in range(200):
        logs = draw.standard_normal(n)
        logs[-5:] += 5
        scale = 1.4826 / math.sqrt(2) * float(np.median(abs(np.diff(logs))))
        found += any(abs(place - (n - 5)) <= 1 for place in step_places(logs.tolist(), scale))
    assert found >= 200 * least


def test_a_verdict_names_what_failed_once_and_cuts_long_names():
    long = f"a.time_a({'y' * 3000})"
    found = gate_on(1)
    said = replace(
        found.summary,
        reason=f"1 of 1 cell slower: {long}",
        cells=(CellVerdict(long, "regression"),),
        strays=(f"{long}, head: call: OSError: busy", "a process, its parent has ended"),
    )
    ((_, _, reason),) = only([], gates=[replace(found, summary=said)]).moments[0].verdicts
    cut = brief(long)
    assert (
        reason == f"1 of 1 cell slower: {cut}; failed once and not again: {cut}, head: call: OSError: busy, and 1 more"
    )
