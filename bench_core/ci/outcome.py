"""What a gate found, as small as a comment needs it: the file that goes from the job that measures to what comments.

For the pull request of a fork, a second workflow reads this file, and nothing else of the first one. Its writer may be
hostile: it is bounded in size, read by its types, and each text in it is escaped where it is shown.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field, replace
from typing import Literal

from bench_core import codec, version
from bench_core.ci import event
from bench_core.errors import BenchCoreError, brief
from bench_core.records.gate import Asked, GateRecord, GateVerdict, JudgedCell, VerdictName
from bench_core.records.model import ModelSpec
from bench_core.report.gate import words
from bench_core.texts import line

LARGEST = 2**20
"""The most bytes of the file."""

SCHEMA: Literal["bench-core/ci/1"] = "bench-core/ci/1"

MOST_ROWS = 1_000
"""The most cells in the file. The most important ones come first."""

MOST_NOTES = 50
"""The most sentences about the whole gate."""

LONGEST = 1_000
"""The most characters of a text in the file."""

Kind = Literal["broken", "slower", "unknown", "failed", "faster", "passed"]
"""The groups of cells, the most important one first; see `bench_core.report.gate.words.Groups`."""

KINDS: tuple[Kind, ...] = ("broken", "slower", "unknown", "failed", "faster", "passed")


@dataclass(frozen=True)
class Row:
    """A cell.

    Attributes:
        change: the estimate with its interval, or a pass with its bound.
        base, head: the times or values; "" if nothing was measured.
        why: why it is slower, if that is known; or why it has no verdict.
        is_timed: whether it is a time; else it is a size or a tracked value.
    """

    kind: Kind
    name: str
    change: str
    base: str
    head: str
    why: str
    is_timed: bool = field(default=True, metadata={codec.LATER: True})


@dataclass(frozen=True)
class Outcome:
    """What a gate found.

    Attributes:
        tool: the version of bench_core.
        suite: the configuration of the suite, as given to the action; "" for the usual one.
        verdict: the verdict of the gate; ``error`` also if it could not run.
        exit_code: that of the gate.
        reason: the verdict in one sentence.
        base, head: the full hashes of the two commits.
        seconds: how long the gate took.
        rows: cells, at most `MOST_ROWS`.
        counts: the number of cells of each kind, in the order of `KINDS`.
        unaffected: the number of cells that the change cannot reach.
        notes: the sentences about the whole gate.
        job: the name of the job in the workflow's matrix; "" for the only one.
        model: the model that the gate was on; None if it was on the suite.
        bench: the regular expression that selected the cells; "" for all.
        asked: what else the gate was asked for.
    """

    schema: Literal["bench-core/ci/1"]
    tool: str
    suite: str
    verdict: VerdictName
    exit_code: int
    reason: str
    base: str
    head: str
    seconds: float
    rows: tuple[Row, ...]
    counts: tuple[int, ...]
    unaffected: int
    notes: tuple[str, ...]
    job: str = field(default="", metadata={codec.LATER: True})
    model: ModelSpec | None = field(default=None, metadata={codec.LATER: True})
    bench: str = field(default="", metadata={codec.LATER: True})
    asked: Asked = field(default=Asked(), metadata={codec.LATER: True})

    def of(self, *kinds: Kind) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.kind in kinds)

    def count(self, kind: Kind) -> int:
        return self.counts[KINDS.index(kind)]


def not_run(suite: str, base: str, head: str, exit_code: int, reason: str) -> Outcome:
    """The outcome of a gate that has no result."""
    counts = (0,) * len(KINDS)
    return Outcome(
        SCHEMA, version(), _text(suite), "error", exit_code, _text(reason), base, head, 0.0, (), counts, 0, ()
    )


def outcome(suite: str, base: str, head: str, exit_code: int, record: GateRecord, verdict: GateVerdict) -> Outcome:
    """The outcome of a gate."""
    found = words.grouped(verdict.cells)
    because = {one.cell: one.sentence for one in record.causes}
    groups: dict[Kind, tuple[JudgedCell, ...]] = {
        "broken": found.broken,
        "slower": found.slower,
        "unknown": (*found.unknown, *found.unreached),
        "failed": found.failed,
        "faster": found.faster,
        "passed": found.passed,
    }
    rows = (
        _row(kind, cell, because.get(cell.name, ""), record.reached.get(cell.name, ""))
        for kind in KINDS
        for cell in groups[kind]
    )
    return Outcome(
        schema=SCHEMA,
        tool=version(),
        suite=_text(suite),
        verdict=verdict.verdict,
        exit_code=exit_code,
        reason=_text(record.identical or words.headline(verdict)),
        base=base,
        head=head,
        seconds=record.seconds,
        rows=tuple(itertools.islice(rows, MOST_ROWS)),
        counts=tuple(len(groups[kind]) for kind in KINDS),
        unaffected=len(record.unaffected),
        notes=tuple(_text(note.strip()) for note in itertools.islice(words.closing(record, verdict, None), MOST_NOTES)),
        asked=record.asked,
    )


def _row(kind: Kind, cell: JudgedCell, cause: str, reached: str) -> Row:
    """A cell. `reached` is through what the change reaches it, as the rest of a sentence."""
    is_measured = bool(cell.evidence.effects)
    base, head = words.times(cell) if is_measured else ("", "")
    why = cause or (cell.judgement.reason if kind in ("broken", "unknown", "failed") else "")
    if reached and kind in ("broken", "slower"):
        why = f"{f'{why}. ' if why else ''}The change reaches this cell: it {reached}."
    change = words.change(cell) if is_measured else ""
    return Row(kind, brief(cell.name), change, _text(base), _text(head), _text(why), cell.evidence.is_timed)


def _text(text: str) -> str:
    return line(text, LONGEST)


def to_bytes(found: Outcome) -> bytes:
    """The content of the file. Cells are left out from the end until it is small enough."""
    while len(content := json.dumps(codec.to_json(found), allow_nan=False).encode()) > LARGEST and found.rows:
        found = replace(found, rows=found.rows[: len(found.rows) // 2], notes=found.notes[:10])
    return content


def from_bytes(content: bytes) -> Outcome:
    """The inverse of `to_bytes`, for content that anyone may have written.

    Raises:
        BenchCoreError: if it is not what `to_bytes` writes.
    """
    try:
        if len(content) > LARGEST:
            raise ValueError(f"it has {len(content):,} bytes, of at most {LARGEST:,}")
        found = codec.from_json(Outcome, json.loads(content))
        _require_bounds(found)
    except (ValueError, RecursionError) as error:
        raise BenchCoreError(
            f"the file of the job that measured is not one of bench-core: {line(str(error), 300)}."
        ) from error
    return found


def _require_bounds(found: Outcome) -> None:
    """Raises ValueError if something has more, or other, values than this module writes."""
    event.sha(found.base)
    event.sha(found.head)
    if len(found.rows) > MOST_ROWS or len(found.notes) > MOST_NOTES or len(found.counts) != len(KINDS):
        raise ValueError("it has more entries than a gate gives")
    if any(not 0 <= number < 10**9 for number in (*found.counts, found.unaffected)):
        raise ValueError("a count is none")
    if len(found.asked.handed_on) > MOST_NOTES or not -1_000 < (found.asked.lanes or 0) < 10**9:
        raise ValueError("what was asked for is no gate's")
    if not 0 <= found.seconds < 10**9 or not -1_000 < found.exit_code < 1_000:
        raise ValueError("its time or its exit code is none")
    texts = [found.tool, found.suite, found.job, found.bench, found.reason, *found.notes]
    texts += [] if found.model is None else found.model.options
    texts += found.asked.options
    texts += [text for row in found.rows for text in (row.name, row.change, row.base, row.head, row.why)]
    if any(len(text) > LONGEST for text in texts):
        raise ValueError(f"a text has more than {LONGEST:,} characters")
