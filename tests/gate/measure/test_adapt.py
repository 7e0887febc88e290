"""How the noise of earlier pairs decides how the next one samples a cell, on numbers that are made up."""

import math
import random
from dataclasses import replace

import pytest

from bench_core.gate.measure.adapt import (
    FEWEST,
    FEWEST_LONG,
    LONGEST,
    MATTERS,
    MOST,
    PAIRS_TO_SCATTER,
    SCATTER,
    adapted,
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
    return [Effect(pair, pair, 0.0, 1e-6, 1e-6, samples, within, lasted=lasted, **more) for pair in range(count)]


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
    assert (
        found(pairs(0.0, samples=2, alternation=alternation), plan=replace(PLAN, alternations=2)).alternations == fewest
    )


def test_a_noisy_cell_with_long_calls_gets_as_many_alternations_as_others_have_at_least():
    plan = replace(PLAN, alternations=2)
    assert found(pairs(0.1, samples=2, alternation=1.0), plan=plan).alternations == PAIR.fewest


def test_more_samples_than_in_the_first_pair_take_no_more_than_a_certain_time():
    assert found(pairs(1.0, alternation=LONGEST / 40)).alternations == 40
    assert found(pairs(1.0, alternation=LONGEST)).alternations == 32


def test_each_side_is_first_equally_often():
    for noise in range(1, 40):
        assert found(pairs(SCATTER * noise / 20)).alternations % 2 == 0


def test_setups_are_repeated_less_where_they_do_not_matter():
    noisy = pairs(SCATTER)
    assert found(noisy).blocks == 4, "nothing is known"
    alike, unlike = ([replace(one, setups=factor * MATTERS * one.within) for one in noisy] for factor in (0.9, 1.1))
    assert (found(alike).blocks, found(unlike).blocks) == (2, 4)


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
