"""How the pytest plugin runs and times the cells that it has collected."""

import psutil
import pytest

SHAPES = """
    from bench_core.suite import Suite, labels

    class Shape(Suite):
        params = [labels("good", "{other}"), labels("8x4")]
        param_names = ["idiom", "size"]
        rivals = "idiom"
        number = {number}

        def setup(self, idiom, size):
            super().setup(idiom, size)
            self.used = 0

        def time_once(self, idiom, size):
            self.used += 1
            assert {number} == 0 or self.used == 1, "used twice"

        def check_once(self, idiom, size):
            self.time_once(idiom, size)
            assert idiom != "bad", "the outcome is wrong"
"""


def test_rivals_for_one_job_stand_in_one_table(pytester, suite):
    result = pytester.runpytest(suite(shapes=SHAPES.format(number=0, other="fine")), "--benchmark-max-time=0.001")
    result.stdout.fnmatch_lines(["*benchmark 'shapes.Shape.time_once(8x4)': 2 tests*"])


def test_a_cell_whose_check_fails_is_red_and_is_not_timed(pytester, suite):
    result = pytester.runpytest(suite(shapes=SHAPES.format(number=0, other="bad")), "--benchmark-max-time=0.001")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*the outcome is wrong*", "*benchmark*: 1 tests*"])


def test_what_happens_once_gets_a_fresh_object_for_every_call(pytester, suite):
    result = pytester.runpytest(suite(shapes=SHAPES.format(number=1, other="fine")))
    result.assert_outcomes(passed=2)


RAW = """
    class Import:
        number, repeat = 50, 3

        def timeraw_fine(self):
            return "pass"

        def timeraw_broken(self):
            return "import no_such_module"
"""


@pytest.mark.parametrize("option", ["--benchmark-max-time=0.001", "--benchmark-disable"])
def test_the_text_of_a_timeraw_benchmark_is_run_and_its_failure_is_the_tests(pytester, suite, option):
    result = pytester.runpytest(suite(raw=RAW), option)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["its text failed in a process of its own: ModuleNotFoundError: No module named *"])


def test_the_time_of_a_timeraw_benchmark_is_that_of_its_text_without_the_start_of_the_process(suite, times):
    _, found = times(suite(raw=RAW))
    (timed,) = found.values()
    assert (timed["stats"]["rounds"], timed["stats"]["iterations"]) == (3, 50)
    assert timed["stats"]["max"] < 1e-4  # starting Python takes a hundred times as long


CLOCKED = """
    import time

    now = 0.0


    def timer():
        '''A clock of which one reading takes 1 us.'''
        global now
        now += 1e-6
        return now


    class Clocked:
        timer = staticmethod(timer)
        number, repeat = 3, 2
        params = [0.9e-6, 1.0e-3]
        calls = 0

        def setup(self, seconds):
            self.fresh = True

        def time_wait(self, seconds):
            global now
            assert self.fresh, "used twice"
            self.fresh = False
            now += seconds
"""


def test_a_call_that_takes_no_longer_than_a_reading_of_the_clock_has_no_time(suite, times):
    result, found = times(suite(clocked=CLOCKED))
    result.assert_outcomes(passed=2)
    assert list(found) == ["clocked.Clocked.time_wait(0.001)"]
    result.stdout.fnmatch_lines(["1 cell not timed, since a call takes no longer than a reading*time_wait(9e-07)*"])


def test_with_number_and_a_setup_each_call_of_a_sample_is_set_up_and_timed_alone(suite, times):
    result, found = times(suite(clocked=CLOCKED))
    stats = found["clocked.Clocked.time_wait(0.001)"]["stats"]
    assert (stats["rounds"], stats["iterations"]) == (2, 3)
    assert stats["median"] == pytest.approx(1.001e-3)  # the call and one reading
    result.stdout.fnmatch_lines(["1 cell timed with a setup before each of the calls*time_wait(0.001))"])


MEMOIZED = """
    now = 0.0


    def timer():
        return now


    SEEN = set()


    def time_lookup(seconds):
        global now
        now += 1e-6 if seconds in SEEN else seconds
        SEEN.add(seconds)


    time_lookup.params = [0.5e-3, 2e-3]
    time_lookup.timer = timer
    time_lookup.number = 10
"""


def test_a_first_call_that_takes_a_thousand_times_as_long_is_said_to_be_left_out(suite, times):
    result, found = times(suite(memoized=MEMOIZED))
    assert len(found) == 2
    result.stdout.fnmatch_lines(["1 cell timed without the first call, *(memoized.time_lookup(0.002))"])


def test_a_parameter_may_have_any_name(suite, times):
    name = suite(names="def time_cell(n): pass\ntime_cell.params = [1]\ntime_cell.param_names = ['cell']\n")
    result, found = times(name)
    result.assert_outcomes(passed=1)
    assert found["names.time_cell(1)"]["extra_info"] == {"cell": "1"}


KINDS = """
    import time

    RUN = []

    class Kinds:
        def time_work(self): pass
        def timeraw_text(self): return "pass"
        def track_value(self): return 1
        def mem_list(self): return []
        def peakmem_work(self): pass
        def time_wrong(self): pass
        def check_wrong(self): assert False, "the outcome is wrong"

    class Once:
        number, repeat = 1, 2
        def setup(self): self.waits = iter([range(100_000)])
        def time_consume(self): sum(next(self.waits))

    class Batch(Kinds):
        number, repeat = 7, 2
        timeraw_text = track_value = mem_list = peakmem_work = time_wrong = None

    class Timed(Batch):
        timer = time.process_time
"""


def test_cells_that_are_no_times_are_run_once_and_said_to_be(suite, times):
    result, found = times(suite(kinds=KINDS))
    result.assert_outcomes(passed=8, failed=1)
    assert {name.rpartition(".")[2] for name in found} == {"time_work", "timeraw_text", "time_consume"}
    result.stdout.fnmatch_lines(
        ["3 cells run once, since pytest-benchmark measures nothing but times (kinds.Kinds.mem_list, *)"]
    )


def test_without_pytest_benchmark_cells_are_checked_or_run_once_and_one_sentence_says_so(pytester, suite):
    result = pytester.runpytest(suite(kinds=KINDS), "-p", "no:benchmark", "--strict-markers")
    result.assert_outcomes(passed=8, failed=1)
    result.stdout.fnmatch_lines(["*the outcome is wrong*", "8 cells run once and not timed, since neither *"])
    assert result.stdout.str().count("not timed") == 1


CODSPEED = """
    # As pytest-codspeed 5.0 does: it blocks pytest-benchmark, leaves out what does not ask for a benchmark, and
    # measures a whole test if the test has a marker and does not ask for the fixture.
    import pytest

    MEASURED = []

    class Plugin:
        is_codspeed_enabled = True
        class mode:
            value = "walltime"

    class Fixture:
        def __init__(self, node): self.node = node

        def __call__(self, target):
            MEASURED.append((self.node.name, "auto"))
            target()

        def pedantic(self, target, setup=None, rounds=1, iterations=1):
            MEASURED.append((self.node.name, rounds, iterations))
            for _ in range(rounds):
                if setup: assert setup() is None
                for _ in range(iterations): target()

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(config):
        config.addinivalue_line("markers", "benchmark: for CodSpeed")
        config.pluginmanager.set_blocked("pytest-benchmark")
        config.option.benchmark_disable = True
        config.pluginmanager.register(Plugin(), "codspeed_plugin")

    @pytest.fixture
    def codspeed_benchmark(request):
        return Fixture(request.node)

    def asks(item):
        return {"benchmark", "codspeed_benchmark"} & set(getattr(item, "fixturenames", ()))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(items):
        items[:] = [item for item in items if asks(item) or item.get_closest_marker("benchmark")]

    def pytest_runtest_call(item):
        if not asks(item): MEASURED.append((item.name, "whole"))

    def pytest_terminal_summary(terminalreporter):
        for one in MEASURED: terminalreporter.line(f"measured {one}")
"""


def test_codspeed_measures_the_calls_of_time_cells_and_nothing_else(pytester, suite):
    pytester.makeconftest(CODSPEED)
    result = pytester.runpytest(suite(kinds=KINDS, broken="import no_such_module"))
    result.assert_outcomes(passed=8, failed=1, errors=1)
    assert sorted(line for line in result.outlines if line.startswith("measured ")) == [
        "measured ('kinds.Batch.time_work', 2, 7)",
        "measured ('kinds.Kinds.time_work', 'auto')",
        "measured ('kinds.Once.time_consume', 2, 1)",
    ]
    result.stdout.fnmatch_lines_random(
        [
            "*3 cells run once, since *",
            "1 cell run once, since *text*",
            "1 cell run once and not timed, *names a timer*",
        ]
    )


@pytest.mark.parametrize("body", ["async def time_it(): pass", "def time_it(): yield"])
def test_a_benchmark_that_a_call_does_not_run_is_red(pytester, suite, body):
    result = pytester.runpytest(suite(deferred=f"{body}\ndef time_fine(): pass\n"), "--benchmark-disable")
    outcomes = result.parseoutcomes()
    outcomes.pop("warnings", None)  # of pytest itself, where an earlier test has imported the benchmarks
    assert (outcomes.pop("passed"), *outcomes.values()) == (1, 1)
    assert "time_it" in result.stdout.str()


SKIPS = """
    class Skips:
        params = [0, 1, 2]

        def setup(self, n):
            if n < 2: raise NotImplementedError("no maximum of nothing")

        def time_max(self, n): pass
"""


def test_reasons_of_skips_are_shown_once(pytester, suite):
    name = suite(skips=SKIPS)
    plain = pytester.runpytest(name, "--benchmark-disable").stdout.str()
    assert "2 cells skipped: no maximum of nothing (skips.Skips.time_max(0), skips.Skips.time_max(1))" in plain
    listed = pytester.runpytest(name, "--benchmark-disable", "-rs")
    listed.stdout.fnmatch_lines([f"SKIPPED [[]2[]] {name}/skips.py:*: no maximum of nothing"])
    assert listed.stdout.str().count("no maximum of nothing") == 1


def test_a_failure_of_the_setup_is_named_as_one_and_nothing_is_timed(pytester, suite):
    text = "def time_it(): pass\ndef fails(): raise OSError('no such data')\ntime_it.setup = fails\n"
    result = pytester.runpytest(suite(data=text))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*OSError: no such data", "*The setup of data.time_it failed, so nothing was timed."])
    assert "Rounds" not in result.stdout.str()


HANGS = """
    class Hangs:
        timeout = 0.2

        def time_hang(self):
            while True: pass

        def timeraw_hang(self):
            return "while True: pass"

        def time_fine(self): pass
"""


def test_the_suites_timeout_ends_a_cell_and_the_process_of_its_text(pytester, suite):
    result = pytester.runpytest(suite(hangs=HANGS), "--benchmark-max-time=0.001")
    result.assert_outcomes(passed=1, failed=2)
    assert result.stdout.str().count("\nlonger than the suite's timeout of 0.2 s") == 2
    assert not [child for child in psutil.Process().children() if "-c" in child.cmdline()]


def test_a_text_that_is_ended_leaves_no_pipe_open(pytester, suite):
    files = psutil.Process().num_fds()
    pytester.runpytest(suite(hangs=HANGS), "-k", "timeraw_hang").assert_outcomes(failed=1)
    assert psutil.Process().num_fds() == files


LEFT_BEHIND = """
    import sys


    class Texts:
        timeout = 1.0

        def timeraw_that_leaves_a_process(self):
            return "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])"

        def timeraw_that_prints(self):
            return "print('x' * 10_000)"
"""


def test_a_text_whose_child_holds_its_pipes_is_left_and_one_that_prints_is_told_so(pytester, suite):
    result = pytester.runpytest(suite(texts=LEFT_BEHIND))
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or [""])[-1] == "import signal; signal.pause()":
            process.kill()
    result.assert_outcomes(failed=2)
    assert "longer than the suite's timeout of 1 s" in result.stdout.str()
    assert "its text wrote to standard output, where its process writes the time" in result.stdout.str()
    assert "x" * 100 not in result.stdout.str()


LATE = """
calls = []


class Late:
    params = ["works", "raises"]

    def time_it(self, way):
        calls.append(way)
        if calls.count("raises") > 10:
            raise RuntimeError("too late")
"""


def test_a_cell_that_fails_after_some_samples_has_no_time(suite, times):
    result, stored = times(suite(cases=LATE))
    result.assert_outcomes(passed=1, failed=1)
    assert list(stored) == ["cases.Late.time_it('works')"]
    rows = [line.split()[0] for line in result.stdout.lines if line.startswith("cases.Late")]
    assert rows == ["cases.Late.time_it('works')"]
