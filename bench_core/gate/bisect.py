"""Searches for the commit that made a cell slower. git chooses commits, and a gate compares each with the good end.

A commit is bad if it is slower than the good end by more than half of the whole difference. The gates keep their
evidence, so an interrupted search continues from it.
"""

from __future__ import annotations

import difflib
import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench_core import clock, git, units
from bench_core.asv_config import naming
from bench_core.errors import BenchCoreError, did_you_mean, shortened
from bench_core.gate import session
from bench_core.gate.judge.gate import judge
from bench_core.gate.measure.discover import NoCellError
from bench_core.gate.prepare import Choices, Prepared, Request, prepare
from bench_core.gate.versions.cache import unfinished
from bench_core.gate.versions.project import Project, read_project
from bench_core.gate.versions.revisions import merge_base, resolve
from bench_core.gate.versions.store import VersionStore
from bench_core.records.bisect import Bisection, BisectStep, BisectVerdict
from bench_core.records.commit import LoggedCommit
from bench_core.records.gate import MOST, GateRecord, GateSettings, Side, VerdictName
from bench_core.records.run import Interval

Measure = Callable[[Prepared], GateRecord]
"""Runs a gate and may show its progress."""

A_MOMENT = 0.1
"""The budget, in seconds, of a gate that should end after its first pair."""

SIDE_OF_THE_CHANGE: Mapping[VerdictName, BisectVerdict] = {
    "regression": "bad",
    "pass": "good",
    "improvement": "good",
    "inconclusive": "skipped",
    "error": "skipped",
}


def measured(prepared: Prepared) -> GateRecord:
    return session.measure(prepared, lambda progress: None)


def bisect(
    request: Request, cell: str, machine: Mapping[str, str], say: Callable[[str], None], measure: Measure = measured
) -> Bisection:
    """Search the commits between `request.base` (good) and `request.head` (bad).

    Args:
        request: the settings with which good and bad are compared, and the budget of each commit. All commits are
            measured with the benchmarks of bad.
        cell: the name of a cell.
        machine: asv's description of this machine.
        say: takes a line on each commit, as soon as its verdict is known.
        measure: runs a gate. The default shows no progress.

    Raises:
        BenchCoreError: if the ends do not differ, or if the search fails for a reason that is not a commit's fault.
        KeyboardInterrupt: after Ctrl-C. In either case, the same search continues later from what is known.
    """
    assert request.base is not None
    assert request.head is not None
    project = read_project(request.config, suite=request.model is None)
    good, bad = (_commit(project, name) for name in (request.base, request.head))
    _require_ancestor(project, request, good, bad, cell)
    asked = replace(request, base=good.hash, suite=bad.hash, pattern=_either([cell]), quick=False)
    tests = _Tests(project, asked, cell, good, machine, measure)
    began = clock.host()
    try:
        compared = tests.compare(bad, request.settings)
    except NoCellError as error:
        names, broken = tests.names(bad)
        raise BenchCoreError(_no_such_cell(cell, names) + broken) from error
    if compared.before:  # a commit in between may have either name
        tests = replace(tests, request=replace(asked, pattern=_either([cell, compared.before])))
    ends = compared.step(bad, clock.host() - began)
    if compared.verdict != "error":
        say(_line(ends))
    if ends.verdict != "bad":
        raise BenchCoreError(_no_search(request, cell, compared))
    assert ends.ratio is not None
    assert compared.settings is not None
    steps = len(candidates(project, [good.hash], bad.hash, set())).bit_length()
    middle = _halfway(ends.ratio, request.settings)
    share = request.settings.error_rate / max(1, steps)  # of calling a commit bad, and of calling it good
    settings = replace(compared.settings, noise_floor=middle, limit=middle, error_rate=share, pass_error=share)
    each = replace(
        request.settings, noise_floor=middle, limit=middle, error_rate=share, pass_error=share, seed=settings.seed
    )
    found, tested = search(project, good.hash, bad, lambda commit: tests.test(commit, each), say)
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
    project: Project,
    good: str,
    bad: LoggedCommit,
    test: Callable[[LoggedCommit], BisectStep],
    say: Callable[[str], None],
) -> tuple[list[LoggedCommit], list[BisectStep]]:
    """Bisect until all remaining candidates are known to be untestable. Returns the first bad commit, preceded by
    untestable commits that may be the first bad one instead; and the steps."""
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


def candidates(project: Project, goods: list[str], bad: str, skipped: set[str]) -> list[str]:
    """The commits that may be the first bad one, without `bad` itself, best bisection point first."""
    listed = _between(project, goods, bad, "--bisect-all")
    return [name for name in listed if name != bad and name not in skipped]


def _between(project: Project, goods: list[str], bad: str, *options: str) -> list[str]:
    listed = git.output(project.root, "rev-list", *options, bad, "--not", *goods)
    return [line.split(" ")[0] for line in listed.splitlines()]


def _commit(project: Project, name: str) -> LoggedCommit:
    found = resolve(project, name).commit
    subject, author, date = git.output(project.root, "show", "-s", "--format=%s%n%an%n%as", found).splitlines()[:3]
    return LoggedCommit(found, subject, author, date)


def _require_ancestor(project: Project, request: Request, good: LoggedCommit, bad: LoggedCommit, cell: str) -> None:
    if good.hash == bad.hash:
        raise BenchCoreError(f"{request.base} and {request.head} are the same commit, {good.hash[:12]}: no search.")
    forks = git.output(project.root, "rev-list", "--max-count=1", good.hash, "--not", bad.hash)
    if not forks:
        return

    def command(*ends: str | None) -> str:
        options = [*([] if request.model is None else request.model.options), *request.asked.options]
        return shlex.join(["bench-core", "bisect", *map(str, ends), cell, *options, *naming(request.config)])

    base = merge_base(project, good.hash, bad.hash)
    if base == bad.hash:
        raise BenchCoreError(
            f"{request.head} is an ancestor of {request.base}, but the good commit must come first. Swap them: "
            f"`{command(request.head, request.base)}`."
        )
    hint = f" They fork at {base[:12]}: `{command(base[:12], request.head)}`." if base else ""
    raise BenchCoreError(f"{request.base} is no ancestor of {request.head}, so there is no path to bisect.{hint}")


@dataclass(frozen=True)
class _Outcome:
    """The outcome of comparing a commit with the good one.

    Attributes:
        verdict, reason: the gate's verdict on the cell.
        error_side: see `CellEvidence`.
        ratio, pairs: see `BisectStep`.
        settings: the gate's settings; None if it measured nothing.
        before: the name of the cell in the good commit, if it is another one; else "".
        is_timed: whether the cell is one of a time.
    """

    verdict: VerdictName
    reason: str
    error_side: Side | None = None
    ratio: Interval | None = None
    pairs: int = 0
    settings: GateSettings | None = None
    before: str = ""
    is_timed: bool = True

    def step(self, commit: LoggedCommit, seconds: float) -> BisectStep:
        reason = self.reason.splitlines()[0]
        return BisectStep(commit, SIDE_OF_THE_CHANGE[self.verdict], reason, self.ratio, self.pairs, seconds)


@dataclass(frozen=True)
class _Tests:
    """Compares commits with the good one.

    Attributes:
        request: a gate on the good commit. Head and settings are replaced for each comparison.
        cell: the name of the cell.
        machine, measure: see `bisect`.
    """

    project: Project
    request: Request
    cell: str
    good: LoggedCommit
    machine: Mapping[str, str]
    measure: Measure

    def test(self, commit: LoggedCommit, settings: Choices) -> BisectStep:
        """Find out whether a commit is good or bad. If it cannot be compared, it is skipped.

        Raises:
            BenchCoreError: if the good commit does not work any more.
            KeyboardInterrupt: after Ctrl-C.
        """
        began = clock.host()
        try:
            prepared = self._prepared(commit, settings)
        except BenchCoreError as error:
            found = _Outcome("error", str(error))
        else:
            found = self._outcome(prepared)
        if found.verdict == "error" and found.error_side != "head":  # otherwise the gate has seen that good works
            self._require_good(commit, found.reason)
        return found.step(commit, clock.host() - began)

    def compare(self, commit: LoggedCommit, settings: Choices, **others: Any) -> _Outcome:
        """Compare a commit with the good one.

        Args:
            others: further fields of the request.

        Raises:
            BenchCoreError: if they cannot be compared.
            KeyboardInterrupt: after Ctrl-C.
        """
        return self._outcome(self._prepared(commit, settings, **others))

    def names(self, commit: LoggedCommit) -> tuple[list[str], str]:
        """The cells of the good commit or this one, and a sentence on each module that imports with neither."""
        work = self._prepared(commit, self.request.settings, pattern=None, everything=True).work
        assert work is not None, "the two differ, or no cell would have been looked for"
        found = work.found
        benchmarks = {entry["name"] for entry in found.declared}
        reasons = {**found.left_out, **{one.name: str(one.error) for one in found.failed}}
        named = [*(cell.name for cell in found.cells), *reasons]
        cells = sorted(name for name in named if name.partition("(")[0] in benchmarks)
        return cells, "".join(f" {name}: {reasons[name]}." for name in reasons if name not in cells)

    def _prepared(self, commit: LoggedCommit, settings: Choices, **others: Any) -> Prepared:
        asked = replace(self.request, base=self.good.hash, head=commit.hash, settings=settings, **others)
        return prepare(asked, self.machine, lambda line: None)

    def _outcome(self, prepared: Prepared) -> _Outcome:
        record = self.measure(prepared)
        if record.interrupted:
            raise KeyboardInterrupt
        if record.identical:
            return _Outcome("pass", "the package is identical to good's")
        if record.untouched:
            return _Outcome("pass", "the change from good cannot reach the cell")
        if not record.cells:
            return _Outcome("error", f"it skips itself: {next(iter(record.left_out.values()))}")
        found = judge(record).cells[0]
        judged, evidence = found.judgement, found.evidence
        pairs = len(evidence.effects)
        return _Outcome(
            verdict=judged.verdict,
            reason=judged.reason,
            error_side=evidence.error_side,
            ratio=judged.ratio if pairs or evidence.exceeded else None,
            pairs=pairs,
            settings=record.settings,
            before=record.renamed.get(found.name, ""),
            is_timed=evidence.is_timed,
        )

    def _require_good(self, commit: LoggedCommit, why: str) -> None:
        """Build the good commit anew, and compare it with itself. Raises BenchCoreError if this fails, since then the
        earlier failure is not the commit's fault."""
        try:
            store = VersionStore(self.project)
            with unfinished(store.folder) as folder:
                VersionStore(self.project, folder).version(resolve(self.project, self.good.hash))
            settings = replace(self.request.settings, budget=A_MOMENT)
            found = self.compare(self.good, settings, everything=True, fresh=True)
            if found.verdict == "error":
                raise BenchCoreError(found.reason)
        except BenchCoreError as error:
            raise BenchCoreError(
                f"{commit.hash[:12]} cannot be compared: {why}\nThis is not the commit's fault, since the good commit, "
                f"which worked before, now fails too: {str(error).splitlines()[0]}\n"
                "Fix this, then run the same command again: it continues from what is known."
            ) from error


def _either(names: Sequence[str]) -> str:
    """A pattern that selects the cells of these names."""
    return f"^({'|'.join(map(re.escape, names))})$"


def _no_such_cell(name: str, known: Sequence[str]) -> str:
    """An error with the cells that may be meant: those whose names contain this one, or else are similar."""
    holding = [repr(cell) for cell in known if name in cell]
    if holding:
        hint = f" Give the full name: {shortened(holding)}."
    else:
        hint = did_you_mean(difflib.get_close_matches(name, known, n=3, cutoff=0.5))
    return f"there is no cell {name!r}.{hint} `bench-core list` prints all names."


def _no_search(request: Request, cell: str, ends: _Outcome) -> str:
    if ends.verdict == "error":
        return (
            f"{cell} cannot be compared between {request.base} (base) and {request.head} (head): {ends.reason}. Choose "
            "two commits at which it runs."
        )
    word = units.slower_or_larger([ends.is_timed])
    if ends.verdict == "inconclusive":
        about = "" if ends.ratio is None else f" (about {units.change(ends.ratio.middle)})"
        return (
            f"it is not certain that {request.head} is {word} than {request.base} in {cell}{about}: {ends.reason}. "
            "Repeat the command with a longer --budget. It continues from what is known."
        )
    return f"{request.head} is no {word} than {request.base} in {cell}: {ends.reason}. There is nothing to search for."


def _halfway(ratio: Interval, settings: Choices) -> float:
    """The relative change that separates good commits from bad ones: half of the way between the ends, on the scale of
    log ratios, and at most what settings allow. Of values that have no finite ratio, such as 0 and 5, it is the limit.
    """
    return min(math.sqrt(ratio.middle) - 1, MOST - 1) if math.isfinite(ratio.middle) else settings.limit


def _line(step: BisectStep) -> str:
    known = step.ratio is not None and math.isfinite(step.ratio.middle) and step.pairs
    effect = f" {units.change(step.ratio.middle)} in {step.pairs} pairs," if step.ratio and known else ""
    return f"{step.commit.hash[:12]} is {step.verdict}:{effect} {step.reason} ({step.seconds:.0f} s)"
