import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench_core.asv_config import asv_config
from bench_core.errors import BenchCoreError
from bench_core.records.run import Agreement, Interval, LeftOut
from bench_core.testing import FakeClock
from bench_core.timing import pairs
from bench_core.timing.cells import SuiteDirectory
from bench_core.timing.pairs import Enough, agreement, slowdowns, spread_over_time

CASES = '''
from bench_core.testing import FakeClock
from bench_core.suite import Report, Suite, labels

CLOCK = FakeClock()


class Sleepy(Suite):
    """Two ways that take 3 s and 1 s of a clock that only they move: somebody/project#1."""

    param_names = ["idiom"]
    params = [labels("slow", "fast", "elsewhere")]
    rivals = "idiom"
    reports = [
        Report("somebody/project#1", "slow it is", "the fast way", "time_it", {{"idiom": "slow"}}, {{"idiom": "fast"}}),
        Report("somebody/project#2", "n/a here", "nothing", "time_it", {{"idiom": "elsewhere"}}, {{"idiom": "fast"}}),
    ]
    number = {number}

    def setup(self, idiom):
        super().setup(idiom)
        self.timer = CLOCK

    def why_not(self, idiom):
        return "not here" if idiom == "elsewhere" else None

    def time_it(self, idiom):
        CLOCK.advance(3.0 if idiom == "slow" else 1.0)


def time_quick():
    pass
'''


@pytest.fixture(params=[0, 1], ids=["warm", "once"])
def suite(request, tmp_path):
    name = "pairs_" + "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    (tmp_path / name / "sleepy.py").write_text(CASES.format(number=request.param))
    (tmp_path / "asv.conf.json").write_text(json.dumps({"version": 1, "repo": ".", "benchmark_dir": name}))
    return SuiteDirectory(asv_config(tmp_path / "asv.conf.json").suite)


def test_a_reported_slowdown_is_the_ratio_of_its_two_cells_and_one_that_cannot_run_here_is_left_out(suite):
    found, gone = slowdowns(suite, rounds=2)
    assert gone == LeftOut("somebody/project#2", "not here")
    assert (found.source, found.where) == ("somebody/project#1", "torch")
    assert (found.slow, found.fast) == ("sleepy.Sleepy.time_it(slow)", "sleepy.Sleepy.time_it(fast)")
    assert (found.slow_seconds, found.fast_seconds) == (3.0, 1.0)
    assert (found.ratio.low, found.ratio.middle, found.ratio.high) == pytest.approx((3, 3, 3))


def test_a_slowdown_has_one_ratio_for_each_setup(suite, monkeypatch):
    found = []
    monkeypatch.setattr(pairs, "ratio_interval", lambda slow, fast: found.append((slow, fast)))
    assert next(slowdowns(suite, setups=5, rounds=2))
    assert found == [([3.0] * 5, [1.0] * 5)]


def counting(monkeypatch, owner):
    """The names of the methods that are called on a case, in order; the list grows."""
    called = []
    for name in ("setup", "time_it"):
        original = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda self, idiom, name=name, original=original: called.append(name) or original(self, idiom)
        )
    return called


def test_a_warm_cell_is_set_up_once_and_one_of_single_calls_before_each_of_them(suite, monkeypatch):
    slow = suite.select("slow")[0]
    monkeypatch.setattr(slow.owner, "reports", slow.owner.reports[:1])
    called = counting(monkeypatch, slow.owner)
    list(slowdowns(suite, setups=1, rounds=3))
    assert called.count("setup") == (2 * 1 if slow.owner.number == 0 else 2 * (1 + 1 + 3))


def test_what_a_check_has_changed_is_set_up_anew_before_it_is_timed(suite, monkeypatch):
    slow = suite.select("slow")[0]
    called = counting(monkeypatch, slow.owner)
    monkeypatch.setattr(slow.owner, "check_it", lambda self, idiom: called.append("check"), raising=False)
    list(agreement([slow], doubled, Enough(rounds=12)))
    assert called[:4] == ["setup", "check", "setup", "time_it"]
    assert called.count("check") == 1


def test_a_sample_of_ours_in_an_agreement_lasts_as_long_as_asvs_by_default(suite, monkeypatch):
    (quick,), calls = suite.select("fast"), []
    clock = sys.modules[quick.owner.__module__].CLOCK
    monkeypatch.setattr(quick.owner, "time_it", lambda self, idiom: calls.append(clock.advance(1 / 1024)))
    (found,) = agreement([quick], lambda call: lambda: 1.0, Enough(rounds=12))
    assert found.seconds == 1 / 1024
    assert 12 * 11 <= len(calls) < 12 * 20  # 11 calls of 1/1024 s are the first to last 0.01 s


def doubled(call):
    """A timer that reads twice what is true."""
    return lambda: 6.0


def test_a_cell_whose_check_fails_has_no_time(suite):
    sleepy = suite.select("slow")[0].owner
    sleepy.check_it = lambda self, idiom: 1 / 0
    try:
        with pytest.raises(ZeroDivisionError):
            list(slowdowns(suite))
        with pytest.raises(ZeroDivisionError):
            list(agreement(suite.select("slow"), doubled))
    finally:
        del sleepy.check_it


def test_a_report_with_a_cell_that_there_is_not_is_one_clear_error(suite, monkeypatch):
    sleepy = suite.select("slow")[0].owner
    monkeypatch.setattr(sleepy, "reports", [replace(sleepy.reports[0], slow={"idiom": "slwo"})])
    with pytest.raises(BenchCoreError, match="Sleepy reports somebody/project#1 with a cell that it does not have"):
        list(slowdowns(suite))


def test_an_agreement_is_our_time_over_the_other_timers(suite):
    slow = suite.select("slow")
    (found,) = agreement(slow, doubled, Enough(rounds=12))
    assert found.seconds == 3.0
    assert found.ratio.middle == pytest.approx(0.5)
    assert not found.agrees


def test_each_timer_goes_first_in_every_second_round_of_an_agreement(suite, monkeypatch):
    (slow,), order = suite.select("slow"), []
    clock = sys.modules[slow.owner.__module__].CLOCK

    def ours(self, idiom):
        order.append("ours")
        clock.advance(3.0)

    def other(call):
        return lambda: order.append("theirs") or 3.0

    monkeypatch.setattr(slow.owner, "time_it", ours)
    list(agreement([slow], other, Enough(rounds=12)))
    rounds = zip(
        *[iter(order[1:])] * 3, strict=True
    )  # one call finds out how many make a sample; in each, one is untimed
    assert list(rounds) == [("ours", "ours", "theirs"), ("theirs", "ours", "ours")] * 6


@pytest.mark.parametrize(("middle", "agrees"), [(0.9899, False), (0.9901, True), (1.0099, True), (1.0101, False)])
def test_a_cell_agrees_within_one_percent(middle, agrees):
    assert Agreement("x", 1.0, Interval(0.9, middle, 1.1, 0.95)).agrees is agrees


def test_a_pair_is_measured_until_its_interval_is_narrow_or_its_time_is_up():
    enough = Enough(rounds=10, width=0.01, seconds=5)
    narrow, wide = Interval(0.999, 1, 1.001, 0.95), Interval(0.9, 1, 1.1, 0.95)
    assert not enough(narrow, 9, 1)
    assert enough(narrow, 10, 1)
    assert not enough(wide, 10, 1)
    assert enough(wide, 10, 5)


def test_the_chosen_cells_are_spread_over_the_logarithm_of_their_time(monkeypatch):
    clock = FakeClock()

    def cell(seconds, **changes):
        opened = SimpleNamespace(call=lambda: clock.advance(seconds), timer=clock, number=0)
        return SimpleNamespace(kind="time", why_not=None, seconds=seconds, open=lambda: opening(opened), **changes)

    times = [1e-6, 1.1e-6, 1.2e-6, 1e-5, 1e-4, 1.1e-4, 1e-3, 1e-2, 5.0]
    chosen = spread_over_time([cell(seconds) for seconds in times], 5)
    assert [cell.seconds for cell in chosen] == [1e-6, 1e-5, 1e-4, 1e-3, 1e-2]


def test_cells_that_are_no_times_or_cannot_be_repeated_are_not_chosen_and_the_others_are(monkeypatch):
    clock = FakeClock()

    def cell(seconds, kind="time", why_not=None, number=0):
        opened = SimpleNamespace(call=lambda: clock.advance(seconds), timer=clock, number=number)
        return SimpleNamespace(kind=kind, why_not=why_not, seconds=seconds, open=lambda: opening(opened))

    usable = [cell(1 / 16), cell(1 / 8)]
    others = [cell(1 / 16, kind="track"), cell(1 / 16, why_not="not here"), cell(1 / 16, number=1), cell(17 / 128)]
    assert spread_over_time([*others, *usable], 2, longest=1 / 8) == usable


class opening:  # noqa: N801 - a context manager in the place of `Cell.open`
    def __init__(self, opened):
        self.opened = opened

    def __enter__(self):
        return self.opened

    def __exit__(self, *_):
        return None


@pytest.mark.skipif(not hasattr(pairs.os, "sched_getaffinity"), reason="pinning is the system's to offer")
def test_pinning_ends_with_its_block():
    before = pairs.os.sched_getaffinity(0)
    with pairs.pinned():
        assert pairs.os.sched_getaffinity(0) == {max(before)}
    assert pairs.os.sched_getaffinity(0) == before
