import sys

import pytest
import torch

from bench_core.suite import Suite, base, labels, traffic


class Case(Suite):
    param_names = ["device", "threads", "size", "dtype"]
    params = [labels("cpu", "cuda"), labels("1", "all"), labels("8x4", "1024x1024"), labels("float32", "bfloat16")]

    def setup(self, *values):
        super().setup(*values)
        self.weight = torch.zeros(2)


def test_setup_puts_every_cell_into_the_same_state():
    torch.set_num_threads(2)
    torch.rand(3)
    case = Case()
    case.setup("cpu", "1", "8x4", "float32")
    first = torch.rand(3)
    assert torch.get_num_threads() == 1
    case.setup("cpu", "1", "8x4", "float32")
    assert torch.equal(torch.rand(3), first)


def test_teardown_leaves_no_tensor_behind():
    case = Case()
    case.setup("cpu", "1", "8x4", "float32")
    case.teardown("cpu", "1", "8x4", "float32")
    assert not vars(case)


def test_a_missing_device_is_not_applicable_and_never_silently_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    case = Case()
    with pytest.raises(NotImplementedError, match="no cuda: torch .* is built for the CPU alone"):
        case.setup("cuda", "1", "8x4", "float32")


def test_a_build_for_cuda_without_a_device_says_so(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert "finds no such device on this machine" in base.missing_device("cuda")


def test_an_accelerators_clock_waits_for_its_queue_and_the_cpus_does_not(monkeypatch):
    waits = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: waits.append(True))
    base.clock_for("cpu")()
    assert waits == []
    base.clock_for("cuda")()
    assert waits == [True]


def test_memory_is_counted_in_the_cells_dtype():
    case = Case()
    assert case.peak_bytes("cpu", "1", "1024x1024", "float32") == case.copies * 4 << 20
    assert case.peak_bytes("cpu", "1", "1024x1024", "bfloat16") == case.copies * 2 << 20


def test_a_containers_limit_counts_as_the_memory_that_is_there(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert base.container_bytes(tmp_path) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert base.container_bytes(tmp_path) == sys.maxsize
    assert base.container_bytes(tmp_path / "none") == sys.maxsize


def test_traffic_is_declared_on_the_function_where_asv_looks():
    @traffic(reads=2, writes=1)
    def time_it():
        pass

    assert (time_it.weight_reads, time_it.weight_writes) == (2, 1)


@pytest.mark.parametrize("declared", [1, {"normal_": 1}])
def test_random_numbers_are_declared_by_the_class_and_stand_on_the_function_where_asv_looks(declared):
    class One(Suite):
        draws = declared

        def time_it(self):
            pass

    assert One.time_it.weight_draws == declared


def test_a_class_that_declares_nothing_leaves_its_functions_alone():
    class One(Suite):
        def time_it(self):
            pass

    assert vars(One.time_it) == {}


def test_a_benchmark_that_two_classes_share_cannot_have_two_kinds_of_rivals():
    class Mixin:
        def time_it(self):
            pass

    class One(Mixin, Suite):
        rivals = "idiom"

    with pytest.raises(TypeError, match="is inherited with"):

        class Other(Mixin, Suite):
            rivals = "sharing"

    assert One.time_it.rivals == "idiom"
