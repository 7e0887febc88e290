"""A report as Markdown for people, as JSON for scripts (docs/report-json.md) and as CSV for spreadsheets."""

from __future__ import annotations

import csv as csv_format
import io
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from bench_core import tables, units
from bench_core.analysis.series import axes, quantity
from bench_core.errors import brief
from bench_core.records.report import (
    Answers,
    Crossing,
    Growth,
    Limit,
    Measured,
    Moment,
    Ranking,
    Subject,
    Track,
    TrustedRun,
)
from bench_core.records.results import CellResult
from bench_core.records.run import Interval
from bench_core.report.table import described
from bench_core.texts import code, field, line, link, plain, prose

SCHEMA = 2
"""The version of the JSON format. It is raised when a key is removed or changes its meaning, not for new keys."""

LONGEST = 30
"""The most rows of a list in Markdown that is sorted by importance. The CSV has all rows."""


def markdown(report: Answers) -> str:
    """The report as a page, in the order of its questions."""
    parts = (
        _head(report),
        _cost(report),
        _limits(report),
        _growth(report),
        _idioms(report),
        _crossings(report),
        _history(report),
        _trust(report),
        _left_out(report),
    )
    return "\n".join(line for part in parts for line in part)


def _head(report: Answers) -> Iterator[str]:
    yield "# What parameter operations cost"
    yield ""
    yield f"Made {report.date} by bench_core {report.version}."
    if report.published:
        yield f"asv's own pages of the same results: <{report.published}>."
    yield ""
    for subject in report.subjects:
        failed = (
            f"; {len(subject.failed)} failed: {', '.join(code(brief(name)) for name in subject.failed)}"
            if subject.failed
            else ""
        )
        machine = plain(described(subject.description))
        yield f"- **{plain(subject.name)}**: {machine}; {len(subject.cells)} cells{failed}"
    yield ""


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: int) -> Iterator[str]:
    """A table whose last `numbers` columns are aligned to the right."""
    yield from tables.markdown("l" * (len(headings) - numbers) + "r" * numbers, headings, rows)
    yield ""


def _several(report: Answers) -> bool:
    return len(report.subjects) > 1


def _cost(report: Answers) -> Iterator[str]:
    yield from (
        "## Cost",
        "",
        "The time of a call, with half its 99 % interval. Memory and tracked values were measured once.",
        "",
    )
    by_family: dict[str, dict[str, list[tuple[str, CellResult]]]] = {}
    for subject in report.subjects:
        for measured in subject.cells.values():
            cell = measured.cell
            by_family.setdefault(cell.family, {}).setdefault(cell.benchmark, []).append((subject.name, cell))
    for family, benchmarks in sorted(by_family.items()):
        yield from (f"### {plain(family)}", "")
        for benchmark, cells in sorted(benchmarks.items()):
            yield from _benchmark(benchmark, cells, several=_several(report))


def _benchmark(benchmark: str, cells: Sequence[tuple[str, CellResult]], *, several: bool) -> Iterator[str]:
    """A row for each operation, with its sizes side by side."""
    axis = _widest([cell for _, cell in cells])
    labels = sorted({cell.params[axis] for _, cell in cells}, key=lambda label: quantity(label) or 0) if axis else [""]
    rows: dict[tuple[str, ...], dict[str, CellResult]] = {}
    for subject, cell in cells:
        fixed = [value for name, value in cell.params.items() if name != axis]
        key = (subject, *fixed) if several else tuple(fixed)
        rows.setdefault(key, {})[cell.params[axis] if axis else ""] = cell
    yield f"**{plain(benchmark.split('.', 1)[-1])}**{f' by {plain(axis)}' if axis else ''}"
    yield ""
    yield from _table(
        ["", *([plain(brief(label)) for label in labels] if axis else ["value"])],
        (
            [plain(brief(", ".join(key))), *(_figure(found[label]) if label in found else "" for label in labels)]
            for key, found in rows.items()
        ),
        len(labels),
    )


def _widest(cells: Sequence[CellResult]) -> str:
    """The parameter with the most values, among those that are quantities; the last one of several."""
    return max(
        reversed(axes(cells)),
        key=lambda name: len({cell.params[name] for cell in cells if name in cell.params}),
        default="",
    )


def _figure(cell: CellResult) -> str:
    sure = f" {units.uncertainty(cell.value)}" if cell.value.known else ""
    return plain(units.value(cell.value.middle, cell.unit)) + sure


_BOUNDS = {
    "memory": ("Bytes per second, compared with the fastest plain way to move as many.", "GB/s"),
    "generator": ("Random numbers per second, compared with the fastest generator.", "1e9/s"),
    "interpreter": ("Items per second, compared with an empty Python loop of the same length.", "1e6/s"),
}


def _limits(report: Answers) -> Iterator[str]:
    if not report.limits:
        return
    yield from ("## Limits", "")
    for bound, (what, unit) in _BOUNDS.items():
        found = sorted((each for each in report.limits if each.bound == bound), key=lambda each: each.share.middle)
        if not found:
            continue
        yield from (f"### {bound.capitalize()}", "", f"{what} The farthest from the limit first.", "")
        scale = {"GB/s": 1e9, "1e9/s": 1e9, "1e6/s": 1e6}[unit]
        yield from _table(
            ["cell", "level", "yardstick", unit, "ceiling", "share", "to gain a call"],
            (
                [
                    _cell(report, each.subject, each.cell),
                    plain(each.level),
                    code(each.yardstick),
                    units.digits(each.achieved / scale),
                    units.digits(each.ceiling / scale),
                    _share(each.share),
                    units.time(each.to_gain) if each.to_gain > 0 else "",
                ]
                for each in found[:LONGEST]
            ),
            4,
        )
        yield from _more(len(found))


def _more(count: int) -> Iterator[str]:
    if count > LONGEST:
        yield from (f"And {count - LONGEST} more: `bench-core report --format csv` has them all.", "")


def _share(share: Interval) -> str:
    ends = f" ({100 * share.low:.0f} … {100 * share.high:.0f})" if share.known else ""
    return f"{units.share(share.middle)}{ends}"


def _cell(report: Answers, subject: str, cell: str) -> str:
    return code(brief(cell)) + (f" on {plain(subject)}" if _several(report) else "")


def _growth(report: Answers) -> Iterator[str]:
    if not report.growths:
        return
    yield from ("## Growth", "", "The fixed cost of a call, and the cost per element, module, or other unit.", "")
    for benchmark, found in itertools.groupby(report.growths, key=lambda growth: growth.series.benchmark):
        yield from (f"**{plain(benchmark)}**", "")
        for growth in found:
            line = growth.series
            names = [line.subject] if _several(report) else []
            names += [line.label] if line.label else []
            yield f"- {plain(', '.join([*names, f'by {line.axis}']))}: {plain(growth.sentence)}"
        yield ""


def _idioms(report: Answers) -> Iterator[str]:
    if not report.jobs:
        return
    yield from (
        "## Fastest ways",
        "",
        "Ratios to the best way at each size. `=` marks a way that cannot be told from it, `unties` one that leaves "
        "tied parameters untied and so does less work. Tracked values are not ranked, since whether less of them is "
        "better is not declared.",
        "",
    )
    for job in report.jobs:
        fixed = ", ".join(job.fixed.values())
        on = f" on {plain(job.subject)}" if _several(report) else ""
        yield from (f"**{plain(job.benchmark)}**{f' ({plain(fixed)})' if fixed else ''}{on}: {prose(job.advice)}", "")
        yield from (f"- the best way changes: {plain(flip)}" for flip in job.flips)
        if job.flips:
            yield ""
        names = list(dict.fromkeys(rival.name for ranking in job.rankings for rival in ranking.rivals))
        yield from _table(
            [plain(job.rivals), *(plain(ranking.label) or "over the best" for ranking in job.rankings)],
            ([plain(name), *(_over_best(ranking, name) for ranking in job.rankings)] for name in names),
            len(job.rankings),
        )


def _over_best(ranking: Ranking, name: str) -> str:
    rival = next((rival for rival in ranking.rivals if rival.name == name), None)
    if rival is None:
        return ""
    return f"{units.ratio(rival.ratio.middle)}{' =' if rival.tied else ''}{' unties' if rival.unties else ''}"


def _crossings(report: Answers) -> Iterator[str]:
    if not report.crossings:
        return
    yield from ("## Crossovers", "")
    for crossing in report.crossings:
        fixed = ", ".join(crossing.fixed.values())
        on = f" on {plain(crossing.subject)}" if _several(report) else ""
        ratios = ", ".join(f"{label} {units.ratio(found.middle)}" for label, _, found in crossing.ratios)
        name = f"**{plain(crossing.benchmark)}**{f' ({plain(fixed)})' if fixed else ''}{on}"
        over = f"{plain(crossing.second)} over {plain(crossing.first)}: {plain(ratios)}"
        yield f"- {name}: {prose(crossing.sentence)} {over}."
    yield ""


def _history(report: Answers) -> Iterator[str]:
    if not report.histories and not report.accepted:
        return
    yield from ("## History", "")
    for history in report.histories:
        yield from (f"### {plain(history.machine)}", "")
        steps: dict[int, list[tuple[str, float]]] = {}
        for track in history.tracks:
            for change in track.changes:
                steps.setdefault(change.moment, []).append((track.cell, change.ratio))
        yield from _table(
            ["commit", "date", "what", "torch", "gates", "steps"],
            (
                [
                    _commit(moment),
                    moment.commit.date[:10],
                    plain(moment.commit.subject),
                    plain(moment.torch) + (f" (from {plain(moment.upgraded)})" if moment.upgraded else ""),
                    "; ".join(plain(f"{verdict} against {base}") for base, verdict, _ in moment.verdicts),
                    str(len(steps.get(index, ()))),
                ]
                for index, moment in enumerate(history.moments)
            ),
            1,
        )
        found = sorted(
            ((cell, ratio, index) for index, here in steps.items() for cell, ratio in here),
            key=lambda step: -abs(math.log(step[1])),
        )
        if found:
            yield from _table(
                ["step in", "at", "level after / before"],
                (
                    [code(brief(cell)), _commit(history.moments[index]), units.ratio(ratio)]
                    for cell, ratio, index in found[:LONGEST]
                ),
                1,
            )
            yield from _more(len(found))
        yield from (plain(history.method), "")
    if report.accepted:
        yield from ("### Accepted regressions", "")
        rows = [
            [
                one.date[:10],
                f"{one.pull_request}",
                code(one.merged[:8]),
                plain(f"{one.by} ({one.label})"),
                "; ".join(code(cell) for cell in one.cells),
            ]
            for one in reversed(report.accepted)
        ]
        yield from _table(["date", "pull request", "commit", "accepted by", "cells"], rows, 0)


def _commit(moment: Moment) -> str:
    return link(moment.commit.hash[:8], moment.link)


def _trust(report: Answers) -> Iterator[str]:
    yield from ("## Trust", "")
    for trust in report.trust:
        yield from (f"### {plain(trust.subject)}", "")
        low, middle, high = (f"±{units.percent(half, 1)}" for half in trust.noise)
        cells = trust.known + trust.unknown
        if trust.known:
            yield (
                f"- Half of the {trust.known} values with an interval are known to within {middle} (quartiles {low} "
                f"and {high}, of 99 % intervals). Uncertain by over 10 %: {len(trust.unsure)}."
            )
        if trust.unknown:
            yield f"- {trust.unknown} of {cells} values have no interval, so their uncertainty is unknown."
        if trust.controls is not None and trust.controls.controls:
            tally = trust.controls
            yield (
                f"- {tally.rejected} of {units.plural(tally.controls, 'control')} found base to differ from itself, in "
                f"{units.plural(tally.gates, 'gate')} on this machine (95 % bounds: "
                f"{units.bounds(tally.low, tally.high)})."
            )
        for run in trust.runs:
            yield f"- {run.cells} of {cells} cells in {_run(run)}"
            yield from (
                f"  - {plain(level)}: {plain(what)} {plain(action)}" for level, what, action in run.doctor or ()
            )
        yield from (f"- {prose(sentence)}" for sentence in trust.method)
        yield ""
    for tried in report.tried:
        yield from (f"### Trials of the gate on {plain(tried.machine)}", "")
        for trial in tried.trials:
            yield from (f"{prose(trial.title)} ({code(trial.command)}, {plain(trial.date)}):", "")
            yield from _table(
                ["figure", "value", "bounds, 95 %"],
                ([plain(each.what), plain(each.value), units.bounds(each.low, each.high)] for each in trial.figures),
                2,
            )
    example = next((each for subject in report.subjects for each in subject.cells.values()), None)
    if example is not None:
        yield from ("To measure a cell again, for example:", "", f"    {line(example.reproduce)}", "")


def _run(found: TrustedRun) -> str:
    of = f"commit {code(found.commit[:8])}" if found.commit else "of no commit"
    when = f"the run of {found.run.began[:16].replace('T', ' ')} UTC" if found.run.began else "a run without a date"
    if found.doctor is None:
        said = "the findings of `bench-core doctor` were not stored."
    else:
        said = "`bench-core doctor` found:" if found.doctor else "`bench-core doctor` found nothing."
    return f"{when}, {of}: {said}"


def _left_out(report: Answers) -> Iterator[str]:
    if not report.left_out:
        return
    yield from ("## Left out", "")
    yield from (f"- {code(each.source)}: {plain(each.reason)}" for each in report.left_out)
    yield ""


def to_json(report: Answers) -> dict[str, Any]:
    """The content of the JSON file. NaN and infinity become null."""
    found: dict[str, Any] = _kept(report)
    return {"schema": f"bench-core/report/{SCHEMA}", **found}


def _kept(found: Any) -> Any:
    if isinstance(found, Subject):
        return {**_fields(found, "cells"), "cells": [_measured(name, each) for name, each in found.cells.items()]}
    if isinstance(found, Growth):  # the series has an entry of its own, with the points
        line = found.series
        names = {name: getattr(line, name) for name in ("subject", "benchmark", "fixed", "axis", "counts")}
        residuals = [{"cell": each.point.cell, "n": each.point.n, **_fields(each, "point")} for each in found.residuals]
        return {"series": _kept(names), **_fields(found, "series", "residuals"), "residuals": residuals}
    if isinstance(found, Crossing):
        ratios = [{"label": label, "n": n, "ratio": _kept(ratio)} for label, n, ratio in found.ratios]
        return {**_fields(found, "ratios"), "ratios": ratios}
    if isinstance(found, Track):  # a thousand of them with fifty values each
        values = [[moment, *_kept([each.low, each.middle, each.high])] for moment, each in found.values]
        return {**_fields(found, "values"), "values": values}
    if is_dataclass(found) and not isinstance(found, type):
        return _fields(found)
    if isinstance(found, Mapping):
        return {str(name): _kept(each) for name, each in found.items()}
    if isinstance(found, tuple | list):
        return [_kept(each) for each in found]
    if isinstance(found, float) and not math.isfinite(found):
        return None
    return found


def _fields(record: Any, *without: str) -> dict[str, Any]:
    return {each.name: _kept(getattr(record, each.name)) for each in fields(record) if each.name not in without}


def _measured(name: str, found: Measured) -> dict[str, Any]:
    """A cell with everything that is stored about it, in one object."""
    protocol = "asv" if found.cell.rounds is None else "rounds"
    return {"name": name, "protocol": protocol, **_fields(found.cell, "begun", "rounds"), **_fields(found, "cell")}


_COLUMNS = (
    *("subject", "cell", "family", "benchmark", "params", "kind", "unit", "low", "value", "high", "samples", "number"),
    *("bound", "level", "achieved", "ceiling", "share_low", "share", "share_high", "to_gain", "yardstick"),
    *("over_best_low", "over_best", "over_best_high", "tied", "unties", "commit", "date", "reproduce"),
)


def csv(report: Answers) -> str:
    """The CSV file: a row for each cell of each subject. A field without a value is empty."""
    limits = {(limit.subject, limit.cell): limit for limit in report.limits}
    rivals = {
        (job.subject, rival.cell): rival for job in report.jobs for ranking in job.rankings for rival in ranking.rivals
    }
    out = io.StringIO()
    writer = csv_format.DictWriter(out, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for subject in report.subjects:
        for name, measured in subject.cells.items():
            key = (subject.name, name)
            row = {"subject": subject.name, "cell": name, **_row(measured), **_limit_row(limits.get(key))}
            if key in rivals:
                rival = rivals[key]
                row |= _ends("over_best", rival.ratio) | {"tied": rival.tied, "unties": rival.unties}
            writer.writerow({column: field(each) for column, each in row.items()})
    return out.getvalue()


def _row(measured: Measured) -> dict[str, Any]:
    cell = measured.cell
    return {
        "family": cell.family,
        "benchmark": cell.benchmark,
        "params": "; ".join(f"{name}={each}" for name, each in cell.params.items()),
        "kind": cell.kind,
        "unit": cell.unit,
        "low": cell.value.low,
        "value": cell.value.middle,
        "high": cell.value.high,
        "samples": cell.samples,
        "number": cell.number,
        "commit": measured.commit or "",
        "date": measured.date,
        "reproduce": measured.reproduce,
    }


def _limit_row(limit: Limit | None) -> dict[str, Any]:
    if limit is None:
        return {}
    own = {name: getattr(limit, name) for name in ("bound", "level", "achieved", "ceiling", "to_gain", "yardstick")}
    return own | _ends("share", limit.share)


def _ends(name: str, found: Interval) -> dict[str, float]:
    return {f"{name}_low": found.low, name: found.middle, f"{name}_high": found.high}
