"""How a model is measured: rounds, faults, interruptions, and what does not fit. The process that builds it is fake."""

from dataclasses import replace

import pytest

from bench_core.errors import BenchCoreError, InterruptedBeforeError
from bench_core.model import session
from bench_core.model.messages import (
    Access,
    Accessed,
    Check,
    CheckedWay,
    CheckedWays,
    Describe,
    Described,
    Failed,
    FindImports,
    FoundImports,
    FoundLimits,
    Go,
    Import,
    Imported,
    Limits,
    Planned,
    PlannedStage,
    Refused,
    Save,
    Saved,
    Setting,
    Shard,
    Sharded,
    Went,
)
from bench_core.records.model import Idiom, ModelLayout, ModelSpec, RankTimes
from bench_core.testing import FakeClock
from bench_core.workers.child import LostError

STAGES = (PlannedStage("construct", 8), PlannedStage("load", 16))


def plan(name, job="load", **more):
    kind = "torch" if job == "load" else ""
    return Planned(job, name, name, STAGES, kind, 1, (), f"code of {name}", more.pop("why_not", ""), **more)


DESCRIBED = Described(
    layout=ModelLayout(modules=1, parameters=1, elements=1 << 20, bytes=4 << 20),
    versions={"torch": "2"},
    ways=(plan("eager_copy"), plan("meta_assign", whole_construct=True), plan("eager", "initialize")),
    given="",
    available=1 << 34,
    disk=1 << 34,
    block="",
    block_bytes=0,
)


class Keeper:
    """Answers as `answers` says, and notes what it was asked."""

    def __init__(self, answers, clock):
        self.answers, self.clock = answers, clock
        self.asked, self.started, self.closed = [], 0, 0

    def __call__(self, *_):
        self.started += 1
        return self

    def tell(self, task):
        self.asked.append(task)

    def answer(self, timeout):
        self.clock.advance(1)
        found = self.answers(self.asked[-1])
        if isinstance(found, BaseException):
            raise found
        return found

    def forget_words(self):
        pass

    def close(self):
        self.closed += 1

    @property
    def gone(self):
        return [task.way for task in self.asked if isinstance(task, Go)]


def usual(task, described=DESCRIBED):
    return {
        Describe: lambda: described,
        FindImports: lambda: FoundImports(()),
        Import: lambda: Imported(0.0, 0, False),
        Save: lambda: Saved(4 << 20),
        Check: lambda: CheckedWays(tuple(CheckedWay(way) for way in task.ways)),
        Limits: lambda: FoundLimits(1e9, 2e9),
        Go: lambda: Went((1.0, 2.0), 100),
        Access: lambda: Accessed((Idiom("clip", "foreach", (0.5,)),), 0.5),
        Shard: lambda: Sharded((RankTimes("clip", "clip_grad_norm_", task.ranks, ((0.5,) * task.ranks,)),)),
    }[type(task)]()


def answering(found):
    """Answers to these kinds of tasks with these, and to others as usual."""
    return lambda task: found[type(task)] if type(task) in found else usual(task)


@pytest.fixture
def measured(monkeypatch):
    def measure(answers=usual, *, budget=0.0, seed=0, ranks=0):
        clock = FakeClock()
        keeper = Keeper(answers, clock)
        monkeypatch.setattr(session, "Child", keeper)
        shown = []
        record = None
        try:
            record = session.measure(
                ModelSpec("m:build"),
                budget=budget,
                seed=seed,
                commit="",
                machine={},
                ranks=ranks,
                show=shown.append,
                timer=clock,
            )
        finally:
            measure.keeper, measure.shown = keeper, shown
        return record

    return measure


def ways(record):
    return {way.name: way for way in record.ways}


def test_every_way_is_gone_in_two_rounds_however_small_the_budget(measured):
    record = measured(budget=0.0)
    assert {name: way.seconds for name, way in ways(record).items()} == {
        "eager_copy": (3.0, 3.0),
        "meta_assign": (3.0, 3.0),
        "eager": (3.0, 3.0),
    }
    assert not record.interrupted


def test_rounds_go_on_until_the_next_one_would_exceed_the_budget(measured):
    record = measured(budget=30.0)
    # Description, two tasks for imports, file, two checks and the limits take 7 s, and a round takes 3 s, up to 70 % of
    # the budget.
    assert [len(way.seconds) for way in record.ways] == [4, 4, 4]
    assert record.seconds <= 30


def test_each_round_goes_every_way_once_in_a_drawn_order(measured):
    measured(budget=60.0)
    gone = measured.keeper.gone
    rounds = [tuple(gone[start : start + 3]) for start in range(0, len(gone), 3)]
    assert {frozenset(each) for each in rounds} == {frozenset(["eager_copy", "meta_assign", "eager"])}
    assert len(set(rounds)) > 1


def test_the_same_seed_draws_the_same_orders(measured):
    gone = []
    for seed in (1, 1, 2):
        measured(budget=60.0, seed=seed)
        gone.append(measured.keeper.gone)
    assert gone[0] == gone[1] != gone[2]


def test_a_way_that_fails_costs_only_itself(measured):
    def answers(task):
        return Failed("it was ended by SIGSEGV") if task == Go("meta_assign", task.timeout) else usual(task)

    record = measured(answers)
    assert (ways(record)["meta_assign"].why_not, ways(record)["meta_assign"].stages) == ("it was ended by SIGSEGV", ())
    assert measured.keeper.gone.count("meta_assign") == 1
    assert ways(record)["eager_copy"].seconds == (3.0, 3.0)


def test_a_way_that_kills_the_check_of_all_is_found_by_checking_each(measured):
    def answers(task):
        return Failed("killed") if isinstance(task, Check) and "meta_assign" in task.ways else usual(task)

    record = measured(answers)
    assert {name: way.why_not for name, way in ways(record).items()} == {
        "eager_copy": "",
        "meta_assign": "killed",
        "eager": "",
    }


def test_what_a_check_finds_is_in_the_record(measured):
    def answers(task):
        if not isinstance(task, Check):
            return usual(task)
        return CheckedWays(tuple(CheckedWay(way, wrong=f"{way} is wrong", others=way == "eager") for way in task.ways))

    record = measured(answers)
    assert ways(record)["meta_assign"].wrong == "meta_assign is wrong"
    assert ways(record)["eager"].needs == (session.OTHERS,)


def test_after_the_loss_of_the_process_the_next_task_gets_a_new_one(measured):
    def answers(task):
        return LostError("has ended") if isinstance(task, Limits) else usual(task)

    record = measured(answers)
    assert (measured.keeper.started, record.write_limit) == (3, 0.0)  # the limits are asked for twice
    assert [type(task) for task in measured.keeper.asked].count(Setting) == 6  # four before the times, and two anew
    assert len(record.ways[0].seconds) == 2


def test_ctrl_c_keeps_the_rounds_that_are_complete(measured):
    def answers(task):
        return KeyboardInterrupt() if len(session.Child.gone) == 8 else usual(task)

    record = measured(answers, budget=60.0)
    assert record.interrupted
    assert [len(way.seconds) for way in record.ways] == [2, 2, 2]
    assert measured.keeper.closed == 1


def test_ctrl_c_in_the_first_round_keeps_what_was_measured(measured):
    def answers(task):
        return KeyboardInterrupt() if len(session.Child.gone) == 2 else usual(task)

    record = measured(answers)
    assert sorted((way.why_not, len(way.seconds)) for way in record.ways) == [
        ("", 1),
        (session.UNREACHED, 0),
        (session.UNREACHED, 0),
    ]


def test_ctrl_c_before_anything_was_measured_is_an_error(measured):
    with pytest.raises(InterruptedBeforeError):
        measured(lambda task: KeyboardInterrupt())
    assert measured.keeper.closed == 1


def test_a_target_that_is_refused_is_an_error(measured):
    with pytest.raises(BenchCoreError, match="there is no module 'm'"):
        measured(lambda task: Refused("there is no module 'm'"))
    with pytest.raises(BenchCoreError, match="m:build cannot be measured: killed"):
        measured(lambda task: Failed("killed"))


def test_a_builder_that_raises_on_meta_alone_costs_only_those_ways(measured):
    def answers(task):
        return Refused("m:build raised") if task == Go("meta_assign", task.timeout) else usual(task)

    record = measured(answers)
    assert ways(record)["meta_assign"].why_not == "m:build raised"
    assert ways(record)["eager"].seconds == (3.0, 3.0)


def test_without_room_for_a_checkpoint_the_ways_that_load_it_are_left_out(measured):
    record = measured(lambda task: usual(task, replace(DESCRIBED, disk=1 << 20)))
    assert ways(record)["eager_copy"].why_not == "a checkpoint of 4.00 MiB does not fit on the disk, with 1.00 MiB free"
    assert ways(record)["eager"].seconds == (3.0, 3.0)


def test_a_checkpoint_that_was_given_is_not_written_again(measured):
    measured(lambda task: usual(task, replace(DESCRIBED, given="torch")))
    assert not any(isinstance(task, Save) for task in measured.keeper.asked)


def test_of_a_model_that_does_not_fit_a_part_is_measured_and_the_law_is_named(measured):
    part = replace(DESCRIBED, block="layers.0", block_bytes=1 << 20)
    record = measured(lambda task: usual(task, part))
    eager, meta = ways(record)["eager_copy"], ways(record)["meta_assign"]
    assert [stage.seconds for stage in eager.stages] == [(4.0, 4.0), (8.0, 8.0)]
    assert [stage.seconds for stage in meta.stages] == [(1.0, 1.0), (8.0, 8.0)]
    assert eager.peak_bytes == (400, 400)
    assert eager.law == (
        "Measured on `layers.0`, 1.00 MiB of 4.00 MiB, and multiplied by 4: time and memory are taken to grow linearly "
        "with the bytes, and the checkpoint to be in the page cache."
    )
    assert meta.law == f"{eager.law} Building on meta was measured on the whole model."
    assert Limits(1 << 20, session.TIMEOUT) in measured.keeper.asked
    blocks = [task.block for task in measured.keeper.asked if isinstance(task, Setting)]
    assert (blocks[0], set(blocks[1:])) == ("", {"layers.0"})


def test_a_target_is_imported_once_if_that_leaves_nothing_that_a_fork_breaks(measured):
    for imported, preload in (((0, False), True), ((1, False), False), ((0, True), False)):
        measured(answering({Import: Imported(0.0, *imported)}))
        settings = [task for task in measured.keeper.asked if isinstance(task, Setting)]
        assert not settings[0].preload
        assert settings[-1].preload == preload


IMPORTS = {FindImports: FoundImports(("library", "library.layers")), Import: Imported(1.234, 0, False)}


def test_what_the_builder_imports_is_imported_before_any_time_and_the_record_says_how_long_it_took(measured):
    record = measured(answering(IMPORTS))
    asked = measured.keeper.asked
    first = next(place for place, task in enumerate(asked) if isinstance(task, Go))
    assert [task.imports for task in asked[:first] if isinstance(task, Setting)][-1] == ("library", "library.layers")
    assert not any(isinstance(task, Setting) for task in asked[first:])
    assert record.notes == (
        "Building the model imports 2 modules, which takes 1.23 s once in a process. No time includes this, since "
        "every way needs it.",
    )


def test_imports_that_take_no_notable_time_are_not_noted(measured):
    assert measured(answering({**IMPORTS, Import: Imported(0.009, 0, False)})).notes == ()


@pytest.mark.parametrize("lost", [FindImports, Import])
def test_imports_that_cannot_be_told_apart_count_in_the_construction_and_the_record_says_so(measured, lost):
    record = measured(answering({**IMPORTS, lost: Failed("it did not end within 600 s")}))
    last = [task for task in measured.keeper.asked if isinstance(task, Setting)][-1]
    assert (last.imports, last.preload) == ((), False)
    assert record.notes == ("What building the model imports counts in its construction: it did not end within 600 s.",)


def test_progress_names_what_is_measured(measured):
    measured()
    assert [each.doing for each in measured.shown[:7]] == [
        "build the model",
        "find what building the model imports",
        "import what building the model imports",
        "write a checkpoint, torch",
        "check load",
        "check initialize",
        "memory bandwidth",
    ]
    rounds = [each.round for each in measured.shown]
    assert rounds == [*sorted(rounds[:-2]), 0, 0]  # the bandwidth again, and the jobs on the parameters
    assert set(rounds) == {0, 1, 2}


def test_progress_says_how_long_two_rounds_take_from_the_second_way_on(measured):
    measured(budget=0.0)  # each way takes a second
    ways = len({way.name for way in DESCRIBED.ways if not way.why_not})
    going = [each.needed for each in measured.shown if each.round]
    assert going == [0.0, *range(2 * ways - 1, 0, -1)]


def test_jobs_on_the_parameters_are_measured_in_one_process_and_in_more_if_there_is_time(measured):
    assert measured(budget=0.0).idioms == (Idiom("clip", "foreach", (0.5,)),)
    assert len(measured(budget=60.0).idioms[0].seconds) == session.MOST_PROCESSES


def test_without_the_jobs_on_the_parameters_the_record_says_why(measured):
    record = measured(lambda task: Failed("killed") if isinstance(task, Access) else usual(task))
    assert record.idioms == ()
    assert record.notes[-1] == "The jobs on the parameters were not measured: killed."
    assert record.ways[0].seconds == (3.0, 3.0)


def test_what_applies_to_the_model_is_a_note(measured):
    record = measured(lambda task: usual(task, replace(DESCRIBED, notes=("2 elements are denormal.",))))
    assert record.notes[-1] == "2 elements are denormal."


def shards(measured):
    return [task for task in measured.keeper.asked if isinstance(task, Shard)]


def test_ranks_are_started_only_if_they_are_asked_for(measured):
    assert measured().ranks == ()
    assert shards(measured) == []


def test_the_times_of_ranks_are_in_the_record(measured):
    record = measured(ranks=2)
    assert [(each.ranks, each.seconds) for each in record.ranks] == [(2, ((0.5, 0.5),))]
    (task,) = shards(measured)
    assert task.bytes == 4 << 20


def test_of_a_large_model_ranks_shard_a_part_which_is_said_before_and_after(measured):
    large = replace(DESCRIBED, sharded="layers.0", sharded_bytes=1 << 20)
    record = measured(lambda task: usual(task, large), ranks=2)
    (task,) = shards(measured)
    assert (task.block, task.bytes) == ("layers.0", 1 << 20)
    assert "2 ranks, with `layers.0` alone" in [state.doing for state in measured.shown]
    assert any(note.startswith("The ranks sharded `layers.0` alone, ") for note in record.notes)


def test_each_job_of_ranks_gets_a_hundredth_of_a_budget(measured):
    measured(ranks=2, budget=30.0)
    assert [task.seconds for task in shards(measured)] == [0.3]
    measured(ranks=2, budget=None)
    assert [task.seconds for task in shards(measured)] == [1.0]


def test_ranks_that_are_refused_end_the_measurement_before_anything_else_is_measured(measured):
    def refusing(task):
        return Refused("10000 ranks cannot be started here.") if isinstance(task, Shard) else usual(task)

    with pytest.raises(BenchCoreError, match="^10000 ranks cannot be started here.$"):
        measured(refusing, ranks=10_000)
    assert measured.keeper.gone == []


def test_ranks_whose_process_is_lost_cost_only_themselves(measured):
    def losing(task):
        return Failed("its process was ended by SIGKILL") if isinstance(task, Shard) else usual(task)

    record = measured(losing, ranks=2)
    assert record.ranks == ()
    assert "The sharded model could not be measured: its process was ended by SIGKILL." in record.notes
    assert len(record.ways) == 3


def test_more_ranks_than_cores_are_noted(measured, monkeypatch):
    monkeypatch.setattr(session.cores, "count", lambda: 1)
    assert "2 ranks shared 1 cores: with a core each, they are faster." in measured(ranks=2).notes
