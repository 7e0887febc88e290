"""The highlights of a report."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar
from urllib.parse import quote

from bench_core import units
from bench_core.analysis.limits import FAMILY as LIMITS
from bench_core.errors import brief
from bench_core.records.report import Answers, RankedJob, Rival

Row = TypeVar("Row")

LONGEST_REASON = 100
"""The most characters of a reason."""

OF_A_KIND = 2
"""The most highlights of each kind. There are six kinds, so the list stays short enough to be read."""


@dataclass(frozen=True)
class Highlight:
    """One sentence with a link to its evidence.

    Attributes:
        kind: one or two words, e.g. ``to gain``.
        figure: its number; "" without one.
        link: the anchor of the evidence.
    """

    kind: str
    figure: str
    sentence: str
    link: str


def anchor(cell: str) -> str:
    """The id of a cell's row, which is also its address in the page: encoded as by JavaScript's `encodeURI`, and
    without spaces, which an id cannot contain."""
    return "cell=" + quote("_".join(brief(cell).split()), safe=";,/?:@&=+$#!*'()")


def findings(report: Answers) -> list[Highlight]:
    """The last regressions, the largest distances from limits, the clearest advice, the largest departures from laws,
    the newest steps, and what was left out."""
    kinds = (_reds, _gains, _advice, _departures, _steps, _left_out)
    return [highlight for kind in kinds for highlight in kind(report)]


def _on(report: Answers, subject: str) -> str:
    return f" on {subject}" if len(report.subjects) > 1 else ""


def _reds(report: Answers) -> Iterator[Highlight]:
    """Regressions on each machine: of the newest judged commit, and of the last gate whose head is no commit."""
    for number, history in enumerate(report.histories):
        judged = next((moment for moment in reversed(history.moments) if moment.verdicts), None)
        said = [] if judged is None else [(judged.commit.hash[:8], *verdict) for verdict in judged.verdicts]
        said += [(one.head, one.base, one.verdict, one.reason) for one in history.apart[-1:]]
        for head, base, verdict, reason in said:
            if verdict == "regression":
                on = f" on {history.machine}" if len(report.histories) > 1 else ""
                yield Highlight("regression", head, f"Against {base}{on}: {reason}.", f"#history-{number}")


def _gains(report: Answers) -> Iterator[Highlight]:
    limits = sorted(report.limits, key=lambda limit: -limit.to_gain)
    certain = (limit for limit in limits if limit.share.high < 1 and limit.to_gain)
    for limit in _first_of_each(certain, lambda limit: limit.cell):
        yield Highlight(
            "to gain",
            units.time(limit.to_gain),
            f"`{brief(limit.cell)}` reaches {units.share(limit.share.middle)} of what `{limit.yardstick}` does"
            f"{_on(report, limit.subject)}.",
            f"#{anchor(limit.cell)}",
        )


def _advice(report: Answers) -> Iterator[Highlight]:
    worst = [(_worst(job), number, job) for number, job in enumerate(report.jobs)]
    certain = [(rival, number, job) for rival, number, job in worst if rival is not None and rival.ratio.low > 1]
    # Advice that names the same single way at every size comes first.
    certain.sort(key=lambda row: (bool(row[2].flips) or _is_shared(row[2]), -row[0].ratio.low))
    for rival, number, job in _first_of_each(certain, lambda row: row[2].benchmark):
        sentence = f"`{job.benchmark}`{_on(report, job.subject)}: {job.advice}"
        yield Highlight("slowest over fastest way", units.ratio(rival.ratio.middle), sentence, f"#job-{number}")


def _is_shared(job: RankedJob) -> bool:
    """Whether another way is tied with the best one at some size."""
    return any(sum(rival.tied for rival in ranking.rivals[1:]) for ranking in job.rankings)


def _worst(job: RankedJob) -> Rival | None:
    rivals = [rival for ranking in job.rankings for rival in ranking.rivals if not rival.tied]
    return max(rivals, key=lambda rival: rival.ratio.low, default=None)


def _departures(report: Answers) -> Iterator[Highlight]:
    found = [
        (residual, number, growth.series.subject)
        for number, growth in enumerate(report.growths)
        if growth.follows and growth.series.family != LIMITS
        for residual in growth.residuals
        if residual.departs and residual.relative > -1
    ]
    found.sort(key=lambda row: -abs(math.log1p(row[0].relative)))
    for residual, number, subject in _first_of_each(found, lambda row: row[0].point.cell):
        sentence = f"`{brief(residual.point.cell)}`{_on(report, subject)}: {residual.why or 'unexplained'}."
        yield Highlight("off its law", units.signed_percent(residual.relative), sentence, f"#law-{number}")


def _steps(report: Answers) -> Iterator[Highlight]:
    found = [
        (change, track, history, number)
        for number, history in enumerate(report.histories)
        for track in history.tracks
        for change in track.changes
    ]
    found.sort(key=lambda row: (len(row[2].moments) - row[0].moment, -abs(math.log(row[0].ratio))))
    for change, track, history, number in _first_of_each(found, lambda row: row[1].cell):
        commit = history.moments[change.moment].commit
        on = f" on {history.machine}" if len(report.histories) > 1 else ""
        yield Highlight(
            units.direction(track.unit, grew=change.ratio > 1),
            units.ratio(max(change.ratio, 1 / change.ratio)),
            f"`{brief(track.cell)}`{on}, since `{commit.hash[:8]}` {commit.subject}".rstrip() + ".",
            f"#history-{number}",
        )


def _first_of_each(rows: Iterable[Row], name: Callable[[Row], str]) -> Iterator[Row]:
    """The first `OF_A_KIND` rows of different benchmarks, since the sizes of one benchmark are similar."""
    found = dict[str, Row]()
    for row in rows:
        found.setdefault(name(row).split("(")[0], row)
    return islice(found.values(), OF_A_KIND)


def _left_out(report: Answers) -> Iterator[Highlight]:
    if report.left_out:
        first, *others = report.left_out
        more = f", and {len(others)} more" if others else ""
        source = first.source if " " in first.source else f"`{first.source}`"
        reason = textwrap.shorten(first.reason, LONGEST_REASON, placeholder=" ...")
        yield Highlight("left out", str(len(report.left_out)), f"{source}: {reason}{more}.", "#left-out")
