"""What can be known about the machine that bears on timings, as one record of facts. It judges nothing.

On Linux the facts come from /proc and /sys below a root folder, so that a test can build any machine out of files;
elsewhere from what Python and psutil say. What is missing, forbidden or garbled is None, "unknown", and never an
error: this runs on machines that somebody is already having trouble with.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

PACKAGES = (
    "bench_core",
    "torch",
    "numpy",
    "safetensors",
    "asv",
    "asv_runner",
    "pytest",
    "pytest-benchmark",
    "psutil",
)
"""Packages whose versions belong into a bug report."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_DYNAMIC",
    "MKL_DYNAMIC",
    "OMP_PROC_BIND",
    "OMP_PLACES",
    "OMP_WAIT_POLICY",
    "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
)
"""Environment variables that say how many threads there are, where they run and how they wait."""


@dataclass(frozen=True)
class TorchBuild:
    """What the installed torch was built with and finds here.

    Attributes:
        threads: threads of one operation, by default in a fresh process.
        capability: the vector instructions that its CPU kernels use, e.g. ``"AVX512"``.
        blas: the linear algebra library, e.g. ``"mkl"``.
        onednn: the version of oneDNN.
        built_for: ``"CPU"``, or the accelerator's toolkit, e.g. ``"CUDA 12.8"``.
        accelerators: the names of the devices that it finds.
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
        versions: package to its version; a package that is not installed is missing.
        torch: None where there is none.
        torch_error: the kind of error that importing an installed torch ended in.
    """

    python: str
    versions: Mapping[str, str] = field(default_factory=dict)
    torch: TorchBuild | None = None
    torch_error: str | None = None


@dataclass(frozen=True)
class Machine:
    """Facts about a machine; None is "unknown" throughout. Sizes are in bytes, cores are the kernel's numbers.

    Attributes:
        system: ``"Linux"``, ``"Darwin"``, ``"Windows"``.
        os: the system's name and version.
        kernel: its release.
        cpu: the processor's model.
        logical: hardware threads that are switched on.
        groups: the hardware threads of each physical core.
        physical: physical cores.
        usable: the hardware threads that this process may run on.
        efficiency: the slow ones of a processor that has two kinds of cores; empty where all are alike.
        isolated: those that the kernel keeps free of other processes.
        caches: ``"L1d"``, ``"L2"``, ``"L3"`` to the size of one.
        memory_total: main memory.
        memory_available: what can be had without swapping.
        memory_limit: the limit that a control group sets.
        swap_used: what lies in swap.
        load: processes that ran or wanted to, on average over the last minute, on the whole machine.
        quota: how many cores' worth of time a control group grants.
        quota_periods: periods (of 100 ms by default) in which that quota was in force.
        quota_stopped: those of them in which it stopped somebody.
        governors: scaling governor to the number of usable hardware threads under it.
        driver: the frequency driver.
        turbo: clock rates above the nominal one are allowed.
        turbo_switch: the file that allows them, below /sys/devices/system/cpu.
        smt_switch: what /sys/devices/system/cpu/smt/control says.
        hot: how often cores have slowed down because of heat, since boot.
        huge_pages: the mode of transparent huge pages: ``"always"``, ``"madvise"``, ``"never"``.
        randomized: address space randomization: 0 off, 1 partly, 2 fully.
        virtual: runs inside a virtual machine.
        hypervisor: which one.
        container: ``"docker"``, ``"podman"``, ``"kubernetes"``, or what else holds this process.
        stolen: share of the CPU time this machine wanted that the hypervisor gave to others, since boot.
        on_battery: runs on battery.
        variables: those of `THREAD_VARIABLES` that are set.
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
        """Some physical core has several hardware threads that are switched on."""
        if self.groups is not None:
            return any(len(group) > 1 for group in self.groups)
        if self.logical is None or self.physical is None:
            return None
        return self.logical > self.physical


@dataclass(frozen=True)
class Asked:
    """What Python and psutil say, where there is no /proc to read it from."""

    system: str | None = None
    os: str | None = None
    kernel: str | None = None
    cpu: str | None = None
    logical: int | None = None
    physical: int | None = None
    usable: frozenset[int] | None = None
    memory_total: int | None = None
    memory_available: int | None = None
    swap_used: int | None = None
    load: float | None = None
    on_battery: bool | None = None


def ask_python() -> Asked:
    memory, battery = _answer(psutil.virtual_memory), None
    if hasattr(psutil, "sensors_battery"):
        battery = _answer(psutil.sensors_battery)
    swap = _answer(psutil.swap_memory)
    load = _answer(os.getloadavg) if hasattr(os, "getloadavg") else None
    return Asked(
        system=platform.system() or None,
        os=f"{platform.system()} {platform.release()}".strip() or None,
        kernel=platform.version() or None,
        cpu=platform.processor() or platform.machine() or None,
        logical=psutil.cpu_count(),
        physical=psutil.cpu_count(logical=False),
        usable=frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        memory_total=int(memory.total) if memory else None,
        memory_available=int(memory.available) if memory else None,
        swap_used=int(swap.used) if swap else None,
        load=load[0] if load else None,
        on_battery=None if battery is None or battery.power_plugged is None else not battery.power_plugged,
    )


def _answer(question: Callable[[], T]) -> T | None:
    try:
        return question()
    except (OSError, RuntimeError, NotImplementedError, psutil.Error):  # each platform refuses in its own way
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
        return Software(python, versions, torch_error=type(error).__name__)  # its text would name folders


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
    python: Callable[[], Asked] = ask_python,
    packages: Callable[[], Software] = ask_packages,
) -> Machine:
    """Everything that can be known about the machine.

    Args:
        root: the folder that holds ``proc`` and ``sys``.
        environ: the environment variables.
        python: asked for what the files do not say.
        packages: asked for the versions.
    """
    files, asked = _Files(root), python()
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
        isolated=files.cores("sys/devices/system/cpu/isolated"),
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
        driver=files.text("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver"),
        turbo=turbo,
        turbo_switch=turbo_switch,
        smt_switch=files.text("sys/devices/system/cpu/smt/control"),
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
    """What was read, where it may be 0 or false, else what was asked."""
    return asked if read is None else read


_CPU = "sys/devices/system/cpu"

# An x86 guest sees the processor's "hypervisor" flag; other processors have none, and the firmware's names must do.
_GUEST_FIRMWARE = re.compile(
    r"QEMU|KVM|VMware|VirtualBox|innotek|Xen|Bochs|Parallels|Virtual Machine|Google Compute|Amazon EC2|OpenStack"
)

_UNLIMITED = 1 << 60
"""Control groups of version 1 say "no memory limit" with the largest multiple of a page below 2^63."""


@dataclass(frozen=True)
class _Quota:
    cores: float
    periods: int | None
    stopped: int | None


class _Files:
    """What the kernel writes below `root`. Every method copes with files that are missing, empty or garbled."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def text(self, path: str) -> str | None:
        try:
            return (self.root / path).read_text(encoding="utf-8").strip("\n\0 ")
        except (OSError, ValueError):
            return None

    def number(self, path: str) -> int | None:
        return _integer(self.text(path))

    def cores(self, path: str) -> frozenset[int] | None:
        """A list such as ``0-3,8``; empty is nobody."""
        text = self.text(path)
        return None if text is None else _core_list(text)

    def table(self, path: str) -> dict[str, int]:
        """Lines of a name and a number, ``name: 12 kB`` or ``name 12``; kB are turned into bytes."""
        found = {}
        for line in (self.text(path) or "").splitlines():
            match = re.fullmatch(r"(\S+?):?\s+(\d+)( kB)?\s*", line)
            if match:
                found[match[1]] = int(match[2]) * (1024 if match[3] else 1)
        return found

    def folders(self, pattern: str) -> Iterator[str]:
        try:
            found = sorted(self.root.glob(pattern))
        except OSError:
            return
        for folder in found:
            yield str(folder.relative_to(self.root))

    def line(self, path: str, name: str) -> str | None:
        """The value on the first line ``name : value``."""
        match = re.search(rf"^{re.escape(name)}[ \t]*[:=][ \t]*(.*)$", self.text(path) or "", re.MULTILINE)
        return match[1].strip() or None if match else None

    def os_name(self) -> str | None:
        name = self.line("etc/os-release", "PRETTY_NAME")
        return name.strip("\"'") if name else None

    def cpu(self) -> str | None:
        name = self.line("proc/cpuinfo", "model name")
        maker, part = (self.line("proc/cpuinfo", f"CPU {key}") for key in ("implementer", "part"))
        return name or (f"ARM implementer {maker}, part {part}" if maker and part else None)

    def online(self) -> frozenset[int]:
        listed = self.cores(f"{_CPU}/online")
        counted = re.findall(r"^processor\s*:\s*(\d+)", self.text("proc/cpuinfo") or "", re.MULTILINE)
        return listed or frozenset(int(number) for number in counted)

    def allowed(self) -> frozenset[int] | None:
        listed = self.line("proc/self/status", "Cpus_allowed_list")
        return None if listed is None else _core_list(listed)

    def groups(self) -> frozenset[frozenset[int]] | None:
        found = {self.cores(f"{folder}/topology/thread_siblings_list") for folder in self.folders(f"{_CPU}/cpu[0-9]*")}
        return frozenset(group for group in found if group) or None

    def efficiency(self) -> frozenset[int]:
        """Intel names its slow cores; elsewhere the scheduler's idea of their capacity tells.

        A quarter less: cores of one kind differ by a few percent too, where some may clock higher than others.
        """
        named = self.cores("sys/devices/cpu_atom/cpus")
        if named:
            return named
        capacity = {}
        for folder in self.folders(f"{_CPU}/cpu[0-9]*"):
            value, core = self.number(f"{folder}/cpu_capacity"), _integer(folder.rpartition("cpu")[2])
            if value is not None and core is not None:
                capacity[core] = value
        most = max(capacity.values(), default=0)
        return frozenset(core for core, value in capacity.items() if value < 0.75 * most)

    def caches(self, core: int) -> dict[str, int]:
        found = {}
        for folder in self.folders(f"{_CPU}/cpu{core}/cache/index[0-9]*"):
            level, kind = self.number(f"{folder}/level"), self.text(f"{folder}/type")
            size = re.fullmatch(r"(\d+)([KM])", self.text(f"{folder}/size") or "")
            if level is not None and size is not None and kind in ("Data", "Unified"):
                name = f"L{level}d" if kind == "Data" else f"L{level}"
                found[name] = int(size[1]) << {"K": 10, "M": 20}[size[2]]
        return found

    def load(self) -> float | None:
        match = re.match(r"\d+\.\d+", self.text("proc/loadavg") or "")
        return float(match[0]) if match else None

    def stolen(self) -> float | None:
        """Of the time that this machine was or wanted to be busy: idle time would dilute it."""
        match = re.match(r"cpu +((?:\d+ ){8})", (self.text("proc/stat") or "").partition("\n")[0] + " ")
        if match is None:
            return None
        user, nice, system, _idle, _waiting, irq, softirq, stolen = (int(part) for part in match[1].split())
        wanted = user + nice + system + irq + softirq + stolen
        return stolen / wanted if wanted else None

    def control_groups(self, controller: str) -> Iterator[str]:
        """The folders of the control groups that hold this process, from the innermost outwards, both versions.

        Inside a container the process's own path is often not mounted; the mount's root is then the container's
        group, and it is among the folders that come out here.
        """
        for line in (self.text("proc/self/cgroup") or "").splitlines():
            parts = line.split(":", 2)
            if len(parts) < 3:
                continue
            controllers, path = parts[1].split(","), parts[2]
            if parts[1] == "":
                mounts = ("sys/fs/cgroup", "sys/fs/cgroup/unified")
            elif controller in controllers:
                mounts = (f"sys/fs/cgroup/{parts[1]}", f"sys/fs/cgroup/{controller}")
            else:
                continue
            steps = [step for step in path.split("/") if step]
            for mount in mounts:
                for depth in range(0 if ".." in steps else len(steps), -1, -1):
                    yield "/".join([mount, *steps[:depth]])

    def quota(self) -> _Quota | None:
        """The tightest quota from here outwards."""
        found = []
        for folder in self.control_groups("cpu"):
            granted, period = _pair(self.text(f"{folder}/cpu.max"))
            if granted is None:
                granted = self.number(f"{folder}/cpu.cfs_quota_us")
                period = self.number(f"{folder}/cpu.cfs_period_us")
            if granted is not None and granted > 0 and period:
                counts = self.table(f"{folder}/cpu.stat")
                found.append(_Quota(granted / period, counts.get("nr_periods"), counts.get("nr_throttled")))
        return min(found, key=lambda quota: quota.cores, default=None)

    def memory_limit(self) -> int | None:
        limits = (
            self.number(f"{folder}/{name}")
            for folder in self.control_groups("memory")
            for name in ("memory.max", "memory.limit_in_bytes")
        )
        return min((limit for limit in limits if limit is not None and limit < _UNLIMITED), default=None)

    def governors(self, usable: frozenset[int] | None) -> dict[str, int] | None:
        names = [
            self.text(f"{folder}/cpufreq/scaling_governor")
            for folder in self.folders(f"{_CPU}/cpu[0-9]*")
            if not usable or _integer(folder.rpartition("cpu")[2]) in usable
        ]
        return dict(Counter(name for name in names if name)) or None

    def turbo(self) -> tuple[bool | None, str | None]:
        """Whether turbo is allowed, and the file that says so. Intel's says when it is not."""
        switches = (("intel_pstate/no_turbo", 0), ("cpufreq/boost", 1), ("cpufreq/policy0/boost", 1))
        for switch, on in switches:
            value = self.number(f"{_CPU}/{switch}")
            if value in (0, 1):
                return value == on, switch
        return None, None

    def hot(self) -> int | None:
        counts = [
            self.number(f"{folder}/thermal_throttle/core_throttle_count")
            for folder in self.folders(f"{_CPU}/cpu[0-9]*")
        ]
        known = [count for count in counts if count is not None]
        return sum(known) if known else None

    def huge_pages(self) -> str | None:
        chosen = re.search(r"\[(\w+)\]", self.text("sys/kernel/mm/transparent_hugepage/enabled") or "")
        return chosen[1] if chosen else None

    def virtualization(self) -> tuple[bool | None, str | None]:
        """Whether this is a virtual machine, and whose."""
        firmware = " ".join(
            name for key in ("sys_vendor", "product_name") if (name := self.text(f"sys/class/dmi/id/{key}"))
        )
        xen = self.text("sys/hypervisor/type")
        flags = self.line("proc/cpuinfo", "flags")
        if flags is not None:
            virtual: bool | None = "hypervisor" in flags.split()
        elif xen or firmware:
            # Amazon's machines without a hypervisor carry its name too.
            guest = _GUEST_FIRMWARE.search(firmware) and not firmware.endswith(".metal")
            virtual = bool(xen or guest)
        else:
            virtual = None
        return virtual, (firmware or xen or None) if virtual else None

    def container(self, environ: Mapping[str, str]) -> str | None:
        if environ.get("KUBERNETES_SERVICE_HOST"):
            return "kubernetes"
        if self.text(".dockerenv") is not None:
            return "docker"
        if self.text("run/.containerenv") is not None:
            return "podman"
        return self.text("run/systemd/container") or None

    def on_battery(self) -> bool | None:
        """Some battery is being emptied."""
        states = [
            self.text(f"{folder}/status")
            for folder in self.folders("sys/class/power_supply/*")
            if self.text(f"{folder}/type") == "Battery" and self.text(f"{folder}/scope") != "Device"
        ]
        return "Discharging" in states if states else None


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,20}", text) else None


def _pair(text: str | None) -> tuple[int | None, int | None]:
    parts = (text or "").split()
    return (_integer(parts[0]), _integer(parts[1])) if len(parts) == 2 else (None, None)


def _core_list(text: str) -> frozenset[int] | None:
    """``0-3,8`` -> 0, 1, 2, 3, 8; None where it is no such list."""
    if not text:
        return frozenset()
    if not re.fullmatch(r"[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*", text):
        return None
    cores: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        cores.update(range(int(first), int(last or first) + 1))
    return frozenset(cores)
