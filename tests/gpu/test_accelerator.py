import pytest

from bench_core.clock import draining
from bench_core.errors import BenchCoreError
from bench_core.gpu import accelerator as accelerators
from bench_core.gpu.accelerator import (
    MOST_CALLS,
    SCRATCH_BYTES,
    DeviceState,
    TorchAccelerator,
    TorchEvent,
    device_sample,
    nvidia_state,
    open_accelerator,
    plan,
    seconds_of_flush,
)
from bench_core.testing import FakeAccelerator, FakeClock
from bench_core.timing.sampling import time_sample


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def device(clock):
    return FakeAccelerator(clock)


def work(device, microseconds):
    return lambda: device.submit(microseconds * 1e-6)


def sample(device, call, number, *, l2="warm", head_start=4):
    return device_sample(device, call, number, l2=l2, head_start=head_start, clock=device.clock)


def planned(device, call, span=1e-3):
    return plan(device, call, span=span, flush_seconds=seconds_of_flush(device), clock=device.clock)


# The host's clock


def test_a_host_sample_starts_with_an_empty_queue(device, clock):
    device.submit(1.0)  # left by somebody else
    assert time_sample(work(device, 100), 1, draining(device.synchronize, clock)) == pytest.approx(105e-6)


def test_a_host_sample_ends_when_the_device_is_done_and_not_when_all_is_launched(device, clock):
    call = work(device, 100)
    assert time_sample(call, 10, draining(device.synchronize, clock)) == pytest.approx(1005e-6)
    assert time_sample(call, 10, clock) == pytest.approx(50e-6)


# The device's clock


def test_device_time_of_a_short_call_holds_none_of_the_hosts_launch_time(device):
    found = sample(device, work(device, 3), 20)
    assert found.gapless
    assert found.seconds == pytest.approx(20 * 3e-6)
    assert found.launch_seconds == pytest.approx(20 * 5e-6)


def test_a_head_start_that_runs_out_is_seen(device):
    found = sample(device, work(device, 3), 200, head_start=1)  # 1 ms to launch, 268 us of head start
    assert not found.gapless
    assert found.seconds > 200 * 3e-6


def test_a_call_that_waits_for_the_device_is_never_gapless(device):
    def waits():
        device.submit(3e-6)
        device.synchronize()

    how = planned(device, waits)
    assert how.number == 1
    assert not sample(device, waits, how.number, head_start=how.head_start).gapless


def test_a_warm_sample_drains_flushes_calls_once_untimed_and_drains_again(device):
    order = []
    flush, synchronize = device.flush, device.synchronize
    device.flush = lambda: (order.append("flush"), flush())
    device.synchronize = lambda: (order.append("drain"), synchronize())
    found = sample(device, lambda: (order.append("call"), device.submit(3e-6)), 3, head_start=2)
    assert order == ["drain", "flush", "flush", "call", "call", "call", "call", "drain"]
    assert found.seconds == pytest.approx(9e-6)


def test_a_cold_sample_flushes_before_each_call_and_times_only_the_calls(device):
    order = []
    flush = device.flush
    device.flush = lambda: (order.append("flush"), flush())
    found = sample(device, lambda: (order.append("call"), device.submit(30e-6)), 3, l2="cold", head_start=1)
    assert order == ["flush", "call"] * 3
    assert found.gapless
    assert found.seconds == pytest.approx(90e-6)


def test_one_late_span_of_many_makes_a_cold_sample_gappy(device):
    calls = iter([0.0, 1.0, 0.0])  # the second call keeps the host for a second
    found = sample(device, lambda: device.submit(3e-6, launch=next(calls)), 3, l2="cold", head_start=1)
    assert not found.gapless


def test_an_event_read_too_early_is_an_error_as_in_torch(device):
    start, end = device.event(), device.event()
    start.record()
    device.submit(1.0)
    end.record()
    with pytest.raises(RuntimeError, match="before the device reached it"):
        end.seconds_since(start)


def test_the_time_of_a_flush_is_that_of_its_bytes(device):
    assert seconds_of_flush(device) == pytest.approx(SCRATCH_BYTES / 1e12)


# The plan


@pytest.mark.parametrize("microseconds", [2, 20, 300, 5000])
def test_a_plan_gives_gapless_samples_of_about_the_span(device, microseconds):
    how = planned(device, work(device, microseconds))
    found = sample(device, work(device, microseconds), how.number, head_start=how.head_start)
    assert found.gapless
    assert found.seconds == pytest.approx(how.number * microseconds * 1e-6)
    assert how.number == MOST_CALLS or found.seconds * (1 + 1e-9) >= 1e-3


def test_a_call_of_many_launches_gets_so_few_calls_that_the_queue_takes_them(device):
    def many():
        for _ in range(100):
            device.submit(3e-6)

    how = planned(device, many, span=10e-3)  # 34 calls of 300 us, were there room for them
    assert 1 < how.number * 100 < device.depth
    assert sample(device, many, how.number, head_start=how.head_start).gapless


def test_launches_beyond_the_queues_depth_wait_for_the_device(clock):
    device = FakeAccelerator(clock, depth=10)
    for _ in range(11):
        device.submit(1.0)
    assert clock.now > 1.0


# The instruments

UUID = "aaaa-bbbb"
H100 = "535.104.05, P0, 1980, 2619, 1980, 2619, 310.52, 700.00, 45"


def nvidia_smi(rows, reasons, name="clocks_event_reasons.active"):
    """A fake of it: one row a GPU, and refusal of fields that it does not know."""

    def ask(arguments):
        (query,) = (argument for argument in arguments if argument.startswith("--query-gpu="))
        if "driver_version" in query:
            return "".join(f"{uuid}, {row}\n" for uuid, row in rows.items())
        return "".join(f"{uuid}, {reasons}\n" for uuid in rows) if query.endswith(name) else None

    return ask


def test_the_state_is_that_of_torchs_gpu_among_all_of_the_machine():
    busy = "535.104.05, P2, 900, 2619, 1980, 2619, 699.00, 700.00, 88"
    found = nvidia_state(UUID, nvidia_smi({"GPU-cccc": busy, f"GPU-{UUID}": H100}, "0x0000000000000000"))
    assert found == DeviceState("nvidia-smi", "535.104.05", "P0", 1980, 2619, 1980, 2619, 310.52, 700, 45, ())


def test_a_single_gpu_is_taken_whatever_it_is_called_and_of_several_none_is_guessed():
    assert nvidia_state("mig-part", nvidia_smi({"GPU-cccc": H100}, "0x0")).sm_mhz == 1980
    assert nvidia_state("unheard-of", nvidia_smi({"GPU-cccc": H100, "GPU-dddd": H100}, "0x0")) is None


def test_what_the_driver_does_not_say_is_unknown_and_not_zero():
    row = "470.1, [N/A], 1500, [Not Supported], 1500, [N/A], [N/A], [N/A], 50"
    found = nvidia_state(UUID, nvidia_smi({UUID: row}, "[N/A]"))
    assert (found.pstate, found.memory_mhz, found.power_watts, found.celsius) == (None, None, None, 50)
    assert found.reasons is None
    assert nvidia_state(UUID, lambda _: None) is None


@pytest.mark.parametrize("name", ["clocks_event_reasons.active", "clocks_throttle_reasons.active"])
def test_throttle_reasons_are_read_under_their_new_name_and_their_old(name):
    found = nvidia_state(UUID, nvidia_smi({UUID: H100}, "0x0000000000000025", name))
    assert found.reasons == ("gpu idle", "software power cap", "software thermal slowdown")
    assert found.slowed_by == ("software power cap", "software thermal slowdown")


def test_nvidia_smi_that_is_not_there_says_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert accelerators.ask_nvidia_smi(["--list-gpus"]) is None


# The real one, as far as it goes without hardware


def test_a_torch_event_gives_seconds_where_torch_gives_milliseconds():
    class Event:
        def __init__(self, at):
            self.at = at

        def record(self):
            pass

        query = record

        def elapsed_time(self, end):
            return end.at - self.at

    assert TorchEvent(Event(7.0)).seconds_since(TorchEvent(Event(4.0))) == 0.003


class FakeModule:
    """As torch.cuda, for a device whose tensors lie on the CPU."""

    class Properties:
        name = "CPU in disguise"
        major, minor = 9, 0
        multi_processor_count = 2
        uuid = UUID

    class Event:
        def __init__(self, enable_timing=False):
            assert enable_timing

        def record(self):
            pass

        def query(self):
            return True

        def elapsed_time(self, _):
            return 1.0

    get_device_properties = staticmethod(lambda _: FakeModule.Properties)
    current_device = staticmethod(lambda: 0)
    mem_get_info = staticmethod(lambda: (3, 4))
    memory_stats = staticmethod(lambda: {"num_device_alloc": 7})
    clock_rate = staticmethod(lambda: 1500)

    @staticmethod
    def temperature():
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")


@pytest.fixture
def disguised(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "get_device_module", lambda _: FakeModule)
    monkeypatch.setattr(accelerators, "SCRATCH_BYTES", 1 << 10)
    return TorchAccelerator("cpu")


def test_the_torch_accelerator_reads_what_the_devices_module_offers(disguised):
    assert disguised.name == "CPU in disguise"
    assert (disguised.memory().free, disguised.memory().total) == (3, 4)
    assert disguised.allocations() == 7
    assert disguised.facts()["memory_bytes"] == "4"
    assert disguised.event().seconds_since(disguised.event()) == 0.001


def test_without_nvidia_smi_the_state_is_what_torch_can_read(disguised):
    assert disguised.state() == DeviceState("torch", sm_mhz=1500)


def test_the_jobs_of_the_torch_accelerator_do_what_they_are_called(disguised, monkeypatch):
    import torch

    weights = []
    monkeypatch.setattr(
        torch, "zeros", lambda *a, zeros=torch.zeros, **k: weights.append(zeros(*a, **k)) or weights[-1]
    )
    for operation in ("fill_", "copy_", "normal_"):
        disguised.job(operation, 64)()
    filled, copied, drawn = weights
    assert (filled == 1).all()
    assert (copied == 1).all()
    assert len(drawn.unique()) > 60


def test_a_job_of_several_passes_makes_them_all(device):
    device.job("copy_", 1 << 20, times=5)()
    assert device.free_at == pytest.approx(device.launch + 5 * 2 * 4 * (1 << 20) / 1e12)


def test_a_build_of_torch_without_accelerators_is_an_error_with_the_cure(monkeypatch):
    import torch

    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    with pytest.raises(
        BenchCoreError, match=r"no cuda: torch .* is built for the CPU alone\. Install a build of torch"
    ):
        open_accelerator()


def test_a_hidden_device_or_one_without_a_driver_is_an_error_with_the_cure(monkeypatch):
    import torch

    def built_for(**_):
        return torch.device("cuda")

    monkeypatch.setattr(torch.accelerator, "current_accelerator", built_for)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(BenchCoreError, match=r"finds no such device on this machine\. Check that its driver is loaded"):
        open_accelerator()
    with pytest.raises(BenchCoreError, match=r"no xpu: .*Pass 'cuda'"):
        open_accelerator("xpu")


@pytest.mark.parametrize(
    ("device", "message"), [("cpu", "cpu is not an accelerator"), ("cuda:1", "CUDA_VISIBLE_DEVICES=1")]
)
def test_a_device_that_cannot_be_meant_is_refused(device, message):
    with pytest.raises(BenchCoreError, match=message):
        open_accelerator(device)
