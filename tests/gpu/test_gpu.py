import dataclasses
import gc
import io
import json
import sys
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from bench_core.cli import main
from bench_core.errors import BenchCoreError, require_writable
from bench_core.gpu import protocol, record
from bench_core.gpu import table as report
from bench_core.gpu.accelerator import DeviceState, OtherTimer, other_timers
from bench_core.gpu.record import CellTimes, GpuRun, NotTimed, Settings, TimerComparison, Yardstick
from bench_core.records.run import Samples
from bench_core.testing import FakeAccelerator, FakeClock
from bench_core.timing.cells import SuiteDirectory

SHORT = Settings(rounds=7, agreement_rounds=7, warm_up=0.01)

SUITE = '''
    from bench_core.suite import traffic

    device = None  # the test puts a FakeAccelerator here


    class Work:
        """Cells that are launch-bound, device-bound, or waiting, by parameter."""

        param_names = ["device", "size"]
        params = [["cpu", "fake"], ["8x4", "4096x4096", "8192x8192"]]
        quick = {"device": ["cpu"], "size": ["8x4", "4096x4096"]}
        batch_calls = True

        def setup(self, device, size):
            rows, columns = map(int, size.split("x"))
            self.seconds = 4 * rows * columns / 1e12

        @traffic(writes=1)
        def time_fill(self, where, size):
            device.submit(self.seconds)

        def time_wait(self, where, size):
            device.submit(self.seconds)
            device.synchronize()

        def track_nothing(self, where, size):
            return 0


    class Once:
        """Each call needs the object that setup made."""

        number = 1
        param_names = ["device"]
        params = [["fake"]]

        def setup(self, where):
            device.submit(0.01)  # the setup's own work, which must be in no sample
            self.fresh = True

        def time_use(self, where):
            assert self.fresh, "used twice"
            self.fresh = False
            device.submit(50e-6)


    class Faulty:
        param_names = ["device"]
        params = [["fake"]]

        def setup(self, where):
            pass

        def time_wrong(self, where):
            device.submit(1e-6)

        def check_wrong(self, where):
            raise AssertionError("expected 42, found 41")


    class Absent:
        param_names = ["device"]
        params = [["fake"]]

        def setup(self, where):
            raise NotImplementedError("needs two devices")

        def time_exchange(self, where):
            pass


    class FullOnly:
        quick = None
        param_names = ["device"]
        params = [["fake"]]

        def time_nothing(self, where):
            pass
'''


@pytest.fixture(scope="module", autouse=True)
def quick_collections():
    """Every measurement collects garbage first: 0.1 s each with torch loaded, unless all that is set aside."""
    import torch  # noqa: F401 - so that it is among what is set aside

    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu") / "gpu_suite"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "work.py").write_text(textwrap.dedent(SUITE))
    found = SuiteDirectory(folder)
    assert not found.broken
    yield found
    found.close()
    for name in [name for name in sys.modules if name.split(".")[0] == "gpu_suite"]:
        del sys.modules[name]


@pytest.fixture
def device(suite):
    fake = FakeAccelerator(FakeClock())
    sys.modules[f"{suite.path.name}.work"].device = fake
    return fake


def exact(device):
    """Rivals that measure on the fake what torch's timer and do_bench measure on the real one."""

    def host(call):
        device.synchronize()
        start = device.clock()
        for _ in range(1000):
            call()
        device.synchronize()
        return (device.clock() - start) / 1000

    def events(call):
        start, end = device.event(), device.event()
        device.flush()
        start.record()
        call()
        end.record()
        device.synchronize()
        return end.seconds_since(start)

    return (OtherTimer("timer", "host", "warm", host), OtherTimer("events", "device", "cold", events))


def measured(suite, device, pattern=None, others=(), settings=SHORT):
    cells = protocol.quick_cells(suite, "fake", pattern)
    *_, last = protocol.measurements(
        cells, device, date="2026-01-31", others=others, clock=device.clock, settings=settings
    )
    return last


def only(run):
    (cell,) = run.cells
    return cell


# Which cells


def test_the_cells_are_the_quick_profiles_with_the_device_in_place_of_the_cpu(suite):
    assert [cell.name.partition(".")[2] for cell in protocol.quick_cells(suite, "fake", "Work|FullOnly")] == [
        f"Work.time_{operation}('fake', '{size}')" for operation in ("fill", "wait") for size in ("8x4", "4096x4096")
    ]


def test_a_pattern_without_a_cell_on_the_device_is_an_error_that_says_where_to_look(suite):
    with pytest.raises(BenchCoreError, match=r"none of the 1 selected cells is timed on fake.*bench-core list"):
        protocol.quick_cells(suite, "fake", "FullOnly")


def test_the_suite_here_has_cells_for_an_accelerator():
    suite = SuiteDirectory(Path(__file__).parents[2] / "benchmarks")
    cells = protocol.quick_cells(suite, "cuda")
    suite.close()
    assert len(cells) > 20
    assert not any(cell.in_quick_profile for cell in cells)


# What a cell's figures are


def test_a_launch_bound_cell_shows_the_launch_as_its_host_time_and_less_on_the_device(suite, device):
    cell = only(measured(suite, device, "fill.*8x4"))
    assert cell.bound == "launch"
    assert cell.host_seconds.middle == pytest.approx(device.launch, rel=0.01)
    assert cell.launch_seconds.middle == pytest.approx(device.launch)
    assert cell.device_seconds.middle == pytest.approx(device.least)


def test_a_device_bound_cell_takes_the_same_time_on_both_clocks(suite, device):
    cell = only(measured(suite, device, "fill.*4096"))
    seconds = 4 * 4096**2 / 1e12
    assert cell.bound == "device"
    assert cell.host_seconds.middle == pytest.approx(seconds, rel=0.01)
    assert cell.device_seconds.middle == pytest.approx(seconds)
    assert cell.launch_seconds.middle == pytest.approx(device.launch)


def test_a_cell_that_waits_for_the_device_is_reported_as_waiting(suite, device):
    cell = only(measured(suite, device, "wait.*4096"))
    assert not cell.gapless
    assert cell.bound == "waits"


@pytest.mark.parametrize("shift", [-0.05, 0.05])
def test_times_too_close_to_tell_are_even(shift):
    spread = (0.9, 1.0, 1.1) * 3
    host, launch, device = ((1.0,) * 9, spread, tuple(one + shift for one in spread))
    found = (Samples(1, times) for times in (host, device, launch))
    assert CellTimes("cell", *found, gapless=True, l2="warm", allocations=0).bound == "even"


def test_a_cell_whose_calls_need_a_fresh_object_gets_one_for_every_call(suite, device):
    cell = only(measured(suite, device, "Once"))
    assert (cell.host.number, cell.device.number, cell.l2) == (1, 1, "cold")
    assert cell.gapless
    assert cell.device_seconds.middle == pytest.approx(50e-6)
    assert cell.host_seconds.middle == pytest.approx(device.launch + 50e-6)


def test_a_cell_that_stays_warm_is_set_up_once(suite, device, monkeypatch):
    cells = protocol.quick_cells(suite, "fake", "fill.*8x4")
    setups = []
    monkeypatch.setattr(cells[0].owner, "setup", lambda self, *_: setups.append(self) or setattr(self, "seconds", 1e-6))
    measured(suite, device, "fill.*8x4")
    assert len(setups) == 1


def test_declared_bytes_become_a_bandwidth_on_the_devices_clock(suite, device):
    cell = only(measured(suite, device, "fill.*4096"))
    assert (cell.moved_bytes, cell.yardstick) == (4 * 4096**2, "fill_")
    assert cell.bandwidth == pytest.approx(1e12)
    assert only(measured(suite, device, "wait.*4096")).bandwidth is None


def test_allocations_inside_samples_are_counted_and_those_of_the_setup_are_not(suite, device):
    taken = [0]
    device.allocations = lambda: taken[0]
    submit = device.submit

    def allocating(seconds, **rest):
        taken[0] += seconds in (50e-6, 0.01)  # the call of Once and its setup
        submit(seconds, **rest)

    device.submit = allocating
    assert only(measured(suite, device, "Once")).allocations == 2 * SHORT.rounds


def test_a_slow_cell_gets_fewer_rounds_and_never_too_few_for_an_interval(suite, device):
    cell = only(measured(suite, device, "Once", settings=dataclasses.replace(SHORT, rounds=21, cell_seconds=0.01)))
    assert len(cell.host.seconds) == len(cell.device.seconds) == record.FEWEST_ROUNDS
    assert cell.device_seconds.known


def test_a_cell_whose_check_fails_is_not_timed_and_the_others_are(suite, device):
    run = measured(suite, device, "Faulty|Once")
    assert run.not_timed == (
        NotTimed("work.Faulty.time_wrong('fake')", "AssertionError: expected 42, found 41", failed=True),
    )
    assert only(run).name == "work.Once.time_use('fake')"


def test_a_cell_that_skips_itself_is_kept_with_its_reason(suite, device):
    run = measured(suite, device, "Absent")
    assert run.not_timed == (NotTimed("work.Absent.time_exchange('fake')", "needs two devices", failed=False),)


def test_cached_memory_is_given_back_before_a_cell_is_asked_whether_it_fits(suite, device, monkeypatch):
    order = []
    device.release = lambda: order.append("release")
    monkeypatch.setattr(protocol.Cell, "why_not", property(lambda _: order.append("ask") or "no"))
    measured(suite, device, "Work.time_fill")
    assert order == ["release", "ask"] * 2


# Yardsticks and state


def test_the_yardsticks_are_the_devices_bandwidth_before_and_after(suite, device):
    run = measured(suite, device, "Once")
    assert [stick.operation for stick in run.yardsticks] == ["fill_", "copy_"]
    for stick in run.yardsticks:
        assert stick.bandwidth.middle == pytest.approx(device.bandwidth)
        assert stick.drift == pytest.approx(1.0)


def test_a_device_that_becomes_slower_during_the_run_shows_it_in_the_drift(suite, device):
    *_, last = slowing(suite, device)
    assert [stick.drift for stick in last.yardsticks] == [pytest.approx(1.25)] * 2


def slowing(suite, device):
    for run in protocol.measurements(
        protocol.quick_cells(suite, "fake", "Once"), device, date="", others=(), clock=device.clock, settings=SHORT
    ):
        if run.cells:
            device.bandwidth = 0.8e12
        yield run


def test_the_state_is_read_while_the_device_works(device):
    device.state = lambda: dataclasses.replace(device.reports, celsius=float(device.flushes))
    before = device.clock.now
    state = protocol.state_at_work(device)
    assert isinstance(state, DeviceState)
    assert device.flushes >= 8
    assert device.clock.now - before >= 8 * protocol.seconds_of_flush(device)


# The comparison


def test_the_comparison_spans_10_us_to_10_ms_in_six_jobs_and_agrees_on_a_fake(suite, device):
    run = measured(suite, device, "Once", others=exact(device))
    for rival in ("timer", "events"):
        rows = [row for row in run.agreements if row.rival == rival]
        assert len(rows) == 6
        assert [row.verdict for row in rows] == ["agrees"] * 6
        for row, target in zip(rows, (1e-5, 4e-5, 1.6e-4, 6.3e-4, 2.5e-3, 1e-2), strict=True):
            assert 0.75 * target <= row.ours[0] <= 2.5 * target


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "agrees"), (1.019, "agrees"), (1.03, "differs"), (0.97, "differs")]
)
def test_a_rival_that_is_off_by_more_than_two_percent_differs(factor, verdict):
    times = (1.0,) * 7
    assert TimerComparison("job", "rival", "device", "cold", tuple(factor * t for t in times), times).verdict == verdict


def test_an_interval_across_the_border_or_without_ends_is_undecided():
    ours = (1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06)
    assert TimerComparison("job", "rival", "host", "warm", ours, (1.0,) * 7).verdict == "undecided"
    assert TimerComparison("job", "rival", "host", "warm", (1.0,), (1.0,)).verdict == "undecided"


def test_a_rival_that_is_absent_or_fails_costs_its_row_and_not_the_run(suite, device):
    def broken(_):
        raise RuntimeError("no driver")

    others = (
        OtherTimer("absent", "device", "cold", broken, reason="triton does not import here"),
        OtherTimer("broken", "device", "cold", broken),
    )
    run = measured(suite, device, "Once", others=others)
    assert {(row.rival, row.reason, row.verdict) for row in run.agreements} == {
        ("absent", "triton does not import here", "not compared"),
        ("broken", "RuntimeError: no driver", "not compared"),
    }
    assert run.finished


def test_the_real_rivals_are_torchs_timer_and_triton_and_each_says_its_state(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    timer, bench = other_timers(span=0.001)
    assert (timer.clock, timer.l2, timer.reason) == ("host", "warm", "")
    assert (bench.clock, bench.l2) == ("device", "cold")
    assert bench.reason.startswith("triton does not import here")
    assert 0 < timer.seconds(lambda: None) < 1e-3


def test_do_bench_is_asked_for_its_mean_and_its_milliseconds_become_seconds(monkeypatch):
    import types

    asked = {}
    testing = types.ModuleType("triton.testing")
    testing.do_bench = lambda call, **options: asked.update(options, call=call) or 2.5
    monkeypatch.setitem(sys.modules, "triton", types.ModuleType("triton"))
    monkeypatch.setitem(sys.modules, "triton.testing", testing)
    _, bench = other_timers(span=0.05)
    assert bench.seconds(print) == 0.0025
    assert asked == {"call": print, "warmup": 10, "rep": 50, "return_mode": "mean"}


# The record


def full_run():
    samples = Samples(4, (1.0, 2.0))
    return GpuRun(
        device="Fake",
        kind="fake",
        date="2026-01-31",
        facts={"torch": "0.0"},
        settings=SHORT,
        before=DeviceState("nvidia-smi", sm_mhz=1000.0, reasons=("gpu idle",)),
        after=DeviceState("nobody"),
        yardsticks=(Yardstick("fill_", 4, samples, samples), Yardstick("copy_", 8, samples)),
        agreements=(
            TimerComparison("job", "rival", "host", "warm", (1.0,), (2.0,)),
            TimerComparison("a", "b", "c", "d", reason="e"),
        ),
        cells=(CellTimes("cell", samples, samples, samples, True, "warm", 0, 12, "fill_"),),
        not_timed=(NotTimed("other", "why", failed=True),),
        finished=True,
    )


@pytest.mark.parametrize("run", [full_run(), dataclasses.replace(full_run(), after=None, cells=(), finished=False)])
def test_a_record_that_is_stored_and_read_is_the_same(run, tmp_path):
    record.write(run, tmp_path / "run.jsonl")
    assert record.read(tmp_path / "run.jsonl") == run
    assert [path.name for path in tmp_path.iterdir()] == ["run.jsonl"]


def test_a_record_of_another_schema_or_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "run.jsonl"
    record.write(full_run(), path)
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 99'))
    with pytest.raises(BenchCoreError, match="schema 99; this version reads schema 1"):
        record.read(path)
    record.write(full_run(), path)
    path.write_text(path.read_text().replace('"seconds"', '"second"'))
    with pytest.raises(BenchCoreError, match="is damaged"):
        record.read(path)
    path.write_text("{")
    with pytest.raises(BenchCoreError, match="cannot be read as the record"):
        record.read(path)


def test_asv_reads_its_results_without_a_word_about_the_record(tmp_path, caplog):
    from asv.results import iter_results_paths

    path = tmp_path / "gpu" / record.file_name("NVIDIA H100 PCIe", "2026-01-31T1405")
    require_writable(path.parent)
    record.write(full_run(), path)
    assert path.name == "gpu-nvidia-h100-pcie-2026-01-31T1405.jsonl"
    assert list(iter_results_paths(str(tmp_path))) == []
    assert caplog.records == []


# The command


@pytest.fixture
def device_at_hand(device, monkeypatch):
    """run_gpu finds the fake, with its clock and rivals."""
    monkeypatch.setattr(protocol, "open_accelerator", lambda _: device)
    monkeypatch.setattr(protocol, "other_timers", lambda _: exact(device))
    original = protocol.measurements
    monkeypatch.setattr(protocol, "measurements", lambda *a, **k: original(*a, clock=device.clock, **k))


@pytest.mark.usefixtures("device_at_hand")
def test_the_command_stores_the_finished_run_and_says_what_it_does(suite, tmp_path):
    said = []
    run, path = protocol.run_gpu(suite, tmp_path, date="d", settings=SHORT, pattern="Once", progress=said.append)
    assert run.finished
    assert path == tmp_path / "gpu" / "gpu-fake-accelerator-d.jsonl"
    assert record.read(path) == run
    assert "[1/1] work.Once.time_use('fake')" in said


@pytest.mark.usefixtures("device_at_hand")
def test_an_interrupted_run_keeps_what_it_has(suite, tmp_path):
    def interrupt(line):
        if line.startswith("[2/"):
            raise KeyboardInterrupt

    run, path = protocol.run_gpu(
        suite, tmp_path, date="d", settings=SHORT, pattern="Work.time_fill", progress=interrupt
    )
    assert (len(run.cells), run.finished, run.after) == (1, False, None)
    assert record.read(path) == run


@pytest.mark.usefixtures("device_at_hand")
def test_a_run_interrupted_before_the_first_figure_says_that_nothing_is_stored(suite, tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(BenchCoreError, match="nothing is stored"):
        protocol.run_gpu(suite, tmp_path, date="d", settings=SHORT, progress=interrupt)
    assert list((tmp_path / "gpu").iterdir()) == []


@pytest.mark.usefixtures("device_at_hand")
def test_results_that_cannot_be_stored_are_known_before_anything_is_measured(suite, tmp_path):
    (tmp_path / "gpu").write_text("a file where the folder should be")
    said = []
    with pytest.raises(BenchCoreError, match=r"results cannot be stored in .*gpu"):
        protocol.run_gpu(suite, tmp_path, date="d", settings=SHORT, progress=said.append)
    assert said == []


# The report


def shown(renderable, width=200):
    console = Console(width=width, file=io.StringIO())
    console.print(renderable)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def cell(name, host, device, launch, **rest):
    def samples(seconds):
        return Samples(1, (seconds,) * 7)

    known = {"gapless": True, "l2": "warm", "allocations": 0}
    return CellTimes(name, samples(host), samples(device), samples(launch), **(known | rest))


def test_the_table_shows_both_clocks_what_bounds_the_cell_and_the_share_of_the_bandwidth():
    run = dataclasses.replace(
        full_run(),
        yardsticks=(Yardstick("fill_", 1 << 30, Samples(1, (1e-3,) * 7)),),
        cells=(
            cell("a.B.time_c(cuda, 8x4)", 5e-6, 2e-6, 5e-6),
            cell("a.B.time_c(cuda, big)", 2.01e-3, 2e-3, 5e-6, moved_bytes=1 << 30, yardstick="fill_"),
            cell("a.B.time_d(cuda)", 4e-5, 3e-5, 3e-5, gapless=False, l2="cold", moved_bytes=1 << 30),
        ),
    )
    assert shown(report.cells(run)) == [
        "Cells on Fake",
        "                host       ±   device       ±    L2   launch  bound by  GB/s  of limit",
        "a.B.time_c",
        "  cuda, 8x4  5.00 µs  ±0.0 %  2.00 µs  ±0.0 %  warm  5.00 µs    launch",
        "  cuda, big  2.01 ms  ±0.0 %  2.00 ms  ±0.0 %  warm  5.00 µs    device   537      50 %",
        "a.B.time_d",
        "  cuda       40.0 µs  ±0.0 %  30.0 µs  ±0.0 %  cold  30.0 µs     waits",
    ]


def test_the_comparison_shows_ratio_interval_verdict_and_how_many_agree():
    run = dataclasses.replace(
        full_run(),
        agreements=(
            TimerComparison("fill_ of 9", "do_bench", "device", "cold", (1.01e-5,) * 7, (1e-5,) * 7),
            TimerComparison("normal_ of 9", "do_bench", "device", "cold", (1.1e-4,) * 7, (1e-4,) * 7),
            TimerComparison("fill_ of 9", "other", "host", "warm", reason="not installed"),
        ),
    )
    text = shown(report.comparison(run))
    assert text[2:5] == [
        "do_bench",
        "  fill_ of 9    device  cold  10.1 µs  10.0 µs  1.0100  1.0100 to 1.0100  agrees",
        "  normal_ of 9  device  cold   110 µs   100 µs  1.1000  1.1000 to 1.1000  differs",
    ]
    assert text[5].endswith("1 of 2 agree")
    assert text[7].endswith("not compared: not installed")


def test_a_quiet_run_has_no_warnings():
    calm = DeviceState("nvidia-smi", sm_mhz=1000.0, reasons=("gpu idle", "applications clocks setting"))
    run = dataclasses.replace(full_run(), before=calm, after=calm, agreements=(), not_timed=())
    assert report.warnings(run) == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"finished": False}, "interrupted after 1 cell"),
        (
            {"after": DeviceState("nvidia-smi", sm_mhz=990.0, max_sm_mhz=1980.0, reasons=("software power cap",))},
            "At the end the device was slowed by software power cap, at 990 of 1980 MHz.",
        ),
        ({"after": DeviceState("nvidia-smi", sm_mhz=900.0)}, "from 1000 to 900 MHz"),
        ({"yardsticks": (Yardstick("fill_", 4, Samples(1, (1.0,)), Samples(1, (1.5,))),)}, "1.50 times as long"),
        ({"before": DeviceState("nobody")}, "unknown: nvidia-smi"),
        ({"cells": (cell("slow", 1, 1, 1, gapless=False),)}, "1 cell waited for the device inside a call"),
        ({"cells": (cell("big", 1, 1, 1, allocations=3),)}, "1 cell requested memory from the driver"),
        (
            {"agreements": (TimerComparison("job", "rival", "host", "warm", (2.0,) * 7, (1.0,) * 7),)},
            "1 comparison with another timer differed by more than 2 %",
        ),
        ({"not_timed": (NotTimed("x", "boom", failed=True),)}, "1 cell failed without a time: x (boom)."),
        ({"not_timed": (NotTimed("x", "n/a", failed=False),) * 5}, "5 cells cannot run here: "),
    ],
)
def test_what_disturbs_the_figures_is_warned_of_with_its_number(change, expected):
    calm = DeviceState("nvidia-smi", sm_mhz=1000.0, reasons=())
    run = dataclasses.replace(full_run(), before=calm, after=calm, agreements=(), not_timed=())
    (warning,) = report.warnings(dataclasses.replace(run, **change))
    assert expected in warning


def test_the_machine_table_says_unknown_where_nothing_is_known():
    text = shown(report.machine(full_run()))
    (clocks,) = [line.split() for line in text if line.startswith("SM clock")]
    (held,) = [line.split() for line in text if line.startswith("clocks held by")]
    assert clocks == ["SM", "clock,", "MHz", "1000", "unknown"]
    assert held == ["clocks", "held", "by", "gpu", "idle", "unknown"]


def test_a_whole_report_of_a_measured_run_renders(suite, device):
    text = "\n".join(shown(report.report(measured(suite, device, others=exact(device)))))
    assert "6 of 6 agree" in text
    assert "launch" in text
    assert "1 cell failed" in text


def test_the_command_sets_the_variables_of_the_matrix_and_says_what_it_leaves_open(tmp_path, monkeypatch):
    for name in ("GPU_MODE", "GPU_SIZE", "PYTHONPATH", "ASV_PYTHONPATH"):
        monkeypatch.setenv(name, "")  # restored at the end
        monkeypatch.delenv(name)
    folder = tmp_path / "gpu_matrix"
    folder.mkdir()
    (folder / "__init__.py").write_text("import os\nassert os.environ['GPU_MODE'] == 'fast'\n")
    (folder / "work.py").write_text("def time_it(): pass\n")
    matrix = {"env": {"GPU_MODE": ["fast"], "GPU_SIZE": ["1", "2"]}}
    settings = {"version": 1, "project": "x", "repo": ".", "benchmark_dir": "gpu_matrix", "matrix": matrix}
    (tmp_path / "asv.conf.json").write_text(json.dumps(settings))
    monkeypatch.setattr(protocol, "open_accelerator", no_accelerator)
    done = CliRunner().invoke(main, ["gpu", "--suite", str(tmp_path / "asv.conf.json")])
    assert "gives GPU_SIZE several values" in done.stderr
    assert "is left out" not in done.stderr
    assert "there is none" in done.stderr


def no_accelerator(kind):
    raise BenchCoreError("there is none")
