"""A report out of what a results folder holds."""

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
from bench_core.analysis.subjects import subjects
from bench_core.analysis.trust import trust
from bench_core.errors import UnknownNameError
from bench_core.records.commit import LoggedCommit
from bench_core.records.report import Report, Subject
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
) -> Report:
    """Everything that is said of the results.

    Args:
        store: of all machines.
        date: when the report is made, ISO 8601, UTC.
        version: of bench_core.
        git: what git knows of the commits, as of `bench_core.results.commits.read_commits`.
        link: the address of a commit's page, without the hash; "" where none is known.
        published: the address of asv's own pages, relative to the report; "" without.
        machines: the machines, or versions of torch, to show side by side; all without any.

    Raises:
        UnknownNameError: if nothing was measured on one of `machines`.
    """
    shown = chosen(subjects(store), machines)
    lines = {subject.name: series(subject) for subject in shown}
    told = store.of({subject.machine for subject in shown}) if machines else store

    def each(analysis: Callable[[Subject], Sequence[Found]]) -> tuple[Found, ...]:
        return tuple(chain.from_iterable(map(analysis, shown)))

    return Report(
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
    )


def chosen(known: Sequence[Subject], names: Sequence[str]) -> tuple[Subject, ...]:
    """The subjects of these names: of a machine, of a version of torch, or a subject's own.

    Args:
        names: all subjects without any. In their order, then.

    Raises:
        UnknownNameError: if one of the names is of none.
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


def is_called(subject: Subject, name: str) -> bool:
    """``torch==2.13.0`` and ``2.13.0`` are every build of it, ``2.13.0+cpu`` is that build alone."""
    torch = subject.description.get("torch", "")
    version = name.removeprefix("torch==")
    return name in (subject.name, subject.machine) or (bool(torch) and version in (torch, torch.split("+")[0]))
