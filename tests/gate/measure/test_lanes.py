"""What a lane does with the answers of a nursery, without a process: the clock moves by half a second a pair."""

import itertools
import math
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bench_core import clock as clocks
from bench_core.errors import BenchCoreError
from bench_core.gate.judge import pace
from bench_core.gate.judge.rule import pairs_needed
from bench_core.gate.measure import schedule
from bench_core.gate.measure.blame import MOST_FAULTS
from bench_core.gate.measure.discover import Found
from bench_core.gate.measure.evidence import Journal
from bench_core.gate.measure.schedule import MOST_PAIRS_OF_A_PARENT, PAIRS_OF_A_PARENT
from bench_core.gate.measure.supervise import Gate, interruptible
from bench_core.gate.versions.subjects import Importable, Subjects
from bench_core.records.gate import SIDES, CellEvidence, GateSettings
from bench_core.records.version import Install
from bench_core.testing import FakeClock
from bench_core.workers import child
from bench_core.workers.messages import (
    CellBegun,
    CellFailed,
    CellTimed,
    Log,
    Lost,
    PairDone,
    Ready,
    Sampling,
    SamplingPlan,
    Settled,
    WorkerBroken,
    WorkerRefused,
)

PLAN = SamplingPlan(alternations=4, blocks=1, places=(Sampling(1, warm=True),) * 2)
SETTINGS = GateSettings(noise_floor=0.3, limit=0.6, error_rate=0.4, pass_error=0.4, seed=1, budget=1000.0)
IMPORTING = 4.0
"""Seconds until a nursery is ready."""

PAIR = 0.5
"""Seconds of a cell in a pair."""


class Nurseries:
    """Nurseries that answer at once.

    Attributes:
        tasks: of each nursery, what it was told to load.
        pairs: those that were taken, each with the number of its nursery.
        head: by how much head is slower, by cell.
        closed: nurseries that were ended.
        says: replaces the answers to a pair, if it returns any.
    """

    def __init__(self, clock):
        self.clock = clock
        self.tasks, self.pairs, self.closed = [], [], 0
        self.head = {}
        self.says = lambda pair: None
        self.loads = lambda: None

    def __call__(self, dialogue, hash_seed, watchdog, *, environment):
        return Nursery(self)

    def run_pair(self, nursery, pair):
        self.pairs.append((len(self.tasks), pair))
        yield from self.says(pair) or self.measured(pair)

    def measured(self, pair):
        for group in pair.groups:
            (task,) = group.cells
            yield from (CellBegun(side, task.name) for side in SIDES)
            self.clock.advance(PAIR)
            for side in SIDES:
                slower = self.head.get(task.name, 1.0) if pair.versions[side] == "head" else 1.0
                spans = [slower] * PLAN.alternations
                yield CellTimed(side, task.name, None if group.plan else Settled(PLAN, {}), log(side, spans))
        yield PairDone(pair.pair, ("found_late",))


def log(side, spans):
    """Samples of a side; base is first in every other alternation."""
    positions = [SIDES.index(side), 1 - SIDES.index(side)] * (len(spans) // 2)
    return Log(1, spans, positions, by_timer=[1.0], by_host=[1.0])


class Nursery:
    def __init__(self, nurseries):
        self._nurseries = nurseries

    def tell(self, task):
        self._nurseries.tasks.append(task)

    def answer(self):
        self._nurseries.clock.advance(IMPORTING)
        self._nurseries.loads()
        return Ready()

    def kill(self):
        pass

    def close(self):
        self._nurseries.closed += 1


@pytest.fixture
def nurseries(monkeypatch):
    clock = FakeClock()
    made = Nurseries(clock)
    monkeypatch.setattr(clocks, "host", clock)
    monkeypatch.setattr(child, "Child", made)
    monkeypatch.setattr(child, "run_pair", made.run_pair)
    return made


@pytest.fixture
def make(tmp_path, nurseries):
    """Makes a gate on cells with these names."""

    def made(*names, past=False, cores=(None,), memory=None, **settings):
        versions = {name: Importable(Install(name, name, ("thing",)), f"/{name}") for name in ("base", "head", "past")}
        subjects = Subjects(versions["base"], versions["head"], Path("/cases"), past=versions["past"] if past else None)
        cells = tuple(CellEvidence(name, name, {}, "time", "seconds") for name in names)
        found = Found(cells, {}, (), ("json",), [], on_accelerator=False)
        return Gate(
            subjects,
            replace(found, past=found) if past else found,
            replace(SETTINGS, **settings),
            Journal(tmp_path / "journal"),
            timeout=10.0,
            memory=memory,
            cores=cores,
            past_journal=Journal(tmp_path / "past"),
        )

    return made


def run(gate):
    gate.run(lambda progress: None, every=0.01)
    return gate.progress()


def own(nurseries, *versions):
    """The pairs of these versions, each with the number of its nursery."""
    return [(parent, pair) for parent, pair in nurseries.pairs if tuple(pair.versions.values()) == versions]


def test_a_nursery_is_told_the_versions_the_suite_and_how_workers_start(make, nurseries):
    run(make("a.time_a", cores=(3,), memory=5))
    told = nurseries.tasks[0]
    assert {name: one.paths for name, one in told.sources.items()} == {"base": ("/base",), "head": ("/head",)}
    assert (told.suite, told.preload, told.core, told.start, told.memory) == ("/cases", ("json",), 3, "fork", 5)
    assert Path(told.sources["head"].caches).name == "head"


def test_what_workers_have_imported_late_the_next_nursery_imports_beforehand(make, nurseries, monkeypatch):
    monkeypatch.setattr(schedule, "IMPORTS", 0.0)
    gate = make("a.time_a", pass_error=0.01)
    run(gate)
    assert nurseries.tasks[1].preload == ("json", "found_late")


def test_a_gate_ends_when_its_cells_are_decided_and_every_nursery_is_closed(make, nurseries):
    gate = make("a.time_a", "b.time_b")
    nurseries.head["b.time_b"] = 2.0
    last = run(gate)
    assert (last.decided, last.open, last.errors, last.lanes) == (2, 0, 0, ("done",))
    assert nurseries.closed == len(nurseries.tasks)
    assert last.parents == len(nurseries.tasks)
    assert last.pairs == len(nurseries.pairs)
    assert last.seconds == nurseries.clock.now
    assert last.left == SETTINGS.budget - last.seconds


@pytest.mark.parametrize(("importing", "pairs"), [(IMPORTING, MOST_PAIRS_OF_A_PARENT), (0.0, PAIRS_OF_A_PARENT)])
def test_a_parent_gets_an_even_number_of_pairs_that_alternate_in_which_side_is_first(
    make, nurseries, monkeypatch, importing, pairs
):
    monkeypatch.setattr(f"{__name__}.IMPORTING", 10 * importing)
    run(make("a.time_a", pass_error=1e-9))
    first = [pair.first for parent, pair in own(nurseries, "base", "head") if parent == 1]
    assert len(first) == pairs
    assert all(one != other for one, other in itertools.pairwise(first))


def test_every_pair_of_spawned_workers_counts_as_a_parent(make, nurseries):
    gate = make("a.time_a", start="spawn")
    run(gate)
    (dossier,) = gate.dossiers
    parents = [effect.parent for effect in dossier.effects]
    assert parents == list(range(len(parents)))
    assert {task.start for task in nurseries.tasks} == {"spawn"}


def test_forked_pairs_have_the_parent_that_they_were_forked_from(make, nurseries):
    gate = make("a.time_a")
    run(gate)
    expected = [parent - 1 for parent, _ in own(nurseries, "base", "head")]
    assert [effect.parent for effect in gate.dossiers[0].effects] == expected


def test_the_time_of_a_cell_in_a_pair_is_its_own(make, nurseries):
    gate = make("a.time_a", "b.time_b")
    run(gate)
    for dossier in gate.dossiers:
        assert dossier.spent == PAIR * len(dossier.effects)


def test_a_gate_without_time_finds_something_out_and_stops(make, nurseries):
    gate = make("a.time_a", "b.time_b", budget=0.0)
    last = run(gate)
    assert sum(len(dossier.effects) for dossier in gate.dossiers) == 1
    assert (last.open, last.left) == (2, 0.0)


def test_a_pair_is_broken_off_at_the_end_of_the_budget(make, nurseries):
    names = [f"{letter}.time_{letter}" for letter in "abcdef"]
    gate = make(*names, budget=IMPORTING + 2.5 * PAIR)
    run(gate)
    assert sum(len(dossier.effects) for dossier in gate.dossiers) == 3


def test_the_five_open_cells_that_look_slowest_are_shown_slowest_first(make, nurseries, monkeypatch):
    monkeypatch.setattr(pace, "BESIDES", 0.0)  # so that there is time for all cells
    nurseries.head = {f"{letter}.time_{letter}": 1 + 0.1 * place for place, letter in enumerate("abcdefg")}
    last = run(make(*nurseries.head, budget=0.0))
    assert len(last.worst) == 1
    last = run(make(*nurseries.head, budget=IMPORTING + 6.5 * PAIR))
    assert [name for name, *_ in last.worst] == [f"{letter}.time_{letter}" for letter in "gfedc"]
    _, *numbers = last.worst[0]
    assert numbers == [pytest.approx(1.6), 0, math.inf]


def test_progress_is_shown_once_in_a_while_and_at_the_end(make):
    seen = []
    make("a.time_a").run(seen.append, every=1000.0)
    assert [progress.open for progress in seen] == [0]


def test_a_past_version_is_loaded_and_measured_too(make, nurseries):
    gate = make("a.time_a", past=True)
    run(gate)
    assert set(nurseries.tasks[0].sources) == {"base", "head", "past"}
    assert all(dossier.closed and dossier.effects for dossier in gate.past.dossiers)
    assert len(own(nurseries, "past", "head")) >= pairs_needed(1, gate.past.settings)


def failing(pair, version, *, skipped=False):
    """Answers of a pair whose one cell fails on a side with this version."""
    name = pair.groups[0].cells[0].name
    yield from (CellBegun(role, name) for role in SIDES)
    for role in SIDES:
        if pair.versions[role] == version:
            yield CellFailed(role, name, "gone", "call", skipped)
        else:
            yield CellTimed(role, name, Settled(PLAN, {}), log(role, [1.0] * 4))
    yield PairDone(pair.pair, ())


def test_a_cell_that_fails_on_one_side_is_tried_with_each_version_on_both_sides(make, nurseries):
    gate = make("a.time_a")
    nurseries.says = lambda pair: failing(pair, "head")
    last = run(gate)
    assert (gate.dossiers[0].error, gate.dossiers[0].error_side) == ("call: gone", "head")
    tried = [tuple(pair.versions.values()) for _, pair in nurseries.pairs]
    assert tried[-2:] == [("head", "head"), ("base", "base")]
    assert len(nurseries.tasks) == 1  # the nursery that is there tries it
    assert (last.errors, last.open, last.decided) == (1, 0, 0)


def test_a_cell_that_skips_itself_on_one_side_is_tried_again_for_that(make, nurseries):
    gate = make("a.time_a")
    nurseries.says = lambda pair: failing(pair, "head", skipped=True)
    run(gate)
    assert (gate.dossiers[0].error, gate.dossiers[0].error_side) == ("skips itself: gone", "head")


@pytest.mark.parametrize("lost", [Lost("head", "killed", hangs=False), WorkerBroken("head", "killed")])
def test_a_lost_worker_is_blamed_on_the_cell_that_was_begun_and_not_finished(make, nurseries, lost):
    gate = make("a.time_a", "b.time_b")

    def says(pair):
        others = tuple(group for group in pair.groups if group.cells[0].name != "b.time_b")
        if "head" not in pair.versions.values() or others == pair.groups:
            return None
        *measured, done = nurseries.measured(replace(pair, groups=others))
        return [*measured, CellBegun("head", "b.time_b"), lost, done]

    nurseries.says = says
    run(gate)
    found = {one.cell.name: (one.error, one.error_side) for one in gate.dossiers}
    assert found == {"a.time_a": (None, None), "b.time_b": ("killed", "head")}


def test_a_cell_that_hangs_is_not_tried_again_with_the_version_that_hung(make, nurseries):
    gate = make("a.time_a")

    def says(pair):
        if "head" not in pair.versions.values():
            return None
        return [CellBegun("head", "a.time_a"), Lost("head", "hangs", hangs=True), PairDone(pair.pair, ())]

    nurseries.says = says
    run(gate)
    assert gate.dossiers[0].error_side == "head"
    assert own(nurseries, "head", "head") == []


def test_a_version_that_a_worker_refuses_ends_the_gate_by_name(make, nurseries):
    nurseries.says = lambda pair: [WorkerRefused("head", "from elsewhere")]
    with pytest.raises(BenchCoreError, match="head \\(head\\): from elsewhere"):
        run(make("a.time_a"))
    assert nurseries.closed == len(nurseries.tasks) == 1


def test_a_nursery_that_dies_in_a_pair_is_blamed_on_the_cell_that_was_begun(make, nurseries):
    gate = make("a.time_a")

    def says(pair):
        def answers():
            yield CellBegun("base", "a.time_a")
            raise child.LostError("has ended")

        return answers() if tuple(pair.versions.values()) == ("base", "head") else None

    nurseries.says = says
    run(gate)
    assert (gate.dossiers[0].error, gate.dossiers[0].error_side) == ("its parent has ended", None)
    assert [parent for parent, _ in nurseries.pairs] == [1]  # nothing more is asked of it


def test_nurseries_that_never_load_end_the_gate(make, nurseries):
    def fails():
        raise child.LostError("has ended")

    nurseries.loads = fails
    with pytest.raises(BenchCoreError, match="workers cannot be started: has ended"):
        run(make("a.time_a"))
    assert nurseries.closed == len(nurseries.tasks) == MOST_FAULTS + 1


def test_a_gate_goes_on_behind_the_numbers_of_earlier_ones(make, nurseries):
    first = make("a.time_a", budget=0.0)
    run(first)
    again = make("a.time_a")
    assert again.first_pair == 1
    before = again.dossiers[0].effects[-1]
    run(again)
    effects = again.dossiers[0].effects
    assert effects[0] == before
    assert min(effect.parent for effect in effects[1:]) > before.parent


def test_a_lane_waits_for_the_others_to_find_out_how_to_sample(make, nurseries):
    gate = make("a.time_a", cores=(None, None))
    last = run(gate)
    assert last.lanes == ("done", "done")
    assert not {pair.pair for _, pair in nurseries.pairs if pair.groups[0].plan is None} - {0, 1}


def test_only_the_main_thread_treats_signals_like_an_interrupt():
    done = []

    def elsewhere():
        with interruptible():
            done.append(signal.getsignal(signal.SIGTERM))

    def heard(number, frame):
        pass

    before = signal.signal(signal.SIGTERM, heard)
    try:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert done == [heard]
        with interruptible():
            assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) is heard
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_interrupt_ends_the_nurseries_that_run(make, nurseries, monkeypatch):
    waiting, killed = threading.Event(), threading.Event()

    def load():
        waiting.set()
        killed.wait(timeout=5)
        raise child.LostError("has ended")

    def interrupt(progress):
        waiting.wait(timeout=5)
        raise KeyboardInterrupt

    nurseries.loads = load
    monkeypatch.setattr(Nursery, "kill", lambda self: killed.set())
    with pytest.raises(KeyboardInterrupt):
        make("a.time_a").run(interrupt, every=0.01)
    assert killed.is_set()
    assert nurseries.closed == len(nurseries.tasks) == 1
