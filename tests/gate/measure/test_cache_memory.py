"""What `setup_cache` allocates is not the memory of a benchmark."""

import pytest

CACHED = """
import thing


class Cached:
    def setup_cache(self):
        return len(b'x' * 150_000_000)

    def peakmem_it(self, cache):
        return thing.use(cache)
"""


def test_the_first_reading_of_a_peak_is_as_large_as_the_others(sides):
    use = "def use(cache):\n    return cache\n"
    gate = sides(CACHED, use).measure(until=lambda gate: len(gate.dossiers[0].effects) > 1)
    (found,) = gate.main.cells
    first, second, *_ = found.effects
    assert found.error is None
    assert first.base == pytest.approx(second.base, rel=0.2)
    assert first.head == pytest.approx(second.head, rel=0.2)


def test_a_cache_that_cannot_be_made_is_an_error_with_its_cause(sides):
    cases = CACHED.replace("len(b'x' * 150_000_000)", "1 / 0")
    (found,) = sides(cases, "").measure().main.cells
    assert "ZeroDivisionError" in found.error
