"""The flavour of an environment: what makes two of them no fair pair."""

import platform
import sys
from types import SimpleNamespace

import pytest

from bench_core.gate.measure.discover import unfair
from bench_core.workers.probe import TOOLKIT, flavour

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
def test_the_build_of_torch_is_part_of_the_flavour(seen, build, name):
    found = seen(torch=torch(**build))
    assert (found["torch"], found["torch's build"], found["torch's BLAS"]) == ("2.11.0", name.split()[0], "MKL")
    assert found[TOOLKIT] == name


def test_a_cpu_build_against_a_cuda_build_is_no_fair_pair(seen):
    found = unfair(seen(torch=torch()), seen(torch=torch("2.11.0+cu128", cuda="12.8")))
    assert "torch's build: CPU on base, CUDA on head" in found


def test_another_blas_of_numpy_is_no_fair_pair(seen):
    base, head = (seen(numpy=numpy(blas)) for blas in ("scipy-openblas", "accelerate"))
    assert unfair(base, head) == ("numpy's BLAS: OpenBLAS on base, Accelerate on head",)


def test_the_wheels_of_all_releases_of_numpy_are_a_fair_pair(seen):
    """The oldest only print their BLAS; 1.26 and 2.x give the same one two names."""
    printing = SimpleNamespace(__version__="1.25.2", show_config=lambda: None)
    flavours = [seen(numpy=one) for one in (printing, numpy("openblas64"), numpy("scipy-openblas"))]
    for one in flavours:
        one.pop("numpy")
    assert "numpy's BLAS" not in flavours[0]
    assert [unfair(base, head) for base in flavours for head in flavours] == [()] * 9


@pytest.mark.parametrize(
    ("name", "family"),
    [
        *(("open", "OpenBLAS"), ("mkl-dynamic-lp64-seq", "MKL"), ("mkl", "MKL"), ("accelerate", "Accelerate")),
        *(("blis", "BLIS"), ("netlib", "reference"), ("nvpl", "nvpl"), ("none", "none")),
        *(("blas", None), ("flexiblas", None), ("generic", None)),
    ],
)
def test_a_blas_is_known_by_its_family_and_one_that_is_chosen_later_not_at_all(seen, name, family):
    assert seen(numpy=numpy(name)).get("numpy's BLAS") == family


def test_a_torch_that_does_not_name_its_blas_leaves_it_unknown(seen):
    silent = torch()
    silent.__config__.show = lambda: "PyTorch built with:\n"
    assert "torch's BLAS" not in seen(torch=silent)


def test_what_only_one_side_is_known_to_have_is_no_claim():
    assert unfair({"x": "1", "y": "2"}, {"y": "3"}) == ("y: 2 on base, 3 on head",)
