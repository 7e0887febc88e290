"""Special functions, against scipy's."""

import math

import pytest
from scipy import special, stats

from bench_core.special import digamma, student_t, trigamma, trigamma_inverse


@pytest.mark.parametrize("freedom", [1, 1.5, 2, 3, 4.7, 10, 30, 250.5, 1e4])
@pytest.mark.parametrize("probability", [0.5, 0.6, 0.9, 0.975, 0.995, 1 - 1e-5, 1 - 1e-9])
def test_the_quantiles_of_students_t_are_those_of_scipy(probability, freedom):
    assert student_t(probability, freedom) == pytest.approx(stats.t.isf(1 - probability, freedom), rel=1e-6, abs=1e-9)


def test_infinite_freedom_is_the_normal_distribution():
    assert student_t(0.975, math.inf) == pytest.approx(1.959964, abs=1e-6)


@pytest.mark.parametrize("x", [1e-3, 0.1, 0.5, 1, 1.4616, 2.5, 9.99, 10, 57.3, 1e5])
def test_digamma_and_trigamma_are_those_of_scipy(x):
    assert digamma(x) == pytest.approx(float(special.digamma(x)), rel=1e-10, abs=1e-10)
    assert trigamma(x) == pytest.approx(float(special.polygamma(1, x)), rel=1e-10)


@pytest.mark.parametrize("x", [1e-3, 0.1, 0.5, 1, 2, 33, 1e4])
def test_trigamma_is_inverted(x):
    assert trigamma_inverse(trigamma(x)) == pytest.approx(x, rel=1e-6)
