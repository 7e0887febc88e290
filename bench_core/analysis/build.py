"""Builds the report from the content of a results folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TypeVar

from bench_core.analysis.crossings import crossings
from bench_core.analysis.growth import growths
from bench_core.analysis.history import histories
from bench_core.analysis.idioms import jobs
from bench_core.analysis.limits import limits
from bench_core.analysis.series import series
from bench_core.analysis.subjects import is_called, subjects
from bench_core.analysis.trust import trust
from bench_core.errors import UnknownNameError
from bench_core.records.commit import LoggedCommit
from bench_core.records.report import Answers, Subject
from bench_core.records.results import Store

Found = TypeVar("Found")


def report(
    store: Store,
    *,
    date: str,
    version: str,
    git: Mapping[str, LoggedCommit],
    link: str,
    published: str,
    machines: Sequence[str] = (),
) -> Answers:
    """Run all analyses of the results.

    Args:
        store: the results of all machines.
        date: when the report is made, ISO 8601, UTC.
        version: the version of bench_core.
        git: commits by hash, from `bench_core.results.commits.read_commits`.
        link: the address of a commit's page, without the hash; "" if unknown.
        published: the address of asv's own pages, relative to the report; "" without one.
        machines: the machines, or versions of torch, to show side by side; empty for all.

    Raises:
        UnknownNameError: if nothing was measured on one of `machines`.
    """
    shown = chosen(subjects(store), machines)
    lines = {subject.name: series(subject) for subject in shown}
    told = store.of({subject.machine for subject in shown}) if machines else store

    def each(analysis: Callable[[Subject], Sequence[Found]]) -> tuple[Found, ...]:
        return tuple(chain.from_iterable(map(analysis, shown)))

    return Answers(
        date=date,
        version=version,
        subjects=shown,
        series=tuple(chain.from_iterable(lines.values())),
        limits=each(limits),
        growths=each(lambda subject: growths(lines[subject.name], subject)),
        jobs=each(jobs),
        crossings=each(crossings),
        histories=histories(told, git, link),
        trust=tuple(trust(subject, store) for subject in shown),
        tried=told.tried,
        left_out=store.left_out,
        published=published,
        accepted=store.accepted,
        models=tuple({(model.machine.get("machine"), model.spec): model for model in told.models}.values()),
    )


def chosen(known: Sequence[Subject], names: Sequence[str]) -> tuple[Subject, ...]:
    """The subjects with these names, in this order; all subjects without names. For names see `is_called`.

    Raises:
        UnknownNameError: if no subject has one of the names.
    """
    if not names:
        return tuple(known)
    found: dict[str, Subject] = {}
    for name in names:
        named = [subject for subject in known if is_called(subject, name)]
        if not named:
            every = {called for subject in known for called in (subject.machine, subject.description.get("torch", ""))}
            raise UnknownNameError("machine or version of torch", name, every - {""})
        found |= {subject.name: subject for subject in named}
    return tuple(found.values())
