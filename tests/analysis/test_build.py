from dataclasses import replace
from pathlib import Path

import pytest

from bench_core.analysis.build import chosen, report
from bench_core.errors import BenchCoreError
from bench_core.records.commit import LoggedCommit
from bench_core.records.results import Run, Store
from bench_core.records.run import LeftOut

LEFT_OUT = LeftOut("box/broken.json", "not JSON")


def run(make_along, machine="box", torch="2.13.0", commit="c"):
    cells = [
        each
        for dtype in ("float32", "bfloat16")
        for way in ("data", "detach")
        for each in make_along(
            "edits.Edit.time_add",
            "size",
            {"8x4": 1e-6, "64x64": 2e-6, "256x256": 3e-6},
            {"dtype": dtype, "way": way},
            rivals="way",
        )
    ]
    return Run(
        path=Path("x.json"),
        machine=machine,
        commit=commit * 40,
        committed="2026-01-02T00:00:00+00:00",
        measured="2026-01-02T01:00:00+00:00",
        environment="env",
        description={"machine": machine, "torch": torch},
        cells=tuple(cells),
        failed=(),
    )


@pytest.fixture
def build(make_along):
    store = Store(
        (run(make_along), run(make_along, torch="2.9.0+cpu", commit="b"), run(make_along, machine="other")),
        left_out=(LEFT_OUT,),
    )
    commits = {"c" * 40: LoggedCommit("c" * 40, "A change", "A", "2026-01-02T00:00:00+00:00")}

    def of(*machines, **changes):
        return report(
            replace(store, **changes),
            date="2026-01-03T00:00:00+00:00",
            version="1.0",
            git=commits,
            link="https://example.org/",
            published="html/index.html",
            machines=machines,
        )

    return of


def test_a_report_answers_every_question(build):
    found = build()
    parts = ("subjects", "series", "growths", "jobs", "crossings", "histories", "trust")
    assert {part for part in parts if not getattr(found, part)} == set()
    assert (found.date, found.version, found.published) == ("2026-01-03T00:00:00+00:00", "1.0", "html/index.html")


def test_each_subject_has_its_own_answers(build):
    found = build()
    names = [subject.name for subject in found.subjects]
    assert len(names) == 3
    for part in (found.series, found.jobs, found.crossings, found.trust):
        assert list(dict.fromkeys(each.subject for each in part)) == names


def test_what_was_left_out_is_said(build):
    assert build().left_out == (LEFT_OUT,)


def test_commits_have_their_names_and_links(build):
    moment = build("other").histories[0].moments[0]
    assert (moment.commit.subject, moment.link) == ("A change", f"https://example.org/{'c' * 40}")


def test_a_chosen_machine_stands_alone(build):
    found = build("other")
    assert [subject.machine for subject in found.subjects] == ["other"]
    assert [history.machine for history in found.histories] == ["other"]


@pytest.mark.parametrize("name", ["2.9.0", "2.9.0+cpu", "torch==2.9.0"])
def test_a_version_of_torch_is_chosen_by_its_number(build, name):
    assert [subject.description["torch"] for subject in build(name).subjects] == ["2.9.0+cpu"]


def test_another_build_of_a_version_is_not_chosen(build):
    with pytest.raises(BenchCoreError):
        build("2.9.0+cu128")


def test_the_chosen_stand_in_the_order_in_which_they_are_named(build):
    assert [subject.name for subject in build("other", "2.9.0").subjects] == [
        "other, torch 2.13.0",
        "box, torch 2.9.0+cpu",
    ]


def test_an_unknown_name_lists_what_there_is(build):
    with pytest.raises(BenchCoreError, match=r"(?s)'otter'.*Did you mean 'other'.*2\.13\.0"):
        build("otter")


def test_nothing_chosen_is_everything(make_subject):
    every = (make_subject([]), make_subject([], name="second"))
    assert chosen(every, ()) == every
