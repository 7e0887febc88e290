"""Where the time of a gate went."""

import pytest

from bench_core import clock
from bench_core.gate.measure.spent import OVERHEAD, PARENTS, Spent


@pytest.fixture
def now(monkeypatch):
    """The time that the clock shows. The test sets it forward."""
    shown = [100.0]
    monkeypatch.setattr(clock, "host", lambda: shown[0])
    return shown


def test_what_workers_do_in_a_pair_is_no_overhead(now):
    spent = Spent()
    with spent.on(PARENTS):
        now[0] += 2.0
    for _ in range(2):
        with spent.on(OVERHEAD):
            now[0] += 1.0
            spent.stages({"setup": 0.2, "sampling": 0.5})
    assert spent.seconds == pytest.approx({PARENTS: 2.0, "setup": 0.4, "sampling": 1.0, OVERHEAD: 0.6})
    assert next(iter(spent.seconds)) == PARENTS


def test_time_counts_even_if_the_work_fails(now):
    spent = Spent()
    with pytest.raises(KeyError), spent.on(OVERHEAD):
        now[0] += 1.0
        raise KeyError
    assert spent.seconds == {OVERHEAD: 1.0}
