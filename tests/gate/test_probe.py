"""The flavour of an environment: what makes two of them no fair pair."""

import platform
import sys
from types import SimpleNamespace

import pytest

from bench_core.gate.discover import unfair
from bench_core.gate.probe import TOOLKIT, flavour

CONFIG = "PyTorch built with:\n  - Build settings: BLAS_INFO=mkl, BUILD_TYPE=Release, LAPACK_INFO=mkl, \n"


def torch(version="2.11.0+cpu", **build):
    return SimpleNamespace(
        __version__=version,
        version=SimpleNamespace(**{"cuda": None, "hip": None, **build}),
        get_num_threads=lambda: 1,
        __config__=SimpleNamespace(show=lambda: CONFIG),
    )


def numpy(blas):
    return SimpleNamespace(
        __version__="2.3.0", show_config=lambda mode: {"Build Dependencies": {"blas": {"name": blas}}}
    )


@pytest.fixture
def seen(monkeypatch):
    """Makes the flavour of an environment with these modules."""

    def make(**modules):
        for name in ("torch", "numpy"):
            monkeypatch.setitem(sys.modules, name, modules.get(name))
        return flavour()

    return make


def test_an_environment_without_torch_is_a_python(seen):
    assert seen() == {"Python": f"{platform.python_implementation()} {platform.python_version()}"}


@pytest.mark.parametrize(
    ("build", "name"),
    [({}, "CPU "), ({"cuda": "12.8"}, "CUDA 12.8"), ({"hip": "6.4"}, "ROCm 6.4"), ({"xpu": "2025.2"}, "XPU 2025.2")],
)
def test_the_build_of_torch_is_told(seen, build, name):
    found = seen(torch=torch(**build))
    assert (found["torch"], found["torch's build"], found["torch's BLAS"]) == ("2.11.0", name.split()[0], "mkl")
    assert found[TOOLKIT] == name


def test_a_cpu_build_against_a_cuda_build_is_no_fair_pair(seen):
    found = unfair(seen(torch=torch()), seen(torch=torch("2.11.0+cu128", cuda="12.8")))
    assert "torch's build: CPU on base, CUDA on head" in found


def test_another_blas_of_numpy_is_no_fair_pair(seen):
    base, head = (seen(numpy=numpy(blas)) for blas in ("scipy-openblas", "accelerate"))
    assert unfair(base, head) == ("numpy's BLAS: scipy-openblas on base, accelerate on head",)


def test_a_numpy_that_only_prints_its_blas_has_none_to_compare(seen):
    assert "numpy's BLAS" not in seen(numpy=SimpleNamespace(__version__="1.2", show_config=lambda: None))


def test_what_only_one_side_has_is_none_on_the_other():
    assert unfair({"x": "1", "y": "2"}, {"y": "2"}) == ("x: 1 on base, none on head",)
