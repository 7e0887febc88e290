"""How the noise of earlier pairs decides how the next one samples a cell, on numbers that are made up."""

import math
import random
from dataclasses import replace

import pytest

from bench_core.gate.measure.adapt import (
    FEWEST,
    FEWEST_BLOCKS,
    FEWEST_LONG,
    LONGEST,
    MOST,
    MOST_BLOCKS,
    PAIRS_TO_SCATTER,
    SCATTER,
    adapted,
    blocks_for,
    scatter_between,
)
from bench_core.records.gate import Effect
from bench_core.workers.messages import Sampling, SamplingPlan
from bench_core.workers.plan import PAIR

PLAN = SamplingPlan(alternations=32, blocks=4, places=(Sampling(300, warm=True), Sampling(300, warm=True)))
ALTERNATION = 6e-4
"""Seconds of an alternation."""


def pairs(within, count=3, samples=32, alternation=ALTERNATION, **more):
    lasted = samples * alternation
    return [Effect(pair, pair, 0.02, 1e-6, 1e-6, samples, within, lasted=lasted, **more) for pair in range(count)]


def found(effects, besides=0.0, plan=PLAN):
    """The plan after pairs that took, each, the time of their samples and these seconds besides."""
    sampled = sum(effect.lasted for effect in effects)
    return adapted(plan, effects, sampled + besides * len(effects))


def test_before_the_first_pair_and_without_times_it_is_the_plan_itself():
    assert adapted(PLAN, [], 0.0) == PLAN
    assert adapted(PLAN, pairs(math.nan), 1.0) == PLAN


@pytest.mark.parametrize("times", [0.5, 1.5])
def test_the_samples_of_a_pair_may_add_a_certain_scatter(times):
    """`times` the scatter that is allowed takes its square times the samples."""
    assert found(pairs(times * SCATTER)).alternations == pytest.approx(32 * times**2, abs=1)


def test_a_cell_that_seems_no_slower_may_scatter_more():
    slower = pairs(2 * SCATTER)
    alike = [replace(one, log_ratio=0.0) for one in slower]
    assert (found(slower).alternations, found(alike).alternations) == (128, 32)


@pytest.mark.parametrize(("effect", "alternations"), [(0.011, 128), (0.03, 128), (0.04, 58), (0.05, 32), (0.5, 32)])
def test_the_further_a_cell_is_above_the_noise_floor_the_more_its_pairs_may_scatter(effect, alternations):
    slower = [replace(one, log_ratio=effect) for one in pairs(2 * SCATTER)]
    assert found(slower).alternations == pytest.approx(alternations, abs=1)


def test_the_noise_is_that_of_a_sample_however_many_the_pairs_took():
    few = pairs(2 * SCATTER, samples=8)
    assert found(few).alternations == 32


def test_a_pair_samples_as_long_as_what_it_costs_besides_but_no_longer_than_the_first():
    assert found(pairs(0.0), besides=15.9 * ALTERNATION).alternations == 16
    assert found(pairs(0.0), besides=1.0).alternations == 32


def test_there_are_never_too_few_samples_and_never_too_many():
    assert found(pairs(0.0)).alternations == FEWEST
    assert found(pairs(1.0)).alternations == MOST * 32


@pytest.mark.parametrize(("alternation", "fewest"), [(0.19, FEWEST), (0.21, FEWEST_LONG)])
def test_a_quiet_cell_with_long_calls_gets_one_alternation_for_each_order(alternation, fewest):
    plan = replace(PLAN, alternations=2, blocks=1)
    assert found(pairs(0.0, samples=2, alternation=alternation), plan=plan).alternations == fewest


def test_a_noisy_cell_with_long_calls_gets_as_many_alternations_as_others_have_at_least():
    plan = replace(PLAN, alternations=2)
    assert found(pairs(0.1, samples=2, alternation=1.0), plan=plan).alternations == PAIR.fewest


def test_more_samples_than_in_the_first_pair_take_no_more_than_a_certain_time():
    assert found(pairs(1.0, alternation=LONGEST / 40)).alternations == 40
    assert found(pairs(1.0, alternation=LONGEST)).alternations == 32


def test_each_side_is_first_equally_often():
    for noise in range(1, 40):
        assert found(pairs(SCATTER * noise / 20)).alternations % 2 == 0


def read(setups, blocks=4, count=6, within=0.001, scatter=math.inf, seed=1, **more):
    """Pairs of `blocks` setups that each read something else, by `setups`."""
    draw = random.Random(seed)
    known = [math.hypot(draw.gauss(0, setups / math.sqrt(blocks)), within) for _ in range(count)]
    logs = [draw.gauss(0, min(setups / math.sqrt(blocks), scatter)) for _ in range(count)]
    made = pairs(within, count=count, setups=math.nan, blocks=blocks, **more)
    return [
        replace(one, setups=math.nan if blocks == 1 else add, log_ratio=log)
        for one, add, log in zip(made, known, logs, strict=True)
    ]


def mean_of(draw, of, draws=200):
    return sum(getattr(draw(seed), of) for seed in range(draws)) / draws


@pytest.mark.parametrize("blocks", [1, 4])
def test_setups_that_read_different_times_are_repeated_more(blocks):
    calm, unsteady = (
        mean_of(lambda seed: found(read(setups, blocks, seed=seed), besides=0.1), "blocks")  # noqa: B023 - called at once
        for setups in (0.002, 0.03)
    )
    assert calm == pytest.approx(2, abs=0.2)
    assert unsteady > 6


def test_the_first_pair_alone_does_not_make_setups_a_single_one():
    assert found(read(0.0, count=1)).blocks == FEWEST_BLOCKS


def test_a_setup_that_takes_longer_than_the_rest_of_the_pair_is_not_repeated():
    plan = replace(PLAN, blocks=1, setup=1.0)
    effects = read(0.1, blocks=1, count=6)
    assert found(effects, besides=1.2, plan=plan).blocks == 1


def test_what_setups_seem_to_scatter_by_counts_only_if_pairs_scatter_too():
    """Samples that drift inside a pair look like setups that differ."""
    drifting = [replace(one, log_ratio=0.0) for one in read(0.03)]
    assert found(drifting, besides=0.1).blocks == FEWEST_BLOCKS


def test_setups_are_as_many_as_their_time_is_worth():
    assert blocks_for(0.0, pair=0.1, block=0.002) == 1
    assert blocks_for(1.0, pair=0.18, block=0.02) == 3, "the square root of what a pair costs in setups"
    assert blocks_for(2.0, pair=0.18, block=0.02) == 6
    assert blocks_for(9.0, pair=0.18, block=0.02) == 9, "no longer than the rest of the pair"
    assert blocks_for(9.0, pair=9.0, block=0.02) == MOST_BLOCKS


def test_each_setup_has_two_samples_at_least():
    plan = found(pairs(0.0))
    assert plan.blocks <= plan.alternations // 2


def scattered(deviation, within, seed, count=6):
    draw = random.Random(seed)
    return [Effect(pair, pair, draw.gauss(0, deviation), 1e-6, 1e-6, 32, within=within) for pair in range(count)]


def test_what_pairs_scatter_by_beyond_their_samples_is_the_median_over_the_cells():
    assert scatter_between(scattered(0.02, 0.01, seed) for seed in range(400)) == pytest.approx(0.0163, rel=0.05)
    assert scatter_between(scattered(0.005, 0.01, seed) for seed in range(400)) == 0.0


def test_nothing_is_known_of_it_before_some_pairs():
    assert scatter_between([scattered(0.02, 0.01, 1, count=PAIRS_TO_SCATTER - 1)]) == 0.0


def test_where_pairs_scatter_anyway_fewer_samples_suffice():
    noisy = pairs(2 * SCATTER)
    calm, unsteady = (adapted(PLAN, noisy, 3 * 32 * ALTERNATION, between=between) for between in (0.0, 2 * SCATTER))
    assert (calm.alternations, unsteady.alternations) == (4 * 32, 32)


def test_what_setups_scatter_by_does_not_count_as_scatter_between_pairs():
    cells = [read(0.04, seed=seed) for seed in range(200)]
    assert scatter_between([[replace(one, setups=math.nan) for one in cell] for cell in cells]) > 0.013
    assert scatter_between(cells) < 0.013
