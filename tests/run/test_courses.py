"""What the next round visits, without a process or a clock."""

import math
import random

import pytest

from bench_core.analysis.rounds import LOST
from bench_core.run.jobs import Job
from bench_core.run.schedule import FEW, Course, chosen, chunks, doubts
from bench_core.workers.messages import Sampling, SamplingPlan

PLAN = SamplingPlan(8, 2, (Sampling(1, True), Sampling(1, True)))


def course(name, *values, ways=("a", "b"), lost=0.0, cost=1.0, **options):
    """A job that was visited once for each value: the time of its first cell; the others take twice as long."""
    cells = tuple(f"{name}({way})" for way in ways)
    found = Course(Job(name, cells, **options), cells, cost=cost if values else 0.0)
    for number, value in enumerate(values):
        found.enter(number, {cell: value * (1 + (at > 0)) for at, cell in enumerate(cells)}, lost)
    return found


def precise(name, **options):
    return course(name, *(1e-6,) * FEW, **options)


def noisy(name, **options):
    return course(name, *(1e-6 * 2 ** (n % 2) for n in range(FEW)), **options)


def names(courses):
    return sorted(one.job.name for one in courses)


def pick(courses, left=100.0, seed=1):
    return chosen(courses, doubts(courses), left, random.Random(seed))


def test_passes_of_one_round_are_averaged_with_the_time_that_others_took():
    found = Course(Job("j", ("a",)), ("a",))
    found.enter(3, {"a": 1e-6}, 0.0)
    found.enter(3, {"a": 4e-6}, 0.2)
    (visit,) = found.group.visits
    assert (visit.round, visit.seconds["a"], visit.lost) == (3, pytest.approx(2e-6), pytest.approx(0.1))


def test_cells_that_are_visited_by_processes_of_their_own_share_a_visit():
    found = Course(Job("j", ("a", "b")), ("a", "b"))
    found.enter(0, {"a": 1e-6}, 0.0)
    found.enter(0, {"b": 2e-6}, 0.0)
    (visit,) = found.group.visits
    assert visit.seconds == pytest.approx({"a": 1e-6, "b": 2e-6})


def test_a_cell_that_is_left_out_makes_a_new_plan_and_brings_the_others_together_again():
    found = precise("j")
    found.plan, found.apart = PLAN, ("j(b)", "killed")
    assert found.alone
    found.leave_out("j(b)")
    assert (found.cells, found.plan, found.alone, found.closed) == (("j(a)",), None, False, False)
    found.leave_out("j(a)")
    assert found.closed


def test_a_job_that_needs_processes_of_its_own_stays_alone():
    found = precise("j", alone=True)
    found.leave_out("j(b)")
    assert found.alone


def test_doubt_is_the_widest_interval_and_infinite_without_a_time():
    found = doubts([precise("precise"), noisy("noisy"), course("new"), course("once", 1e-6)])
    assert found["precise"] < 1 < found["noisy"]
    assert found["new"] == math.inf
    gone = precise("gone")
    gone.cells = ()
    assert "gone" not in doubts([gone])


def test_everything_is_visited_first():
    assert names(pick([course("a"), course("b")], left=0.0)) == ["a", "b"]


def test_what_is_precise_is_visited_no_more():
    assert names(pick([precise("precise"), noisy("noisy"), course("young", 1e-6)])) == ["noisy", "young"]


def test_disturbed_visits_do_not_count():
    assert names(pick([precise("calm"), precise("disturbed", lost=2 * LOST), precise("more")])) == ["disturbed"]


def test_if_there_is_too_little_time_few_visits_come_first_and_then_doubt():
    courses = [noisy("noisy", cost=1.0), course("young", 1e-6, cost=1.0), noisy("wild", cost=1.0)]
    courses[2].enter(FEW, {"wild(a)": 9e-6, "wild(b)": 1e-6}, 0.0)
    assert names(pick(courses, left=1.5)) == ["young"]
    assert names(pick(courses, left=2.5)) == ["wild", "young"]
    assert pick(courses, left=0.5) == []


def test_a_job_that_takes_too_long_leaves_its_time_to_others():
    assert names(pick([course("long", 1e-6, cost=9.0), course("short", 1e-6, cost=1.0)], left=2.0)) == ["short"]


def test_the_order_is_drawn_from_the_seed():
    courses = [course(str(n)) for n in range(9)]
    orders = {tuple(one.job.name for one in pick(courses, seed=seed)) for seed in range(5)}
    assert len(orders) == 5
    assert [one.job.name for one in pick(courses, seed=1)] == [one.job.name for one in pick(courses, seed=1)]


def test_a_worker_visits_jobs_for_some_seconds():
    found = chunks([course(str(n), 1e-6, cost=0.8) for n in range(5)], longest=2.0)
    assert [len(chunk) for chunk in found] == [2, 2, 1]


def test_jobs_that_need_a_worker_of_their_own_get_one_and_keep_their_place():
    apart = course("apart", 1e-6, cost=0.1)
    apart.apart = ("apart(a)", "killed")
    jobs = [course("a", 1e-6, cost=0.1), apart, course("b", 1e-6, cost=0.1), course("free", free=True), course("c")]
    assert [names(chunk) for chunk in chunks(jobs)] == [["a"], ["apart"], ["b"], ["free"], ["c"]]


def test_a_job_that_is_suspected_is_visited_by_itself_until_it_was_visited():
    jobs = [course("a"), course("b"), course("c")]
    jobs[1].suspected = True
    assert len(chunks(jobs)) == 3
    jobs[1].enter(0, {"b(a)": 1e-6}, 0.0)
    assert len(chunks(jobs)) == 1
