import math

import pytest

from bench_core.records.run import Agreement, Interval, Slowdown
from bench_core.report import pages


def slowdown(low, middle, high, where="torch", source="pytorch/pytorch#1"):
    reported = (source, "it is slow", "the other way", where)
    return Slowdown(*reported, "a.B.time_c(slow)", "a.B.time_c(fast)", 2e-3, 1e-3, Interval(low, middle, high, 0.95))


@pytest.mark.parametrize(
    ("ratio", "where", "words"),
    [
        ((1.2, 1.3, 1.4), "torch", "still slow"),
        ((1.2, 1.3, 1.4), "usage", "slow"),
        ((1.2, 1.3, 1.4), "mended", "fixed"),
        ((0.9, 1.0, 1.05), "torch", "not slow here"),
        ((1.0, 1.3, 1.6), "torch", "inconclusive here"),
    ],
)
def test_the_verdict_is_never_stronger_than_the_interval(ratio, where, words):
    assert pages.verdict(slowdown(*ratio, where=where)) == words


def test_the_page_separates_torch_from_usage_and_orders_by_ratio():
    rows = [slowdown(1.9, 2.0, 2.1), slowdown(2.9, 3.0, 3.1), slowdown(8, 9, 10, where="usage")]
    page = pages.slowdowns_page(rows, "a machine", 150.0)
    torch, usage = page.index("## In torch as installed"), page.index("## In how code uses torch")
    assert torch < page.index("**3.00x** (2.90 to 3.10)") < page.index("**2.00x** (1.90 to 2.10)") < usage
    assert usage < page.index("**9.00x** (8.00 to 10)")
    assert "## Fixed" not in page
    assert "Made by `bench-core known --budget 150s --markdown docs/known-slowdowns.md` on a machine.\n" in page


def test_sources_become_links_and_a_bare_number_belongs_to_the_repository_before_it():
    page = pages.slowdowns_page([slowdown(2, 3, 4, source="a/b#1, #2; c/d#3")], "m", 90.0)
    assert "[b#1](https://github.com/a/b/issues/1), [b#2](https://github.com/a/b/issues/2)" in page
    assert "[d#3](https://github.com/c/d/issues/3)" in page


def test_the_page_of_agreement_counts_who_agrees():
    rows = [
        Agreement("a", 1e-6, Interval(0.99, 1.0, 1.01, 0.95)),
        Agreement("b", 1e-6, Interval(1.0, 1.1, 1.2, 0.95)),
        Agreement("c", 1e-6, Interval(1.02, 1.1, 1.2, 0.95)),
        Agreement("d", 1e-6, Interval(-math.inf, 1.1, math.inf, 0.95)),
    ]
    page = pages.agreement_page(rows, "m")
    assert "1 of 4 cells agree." in page
    assert "| `b` | 1.00 µs | 1.1000 | 1.0000 to 1.2000 | cannot be told |" in page
    assert "| `c` | 1.00 µs | 1.1000 | 1.0200 to 1.2000 | differs |" in page
    assert "| `d` | 1.00 µs | 1.1000 | ? | cannot be told |" in page
