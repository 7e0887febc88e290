"""Which cells are sampled in turn."""

import dataclasses
from types import SimpleNamespace

import pytest

from bench_core.run.jobs import jobs_of
from bench_core.timing.cells import Cell
from bench_core.workers.messages import CellTask


class Rivals:
    rivals = "way"


def cell(benchmark, params=None, *, owner=None, kind="time"):
    params = params or {}
    name = f"{benchmark}({', '.join(params.values())})" if params else benchmark
    return Cell(name, benchmark, kind, None, params, (), suite=None, source=SimpleNamespace(owner=owner))


def ways(*names, size="8", owner=Rivals, **options):
    return [cell("f.C.time_it", {"way": name, "size": size}, owner=owner, **options) for name in names]


def test_the_ways_to_do_one_job_are_one_job():
    found = jobs_of([*ways("a", "b"), *ways("a", "b", size="64"), cell("f.time_other")])
    assert [(job.name, len(job.cells)) for job in found] == [
        ("f.C.time_it(8)", 2),
        ("f.C.time_it(64)", 2),
        ("f.time_other", 1),
    ]


@pytest.mark.parametrize("kind", ["memory", "peakmemory", "track"])
def test_what_is_no_time_is_read_cell_by_cell(kind):
    found = jobs_of(ways("a", "b", kind=kind))
    assert [(job.name, job.timed, job.alone) for job in found] == [
        (name, False, kind == "peakmemory") for name in ("f.C.time_it(a, 8)", "f.C.time_it(b, 8)")
    ]


def test_a_time_by_a_process_of_its_own_has_rivals_too():
    (job,) = jobs_of(ways("a", "b", kind="timeraw"))
    assert (len(job.cells), job.timed) == (2, True)


def test_rivals_that_the_cell_does_not_have_as_a_parameter_make_no_job():
    found = jobs_of([cell("f.C.time_it", {"size": size}, owner=Rivals) for size in "12"])
    assert [job.cells for job in found] == [("f.C.time_it(1)",), ("f.C.time_it(2)",)]


@pytest.mark.parametrize("named", [["way"], {"way": 1}, ("way",), 3, None])
def test_rivals_that_are_no_name_make_no_job(named):
    found = jobs_of(ways("a", "b", owner=SimpleNamespace(rivals=named)))
    assert [len(job.cells) for job in found] == [1, 1]


def test_a_job_whose_only_parameter_is_its_rivals_is_named_after_its_benchmark():
    (job,) = jobs_of([cell("f.C.time_it", {"way": name}, owner=Rivals) for name in "ab"])
    assert job.name == "f.C.time_it"


def test_values_that_are_alike_as_text_do_not_mix_jobs():
    one = cell("f.C.time_it", {"way": "a", "x": "1, 2", "y": "3"}, owner=Rivals)
    other = cell("f.C.time_it", {"way": "b", "x": "1", "y": "2, 3"}, owner=Rivals)
    assert len(jobs_of([one, other])) == 2


@pytest.mark.parametrize(("threads", "free"), [("1", False), ("'1'", False), ("2", True)])
def test_a_job_with_several_threads_may_use_all_cores(threads, free):
    (job,) = jobs_of([cell("f.time_it", {"threads": threads})])
    assert job.free is free


def test_another_tools_samples_are_those_of_the_same_cell_under_another_name():
    (job,) = jobs_of([cell("f.time_it")])
    both = dataclasses.replace(job, cells=("f.time_it", "f.time_it by t"), timer="t")
    assert both.task("f.time_it") == CellTask("f.time_it")
    assert both.task("f.time_it by t") == CellTask("f.time_it", timer="t", label="f.time_it by t")
