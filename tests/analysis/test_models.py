"""Ways to start a model up are ranked among the correct ones, by pairs of their rounds."""

import math
from dataclasses import replace

import pytest
from made_models import WEIGHTS, gpt2

from bench_core.analysis.compare import compare
from bench_core.analysis.model_advice import MOST, advice
from bench_core.analysis.models import as_stored, limit_of, rank_calls, ranked
from bench_core.records.model import Idiom, RankTimes, Stage, Way


def way(name, *rounds, wrong="", job="load", **more):
    return Way(job, name, name, (Stage("construct", tuple(rounds)),) if rounds else (), wrong=wrong, **more)


def jobs(*ways, **more):
    return ranked(replace(gpt2(), ways=ways, idioms=(), **more)).start


def load(*ways, **more):
    (found,) = jobs(*ways, **more)
    return found


SLOW, FAST = way("slow", 2.0, 2.02, 1.98, 2.01), way("fast", 0.2, 0.204, 0.197, 0.2)


def test_a_wrong_way_is_shown_in_its_place_and_is_never_the_fastest():
    found = load(SLOW, FAST, way("quick", 0.1, 0.1, 0.1, 0.1, wrong="no ties"))
    assert [one.of.name for one in found.placed] == ["quick", "fast", "slow"]
    assert found.best.of.name == "fast"
    assert found.alone
    assert [one.tied for one in found.placed] == [False, True, False]
    assert found.placed[0].ratio.middle == pytest.approx(0.5, rel=0.02)


def test_what_is_saved_is_the_ratio_of_paired_rounds():
    drift = [1.0, 1.5, 2.0, 2.5]  # of the machine, which both ways see
    found = load(way("slow", *(2 * each for each in drift)), way("fast", *drift), way("other", *(3 * x for x in drift)))
    assert found.saves.middle == pytest.approx(2)
    assert 1.9 < found.saves.low < found.saves.high < 2.1


def test_ways_that_differ_by_less_than_their_noise_share_the_first_place():
    found = load(SLOW, FAST, way("other", 0.201, 0.2, 0.2, 0.198))
    assert {one.of.name for one in found.placed if one.tied} == {"fast", "other"}
    assert not found.alone


def test_one_round_tells_nothing_about_the_order():
    found = load(way("slow", 2.0), way("fast", 0.2))
    assert not found.saves.known
    assert all(one.tied for one in found.placed)


def test_a_way_that_took_part_in_fewer_rounds_is_paired_with_those():
    found = load(SLOW, FAST, way("late", 0.4, 0.41))
    (late,) = (one for one in found.placed if one.of.name == "late")
    assert late.ratio.middle == pytest.approx(2, rel=0.05)
    later = load(way("slow", 1.0, 1.0, 2.0, 2.0, 2.0), way("late", 0.4, 0.41))
    assert later.plain.seconds.middle > 1.4  # of all rounds


def test_without_a_correct_way_there_is_no_fastest_one():
    found = load(way("a", 1.0, 1.1, wrong="x"), way("b", 2.0, 2.1, wrong="y"))
    assert found.best is None
    assert math.isnan(found.saves.middle)
    assert [one.of.name for one in found.placed] == ["a", "b"]


def test_ways_without_a_time_are_kept_with_their_reasons():
    found = load(way("plain", why_not="it hung"), FAST)
    assert [one.name for one in found.missing] == ["plain"]
    assert found.plain is None
    assert math.isnan(found.saves.middle)


def test_a_job_is_ranked_by_itself():
    first, second = jobs(SLOW, FAST, way("eager", 9.0, 9.1, job="initialize"))
    assert (first.best.of.name, second.best.of.name) == ("fast", "eager")


def test_stages_that_write_are_held_to_writing_and_others_to_a_copy():
    record = replace(gpt2(), write_limit=1e9, copy_limit=2e9)
    assert limit_of(Stage("initialize", (1.0,), 1), record) == 1e9
    assert limit_of(Stage("load", (1.0,), 1), record) == 2e9
    stages = (Stage("construct", (1.0, 1.0), 10**9), Stage("load", (1.0, 1.0), 10**9))
    found = load(Way("load", "a", "a", stages), write_limit=1e9, copy_limit=2e9)
    assert found.best.share == pytest.approx((1 + 0.5) / 2, rel=1e-6)
    assert math.isnan(load(Way("load", "a", "a", stages), write_limit=0.0).best.share)


def test_a_call_takes_as_long_as_its_slowest_rank():
    calls = RankTimes("sharded", "clip", 2, ((1.0, 2.0), (1.0, 3.0), (1.0, 4.0)))
    (found,) = rank_calls(replace(gpt2(), ranks=(calls, RankTimes("sharded", "tied", 2, why_not="rejected"))))
    assert found.seconds.middle == 3.0
    assert found.spread == pytest.approx(2.0)


def told(record):
    return advice(record, ranked(record))


def test_advice_names_the_fastest_correct_way_what_it_saves_and_the_quicker_wrong_one():
    first, second, third, *rest = told(gpt2())
    assert "`meta_assign_" in first
    assert "`meta_assign_unfinished`" not in first
    assert "in place of 2.1" in first
    assert "18x (" in first
    assert "MiB less memory" in first
    assert second == "`eager_copy` spends 64 % of its time to draw weights that the checkpoint then replaces."
    assert "do not take `meta_assign_unfinished`, although it is quicker: 12 buffers stay on meta" in third
    assert len(rest) == MOST - 3


def test_advice_on_a_job_begins_with_the_one_that_loses_most_seconds():
    *_, last = told(gpt2())
    assert last.startswith("For `step`, `fused` takes 1")


def test_advice_orders_jobs_by_what_they_lose_and_has_at_most_five_sentences():
    def job(name, slow, fast):
        return (Idiom(name, "plain", (slow, slow * 1.01)), Idiom(name, "other", (fast, fast * 1.01)))

    idioms = (*job("a", 0.2, 0.1), *job("b", 3.0, 1.0), *job("c", 0.5, 0.4), *job("d", 9.0, 9.1), *job("e", 1.0, 0.2))
    sentences = told(replace(gpt2(), ways=(), idioms=idioms))
    assert [sentence.split("`")[1] for sentence in sentences] == ["b", "e", "a", "c"]
    assert len(told(replace(gpt2(), idioms=idioms))) == MOST


def test_advice_claims_no_gain_that_is_not_certain():
    record = replace(gpt2(), idioms=(), ways=(way("eager_copy", 1.0, 1.01, 0.99), way("other", 1.0, 0.99, 1.01)))
    assert told(record) == ("To load a checkpoint, no correct way is certainly faster than `eager_copy` with 1.00 s.",)
    (said,) = told(replace(record, ways=(way("eager_copy", 9.0, 2.0), way("other", 1.0, 2.0))))
    assert said.endswith(
        "`other` took 1.41 s, in 2 rounds that differ too much to be sure: a larger --budget gives more rounds."
    )
    wrong = replace(record, ways=(way("a", 1.0, 1.1, wrong="no ties"),))
    assert "no way that was tried gives the right model" in told(wrong)[0]


def test_advice_says_that_a_time_is_extrapolated():
    fast = replace(FAST, law="linear in bytes")
    assert "takes about 200 ms in place of 2.00 s" in told(replace(gpt2(), idioms=(), ways=(SLOW, fast)))[0]


def test_two_records_are_compared_by_their_times_and_peaks():
    found = compare(as_stored(gpt2(1), "A"), as_stored(gpt2(2, slower=1.5), "B"))
    slower = {cell.cell for cell in found.slower}
    assert {"load.eager_copy", "initialize.eager", "step.fused"} <= slower
    assert not found.faster
    peaks = {cell.cell: cell for cell in found.cells if cell.unit == "bytes"}
    assert peaks["load.eager_copy.peak"].first.middle == int(WEIGHTS * 2.1)
    assert found.differences == ()


def test_a_comparison_names_ties_and_ways_that_became_wrong():
    head = gpt2(2)
    ways = tuple(replace(one, wrong="`a` is not tied") if one.name == "eager_copy" else one for one in head.ways)
    idioms = (*head.idioms, Idiom("new", "job", why_not="not for this model"))
    head = replace(head, ways=ways, idioms=idioms, layout=replace(head.layout, ties=(), parameters=149))
    found = compare(as_stored(gpt2(1), "A"), as_stored(head, "B"))
    assert set(found.differences) == {
        "parameters: 148 → 149",
        "ties: transformer.wte.weight = lm_head.weight → none",
        "load.eager_copy: none → wrong: `a` is not tied",
        "new.job: none → not measured: not for this model",
    }
