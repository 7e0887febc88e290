"""From the store to the columns of the report."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from bench_core.analysis.ratios import within_run
from bench_core.analysis.subjects import PAUSE, reproduce, subjects, version_key
from bench_core.records.results import Circumstances, Run, Store


@pytest.fixture
def run_of(make_cell):
    def make(
        seconds,
        *,
        machine="box",
        torch="2.13.0",
        commit="a",
        committed="2026-01-01",
        failed=(),
        cells=None,
        begun=0,
        **described,
    ):
        cell = make_cell("fills.Fill.time_fill", {"size": "8x4"}, seconds, begun=begun)
        return Run(
            path=Path(f"{commit}.json"),
            machine=machine,
            commit=commit and commit * 40,
            committed=committed,
            measured="2026-02-01T00:00:00+00:00",
            environment="env",
            description={"machine": machine, "torch": torch, **described},
            cells=(cell,) if cells is None else tuple(cells),
            failed=tuple(failed),
        )

    return make


def only(store):
    (subject,) = subjects(store)
    return subject


CELL = "fills.Fill.time_fill(8x4)"


def test_each_machine_with_each_torch_is_a_subject_and_the_newest_torch_is_the_last(run_of):
    runs = [run_of(1, machine=m, torch=t) for m in ("one", "two") for t in ("2.13.0", "2.9.1")]
    assert [subject.name for subject in subjects(Store(tuple(runs)))] == [
        "one, torch 2.9.1",
        "one, torch 2.13.0",
        "two, torch 2.9.1",
        "two, torch 2.13.0",
    ]


def test_a_suite_without_torch_is_named_by_its_machine(run_of):
    run = replace(run_of(1), description={"machine": "box"})
    assert only(Store((run,))).name == "box"


def test_the_newest_value_is_that_of_the_newest_commit_although_an_older_one_was_measured_later(run_of):
    newer = run_of(2e-6, commit="b", committed="2026-01-02")
    older = replace(run_of(1e-6), measured="2026-03-01")
    for runs in ((older, newer), (newer, older)):
        measured = only(Store(runs)).cells[CELL]
        assert (measured.cell.value.middle, measured.commit) == (2e-6, "b" * 40)


def test_of_one_commit_what_was_measured_last_counts(run_of):
    again = replace(run_of(3e-6), measured="2026-03-01")
    assert only(Store((again, run_of(1e-6)))).cells[CELL].cell.value.middle == 3e-6


def test_a_cell_that_the_newest_run_did_not_time_keeps_its_older_value(run_of):
    newer = run_of(1, commit="b", committed="2026-01-02", cells=())
    measured = only(Store((run_of(1e-6), newer))).cells[CELL]
    assert measured.commit == "a" * 40


@pytest.mark.parametrize("name", [CELL, "fills.Fill.time_fill"], ids=["cell", "benchmark"])
def test_a_cell_that_failed_in_the_newest_run_has_no_value_and_is_named(run_of, name):
    newer = run_of(1, commit="b", committed="2026-01-02", cells=(), failed=[name])
    subject = only(Store((run_of(1e-6), newer)))
    assert (subject.cells, subject.failed) == ({}, (name,))


@pytest.mark.parametrize("name", [CELL, "fills.Fill.time_fill"], ids=["cell", "benchmark"])
def test_a_cell_that_has_been_fixed_is_no_failure(run_of, name):
    newer = run_of(1e-6, commit="b", committed="2026-01-02")
    subject = only(Store((run_of(1, cells=(), failed=[name]), newer)))
    assert (set(subject.cells), subject.failed) == ({CELL}, ())


def test_the_date_of_a_value_is_when_its_benchmark_was_begun(run_of):
    known = only(Store((run_of(1e-6, begun=1_767_355_200_000),))).cells[CELL]
    assert known.date == "2026-01-02T12:00:00+00:00"
    assert only(Store((run_of(1e-6),))).cells[CELL].date == "2026-02-01T00:00:00+00:00"


def test_the_description_is_that_of_the_newest_run(run_of):
    newer = run_of(1, commit="b", committed="2026-01-02", os="Linux 7")
    assert only(Store((newer, run_of(1, os="Linux 6")))).description["os"] == "Linux 7"


def test_environments_with_the_same_torch_are_separate_subjects_named_by_their_differences(run_of):
    runs = (
        run_of(1, python="3.12", numpy="2.4"),
        run_of(2, python="3.9", numpy="2.4", commit="b"),
        run_of(3, python="3.12", numpy="2.4", **{"env-THREADS": "2"}),
        run_of(4, python="3.12", numpy="2.4", torch="2.9.0"),
    )
    found = {subject.name: subject.cells[CELL].cell.value.middle for subject in subjects(Store(runs))}
    assert found == {
        "box, torch 2.9.0": 4,
        "box, torch 2.13.0, env-THREADS 2, python 3.12": 3,
        "box, torch 2.13.0, no env-THREADS, python 3.9": 2,
        "box, torch 2.13.0, no env-THREADS, python 3.12": 1,
    }


def test_what_is_of_no_commit_is_a_subject_of_its_own_and_says_so(run_of):
    runs = (run_of(1), run_of(2, commit=None, committed=""))
    assert [(subject.name, subject.cells[CELL].cell.value.middle) for subject in subjects(Store(runs))] == [
        ("box, torch 2.13.0", 1),
        ("box, torch 2.13.0, not of a commit", 2),
    ]


NOON = 1_767_355_200_000  # 2026-01-02T12:00:00 UTC in asv's milliseconds
MINUTE = 60_000


def begun_at(run_of, make_cell, *times):
    """One result file with a cell for each time."""
    return run_of(1, cells=[make_cell(f"f.C.time_{number}", {}, 1, begun=begun) for number, begun in enumerate(times)])


def keys_of(run, *lines):
    known = tuple(Circumstances(date, "a" * 40, {}, ()) for date in lines)
    return [measured.run for measured in only(Store((run,), circumstances={"box": known})).cells.values()]


def test_runs_that_asv_has_merged_into_one_file_are_separated_by_the_pause_between_them(run_of, make_cell):
    run = begun_at(run_of, make_cell, NOON, NOON + PAUSE, NOON + 2 * PAUSE + 1)
    first, second, later = keys_of(run)
    assert first == second
    assert (first.began, later.began) == ("2026-01-02T12:00:00+00:00", "2026-01-02T14:00:00+00:00")
    cells = list(only(Store((run,))).cells.values())
    assert within_run(cells[0], cells[1]).known
    assert not within_run(cells[0], cells[2]).known


def test_a_run_begins_where_it_left_a_line_however_short_the_pause(run_of, make_cell):
    run = begun_at(run_of, make_cell, NOON + 2 * MINUTE, NOON + 8 * MINUTE, NOON + 12 * MINUTE, NOON + 13 * MINUTE)
    lines = ("2026-01-02T12:00:00+00:00", "2026-01-02T12:10:30+00:00")
    assert [key.began for key in keys_of(run, *lines)] == [lines[0], lines[0], lines[1], lines[1]]


def test_a_line_that_is_older_than_a_pause_is_not_of_the_run(run_of, make_cell):
    run = begun_at(run_of, make_cell, NOON + 2 * PAUSE)
    assert [key.began for key in keys_of(run, "2026-01-02T12:00:00+00:00")] == ["2026-01-02T14:00:00+00:00"]


def test_two_files_are_two_runs_even_without_commits_and_times(run_of, make_cell):
    one = begun_at(run_of, make_cell, 0)
    other = replace(run_of(1, cells=[make_cell("f.C.time_other", {}, 1)]), path=Path("other.json"))
    (subject,) = subjects(Store(tuple(replace(run, commit=None) for run in (one, other))))
    first, second = subject.cells.values()
    assert not within_run(first, second).known


def test_caches_are_those_that_were_stored_last_for_the_machine_smallest_first(run_of):
    lines = [{"L1d": 1}, {"L2": 200, "L1d": 100}, {}]
    known = tuple(Circumstances("", "", caches, ()) for caches in lines)
    store = Store((run_of(1), run_of(1, machine="other")), circumstances={"box": known})
    here, other = subjects(store)
    assert list(here.caches.items()) == [("L1d", 100), ("L2", 200)]
    assert other.caches == {}


@pytest.mark.parametrize("value", ["8x4", "'int16'", "a b", "$HOME", "[1, 2]", "x.y*"])
def test_the_command_reproduces_that_cell_and_no_other(make_cell, value):
    cell = make_cell("fills.Fill.time_fill", {"device": "cpu", "size": value}, 1e-6)
    program, command, pattern = shlex.split(reproduce(cell))
    assert (program, command) == ("bench-core", "run")
    assert re.search(pattern, cell.name)
    assert not re.search(pattern, f"x{cell.name}")
    assert not re.search(pattern, cell.name.replace(".", "x", 1))


def test_a_command_is_no_harder_to_read_than_it_must_be(make_cell):
    cell = make_cell("fills.Fill.time_fill", {"device": "cpu", "size": "8x4"}, 1e-6)
    assert reproduce(cell) == r"bench-core run '^fills\.Fill\.time_fill\(cpu, 8x4\)$'"


def test_versions_are_ordered_as_people_do():
    shuffled = ["2.13.1", "2.9.1", "3.0", "2.13.0+cpu", "", "2.13.0"]
    assert sorted(shuffled, key=version_key) == ["", "2.9.1", "2.13.0", "2.13.0+cpu", "2.13.1", "3.0"]
