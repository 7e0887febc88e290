"""What failures mean, without a process."""

import pytest

from bench_core.errors import BenchCoreError
from bench_core.gate.measure.blame import MOST_FAULTS, MOST_STRAYS, Blame, survived
from bench_core.gate.measure.discover import Found
from bench_core.gate.measure.evidence import Journal, Known
from bench_core.gate.measure.settle import settle
from bench_core.gate.workers.messages import (
    Alive,
    CellFailed,
    CellLeft,
    CellRead,
    Lost,
    PairTask,
    SamplingPlan,
    Settled,
    WorkerBroken,
    WorkerRefused,
)
from bench_core.records.gate import CellEvidence, GateSettings


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
    blame.confirm(blame.next_suspect(), lambda version: version in survivors)


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
    blame.confirm(blame.next_suspect(), lambda version: not tried.append(version))
    assert (tried, dossier.error_side) == (["base"], "head")


def test_a_control_that_fails_is_the_error_of_neither_side(known, blame):
    blame.suspect(known.controls[0], "gone", "head")
    assert (known.controls[0].error, known.controls[0].error_side) == ("gone", None)
    assert not blame.has_suspects


def test_a_worker_is_lost_over_the_first_cell_that_is_not_finished(known, blame):
    dossier, control = known.dossiers[0], known.controls[0]
    blame.lost([dossier, control], "killed", "head")
    assert (dossier.error, control.error) == ("killed", None)


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
SETTLED = Settled(SamplingPlan(1, 8, 1, warm=False), {"check": "int"})


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
