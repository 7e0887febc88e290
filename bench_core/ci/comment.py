"""The comment on a pull request: created once, and edited from then on."""

from __future__ import annotations

import hashlib
import html
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench_core import codec, units
from bench_core.asv_config import USUAL, naming
from bench_core.ci.acceptance import Acceptance
from bench_core.ci.github import Api, ApiError
from bench_core.ci.outcome import KINDS, Kind, Outcome, Row
from bench_core.ci.shown import code, prose
from bench_core.ci.status import Status, can_be_accepted, is_of_no_cell, status
from bench_core.errors import BenchCoreError
from bench_core.records.gate import Asked
from bench_core.report.gate.words import LONGEST as FEWEST
from bench_core.report.gate.words import reproducing
from bench_core.texts import line

BOT = "github-actions[bot]"
"""Who writes with the token of a workflow."""

LARGEST = 60_000
"""The most characters of a comment. GitHub refuses more than 65,536."""

LARGEST_PAGE = 5_000_000
"""The most characters of the tables of a page."""

MOST = 20
"""The most comments on a pull request. The run of a fork names its suites and its jobs itself, and could name others at
each push."""

ROOM = 8_000
"""The characters of a comment that its tables leave for what follows them."""

LEAST = 8
"""The characters of a hash that are shown."""

RED: tuple[Kind, ...] = ("broken", "slower")
OTHERS: tuple[Kind, ...] = ("unknown", "failed", "faster", "passed")

WORDS: dict[Kind, str] = {
    "broken": "fails with head only",
    "unknown": "inconclusive",
    "failed": "not compared",
    "passed": "pass",
}
"""What cells are. For the other kinds see `_word`."""


@dataclass(frozen=True)
class Circumstances:
    """What a comment says besides the outcome. All of it comes from GitHub and the workflow, and not from the job that
    measures.

    Attributes:
        run: the address of the run that measured; "" if unknown.
        accepted: who has accepted the regression.
        refused: why a label does not count; "" if none is there, or it counts.
        label: the name of the label that accepts a regression; "" if none does.
        is_fork: whether the code of a stranger was measured.
        changed: files of the pull request that decide how it is measured.
    """

    run: str = ""
    accepted: Acceptance | None = None
    refused: str = ""
    label: str = ""
    is_fork: bool = False
    changed: tuple[str, ...] = ()


MARKER = "<!-- bench-core gate "
"""How the first line of each comment begins."""


def marker(suite: str, job: str = "", of: Sequence[str] = ()) -> str:
    """The first line of a comment, by which it is found again. Each suite, each model or choice of cells (`of`, as
    options of the gate), and each job of a matrix, has a comment of its own: jobs end at the same time, and GitHub
    cannot edit a comment on the condition that nobody else has."""
    named = "\0".join([suite, *([job] if job or of else []), *of])
    return f"{MARKER}{hashlib.sha256(named.encode(errors='surrogatepass')).hexdigest()[:16]} -->"


def _of(found: Outcome) -> list[str]:
    """The options that name the model of a gate; none for a gate on the suite."""
    return [] if found.model is None else found.model.options


def _chosen(found: Outcome) -> list[str]:
    """The options that choose among the cells."""
    return ["--bench", found.bench] if found.bench else []


def body(found: Outcome, about: Circumstances) -> str:
    """The text of the comment: lines of HTML, none of them blank."""
    result = status(found, about.accepted)
    lines = [marker(found.suite, found.job, [*_of(found), *_chosen(found)])]
    if about.accepted is not None and can_be_accepted(found):
        lines.append(stored(Accepted.of(found, about.accepted)))
    lines += _head(found, about, result)
    lines += _table(found, RED, FEWEST)
    lines += _accepting(found, about)
    ending = [*_local(found, about), *_measured(found), *_foot(found, about)]
    left = LARGEST - sum(len(one) + 1 for one in (*lines, *ending)) - ROOM
    others = found.of(*OTHERS)
    if others and left > 0:
        counted = (f"{found.count(kind):,} {_word(kind, found.of(kind))}" for kind in OTHERS if found.count(kind))
        title = f"{units.plural(sum(map(found.count, OTHERS)), 'other cell')}: {', '.join(counted)}"
        lines += [f"<details><summary>{title}</summary>", *_table(found, OTHERS, len(others), left), "</details>"]
    return "\n".join([*lines, *ending]) + "\n"


def _head(found: Outcome, about: Circumstances, result: Status) -> Iterator[str]:
    what = found.suite if found.model is None else found.model.target
    chosen = [code(shlex.join(_chosen(found)))] * bool(found.bench)
    where = ", ".join([*[code(what)] * bool(what), *chosen, *[f"job {code(found.job)}"] * bool(found.job)])
    yield f"<h3>{result.mark} bench-core: {result.title}{f' in {where}' if where else ''}</h3>"
    if found.exit_code not in (0, 1, 3) or is_of_no_cell(found):
        yield f"<p>{prose(found.reason)}</p>"
    if about.accepted is not None and can_be_accepted(found):
        yield f"<p>{accepted_by(about.accepted)}</p>"
    if about.is_fork:
        yield (
            "<p>These figures were measured by a job that runs the code of this pull request, which can change them. "
            "Read the change before you rely on a green.</p>"
        )
    if about.changed:
        named = ", ".join(code(name) for name in about.changed[:FEWEST])
        more = f" and {len(about.changed) - FEWEST} more" if len(about.changed) > FEWEST else ""
        yield f"<p>⚠️ This pull request changes how it is measured: {named}{more}.</p>"


def accepted_by(one: Acceptance) -> str:
    """Who has accepted what, in HTML."""
    return (
        f"Accepted by <b>{html.escape(one.by)}</b> with the label {code(one.label)} on {one.date[:10]}, for commit "
        f"{code(one.commit[:LEAST])}."
    )


def whole(found: Outcome) -> str:
    """All cells of an outcome, as HTML for a page of its own."""
    about = Circumstances()
    lines = [*_head(found, about, status(found)), *_table(found, KINDS, len(found.rows), LARGEST_PAGE)]
    return "\n".join([*lines, *_local(found, about), *_measured(found), *_foot(found, about)]) + "\n"


def _table(found: Outcome, kinds: Sequence[Kind], most: int, room: int = LARGEST // 2) -> Iterator[str]:
    """A table of cells, and the number of those that do not fit."""
    rows = found.of(*kinds)
    if not rows:
        return
    yield "<table>"
    yield "<tr><th>cell</th><th>verdict</th><th>change</th><th>base</th><th>head</th></tr>"
    shown = 0
    for row in rows[:most]:
        lines = list(_row(row))
        room -= sum(len(one) + 1 for one in lines)
        if room < 0:
            break
        yield from lines
        shown += 1
    yield "</table>"
    if left := sum(map(found.count, kinds)) - shown:
        yield f"<p>and {left:,} more, in the summary of the job and its artifact</p>"


def _row(row: Row) -> Iterator[str]:
    # A value and its unit stay on one line.
    values = (prose(text, 60).replace(" ", "&nbsp;") for text in (row.change, row.base, row.head))
    fields = (code(row.name), _word(row.kind, [row]), *values)
    yield f"<tr>{''.join(f'<td>{field}</td>' for field in fields)}</tr>"
    if row.why:
        yield f'<tr><td colspan="5">{prose(row.why, 600)}</td></tr>'


def _word(kind: Kind, rows: Sequence[Row]) -> str:
    """What cells of this kind are: of a size or a tracked value, ``slower`` would be wrong."""
    are_times = (row.is_timed for row in rows)
    if kind == "slower":
        return units.slower_or_larger(are_times)
    return units.faster_or_smaller(are_times) if kind == "faster" else WORDS[kind]


def _accepting(found: Outcome, about: Circumstances) -> Iterator[str]:
    """How to accept a regression, or why the label does not count."""
    if about.accepted is not None or not about.label or not can_be_accepted(found):
        return
    if about.refused:
        yield f"<p>{prose(about.refused)}</p>"
    else:
        yield f"<p>If this is worth its price, the label {code(about.label)} accepts it for this commit.</p>"


def _asked(found: Outcome, about: Circumstances) -> Asked:
    """What a command that is run locally asks for. The run of a fork decides neither whether it is confined there, nor
    which variables it gets."""
    return replace(found.asked, isolated=True, handed_on=()) if about.is_fork else found.asked


def _local(found: Outcome, about: Circumstances) -> Iterator[str]:
    """What to run locally. The commands are made here, from hashes and quoted names."""
    words = ["bench-core", "gate", found.base[:12], found.head[:12], *_of(found), *_asked(found, about).options]
    words += naming(Path(found.suite or USUAL))
    names = [row.name for row in found.of(*RED) if line(row.name) == row.name][:5]
    commands = [f"{reproducing(shlex.join(words), name)} --explain" for name in names]
    commands = [f"git fetch origin {found.head}", *(commands or [shlex.join([*words, *_chosen(found)])])]
    yield "<details><summary>Run it locally</summary>"
    yield "<p>This runs the code of the pull request.</p>"
    yield f"<pre>{'&#10;'.join(html.escape(line(one, 1_000)) for one in commands)}</pre>"
    yield "</details>"


def _measured(found: Outcome) -> Iterator[str]:
    if not found.notes:
        return
    yield "<details><summary>How it was measured</summary>"
    yield f"<ul>{''.join(f'<li>{prose(note)}</li>' for note in found.notes[:FEWEST])}</ul>"
    yield "</details>"


def _foot(found: Outcome, about: Circumstances) -> Iterator[str]:
    parts = [
        f"head {code(found.head[:LEAST])} against base {code(found.base[:LEAST])}",
        *([units.time(found.seconds)] if found.seconds else []),
        *([f"{found.unaffected:,} cells that this change cannot reach"] if found.unaffected else []),
        *([f'<a href="{html.escape(about.run)}">the run</a>'] if about.run else []),
        f"bench-core {prose(found.tool, 40)}",
    ]
    yield f"<p><sub>{', '.join(parts)}</sub></p>"


@dataclass(frozen=True)
class AcceptedCell:
    name: str
    change: str


@dataclass(frozen=True)
class Accepted:
    """What is kept of an accepted regression, in the comment and then in the history.

    Attributes:
        by, date, label, commit: see `Acceptance`.
        base: the full hash of the commit that it was compared with.
        cells: the cells that are slower, at most 20.
    """

    by: str
    date: str
    label: str
    commit: str
    base: str
    cells: tuple[AcceptedCell, ...]

    @classmethod
    def of(cls, found: Outcome, one: Acceptance) -> Accepted:
        slower = tuple(AcceptedCell(line(row.name, 200), line(row.change, 100)) for row in found.of("slower"))
        return cls(one.by, one.date, one.label, one.commit, found.base, slower[:FEWEST])


_STORED = re.compile(r"<!-- bench-core accepted (\{[^<>]*\}) -->")


def stored(accepted: Accepted) -> str:
    """It as a line of a comment that GitHub does not show. No text in it can end that line."""
    text = json.dumps(codec.to_json(accepted), allow_nan=False)
    for sign in "<>-&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f"<!-- bench-core accepted {text} -->"


def read_stored(text: str) -> Accepted | None:
    """What `stored` has written into the second line of a comment; None if there is nothing, or it is damaged."""
    first, *rest = text.splitlines()[:2] or [""]
    found = _STORED.fullmatch(rest[0]) if rest and first.startswith(MARKER) else None
    if found is None:
        return None
    try:
        return codec.from_json(Accepted, json.loads(found[1]))
    except ValueError:
        return None


def own(api: Api, number: int, author: str = BOT) -> Iterator[tuple[int, str]]:
    """The comments of a bot on a pull request: the id and the text of each. Others may copy the marker, so who wrote a
    comment decides."""
    for one in api.listed(f"issues/{number}/comments"):
        user = one.get("user") or {}
        if user.get("login") == author and user.get("type") == "Bot" and isinstance(one.get("id"), int):
            yield one["id"], str(one.get("body") or "")


def put(api: Api, number: int, text: str, *, create: bool = True, author: str = BOT) -> str:
    """Edit the comment on a pull request, or create it if it is missing and `create` is set.

    Returns:
        What was done: ``edited``, ``created``, ``unchanged`` or ``none``.

    Raises:
        ApiError: if GitHub refuses, or the pull request has `MOST` other comments of this kind.
    """
    first = text.splitlines()[0]
    ours = 0
    for known, before in own(api, number, author):
        ours += before.startswith(MARKER)
        if before.splitlines()[:1] == [first]:
            if before.strip() == text.strip():
                return "unchanged"
            api.send("PATCH", f"issues/comments/{known}", {"body": text})
            return "edited"
    if not create:
        return "none"
    if ours >= MOST:
        raise ApiError(f"the pull request has {ours} comments of bench-core, and gets no more.")
    api.send("POST", f"issues/{number}/comments", {"body": text})
    return "created"


WHEN = ("always", "changes", "never")
"""The values of the input `comment`: on each pull request, on those whose gate is not a plain pass, or on none."""


def creates(when: str, found: Outcome) -> bool:
    """Whether a comment is created if there is none.

    Raises:
        BenchCoreError: if the input `comment` has another value than those of `WHEN`.
    """
    if when not in WHEN:
        raise BenchCoreError(f"the input comment is {when!r}, and not one of {', '.join(WHEN)}.")
    plain = found.exit_code == 0 and found.verdict == "pass"
    return when == "always" or (when == "changes" and not plain)
