"""What failures mean, without a process."""

from dataclasses import replace

import pytest

from bench_core.errors import BenchCoreError
from bench_core.gate.measure.blame import MOST_FAULTS, MOST_SPOILED, MOST_STRAYS, Blame, survived
from bench_core.gate.measure.discover import Found
from bench_core.gate.measure.evidence import Journal, Known
from bench_core.gate.measure.settle import settle
from bench_core.records.gate import SIDES, CellEvidence, GateSettings
from bench_core.workers.messages import (
    Alive,
    CellFailed,
    CellLeft,
    CellRead,
    CellTimed,
    Log,
    Lost,
    PairTask,
    Sampling,
    SamplingPlan,
    Settled,
    WorkerBroken,
    WorkerRefused,
)


@pytest.fixture
def known(tmp_path):
    """A gate of one cell, with its control."""
    cell = CellEvidence("a.time_a", "a.time_a", {}, "time", "seconds")
    found = Found((cell,), {}, (), (), [], on_accelerator=False)
    return Known(found, GateSettings(seed=1), Journal(tmp_path / "journal"), None)


@pytest.fixture
def blame(known):
    return Blame(known)


def try_again(blame, *survivors):
    """Try the suspect again; these versions do not fail."""
    blame.confirm(blame.next_suspect(), lambda version: 0.1 if version in survivors else None)


def test_a_cell_is_tried_again_after_exactly_most_strays_strays(known, blame):
    (dossier,) = known.dossiers
    open_after = []
    for _ in range(MOST_STRAYS + 1):
        blame.suspect(dossier, "gone", "head")
        try_again(blame, "head")
        open_after.append(not dossier.closed)
    assert open_after == [True] * MOST_STRAYS + [False]
    assert (dossier.error, dossier.error_side) == ("now and then: gone", None)


@pytest.mark.parametrize(("survivors", "side"), [(("base",), "head"), ((), None)])
def test_a_side_is_to_blame_if_it_alone_fails_again(known, blame, survivors, side):
    (dossier,) = known.dossiers
    blame.suspect(dossier, "gone", "head")
    try_again(blame, *survivors)
    assert (dossier.error, dossier.error_side) == ("gone", side)


def test_a_hang_is_not_waited_for_again(known, blame):
    (dossier,) = known.dossiers
    tried = []
    blame.suspect(dossier, "hangs", "head", hangs=True)
    blame.confirm(blame.next_suspect(), lambda version: tried.append(version) or 0.1)
    assert (tried, dossier.error_side) == (["base"], "head")


def waits(known, blame, seconds):
    """The cell was taken for hung on head after 10 s, while a pair of base took so many seconds; None if it failed."""
    (dossier,) = known.dossiers
    blame.lost([dossier], "hangs", "head", hangs=True, waited=10.0)
    blame.confirm(blame.next_suspect(), seconds.get)
    return dossier


def test_head_hangs_if_it_does_so_again_and_base_is_done_in_the_time_that_head_got_first(known, blame):
    dossier = waits(known, blame, {"base": 9.9})
    assert (dossier.error, dossier.error_side) == ("hangs", "head")


@pytest.mark.parametrize("seconds", [{"base": 10.1}, {}])
def test_a_cell_that_takes_as_long_on_base_is_the_fault_of_neither_side(known, blame, seconds):
    dossier = waits(known, blame, seconds)
    assert (dossier.error_side, dossier.closed) == (None, True)
    assert known.hung == 1


def test_a_cell_that_needs_more_time_than_it_got_is_postponed(known, blame):
    dossier = waits(known, blame, {"head": 10.1})
    assert (dossier.error, dossier.closed, dossier.postponed, dossier.spent) == (None, False, 10.0, 10.0)
    assert dossier.strays == []


def test_a_single_stall_is_a_failure_that_did_not_come_again(known, blame):
    dossier = waits(known, blame, {"head": 0.1})
    assert (dossier.closed, dossier.waits, dossier.strays) == (False, False, ["head: hangs"])


def test_head_is_not_to_blame_for_what_base_has_done_before(known, blame):
    known.dossiers[0].strays.append("base: hangs")
    assert waits(known, blame, {"base": 0.1}).error_side is None


def test_a_cell_that_hangs_is_tried_again_when_the_others_are_done_or_time_is_scarce(tmp_path):
    cells = tuple(CellEvidence(name, name, {}, "time", "seconds") for name in ("a.time_a", "b.time_b"))
    found = Found(cells, {}, (), (), [], on_accelerator=False)
    known = Known(found, GateSettings(seed=1), Journal(tmp_path / "journal"), None)
    blame = Blame(known)
    hung, other = known.dossiers
    blame.lost([hung], "hangs", "head", hangs=True, waited=10.0)
    assert blame.next_suspect(left=31.0) is None
    blame.suspect(other, "raises", "head")
    assert blame.next_suspect(left=31.0).dossier is other
    other.closed = False
    assert blame.next_suspect(left=29.0).dossier is hung
    blame.lost([hung], "hangs", "head", hangs=True, waited=10.0)
    hung.error = None
    blame.lost([hung], "hangs", "head", hangs=True, waited=10.0)
    other.closed = True
    assert blame.next_suspect(left=31.0).dossier is hung


def test_a_control_that_fails_is_the_error_of_neither_side(known, blame):
    blame.suspect(known.controls[0], "gone", "head")
    assert (known.controls[0].error, known.controls[0].error_side) == ("gone", None)
    assert not blame.has_suspects


def test_a_worker_is_lost_over_the_first_cell_that_is_not_finished(known, blame):
    dossier, control = known.dossiers[0], known.controls[0]
    blame.lost([dossier, control], "killed", "head")
    assert (dossier.error, control.error) == ("killed", None)
    assert not blame.next_suspect().hangs


def test_the_gate_gives_up_after_more_than_most_faults_in_a_row(blame):
    for _ in range(MOST_FAULTS):
        blame.fault("dead")
    blame.no_fault()
    for _ in range(MOST_FAULTS):
        blame.fault("dead")
    with pytest.raises(BenchCoreError, match="workers cannot be started on head: dead"):
        blame.fault("dead", "head")


FAILED = CellFailed("head", "a.time_a", "gone", "call", skipped=False)
SKIPPED = CellFailed("head", "a.time_a", "no device", "setup", skipped=True)


@pytest.mark.parametrize(
    ("answer", "skips", "survives"),
    [
        *((answer, False, False) for answer in (Lost(None, "x", False), WorkerBroken("head", "x"))),
        *((answer, False, False) for answer in (WorkerRefused("head", "x"), FAILED)),
        *((answer, False, True) for answer in (Alive(), SKIPPED, CellLeft("base", "a.time_a"))),
        *((answer, True, False) for answer in (FAILED, SKIPPED)),
    ],
)
def test_a_pair_survives_unless_something_fails_in_it(answer, skips, survives):
    assert survived([Alive(), answer], skips=skips) is survives


# Two reports of a cell.


PAIR = PairTask(5, 1, "head", {"base": "base", "head": "head"}, (), timeout=60.0)
SETTLED = Settled(SamplingPlan(8, 1, (Sampling(1, warm=False),) * 2), {"check": "int"})


def settled(known, blame, base, head):
    settle(known.dossiers[0], {"base": base, "head": head}, PAIR, 3, 0.5, known, blame)


def read(role, value, settled=SETTLED, nothing=False):
    return CellRead(role, "a.time_a", settled, value, nothing)


def test_a_value_on_both_sides_is_an_effect_in_the_journal(known, blame):
    known.dossiers[0].cell = CellEvidence("a.time_a", "a.time_a", {}, "track", "unit")
    settled(known, blame, read("base", 2.0), read("head", 3.0))
    (found,) = known.dossiers[0].effects
    assert (found.base, found.head, found.pair, found.parent, found.forked_first) == (2.0, 3.0, 5, 3, "head")
    assert known.main.journal.path.read_text().count("\n") == 1


@pytest.mark.parametrize("base", [CellLeft("base", "a.time_a"), read("base", 1.0)])
def test_a_failure_on_one_side_is_a_suspect(known, blame, base):
    settled(known, blame, base, FAILED)
    found = blame.next_suspect()
    assert (found.cause, found.side, found.skips) == ("call: gone", "head", False)


def test_a_cell_that_skips_itself_on_both_sides_is_left_out(known, blame):
    settled(known, blame, SKIPPED, SKIPPED)
    assert known.main.skipped == {"a.time_a": "no device"}
    assert (known.main.cells, blame.has_suspects) == ((), False)


def timed(role, seconds, settled=SETTLED):
    return CellTimed(role, "a.time_a", settled, Log(1, [seconds] * 8, [0, 1] * 4, [1.0], [1.0]))


def test_samples_of_both_sides_are_an_effect_and_its_plan_time_and_judgement_are_kept(known, blame):
    (dossier,) = known.dossiers
    settled(known, blame, timed("base", 1.0), timed("head", 2.0))
    settled(known, blame, timed("base", 1.0, None), timed("head", 2.0, None))
    assert [(found.base, found.head) for found in dossier.effects] == [(1.0, 2.0)] * 2
    assert (dossier.plan, dossier.spent) == (SETTLED.plan, 1.0)
    assert dossier.judgement.ratio.middle == pytest.approx(2)


def spoiled(role):
    report = timed(role, 1.0)
    return replace(report, log=replace(report.log, spoiled=["the machine was suspended for 3 s"]))


@pytest.mark.parametrize("side", SIDES)
def test_a_pair_with_spoiled_samples_does_not_count_and_the_cell_stays_open(known, blame, side):
    (dossier,) = known.dossiers
    reports = {role: timed(role, 1.0) for role in SIDES} | {side: spoiled(side)}
    settled(known, blame, reports["base"], reports["head"])
    assert (dossier.effects, dossier.error, dossier.closed, dossier.spent) == ([], None, False, 0.5)
    assert known.faults == ["the machine was suspended for 3 s, so a pair of a.time_a does not count"]
    settled(known, blame, timed("base", 1.0), timed("head", 2.0))
    assert len(dossier.effects) == 1


def test_a_cell_that_spoils_its_pairs_again_and_again_is_given_up(known, blame):
    (dossier,) = known.dossiers
    for _ in range(MOST_SPOILED + 1):
        assert dossier.error is None
        settled(known, blame, spoiled("base"), timed("head", 1.0))
    assert (dossier.error, dossier.error_side) == ("the machine was suspended for 3 s", None)


def test_the_plan_of_a_cell_stays_when_another_pair_finds_one_out_too(known, blame):
    settled(known, blame, timed("base", 1.0), timed("head", 2.0))
    other = Settled(SamplingPlan(8, 1, (Sampling(2, warm=True),) * 2), SETTLED.seen)
    settled(known, blame, timed("base", 1.0, other), timed("head", 2.0, other))
    assert known.dossiers[0].plan == SETTLED.plan


def test_a_control_is_not_judged_before_the_end(known, blame):
    settle(known.controls[0], {"base": timed("base", 1.0), "head": timed("head", 2.0)}, PAIR, 3, 0.5, known, blame)
    assert len(known.controls[0].effects) == 1
    assert known.controls[0].judgement is None


def test_what_another_lane_has_found_to_fail_gets_no_more_effects(known, blame):
    known.dossiers[0].fail("gone", "head")
    settled(known, blame, timed("base", 1.0), timed("head", 2.0))
    assert (known.dossiers[0].effects, known.dossiers[0].spent, known.dossiers[0].error) == ([], 0.0, "gone")


def test_a_measured_cell_shows_that_processes_start(known, blame):
    for _ in range(MOST_FAULTS):
        blame.fault("dead")
    settled(known, blame, timed("base", 1.0), timed("head", 2.0))
    blame.fault("dead")


@pytest.mark.parametrize(
    ("base", "head", "error", "side"),
    [
        (timed("base", 1.0), read("head", 1.0), "the sides do not do the same", None),
        (timed("base", 1.0), timed("head", 1.0, Settled(SETTLED.plan, {"check": "str"})), "check: int on base", None),
        (read("base", 1.0), read("head", 1.0, nothing=True), "tracks nothing", "head"),
        (replace(FAILED, role="base", cause="first"), FAILED, "call: first", None),
    ],
)
def test_what_cannot_be_compared_is_an_error_at_once(known, blame, base, head, error, side):
    settled(known, blame, base, head)
    assert error in known.dossiers[0].error
    assert known.dossiers[0].error_side == side
    assert known.dossiers[0].closed
    assert not blame.has_suspects


@pytest.mark.parametrize(("failed", "side"), [("base", "base"), ("head", "head")])
def test_where_one_side_skips_itself_and_the_other_fails_the_failure_is_the_suspect(known, blame, failed, side):
    reports = {role: replace(FAILED if role == failed else SKIPPED, role=role) for role in SIDES}
    settled(known, blame, reports["base"], reports["head"])
    found = blame.next_suspect()
    assert (found.cause, found.side, found.skips) == ("call: gone", side, False)


def test_a_cell_that_skips_itself_on_one_side_is_a_suspect_for_that(known, blame):
    settled(known, blame, timed("base", 1.0), SKIPPED)
    found = blame.next_suspect()
    assert (found.cause, found.side, found.skips) == ("skips itself: no device", "head", True)


def test_a_cell_that_is_left_out_is_measured_no_further(known, blame):
    settled(known, blame, SKIPPED, SKIPPED)
    assert known.dossiers[0].closed
    assert known.dossiers[0].error is None


def test_a_suspect_has_failed_on_neither_side_until_it_is_confirmed(known, blame):
    blame.suspect(known.dossiers[0], "gone", "head")
    assert (known.dossiers[0].error, known.dossiers[0].error_side, known.dossiers[0].closed) == ("gone", None, True)


def test_without_a_side_there_is_nobody_to_suspect(known, blame):
    blame.suspect(known.dossiers[0], "gone", None)
    assert not blame.has_suspects
    assert blame.next_suspect() is None


def test_a_cell_that_another_lane_lost_a_worker_over_is_suspected_once(known, blame):
    (dossier,) = known.dossiers
    blame.lost([dossier], "killed", "head", hangs=True)
    blame.lost([dossier], "killed again", "base")
    assert blame.next_suspect().hangs
    assert (blame.has_suspects, dossier.error) == (False, "killed")


def test_a_worker_that_is_lost_before_any_cell_is_a_fault(known, blame):
    for _ in range(MOST_FAULTS):
        blame.lost([], "killed", "head")
    with pytest.raises(BenchCoreError, match="on head: killed"):
        blame.lost([], "killed", "head")
