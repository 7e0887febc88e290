from bench_core.clock import draining
from bench_core.testing import FakeClock


def test_a_draining_clock_waits_for_the_device_before_every_reading():
    clock, events = FakeClock(), []

    def synchronize():
        events.append("wait")
        clock.advance(2.0)

    read = draining(synchronize, clock)
    assert (read(), read()) == (2.0, 4.0)
    assert events == ["wait", "wait"]
