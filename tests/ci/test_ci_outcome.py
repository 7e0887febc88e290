"""The file that goes from the job that measures to what comments. Its writer may be hostile."""

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hub import BROKEN, GREEN, PASSED, RED, SLOWER, UNKNOWN, of, row
from hypothesis import given
from hypothesis import strategies as st

from bench_core.ci.acceptance import Acceptance
from bench_core.ci.outcome import LARGEST, from_bytes, not_run, outcome, to_bytes
from bench_core.ci.status import status
from bench_core.errors import BenchCoreError
from bench_core.gate.judge.gate import judge
from bench_core.records.gate import CellEvidence, Effect, GateRecord, GateSettings
from bench_core.records.version import Commit

SAME = Commit("main", "0" * 40, "", "")
ACCEPTED = Acceptance("maintainer", "2026-01-02T03:04:05Z", "benchmark-ok", "a" * 40)


def test_it_is_read_back_as_it_was_written():
    assert from_bytes(to_bytes(RED)) == RED


def test_the_least_important_cells_are_left_out_of_a_file_that_is_too_large():
    many = of(SLOWER, *(row("passed", "x" * 1000, why="y" * 1000) for _ in range(999)), verdict="regression")
    found = from_bytes(to_bytes(many))
    assert len(to_bytes(many)) <= LARGEST
    assert found.rows[0] == SLOWER
    assert len(found.rows) < 1000
    assert found.counts == many.counts


def test_names_units_and_errors_of_a_megabyte_make_a_small_file():
    long = "<\u202e" * 500_000
    effects = tuple(Effect(pair, pair, 0.1, 1.0, 1.1, 9) for pair in range(5))
    cells = (
        CellEvidence(f"a.{long}", "a", {"x": long}, "track", long, effects=effects),
        CellEvidence(f"b.{long}", "b", {"x": long}, "time", "seconds", error=long, error_side="head"),
    )
    record = GateRecord(SAME, SAME, GateSettings(), {}, "", 1.0, cells, notes=(long,))
    found = outcome(long, "b" * 40, "a" * 40, 1, record, judge(record))
    assert found.rows[0].name != found.rows[1].name
    for one in (found, not_run(long, "b" * 40, "a" * 40, 70, long)):
        assert len(to_bytes(one)) < 100_000
        assert from_bytes(to_bytes(one)) == one


def changed(**fields):
    return json.dumps({**json.loads(to_bytes(RED)), **fields}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"1" * 5000,
        b" " * (LARGEST + 1),
        changed(schema="bench-core/ci/2"),
        changed(verdict="green"),
        changed(exit_code=True),
        changed(exit_code=10**30),
        changed(head="main"),
        changed(base="../" * 13 + "x"),
        changed(reason="x" * 1001),
        changed(rows=[{}]),
        changed(rows=json.loads(to_bytes(RED))["rows"] * 400),
        changed(counts=[1]),
        changed(counts=[-1, 0, 0, 0, 0, 0]),
        changed(unaffected=10**40),
        changed(seconds="inf"),
        changed(seconds=None),
        changed(notes=["x"] * 51),
        changed(suite=None),
        changed(job=1),
        changed(job="x" * 1001),
    ],
)
def test_what_is_no_outcome_is_refused_in_one_short_line(content):
    with pytest.raises(BenchCoreError, match="is not one of bench-core") as caught:
        from_bytes(content)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(lambda one: json.dumps(one).encode())
)
def test_nothing_but_an_outcome_is_read(content):
    with pytest.raises(BenchCoreError):
        from_bytes(content)


KEYS = sorted(json.loads(to_bytes(RED)))


@given(st.sampled_from(KEYS), st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()))
def test_a_field_with_another_value_is_read_or_refused(key, value):
    with suppress(BenchCoreError):
        from_bytes(json.dumps({**json.loads(to_bytes(RED)), key: value}).encode())


LARGER = replace(row("slower", "a.track_reads"), is_timed=False)
SMALLER = replace(row("faster", "a.track_writes"), is_timed=False)
NO_CELL = "a regression, although no single cell is slower than base"


@pytest.mark.parametrize(
    ("found", "is_green", "title"),
    [
        (GREEN, True, "no cell slower"),
        (of(verdict="pass", unaffected=9), True, "the change can reach no cell"),
        (of(verdict="pass", unaffected=0), True, "nothing to compare"),
        (of(row("faster", "a"), verdict="improvement"), True, "no cell slower, 1 faster"),
        (of(LARGER, verdict="regression", exit_code=1), False, "1 cell larger"),
        (of(SLOWER, LARGER, verdict="regression", exit_code=1), False, "2 cells slower or larger"),
        (of(SMALLER, verdict="improvement"), True, "no cell larger, 1 smaller"),
        (of(PASSED, SMALLER, verdict="improvement"), True, "no cell slower or larger, 1 smaller"),
        (of(UNKNOWN, PASSED, verdict="inconclusive"), True, "no regression found, 1 cell undecided"),
        (of(UNKNOWN, verdict="inconclusive", exit_code=3), False, "inconclusive, and the gate is strict"),
        (RED, False, "1 cell slower"),
        (of(PASSED, verdict="regression", exit_code=1), False, NO_CELL),
        (of(BROKEN, verdict="error", exit_code=1), False, "1 cell failing with head only"),
        (of(SLOWER, BROKEN, verdict="regression", exit_code=1), False, "1 cell slower, 1 cell failing with head only"),
        (of(BROKEN, verdict="regression", exit_code=1), False, f"{NO_CELL}, 1 cell failing with head only"),
        (of(verdict="error", exit_code=2), False, "the gate could not run, or measured nothing"),
        (of(verdict="error", exit_code=70), False, "a bug in bench-core"),
        (of(verdict="error", exit_code=130), False, "the gate was interrupted"),
        (of(verdict="error", exit_code=-9), False, "the gate ended with exit code -9"),
        (of(verdict="error", exit_code=137), False, "the gate ended with exit code 137"),
        (replace(RED, exit_code=0), False, "its figures disagree"),
        (replace(RED, exit_code=0, verdict="pass"), False, "its figures disagree"),
        (of(verdict="error", exit_code=0), False, "its figures disagree"),
    ],
)
def test_each_exit_code_has_a_status(found, is_green, title):
    assert (status(found).is_green, status(found).title) == (is_green, title)


@pytest.mark.parametrize(
    ("found", "is_green"),
    [
        (RED, True),
        (of(PASSED, verdict="regression", exit_code=1), True),
        (of(SLOWER, BROKEN, verdict="regression", exit_code=1), False),
        (of(BROKEN, verdict="error", exit_code=1), False),
        (of(verdict="error", exit_code=2), False),
        (of(UNKNOWN, verdict="inconclusive", exit_code=3), False),
    ],
)
def test_only_a_regression_can_be_accepted(found, is_green):
    assert status(found, ACCEPTED).is_green is is_green
