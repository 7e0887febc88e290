"""Which commit made a cell slower: git chooses the commits, the gate says of each on which side of the change it is.

Every commit is compared with the good one, and held against the middle of the difference between good and bad. It is
the gate's own comparison, evidence included: a search that was interrupted goes on from what it had found out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from bench_core import clock
from bench_core.errors import BenchCoreError
from bench_core.gate import revisions
from bench_core.gate.judge import judge
from bench_core.gate.session import Request, Session
from bench_core.records import Bisection, BisectStep, BisectVerdict, Commit, GateRecord, GateSettings, Judgement

Measure = Callable[[Session], GateRecord]
"""Measures a session and shows how far it is; `measured` is one that shows nothing."""


def measured(session: Session) -> GateRecord:
    return session.measure(lambda progress: None)


def bisect(
    request: Request, cell: str, machine: Mapping[str, str], say: Callable[[str], None], measure: Measure = measured
) -> Bisection:
    """Search the commits between `request.base` (good) and `request.head` (bad).

    Args:
        request: its settings are those that good and bad are told apart by, and the budget is that of each commit. The
            benchmarks are bad's for all commits.
        cell: the name of one.
        say: takes a line on each commit, as it is known.

    Raises:
        BenchCoreError: if the ends do not differ, or the search cannot begin.
        KeyboardInterrupt: after Ctrl-C. The same search goes on from there.
    """
    assert request.base is not None
    assert request.head is not None
    project = revisions.project(request.config)
    good, bad = (_commit(project, name) for name in (request.base, request.head))
    _require_ancestor(project, request, good, bad)
    request = replace(request, suite=bad.hash, pattern=f"^{re.escape(cell)}$", quick=False)
    began = clock.host()

    def test(commit: Commit, settings: GateSettings) -> BisectStep:
        return _step(request, good, commit, settings, machine, measure)

    ends = test(bad, request.settings)
    say(_line(ends))
    if ends.verdict != "bad":
        raise BenchCoreError(_alike(request, cell, ends))
    assert ends.ratio is not None
    steps = len(candidates(project, [good.hash], bad.hash, set())).bit_length()
    middle = math.sqrt(ends.ratio.middle) - 1
    settings = replace(
        request.settings, noise_floor=middle, limit=middle, error_rate=request.settings.error_rate / max(1, steps)
    )
    found, tested = search(project, good.hash, bad, lambda commit: test(commit, settings), say)
    return Bisection(
        cell=cell,
        good=good,
        ends=ends,
        steps=tuple(tested),
        culprits=tuple(found),
        seconds=clock.host() - began,
        settings=settings,
    )


def search(
    project: revisions.Project,
    good: str,
    bad: Commit,
    test: Callable[[Commit], BisectStep],
    say: Callable[[str], None],
) -> tuple[list[Commit], list[BisectStep]]:
    """Halve what is left until nothing is, but commits that cannot be tested.

    Returns:
        The first bad commit, preceded by those that could not be told from it; and what was found out on the way.
    """
    goods, skipped, tested = [good], set[str](), list[BisectStep]()
    while left := candidates(project, goods, bad.hash, skipped):
        commit = _commit(project, left[0])
        step = test(commit)
        tested.append(step)
        say(f"{_line(step)}; {len(left) - 1} more between")
        if step.verdict == "bad":
            bad = commit
        elif step.verdict == "good":
            goods.append(commit.hash)
        else:
            skipped.add(commit.hash)
    unknown = [name for name in _between(project, goods, bad.hash) if name != bad.hash]
    return [*(_commit(project, name) for name in reversed(unknown)), bad], tested


def candidates(project: revisions.Project, goods: list[str], bad: str, skipped: set[str]) -> list[str]:
    """The commits of which one may be the first bad one, without `bad` itself; the one that halves them first."""
    listed = _between(project, goods, bad, "--bisect-all")
    return [name for name in listed if name != bad and name not in skipped]


def _between(project: revisions.Project, goods: list[str], bad: str, *options: str) -> list[str]:
    listed = revisions.git(project.root, "rev-list", *options, bad, "--not", *goods)
    return [line.split(" ")[0] for line in listed.splitlines()]


def _commit(project: revisions.Project, name: str) -> Commit:
    found = revisions.resolve(project, name).commit
    subject, author, date = revisions.git(project.root, "show", "-s", "--format=%s%n%an%n%as", found).splitlines()[:3]
    return Commit(found, subject, author, date)


def _require_ancestor(project: revisions.Project, request: Request, good: Commit, bad: Commit) -> None:
    if good.hash == bad.hash:
        raise BenchCoreError(f"{request.base} and {request.head} are the same commit, {good.hash[:12]}: no search.")
    forks = revisions.git(project.root, "rev-list", "--max-count=1", good.hash, "--not", bad.hash)
    if not forks:
        return
    base = revisions.merge_base(project, good.hash, bad.hash)
    hint = f" They part at {base[:12]}: `bench-core bisect {base[:12]} {request.head} CELL`." if base else ""
    raise BenchCoreError(
        f"{request.base} is no ancestor of {request.head}, so no commit on the way made it slower.{hint}"
    )


def _step(
    request: Request,
    good: Commit,
    commit: Commit,
    settings: GateSettings,
    machine: Mapping[str, str],
    measure: Measure,
) -> BisectStep:
    began = clock.host()
    asked = replace(request, base=good.hash, head=commit.hash, settings=settings)
    is_end = asked.head == request.suite
    try:
        session = Session(asked, machine, lambda line: None)
        record = measure(session)
    except BenchCoreError as error:
        if is_end:
            raise
        return BisectStep(commit, "skipped", str(error).splitlines()[0], None, 0, clock.host() - began)
    if record.interrupted:
        raise KeyboardInterrupt
    seconds = clock.host() - began
    if record.identical:
        return BisectStep(commit, "good", "the package is identical to good's", None, 0, seconds)
    judged, pairs = judge(record).cells[0], len(record.cells[0].effects)
    verdict, reason = _side_of_the_change(judged)
    return BisectStep(commit, verdict, reason, judged.ratio if pairs else None, pairs, seconds)


def _side_of_the_change(judged: Judgement) -> tuple[BisectVerdict, str]:
    if judged.verdict == "regression":
        return "bad", judged.reason
    if judged.verdict in ("pass", "improvement"):
        return "good", judged.reason
    return "skipped", judged.reason


def _alike(request: Request, cell: str, ends: BisectStep) -> str:
    """Why there is nothing to search for."""
    first = f"{request.base} and {request.head} do not differ in {cell} as far as can be told: {ends.reason}."
    if ends.verdict == "skipped":
        return f"{first} A longer --budget may tell; the same command goes on from what is known."
    return f"{first} There is no slowdown to search for."


def _line(step: BisectStep) -> str:
    effect = "" if step.ratio is None else f" {100 * (step.ratio.middle - 1):+.1f} % in {step.pairs} pairs,"
    return f"{step.commit.hash[:12]} is {step.verdict}:{effect} {step.reason} ({step.seconds:.0f} s)"
