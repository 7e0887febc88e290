"""Gathers the facts about a machine that affect timings, without judging them.

On Linux the facts come from /proc and /sys (`bench_core.doctor.linux`), elsewhere from Python and psutil. A fact that
is missing, forbidden or garbled is None ("unknown") and never an error, since people run this when something is wrong.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from bench_core import cores
from bench_core.doctor.linux import CPU, KernelFiles

T = TypeVar("T")

PACKAGES = ("bench_core", "torch", "numpy", "safetensors", "asv", "asv_runner", "pytest", "pytest-benchmark", "psutil")
"""Packages whose versions a bug report needs."""

THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("OMP_DYNAMIC", "MKL_DYNAMIC", "OMP_PROC_BIND", "OMP_PLACES", "OMP_WAIT_POLICY"),
    *("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "KMP_BLOCKTIME"),
)
"""Environment variables that set the number of threads, where they run and how they wait."""


@dataclass(frozen=True)
class TorchBuild:
    """How the installed torch was built, and the devices that it finds.

    Attributes:
        threads: threads of one operation in a fresh process, by default.
        capability: the vector instructions that its CPU kernels use, e.g. ``"AVX512"``.
        blas: the linear algebra library, e.g. ``"mkl"``.
        onednn: the version of oneDNN.
        built_for: ``"CPU"``, or the accelerator's toolkit, e.g. ``"CUDA 12.8"``.
        accelerators: the names of the devices.
    """

    threads: int
    capability: str | None = None
    blas: str | None = None
    onednn: str | None = None
    built_for: str = "CPU"
    accelerators: tuple[str, ...] = ()


@dataclass(frozen=True)
class Software:
    """The interpreter and the packages.

    Attributes:
        python: implementation and version.
        versions: the versions of the installed packages among `PACKAGES`.
        torch: None if torch is not installed, or does not import.
        torch_error: the type of the error that importing torch raised, or None.
    """

    python: str
    versions: Mapping[str, str] = field(default_factory=dict)
    torch: TorchBuild | None = None
    torch_error: str | None = None


@dataclass(frozen=True)
class Machine:
    """Facts about a machine. None means unknown. Sizes are in bytes. Cores are numbered as the kernel does.

    Attributes:
        system: ``"Linux"``, ``"Darwin"``, ``"Windows"``.
        os: the operating system's name and version.
        kernel: the kernel's release.
        cpu: the processor's model.
        logical: hardware threads that are switched on.
        groups: the hardware threads of each physical core.
        physical: physical cores.
        usable: the hardware threads that this process may run on.
        efficiency: the slow cores of a processor with two kinds of cores; empty if all are of one kind.
        isolated: the cores that the kernel keeps free of other processes.
        caches: the size of one ``"L1d"``, ``"L2"`` and ``"L3"`` cache.
        memory_total: main memory.
        memory_available: memory that a process can get without swapping.
        memory_limit: the limit that a control group sets.
        swap_used: swap space in use.
        load: the average number of running or waiting processes of the whole machine over the last minute.
        quota: the CPU time that a control group grants, in cores.
        quota_periods: periods (of 100 ms by default) in which the quota was in force.
        quota_stopped: periods in which the quota stopped a thread.
        governors: the number of usable hardware threads under each scaling governor.
        driver: the frequency driver.
        turbo: whether clock rates above the nominal one are allowed.
        turbo_switch: the file that allows them, below /sys/devices/system/cpu.
        smt_switch: the content of /sys/devices/system/cpu/smt/control.
        hot: how often cores have slowed down because of heat since boot.
        huge_pages: the mode of transparent huge pages: ``"always"``, ``"madvise"``, ``"never"``.
        randomized: address space randomization: 0 off, 1 partly, 2 fully.
        virtual: whether this is a virtual machine.
        hypervisor: the hypervisor of a virtual machine.
        container: the kind of container around this process: ``"docker"``, ``"podman"``, ``"kubernetes"`` or another.
        stolen: the share of the CPU time wanted by this machine that the hypervisor gave to others since boot.
        on_battery: whether the machine runs on battery.
        variables: the `THREAD_VARIABLES` that are set.
        software: the interpreter and the packages.
    """

    system: str | None = None
    os: str | None = None
    kernel: str | None = None
    cpu: str | None = None
    logical: int | None = None
    groups: frozenset[frozenset[int]] | None = None
    physical: int | None = None
    usable: frozenset[int] | None = None
    efficiency: frozenset[int] = frozenset()
    isolated: frozenset[int] | None = None
    caches: Mapping[str, int] = field(default_factory=dict)
    memory_total: int | None = None
    memory_available: int | None = None
    memory_limit: int | None = None
    swap_used: int | None = None
    load: float | None = None
    quota: float | None = None
    quota_periods: int | None = None
    quota_stopped: int | None = None
    governors: Mapping[str, int] | None = None
    driver: str | None = None
    turbo: bool | None = None
    turbo_switch: str | None = None
    smt_switch: str | None = None
    hot: int | None = None
    huge_pages: str | None = None
    randomized: int | None = None
    virtual: bool | None = None
    hypervisor: str | None = None
    container: str | None = None
    stolen: float | None = None
    on_battery: bool | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    software: Software | None = None

    @property
    def smt(self) -> bool | None:
        """Whether a physical core has several hardware threads that are switched on."""
        if self.groups is not None:
            return any(len(group) > 1 for group in self.groups)
        if self.logical is None or self.physical is None:
            return None
        return self.logical > self.physical


def ask_python() -> Machine:
    """The answers of Python and psutil, used where there is no /proc."""
    memory, battery = _answer(psutil.virtual_memory), None
    if hasattr(psutil, "sensors_battery"):
        battery = _answer(psutil.sensors_battery)
    swap = _answer(psutil.swap_memory)
    load = _answer(os.getloadavg) if hasattr(os, "getloadavg") else None
    return Machine(
        system=platform.system() or None,
        os=f"{platform.system()} {platform.release()}".strip() or None,
        kernel=platform.version() or None,
        cpu=platform.processor() or platform.machine() or None,
        logical=psutil.cpu_count(),
        physical=psutil.cpu_count(logical=False),
        usable=frozenset(cores.usable()) or None,
        memory_total=int(memory.total) if memory else None,
        memory_available=int(memory.available) if memory else None,
        swap_used=int(swap.used) if swap else None,
        load=load[0] if load else None,
        on_battery=None if battery is None or battery.power_plugged is None else not battery.power_plugged,
    )


def _answer(question: Callable[[], T]) -> T | None:
    try:
        return question()
    except (OSError, RuntimeError, NotImplementedError, psutil.Error):  # platforms refuse with different errors
        return None


def ask_packages() -> Software:
    """The versions of the interpreter and of `PACKAGES`, and torch's build; this imports torch."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    python = f"{platform.python_implementation()} {platform.python_version()}"
    if "torch" not in versions:
        return Software(python, versions)
    try:
        return Software(python, versions, torch=_torch_build())
    except (ImportError, OSError) as error:
        return Software(python, versions, torch_error=type(error).__name__)  # the error's text would contain paths


def _torch_build() -> TorchBuild:
    import torch

    shown = torch.__config__.show()
    blas = re.search(r"\bBLAS_INFO=(\w+)", shown)
    onednn = re.search(r"\b(?:MKL-DNN|oneDNN)\)? v([\w.]+)", shown)
    built_for, devices = "CPU", ()
    if torch.version.cuda:
        built_for = f"CUDA {torch.version.cuda}"
    elif getattr(torch.version, "hip", None):
        built_for = f"ROCm {torch.version.hip}"
    if hasattr(torch, "accelerator") and torch.accelerator.is_available():
        module = torch.get_device_module(torch.accelerator.current_accelerator())
        if hasattr(module, "get_device_name"):
            devices = tuple(module.get_device_name(index) for index in range(module.device_count()))
    return TorchBuild(
        threads=torch.get_num_threads(),
        capability=torch.backends.cpu.get_cpu_capability(),
        blas=blas[1] if blas else None,
        onednn=onednn[1] if onednn else None,
        built_for=built_for,
        accelerators=devices,
    )


def read(
    root: Path = Path("/"),
    *,
    environ: Mapping[str, str] = os.environ,
    python: Callable[[], Machine] = ask_python,
    packages: Callable[[], Software] = ask_packages,
) -> Machine:
    """Gather all facts about the machine.

    Args:
        root: the folder that contains ``proc`` and ``sys``.
        environ: the environment variables.
        python: returns the facts for which there is no file.
        packages: returns the versions.
    """
    files, asked = KernelFiles(root), python()
    usable = files.allowed() or asked.usable
    groups = files.groups()
    virtual, hypervisor = files.virtualization()
    quota = files.quota()
    turbo, turbo_switch = files.turbo()
    memory = files.table("proc/meminfo")
    swap = {name: memory.get(f"Swap{name}") for name in ("Total", "Free")}
    return Machine(
        system=files.text("proc/sys/kernel/ostype") or asked.system,
        os=files.os_name() or asked.os,
        kernel=files.text("proc/sys/kernel/osrelease") or asked.kernel,
        cpu=files.cpu() or asked.cpu,
        logical=len(files.online()) or asked.logical,
        groups=groups,
        physical=len(groups) if groups else asked.physical,
        usable=usable,
        efficiency=files.efficiency(),
        isolated=files.cores(f"{CPU}/isolated"),
        caches=files.caches(min(usable) if usable else 0),
        memory_total=memory.get("MemTotal") or asked.memory_total,
        memory_available=memory.get("MemAvailable") or asked.memory_available,
        memory_limit=files.memory_limit(),
        swap_used=asked.swap_used if swap["Total"] is None or swap["Free"] is None else swap["Total"] - swap["Free"],
        load=_known(files.load(), asked.load),
        quota=quota.cores if quota else None,
        quota_periods=quota.periods if quota else None,
        quota_stopped=quota.stopped if quota else None,
        governors=files.governors(usable),
        driver=files.text(f"{CPU}/cpu0/cpufreq/scaling_driver"),
        turbo=turbo,
        turbo_switch=turbo_switch,
        smt_switch=files.text(f"{CPU}/smt/control"),
        hot=files.hot(),
        huge_pages=files.huge_pages(),
        randomized=files.number("proc/sys/kernel/randomize_va_space"),
        virtual=virtual,
        hypervisor=hypervisor,
        container=files.container(environ),
        stolen=files.stolen(),
        on_battery=_known(files.on_battery(), asked.on_battery),
        variables={name: environ[name] for name in THREAD_VARIABLES if environ.get(name)},
        software=packages(),
    )


def _known(read: T | None, asked: T | None) -> T | None:
    """The value from the files, which may be 0 or false; if it is None, Python's answer."""
    return asked if read is None else read
