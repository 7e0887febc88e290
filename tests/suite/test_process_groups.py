"""Ranks: what they answer, how long it took, how they end, and what goes wrong with them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
import torch.distributed as dist

from bench_core import clock
from bench_core.errors import BenchCoreError
from bench_core.suite import ranks
from bench_core.suite.ranks import RankError, Ranks
from bench_core.testing import FakeClock

pytestmark = pytest.mark.skipif(ranks.why_not(2) is not None, reason=str(ranks.why_not(2)))

ENDED = 10.0
"""Seconds after which a process that has been killed is gone on any machine."""


@pytest.fixture
def two():
    with Ranks(2, timeout=30) as started:
        yield started


@pytest.fixture
def impatient(two):
    """Ranks that hang after a second."""
    two.timeout = 1.0
    return two


def number(rank):
    return rank.number


def process(_rank):
    return os.getpid()


def total(rank):
    every = torch.tensor([rank.number + 1])
    dist.all_reduce(every)
    return int(every)


def nothing(_rank):
    pass


def count_to(_rank, last):
    return sum(range(last))


def slow_on(rank, slow):
    """A job that takes 20 ms of processor time on one rank."""
    until = clock.host() + (0.02 if rank.number == slow else 0)
    while clock.host() < until:
        pass


def fails_on(rank, failing, error):
    if rank.number == failing:
        raise error
    dist.barrier()


def fails_everywhere(rank, error):
    raise error


def dies_on(rank, dying, how):
    if rank.number == dying:
        sys.stderr.write("the last words\n")
        sys.stderr.flush()
        os.kill(os.getpid(), how) if how else os._exit(3)
    dist.barrier()


def hangs_on(rank, hanging):
    if rank.number == hanging:
        threading.Event().wait()
    dist.barrier()


def waits_alone(rank):
    """Each rank waits for another collective."""
    other = torch.zeros(1)
    if rank.number:
        dist.recv(other, src=0)
    else:
        dist.recv(other, src=1)


def allocates(rank, mebibytes):
    return torch.ones(mebibytes << 18).sum().item() * rank.count


def gone(numbers):
    """Whether these processes have ended. One that its parent has not waited for yet has."""
    until = clock.host() + ENDED
    while clock.host() < until:
        alive = []
        for each in numbers:
            with suppress(psutil.NoSuchProcess):
                if psutil.Process(each).status() != psutil.STATUS_ZOMBIE:
                    alive.append(each)
        if not alive:
            return True
    return False


# What they do


def test_the_ranks_form_a_group(two):
    assert two.do(number) == [0, 1]
    assert two.do(total) == [3, 3]


def test_a_call_takes_as_long_as_its_slowest_rank_by_the_clock_of_the_ranks():
    host = FakeClock()
    with Ranks(2, timeout=30, timer=host) as started:
        answers = started.timed(slow_on, 1)
        assert [answer.seconds >= 0.02 for answer in answers] == [False, True]
        assert started.clock() == answers[1].seconds
        started.do(slow_on, 0)
        assert started.clock() == answers[1].seconds
        host.advance(5.0)
        assert started.clock() == answers[1].seconds + 5.0


def test_a_call_begins_after_a_barrier(two):
    """Otherwise a rank that is there would wait for one that comes late inside of its time."""
    late = two.do(process)[1]
    os.kill(late, signal.SIGSTOP)
    threading.Timer(0.3, os.kill, (late, signal.SIGCONT)).start()
    assert all(answer.seconds < 0.2 for answer in two.timed(total))


@pytest.mark.skipif(ranks.why_no_peak() is not None, reason=str(ranks.why_no_peak()))
def test_the_peak_is_that_of_each_rank_from_now_on(two):
    two.do(allocates, 64)
    assert all(answer.peak_bytes < 4 << 20 for answer in two.watched(nothing))
    peaks = [answer.peak_bytes for answer in two.watched(allocates, 16)]
    assert all(15 << 20 <= peak < 40 << 20 for peak in peaks), peaks


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the ranks are not forked")
def test_the_process_that_the_ranks_are_forked_from_has_one_thread(two):
    """A rank inherits the locks that other threads hold at the fork, and waits for them forever."""
    assert psutil.Process(two._agent.pid).num_threads() == 1


def test_each_rank_has_one_thread(two):
    assert two.do(threads) == [1, 1]


def threads(_rank):
    return torch.get_num_threads()


# How they end


def test_no_process_is_left(two):
    numbers = [*two.do(process), two._agent.pid]
    folder = two._folder
    two.close()
    assert gone(numbers)
    assert not folder.exists()


def test_ranks_that_nobody_holds_any_more_end():
    started = Ranks(2, timeout=30)
    numbers = started.do(process)
    del started
    assert gone(numbers)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the ranks by /proc")
@pytest.mark.parametrize("busy", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_no_process_outlives_a_cell_that_is_killed(busy, tmp_path):
    program = f"""
        import os, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import test_process_groups
        started = test_process_groups.Ranks(2, timeout=60)
        print(*started.do(test_process_groups.process), started._agent.pid, flush=True)
        {"started.do(test_process_groups.hangs_on, 0)" if busy else "sys.stdin.read()"}
    """
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as cell:
        numbers = list(map(int, cell.stdout.readline().split()))
        assert len(numbers) == 3
        cell.kill()
    assert gone(numbers)


# Cells that share them


def keeps(rank):
    rank.kept["model"] = rank.number


def kept(rank):
    return dict(rank.kept)


def test_ranks_that_are_given_back_are_ended():
    started = ranks.take(1, "cpu")
    ranks.give_back(started)
    assert not started.alive


def test_ranks_that_are_shared_are_taken_again_without_what_they_kept():
    with ranks.shared():
        first = ranks.take(2, "cpu")
        first.do(keeps)
        assert ranks.take(2, "cpu") is not first
        ranks.give_back(first)
        again = ranks.take(2, "cpu")
        assert again is first
        assert again.do(kept) == [{}, {}]
        ranks.give_back(again)
    assert not first.alive


def test_shared_ranks_that_have_ended_are_not_taken_again():
    with ranks.shared():
        first = ranks.take(2, "cpu")
        with pytest.raises(RankError):
            first.do(fails_on, 1, KeyError("x"))
        ranks.give_back(first)
        second = ranks.take(2, "cpu")
        assert second is not first
        ranks.give_back(second)


# What goes wrong


def test_a_rank_that_raises_is_named_and_the_others_are_ended(two):
    numbers = two.do(process)
    with pytest.raises(RankError, match=r"^rank 1 failed: KeyError: 'x'\. All ranks have been ended\.$"):
        two.do(fails_on, 1, KeyError("x"))
    assert gone(numbers)


def test_a_check_that_fails_on_every_rank_leaves_them_alive(two):
    with pytest.raises(AssertionError, match="^rank 0: wrong"):
        two.do(fails_everywhere, AssertionError("wrong"))
    assert two.do(total) == [3, 3]


def test_a_check_that_fails_on_one_rank_ends_the_others_that_wait_for_it(two):
    numbers, began = two.do(process), clock.host()
    with pytest.raises(AssertionError, match="^rank 1: wrong"):
        two.do(fails_on, 1, AssertionError("wrong"))
    assert clock.host() - began < two.timeout / 2
    assert gone(numbers)


@pytest.mark.parametrize(
    ("how", "said"),
    [(signal.SIGKILL, r"signal 9 \(SIGKILL\)"), (0, "exit code 3")],
)
def test_a_rank_that_dies_is_named_with_its_last_words(two, how, said):
    numbers = two.do(process)
    with pytest.raises(RankError, match=f"^rank 1 died: {said}.*the last words"):
        two.do(dies_on, 1, how)
    assert gone(numbers)


def test_a_rank_that_died_between_two_calls_is_named(two):
    numbers = two.do(process)
    os.kill(numbers[0], signal.SIGKILL)
    with pytest.raises(RankError, match="^rank 0 died: signal 9"):
        two.do(total)
    assert gone(numbers)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the ranks end with the cell")
def test_the_end_of_torchruns_agent_is_an_error(two):
    numbers = two.do(process)
    os.kill(two._agent.pid, signal.SIGKILL)
    assert gone([two._agent.pid, *numbers])
    with pytest.raises(RankError, match="^the process that started the ranks died"):
        two.do(total)


def test_a_rank_that_hangs_is_named_with_its_place_and_with_those_that_wait_for_it(impatient):
    numbers = impatient.do(process)
    with pytest.raises(
        RankError,
        match=r"^rank 1 has hung for more than 1 s in threading\.py:\d+ \(wait\); rank 0 waits for it in "
        r"torch\.distributed \(barrier\)",
    ):
        impatient.do(hangs_on, 1)
    assert gone(numbers)


def test_ranks_that_wait_for_each_other_are_both_named(impatient):
    with pytest.raises(RankError, match=r"^ranks 0, 1 wait for each other .* torch\.distributed \(recv\)"):
        impatient.do(waits_alone)


def test_a_rank_that_stops_altogether_is_named(impatient):
    numbers = impatient.do(process)
    os.kill(numbers[1], signal.SIGSTOP)
    with pytest.raises(RankError, match="^rank 1 has hung for more than 1 s in code that lets no thread run"):
        impatient.do(total)
    assert gone(numbers)


def test_a_rank_that_disagrees_is_named_with_both_answers(two):
    numbers = two.do(process)
    with pytest.raises(RankError, match="^rank 1 disagrees about the number: it has 1, the others 0"):
        two.agree(number, what="the number")
    assert gone(numbers)


def test_ranks_that_agree_are_one_answer(two):
    assert two.agree(count_to, 4, what="the sum") == 6


def test_the_ranks_use_no_address_so_that_none_can_be_in_use(monkeypatch):
    with socket.create_server(("localhost", 0)) as taken:
        monkeypatch.setenv("MASTER_ADDR", "localhost")
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        with Ranks(2, timeout=30) as started:
            assert started.do(total) == [3, 3]


@pytest.mark.parametrize("count", [0, -1, 10_000])
def test_more_ranks_than_allowed_are_refused(count):
    with pytest.raises(BenchCoreError, match=f"^{count} ranks cannot be started here: 1 to "):
        Ranks(count)


def test_a_torch_without_distributed_says_so(monkeypatch):
    monkeypatch.setattr(dist, "is_available", lambda: False)
    assert ranks.why_not(2) == f"torch {torch.__version__} is built without torch.distributed"


def test_a_torch_without_gloo_says_so(monkeypatch):
    monkeypatch.setattr(dist, "is_gloo_available", lambda: False)
    assert ranks.why_not(2) == f"torch {torch.__version__} is built without gloo"


def test_ranks_can_be_started_by_a_new_interpreter():
    """As where a fork would break torch."""
    with Ranks(2, timeout=60, start="spawn") as started:
        assert started.do(torch_is_new) == [True, True]


def torch_is_new(rank):
    return rank.count == 2
