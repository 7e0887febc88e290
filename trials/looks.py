"""After how many pairs recorded cells would have been decided, by two rules for a pass: a bound of 99 % for each cell
by itself, as today; and a bound that shares the error rate with all cells, as for regressions.

A recorded cell has no more pairs once its own gate had decided it. So a rule that decides sooner is judged on what it
would have seen. A rule that decides later would at most have found the cell undecided.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from bench_core.gate.judge.rule import Rule, cell_rule
from bench_core.gate.judge.sequence import judge_sequence
from bench_core.records.gate import TIMED, GateSettings
from trials.files import Line


@dataclass(frozen=True)
class Recorded:
    """The effects of one cell in one gate.

    Attributes:
        drawn: the parent and the log ratio of each pair, in order.
        family: the number of timed cells in the gate.
        planted: the slowdown that was planted in it, as a ratio less 1.
    """

    name: str
    drawn: tuple[tuple[int, float], ...]
    family: int
    planted: float = 0.0


@dataclass(frozen=True)
class Ended:
    """Where a cell ended.

    Attributes:
        pairs: the number of pairs until it was decided; all of them if it was not.
    """

    pairs: int
    verdict: str
    decided: bool


def recorded(line: Line) -> list[Recorded]:
    """The timed cells of a gate without an error."""
    timed = {name: cell for name, cell in line["cells"].items() if cell["kind"] in TIMED}
    return [
        Recorded(
            name,
            tuple((parent, log) for log, parent, *_ in cell["effects"]),
            len(timed),
            line.get("percent", 0) / 100 if name in line.get("planted", ()) else 0.0,
        )
        for name, cell in timed.items()
        if cell["error"] is None and all(log is not None for log, *_ in cell["effects"])
    ]


def ended(cell: Recorded, rule: Rule) -> Ended:
    """The first look at which the cell is decided, or else the last."""
    judged = judge_sequence((), rule)
    for pairs in range(1, len(cell.drawn) + 1):
        judged = judge_sequence(cell.drawn[:pairs], rule)
        if judged.decided:
            return Ended(pairs, judged.verdict, decided=True)
    return Ended(len(cell.drawn), judged.verdict, decided=False)


def rules(family: int) -> dict[str, Rule]:
    """Today's rule, and the one in which passes share the error rate."""
    own = cell_rule(GateSettings(), family)
    return {"a pass by itself": own, "a pass for the family": replace(own, pass_error=own.error)}


def told(what: str, cells: Sequence[Recorded]) -> Iterator[str]:
    """A line for each rule."""
    for name in rules(1):
        ends = [ended(cell, rules(cell.family)[name]) for cell in cells]
        verdicts = Counter(end.verdict for end in ends)
        counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in sorted(verdicts))
        yield f"  {what}, {name}: {statistics.fmean(end.pairs for end in ends):.1f} pairs a cell, {counts}"


def groups(lines: Iterable[Line]) -> dict[str, list[Recorded]]:
    """The cells of A/A gates by what the other core did, and those of gates with known slowdowns by their size."""
    found: dict[str, list[Recorded]] = {}
    for line in lines:
        for cell in recorded(line):
            if "busy" in line:
                what = f"no change, other core {'busy' if line['busy'] else 'idle'}"
            else:
                what = f"{100 * cell.planted:+.0f} %" if cell.planted else "beside known slowdowns"
            found.setdefault(what, []).append(cell)
    return found
