"""Which commit made a cell slower: git chooses the commits, the gate says of each on which side of the change it is.

Every commit is compared with the good one, and held against the middle of the difference between good and bad. It is
the gate's own comparison, evidence included: a search that was interrupted goes on from what it had found out.
"""

from __future__ import annotations

import difflib
import math
import re
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench_core import clock
from bench_core.asv_config import naming
from bench_core.errors import BenchCoreError, did_you_mean, shortened
from bench_core.gate.judge.gate import judge
from bench_core.gate.measure.discover import NoCellError
from bench_core.gate.session import Request, Session
from bench_core.gate.versions import revisions
from bench_core.gate.versions.store import Store
from bench_core.records.bisect import Bisection, BisectStep, BisectVerdict
from bench_core.records.commit import Commit
from bench_core.records.gate import GateRecord, GateSettings, Side, VerdictName
from bench_core.records.run import Interval

Measure = Callable[[Session], GateRecord]
"""Measures a session and shows how far it is; `measured` is one that shows nothing."""

A_MOMENT = 0.1
"""Seconds of measuring, which are over with the first pair."""

SIDE_OF_THE_CHANGE: Mapping[VerdictName, BisectVerdict] = {
    "regression": "bad",
    "pass": "good",
    "improvement": "good",
    "inconclusive": "skipped",
    "error": "skipped",
}


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
        BenchCoreError: if the ends do not differ, the search cannot begin, or what keeps it from going on is no
            commit's fault. The same search goes on from there.
        KeyboardInterrupt: after Ctrl-C. The same search goes on from there.
    """
    assert request.base is not None
    assert request.head is not None
    project = revisions.project(request.config)
    good, bad = (_commit(project, name) for name in (request.base, request.head))
    _require_ancestor(project, request, good, bad, cell)
    asked = replace(request, base=good.hash, suite=bad.hash, pattern=f"^{re.escape(cell)}$", quick=False)
    tests = _Tests(project, asked, cell, good, machine, measure)
    began = clock.host()
    try:
        compared = tests.compare(bad, request.settings)
    except NoCellError as error:
        names, broken = tests.names(bad)
        raise BenchCoreError(_no_such_cell(cell, names) + broken) from error
    ends = compared.step(bad, clock.host() - began)
    if compared.verdict != "error":
        say(_line(ends))
    if ends.verdict != "bad":
        raise BenchCoreError(_no_search(request, cell, compared))
    assert ends.ratio is not None
    steps = len(candidates(project, [good.hash], bad.hash, set())).bit_length()
    middle = math.sqrt(ends.ratio.middle) - 1
    settings = replace(
        request.settings, noise_floor=middle, limit=middle, error_rate=request.settings.error_rate / max(1, steps)
    )
    found, tested = search(project, good.hash, bad, lambda commit: tests.test(commit, settings), say)
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


def _require_ancestor(project: revisions.Project, request: Request, good: Commit, bad: Commit, cell: str) -> None:
    if good.hash == bad.hash:
        raise BenchCoreError(f"{request.base} and {request.head} are the same commit, {good.hash[:12]}: no search.")
    forks = revisions.git(project.root, "rev-list", "--max-count=1", good.hash, "--not", bad.hash)
    if not forks:
        return

    def command(*ends: str | None) -> str:
        return shlex.join(["bench-core", "bisect", *map(str, ends), cell, *naming(request.config)])

    base = revisions.merge_base(project, good.hash, bad.hash)
    if base == bad.hash:
        raise BenchCoreError(
            f"{request.head} is an ancestor of {request.base}, and the good commit comes first. Swap them: "
            f"`{command(request.head, request.base)}`."
        )
    hint = f" They part at {base[:12]}: `{command(base[:12], request.head)}`." if base else ""
    raise BenchCoreError(
        f"{request.base} is no ancestor of {request.head}, so no commit on the way made it slower.{hint}"
    )


@dataclass(frozen=True)
class _Compared:
    """What comparing a commit with the good one has found out of the cell.

    Attributes:
        error_side: as of `CellEvidence`.
        ratio, pairs: as of `BisectStep`.
    """

    verdict: VerdictName
    reason: str
    error_side: Side | None = None
    ratio: Interval | None = None
    pairs: int = 0

    def step(self, commit: Commit, seconds: float) -> BisectStep:
        reason = self.reason.splitlines()[0]
        return BisectStep(commit, SIDE_OF_THE_CHANGE[self.verdict], reason, self.ratio, self.pairs, seconds)


@dataclass(frozen=True)
class _Tests:
    """Compares commits with the good one.

    Attributes:
        request: for a gate on good, but for head and settings.
        cell: the one that it is about.
    """

    project: revisions.Project
    request: Request
    cell: str
    good: Commit
    machine: Mapping[str, str]
    measure: Measure

    def test(self, commit: Commit, settings: GateSettings) -> BisectStep:
        """On which side of the change a commit is. One that cannot be compared is to blame for that itself, if good
        still can be.

        Raises:
            BenchCoreError: if it is not to blame.
            KeyboardInterrupt: after Ctrl-C.
        """
        began = clock.host()
        try:
            session = self._session(commit, settings)
        except BenchCoreError as error:
            found = _Compared("error", str(error))
        else:
            found = self._compared(session)
        if found.verdict == "error" and found.error_side != "head":  # else the gate has seen that base does not fail
            self._require_good(commit, found.reason)
        return found.step(commit, clock.host() - began)

    def compare(self, commit: Commit, settings: GateSettings, **others: Any) -> _Compared:
        """
        Args:
            others: of the request.

        Raises:
            BenchCoreError: if they cannot be compared, for whatever reason.
            KeyboardInterrupt: after Ctrl-C.
        """
        return self._compared(self._session(commit, settings, **others))

    def names(self, commit: Commit) -> tuple[list[str], str]:
        """The cells that good or a commit has; and a sentence on each module that does not import with either."""
        found = self._session(commit, self.request.settings, pattern=None).found
        assert found is not None, "the two differ, or no cell would have been looked for"
        benchmarks = {entry["name"] for entry in found.declared}
        named = [*(cell.name for cell in (*found.cells, *found.failed)), *found.left_out]
        cells = sorted(name for name in named if name.partition("(")[0] in benchmarks)
        return cells, "".join(f" {name} {found.left_out[name]}." for name in named if name not in cells)

    def _session(self, commit: Commit, settings: GateSettings, **others: Any) -> Session:
        asked = replace(self.request, base=self.good.hash, head=commit.hash, settings=settings, **others)
        return Session(asked, self.machine, lambda line: None)

    def _compared(self, session: Session) -> _Compared:
        record = self.measure(session)
        if record.interrupted:
            raise KeyboardInterrupt
        if record.identical:
            return _Compared("pass", "the package is identical to good's")
        if not record.cells:
            return _Compared("error", f"it skips itself: {record.left_out[self.cell]}")
        found = judge(record).cells[0]
        judged, evidence = found.judgement, found.evidence
        pairs = len(evidence.effects)
        return _Compared(judged.verdict, judged.reason, evidence.error_side, judged.ratio if pairs else None, pairs)

    def _require_good(self, commit: Commit, why: str) -> None:
        """Build good anew, and hold it against itself: what it cannot do either is no fault of a commit.

        Raises:
            BenchCoreError: if it fails, too.
        """
        try:
            store = Store(self.project)
            with tempfile.TemporaryDirectory(prefix="making-", dir=store.folder, ignore_cleanup_errors=True) as folder:
                Store(self.project, Path(folder)).version(revisions.resolve(self.project, self.good.hash))
            settings = replace(self.request.settings, budget=A_MOMENT)
            found = self.compare(self.good, settings, force=True, fresh=True)
            if found.verdict == "error":
                raise BenchCoreError(found.reason)
        except BenchCoreError as error:
            raise BenchCoreError(
                f"{commit.hash[:12]} cannot be compared: {why}\nNor can good any more, which could before, so it is no "
                f"fault of that commit: {str(error).splitlines()[0]}\n"
                "Once that is mended, the same command goes on from what is known."
            ) from error


def _no_such_cell(name: str, known: Sequence[str]) -> str:
    """What a name that is none may have meant: the names that it is a part of, or else those that are spelt alike."""
    holding = [repr(cell) for cell in known if name in cell]
    if holding:
        where = "one" if len(holding) == 1 else "several"
        hint = f" It is a part of {where}, to be named in full: {shortened(holding)}."
    else:
        hint = did_you_mean(difflib.get_close_matches(name, known, n=3, cutoff=0.5))
    return f"there is no cell {name!r}.{hint} `bench-core list` prints all names."


def _no_search(request: Request, cell: str, ends: _Compared) -> str:
    """Why there is nothing to search for."""
    if ends.verdict == "error":
        return (
            f"{cell} cannot be compared between {request.base} (base) and {request.head} (head): {ends.reason}. Name "
            "ends at which it runs."
        )
    same = f"{request.head} is no slower than {request.base} in {cell}"
    if ends.verdict == "inconclusive":
        return (
            f"{same} as far as can be told: {ends.reason}. A longer --budget may tell; the same command goes on from "
            "what is known."
        )
    return f"{same}: {ends.reason}. There is no slowdown to search for."


def _line(step: BisectStep) -> str:
    effect = "" if step.ratio is None else f" {100 * (step.ratio.middle - 1):+.1f} % in {step.pairs} pairs,"
    return f"{step.commit.hash[:12]} is {step.verdict}:{effect} {step.reason} ({step.seconds:.0f} s)"
