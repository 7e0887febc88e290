"""Chooses the next pair: its cells, their order, and how each is sampled. Starts no process and reads no clock."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench_core.gate.judge.pace import Pace
from bench_core.gate.judge.rule import Rule, cell_rule
from bench_core.gate.measure.adapt import FEWEST, adapted, scatter_between
from bench_core.gate.measure.evidence import PAST, Dossier, Known
from bench_core.records.gate import SIDES, GateSettings, Side
from bench_core.records.version import VersionName
from bench_core.workers.messages import CellTask, GroupTask, PairTask, SamplingPlan
from bench_core.workers.plan import PAIR

PAIRS_OF_A_PARENT = 4
"""The fewest pairs that are forked from one parent. The number is even, so each side is forked first equally often."""

MOST_PAIRS_OF_A_PARENT = 16
"""The most pairs that are forked from one parent. Between the two numbers, a parent continues until its pairs have
taken `IMPORTS` times as long as the imports of the next parent would."""

IMPORTS = 3.0

LEAST_PATIENCE = 5.0
PATIENCE = 20.0
"""A cell is taken for hung if it gives no sign of life for `LEAST_PATIENCE` seconds and `PATIENCE` times as long as its
pairs have taken so far."""

LEAST_FIRST_PATIENCE = 1.0
FIRST_PATIENCE = 0.2
"""The share of the budget after which a cell is taken for hung in its first pair. The second cell that is gets half of
it, the third one a third."""

TIMEOUT = 60.0
"""Treat a worker as hung after this many seconds without a sign of life, if it is at no cell."""

PAST_SHARE = 2
"""Pairs of past and head take 1/`PAST_SHARE` of the usual samples, and so half the time. As many pairs are needed,
since pairs scatter more than the samples inside them."""


LONGER = 2.0
"""A cell that was postponed is tried if this many times as long is left as it was waited for, since both sides take
longer."""


def is_enough(taken: int, seconds: float, starting: float) -> bool:
    """Whether a parent has forked enough pairs. Their number is then even.

    Args:
        taken: the number of pairs that it has forked.
        seconds: seconds since the parent was ready.
        starting: seconds that the parent took to get ready.
    """
    long_enough = seconds > IMPORTS * starting or taken >= MOST_PAIRS_OF_A_PARENT
    return taken % 2 == 0 and taken >= PAIRS_OF_A_PARENT and long_enough


class Schedule:
    """Chooses the pairs of a gate, and numbers them and their parents.

    Args:
        timeout: treat a worker as hung after this many seconds without a sign of life; None for what the suite allows
            for each cell, and `TIMEOUT` where no cell is to blame.
        lanes: the number of lanes that measure at once.
        plants: slowdowns to add to cells of head, by name; 0.05 is 5 %.

    Attributes:
        pairs, parents: the next free numbers.
    """

    def __init__(self, known: Known, timeout: float | None, lanes: int, plants: Mapping[str, float]) -> None:
        self._known = known
        self._timeout = timeout
        self._lanes = lanes
        self._plants = plants
        self.pairs = max(one.earlier.pair for one in known.compared)
        self.parents = max(one.earlier.parent for one in known.compared)

    @property
    def _settings(self) -> GateSettings:
        return self._known.main.settings

    @property
    def _rule(self) -> Rule:
        return cell_rule(self._settings, self._settings.family)

    def next_parent(self) -> int:
        with self._known.lock:
            self.parents += 1
            return self.parents - 1

    def hash_seed(self, parent: int) -> int:
        return random.Random(f"{self._settings.seed} hash {parent}").getrandbits(32)

    def first_of(self, parent: int) -> Side:
        """The side that is started first in the parent's first pair. Later pairs alternate."""
        return random.Random(f"{self._settings.seed} parent {parent}").choice(SIDES)

    def pairs_of(self, lane: int, first: Side, left: float = math.inf) -> list[PairTask]:
        """The next pairs of a lane, with the side that is started first: one over the open cells of base and head, one
        over those of past and head, and one over the controls. Each cell of peak memory gets its own pair, since
        the peak is that of a process. A cell that was postponed gets its first pair when there are no others.

        Args:
            left: seconds of all lanes together until the budget ends. Cells that it does not suffice for have to wait.
        """
        with self._known.lock:
            groups: list[list[Dossier]] = []
            postponed: list[Dossier] = []
            for evidence in self._known.compared:
                within = self._in_time(evidence.dossiers, left / len(self._known.compared))
                wanted = [one for one in self._wanted(evidence.dossiers, lane) if one.cell.name in within]
                prompt = [one for one in wanted if not one.waits]
                postponed += [one for one in wanted if one.waits]
                alone = [one for one in prompt if one.cell.kind == "peakmemory"]
                groups += [[one for one in prompt if one not in alone], *([one] for one in alone)]
            if postponed and all(one.closed or one.waits for one in self._known.dossiers):
                if not self.has_time_for_postponed(left / self._lanes):
                    return []
                least = min(postponed, key=lambda one: one.postponed)
                return [self.pair_of([least], first, least.versions, patience=left / self._lanes)]
            groups.append(self._wanted(self._known.controls, lane))
            between = scatter_between(one.effects for one in self._known.dossiers)
            return [self.pair_of(group, first, group[0].versions, between) for group in groups if group]

    def _in_time(self, dossiers: Sequence[Dossier], left: float) -> set[str]:
        """The names of the open cells that can be decided in the time that is left: as many as possible, so those that
        need least, and at least one. A drawn order decides between equals."""
        waiting = [one for one in dossiers if not one.closed]
        random.Random(f"{self._settings.seed} in time").shuffle(waiting)
        pace = Pace(((len(one.effects), one.spent) for one in dossiers), self._rule)

        def need(one: Dossier) -> float:
            return pace.need(one.cell.kind, len(one.effects), one.spent)

        waiting.sort(key=need)
        needs = itertools.accumulate(map(need, waiting))
        return {
            one.cell.name
            for place, (one, total) in enumerate(zip(waiting, needs, strict=True))
            if total <= left or not place
        }

    def has_time_for_postponed(self, left: float) -> bool:
        """Whether a cell that was postponed can have a pair in the `left` seconds until the budget ends."""
        with self._known.lock:
            waits = [one.postponed for one in self._known.dossiers if one.waits and not one.closed]
        return bool(waits) and left > LONGER * min(waits)

    def needed(self) -> float | None:
        """Seconds until all cells are decided, at the pace of the pairs so far. None before half of the cells have had
        a pair."""
        with self._known.lock:
            dossiers = self._known.dossiers
            pace = Pace(((len(one.effects), one.spent) for one in dossiers), self._rule)
            waiting = [one for one in dossiers if not one.closed]
            if sum(bool(one.effects) for one in waiting) < len(waiting) / 2:
                return None
            return sum(pace.need(one.cell.kind, len(one.effects), one.spent) for one in waiting) / self._lanes

    def _wanted(self, dossiers: Sequence[Dossier], lane: int) -> list[Dossier]:
        """The open cells. One lane alone measures the first pair of a cell, which takes as long as several others."""
        return [
            one for place, one in enumerate(dossiers) if not one.closed and (one.plan or place % self._lanes == lane)
        ]

    def pair_of(
        self,
        dossiers: Sequence[Dossier],
        first: Side,
        versions: tuple[VersionName, VersionName],
        between: float = 0.0,
        patience: float = 0.0,
    ) -> PairTask:
        """A pair over these cells, in an order drawn for it.

        Args:
            between: see `adapted`.
            patience: the seconds after which a cell is taken for hung; 0 for a number that depends on the cell.
        """
        with self._known.lock:
            pair, self.pairs = self.pairs, self.pairs + 1
            order = list(dossiers)
            random.Random(f"{self._settings.seed} pair {pair}").shuffle(order)
            groups = tuple(self._group(one, versions, between, patience) for one in order)
        both = dict(zip(SIDES, versions, strict=True))
        longest = max((cell.timeout for group in groups for cell in group.cells), default=0.0)
        return PairTask(pair, self._settings.seed, first, both, groups, self._timeout or max(TIMEOUT, longest))

    def _group(
        self, dossier: Dossier, versions: tuple[VersionName, VersionName], between: float, patience: float
    ) -> GroupTask:
        name = dossier.cell.name
        plant = 0.0 if dossier.control else self._plants.get(name, 0.0)
        plan = self._plan(dossier, between)
        if plan is not None:  # a pair that retries a failed cell has one version on both sides
            places = tuple(plan.places[dossier.versions.index(version)] for version in versions)
            plan = replace(plan, places=places)
        asked = dossier.asked or CellTask(name)
        task = replace(asked, plant=plant, timeout=0.0)
        if self._timeout is None:
            patience = max(LEAST_PATIENCE, patience) if patience else self._patience(dossier, asked.timeout)
            task = replace(task, timeout=asked.timeout, patience=patience)
        return GroupTask((task,), plan, PAIR)

    def _patience(self, dossier: Dossier, timeout: float) -> float:
        """Seconds after which the cell is taken for hung: a multiple of how long its pairs take, once that is known.
        Before, one hanging cell must not use up the budget, unless the suite allows for long calls."""
        if dossier.effects:
            return max(LEAST_PATIENCE, PATIENCE * dossier.spent / len(dossier.effects))
        patience = max(LEAST_PATIENCE, FIRST_PATIENCE * self._settings.budget) / (1 + self._known.hung)
        return max(LEAST_FIRST_PATIENCE, patience) if timeout <= TIMEOUT else 0.0

    def _plan(self, dossier: Dossier, between: float) -> SamplingPlan | None:
        """How a cell is sampled in its next pair. For `between` see `adapted`."""
        if dossier.plan is None:
            return None
        plan = adapted(dossier.plan, dossier.effects, dossier.spent, between)
        if dossier.versions == PAST:
            alternations = max(min(FEWEST, plan.alternations), plan.alternations // PAST_SHARE // 2 * 2)
            plan = replace(plan, alternations=alternations, blocks=max(1, plan.blocks // PAST_SHARE))
        return plan
