"""Samples the jobs of `bench_core.suite.access` on a model, the idioms of a job in turn, in this process."""

from __future__ import annotations

import gc
import statistics
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from bench_core.clock import Clock, host
from bench_core.errors import BenchCoreError, named
from bench_core.records.model import Idiom
from bench_core.suite import access
from bench_core.suite.base import clock_for, too_large
from bench_core.timing.sampling import choose_number, no_garbage_collection, time_sample

SPAN = 0.005
"""The least seconds of a sample of calls that can follow each other."""

YOUNG = 0
"""The generation of garbage that is collected between rounds: what they have made."""

LEAST, MOST = 2, 100
"""The fewest samples of an idiom, however long they take, and the most."""


class Target(Protocol):
    """What is needed of `bench_core.suite.target.Target`."""

    def ready(self) -> nn.Module: ...

    def example(self, model: nn.Module) -> tuple[Any, ...] | None: ...


def measure_idioms(
    target: Target,
    *,
    budget: float,
    jobs: Collection[str] | None = None,
    checked: bool = True,
    timer: Clock | None = None,
    clock: Clock = host,
    show: Callable[[str], None] = lambda _: None,
) -> tuple[Idiom, ...]:
    """Build the model, and measure each job on it.

    A job that fails, or for which there is not enough memory, is told with the reason, and costs the others nothing.
    Run it in several processes, and hand what they return to `bench_core.model.merging.merged`.

    Args:
        target: makes the model, and knows an example of its input.
        budget: about how many seconds the samples of all jobs take together. Each idiom gets `LEAST` samples.
        jobs: the names of the jobs that are measured; None for all.
        checked: whether each idiom is checked before it is sampled. With several processes, one that checks is enough.
        timer: what the samples are timed with; None for the clock of the model's device.
        clock: what the budget is counted with.
        show: called with the name of each job before it begins.
    """
    model = target.ready()
    chosen = {name: job for name, job in access.JOBS.items() if jobs is None or name in jobs}
    found: list[Idiom] = []
    with tempfile.TemporaryDirectory(prefix="bench-core-") as folder:
        subject = access.Subject(model, target.example(model), Path(folder))
        for name, job in chosen.items():
            show(name)
            found += _measure(
                name,
                job,
                subject,
                budget / len(chosen),
                checked=checked,
                timer=timer or clock_for(subject.device),
                clock=clock,
            )
    return tuple(found)


def _measure(
    name: str, job: access.Job, subject: access.Subject, budget: float, *, checked: bool, timer: Clock, clock: Clock
) -> list[Idiom]:
    least_bytes = job.passes * subject.bytes

    def idiom(of: str, seconds: tuple[float, ...] = (), wrong: str = "", why_not: str = "") -> Idiom:
        return Idiom(name, of, seconds, least_bytes, wrong, why_not, job.notes.get(of, ""))

    def none(why_not: str) -> list[Idiom]:
        return [idiom(of, why_not=why_not) for of in job.idioms]

    if reason := too_large(round(job.copies * subject.bytes), subject.device):
        return none(reason)
    try:
        with job.prepare(subject) as prepared:
            wrong, why_not = _tried(prepared, checked=checked)
            able = {
                of: ready for of, ready in prepared.items() if isinstance(ready, access.Ready) and of not in why_not
            }
            seconds = _in_turn(able, budget, timer, clock)
            return [
                idiom(of, (seconds[of],) if of in seconds else (), wrong.get(of, ""), why_not.get(of, ""))
                for of in job.idioms
            ]
    except access.NotHereError as error:
        return none(str(error))
    except BenchCoreError:
        raise
    except Exception as error:  # noqa: BLE001 - the exceptions of a user's model are its own
        return none(named(error))


def _tried(prepared: Mapping[str, access.Ready | str], *, checked: bool) -> tuple[dict[str, str], dict[str, str]]:
    """What each idiom does wrong, and why it does not apply, by its name."""
    wrong, why_not = {}, {}
    for of, ready in prepared.items():
        if isinstance(ready, str):
            why_not[of] = ready
            continue
        try:
            if checked:
                ready.check(ready.call)
            else:
                _sample(ready, 1, host)
        except AssertionError as error:
            wrong[of] = str(error)
        except Exception as error:  # noqa: BLE001 - the exceptions of a user's model are its own
            why_not[of] = named(error)
    return wrong, why_not


def _in_turn(ready: Mapping[str, access.Ready], budget: float, timer: Clock, clock: Clock) -> dict[str, float]:
    """The median time of a call of each idiom. Each round samples all, forwards and backwards by turns."""
    end = clock() + budget
    numbers = {of: _number(each, timer) for of, each in ready.items()}
    samples: dict[str, list[float]] = {of: [] for of in ready}
    order = list(ready)
    with no_garbage_collection():
        for taken in range(MOST):
            if taken >= LEAST and clock() >= end:
                break
            for of in order:
                samples[of].append(_sample(ready[of], numbers[of], timer))
            order.reverse()
            gc.collect(YOUNG)  # a copy of a model may refer to itself
    return {of: statistics.median(times) for of, times in samples.items()}


def _number(ready: access.Ready, timer: Clock) -> int:
    if ready.renew is None:
        return choose_number(ready.call, timer, SPAN)
    _sample(ready, 1, timer)  # a warm-up
    return 1


def _sample(ready: access.Ready, number: int, timer: Clock) -> float:
    if ready.renew is not None:
        ready.renew()
    return time_sample(ready.call, number, timer) / number
