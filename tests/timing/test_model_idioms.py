"""Jobs on a model are sampled in turn, and one that fails costs only itself."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from bench_core.errors import BenchCoreError
from bench_core.records.model import Idiom
from bench_core.suite import access
from bench_core.testing import FakeClock
from bench_core.timing import idioms
from bench_core.timing.idioms import measure_idioms


@dataclass
class Target:
    model: nn.Module = field(default_factory=lambda: nn.Linear(4, 2))
    given: tuple[Any, ...] | None = None

    def ready(self) -> nn.Module:
        return self.model

    def example(self, model: nn.Module) -> tuple[Any, ...] | None:
        assert model is self.model
        return self.given


def right(call):
    call()


def job(prepared, **about):
    @contextmanager
    def prepare(subject):
        yield prepared

    return access.Job("something", tuple(prepared), prepare, **about)


def measured(monkeypatch, known, clock, **kwargs):
    monkeypatch.setattr(access, "JOBS", known)
    return measure_idioms(Target(), timer=clock, clock=clock, **{"budget": 1.0, **kwargs})


def taking(clock, seconds, calls=None, name=""):
    def call():
        clock.advance(seconds)
        if calls is not None:
            calls.append(name)

    return call


def test_the_idioms_of_a_job_are_sampled_in_turn_and_each_time_is_that_of_one_call(monkeypatch):
    clock, calls = FakeClock(), []
    prepared = {name: access.Ready(taking(clock, 0.1, calls, name), right) for name in "ab"}
    found = measured(monkeypatch, {"job": job(prepared, passes=2, notes={"b": "A note."})}, clock)
    assert [(one.job, one.name, one.note) for one in found] == [("job", "a", ""), ("job", "b", "A note.")]
    assert [one.seconds for one in found] == [(pytest.approx(0.1),)] * 2
    assert [one.bytes for one in found] == [2 * 4 * (4 * 2 + 2)] * 2
    checks, numbers, rounds = calls[:2], calls[2:4], "".join(calls[4:])
    assert (checks, numbers) == (["a", "b"], ["a", "b"])
    assert rounds == "abbaabba"  # 1.0 s of samples, the two that found the numbers included, and no round is cut


def test_short_calls_are_repeated_within_a_sample(monkeypatch):
    clock = FakeClock()
    prepared = {"a": access.Ready(taking(clock, 1e-5), right)}
    before = clock.reads
    (found,) = measured(monkeypatch, {"job": job(prepared)}, clock, budget=0.0)
    assert found.seconds == (pytest.approx(1e-5),)
    assert clock.now - before >= idioms.LEAST * idioms.SPAN


def test_what_a_call_needs_anew_is_made_before_each_call_and_is_not_timed(monkeypatch):
    clock, done = FakeClock(), []
    renew = taking(clock, 5.0, done, "renew")
    prepared = {"a": access.Ready(taking(clock, 1e-5, done, "call"), right, renew)}
    (found,) = measured(monkeypatch, {"job": job(prepared)}, clock)
    assert found.seconds == (pytest.approx(1e-5),)
    assert done == ["call"] + ["renew", "call"] * (1 + idioms.LEAST)


def test_an_idiom_is_sampled_at_most_so_often(monkeypatch):
    clock, done = FakeClock(), []
    prepared = {"a": access.Ready(taking(clock, 1.0, done), right)}
    measured(monkeypatch, {"job": job(prepared)}, clock, budget=1e6)
    assert len(done) == 2 + idioms.MOST


def test_a_wrong_idiom_is_told_and_timed_all_the_same(monkeypatch):
    clock = FakeClock()

    def wrong(call):
        raise AssertionError("the average is off")

    prepared = {"a": access.Ready(taking(clock, 0.1), right), "b": access.Ready(taking(clock, 0.2), wrong)}
    one, other = measured(monkeypatch, {"job": job(prepared)}, clock)
    assert (one.wrong, other.wrong) == ("", "the average is off")
    assert other.seconds == (pytest.approx(0.2),)


def test_an_idiom_that_raises_or_does_not_apply_leaves_the_others(monkeypatch):
    clock = FakeClock()

    def raises(call):
        raise RuntimeError("no kernel for\nthis dtype")

    prepared = {
        "a": access.Ready(taking(clock, 0.1), right),
        "b": access.Ready(taking(clock, 0.1), raises),
        "c": "torch has no fused implementation on xpu",
    }
    one, raised, other = measured(monkeypatch, {"job": job(prepared)}, clock)
    assert one.seconds
    assert (raised.why_not, raised.seconds) == ("RuntimeError: no kernel for this dtype", ())
    assert (other.why_not, other.seconds) == ("torch has no fused implementation on xpu", ())


def test_a_job_that_cannot_be_prepared_leaves_the_others(monkeypatch):
    clock = FakeClock()

    def failing(error):
        @contextmanager
        def prepare(subject):
            raise error
            yield

        return access.Job("something", ("x", "y"), prepare)

    fine = {"a": access.Ready(taking(clock, 0.1), right)}
    jobs = {
        "one": failing(access.NotHereError("no parameter is tied")),
        "two": failing(ValueError("broken")),
        "three": job(fine),
    }
    found = measured(monkeypatch, jobs, clock)
    assert [(each.job, each.name, each.why_not) for each in found] == [
        ("one", "x", "no parameter is tied"),
        ("one", "y", "no parameter is tied"),
        ("two", "x", "ValueError: broken"),
        ("two", "y", "ValueError: broken"),
        ("three", "a", ""),
    ]


def test_an_error_for_the_user_ends_the_measuring(monkeypatch):
    @contextmanager
    def prepare(subject):
        raise BenchCoreError("no such device")
        yield

    with pytest.raises(BenchCoreError, match="no such device"):
        measured(monkeypatch, {"job": access.Job("something", ("x",), prepare)}, FakeClock())


def test_a_job_that_needs_more_memory_than_there_is_is_not_begun(monkeypatch):
    monkeypatch.setattr(idioms, "too_large", lambda needed, device: f"needs {needed} bytes on {device}")
    prepared = {"a": access.Ready(lambda: pytest.fail("it was called"), right)}
    (found,) = measured(monkeypatch, {"job": job(prepared, copies=2.5)}, FakeClock())
    assert found == Idiom("job", "a", why_not="needs 100 bytes on cpu")


def test_only_the_chosen_jobs_are_measured_and_shown(monkeypatch):
    clock, shown = FakeClock(), []
    jobs = {name: job({"a": access.Ready(taking(clock, 0.1), right)}) for name in ("one", "two", "three")}
    found = measured(monkeypatch, jobs, clock, jobs=["three", "one"], show=shown.append)
    assert [each.job for each in found] == shown == ["one", "three"]


def test_the_jobs_of_a_real_model_are_measured():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    found = measure_idioms(Target(net, (torch.ones(2, 4),)), budget=0.0, jobs=["backward", "zero_grad", "denormals"])
    assert [(one.job, one.name, bool(one.seconds), one.wrong, one.why_not) for one in found] == [
        ("zero_grad", "set_to_none", True, "", ""),
        ("zero_grad", "set_to_zero", True, "", ""),
        ("zero_grad", "foreach_zero", True, "", ""),
        ("backward", "tied", True, "", ""),
        ("backward", "untied", True, "", ""),
        ("denormals", "as_they_are", False, "", "no weight on the CPU is a denormal number"),
        ("denormals", "flushed", False, "", "no weight on the CPU is a denormal number"),
    ]


def test_a_process_that_does_not_check_still_finds_what_raises(monkeypatch):
    clock = FakeClock()

    def raises():
        raise RuntimeError("no kernel")

    prepared = {
        "a": access.Ready(taking(clock, 0.1), lambda call: pytest.fail("it was checked")),
        "b": access.Ready(raises, lambda call: pytest.fail("it was checked")),
    }
    one, other = measured(monkeypatch, {"job": job(prepared)}, clock, checked=False)
    assert one.seconds == (pytest.approx(0.1),)
    assert (other.seconds, other.why_not) == ((), "RuntimeError: no kernel")


# Several processes
