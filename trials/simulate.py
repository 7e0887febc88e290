"""Simulates gates from the pairs of recorded A/A gates: how often a gate finds a regression without a change, how often
it finds a slowdown, and how often the final intervals include the truth.

The recorded pairs are a selection: a real gate stops a cell once it is decided, so there are more pairs from gates in
which the cell scattered or looked slower. Pairs have two lengths: a noisy cell later gets longer ones, which scatter
less. They are drawn at the places where a gate would use them.

The rule is that of `bench_core.gate.judge.cell.judge_cell`, after every pair, for many gates at once.
tests/trials/test_simulate.py compares the two.
"""

from __future__ import annotations

import functools
import json
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench_core.errors import BenchCoreError
from bench_core.gate.judge import rule as rules
from bench_core.gate.judge import sequence
from bench_core.gate.judge.rule import Rule
from bench_core.records.gate import TIMED, GateSettings
from bench_core.statistics import confidence_sequence, intraclass_correlation, least_successes
from trials.files import of_one_protocol, raw, today, write_json

PLANTS = (0.02, 0.03, 0.05, 0.10)
"""The simulated slowdowns."""

SCATTERS = (0.01, 0.03)
"""The scatters of pairs, as standard deviations of log ratios, at which cells without a change are simulated."""

PAIRS = (9, 14, 20, 30)
"""The numbers of pairs that those cells get at most."""

SEED = 1

PERMUTATIONS = 1000
"""The default number of permutations of `bench_core.statistics.likeness_p`."""


@dataclass(frozen=True)
class Pool:
    """The log ratios of one cell's pairs, in a group for each parent.

    Attributes:
        short: those of pairs of the length that a gate begins with.
        long: those of longer pairs; empty if there are none.
    """

    short: list[list[float]]
    long: list[list[float]]


@dataclass(frozen=True)
class End:
    """The result of a cell: its verdict, the number of its pairs, its interval and the bound of a pass as log ratios,
    and whether it was decided."""

    verdict: str
    pairs: int
    low: float
    high: float
    at_most: float
    closed: bool = True


def outcome(low: float, middle: float, high: float, at_most: float, parents: int, rule: Rule) -> str:
    """The verdict on an interval and the bound of a pass by the rule of `judge_cell`. The ends must be in order."""
    if low > rule.floor:
        return "regression" if parents >= rules.MIN_PARENTS else "inconclusive"
    if high < -rule.floor:
        return "improvement"
    return "pass" if at_most < rule.limit and middle <= rule.floor else "inconclusive"


def sequences(logs: NDArray[np.float64], parents: NDArray[np.int64], rule: Rule) -> list[End]:
    """The results of cells with these effects, each at the pair where it is decided, or else at its last pair.

    Args:
        logs: a row for each cell, a column for each pair.
        parents: the number of each pair's parent, which never decreases in a row.
    """
    rows, most = logs.shape
    low, high, at_most = np.full(rows, -np.inf), np.full(rows, np.inf), np.full(rows, np.inf)
    begun = 1 + np.cumsum(np.diff(parents, axis=1, prepend=parents[:, :1]) != 0, axis=1)
    ends: list[End | None] = [None] * rows
    open_rows = np.arange(rows)
    for n in range(1, most + 1):
        successes, of_a_pass = least_successes(n, 1 / rule.error), least_successes(n, 1 / rule.pass_error)
        if successes is None and of_a_pass is None:
            continue
        ordered = np.sort(logs[open_rows, :n], axis=1)
        if successes is not None:
            low[open_rows] = np.maximum(low[open_rows], ordered[:, n - successes])
            high[open_rows] = np.minimum(high[open_rows], ordered[:, successes - 1])
        if of_a_pass is not None:
            at_most[open_rows] = np.minimum(at_most[open_rows], ordered[:, of_a_pass - 1])
        bounds_of_passes = np.maximum(at_most[open_rows], low[open_rows])
        middles = (ordered[:, (n - 1) // 2] + ordered[:, n // 2]) / 2
        bottom, top = bounds = np.sort(
            [low[open_rows], high[open_rows]], axis=0
        )  # sorted, since they exclude each other if the effect moved
        decided = (
            ((bottom > rule.floor) & (begun[open_rows, n - 1] >= rules.MIN_PARENTS))
            | (top < -rule.floor)
            | ((bounds_of_passes < rule.limit) & (np.abs(middles) <= rule.floor))
        )
        for row, middle, (least, greatest), bound in zip(
            open_rows[decided], middles[decided], bounds.T[decided], bounds_of_passes[decided], strict=True
        ):
            verdict = outcome(least, middle, greatest, bound, begun[row, n - 1], rule)
            found = End(verdict, n, least, greatest, bound)
            ends[row] = _by_parents(found, logs[row, :n], parents[row, :n], rule)
        closed = np.array([_closed(ends[row]) for row in open_rows], bool)
        open_rows = open_rows[~closed]
        if not len(open_rows):
            break
    middle = np.median(logs, axis=1)
    return [
        _unfinished(end, most, low[row], middle[row], high[row], at_most[row], begun[row, -1], rule)
        for row, end in enumerate(ends)
    ]


def _closed(end: End | None) -> bool:
    return end is not None and end.closed


def _unfinished(
    end: End | None, most: int, low: float, middle: float, high: float, at_most: float, parents: int, rule: Rule
) -> End:
    """The result of a cell without further pairs. If the parents' medians left it open at the last pair, it keeps their
    interval."""
    if end is not None and (end.closed or end.pairs == most):
        return end
    at_most = max(at_most, low)
    low, high = sorted((low, high))
    return End(outcome(low, middle, high, at_most, parents, rule), most, low, high, at_most)


def _by_parents(found: End, logs: NDArray[np.float64], parents: NDArray[np.int64], rule: Rule) -> End:
    """Judge the cell again by the parents' medians, if pairs of one parent are alike."""
    groups = [logs[parents == parent].tolist() for parent in dict.fromkeys(parents.tolist())]
    repeated = sum(len(group) > 1 for group in groups)
    if len(groups) < rules.MIN_PARENTS or 2 * repeated <= len(groups):
        return found
    likeness = intraclass_correlation(groups)
    chance = sequence.ALIKE_P_OF_REGRESSION if found.verdict == "regression" else sequence.ALIKE_P
    if not (likeness > sequence.ALIKE and likeness_p(groups, sequence.PERMUTATION_SEED) < chance):
        return found
    units = [statistics.median(group) for group in groups]
    medians = confidence_sequence(units, rule.error)
    at_most = max(confidence_sequence(units, rule.pass_error).high, medians.low)
    low, high = sorted((medians.low, medians.high))
    verdict = outcome(low, medians.middle, high, at_most, len(groups), rule)
    closed = verdict != "inconclusive" and not (verdict == "pass" and medians.middle < -rule.floor)
    return End(verdict, found.pairs, low, high, at_most, closed)


def likeness_p(groups: Sequence[Sequence[float]], seed: int) -> float:
    """`bench_core.statistics.likeness_p`, with the same permutations, all at once."""
    values = np.array([value for group in groups for value in group])
    ordered = np.sort(values)
    ranks = (np.searchsorted(ordered, values, "left") + 1 + np.searchsorted(ordered, values, "right")) / 2
    sizes = np.array([len(group) for group in groups])
    starts = np.cumsum(sizes) - sizes

    def between(order: NDArray[np.float64]) -> Any:
        return (np.add.reduceat(order, starts, axis=-1) ** 2 / sizes).sum(axis=-1)

    as_large = (between(ranks[permutations(len(values), seed)]) >= between(ranks) * (1 - 1e-12)).sum()
    return float((as_large + 1) / (PERMUTATIONS + 1))


@functools.cache
def permutations(size: int, seed: int) -> NDArray[np.int64]:
    """The permutations of `size` places by the gate's successive shuffles, one per row."""
    shuffle = random.Random(seed).shuffle
    places = list(range(size))
    rows = []
    for _ in range(PERMUTATIONS):
        shuffle(places)
        rows.append(list(places))
    return np.array(rows)


def resampled(
    pool: Pool, gates: int, fewest: int, most: int, draw: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Draw parents with replacement, with their pairs in order: parents of short pairs until each gate has `fewest`,
    then of long pairs (or of short ones, if there are no others) until it has `most`.

    Returns:
        The log ratios, and the parents' numbers, with a row for each gate.
    """
    groups = [*pool.short, *pool.long]
    flat = np.array([value for group in groups for value in group])
    sizes = np.array([len(group) for group in groups])
    starts = np.cumsum(sizes) - sizes
    first_later = len(pool.short) if pool.long else 0
    logs, parents = np.empty((gates, most)), np.empty((gates, most), int)
    for gate in range(gates):
        early = draw.integers(len(pool.short), size=fewest)  # each has at least one pair
        early = early[: int(np.searchsorted(np.cumsum(sizes[early]), fewest)) + 1]
        chosen = np.concatenate([early, draw.integers(first_later, len(groups), size=most)])
        ends = np.cumsum(sizes[chosen])
        needed = int(np.searchsorted(ends, most)) + 1
        lengths = sizes[chosen[:needed]]
        within = np.arange(lengths.sum()) - np.repeat(ends[:needed] - lengths, lengths)
        logs[gate] = flat[np.repeat(starts[chosen[:needed]], lengths) + within][:most]
        parents[gate] = np.repeat(np.arange(needed), lengths)[:most]
    return logs, parents


def recorded(lines: Sequence[Mapping[str, Any]]) -> dict[str, Pool]:
    """The log ratios of every timed cell without an error.

    Raises:
        BenchCoreError: if the lengths of the pairs were not recorded.
    """
    cells: dict[str, Pool] = {}
    for line in lines:
        for name, cell in line["cells"].items():
            if cell["error"] is not None or cell["kind"] not in TIMED or not cell["effects"]:
                continue
            if len(cell["effects"][0]) < 4:
                raise BenchCoreError(
                    "these A/A gates were recorded without the lengths of the pairs. Run `python -m trials aa` again."
                )
            pool = cells.setdefault(name, Pool([], []))
            usual = cell["effects"][0][3]  # this number is found anew in each gate
            for groups, longer in ((pool.short, False), (pool.long, True)):
                parents: dict[int, list[float]] = {}
                for log, parent, _, samples in cell["effects"]:
                    if (samples > usual) == longer:
                        parents.setdefault(parent, []).append(log)
                groups.extend(parents.values())
    return cells


def typical_most(lines: Sequence[Mapping[str, Any]]) -> int:
    """The number of pairs of the cell with the most pairs: the median over the gates."""
    return int(statistics.median(max(len(cell["effects"]) for cell in line["cells"].values()) for line in lines))


def run(folder: Path, tool: str, gates: int, planted_gates: int, say: Callable[[str], None]) -> None:
    """Simulate, and write ``simulate.jsonl``.

    Args:
        tool: the version whose rule is simulated. The pairs are those of the newest A/A gates.

    Raises:
        BenchCoreError: if no A/A gate is recorded.
    """
    lines = of_one_protocol(raw(folder, "aa").read())
    if not lines:
        raise BenchCoreError(f"there are no A/A gates in {folder} to draw from: `python -m trials aa` runs them.")
    cells = recorded(lines)
    settings = GateSettings()
    rule, most = rules.cell_rule(settings, len(cells)), typical_most(lines)
    fewest = rules.pairs_needed(len(cells), settings)
    found = []
    for shift in (0.0, *PLANTS):
        count = planted_gates if shift else gates
        found.append(simulated(cells, shift, count, fewest, most, rule))
        say(f"{shift:+.0%}: {json.dumps({k: v for k, v in found[-1].items() if k != 'by_cell'})}")
    drawn = [unchanged(scatter, 10 * planted_gates, rule) for scatter in SCATTERS]
    for one in drawn:
        say(json.dumps(one))
    write_json(
        folder / "simulate.jsonl",
        {
            "date": today(),
            "tool": tool,
            "aa_tool": lines[0]["tool"],
            "aa_gates": len(lines),
            "short_parents": sum(len(pool.short) for pool in cells.values()),
            "long_parents": sum(len(pool.long) for pool in cells.values()),
            "cells": len(cells),
            "fewest_pairs": fewest,
            "most_pairs": most,
            "rule": asdict(rule),
            "simulated": found,
            "unchanged": drawn,
        },
    )


def simulated(
    cells: Mapping[str, Pool], shift: float, gates: int, fewest: int, most: int, rule: Rule
) -> dict[str, Any]:
    """Simulate gates with a slowdown of `shift` in every cell."""
    truth = math.log1p(shift)
    red = np.zeros(gates, int)
    verdicts: Counter[str] = Counter()
    known = covered = pairs = too_low = 0
    by_cell = {}
    for place, (name, pool) in enumerate(cells.items()):
        logs, parents = resampled(pool, gates, fewest, most, np.random.default_rng([SEED, place]))
        ends = sequences(logs + truth, parents, rule)
        red += [end.verdict == "regression" for end in ends]
        by_cell[name] = dict(Counter(end.verdict for end in ends))
        verdicts.update(by_cell[name])
        bounded = [end for end in ends if end.low > -math.inf or end.high < math.inf]
        known += len(bounded)
        covered += sum(bool(end.low <= truth <= end.high) for end in bounded)
        pairs += sum(end.pairs for end in ends)
        too_low += sum(end.verdict == "pass" and bool(end.at_most < truth) for end in ends)
    return {
        "shift": shift,
        "gates": gates,
        "red_gates": int((red > 0).sum()),
        "cells": gates * len(cells),
        "verdicts": dict(verdicts),
        "intervals": known,
        "covered": covered,
        "passes_below_truth": too_low,
        "mean_pairs": round(pairs / (gates * len(cells)), 2),
        "by_cell": by_cell,
    }


def unchanged(scatter: float, cells: int, rule: Rule) -> dict[str, Any]:
    """Simulate cells without a change whose pairs scatter normally, four pairs a parent: the share that is not decided
    as a pass by so many pairs, and the share that only its estimate keeps open, above the noise floor."""
    most = max(PAIRS)
    logs = np.random.default_rng(SEED).normal(0.0, scatter, (cells, most))
    parents = np.tile(np.arange(most) // 4, (cells, 1))
    found = {}
    for pairs in PAIRS:
        ends = sequences(logs[:, :pairs], parents[:, :pairs], rule)
        left = [end for end in ends if end.verdict == "inconclusive"]
        found[str(pairs)] = {
            "open": round(len(left) / cells, 4),
            "looks_slower": round(sum(bool(end.at_most < rule.limit) for end in left) / cells, 4),
        }
    return {"scatter": scatter, "cells": cells, "by_pairs": found}
